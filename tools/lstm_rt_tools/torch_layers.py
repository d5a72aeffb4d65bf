"""PyTorch's names and shapes of layer weights, turned into nodes of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from lstm_rt.errors import ConvertError
from lstm_rt.graph import GATES, Activation, Array, Graph

from .budget import Budget
from .checkpoints import Tensor

#: Buffers that training keeps and inference does not need.
_NOT_WEIGHTS = ("num_batches_tracked",)


class Weights:
    """A state dict that remembers which of its weights have been used."""

    def __init__(self, tensors: Mapping[str, Tensor], what: str, budget: Budget | None = None) -> None:
        self.tensors = dict(tensors)
        self.what = what
        self.budget = budget or Budget(0, what)  #: of the file, for what is made of the weights
        self._used: set[str] = set()

    def has(self, name: str) -> bool:
        return name in self.tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a weight; :class:`ConvertError` if there is none of that name."""
        if name not in self.tensors:
            close = get_close_matches(name, self.tensors, n=3, cutoff=0.5) or sorted(self.tensors)[:5]
            raise ConvertError(f"{self.what}: there is no weight {name!r}; there is {', '.join(close)}")
        return self.tensors[name].shape

    def take(self, name: str) -> Array:
        """A weight as float32, marked as used."""
        self.shape(name)
        self._used.add(name)
        return self.tensors[name].array(f"{self.what}: weight {name}")

    def maybe(self, name: str) -> Array | None:
        """Like :meth:`take`, or ``None`` if there is no such weight."""
        return self.take(name) if name in self.tensors else None

    def check_all_used(self, ignore: Sequence[str] = ()) -> None:
        """Raise :class:`ConvertError` listing the weights that no layer took.

        Args:
            ignore: names or shell patterns (``decoder.*``) of weights that may be left.
        """
        left = [n for n in self.tensors if n not in self._used and n.rpartition(".")[2] not in _NOT_WEIGHTS]
        for pattern in ignore:
            if not any(fnmatchcase(n, pattern) for n in self.tensors):
                raise ConvertError(f"{self.what}: ignore pattern {pattern!r} matches no weight")
            left = [n for n in left if not fnmatchcase(n, pattern)]
        if left:
            names = ", ".join(f"{n} {self.tensors[n].shape}" for n in left)
            raise ConvertError(f"{self.what}: {len(left)} weights are not used by any layer: {names}")


def join(prefix: str, name: str) -> str:
    """A weight's full name."""
    return f"{prefix}.{name}" if prefix else name


@dataclass
class Stack:
    """A multi-layer recurrent network in the graph; ``h`` and ``c`` hold one vec per layer."""

    seq: int
    h: list[int]
    c: list[int]
    directions: int


_PARTS = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh", "weight_hr": "w_hr"}


def is_cell(weights: Weights, prefix: str) -> bool:
    """Whether the names are those of an LSTMCell: without ``_l0``."""
    return weights.has(join(prefix, "weight_ih"))


def count_layers(weights: Weights, prefix: str) -> int:
    """Layers of the LSTM, GRU or RNN whose weights start with ``prefix``; at least 1."""
    if is_cell(weights, prefix):
        return 1
    weights.shape(join(prefix, "weight_ih_l0"))  # says what is missing
    n = 1
    while weights.has(join(prefix, f"weight_ih_l{n}")):
        n += 1
    return n


def add_stack(
    graph: Graph,
    op: str,
    x: int,
    weights: Weights,
    prefix: str,
    *,
    activations: Sequence[str | Activation] | None = None,
    h0: Sequence[int] | None = None,
    c0: Sequence[int] | None = None,
) -> Stack:
    """Add all layers of a ``torch.nn`` LSTM, GRU or RNN (or cell) to the graph.

    Args:
        op: ``lstm``, ``gru`` or ``rnn``.
        x: a seq value.
        prefix: of the weight names, without the dot.
        activations: as in :meth:`Graph.recurrent`.
        h0, c0: one vec value per layer, or None for the caller's state.

    Raises:
        ConvertError: weights are missing or have the wrong shape for ``op``.
    """
    layers = count_layers(weights, prefix)
    for name, states in (("h0", h0), ("c0", c0)):
        if states is not None and len(states) != layers:
            raise ConvertError(f"{op} {prefix!r}: {len(states)} states {name} given for {layers} layers")
    stack = Stack(x, [], [], 1)
    for k in range(layers):
        suffix = "" if is_cell(weights, prefix) else f"_l{k}"
        both = weights.has(join(prefix, f"weight_ih{suffix}_reverse"))
        stack.directions = 2 if both else 1
        named = _layer_weights(weights, prefix, suffix, both)
        stack.seq, h, c = graph.recurrent(
            op,
            stack.seq,
            named,
            hidden_size=_hidden_size(op, named["w_ih"], weights, prefix),
            direction="bidirectional" if both else "forward",
            activations=activations,
            h0=None if h0 is None else h0[k],
            c0=None if c0 is None else c0[k],
        )
        stack.h.append(h)
        if c is not None:
            stack.c.append(c)
    return stack


def _layer_weights(weights: Weights, prefix: str, suffix: str, both: bool) -> dict[str, Array]:
    out: dict[str, Array] = {}
    for direction in ("", "_reverse") if both else ("",):
        for torch_name, ours in _PARTS.items():
            name = join(prefix, f"{torch_name}{suffix}{direction}")
            required = ours in ("w_ih", "w_hh")
            array = weights.take(name) if required else weights.maybe(name)
            if array is not None:
                out[ours + direction] = array
    return out


def _hidden_size(op: str, w_ih: Array, weights: Weights, prefix: str) -> int:
    rows = w_ih.shape[0] if w_ih.ndim == 2 else 0
    if rows == 0 or rows % GATES[op]:
        raise ConvertError(
            f"{weights.what}: {op} {prefix!r}: w_ih has shape {w_ih.shape}, "
            f"expected {GATES[op]} rows per hidden unit"
        )
    return rows // GATES[op]
