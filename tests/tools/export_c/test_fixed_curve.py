"""The curve of docs/fixed.md against the functions that it stands for, on every argument."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from lstm_rt_tools.export_c.core import SOURCES
from lstm_rt_tools.export_c.fixed import curve

Z = np.arange(-curve.Z_END, curve.Z_END, dtype=np.int64)
X = Z / curve.Z_UNIT
CHECKSUM = 3494040021  #: a table that changes, changes every exported model
DOCS = Path(__file__).parents[3] / "docs" / "fixed.md"


@pytest.fixture(scope="module")
def t() -> np.ndarray:
    return curve.curve(Z)


def stated(name: str) -> tuple[float, float]:
    found = re.search(rf"^\| {name} \| (\S+) \| (\S+) \|$", DOCS.read_text(encoding="utf-8"), re.M)
    assert found is not None
    return float(found[1]), float(found[2])


def test_sigmoid_is_as_near_as_stated(t: np.ndarray) -> None:
    away = (t / 2.0**31 + 1) / 2 - 1 / (1 + np.exp(-X))
    largest, rms = stated("sigmoid")
    assert np.abs(away).max() <= largest
    assert np.sqrt(np.mean(away**2)) <= rms


def test_tanh_is_as_near_as_stated(t: np.ndarray) -> None:
    away = t / 2.0**31 - np.tanh(X / 2)
    largest, rms = stated("tanh")
    assert np.abs(away).max() <= largest
    assert np.sqrt(np.mean(away**2)) <= rms
    assert t[curve.Z_END] == 0  # of 0


def test_beyond_the_ends_it_stays() -> None:
    ends = curve.curve(np.array([-(1 << 31), -curve.Z_END, curve.Z_END - 1, (1 << 31) - 1]))
    assert ends.tolist() == [-curve.ENDS, -curve.ENDS, curve.ENDS, curve.ENDS]
    assert 1 / (1 + np.exp(X[-1])) < 2.0**-15


def test_no_gate_is_ever_one(t: np.ndarray) -> None:
    assert np.abs(t).max() == curve.ENDS
    assert np.abs(curve.hard_curve(Z)).max() <= curve.ENDS


def test_nothing_in_it_leaves_32_bits(t: np.ndarray) -> None:
    table = curve.table()
    index = (Z + (1 << 15)) >> 16
    f = Z - (index << 16)
    value, word = table[index + 32].T
    low = ((word + 0x8000) & 0xFFFF) - 0x8000
    for x in (value, word, word + low * f, low * f, ((word + low * f) * f) >> 16, t):
        assert x.min() >= -(1 << 31)
        assert x.max() < 1 << 31


def test_the_hard_curve_is_a_line() -> None:
    away = curve.hard_curve(Z) / 2.0**31 - np.clip(Z / 2.0**21, -1, 1)
    assert np.abs(away).max() <= 2.0**-14 + 2.0**-31


def test_the_table_in_c_is_the_table() -> None:
    text = (SOURCES / "fixed" / "lrt_fixed_table.h").read_text(encoding="utf-8")
    found = np.array([[int(a), int(b)] for a, b in re.findall(r"FIXED_SEGMENT\((-?\d+), (-?\d+)\)", text)])
    assert np.array_equal(found, curve.table())
    assert zlib.crc32(curve.table().astype("<i4").tobytes()) == CHECKSUM


@pytest.mark.parametrize("a", [-(1 << 31), -12345678, -1, 0, 1, 987654321, (1 << 31) - 1])
def test_times_half_is_times_a_sigmoid(a: int) -> None:
    t = np.array([-curve.ENDS, -1, 0, 77, curve.ENDS])
    got = curve.times_half(np.array([a]), t)
    assert np.abs(got - a * (t / 2.0**31 + 1) / 2).max() <= 1.5
    assert np.abs(got).max() < 1 << 31
