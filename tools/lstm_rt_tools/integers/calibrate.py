"""What the matrices of a graph are multiplied with, on data: the second moments, by which rounding is compensated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import InputError
from lstm_rt.graph import Graph, Node

from ..judges import reference

#: Which matrix: those of equal numbers are one, wherever they stand, and stay one.
Key: TypeAlias = bytes
Moments: TypeAlias = dict[Key, NDArray[np.float64]]


def key_of(w: NDArray[Any]) -> Key:
    return hashlib.blake2b(f"{w.shape}".encode() + np.ascontiguousarray(w).tobytes()).digest()


def moments(graph: Graph, inputs: Sequence[NDArray[Any]]) -> Moments:
    """Of each matrix that is multiplied with something: the sum of ``x x^T`` over all rows and steps, ``(k, k)``.

    Args:
        graph: of float32.
        inputs: arrays in the order of ``graph.inputs``.

    Raises:
        InputError: the arrays do not fit the graph, hold nothing, or have a number that is not finite.
    """
    for port, array in zip(graph.inputs, inputs, strict=False):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"the calibration data for {graph.values[port].name!r} have a number that is not finite")
    found: Moments = {}
    keys: dict[tuple[int, str], Key] = {}

    def watch(node: Node, name: str, x: NDArray[Any]) -> None:
        place = (id(node), name)
        if place not in keys:
            keys[place] = key_of(node.weights[name])
        rows = x.reshape(-1, x.shape[-1])
        found[keys[place]] = found.get(keys[place], 0) + rows.T @ rows

    reference.run(graph, inputs, watch=watch)
    if not any(m.any() for m in found.values()):
        raise InputError("the calibration data have no steps or rows, or only zeros")
    return {key: m for key, m in found.items() if np.isfinite(m).all()}
