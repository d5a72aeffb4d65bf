"""Models that others made, with inputs and the outputs that their framework gave."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lstm_rt_tools.judges import reference

from lstm_rt.graph import Graph

from .paths import DATA

Arrays = dict[str, np.ndarray]


class Case:
    """A folder with the files of a model and ``io.npz``: ``<tag>__in__<name>``, ``<tag>__out__<name>``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        facts = folder / "case.json"
        tolerance = json.loads(facts.read_text())["tolerance"] if facts.is_file() else 1e-5
        self.tolerance = tolerance if isinstance(tolerance, dict) else {"rtol": 0, "atol": tolerance}

    def runs(self, *tags: str) -> Iterator[tuple[Arrays, Arrays]]:
        """Inputs and outputs by name, for these tags; without any, for all."""
        with np.load(self.folder / "io.npz") as data:
            keys = [key.split("__", 2) for key in data.files]
            for tag in tags or dict.fromkeys(key[0] for key in keys):
                ins, outs = ({k[2]: data["__".join(k)] for k in keys if k[:2] == [tag, way]} for way in ("in", "out"))
                assert ins
                assert outs
                yield ins, outs

    def close(self, mine: Any, theirs: np.ndarray) -> None:
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, **self.tolerance)

    def check(self, graph: Graph, *tags: str) -> None:
        """The reference interpreter gives what the framework gave; the arrays come in the order of the graph's."""
        for ins, outs in self.runs(*tags):
            for mine, theirs in zip(reference.run(graph, list(ins.values())), outs.values(), strict=True):
                self.close(mine, theirs)


def published(name: str) -> Case:
    """A published model; they are not part of the repository, LSTM_RT_MODELS names the folder that holds them."""
    root = os.environ.get("LSTM_RT_MODELS")
    if not root:
        pytest.skip("LSTM_RT_MODELS is not set: the published models are not part of the repository")
    if not (Path(root) / name).is_dir():
        pytest.skip(f"LSTM_RT_MODELS has no {name}")
    return Case(Path(root) / name)


def case(name: str) -> Case:
    """A small file of a user, or what is left of it."""
    return Case(DATA / "cases" / name)


def unpack(packed: Path, folder: Path) -> Path:
    """``<name>.gz`` as a file of its own."""
    path = folder / packed.name.removesuffix(".gz")
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


#: Models of Keras 2: made by make_keras2_fixtures.py.
KERAS2 = DATA / "keras2"


def check_keras2(graph: Graph, name: str) -> None:
    """What Keras 2 gave."""
    with np.load(KERAS2 / f"{name}.npz") as data:
        actual = reference.run(graph, [data["x"]])
        expected = [data[f"y{i}"] for i in range(len(data.files) - 1)]
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape
        np.testing.assert_allclose(a, e, rtol=0, atol=1e-5)
