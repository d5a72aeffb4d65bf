"""Drawings: well-formed, boxes apart, edges from box to box, text as text; and what ``lstm-rt info --svg`` draws."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers.graphs import every_op_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.cli import main
from lstm_rt_tools.drawing import Box, svg

from lstm_rt.format import save
from lstm_rt.graph import Graph

SVG = "{http://www.w3.org/2000/svg}"


def rects(root: Any) -> list[tuple[float, float, float, float]]:
    return [
        (x, y, x + w, y + h)
        for x, y, w, h in ([float(r.get(k)) for k in ("x", "y", "width", "height")] for r in root.iter(SVG + "rect"))
    ]


def ends(root: Any) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Where each edge begins, and where its head points to."""
    found = []
    paths = list(root.iter(SVG + "path"))
    for line, head in zip(paths[::2], paths[1::2], strict=True):
        assert head.get("class") == "head"
        start = re.match(r"M([\d.-]+) ([\d.-]+)", line.get("d"))
        tip = re.search(r"L([\d.-]+) ([\d.-]+)Z", head.get("d"))
        assert start
        assert tip
        found.append(((float(start[1]), float(start[2])), (float(tip[1]), float(tip[2]))))
    return found


def at_edge(rect: tuple[float, float, float, float], point: tuple[float, float], bottom: bool) -> bool:
    return rect[0] - 0.1 <= point[0] <= rect[2] + 0.1 and abs(point[1] - rect[3 if bottom else 1]) < 0.2


@st.composite
def graphs(draw: Any) -> tuple[list[Box], list[tuple[int, int]]]:
    n = draw(st.integers(0, 25))
    text = st.text(max_size=60)
    looks = st.sampled_from(["", "port", "cell"])
    boxes = [Box(draw(st.lists(text, min_size=1, max_size=3)), draw(looks)) for _ in range(n)]
    pairs = [(a, b) for b in range(n) for a in range(b)]
    return boxes, draw(st.lists(st.sampled_from(pairs), max_size=40)) if pairs else []


@settings(max_examples=80, deadline=None)
@given(graphs(), st.text())
def test_any_graph(graph: tuple[list[Box], list[tuple[int, int]]], title: str) -> None:
    boxes, edges = graph
    root = ElementTree.fromstring(svg(boxes, edges, title))
    assert {e.tag.removeprefix(SVG) for e in root.iter()} <= {"svg", "title", "style", "path", "g", "rect", "text"}
    found = rects(root)
    assert len(found) == len(boxes)
    width, height = (float(root.get(k)) for k in ("width", "height"))
    for k, a in enumerate(found):
        assert min(a) >= 0
        assert a[2] <= width + 1
        assert a[3] <= height + 1
        for b in found[k + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert len(list(root.iter(SVG + "text"))) == sum(len(b.lines) for b in boxes)
    for (start, tip), (a, b) in zip(ends(root), sorted(set(edges)), strict=True):
        assert at_edge(found[a], start, bottom=True)
        assert at_edge(found[b], tip, bottom=False)


def test_few_crossings() -> None:
    """Two chains side by side stay apart; a fan's ends are in the order of what follows them."""
    boxes = [Box([str(k)]) for k in range(8)]
    root = ElementTree.fromstring(svg(boxes, [(0, 3), (1, 2), (2, 4), (3, 5), (4, 6), (5, 7)], ""))
    x = [r[0] for r in rects(root)]
    assert abs(x[1] - x[2]) < 0.2
    assert abs(x[0] - x[3]) < 0.2
    assert (x[0] < x[1]) == (x[3] < x[2]) == (x[7] < x[6])


def test_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = every_op_graph(np.random.default_rng(0))
    save(graph, str(tmp_path / "m.lrt"))
    assert main(["info", str(tmp_path / "m.lrt"), "--svg"]) == 0
    root = ElementTree.fromstring(capsys.readouterr().out)
    assert len(rects(root)) == len(graph.inputs) + len(graph.nodes) + len(graph.outputs)
    texts = [t.text for t in root.iter(SVG + "text")]
    assert {"x", "seq (N, T, 5)", "lstm 9 -> 6", "bidirectional, masked", "label"} <= set(texts)
    writers = {o: k for k, n in enumerate(graph.nodes) for o in n.outputs}
    edges = {(writers.get(i, -1 - i), k) for k, n in enumerate(graph.nodes) for i in n.inputs if i is not None}
    assert len(ends(root)) == len(edges) + len(graph.outputs)


def test_markup_is_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "</text><script>alert('&')</script>"
    g = Graph()
    with g.layer(evil):
        y = g.dense(g.input(evil, "seq", 2), np.eye(2, dtype=np.float32))
    g.output(y, "y\n\x00")
    save(g, str(tmp_path / "m.lrt"))
    assert main(["info", str(tmp_path / "m.lrt"), "--svg"]) == 0
    root = ElementTree.fromstring(capsys.readouterr().out)
    assert not list(root.iter(SVG + "script"))
    texts = [t.text for t in root.iter(SVG + "text")]
    assert texts.count(evil) == 2
    assert "y\\n\\x00" in texts


def test_sources_and_other_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not converted yet is drawn as it would be; --json beside it is an error."""
    pytest.importorskip("onnx")
    g = Graph()
    w = np.ones((4, 1), np.float32)
    g.output(g.recurrent("lstm", g.input("x", "seq", 1), {"w_ih": w, "w_hh": w}, hidden_size=1)[0], "y")
    save(g, str(tmp_path / "m.lrt"))
    assert main(["export-onnx", str(tmp_path / "m.lrt"), "-o", str(tmp_path / "m.onnx")]) == 0
    capsys.readouterr()
    assert main(["info", str(tmp_path / "m.onnx"), "--svg"]) == 0
    assert "lstm 1 -&gt; 1" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["info", str(tmp_path / "m.lrt"), "--svg", "--json"])
    assert "not allowed with argument" in capsys.readouterr().err
