"""The cells of the reference interpreter, and how they go along time.

What a recurrent layer does at a step ``t`` of a row, ``len`` being that row's length:

* ``t >= len``: the state stays, the sequence output is 0;
* masked: the state stays, the sequence output is ``h`` as it stands. It is 0 with ``zero_masked``,
  and before the first step that counts where the initial state is a value of the graph;
* else: the cell's equations.

The reverse direction processes ``len - 1`` down to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Node
from lstm_rt.quantised import Quantised

from .reference_activations import activate

FloatArray: TypeAlias = NDArray[Any]
IntArray: TypeAlias = NDArray[np.int64]

LARGE = 1 << 21  #: numbers of a weight
_HELD = 1 << 24  #: numbers of a recurrent weight, up to which it is brought into the type once, and not at every step


def times(x: FloatArray, w: FloatArray) -> FloatArray:
    """``x @ w.T`` in the type of x, of integers where the weights are such.

    Large weights are brought into it part by part, as they may fill the memory.
    """
    if isinstance(w, Quantised):
        return integer_times(x, w)
    if w.dtype == x.dtype or w.size <= LARGE:
        return np.asarray(x @ w.astype(x.dtype, copy=False).T)
    rows = max(1, LARGE // w.shape[1])
    parts = [x @ w[start : start + rows].astype(x.dtype).T for start in range(0, len(w), rows)]
    return np.concatenate(parts, axis=-1)


NEXT_TO_ZERO = np.float32(2.0**-100)  #: a row of smaller numbers counts as zeros


def integer_times(x: FloatArray, w: Quantised) -> FloatArray:
    """The product with integer weights, as docs/format.md has it in section 3.4: each row becomes integers too."""
    rows = x.reshape(-1, x.shape[-1]).astype(np.float32)
    largest = np.abs(rows).max(axis=1)
    finite = np.isfinite(largest)
    used = np.where(finite & (largest >= NEXT_TO_ZERO), largest, np.float32(1))
    counts = used == largest
    integers = np.where(counts[:, None], np.rint(rows * (np.float32(w.limit) / used)[:, None]), 0).astype(np.int64)
    scale = np.where(counts, used / np.float32(w.limit), np.where(finite, np.float32(0), np.float32(np.nan)))
    sums = integers @ w.values.reshape(len(w), -1).T.astype(np.int64)
    y: FloatArray = sums.astype(x.dtype) * (w.scale.astype(x.dtype) * scale[:, None].astype(x.dtype))
    return y.reshape(*x.shape[:-1], len(w))


#: Is told what a weight is multiplied with: the node, the name of the weight, and rows of numbers.
Watch: TypeAlias = Callable[[Node, str, FloatArray], None]


@dataclass(frozen=True)
class Direction:
    """One direction of a recurrent node: its weights by plain name, and the node's options.

    A step takes its input as :meth:`input_part` makes it of all steps.
    """

    node: Node
    w: dict[str, FloatArray]
    reverse: bool
    suffix: str = ""  #: of the names of the weights in the node
    watch: Watch | None = None

    def product(self, x: FloatArray, name: str) -> FloatArray:
        if self.watch is not None:
            self.watch(self.node, name + self.suffix, x)
        return times(x, self.w[name])

    def input_part(self, x: FloatArray) -> FloatArray:
        y = self.product(x, "w_ih")
        return y + self.w["b_ih"] if "b_ih" in self.w else y

    def recurrent_part(self, h: FloatArray) -> FloatArray:
        y = self.product(h, "w_hh")
        return y + self.w["b_hh"] if "b_hh" in self.w else y

    def clipped(self, gate: FloatArray) -> FloatArray:
        clip = self.node.attrs["clip"]
        if clip > 0:
            gate = np.clip(gate, -clip, clip)
        return gate


def _lstm_step(d: Direction, on_x: FloatArray, h: FloatArray, c: FloatArray) -> tuple[FloatArray, FloatArray]:
    gate, cell, output = d.node.attrs["activations"]
    i, f, g, o = np.split(on_x + d.recurrent_part(h), 4, axis=1)
    p_i, p_f, p_o = d.w.get("peephole", np.zeros((3, 1), dtype=on_x.dtype))
    i = activate(d.clipped(i + p_i * c), gate)
    f = activate(d.clipped(f + p_f * c), gate)
    g = activate(d.clipped(g), cell)
    c = f * c + i * g
    o = activate(d.clipped(o + p_o * c), gate)  # the output gate sees the new cell state
    h = o * activate(c, output)
    if "w_hr" in d.w:
        h = d.product(h, "w_hr")
    return h, c


def _gru_step(d: Direction, on_x: FloatArray, h: FloatArray) -> FloatArray:
    gate, candidate = d.node.attrs["activations"]
    x_r, x_z, x_n = np.split(on_x, 3, axis=1)
    h_r, h_z, h_n = np.split(d.recurrent_part(h), 3, axis=1)
    r = activate(d.clipped(x_r + h_r), gate)
    z = activate(d.clipped(x_z + h_z), gate)
    after = d.node.attrs["reset_after"]  # else the reset gate acts before the product
    inner = r * h_n if after else np.split(d.recurrent_part(r * h), 3, axis=1)[2]
    n = activate(d.clipped(x_n + inner), candidate)
    h_new: FloatArray = (1 - z) * n + z * h
    return h_new


def _rnn_step(d: Direction, on_x: FloatArray, h: FloatArray) -> FloatArray:
    (activation,) = d.node.attrs["activations"]
    return activate(d.clipped(on_x + d.recurrent_part(h)), activation)


def _step(d: Direction, on_x: FloatArray, h: FloatArray, c: FloatArray) -> tuple[FloatArray, FloatArray]:
    if d.node.op == "lstm":
        return _lstm_step(d, on_x, h, c)
    return (_gru_step if d.node.op == "gru" else _rnn_step)(d, on_x, h), c


def keeps_state(node: Node) -> bool:
    """Is the initial state of this recurrent node the caller's, and not a value of the graph?"""
    return node.inputs[1] is None and node.inputs[2] is None


def run_direction(
    d: Direction, x: FloatArray, h: FloatArray, c: FloatArray, lengths: IntArray, mask: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """One direction over a batch; returns ``(sequence (N, T, R), h (N, R), c (N, H))``."""
    n, steps = x.shape[:2]
    on_x = d.input_part(x.reshape(n * steps, x.shape[2])).reshape(n, steps, len(d.w["w_ih"]))
    if d.w["w_hh"].size <= _HELD and not isinstance(d.w["w_hh"], Quantised):
        d = replace(d, w={**d.w, "w_hh": d.w["w_hh"].astype(x.dtype, copy=False)})
    sequence = np.zeros((n, steps, h.shape[1]), dtype=x.dtype)
    begun = np.full((n, 1), keeps_state(d.node))  # else with the first step that counts
    for t in reversed(range(steps)) if d.reverse else range(steps):
        # A row whose length is not above t has not begun yet (reverse) or has ended (forward).
        valid = (t < lengths)[:, None]
        counts = valid & mask[:, t, None]
        new_h, new_c = _step(d, on_x[:, t], h, c)
        h, c = np.where(counts, new_h, h), np.where(counts, new_c, c)
        begun |= counts
        shown = counts if d.node.attrs["zero_masked"] else valid & begun
        sequence[:, t] = np.where(shown, h, 0)
    return sequence, h, c
