"""Large files, of which no more is in memory than what is looked at."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from lstm_rt_tools.weights.mapped import MappedFile, copy_out, feed, owner

from lstm_rt.graph import Graph

NUMBERS = np.random.default_rng(0).standard_normal((1500, 2000)).astype(np.float32)  # 12 MB


def test_bytes_and_digest(tmp_path: Path) -> None:
    for data in (b"", b"few", NUMBERS.tobytes()):
        path = tmp_path / "f"
        path.write_bytes(data)
        file = MappedFile(path)
        digest = hashlib.sha256()
        feed(digest, path)
        file.forget()
        assert bytes(file.data) == data
        assert digest.digest() == hashlib.sha256(data).digest()


def test_a_graph_outlives_the_file(tmp_path: Path) -> None:
    """What is written over the file later leaves the weights alone."""
    path = tmp_path / "f"
    path.write_bytes(NUMBERS.tobytes())
    file = MappedFile(path)
    weight = np.frombuffer(file.data, np.float32).reshape(NUMBERS.shape)
    assert file.holds(weight)
    assert file.holds(weight.T[3:])
    graph = Graph()
    x = graph.input("x", "vec", 2000)
    y = graph.dense(x, weight)
    graph.output(graph.binary("add", y, graph.dense(x, weight)), "y")
    copy_out(graph, [file])
    found = [n.weights["weight"] for n in graph.nodes if n.op == "dense"]
    assert not any(file.holds(w) for w in found)
    assert owner(found[0]) is owner(found[1])  # tied weights stay tied
    with path.open("r+b") as f:
        f.write(bytes(NUMBERS.nbytes))
    np.testing.assert_array_equal(found[0], NUMBERS)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        MappedFile(tmp_path)
