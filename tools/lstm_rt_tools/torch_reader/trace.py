"""Live PyTorch modules: run once on an example, with every operation noted in a graph.

The module runs as it is, in eval mode. Known layers are noted when they are called (forward
hooks); functions between them through a ``TorchFunctionMode``. What the graph then computes is
compared with the module on the example and on random inputs of other sizes, so that an operation
that was understood wrongly, or that the example froze, ends in an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstm_rt.errors import ConvertError, GraphError
from lstm_rt.graph import Activation, Array, Graph, Node

from .functions import HANDLERS, Call, short_name
from .layers import Stack, add_stack
from .modules import (
    BATCHNORM,
    CELLS,
    EMBEDDING,
    IGNORED,
    LINEAR,
    RECURRENT,
    TRAINS,
    add_pointwise,
    check_embedding,
    class_name,
    own_weights,
    recurrent_activations,
)
from .symbols import (
    Dims,
    Feat,
    Index,
    Input,
    Lengths,
    Noted,
    Part,
    Pending,
    States,
    Sym,
    join_parts,
    unsupported,
)
from .where import here

#: Reading these tells nothing about the numbers in a tensor; comparisons stand in assertions, and a
#: wrong use of them shows in the check with other sizes.
_HARMLESS = frozenset(
    [
        "equal", "allclose", "size", "shape", "dim", "ndim", "ndimension", "device", "dtype", "is_floating_point",
        "is_complex", "numel", "nelement", "stride", "len", "is_cuda", "is_contiguous", "layout", "requires_grad",
        "grad_fn", "is_sparse", "is_nested", "is_quantized", "is_mps", "element_size", "get_device", "format",
        "hash", "is_meta", "is_mkldnn", "_backward_hooks", "grad", "names", "data_ptr", "is_leaf",
        "repr", "str",
    ]
)


#: These take from a tensor its shape and dtype, not its numbers: what they give is a constant.
_CONSTANTS = frozenset(["new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like"])
#: Functions whose results differ from call to call.
_RANDOM = frozenset(
    [
        "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "uniform",
        "bernoulli", "multinomial", "poisson", "exponential", "random", "dropout", "alpha_dropout",
    ]
)
_SHORT_FLOATS = frozenset(["torch.float16", "torch.bfloat16"])


class WrongLayout(ConvertError):
    """The module reads its input time-major where batch-first was assumed, or the other way round."""


class StrangeState(ConvertError):
    """A layer starts from a state that is not zero and belongs neither to the inputs nor to the module."""


class WrongAxes(ConvertError):
    """Two inputs were combined that were taken for unrelated sequences."""


class StateUse:
    """An input that a recurrent layer takes as its initial state."""

    def __init__(self, source: Input, nodes: list[Node], letter: str, directions: int) -> None:
        self.source, self.nodes, self.letter, self.directions = source, nodes, letter, directions


class Recorder:
    """Builds the graph while the module runs; keeps what every tensor stands for."""

    def __init__(
        self,
        torch: Any,
        inputs: Sequence[Input],
        share_axes: bool,
        names: Mapping[int, str],
        attribute_of: Callable[[Any], str | None],
    ) -> None:
        """
        Args:
            share_axes: inputs with equally many steps are on one time axis.
            names: of the modules, by id.
            attribute_of: the name of the module's tensor whose memory a tensor shows.
        """
        self.torch = torch
        self.names, self.attribute_of = names, attribute_of
        self.noted: list[Noted] = []
        self.random = ""  #: the first random function that the forward calls, and where
        self.graph = Graph()
        self.inputs = list(inputs)
        self.share_axes = share_axes
        self.state_uses: list[StateUse] = []
        self._rows = 0
        self._steps: dict[int, int] = {}  #: T of the example, by time axis
        self._syms: dict[int, tuple[Sym, int]] = {}  # with the version of the tensor it belongs to
        self._alive: list[Any] = []  # a tensor's id stays its own only while the tensor lives
        self._axis_of_length: dict[int, int] = {}
        self.busy = 0
        for item in self.inputs:
            self.bind(item.tensor, Lengths(item) if item.kind == "lengths" else Pending(item))

    # -- what tensors stand for -----------------------------------------------------------------

    def bind(self, tensor: Any, sym: Sym) -> None:
        """From now on ``tensor`` stands for ``sym``."""
        self._syms[id(tensor)] = (sym, _version(tensor))
        self._alive.append(tensor)

    def tracked(self, obj: Any) -> bool:
        """Whether ``obj`` is a tensor that depends on the inputs."""
        return isinstance(obj, self.torch.Tensor) and id(obj) in self._syms

    def maybe_sym(self, obj: Any) -> Sym | None:
        """What ``obj`` stands for; None if it does not depend on the inputs."""
        return self._syms[id(obj)][0] if self.tracked(obj) else None

    def check_unchanged(self, name: str, args: Any) -> None:
        """Raise if the call ``name`` reads a tensor that has been changed in place through a view of its memory."""
        if short_name(name) in _HARMLESS:
            return
        for tensor in _flatten(args):
            if self.tracked(tensor) and self._syms[id(tensor)][1] != _version(tensor):
                raise ConvertError(
                    f"{name} reads a tensor that the module's forward has changed in place through a view of its "
                    "memory; not supported"
                )

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
            item.value = self.graph.input(item.name, item.kind, size, self._axis(item))
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
                    "is batch_first set as you mean it?"
                )
            raise unsupported(name, f"on dimensions ({', '.join(feat.dims)}), expected ({', '.join(dims)})")

    def constant(self, obj: Any, name: str) -> NDArray[np.float32]:
        """A number or a tensor that does not depend on the inputs, as float32."""
        if self.maybe_sym(obj) is not None:
            raise unsupported(name, "with data where a weight is expected")
        if isinstance(obj, self.torch.Tensor):
            obj = obj.detach().resolve_neg().cpu().float().numpy()
        array = np.array(obj, dtype=np.float32)  # a copy: the module may be trained on
        if not np.all(np.isfinite(array)):
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
        return Feat(self.graph.concat(*(self.value(f) for f in feats)), dims)

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

    # -- functions ------------------------------------------------------------------------------

    def function(self, full_name: str, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        """Note one call of a torch function."""
        tensors = [t for t in _flatten((args, kwargs)) if self.tracked(t)]
        name = short_name(full_name)
        if name in _RANDOM and not self.random:
            self.random = full_name + here(self.torch, self.names)
        if not tensors or name in _HARMLESS or name in _CONSTANTS:
            return
        call = Call(full_name, args, kwargs, result)
        results = list(_flatten(result))
        self._refuse_short_floats(full_name, results)
        indices = all(isinstance(self.sym(t), Index | Lengths) for t in tensors)
        if not results or not any(isinstance(r, self.torch.Tensor) for r in results):
            if name in ("setitem", "set_") or not indices:
                raise unsupported(full_name, "it makes the forward depend on the numbers of its input")
            return  # such as lengths.max(): a wrong use shows in the check with other sizes
        handler = HANDLERS.get(name)
        if handler is None and not indices:
            raise unsupported(full_name)
        out = Index() if handler is None else self._guarded(full_name, handler, call)
        self._bind_result(result, out)
        self._note()

    def _note(self) -> None:
        new = self.graph.nodes[len(self.noted) :]
        line = here(self.torch, self.names) if new else ""
        self.noted += [Noted(n.op, n.inputs, dict(n.attrs), n.weights, line) for n in new]

    def _refuse_short_floats(self, name: str, results: Sequence[Any]) -> None:
        for tensor in results:
            if isinstance(tensor, self.torch.Tensor) and str(tensor.dtype) in _SHORT_FLOATS:
                raise unsupported(name, f"it computes in {tensor.dtype}; the graph computes in float32")

    def _guarded(self, name: str, handler: Any, call: Call) -> Any:
        try:
            return handler(self, call)
        except GraphError as e:
            if "time axes" in str(e):
                raise WrongAxes(f"{name}: {e}") from None
            raise ConvertError(f"{name} in the module's forward: {e}") from None

    def _bind_result(self, result: Any, out: Any) -> None:
        if isinstance(result, self.torch.Tensor):
            self.bind(result, out)
            return
        for i, tensor in enumerate(result):
            if isinstance(tensor, self.torch.Tensor):
                self.bind(tensor, out[i] if isinstance(out, tuple) else out)

    # -- known layers ---------------------------------------------------------------------------

    def leaf(self, name: str, module: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        """Note one call of a known layer."""
        cls = class_name(module)
        what = f"{name or 'module'} ({type(module).__name__})"
        call = Call(what, args, kwargs, result)
        if not any(self.tracked(t) for t in _flatten((args, kwargs))):
            return
        self._refuse_short_floats(what, list(_flatten(result)))
        if module.training and cls in TRAINS and getattr(module, "p", getattr(module, "dropout", 1.0)) > 0:
            raise unsupported(what, "it stays in training mode when the module is in eval mode")
        if cls in CELLS:
            raise unsupported(what, "a cell called step by step; use the LSTM, GRU or RNN module instead")
        if cls in RECURRENT:
            self._guarded(what, lambda _, c: self._recurrent(c, module), call)
        else:
            self._bind_result(result, self._guarded(what, lambda _, c: self._layer(c, cls, module), call))
        self._note()

    def _layer(self, call: Call, cls: str, module: Any) -> Sym:
        x = call.arg(0, "input")
        if cls in IGNORED:
            return self.sym(x)
        if cls == EMBEDDING:
            check_embedding(lambda k: getattr(module, k, None), call.name)
            return self.embed(x, own_weights(module, call.name).take("weight"), call.name)
        feat = self.feat(self.sym(x), call.name)
        self._check_feature_dim(feat, cls, call.name)
        value = add_pointwise(
            self.graph,
            cls,
            lambda k: getattr(module, k, None),
            self.value(feat),
            own_weights(module, call.name),
            "",
            len(feat.dims),
        )
        return Feat(value, feat.dims)

    def _check_feature_dim(self, feat: Feat, cls: str, what: str) -> None:
        last = feat.dims[-1]
        if cls == BATCHNORM and (len(feat.dims) < 2 or feat.dims[1] != "F"):
            raise unsupported(
                what, f"on dimensions ({', '.join(feat.dims)}): the second must be the features"
            )
        mixes = cls in LINEAR or cls.endswith(("LayerNorm", "Softmax"))
        if mixes and last != "F":
            raise unsupported(what, f"over the dimension {last}: its size is fixed, N and T are free")

    def _recurrent(self, call: Call, module: Any) -> None:
        op = RECURRENT[class_name(module)]
        packed = not isinstance(call.arg(0, "input"), self.torch.Tensor)
        x = call.arg(0, "input")
        feat = self._recurrent_input(call, x.data if packed else x, module, packed)
        hx = call.arg(1, "hx")
        states = list(hx) if isinstance(hx, tuple | list) else [] if hx is None else [hx]
        layers, directions = int(module.num_layers), 2 if module.bidirectional else 1
        given = [self._initial(call, s, layers, directions) for s in states]
        known = {k: g for k, g in zip(("h0", "c0"), given, strict=False) if isinstance(g, list)}
        if op == "lstm" and len(known) == 1:
            raise unsupported(call.name, "with one of h0 and c0 computed and the other not")
        first = len(self.graph.nodes)
        acts = recurrent_activations(op, lambda k: getattr(module, k, None), call.name)
        weights = own_weights(module, call.name)
        stack = add_stack(self.graph, op, self.value(feat), weights, "", activations=acts, **known)
        for item, letter in zip(given, "hc", strict=False):
            if isinstance(item, Input):
                self.state_uses.append(StateUse(item, self.graph.nodes[first:], letter, directions))
        self._bind_recurrent(call, feat, stack, packed)

    def _recurrent_input(self, call: Call, x: Any, module: Any, packed: bool) -> Feat:
        sym = self.sym(x)
        dims = ("N", "T", "F") if module.batch_first else ("T", "N", "F")
        if packed:
            if not (isinstance(sym, Feat) and sym.packed):
                raise unsupported(call.name, "on a PackedSequence that was not packed in this forward")
            return Feat(sym.value, sym.dims, sym.part, sym.order)
        feat = self.feat(sym, call.name)
        if feat.dims in (("N", "F"), ("N", "1", "F"), ("1", "N", "F")):
            raise unsupported(
                call.name, "on a single step or an unbatched sequence; give it (batch, time, features)"
            )
        self.expect_dims(feat, dims, call.name)
        return feat

    def _initial(self, call: Call, tensor: Any, layers: int, directions: int) -> list[int] | Input | None:
        """An initial state: one value per layer, an input of the module, or None for zeros."""
        sym = self.maybe_sym(tensor)
        if sym is None:
            if bool((tensor != 0).any()):
                attribute = self.attribute_of(tensor)
                error = unsupported(call.name, self._constant_state(attribute))
                raise error if attribute else StrangeState(str(error))
            return None
        if isinstance(sym, Pending) and len(sym.dims) == 3:
            sym.input.kind = "state"
            return sym.input
        if isinstance(sym, States) and sym.dims[-2:] == ("N", "F"):
            rows = [tuple(r) for r in sym.rows.ravel()]
        elif isinstance(sym, Feat) and sym.dims in (("1", "N", "F"), ("L", "N", "F")):
            rows = [self.part(self.feat(sym, call.name))]
        else:
            raise unsupported(call.name, f"with an initial state of dimensions ({', '.join(sym.dims)})")
        if len(rows) != layers * directions:
            raise unsupported(call.name, f"with {len(rows)} initial states, expected {layers * directions}")
        per_layer = [rows[i : i + directions] for i in range(0, len(rows), directions)]
        return [self.value(self.join(p, ("N", "F"))) for p in per_layer]

    @staticmethod
    def _constant_state(attribute: str | None) -> str:
        if attribute is None:
            return "with a constant initial state other than zero"
        return (
            f"its initial state is module.{attribute}, which is not zero; if it is left from an earlier call, "
            "reset it (to None or zeros) before the conversion"
        )

    def _bind_recurrent(self, call: Call, feat: Feat, stack: Stack, packed: bool) -> None:
        out, final = call.result
        data = out.data if packed else out
        self.bind(data, Feat(stack.seq, feat.dims, None, feat.order, packed))
        finals = final if isinstance(final, tuple) else (final,)
        for tensor, values in zip(finals, (stack.h, stack.c), strict=False):
            self.bind(tensor, self._states(values, stack.directions))

    def _states(self, values: list[int], directions: int) -> States:
        rows = np.empty(len(values) * directions, dtype=object)
        for i, (value, d) in enumerate(itertools.product(values, range(directions))):
            size = self.graph.values[value].size // directions
            rows[i] = (value, d * size, size)
        return States(rows, ("L", "N", "F"))


def _version(tensor: Any) -> int:
    """A count of the changes in place, shared by all views of the tensor."""
    return 0 if tensor.is_inference() else int(tensor._version)


def _flatten(obj: Any) -> Iterator[Any]:
    if isinstance(obj, dict):
        obj = obj.values()
    elif not isinstance(obj, list | tuple):
        yield obj
        return
    for item in obj:
        yield from _flatten(item)
