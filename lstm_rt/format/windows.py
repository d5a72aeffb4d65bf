"""Weights of convolutions in the order in which the kernels read them. docs/format.md, section 5.2.

A window is read step by step, row by row, place by place, channel by channel, so that neighbours in memory stay such.
"""

from __future__ import annotations

import struct

import numpy as np

from .._checks import Array
from ..quantised import Quantised


def is_depthwise(units: int, channels: int, groups: int) -> bool:
    """Has each of several channels an output of its own?"""
    return groups > 1 and units == channels == groups


def channels_last(w: Array) -> Array:
    """``(O, C, ...)`` as ``(O, ... C)``, a row for each output; of a Quantised too."""
    if isinstance(w, Quantised):
        return w.with_values(channels_last(w.values))
    return np.ascontiguousarray(np.moveaxis(w, 1, -1).reshape(len(w), -1))


def channels_second(rows: Array, places: tuple[int, ...]) -> Array:
    """The inverse of :func:`channels_last`."""
    if isinstance(rows, Quantised):
        return rows.with_values(channels_second(rows.values, places))
    return np.ascontiguousarray(np.moveaxis(rows.reshape(len(rows), *places, -1), -1, 1))


def to_group_units(rows: Array, groups: int) -> Array:
    """``(groups * O, K)`` as ``(O, groups * K)``: the units of the groups side by side."""
    if groups == 1:
        return rows
    units: Array = rows.reshape(groups, -1, rows.shape[1]).swapaxes(0, 1).reshape(-1, groups * rows.shape[1])
    return units


def from_group_units(units: Array, groups: int) -> Array:
    """The inverse of :func:`to_group_units`."""
    if groups == 1:
        return units
    rows: Array = units.reshape(len(units), groups, -1).swapaxes(0, 1).reshape(groups * len(units), -1)
    return rows


KERNEL = struct.Struct("<8xIHH")  #: of convolutions, in the attributes
CELL_KERNELS = struct.Struct("<8xHH16xHH")  #: of convlstm: that of the input, that of h
