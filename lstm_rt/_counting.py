"""How many parameters a graph has: the one count, for ``Model.info``, ``lstm-rt info`` and ``convert``."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .graph import Graph, Node

#: What PyTorch calls buffers; Keras counts them, as parameters that are not trained.
_STATISTICS = ("mean", "var")


def node_parameters(graph: Graph) -> list[int]:
    """The number of parameters of each node, as the framework counts them that the model comes from.

    Where a file says what its source had, that is the answer (``Node.parameters``): weights that the
    file holds may be fewer (biases added, statistics folded). Weights that several nodes share (tied)
    count with the first of them: matrices of equal numbers, and whole nodes of equal weights.
    """
    source = graph.meta.get("source")
    buffers = _STATISTICS if isinstance(source, dict) and source.get("framework") == "pytorch" else ()
    seen: set[tuple[Any, ...]] = set()
    return [_count(node, buffers if node.op == "batchnorm" else (), seen) for node in graph.nodes]


def _count(node: Node, buffers: tuple[str, ...], seen: set[tuple[Any, ...]]) -> int:
    weights = {name: w for name, w in node.weights.items() if w.dtype.kind == "f"}  # an index is no parameter
    keys = {name: _key(w) for name, w in weights.items()}
    whole = (node.op, *sorted(keys.items()))
    matrices = {name: key for name, key in keys.items() if len(key[0]) == 2}
    tied = {name for name, key in matrices.items() if key[1] and key in seen}
    if whole in seen and any(digest for _, digest in (matrices or keys).values()):
        tied = set(keys)
    seen.update(keys.values(), [whole])
    if node.parameters is not None:
        return node.parameters
    return sum(w.size for name, w in weights.items() if name not in tied and name not in buffers)


def _key(w: NDArray[Any]) -> tuple[tuple[int, ...], bytes]:
    """Shape and a digest of the numbers, empty if all are the same: such are equal by chance."""
    w = np.asarray(w)
    constant = w.size == 0 or bool(np.all(w == w.flat[0]))
    return w.shape, b"" if constant else hashlib.blake2b(np.ascontiguousarray(w).data, digest_size=16).digest()
