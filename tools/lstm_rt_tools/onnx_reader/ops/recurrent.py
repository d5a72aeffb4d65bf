"""LSTM, GRU and RNN: weights in another order of gates, and what only some of them can have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import GraphError
from lstm_rt.graph import Activation

from ...names import shown
from ...program.machine import Tensor
from ..call import Call, Value, op
from .shapes import permute

Array = NDArray[Any]


@dataclass(frozen=True)
class Cell:
    """One of the three: its word, where its gates are in the file, how its activations are called by default."""

    word: str
    gates: tuple[int, ...]
    activations: tuple[str, ...]


CELLS = {
    "LSTM": Cell("lstm", (0, 2, 3, 1), ("Sigmoid", "Tanh", "Tanh")),  # i o f c, as i f g o
    "GRU": Cell("gru", (1, 0, 2), ("Sigmoid", "Tanh")),  # z r h, as r z n
    "RNN": Cell("rnn", (0,), ("Tanh",)),
}
_PEEPHOLES = (0, 2, 1)  # i o f, as i f o
#: What activations are called here, and defaults of their alpha and beta; None: they must be given.
_ACTIVATIONS: dict[str, tuple[str, tuple[float | None, ...]]] = {
    "affine": ("affine", (None, None)),
    "elu": ("elu", (1.0,)),
    "hardsigmoid": ("hard_sigmoid", (0.2, 0.5)),
    "leakyrelu": ("leaky_relu", (0.01,)),
    "relu": ("relu", ()),
    "scaledtanh": ("scaled_tanh", (None, None)),
    "sigmoid": ("sigmoid", ()),
    "softplus": ("softplus", ()),
    "softsign": ("softsign", ()),
    "tanh": ("tanh", ()),
    "thresholdedrelu": ("thresholded_relu", (1.0,)),
}


@dataclass
class Layer:
    """A recurrent layer: its weights as the file has them, ``(D, ...)``, and its other inputs."""

    x: Tensor
    w: Array
    r: Array
    b: Array | None = None
    lengths: Tensor | None = None
    h0: Tensor | None = None
    c0: Tensor | None = None
    p: Array | None = None


@op("LSTM", "GRU", "RNN")
def _recurrent(c: Call) -> Value | tuple[Value, ...]:
    layer = Layer(c.tensor(0), c.known(1, "W"), c.known(2, "R"))
    layer.b = None if c.optional(3) is None else c.known(3, "B")
    layer.lengths, layer.h0 = c.optional(4), c.optional(5)
    if c.name == "LSTM":
        layer.c0 = c.optional(6)
        layer.p = None if c.optional(7) is None else c.known(7, "P")
    return run(c, CELLS[c.name], layer)


def run(c: Call, cell: Cell, layer: Layer) -> tuple[Value, ...]:
    """The outputs Y, Y_h and, of an LSTM, Y_c."""
    directions = {"forward": 1, "reverse": 1, "bidirectional": 2}.get(c.text("direction", "forward"))
    if directions is None:
        raise c.error(f"direction {shown(c.text('direction'))}, expected forward, reverse or bidirectional")
    hidden = _check(c, cell, layer, directions)
    activations = _activations(c, cell, directions)
    if c.integer("input_forget", 0):
        _couple(c, layer, hidden, activations)
    batch_first = bool(c.integer("layout", 0))
    h0, c0 = (_state(c, s, batch_first) for s in (layer.h0, layer.c0))
    lengths = _lengths(layer, batch_first)
    options: dict[str, Any] = {"hidden_size": hidden, "clip": c.number("clip", 0.0), "batch_first": batch_first}
    if cell.word == "gru":
        options["reset_after"] = bool(c.integer("linear_before_reset", 0))
    weights = [_weights(cell, layer, hidden, d) for d in range(directions)]
    if directions == 1 or activations[0] == activations[1]:
        both = weights[0] if directions == 1 else weights[0] | {f"{k}_reverse": w for k, w in weights[1].items()}
        direction = c.text("direction", "forward")
        found = _apply(c, cell, layer.x, (h0, c0), lengths, activations[0], both, direction, options)
    else:
        found = _apart(c, cell, layer.x, (h0, c0), lengths, activations, weights, options)
    y, *finals = found
    return (_by_direction(c, y, directions, hidden, batch_first), *(_final(c, s, batch_first) for s in finals))


def _apply(
    c: Call,
    cell: Cell,
    x: Tensor,
    states: tuple[Tensor | None, Tensor | None],
    lengths: Tensor | None,
    activations: Sequence[Activation],
    weights: dict[str, Array],
    direction: str,
    options: dict[str, Any],
) -> list[Tensor]:
    given = states if cell.word == "lstm" else states[:1]
    return list(
        c.apply(cell.word, x, *given, lengths, weights=weights, direction=direction, activations=activations, **options)
    )


def _apart(
    c: Call,
    cell: Cell,
    x: Tensor,
    states: tuple[Tensor | None, Tensor | None],
    lengths: Tensor | None,
    activations: Sequence[Sequence[Activation]],
    weights: Sequence[dict[str, Array]],
    options: dict[str, Any],
) -> list[Tensor]:
    """Two directions with activations of their own, as two layers side by side."""
    parts: list[list[Tensor]] = []
    for d, direction in enumerate(("forward", "reverse")):
        h, cc = (None if s is None else c.one("slice", s, axis=0, start=d, stop=d + 1, step=1) for s in states)
        parts.append(_apply(c, cell, x, (h, cc), lengths, activations[d], weights[d], direction, options))
    (y, *finals), (y_back, *finals_back) = parts
    together = [c.one("concat", a, b, axis=0) for a, b in zip(finals, finals_back, strict=True)]
    return [c.one("concat", y, y_back, axis=2), *together]


def _check(c: Call, cell: Cell, layer: Layer, directions: int) -> int:
    """The hidden size, of weights that fit each other and the input."""
    x, w, r = layer.x, layer.w, layer.r
    rows = r.shape[1] if r.ndim == 3 else 0
    hidden = rows // len(cell.gates)
    gates = len(cell.gates)
    fits = x.ndim == 3 and w.ndim == 3 and hidden > 0 and r.shape == (directions, gates * hidden, hidden)
    if not fits or w.shape != (directions, gates * hidden, x.shape[2]):
        raise c.error(
            f"W {w.shape} and R {r.shape} do not fit an input of the shape {x.shape}, {directions} "
            f"direction{'s' * (directions - 1)} and {gates} gate{'s' * (gates > 1)}"
        )
    if c.integer("hidden_size", hidden) != hidden:
        raise c.error(f"hidden_size is {c.integer('hidden_size')}, R has the shape {r.shape}")
    if layer.b is not None and layer.b.shape != (directions, 2 * gates * hidden):
        raise c.error(f"B has the shape {layer.b.shape}, expected {(directions, 2 * gates * hidden)}")
    if layer.p is not None and layer.p.shape != (directions, 3 * hidden):
        raise c.error(f"P has the shape {layer.p.shape}, expected {(directions, 3 * hidden)}")
    batch_first = bool(c.integer("layout", 0))
    batch = x.shape[0 if batch_first else 1]
    expected = (batch, directions, hidden) if batch_first else (directions, batch, hidden)
    for name, state in (("initial_h", layer.h0), ("initial_c", layer.c0)):
        if state is not None and state.shape != expected:
            raise c.error(f"{name} has the shape {state.shape}, expected {expected}")
    if layer.lengths is not None and layer.lengths.shape != (batch,):
        raise c.error(f"sequence_lens has the shape {layer.lengths.shape}, expected {(batch,)}")
    return hidden


def _weights(cell: Cell, layer: Layer, hidden: int, d: int) -> dict[str, Array]:
    def ordered(array: Array, order: Sequence[int]) -> Array:
        return np.concatenate([array[k * hidden : (k + 1) * hidden] for k in order])

    weights = {"w_ih": ordered(layer.w[d], cell.gates), "w_hh": ordered(layer.r[d], cell.gates)}
    if layer.b is not None:
        half = layer.b.shape[1] // 2
        weights["b_ih"] = ordered(layer.b[d, :half], cell.gates)
        weights["b_hh"] = ordered(layer.b[d, half:], cell.gates)
    if layer.p is not None:
        weights["peephole"] = ordered(layer.p[d], _PEEPHOLES).reshape(3, hidden)
    return weights


def _state(c: Call, state: Tensor | None, batch_first: bool) -> Tensor | None:
    """An initial state as (D, N, H); zeros are the default."""
    if state is None or (state.known and not state.data.any()):
        return None
    return permute(c, state, (1, 0, 2)) if batch_first else state


def _final(c: Call, state: Tensor, batch_first: bool) -> Tensor:
    return permute(c, state, (1, 0, 2)) if batch_first else state


def _lengths(layer: Layer, batch_first: bool) -> Tensor | None:
    """Lengths that are all that of the array are none."""
    steps, lengths = layer.x.shape[1 if batch_first else 0], layer.lengths
    return None if lengths is None or (lengths.known and (lengths.data == steps).all()) else lengths


def _by_direction(c: Call, y: Tensor, directions: int, hidden: int, batch_first: bool) -> Tensor:
    """Y: the directions on an axis of their own, behind that of time."""
    first, second, _ = y.shape
    if batch_first:
        return c.reshape(y, (first, second, directions, hidden))
    if directions == 1:
        return c.one("unsqueeze", y, axes=(1,))
    return permute(c, c.reshape(y, (first, second, directions, hidden)), (0, 2, 1, 3))


# -- activations ---------------------------------------------------------------------------------


def _activations(c: Call, cell: Cell, directions: int) -> list[tuple[Activation, ...]]:
    """Those of each direction."""
    count = len(cell.activations)
    names = c.texts("activations") or list(cell.activations) * directions
    if len(names) != count * directions:
        raise c.error(f"{len(names)} activations, expected {count} for each of {directions} directions")
    numbers = [c.floats("activation_alpha"), c.floats("activation_beta")]
    takers = [[_known(c, n)[1][k : k + 1] for n in names] for k in range(2)]
    for which, given, users in zip(("alpha", "beta"), numbers, takers, strict=True):
        used = sum(map(len, users))
        if len(given) > used and len(given) == len(names) and used:
            aligned = [v for v, user in zip(given, users, strict=True) if user]
            if aligned != given[:used]:
                raise c.error(
                    f"activation_{which} has {len(given)} numbers for the {used} that take one: "
                    "which belongs to which is not defined"
                )
    queues = [iter(n) for n in numbers]
    made = [_activation(c, name, queues) for name in names]
    return [tuple(made[d * count : (d + 1) * count]) for d in range(directions)]


def _known(c: Call, name: str) -> tuple[str, tuple[float | None, ...]]:
    found = _ACTIVATIONS.get(name.lower())
    if found is None:
        raise c.error(f"the activation {shown(name)} is not supported")
    return found


def _activation(c: Call, name: str, queues: Sequence[Any]) -> Activation:
    word, defaults = _known(c, name)
    values = [next(queue, default) for queue, default in zip(queues, defaults, strict=False)]
    if None in values:
        raise c.error(f"alpha and beta of the activation {shown(name)} are missing")
    try:
        return Activation(word, *values)
    except GraphError as e:
        raise c.error(str(e)) from None


def _couple(c: Call, layer: Layer, hidden: int, activations: Sequence[Sequence[Activation]]) -> None:
    """``input_forget``: the forget gate is one minus the input gate, which for these is the gate of what is negated."""
    gates = {a[0] for a in activations}
    symmetric = all(a.name == "sigmoid" or (a.name == "hard_sigmoid" and a.beta == 0.5) for a in gates)
    if c.name != "LSTM" or not symmetric:
        raise c.error(f"input_forget with the gate activation {', '.join(sorted(map(str, gates)))} is not supported")
    rows = {"i": slice(0, hidden), "f": slice(2 * hidden, 3 * hidden)}
    layer.w, layer.r = layer.w.copy(), layer.r.copy()
    layer.w[:, rows["f"]], layer.r[:, rows["f"]] = -layer.w[:, rows["i"]], -layer.r[:, rows["i"]]
    if layer.b is not None:
        layer.b = layer.b.copy()
        for half in (0, 4 * hidden):
            layer.b[:, half + 2 * hidden : half + 3 * hidden] = -layer.b[:, half : half + hidden]
    if layer.p is not None:
        layer.p = layer.p.copy()
        layer.p[:, rows["f"]] = -layer.p[:, rows["i"]]
