"""CRC-32C, the checksum of TensorFlow's files, which Python's libraries lack.

The bytes are cut into equally long lanes, whose checksums NumPy makes side by side. They are put together by what a
checksum becomes when so many zeros follow: as that is linear over bits, a table for each of its four bytes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = np.uint32(0x82F63B78)
_LANES = 1 << 12
_BLOCK = 1 << 24  #: bytes whose lanes are made at once
_MASK = 0xA282EAD8

Words = NDArray[np.uint32]


def crc32c(data: bytes | memoryview) -> int:
    """The checksum of some bytes."""
    octets = np.frombuffer(data, np.uint8)
    crc = 0xFFFFFFFF
    for at in range(0, len(octets), _BLOCK):
        crc = _block(octets[at : at + _BLOCK], crc)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """A checksum as it is stored: bytes that hold their own checksum would have a bad one."""
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def _block(octets: NDArray[np.uint8], crc: int) -> int:
    length = len(octets) // _LANES
    if length:
        lanes = octets[: length * _LANES].reshape(_LANES, length)
        state = np.zeros(_LANES, np.uint32)
        state[0] = crc
        crc = _joined(_fed(state, np.ascontiguousarray(lanes.T)), length)
    rest = octets[length * _LANES :]
    return int(_fed(np.array([crc], np.uint32), rest[:, None])[0])


def _fed(state: Words, columns: NDArray[np.uint8]) -> Words:
    """The state of each lane after the bytes of its column."""
    table = _byte_table()
    for column in columns:
        state = table[(state ^ column) & 0xFF] ^ (state >> np.uint32(8))
    return state


def _joined(state: Words, length: int) -> int:
    """The state after all lanes: each pair is one of twice the length, until there is one."""
    zeros = _zeros_table(length)
    while len(state) > 1:
        state = _apply(zeros, state[::2]) ^ state[1::2]
        zeros = np.stack([_apply(zeros, row) for row in zeros])
    return int(state[0])


def _apply(tables: Words, state: Words) -> Words:
    out: Words = tables[0][state & 0xFF]
    for i in range(1, 4):
        out = out ^ tables[i][(state >> np.uint32(8 * i)) & 0xFF]
    return out


def _zeros_table(length: int) -> Words:
    """What each value of each of the four bytes of a state becomes when ``length`` zeros follow."""
    values = np.arange(256, dtype=np.uint32)
    tables = np.stack([values << np.uint32(8 * i) for i in range(4)])
    power = np.stack([_fed(row, np.zeros((1, 1), np.uint8)) for row in tables])  # of one zero
    while length:
        if length & 1:
            tables = np.stack([_apply(power, row) for row in tables])
        power = np.stack([_apply(power, row) for row in power])
        length >>= 1
    return tables


@cache
def _byte_table() -> Words:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & np.uint32(1), (table >> np.uint32(1)) ^ _POLYNOMIAL, table >> np.uint32(1))
    return table
