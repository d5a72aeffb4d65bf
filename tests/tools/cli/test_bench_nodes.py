"""``lstm-rt bench --nodes``: prefixes of a graph compute what it does on its way, and every node gets its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import json_of, saved, two_by_two
from helpers.graphs import inputs_for
from helpers.onnx_models import outputs_of
from lstm_rt_tools.cli import bench_nodes
from lstm_rt_tools.cli.bench_nodes import prefix
from lstm_rt_tools.cli.parser import main
from make_corpus import all_models

from lstm_rt import Model

CORPUS = all_models()


@pytest.mark.parametrize("name", CORPUS)
def test_prefixes_give_what_the_graph_gives(name: str) -> None:
    """Each opens, and the last one's outputs are those of the graph's that its node writes."""
    graph = CORPUS[name]
    for k, node in enumerate(graph.nodes):
        if any(graph.values[o].kind in ("seq", "vec") for o in node.outputs if o is not None):
            Model(prefix(graph, k))
    rng = np.random.default_rng(0)
    rows = 2 if all(graph.values[i].has_batch for i in graph.inputs) else 1
    inputs = inputs_for(rng, graph, rows, 5, [5] * rows)
    ours, wanted = prefix(graph, len(graph.nodes) - 1), dict(zip(graph.outputs, outputs_of(graph, inputs), strict=True))
    written = [o for o in graph.nodes[-1].outputs if o is not None]
    for value, y in zip(written, outputs_of(ours, inputs), strict=True):
        if value in wanted:
            v = graph.values[value]
            expected = v.to_batch_first(v.apart(wanted[value], rows))
            np.testing.assert_array_equal(y.reshape(-1), expected.reshape(-1))


def test_every_node_gets_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = iter([10.0, 50.0, 100.0] * 3)
    monkeypatch.setattr(bench_nodes, "time_calls", lambda call, *_: [next(ends)])
    graph = two_by_two()  # embedding, mask_ids, gru, concat
    with_names = [("embedding", "words"), ("mask_ids", ""), ("gru", "encoder/gru"), ("concat", "")]
    for node, (op, name) in zip(graph.nodes, with_names, strict=True):
        assert node.op == op
        node.name = name
    path = saved(tmp_path / "m.lrt", graph)
    facts = json_of(capsys, "bench", path, "--nodes", "--seconds", "0.01", "--steps", "3", "--json")
    times: list[dict[str, Any]] = facts["nodes"]
    assert [(t["op"], t["layer"], t["us"]) for t in times] == [
        ("embedding", "words", 10.0),
        ("gru", "encoder/gru", 40.0),
        ("concat", "", 50.0),
    ]
    assert [t["share"] for t in times] == [0.1, 0.4, 0.5]


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "m.lrt", two_by_two())
    assert main(["bench", path, "--nodes", "--seconds", "0.01", "--steps", "3"]) == 0
    text = capsys.readouterr().out
    assert "by node, on one thread\n\n#  op " in text
    assert text.count(" %\n") == 3
    assert "nodes" not in json_of(capsys, "bench", path, "--seconds", "0.01", "--steps", "3", "--json")
