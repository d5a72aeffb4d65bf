"""What stays in memory of a large file, and what is written without being in memory as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import lstm_graph
from lstm_rt_tools.cli import memory
from lstm_rt_tools.cli.output import Output

from lstm_rt.errors import InputError
from lstm_rt.files import write_atomically
from lstm_rt.format import check_bytes, contents, dumps
from lstm_rt.graph import Graph


def test_pieces_are_the_file(tmp_path: Path) -> None:
    graph = lstm_graph()
    pieces = contents(graph)
    whole = b"".join(pieces)
    assert whole == dumps(graph) == b"".join(pieces)  # as often as wanted
    assert len(pieces) == len(whole)
    check_bytes(whole)
    write_atomically(tmp_path / "m.lrt", pieces)
    assert (tmp_path / "m.lrt").read_bytes() == whole


def test_what_is_there_is_compared_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pieces = contents(lstm_graph())
    path = Path("m.lrt")
    assert Output(path, []).write_unnamed(pieces, False) == ""
    assert Output(path, []).write_unnamed(pieces, False) == ", as it was"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="exists and is another file"):
        Output(path, []).write_unnamed(pieces, False)


def parts_of(numbers: np.ndarray, share: int) -> Graph:
    """A graph whose weights are views of the bytes of a file, of which they are one part in ``share``."""
    file = numbers.tobytes()
    weight = np.frombuffer(memoryview(file)[: len(file) // share], np.float32).reshape(-1, 4)
    graph = Graph()
    x = graph.input("x", "vec", 4)
    graph.output(graph.dense(graph.dense(x, weight[:4]), weight), "y")
    return graph


@pytest.mark.parametrize(("share", "goes"), [(8, True), (1, False)])
def test_small_parts_let_the_whole_go(share: int, goes: bool) -> None:
    numbers = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)
    graph = parts_of(numbers, share)
    before = [n.weights["weight"] for n in graph.nodes]
    wanted = dumps(graph)
    memory.let_go(graph)
    after = [n.weights["weight"] for n in graph.nodes]
    assert all((a is not b) == goes for a, b in zip(after, before, strict=True))
    assert all(a.flags.owndata == goes for a in after)
    assert dumps(graph) == wanted


def test_tied_weights_stay_one() -> None:
    graph = parts_of(np.ones(1 << 20, np.float32), 8)
    first, second = graph.nodes
    second.weights["weight"] = first.weights["weight"]
    memory.let_go(graph)
    assert first.weights["weight"] is second.weights["weight"]
