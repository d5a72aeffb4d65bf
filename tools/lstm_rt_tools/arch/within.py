"""Recurrent layers within the steps of another sequence, as over the characters of each word, or the bands of a frame.

The inner steps of all outer ones are one long sequence, and behind those of each outer step comes one at which the
layer forgets: its gates let nothing through, and its state is 0 again. So a single node does for any number of outer
steps. Backwards, a layer runs over inner steps that are laid out from the last to the first: what it gives for an
outer step still waits for no later one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.activations import as_activation
from lstm_rt.graph import Activation, Graph
from lstm_rt.ops import cell_of

from ..judges.reference_activations import activate
from .layers import side_by_side

_SHUT = 1e4  #: what is taken from the sum before a gate to close it

Weights = Mapping[str, Any]


@dataclass(frozen=True)
class Inner:
    """The inner steps of a sequence, ``count`` for each step of the axis ``outer``, with the ones that forget.

    ``x``, and ``resets``, which is 1 where a layer forgets and else 0, are values on one time axis.
    """

    x: int
    resets: int
    count: int
    outer: int


@dataclass(frozen=True)
class Forgetful:
    """A layer with one more input, the last, which is 1 where its state is to become 0, and else 0."""

    op: str
    weights: dict[str, Any]
    activations: tuple[Activation, ...]


def laid_out(graph: Graph, x: int, count: int, resets: int | None = None) -> Inner:
    """A seq whose features are ``count`` inner steps, one after the other; ``resets`` as of :func:`ends`."""
    outer = graph.values[x].axis
    resets = ends(graph, outer, count) if resets is None else resets
    return Inner(one_by_one(graph, x, count, 0.0), resets, count, outer)


def ends(graph: Graph, outer: int, count: int) -> int:
    """Where the inner steps of each step of an axis have ended: 1 there, else 0."""
    last = graph.constant(np.eye(count + 1, dtype=np.float32)[-1])
    return graph.unflatten(graph.repeat_vector(last, outer), count + 1)


def one_by_one(graph: Graph, x: int, count: int, number: float) -> int:
    """The inner steps of a seq, and behind those of each outer one a step of ``number``."""
    size, axis = graph.values[x].size // count, graph.values[x].axis
    end = graph.repeat_vector(graph.constant(np.full(size, number, np.float32)), axis)
    return graph.unflatten(graph.concat(x, end), count + 1)


def backwards(graph: Graph, x: int, count: int) -> int:
    """A seq whose features are ``count`` inner steps from the last to the first."""
    index = np.arange(graph.values[x].size, dtype=np.int32).reshape(count, -1)[::-1]
    return graph.gather(x, index.ravel())


def run(graph: Graph, inner: Inner, layer: Forgetful, **options: Any) -> Inner:
    """A layer's outputs in place of what it reads: 0 at the steps that forget.

    Args:
        options: as of :meth:`Graph.recurrent`.
    """
    x = graph.concat(inner.x, inner.resets)
    made = graph.recurrent(layer.op, x, layer.weights, activations=layer.activations, **options)[0]
    return replace(inner, x=made)


def at(graph: Graph, inner: Inner, places: Sequence[int]) -> int:
    """The inner steps at these places of each outer step side by side, on an axis of as many steps as the outer one."""
    return side_by_side(graph, [graph.take(inner.x, k, inner.count + 1, drop=inner.count - k) for k in places])


def forgetful(
    op: str,
    weights: Weights,
    size: int,
    activations: Sequence[str | Activation] | None = None,
    reset_after: bool = True,
) -> Forgetful | None:
    """The layer that forgets where it is told; None where no number of its activations closes its gates.

    Args:
        weights: of one direction, as of :meth:`Graph.recurrent`.
        size: hidden units.
    """
    acts = tuple(as_activation(a) for a in activations or cell_of(op).activations)
    given = {k: np.asarray(w, np.float32) for k, w in weights.items() if w is not None}
    if op == "rnn":
        acts, given = (Activation("sigmoid"), *acts, Activation("linear")), _with_gates(given, size)
    kept = acts[1:] if op == "gru" else ()
    if _of(acts[0], -_SHUT) != 0 or any(_of(a, 0.0) != 0 for a in kept):
        return None
    shut = np.full(size, -_SHUT, np.float32)
    if op == "gru":  # all of the new state is the candidate, of which only the biases would be left
        biases = [given[b] for b in ("b_ih", "b_hh") if b in given]
        left = sum((b[-size:] for b in biases[: 1 if reset_after else 2]), np.zeros_like(shut))
        column = np.concatenate([shut, shut, -left])
    else:
        column = np.concatenate([shut, shut, np.zeros_like(shut), 2 * shut])
    given["w_ih"] = np.column_stack([given["w_ih"], column])
    return Forgetful("gru" if op == "gru" else "lstm", given, acts)


def _of(activation: Activation, x: float) -> float:
    with np.errstate(all="ignore"):
        return float(activate(np.full(1, x, np.float32), activation)[0])


def _with_gates(weights: Weights, size: int) -> dict[str, Any]:
    """A simple cell as an LSTM that takes all of what is new and keeps nothing of what was."""

    def candidate(array: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([np.zeros((2 * size, *array.shape[1:]), np.float32), array, np.zeros_like(array)])

    made = {name: candidate(array) for name, array in weights.items()}
    bias = made.setdefault("b_ih", np.zeros(4 * size, np.float32))
    bias[: 2 * size] = np.repeat([_SHUT, -_SHUT], size)
    bias[3 * size :] = _SHUT
    return made


def cell_states(graph: Graph, inner: Inner, layer: Forgetful, y: Inner, size: int) -> Inner | None:
    """The states c of an LSTM, whose outputs are ``y``: those of another one, which reads h before each step.

    That one gives all of its c. None where no number opens its gates.
    """
    if _of(layer.activations[0], _SHUT) != 1:
        return None
    before = graph.align(graph.take(graph.pad_steps(y.x, 1, 0), drop=1), graph.values[y.x].axis)
    w = {name: array.copy() for name, array in layer.weights.items() if name != "w_hr"}
    w["w_ih"] = np.column_stack([w["w_ih"], w.pop("w_hh")])
    for name in ("w_ih", "b_ih", "b_hh"):  # nothing but the bias of the output gate opens it
        w.setdefault(name, np.zeros(4 * size, np.float32))[3 * size :] = _SHUT if name == "b_ih" else 0
    if "peephole" in w:
        w["peephole"][2] = 0
    w["w_hh"] = np.zeros((4 * size, size), np.float32)
    acts = (*layer.activations[:2], Activation("linear"))
    x = graph.concat(inner.x, inner.resets, before)
    return replace(inner, x=graph.recurrent("lstm", x, w, hidden_size=size, activations=acts)[0])
