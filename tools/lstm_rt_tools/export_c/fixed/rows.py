"""Rows of weights as integers: what they are multiplied with, their sums, what these become (docs/fixed.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import GraphError

from ...integers.matrices import compensated
from .curve import Ints, high, limited

Exact = NDArray[np.float64]

LARGEST = {8: 127, 16: 32767}
#: What the magnitude of a sum stays below. Of int8 two rows share a word: the sum of the upper one has 24 bits.
SUM_END = {8: 1 << 23, 16: 1 << 31}
FINER = {8: 8, 16: 0}  #: bits that sums are shifted left before they are multiplied
MULT_END = 1 << 30  #: what multipliers stay below, so that two of their products can be added
MOST_SHIFT = 20
Z_MOST = 1 << 29  #: of |z|


@dataclass(frozen=True)
class Format:
    """What int16 numbers stand for, ``q / 2^bits``, and how large they get: up to ``most`` on either side.

    ``energy``: the mean of q^2 in use, as far as it is known, by which roundings are weighed against each other.
    """

    bits: int
    most: int
    energy: float

    def shifted(self, bits: int) -> Format:
        """The same numbers with so many bits of fraction."""
        by = bits - self.bits
        most = self.most << by if by >= 0 else (self.most + (1 << (-by - 1))) >> -by
        return Format(bits, most, self.energy * 4.0**by)


def shifted(x: Ints, by: int) -> Ints:
    """Numbers with ``by`` more bits of fraction, or fewer, halves rounded up."""
    result: Ints = x << by if by >= 0 else (x + (1 << (-by - 1))) >> -by
    return result


@dataclass(frozen=True)
class Rows:
    """``z = floor(U mult / 2^32)`` of the sums ``S = start + weights v``, U being S, or of int8 2^8 S; times 2^shift.

    int64 that a device has in int32. Before a shift z is limited, so that it stays within ``Z_MOST``.
    """

    weights: Ints  #: (rows, k)
    start: Ints  #: (rows,)
    mult: Ints  #: (rows,)
    shift: int
    bits: int  #: of a weight

    def z(self, v: Ints) -> Ints:
        """Of v (..., k): (..., rows)."""
        z = high((self.start + v @ self.weights.T) << FINER[self.bits], self.mult)
        return limited(z, Z_MOST >> self.shift) << self.shift if self.shift else z

    def largest_z(self, most: Ints) -> Ints:
        """Bounds of |z| of each row, where v stays within ``most`` (k,)."""
        sums = np.abs(self.start) + np.abs(self.weights) @ most
        bound: Ints = np.minimum((high(sums << FINER[self.bits], self.mult) + 1) << self.shift, Z_MOST)
        return bound


def quantised(
    w: Exact,
    bias: Exact,
    formats: list[Format],
    counts: list[int],
    unit: Exact,
    bits: int,
    moments: Exact | None = None,
) -> Rows:
    """Integers for the rows of w (rows, k) and their bias (rows,), for a v of parts of such sizes and formats.

    Args:
        unit: (rows,) what a result of 1 is as z.
        moments: (k, k) of the integers v: the mean of ``v v^T``. Weights are then rounded for them.

    Raises:
        GraphError: sums cannot be kept within 32 bits, or results are too fine for a multiplier.
    """
    scale = np.repeat([2.0**-f.bits for f in formats], counts)
    most = np.repeat(np.array([f.most for f in formats], dtype=np.int64), counts)
    exact = w * scale
    step = _step(np.abs(exact), np.abs(bias), most, bits)
    for shift in range(MOST_SHIFT + 1):
        unit_of_mult = unit * 2.0 ** (32 - FINER[bits] - shift)
        mult = np.maximum(np.ceil(step * unit_of_mult), 1)
        if mult.max(initial=0) < MULT_END:
            break
    else:
        raise GraphError(f"weights up to {np.abs(w).max():.3g} are too large for integers of such inputs")
    step = mult / unit_of_mult
    start = np.rint(bias / step)
    values = _rounded(exact / step[:, None], bits, moments)
    over = np.abs(start) + np.abs(values) @ most >= SUM_END[bits]
    if over.any():  # what rounding for moments added
        values[over] = np.trunc(exact[over] / step[over, None])
    rows = Rows(values.astype(np.int64), start.astype(np.int64), mult.astype(np.int64), shift, bits)
    check_sums(rows, most)
    return rows


def check_sums(rows: Rows, most: Ints) -> None:
    """No sum leaves what it has room for, whatever v there is within ``most``."""
    sums = np.abs(rows.start) + np.abs(rows.weights) @ most
    if sums.max(initial=0) >= SUM_END[rows.bits]:
        raise GraphError(f"sums reach {sums.max()}, expected less than {SUM_END[rows.bits]}")
    if np.abs(rows.weights).max(initial=0) > LARGEST[rows.bits]:
        raise GraphError(f"a weight of {np.abs(rows.weights).max()} does not fit {rows.bits} bits")


def _step(exact: Exact, bias: Exact, most: Ints, bits: int) -> Exact:
    """For each row the least that an integer may stand for: weights fit their bits, sums what room they have."""
    room = SUM_END[bits] - 1 - most.sum() / 2 - 1
    if room < SUM_END[bits] / 4:
        raise GraphError(f"{len(most)} inputs are too many for sums of integers")
    step: Exact = np.maximum(exact.max(axis=1) / LARGEST[bits], (exact @ most + bias) / room)
    return np.where(step > 0, step, 1e-30)


def _rounded(w: Exact, bits: int, moments: Exact | None) -> Exact:
    if moments is None or not moments.any():
        return np.clip(np.rint(w), -LARGEST[bits], LARGEST[bits])
    return compensated(w, moments, LARGEST[bits])


def expected_error(
    w: Exact, bias: Exact, formats: list[Format], counts: list[int], exact: list[bool], bits: int
) -> float:
    """The mean square of what rounding adds to a result, as far as formats tell; infinite where sums have no room.

    ``exact``: is a part of v what its source has, or was it rounded to this format?
    """
    scale = np.repeat([2.0**-f.bits for f in formats], counts)
    most = np.repeat(np.array([f.most for f in formats], dtype=np.int64), counts)
    try:
        step = _step(np.abs(w) * scale, np.abs(bias), most, bits)
    except GraphError:
        return np.inf
    energy = np.repeat([f.energy for f in formats], counts)
    of_weights = step**2 @ np.ones(len(w)) * energy.sum() / 12
    rounded = np.repeat([not e for e in exact], counts)
    of_inputs = ((w * scale) ** 2 @ rounded).sum() / 12
    return float(of_weights + of_inputs) / len(w)


def chosen_formats(w: Exact, bias: Exact, sources: list[Format], counts: list[int], bits: int) -> list[Format]:
    """The formats in which rows take their inputs: those at which roundings add least to the results."""
    best: tuple[float, list[Format]] = (np.inf, [])
    for formats in _candidates(sources):
        exact = [f.bits >= s.bits for f, s in zip(formats, sources, strict=True)]
        error = expected_error(w, bias, formats, counts, exact, bits)
        if error < best[0]:
            best = (error, formats)
    if not best[1]:
        raise GraphError(f"{sum(counts)} inputs are too many for sums of integers")
    return best[1]


def _candidates(sources: list[Format]) -> list[list[Format]]:
    found: list[list[Format]] = [[]]
    for source in sources:
        finest = source
        while finest.most and finest.most < 1 << 14:
            finest = finest.shifted(finest.bits + 1)
        options = [source.shifted(finest.bits - k) for k in range(14)]
        found = [[*head, option] for head in found for option in options]
    return found

