"""A graph under construction: what the tensors of a running module stand for in it, and what handlers build with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Activation, Array, Graph

from ..arch.layers import side_by_side
from ..weights.tensors import count_not_finite
from .symbols import (
    Dims,
    Feat,
    Input,
    Lengths,
    Part,
    Pending,
    States,
    StateUse,
    Sym,
    WrongLayout,
    join_parts,
    order_of,
    unsupported,
)


class Builder:
    """The graph, and what every tensor stands for.

    Args:
        inputs: the tensors that the module is called with.
        share_axes: inputs with equally many steps are on one time axis.
        attribute_of: the name of the module's tensor, other than a parameter, whose memory a tensor shows.
    """

    def __init__(
        self, torch: Any, inputs: Sequence[Input], share_axes: bool, attribute_of: Callable[[Any], str | None]
    ) -> None:
        self.torch, self.attribute_of = torch, attribute_of
        self.graph = Graph()
        self.inputs = list(inputs)
        self.share_axes = share_axes
        self.state_uses: list[StateUse] = []
        self.constant_states = False  #: may initial states be constants other than zero?
        self._rows = 0
        self._steps: dict[int, int] = {}  #: T of the example, by time axis
        self._syms: dict[int, tuple[Sym, int]] = {}  # with the version of the tensor it belongs to
        self._alive: list[Any] = []  # a tensor's id stays its own only while the tensor lives
        self._axis_of_length: dict[int, int] = {}
        for item in self.inputs:
            self.bind(item.tensor, Lengths(item) if item.kind == "lengths" else Pending(item))

    # -- what tensors stand for -----------------------------------------------------------------

    def bind(self, tensor: Any, sym: Sym) -> None:
        """From now on ``tensor`` stands for ``sym``."""
        self._syms[id(tensor)] = (sym, _version(tensor))
        self._alive.append(tensor)

    def bind_result(self, result: Any, out: Any) -> None:
        """From now on the tensor or tensors of a call's result stand for ``out``, or for what is in it in order."""
        if isinstance(result, self.torch.Tensor):
            self.bind(result, out)
            return
        for i, tensor in enumerate(result):
            if isinstance(tensor, self.torch.Tensor):
                self.bind(tensor, out[i] if isinstance(out, tuple) else out)

    def tracked(self, obj: Any) -> bool:
        """Whether ``obj`` is a tensor that depends on the inputs."""
        return isinstance(obj, self.torch.Tensor) and id(obj) in self._syms

    def maybe_sym(self, obj: Any) -> Sym | None:
        """What ``obj`` stands for; None if it does not depend on the inputs."""
        return self._syms[id(obj)][0] if self.tracked(obj) else None

    def changed(self, tensor: Any) -> bool:
        """Whether a tensor that depends on the inputs was changed in place since it was bound."""
        return self._syms[id(tensor)][1] != _version(tensor)

    def sym(self, obj: Any) -> Sym:
        """What the tensor ``obj`` stands for; :class:`ConvertError` if it is a constant."""
        found = self.maybe_sym(obj)
        if found is None:
            raise ConvertError("a constant tensor where the forward was expected to pass data; not supported")
        return found

    def feat(self, sym: Sym, name: str) -> Feat:
        """``sym`` as features in the graph; an input that nobody has read yet is declared here."""
        if isinstance(sym, Pending):
            sym = Feat(self.declare(sym.input), sym.dims)
        if isinstance(sym, States):
            raise unsupported(name, "on the states of several layers or directions at once")
        if not isinstance(sym, Feat):
            raise unsupported(name, "on numbers computed from lengths")
        if sym.order is not None or sym.packed:
            raise unsupported(name, "on packed or reordered rows")
        return sym

    def packable(self, sym: Sym, name: str) -> Feat:
        """Like :meth:`feat`, with reordered rows allowed."""
        if isinstance(sym, Feat) and not sym.packed:
            return sym
        return self.feat(sym, name)

    def declare(self, item: Input) -> int:
        """The graph input of ``item``."""
        if item.value is None:
            size = int(item.tensor.shape[item.dims.index("F")]) if "F" in item.dims else 0
            item.value = self.graph.input(item.name, item.kind, size, self._axis(item), order_of(item.dims))
            self._rows = int(item.tensor.shape[item.dims.index("N")])
            if "T" in item.dims:
                axis = self.graph.values[item.value].axis
                self._steps[axis] = int(item.tensor.shape[item.dims.index("T")])
        return item.value

    def _axis(self, item: Input) -> int | None:
        if "T" not in item.dims:
            return None
        steps = int(item.tensor.shape[item.dims.index("T")])
        if not self.share_axes or steps not in self._axis_of_length:
            self._axis_of_length[steps] = self.graph.new_axis()
        return self._axis_of_length[steps]

    def bind_lengths(self, item: Input, feat: Feat, name: str) -> None:
        """``item`` holds the lengths of the time axis of ``feat``."""
        axis = self.graph.values[feat.value].axis
        if item.value is None:
            item.value = self.graph.input(item.name, "lengths", 0, axis)
        elif self.graph.values[item.value].axis != axis:
            raise unsupported(name, f"the lengths {item.name!r} belong to two different inputs")

    def expect_dims(self, feat: Feat, dims: Dims, name: str) -> None:
        """Raise unless ``feat`` is laid out as ``dims``."""
        if feat.dims != dims:
            if sorted(feat.dims) == sorted(dims):
                raise WrongLayout(
                    f"{name} reads its input as ({', '.join(dims)}), but it is ({', '.join(feat.dims)}); "
                    "is batch_first set as you mean it?",
                    name,
                )
            raise unsupported(name, f"on dimensions ({', '.join(feat.dims)}), expected ({', '.join(dims)})")

    def constant(self, obj: Any, name: str) -> NDArray[np.float32]:
        """A number or a tensor that does not depend on the inputs, as float32."""
        if self.maybe_sym(obj) is not None:
            raise unsupported(name, "with data where a weight is expected")
        if isinstance(obj, self.torch.Tensor):
            obj = obj.detach().resolve_neg().cpu().float().numpy()
        array = np.array(obj, dtype=np.float32)  # a copy: the module may be trained on
        if count_not_finite(array):
            raise unsupported(name, "with a constant that is not finite")
        return array

    # -- building blocks of the handlers --------------------------------------------------------

    def value(self, feat: Feat) -> int:
        """The graph value of ``feat``; a part of a value becomes a slice now."""
        if feat.part is not None:
            feat.value, feat.part = self.graph.slice(feat.value, *feat.part), None
        return feat.value

    def size(self, feat: Feat) -> int:
        """Number of features."""
        return feat.part[1] if feat.part else self.graph.values[feat.value].size

    def sizes(self, feat: Feat) -> dict[str, int]:
        """Sizes in the example of the dimensions that ``feat`` may have."""
        axis = self.graph.values[feat.value].axis
        return {"N": self._rows, "T": self.steps_of(axis), "F": self.size(feat)}

    def steps_of(self, axis: int) -> int:
        """``T`` of the example on a time axis."""
        return self._steps.get(axis, 1)

    def part(self, feat: Feat) -> Part:
        """``feat`` as features of a graph value."""
        start, size = feat.part or (0, self.size(feat))
        return (feat.value, start, size)

    def features(self, feat: Feat, start: int, size: int, dims: Dims) -> Feat:
        """Some of the features of ``feat``."""
        value, offset, _ = self.part(feat)
        return self._part_feat((value, offset + start, size), dims)

    def _part_feat(self, part: Part, dims: Dims) -> Feat:
        value, start, size = part
        whole = start == 0 and size == self.graph.values[value].size
        return Feat(value, dims, None if whole else (start, size))

    def join(self, parts: Sequence[Any], dims: Dims) -> Feat:
        """Parts of values side by side."""
        feats = [self._part_feat(p, dims) for p in join_parts(parts)]
        if len(feats) == 1:
            return feats[0]
        return Feat(side_by_side(self.graph, [self.value(f) for f in feats]), dims)

    def step(self, feat: Feat, index: int, name: str) -> int:
        """The first or last step of a sequence."""
        last = self.sizes(feat)["T"] - 1
        if index not in (0, -1, last) and index != -last - 1:
            raise unsupported(name, f"it takes step {index}; only the first and the last can be taken")
        first = index == 0 or (index == -last - 1 and index != -1)
        return self.graph.select(self.value(feat), 0 if first else -1)

    def scale(self, feat: Feat, factor: ArrayLike, shift: ArrayLike) -> Feat:
        """``x * factor + shift`` per feature: a batch normalisation with mean 0 and variance 1."""
        size = self.size(feat)
        ones = np.ones(size, np.float32)
        gamma, beta = (np.broadcast_to(np.asarray(a, np.float32), (size,)) for a in (factor, shift))
        if np.all(gamma == 1) and np.all(beta == 0):
            return feat
        value = self.graph.batchnorm(self.value(feat), ones * 0, ones, gamma, beta, 0.0)
        return Feat(value, feat.dims)

    def dense(self, feat: Feat, weight: Array, bias: Array | None, name: str) -> Feat:
        """``x @ weight.T + bias`` over the features."""
        if feat.dims[-1] != "F":
            raise unsupported(
                name, f"over the dimension {feat.dims[-1]}: its size is fixed, N and T are free"
            )
        return Feat(self.graph.dense(self.value(feat), weight, bias), feat.dims)

    def activate(self, feat: Feat, activation: Activation, name: str) -> Feat:
        """An activation; those that mix features only over the features."""
        if activation.name in ("softmax", "log_softmax") and feat.dims[-1] != "F":
            raise unsupported(name, f"over the dimension {feat.dims[-1]}, only over the features")
        return Feat(self.graph.activation(self.value(feat), activation), feat.dims)

    def embed(self, ids: Any, table: Array, name: str) -> Feat:
        """Rows of ``table`` ``(V, F)`` for a tensor of ids that is an argument of the forward."""
        sym = self.sym(ids)
        if not isinstance(sym, Pending) or sym.input.kind != "ids":
            raise unsupported(name, "of ids that are not an argument of the forward with shape (N, T)")
        return Feat(self.graph.embedding(self.declare(sym.input), table), (*sym.dims, "F"))


def _version(tensor: Any) -> int:
    """A count of the changes in place, shared by all views of the tensor."""
    return 0 if tensor.is_inference() else int(tensor._version)
