"""Rows of tables for token ids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labelled import Labelled
from ..labels import Feat, Ids, Label, Loose, apart, cell, fixed


def embedded(b: Labelled, ids: Ids, table: NDArray[Any], axis: int) -> Label:
    """Rows of a table."""
    if axis != 0:
        return Loose("a table that is looked up along its second dimension is not supported", ids.dims)
    flat = np.asarray(table, np.float32).reshape(len(table), -1)
    wanted, at = np.unique(ids.cells, return_inverse=True)
    cells: list[NDArray[np.int64]] = []
    for run in np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1):  # ids that stand side by side
        value, places = apart(run)
        made = b.graph.embedding(int(value[0]), flat, int(places[0]), run.size)
        cells += list(cell(made, np.arange(run.size * flat.shape[1])).reshape(run.size, -1))
    dims = (*ids.dims, *(((n,) if n > 1 else ()) for n in table.shape[1:]))
    return Feat(dims, np.stack(cells)[at].reshape(fixed(dims)))


def one_hot(b: Labelled, ids: Ids, depth: int, on: float = 1.0, off: float = 0.0) -> Label:
    """A feature for each id, ``on`` where it is that, else ``off``."""
    table = np.full((depth, depth), off, np.float32)
    np.fill_diagonal(table, on)
    return embedded(b, ids, table, 0)
