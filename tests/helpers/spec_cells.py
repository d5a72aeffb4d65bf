"""Sections 5.1 and 6 of docs/format.md as plain code, written from that text alone: one row, one step at a time.

It runs a recurrent node that ``spec_reader.read`` has read. Only sigmoid, tanh and relu are known.
"""

from __future__ import annotations

import numpy as np

FUNCTIONS = {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}
REVERSE, BIDIRECTIONAL, RESET_AFTER, ZERO_MASKED = 1, 2, 4, 8


def times(w, x):
    """W x of each gate, (gates, units); of integer weights as section 3.4 has it."""
    if not isinstance(w, dict):
        return w @ x
    x, f32 = x.astype(np.float32), np.float32
    m = np.abs(x).max()
    if not np.isfinite(m):
        a, r = f32(np.nan), np.zeros(len(x), np.int64)
    elif m < 2.0**-100:
        a, r = f32(0), np.zeros(len(x), np.int64)
    else:
        a, r = m / f32(w["limit"]), np.rint(x * (f32(w["limit"]) / m)).astype(np.int64)
    return (w["q"] @ r).astype(f32) * (w["s"] * a)


class Cell:
    """One direction of a recurrent node."""

    def __init__(self, op, cell, tensors):
        self.op, self.cell = op, cell
        self.w, self.b, self.u, self.d, self.extra, self.extra2 = (
            None if t is None else t if isinstance(t, dict) else t.astype(np.float64) for t in tensors
        )
        self.s, self.t, self.t2 = (FUNCTIONS.get(name) for name, _, _ in cell["acts"])

    def clip(self, a):
        return np.clip(a, -self.cell["clip"], self.cell["clip"]) if self.cell["clip"] > 0 else a

    def step(self, x, h, c):
        bias = self.b[:, :, 0] if self.b is not None else 0
        a = times(self.w, x) + bias  # one row per gate
        if self.op == "rnn":
            return self.s(self.clip(a[0] + times(self.u, h)[0])), c
        return self.lstm(a + times(self.u, h), c) if self.op == "lstm" else (self.gru(a, h), c)

    def lstm(self, a, c):
        p = self.extra2 if self.extra2 is not None else np.zeros((3, 1))
        i, f = self.s(self.clip(a[0] + p[0] * c)), self.s(self.clip(a[1] + p[1] * c))
        c = f * c + i * self.t(self.clip(a[2]))
        m = self.s(self.clip(a[3] + p[2] * c)) * self.t2(c)
        return (m if self.extra is None else times(self.extra, m)[0]), c

    def gru(self, a, h):
        u, d = times(self.u, h), self.d[:, :, 0]
        r, z = (self.s(self.clip(a[g] + u[g] + d[g])) for g in (0, 1))
        if self.cell["flags"] & RESET_AFTER:
            inner = r * (u[2] + d[2])
        else:
            inner = times(self.extra, r * h)[0] + self.extra2[0, :, 0]
        return (1 - z) * self.t(self.clip(a[2] + inner)) + z * h


def run_row(cell, x, length, mask, h, c, of_graph):
    """One direction over one row ``x (T, I)``: the sequence ``(T, R)``, h and c after its last step.

    ``of_graph``: the initial state is a value of the graph, not the caller's.
    """
    flags, sequence, counted = cell.cell["flags"], np.zeros((len(x), len(h))), False
    steps = range(length)
    for t in reversed(steps) if cell.reverse else steps:
        if mask[t]:
            h, c = cell.step(x[t], h, c)
            sequence[t], counted = h, True
        elif not flags & ZERO_MASKED and (counted or not of_graph):
            sequence[t] = h
    return sequence, h, c


def run_node(op, cell, x, lengths, mask, h, c, of_graph):
    """All rows and directions: x (N, T, I), h (D, N, R), c (D, N, H); outputs as the node gives them."""
    parts = []
    for d, tensors in enumerate(cell["directions"]):
        one = Cell(op, cell, tensors)
        one.reverse = bool(cell["flags"] & REVERSE) or d == 1
        rows = [run_row(one, x[n], lengths[n], mask[n], h[d, n], c[d, n], of_graph) for n in range(len(x))]
        parts.append([np.stack(what) for what in zip(*rows, strict=True)])
    return [np.concatenate(what, axis=-1) for what in zip(*parts, strict=True)]
