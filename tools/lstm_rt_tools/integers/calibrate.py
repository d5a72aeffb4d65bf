"""What the matrices of a graph are multiplied with, on data: the second moments, by which rounding is compensated."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt._names import node_title
from lstm_rt.errors import InputError
from lstm_rt.graph import DTYPES, Graph, Node
from lstm_rt.ops import FEATURES

from ..judges import reference

#: Which matrix: those of equal numbers are one, wherever they stand, and stay one.
Key: TypeAlias = bytes
Moments: TypeAlias = dict[Key, NDArray[np.float64]]


def key_of(w: NDArray[Any]) -> Key:
    return hashlib.blake2b(f"{w.shape}".encode() + np.ascontiguousarray(w).tobytes()).digest()


def checked(graph: Graph, data: Sequence[Any]) -> list[NDArray[Any]]:
    """Calibration data as the graph takes them: an array for each input, in order, of its dtype, and with a batch where
    the graph has one.

    Raises:
        InputError: their number or a dtype does not fit, or a number is not finite or no int32.
    """
    if len(data) != len(graph.inputs):
        names = ", ".join(graph.values[i].name for i in graph.inputs)
        raise InputError(f"the calibration data are {len(data)} arrays, expected {len(graph.inputs)}: {names}")
    found = []
    for port, given in zip(graph.inputs, data, strict=True):
        v, array = graph.values[port], np.asarray(given)
        what = f"the calibration data for {v.name!r}"
        whole = v.kind not in FEATURES
        if array.dtype.kind not in ("iu" if whole else "fiu"):
            raise InputError(f"{what} are {array.dtype}, expected {'integers' if whole else 'numbers'}")
        with np.errstate(over="ignore"):  # too large for float32: infinite
            typed = array.astype(DTYPES[v.kind])
        if whole and (typed != array).any():
            raise InputError(f"{what} have a number that is no int32")
        if not whole and not np.isfinite(typed).all():
            raise InputError(f"{what} have a number that is not finite")
        found.append(typed)
    return [np.ascontiguousarray(array) for array in _with_batch(graph, found)]


def _with_batch(graph: Graph, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """The arrays; those of one row, given without the axis of a batch as calls take them, with it."""
    values = [graph.values[port] for port in graph.inputs]
    found = []
    for v, array in zip(values, arrays, strict=True):
        shape = v.shape("N", "T")
        if v.kind == "lengths" and array.shape == (1,):  # goes with both
            found.append(array)
        elif "N" in shape and array.ndim == len(shape) - 1:
            found.append(np.expand_dims(array, shape.index("N")))
        else:
            return arrays
    return found


@dataclass
class Sums:
    """Of what one matrix is multiplied with, for each group of its rows: over all rows x, ``x x^T`` and ``|x|^4``."""

    second: Any = 0  #: (groups, k, k)
    fourth: Any = 0  #: (groups,)
    rows: int = 0

    def add(self, x: NDArray[Any]) -> None:
        """Rows ``(groups, n, k)``."""
        self.second = self.second + x.swapaxes(1, 2) @ x
        self.fourth = self.fourth + np.square(np.square(x).sum(axis=2)).sum(axis=1)
        self.rows += x.shape[1]

    def shrunk(self) -> NDArray[np.float64]:
        """What more such data would have: few rows say of features that they go together which only happen to.

        O. Ledoit, M. Wolf, *A well-conditioned estimator for large-dimensional covariance matrices*, Journal of
        Multivariate Analysis 88 (2004): the mean of the data's moments and of those without any such relation, weighted
        by how far the former are from row to row.
        """
        mean = self.second / self.rows
        k = mean.shape[-1]
        plain = np.trace(mean, axis1=1, axis2=2)[:, None, None] / k * np.eye(k)
        spread = np.square(mean - plain).sum(axis=(1, 2))
        chance = (self.fourth / self.rows - np.square(mean).sum(axis=(1, 2))) / self.rows
        weight = np.clip(np.divide(chance, spread, out=np.ones_like(chance), where=spread > 0), 0, 1)[:, None, None]
        found: NDArray[np.float64] = self.rows * ((1 - weight) * mean + weight * plain)
        return found


def moments(
    graph: Graph, inputs: Sequence[NDArray[Any]], tell: Callable[[str], None] = lambda text: None, shrink: bool = False
) -> Moments:
    """Of each matrix that is multiplied with something: the sum of ``x x^T`` over all rows and steps, ``(k, k)``; of a
    conv of several groups ``(groups, k, k)``.

    Args:
        graph: of float32.
        inputs: as :func:`checked` has them.
        tell: is told which node is being computed.
        shrink: as more data of the kind would have them (:meth:`Sums.shrunk`).

    Raises:
        InputError: the arrays do not fit the graph, or hold nothing.
    """
    sums: dict[Key, Sums] = {}
    keys: dict[tuple[int, str], Key] = {}
    numbers = {id(node): i for i, node in enumerate(graph.nodes)}

    def watch(node: Node, name: str, x: NDArray[Any]) -> None:
        place = (id(node), name)
        if place not in keys:
            keys[place] = key_of(node.weights[name])
            tell(f"computing {node_title(graph, numbers[id(node)])} of {len(graph.nodes)} nodes in float64")
        groups = x.shape[-2] if node.op == "conv" and node.attrs["groups"] > 1 else 1
        sums.setdefault(keys[place], Sums()).add(x.reshape(-1, groups, x.shape[-1]).swapaxes(0, 1))

    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is left out
        reference.run(graph, inputs, watch=watch)
        given = [a for port, a in zip(graph.inputs, inputs, strict=True) if graph.values[port].kind != "lengths"]
        if not any(a.any() for a in given) or not any(s.second.any() for s in sums.values()):
            raise InputError("the calibration data have no steps or rows, or only zeros")
        found = {key: s.shrunk() if shrink else s.second for key, s in sums.items()}
    return {key: m if len(m) > 1 else m[0] for key, m in found.items() if np.isfinite(m).all()}
