"""The records of a ``.lrt`` file: their layouts, codes and versions. docs/format.md, sections 1 to 4."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from .._core import FORMAT_VERSION
from ..activations import ACT_CODES, ACTIVATIONS, Activation
from ..ops import KINDS, OPS, Attr
from ..values import ORDERS

MAGIC = b"\x89LRT\r\n\x1a\n"
VERSION = FORMAT_VERSION  #: the newest; a file is given the lowest that says all it needs
TIED_VERSION = 2  #: the first in which an embedding may share the panels of a dense layer
AXES_VERSION = 3  #: the first with rules of time axes, and with orders of the axes of ports
SHAPES_VERSION = 4  #: the first with ports of any shape
BROADCAST_VERSION = 4  #: the first in which what an op reads may be broadcast
INTEGERS_VERSION = 5  #: the first with integer weights
BLOCKS_VERSION = 5  #: the first with matrices of blocks
MANY_AXES_VERSION, FEW_AXES = 4, 8  #: the first with more time axes than these
ALIGN = 64
OVERREAD = 64  #: bytes that must follow the last tensor
NONE = 0xFFFFFFFF
MAX_BYTES = 0xFFFFFFFF  #: of all names, and of the metadata: their sizes are u32

HEADER = struct.Struct("<8sIIQIIIIIIIII68x")
VALUE = struct.Struct("<BBHIIIB3xI8x")
NODE = struct.Struct("<HHHH6I3I12I")  # and 17 attributes of 4 bytes
N_ATTRS = 17
NODE_SIZE = NODE.size + 4 * N_ATTRS
TENSOR = struct.Struct("<QQBBHIII")
AXIS = struct.Struct("<IIiII")

KIND_CODES = {kind: code for code, kind in enumerate(KINDS, 1)}
ORDER_CODES = {order: code for code, order in enumerate(ORDERS)}
DIM_CODES = {"N": -1, "T": -2, "*": -3}  #: of a shaped port, besides sizes
OP_CODES = {name: op.code for name, op in OPS.items()}
ACT_NAMES = list(ACTIVATIONS)
PLAIN, PANELS, PADDED, BLOCKS = 0, 1, 2, 3
F32, I32, I8, I16 = 1, 2, 3, 4
#: What the numbers of a tensor are on disk; integer weights stand in words.
DISK = {F32: "<f4", I32: "<i4", I8: "<u4", I16: "<u4"}
INTEGERS: dict[int, np.dtype[Any]] = {I8: np.dtype(np.int8), I16: np.dtype(np.int16)}
REVERSE, BIDIRECTIONAL, RESET_AFTER, ZERO_MASKED = 1, 2, 4, 8


def round_up(n: int) -> int:
    return (n + ALIGN - 1) // ALIGN * ALIGN


def act_bytes(*acts: Activation) -> bytes:
    return b"".join(struct.pack("<Iff", ACT_CODES[a.name], a.alpha, a.beta) for a in acts)


def read_act(attrs: bytes, at: int) -> Activation:
    code, alpha, beta = struct.unpack_from("<Iff", attrs, at)
    return Activation(ACT_NAMES[code], alpha, beta)


_NUMBERS = {"i32": "<i", "u32": "<I", "u16": "<H", "f32": "<f"}


def attr_bytes(attr: Attr, value: Any) -> bytes:
    """An attribute of a graph as it stands in a node's record."""
    if attr.type == "activation":
        return act_bytes(value)
    return struct.pack(_NUMBERS[attr.type], value if attr.codes is None else attr.codes[value])


def read_attr(attr: Attr, attrs: bytes) -> Any:
    """The inverse of :func:`attr_bytes`."""
    if attr.type == "activation":
        return read_act(attrs, 4 * attr.at)
    (value,) = struct.unpack_from(_NUMBERS[attr.type], attrs, attr.place)
    return value if attr.codes is None else next(k for k, code in attr.codes.items() if code == value)
