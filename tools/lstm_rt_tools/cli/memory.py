"""What a command keeps in memory of a large file."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections import defaultdict
from typing import Any

from lstm_rt.graph import Graph

from ..weights.mapped import owner

_M_MMAP_THRESHOLD = -3  # of mallopt, in glibc's malloc.h
_LARGE = 1 << 20  #: bytes
_BYTES = (bytes, bytearray, mmap.mmap)


def give_back() -> None:
    """Let the memory of large arrays go back to the system when they are done, where the C library can be told.

    glibc keeps up to 32 MB of each, and what is read, put together and compared in turn would add up.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE)


def let_go(graph: Graph) -> None:
    """Copy weights that are small parts of something larger, such as the bytes of a file, so that this may go."""
    parts: dict[int, list[tuple[dict[str, Any], str]]] = defaultdict(list)
    whole: dict[int, int] = {}
    for node in graph.nodes:
        for name, array in node.weights.items():
            root = owner(array)
            parts[id(root)].append((node.weights, name))
            whole[id(root)] = len(root) if isinstance(root, _BYTES) else getattr(root, "nbytes", array.nbytes)
    for root_id, places in parts.items():
        distinct = {id(weights[name]): weights[name] for weights, name in places}
        if whole[root_id] > _LARGE + 2 * sum(a.nbytes for a in distinct.values()):
            copies = {key: a.copy() for key, a in distinct.items()}
            for weights, name in places:
                weights[name] = copies[id(weights[name])]
