"""Recurrent layers in integers: one step of many rows at once, exactly as a device computes it. docs/fixed.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Node

from .acts import Bounded, Shape, bounded, gate_shape, signed_shape
from .curve import Z_END, Ints, half_of, high, limited, times_half
from .rows import Exact, Format, Rows, chosen_formats, quantised, shifted

State: TypeAlias = tuple[Ints, Ints]  #: h (N, H), int16; what else goes on: c of an lstm, the fine h of a gru

H_BITS = 15  #: of h, which stays within 1
FINE_BITS = 29  #: of the h that a gru keeps
MOST_C_BITS = 24
_CURVE_SLACK = 1 << 18  #: of 2^31: by how much the curve may be above what it is further right


@dataclass(frozen=True)
class Joint:
    """How input and state become the one vector that rows are multiplied with."""

    x_by: int  #: x gets so many more bits of fraction
    h_by: int
    formats: tuple[Format, Format]

    def v(self, x: Ints, h: Ints) -> Ints:
        return np.concatenate([shifted(x, self.x_by), shifted(h, self.h_by)], axis=-1)


Moments: TypeAlias = Callable[[list[Format]], Exact | None]  #: of v, in the formats it is taken in


def no_moments(formats: list[Format]) -> Exact | None:
    return None


def _weights(node: Node, suffix: str) -> tuple[Exact, Exact, Exact, Exact]:
    """w_ih, w_hh, b_ih, b_hh of a direction in float64."""
    w_ih, w_hh = (np.asarray(node.weights[n + suffix], dtype=np.float64) for n in ("w_ih", "w_hh"))
    zero = np.zeros(len(w_ih))
    b_ih, b_hh = (np.asarray(node.weights.get(n + suffix, zero), dtype=np.float64) for n in ("b_ih", "b_hh"))
    return w_ih, w_hh, b_ih, b_hh


@dataclass(frozen=True)
class Lstm:
    rows: Rows  #: (4 H, I + H); of each unit i, f, g, o
    joint: Joint
    gates: Shape
    cell: Shape
    output: Shape
    c_bits: int
    within: bool  #: do sums never reach the ends of the curves, so that they need no limits?

    @property
    def hidden(self) -> int:
        return len(self.rows.weights) // 4

    @property
    def h_format(self) -> tuple[int, int]:
        return H_BITS, 1 << H_BITS

    def step(self, x: Ints, state: State) -> State:
        h, c = state
        z = self.rows.z(self.joint.v(x, h))
        i, f, o = (self.gates(z[:, k::4]) for k in (0, 1, 3))
        g = self.cell(z[:, 2::4])
        c = times_half(c, f) + ((times_half(g, i) + (5 << (29 - self.c_bits))) >> (31 - self.c_bits))
        h = shifted(times_half(self.output(self.output_z(c)), o), H_BITS - 31)
        return h, c

    def output_z(self, c: Ints) -> Ints:
        """The argument of the curve that c goes through."""
        wide, bits = (c, 21) if self.output.hard else (3 * c, 17)
        by = bits - self.c_bits
        z: Ints = wide << by if by >= 0 else wide >> -by
        return limited(z)


@dataclass(frozen=True)
class Gru:
    gates: Rows  #: (2 H, I + H); of each unit r, z
    of_x: Rows  #: (H, I), and of h (H, H): the candidate's; before the product (H, I + H)
    of_h: Rows | None
    joint: Joint
    gate: Shape
    candidate: Shape

    @property
    def hidden(self) -> int:
        return len(self.of_x.weights)

    @property
    def h_format(self) -> tuple[int, int]:
        return H_BITS, 1 << H_BITS

    def step(self, x: Ints, state: State) -> State:
        h, fine = state
        v = self.joint.v(x, h)
        z = self.gates.z(v)
        r, u = self.gate(z[:, ::2]), self.gate(z[:, 1::2])
        inputs = x.shape[1]
        if self.of_h is None:
            bits = self.joint.formats[1].bits
            reset = shifted(times_half(fine, r), bits - FINE_BITS)
            sum_ = self.of_x.z(np.concatenate([v[:, :inputs], reset], axis=1))
        else:
            on_h = self.of_h.z(v[:, inputs:])
            sum_ = self.of_x.z(v[:, :inputs]) + times_half(on_h, r)
        n = self.candidate(sum_) >> (31 - FINE_BITS)
        fine = ((fine + n) >> 1) + high(fine - n, u)
        return shifted(fine, H_BITS - FINE_BITS), fine


@dataclass(frozen=True)
class Rnn:
    rows: Rows  #: (H, I + H)
    joint: Joint
    act: Bounded
    h_format: tuple[int, int]

    @property
    def hidden(self) -> int:
        return len(self.rows.weights)

    def step(self, x: Ints, state: State) -> State:
        h = self.act(self.rows.z(self.joint.v(x, state[0])))
        return h, h


def _joint(w: Exact, bias: Exact, x: Format, h: Format, inputs: int, bits: int) -> Joint:
    formats = chosen_formats(w, bias, [x, h], [inputs, w.shape[1] - inputs], bits)
    return Joint(formats[0].bits - x.bits, formats[1].bits - h.bits, (formats[0], formats[1]))


def _by_unit(a: NDArray[Any], gates: int) -> NDArray[Any]:
    """Rows gate by gate to rows unit by unit."""
    by_gate = a.reshape(gates, -1, *a.shape[1:])
    return np.ascontiguousarray(by_gate.swapaxes(0, 1)).reshape(a.shape)


def lstm(node: Node, suffix: str, x: Format, h_energy: float, bits: int, moments: Moments = no_moments) -> Lstm:
    w_ih, w_hh, b_ih, b_hh = _weights(node, suffix)
    gate, cell, output = node.attrs["activations"]
    gates, cells, outputs = gate_shape("lstm", gate), signed_shape("lstm", cell), signed_shape("lstm", output)
    w = _by_unit(np.concatenate([w_ih, w_hh], axis=1), 4)
    bias = _by_unit(b_ih + b_hh, 4)
    inputs, hidden = w_ih.shape[1], w_hh.shape[1]
    joint = _joint(w, bias, x, Format(H_BITS, 1 << H_BITS, h_energy), inputs, bits)
    shapes = (gates, gates, cells, gates)
    rows = _rows(w, bias, list(shapes) * hidden, joint, [inputs, hidden], bits, moments)
    most = np.repeat([f.most for f in joint.formats], [inputs, hidden])
    largest = rows.largest_z(most)
    within = bool(largest.max() < Z_END)
    return Lstm(rows, joint, gates, cells, outputs, c_bits(largest[1::4], gates, cells), within)


def _rows(
    w: Exact, bias: Exact, shapes: list[Shape], joint: Joint, counts: list[int], bits: int, moments: Moments
) -> Rows:
    factor, offset = np.array([s.factor for s in shapes]), np.array([s.offset for s in shapes])
    formats = list(joint.formats)
    return quantised(w, bias + offset / factor, formats, counts, factor, bits, moments(formats))


def c_bits(forget_z: Ints, gate: Shape, cell: Shape) -> int:
    """Bits of fraction of a cell state that provably stays within int32.

    With f the largest forget gate and n the largest of what is added, roundings adding less than 2 units,
    ``|c| <= (n + 2 / 2^bits) / (1 - f)``.
    """
    end = np.array([Z_END - 1])
    z = limited(np.array([int(forget_z.max(initial=0))]))
    kept = float(half_of(np.minimum(gate(z) + _CURVE_SLACK, gate(end)))[0]) / 2.0**31
    new = float(half_of(gate(end))[0]) * float(cell(end)[0]) / 2.0**62
    bits = MOST_C_BITS
    while (new + 2.0 ** (1 - bits)) / (1 - kept) * 2.0**bits >= 2.0**31:
        bits -= 1
    return bits


def gru(node: Node, suffix: str, x: Format, h_energy: float, bits: int, moments: Moments = no_moments) -> Gru:
    w_ih, w_hh, b_ih, b_hh = _weights(node, suffix)
    gate, candidate = node.attrs["activations"]
    gates, signed = gate_shape("gru", gate), signed_shape("gru", candidate)
    inputs, hidden = w_ih.shape[1], w_hh.shape[1]
    w = np.concatenate([w_ih, w_hh], axis=1)
    after = node.attrs["reset_after"]
    joint = _joint(w, b_ih + b_hh, x, Format(H_BITS, 1 << H_BITS, h_energy), inputs, bits)
    both = slice(None, 2 * hidden)
    w_gates, b_gates = _by_unit(w[both], 2), _by_unit((b_ih + b_hh)[both], 2)
    of_gates = _rows(w_gates, b_gates, [gates] * (2 * hidden), joint, [inputs, hidden], bits, moments)
    n = slice(2 * hidden, None)
    if not after:
        of_x = _rows(w[n], (b_ih + b_hh)[n], [signed] * hidden, joint, [inputs, hidden], bits, no_moments)
        return Gru(of_gates, of_x, None, joint, gates, signed)
    of_all = moments(list(joint.formats))
    parts = []
    for w_n, b_n, k, at in ((w_ih[n], b_ih[n], 0, slice(None, inputs)), (w_hh[n], b_hh[n], 1, slice(inputs, None))):
        unit = np.full(hidden, signed.factor)
        part = None if of_all is None else of_all[at, at]
        parts.append(quantised(w_n, b_n, [joint.formats[k]], [w_n.shape[1]], unit, bits, part))
    return Gru(of_gates, parts[0], parts[1], joint, gates, signed)


def rnn(node: Node, suffix: str, x: Format, h: Format, bits: int, moments: Moments = no_moments) -> Rnn:
    """``h``: of what it writes, where the activation has no range of its own."""
    w_ih, w_hh, b_ih, b_hh = _weights(node, suffix)
    (act,) = node.attrs["activations"]
    act = bounded("rnn", act, h.bits)
    h = h.shifted(act.bits)
    most = max(abs(act.least), abs(act.most))
    h = Format(act.bits, most, h.energy)
    w, bias = np.concatenate([w_ih, w_hh], axis=1), b_ih + b_hh
    inputs, hidden = w_ih.shape[1], w_hh.shape[1]
    joint = _joint(w, bias, x, h, inputs, bits)
    rows = quantised(
        w, bias + act.offset / act.factor, list(joint.formats), [inputs, hidden], np.full(hidden, act.factor), bits,
        moments(list(joint.formats)),
    )  # fmt: skip
    return Rnn(rows, joint, act, (act.bits, most))
