"""Blocks: matrices of which only what is not zero is stored. docs/format.md, section 3.5."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import GATES, Node
from ..quantised import PANEL, Quantised
from .panels import as_words, of_words, padded_units, panel_widths, per_word, scales_of, words_per_row, zero_word
from .records import round_up

MAX_INPUTS = 1 << 16  #: of a matrix of blocks: its index is of 16 bits
#: Up to which share of blocks products are faster than those of all, and from which size of a matrix on: what
#: ``benchmarks/sparse.py`` measures (docs/quantisation.md). By the number of inputs of a word.
BREAK_EVEN = {1: 0.5, 2: 0.4, 4: 0.125}
LEAST_BYTES = 32768


def may_be_blocks(node: Node, name: str) -> bool:
    """Is the weight a matrix that a file may store as blocks?"""
    if node.op in GATES:
        return name.removesuffix("_reverse") in ("w_ih", "w_hh", "w_hr")
    return (node.op, name) == ("dense", "weight")


def pieces(node: Node, name: str, w: Any) -> list[tuple[Any, int]]:
    """The matrices that a file stores for the matrix ``w`` of a node, each with the gates of its panels."""
    stem = name.removesuffix("_reverse")
    if node.op == "gru" and stem == "w_hh" and not node.attrs["reset_after"]:
        rz = 2 * node.attrs["hidden_size"]
        return [(w[:rz], 2), (w[rz:], 1)]
    return [(w, GATES[node.op] if node.op in GATES and stem in ("w_ih", "w_hh") else 1)]


def is_worth_it(w: NDArray[Any] | Quantised, gates: int, below: float | None = None) -> bool:
    """Is the matrix to be stored as blocks?

    Args:
        below: where the share of its blocks that are not zero is at most this; with 0 never. Without: where blocks are
            smaller and faster.
    """
    if w.shape[1] > MAX_INPUTS:
        return False
    if below is not None:
        return below > 0 and share(w, gates) <= below
    return w.nbytes >= LEAST_BYTES and share(w, gates) <= BREAK_EVEN[per_word(w)]


def share(w: NDArray[Any] | Quantised, gates: int) -> float:
    """The share of blocks that are not zero."""
    return share_of([(w, gates)])


def share_of(parts: list[tuple[Any, int]]) -> float:
    """The same of several matrices."""
    return float(np.mean(np.concatenate([row for part in parts for row in _there(*part)])))


def stored(node: Node, name: str, w: Any) -> tuple[int, float | None]:
    """What a file has for the matrix ``w`` of a node: its bytes, padding of panels aside, and where it is stored as
    blocks, which share of them is not zero."""
    if not may_be_blocks(node, name):
        return w.nbytes, None
    parts, size, sparse = pieces(node, name, w), 0, False
    for part, gates in parts:
        as_blocks = is_worth_it(part, gates)
        size += to_blocks(part, gates).nbytes if as_blocks else part.nbytes
        sparse |= as_blocks
    return size, share_of(parts) if sparse else None


def to_blocks(w: NDArray[Any] | Quantised, gates: int) -> NDArray[np.uint32]:
    """``(gates * units, k)`` -> starts of the strips, scales of integers, index, and the blocks, as words."""
    index = [np.flatnonzero(row) for row in _there(w, gates)]
    starts = np.cumsum([0, *map(len, index)]).astype("<u4")
    head = starts.tobytes()
    if isinstance(w, Quantised):
        head += scales_of(w, gates).tobytes()
    head += np.concatenate(index).astype("<u2").tobytes()
    begin = round_up(len(head))
    out = np.zeros(begin // 4 + int(starts[-1]) * PANEL, "<u4")
    out.view(np.uint8)[: len(head)] = np.frombuffer(head, np.uint8)
    blocks = out[begin // 4 :].reshape(-1, PANEL)
    blocks[:] = zero_word(w)
    for i, (strip, k) in enumerate(zip(strips(as_words(w), gates), index, strict=True)):
        blocks[starts[i] : starts[i + 1], : len(strip)] = strip[:, k].T
    return out


def from_blocks(
    flat: NDArray[np.uint32], dtype: np.dtype[Any], gates: int, units: int, k: int, limit: int
) -> NDArray[Any] | Quantised:
    """The inverse of :func:`to_blocks`; what no block is there for is 0."""
    n_strips = gates * len(panel_widths(units))
    starts, raw = flat[: n_strips + 1].astype(np.int64), flat.view(np.uint8)
    at, n = 4 * len(starts), int(starts[-1])
    scales_end = at + (2 * gates * padded_units(units) if dtype != np.float32 else 0)
    scales, at = raw[at:scales_end].view("<u2"), scales_end
    index = raw[at : at + 2 * n].view("<u2")
    blocks = flat[len(flat) - n * PANEL :].reshape(n, PANEL)
    words = np.full((gates * units, words_per_row(dtype, k)), zero_word(dtype), "<u4")
    for i, strip in enumerate(strips(words, gates)):
        mine = slice(starts[i], starts[i + 1])
        strip[:, index[mine]] = blocks[mine, : len(strip)].T
    return words.view("<f4") if dtype == np.float32 else of_words(words, scales, dtype, gates, k, limit)


def strips(rows: NDArray[Any], gates: int) -> list[NDArray[Any]]:
    """Views of ``(gates * units, words)``: of each panel, the units of each gate."""
    units = len(rows) // gates
    by_gate, found, start = rows.reshape(gates, units, -1), [], 0
    for width in panel_widths(units):
        found += [by_gate[g, start : start + width] for g in range(gates)]
        start += width
    return found


def _there(w: NDArray[Any] | Quantised, gates: int) -> list[NDArray[np.bool_]]:
    """Of each strip, which words of inputs have a block. Zeros with a sign are zeros, too."""
    used: NDArray[np.bool_] = as_words(w) != zero_word(w) if isinstance(w, Quantised) else np.not_equal(w, 0)
    return [np.any(strip, axis=0) for strip in strips(used, gates)]
