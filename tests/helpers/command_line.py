"""What the tests of the command line share: small models, and ways to run a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.judges import testdata

from lstm_rt.graph import Graph

from .paths import EXAMPLES

DIGITS, ARCH = EXAMPLES / "digits" / "digits.pt", EXAMPLES / "digits" / "arch.toml"
SUNSPOTS = EXAMPLES / "sunspots" / "sunspots.keras"


def lstm_graph(seed: int = 0, name: str = "y") -> Graph:
    """x (N, T, 3) -> LSTM 5 -> y (N, T, 5)."""
    rng = np.random.default_rng(seed)
    g = Graph()
    x = g.input("x", "seq", 3)
    weights = {
        "w_ih": rng.normal(size=(20, 3)),
        "w_hh": rng.normal(size=(20, 5)),
        "b_ih": rng.normal(size=20),
    }
    g.output(g.recurrent("lstm", x, weights, hidden_size=5)[0], name)
    return g


def two_by_two() -> Graph:
    """ids and a vector in, a vector and a sequence out."""
    rng = np.random.default_rng(1)
    g = Graph()
    ids, v = g.input("ids", "ids"), g.input("v", "vec", 2)
    x = g.embedding(ids, rng.normal(size=(7, 4)))
    weights = {"w_ih": rng.normal(size=(9, 4)), "w_hh": rng.normal(size=(9, 3))}
    seq, h, _ = g.recurrent("gru", x, weights, hidden_size=3, mask=g.mask_ids(ids))
    g.output(g.concat(h, v), "joined")
    g.output(seq, "seq")
    return g


def saved(path: Path, graph: Graph, selftest: bool = True) -> str:
    if selftest:
        graph.selftest = testdata.make_selftest(graph)
    graph.save(str(path))
    return str(path)


def fails(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Run a command that must fail with exit code 2 and one line on stderr; returns the line."""
    capsys.readouterr()
    try:
        code = main([str(a) for a in argv])
    except SystemExit as e:
        code = e.code  # type: ignore[assignment]
    captured = capsys.readouterr()
    assert code == 2, captured
    assert captured.out == ""
    assert captured.err.startswith("lstm-rt: error: ")
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def json_of(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> Any:
    capsys.readouterr()
    assert main([str(a) for a in argv]) == code
    return json.loads(capsys.readouterr().out)
