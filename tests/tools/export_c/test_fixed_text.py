"""docs/fixed.md, written out with Python's integers from its text alone, gives the integers of a model."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.fixed_models import network_of, noise, recurrent
from lstm_rt_tools.export_c.fixed import cells, curve
from lstm_rt_tools.export_c.fixed.rows import Rows

TABLE = [(int(v), int(b)) for v, b in curve.table()]


def limit(a: int, e: int) -> int:
    return max(-e, min(e - 1, a))


def t_of(z: int) -> int:
    z = limit(z, 1 << 21)
    i = (z + (1 << 15)) >> 16
    f = z - 65536 * i
    value, bend = TABLE[i + 32]
    low = (bend % 65536 + 32768) % 65536 - 32768
    return value + (((bend + low * f) * f) >> 16)


def half(a: int, t: int) -> int:
    return (a >> 1) + a * t // 2**32


def z_of(rows: Rows, row: int, v: list[int]) -> int:
    s = int(rows.start[row]) + sum(int(w) * x for w, x in zip(rows.weights[row], v, strict=True))
    u = 256 * s if rows.bits == 8 else s
    return u * int(rows.mult[row]) // 2**32 * 2**rows.shift


def moved(q: int, n: int) -> int:
    return q * 2**n if n >= 0 else (q + 2 ** (-n - 1)) >> -n


def lstm_step(cell: cells.Lstm, x: list[int], h: list[int], c: list[int]) -> tuple[list[int], list[int]]:
    v = [moved(q, cell.joint.x_by) for q in x] + [moved(q, cell.joint.h_by) for q in h]
    b, new_h, new_c = cell.c_bits, [], []
    for unit, old in enumerate(c):
        i, f, g, o = (t_of(z_of(cell.rows, 4 * unit + gate, v)) for gate in range(4))
        now = half(old, f) + ((half(g, i) + 5 * 2 ** (29 - b)) >> (31 - b))
        new_c.append(now)
        z = 3 * now * 2**17 // 2**b
        new_h.append((half(t_of(z), o) + 2**15) >> 16)
    return new_h, new_c


def gru_step(cell: cells.Gru, x: list[int], h: list[int], fine: list[int]) -> tuple[list[int], list[int]]:
    on_x, on_h = [moved(q, cell.joint.x_by) for q in x], [moved(q, cell.joint.h_by) for q in h]
    new_h, new_fine = [], []
    assert cell.of_h is not None
    for unit, old in enumerate(fine):
        r, u = (t_of(z_of(cell.gates, 2 * unit + gate, on_x + on_h)) for gate in range(2))
        n = t_of(z_of(cell.of_x, unit, on_x) + half(z_of(cell.of_h, unit, on_h), r)) >> 2
        new_fine.append(((old + n) >> 1) + (old - n) * u // 2**32)
        new_h.append((new_fine[-1] + 2**13) >> 14)
    return new_h, new_fine


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("op", ["lstm", "gru"])
def test_the_text_gives_the_models_integers(op: str, bits: int) -> None:
    graph = recurrent(op, 3, 5, scale=4.0)
    network = network_of(graph, bits, noise(graph, 60))
    cell = network.layers[0].directions[0]
    x = np.random.default_rng(2).integers(-(1 << 15), 1 << 15, (1, 40, 3))
    (expected,) = network.run([x])
    h, other = [0] * 5, [0] * 5
    for t in range(40):
        step = lstm_step if op == "lstm" else gru_step
        h, other = step(cell, x[0, t].tolist(), h, other)
        assert h == expected[0, t].tolist()
