"""Recurrent layers of ``torch.nn`` by the names and shapes of their weights, turned into nodes of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lstm_rt._core import MAX_PARTS
from lstm_rt.errors import ConvertError
from lstm_rt.graph import GATES, Activation, Array, Graph

from ..weights.state_dict import Weights, join


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


def count_directions(weights: Weights, prefix: str) -> int:
    """1, or 2 if the layers of ``prefix`` are bidirectional."""
    return 2 if weights.has(join(prefix, "weight_ih_l0_reverse")) else 1


def side_by_side(graph: Graph, values: Sequence[int]) -> int:
    """The features of any number of values next to each other."""
    while len(values) > 1:  # a node takes so many
        runs = [values[i : i + MAX_PARTS] for i in range(0, len(values), MAX_PARTS)]
        values = [graph.concat(*run) if len(run) > 1 else run[0] for run in runs]
    return values[0]


def add_final_states(graph: Graph, stack: Stack, names: Sequence[str]) -> None:
    """Make h (and c of an lstm) outputs, ``(layers * directions, N, size)`` as ``torch.nn`` gives them."""
    for name, values in zip(names, (stack.h, stack.c), strict=True):
        if values:
            value = side_by_side(graph, values)
            graph.output(value, name, "groups_first", len(values) * stack.directions)


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
        with graph.layer(f"l{k}" if layers > 1 else ""):
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
