"""What notebooks show: well-formed tables of what a thing is; text out of files is text."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers.graphs import every_op_graph
from helpers.small_graphs import build, lstm, plain

from lstm_rt import Model
from lstm_rt.graph import Graph

EVIL = "<script>alert('&\"')</script>\n<img src=x onerror=y>"


def cells(html: str) -> list[list[str]]:
    """The rows of all tables; the parser refuses what is not well-formed."""
    root = ElementTree.fromstring(f"<div>{html}</div>")
    return [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]


def elements(html: str) -> set[str]:
    return {e.tag for e in ElementTree.fromstring(f"<div>{html}</div>").iter()}


def hostile(g: Graph) -> None:
    with g.layer(EVIL):
        y = lstm(g, g.input(EVIL, "seq", 4))[0]
    g.output(y, "y" + EVIL)


def everything(model: Model) -> list[Any]:
    x = np.ones((1, 3, 4), np.float32)
    group = model.streams(3)
    group.join()
    return [model, model._graph(), model.stream(2), group, model.trace(x), model.stream().trace_step(x[0, 0])]


def test_markup_is_text() -> None:
    for thing in everything(build(hostile)):
        html = thing._repr_html_()
        assert elements(html) <= {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
        assert "<script>alert(" in "".join(cell for row in cells(html) for cell in row)
        assert "\n<img" not in repr(thing)


def test_tables_of_a_model() -> None:
    graph = every_op_graph(np.random.default_rng(0))
    model = Model(graph)
    for html in (model._repr_html_(), model._graph()._repr_html_(), graph._repr_html_()):
        rows = cells(html)
        assert ["input", "x", "seq", "(N, T, 5)"] in rows
        assert ["output", "label", "vec", "(N, 3)"] in rows
        assert len(rows) == 2 + len(graph.inputs + graph.outputs) + len(graph.nodes)
        (cell,) = [r for r in rows if r[1] == "lstm"]
        assert cell[-1] == "816"
    assert f"{model.nbytes:,} bytes" in model._repr_html_()
    assert "takes whole sequences" in model._repr_html_()


def test_titles() -> None:
    model, graph, stream, group, trace, step = everything(build(plain))
    for thing, title in (
        (model, "lstm_rt.Model, "),
        (graph, "lstm_rt.Graph of 1 nodes, "),
        (stream, "lstm_rt.Stream of 2 rows"),
        (group, "lstm_rt.StreamGroup of 1 of 3 streams"),
        (trace, "lstm_rt.trace.Trace of 1 layers, "),
        (step, "lstm_rt.trace.Trace of 1 layers, "),
    ):
        assert thing._repr_html_().startswith(f"<p><strong>{title}")
    assert ["lstm", "lstm", "f", "forget gate", "(1, 3, 4)", "48"] in cells(trace._repr_html_())


def test_reprs() -> None:
    model, graph, stream, group, *_ = everything(build(plain))
    assert repr(graph) == "<lstm_rt.graph.Graph x -> y, 1 nodes>"
    assert repr(stream) == f"<lstm_rt.Stream of 2 rows, {model!r}>"
    assert repr(model.stream()) == f"<lstm_rt.Stream of 1 row, {model!r}>"
    assert repr(group) == f"<lstm_rt.StreamGroup of 1 of 3 streams, {model!r}>"


@pytest.mark.parametrize("count", [100, 300])
def test_long_tables(count: int) -> None:
    g = Graph()
    y = g.input("x", "seq", 4)
    for _ in range(count):
        y = g.activation(y, "tanh")
    g.output(y, "y")
    rows = cells(g._repr_html_())
    assert len(rows) == 4 + min(count, 100) + (count > 100)  # heads, two ports
    assert (rows[-1] == [f"and {count - 100} more"]) == (count > 100)
