"""Integers as the devices compute with them: the product's upper half, and sigmoid and tanh from one table.

Everything here is exact, on int64 arrays that hold what is int32 on a device. docs/fixed.md has the definitions.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]

SEGMENTS = 3  #: of the table, for each unit of a sigmoid's argument
Z_BITS = 16  #: of fraction in a segment
Z_UNIT = SEGMENTS << Z_BITS  #: what an argument of 1 of sigmoid is as z
Z_END = 1 << 21  #: z from there on is limited to it
HALF = Z_END >> Z_BITS  #: segments on either side of the middle one
#: What the ends are, of 2^31: sigmoid is 2^-15 from 0 or 1 there, so that a cell state stays below 2^15.
ENDS = (1 << 31) - (1 << 17)
_DIGITS = 60


def high(a: Ints, b: Ints | int) -> Ints:
    """The upper 32 bits of the product of two int32: ``floor(a b / 2^32)``."""
    result: Ints = (a * b) >> 32
    return result


def limited(z: Ints, end: int = Z_END) -> Ints:
    return np.clip(z, -end, end - 1)


@cache
def table() -> Ints:
    """The curve ``tanh(x / 2)``: for each segment ``(value at its middle, slope and half of the curvature)``, (65, 2).

    The second number has the slope in its upper 16 bits and the curvature, signed, in its lower ones. Between the
    middle and half a segment away the quadratic goes through the curve at the nodes of Chebyshev. Computed in decimal
    numbers, so that every machine gets the same integers.
    """
    with localcontext() as context:
        context.prec = _DIGITS
        node = Decimal(3).sqrt() / 4
        parts = [_segment(Decimal(i) / SEGMENTS, node) for i in range(HALF - 1)]
        rows = [_packed(*part) for part in parts]
        below = [_packed(-value, slope, -bent) for value, slope, bent in parts[:0:-1]]
    end = (ENDS, 0)
    result = np.array([(-ENDS, 0)] * 2 + below + rows + [end] * 2, dtype=np.int64)
    result.flags.writeable = False
    return result


def _curve(x: Decimal) -> Decimal:
    return 1 - 2 / (x.exp() + 1)


def _segment(x: Decimal, node: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """The value, slope and half of the curvature of a segment with this middle, in the units of the table."""
    width = 1 / Decimal(SEGMENTS)
    left, middle, right = (_curve(x + k * node * width) for k in (-1, 0, 1))
    slope = (right - left) / (2 * node)
    bent = (right + left - 2 * middle) / (2 * node * node)
    return middle * (1 << 31), slope * (1 << 15), bent * (1 << 15)


def _packed(value: Decimal, slope: Decimal, bent: Decimal) -> tuple[int, int]:
    """The slope is rounded to what is nearest with the curvature's bits below it."""
    low = int(bent.to_integral_value()) & 0xFFFF
    whole = int((slope - Decimal(low) / (1 << 16)).to_integral_value())
    return int(value.to_integral_value()), (whole << 16) | low


def curve(z: Ints) -> Ints:
    """``tanh(x / 2)`` of ``z = x Z_UNIT`` (any int32), times 2^31.

    So it is ``2 sigmoid(x) - 1`` of x, and ``tanh`` of x / 2.
    """
    z = limited(z)
    index = (z + (1 << (Z_BITS - 1))) >> Z_BITS
    f = z - (index << Z_BITS)
    value, word = table()[index + HALF].T if z.ndim == 1 else np.moveaxis(table()[index + HALF], -1, 0)
    low = ((word + 0x8000) & 0xFFFF) - 0x8000
    result: Ints = value + (((word + low * f) * f) >> 16)
    return result


def hard_curve(z: Ints) -> Ints:
    """As :func:`curve`, of a straight line: the limited z times 2^10, and 2^-14 of it less, as its ends are those."""
    t = limited(z) << 10
    result: Ints = t - (t >> 14)
    return result


def half_of(t: Ints) -> Ints:
    """``(1 + t) / 2`` of what a curve gives: sigmoid, times 2^31."""
    result: Ints = (t >> 1) + (1 << 30)
    return result


def times_half(a: Ints, t: Ints) -> Ints:
    """``a (1 + t) / 2``: a times the sigmoid that t is the curve of."""
    result: Ints = high(a, t) + (a >> 1)
    return result
