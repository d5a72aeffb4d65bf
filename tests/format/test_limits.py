"""What the writer accepts opens; what does not fit is refused when it is written, by the core's own limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import DOCS
from hypothesis import event, given, settings
from hypothesis import strategies as st

import lstm_rt
from lstm_rt import GraphError, Model, _core
from lstm_rt import format as lrt_format
from lstm_rt.format import dumps, loads_graph
from lstm_rt.format.records import FEW_AXES
from lstm_rt.graph import Graph, SelfTest

COUNT, PORTS, SIZE = 4096, 64, 1 << 20


def test_the_text_states_these_limits() -> None:
    text = (DOCS / "format.md").read_text(encoding="utf-8").split("## 10. Limits")[1].split("##")[0]
    stated = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.M))
    parts, outputs, tensors = map(int, stated["inputs, outputs, tensors of a node"].split(", "))
    assert stated["time axes"] == f"{_core.MAX_AXES}; {FEW_AXES} before version 4"
    assert stated["values, nodes, tensors"] == f"{_core.MAX_COUNT} each"
    assert stated["inputs, outputs"] == f"{_core.MAX_PORTS} each"
    assert stated["features, hidden units, projection"] == "2^20 each"
    assert _core.MAX_SIZE == 1 << 20
    assert stated["rows of an embedding, numbers of rows × steps of the self-test"] == "2^31 − 1"
    assert _core.MAX_ROWS == (1 << 31) - 1
    assert (parts, outputs, tensors) == (_core.MAX_PARTS, 3, 12)
    assert int(stated["batch of the self-test"]) == _core.MAX_COUNT
    assert float(stated["relative tolerance of the self-test"]) == pytest.approx(_core.MAX_RTOL)


# -- each limit, and one more -----------------------------------------------------------------------


def chain(nodes: int) -> Graph:
    """One input, ``nodes`` activations behind one another: one value more than nodes."""
    g = Graph()
    x = g.input("x", "vec", 1)
    for _ in range(nodes):
        x = g.activation(x, "relu")
    g.output(x, "y")
    return g


def many_inputs(n: int) -> Graph:
    g = Graph()
    values = [g.input(f"x{i}", "vec", 1) for i in range(n)]
    g.output(g.activation(values[0], "relu"), "y")
    return g


def many_outputs(n: int) -> Graph:
    g = Graph()
    x = g.input("x", "vec", 1)
    for i in range(n):
        g.output(g.activation(x, "relu"), f"y{i}")
    return g


def many_tensors(n: int) -> Graph:
    """Normalisations with two tensors each, all different, and one with a single one."""
    g = Graph()
    x = g.input("x", "vec", 1)
    for i in range(n // 2):
        x = g.layernorm(x, [float(2 * i)], [float(2 * i + 1)], 1e-3)
    if n % 2:
        x = g.layernorm(x, [-1.0], None, 1e-3)
    g.output(x, "y")
    return g


def wide(size: int) -> Graph:
    g = Graph()
    g.output(g.activation(g.input("x", "vec", size), "relu"), "y")
    return g


def with_rows(batch: int) -> Graph:
    g = wide(1)
    ones = np.ones((batch, 1), np.float32)
    g.selftest = SelfTest([ones], [ones])
    return g


def many_axes(n: int) -> Graph:
    g = Graph()
    for i in range(n):
        g.output(g.select(g.input(f"x{i}", "seq", 1)), f"y{i}")
    return g


def wide_concat(n: int) -> Graph:
    g = Graph()
    x = g.input("x", "vec", 1)
    g.output(g.concat(*[x] * n), "y")
    return g


@pytest.mark.parametrize(
    ("make", "most", "message"),
    [
        (chain, COUNT - 1, "4,097 values are more than the 4,096"),
        (many_inputs, PORTS, "65 inputs are more than the 64"),
        (many_outputs, PORTS, "65 outputs are more than the 64"),
        (many_tensors, COUNT, "4,097 tensors are more than the 4,096"),
        (wide, SIZE, "1,048,577 features of a value are more than the 1,048,576"),
        (with_rows, COUNT, "a batch of 4097 rows, expected 1 to 4096"),
        (many_axes, 32, "33 time axes are more than the 32"),
        (wide_concat, 6, "7 parts, expected 2 to 6"),
    ],
    ids=lambda p: getattr(p, "__name__", None),
)
def test_each_limit_and_one_more(make: Any, most: int, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.lrt"
    make(most).save(str(path))
    lstm_rt.load(path)
    lrt_format.check(path)
    with pytest.raises(GraphError, match=message):
        make(most + 1).save(str(tmp_path / "more.lrt"))
    assert not (tmp_path / "more.lrt").exists()


@pytest.mark.parametrize("op", ["lstm", "gru", "rnn"])
def test_hidden_units(op: str) -> None:
    """Refused before weights of terabytes are looked at."""
    g = Graph()
    endless = np.broadcast_to(np.float32(0), (4 * (SIZE + 1), SIZE + 1))
    with pytest.raises(GraphError, match="1,048,577 hidden units are more than the 1,048,576"):
        g.recurrent(op, g.input("x", "seq", 1), {"w_ih": endless, "w_hh": endless}, hidden_size=SIZE + 1)


def test_names_and_metadata() -> None:
    g = wide(1)
    g.meta = {"long": "x" * 1_000_000, "deep": [[[[1]]]], "none": None}
    assert loads_graph(dumps(g)).meta == g.meta
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for meta in ({"a": {1, 2}}, {"a": np.float32(1)}, {"a": float("nan")}, {"a": deep}, {"a": 1, 2: 3}):
        g.meta = meta
        with pytest.raises(GraphError, match="the metadata cannot be written as JSON"):
            dumps(g)
    for name in ("\ud800", "a\udcff"):
        with pytest.raises(GraphError, match="not valid Unicode"):
            g.input(name, "vec", 1)
        with pytest.raises(GraphError, match="not valid Unicode"):
            g.output(0, name)


def test_sizes_that_are_u32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and metadata of 4 GiB, without making them."""
    monkeypatch.setattr("lstm_rt.format.writer.MAX_BYTES", 30)
    dumps(wide(1))
    g = wide(1)
    g.meta = {"a": 1, "bcd": 2}
    with pytest.raises(GraphError, match=r"\d+ bytes of metadata are more than the 30"):
        dumps(g)
    g = Graph()
    g.output(g.activation(g.input("x" * 20, "vec", 1), "relu"), "y" * 20)
    with pytest.raises(GraphError, match="40 bytes of names are more than the 30"):
        dumps(g)


def test_a_graph_put_together_by_hand(tmp_path: Path) -> None:
    g = Graph()
    x = g.activation(g.input("x", "vec", 2), "relu")
    g.output(g.activation(x, "tanh"), "y")
    g.nodes.reverse()
    with pytest.raises(GraphError, match="makes a file that does not open"):
        g.save(str(tmp_path / "m.lrt"))
    assert not list(tmp_path.iterdir())


# -- whatever is accepted ---------------------------------------------------------------------------

NAMES = st.text(max_size=5)
META = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A graph as a reader may make it, with sizes, counts, names, metadata and a self-test of all kinds."""
    g = Graph()
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["vec", "seq", "ids", "lengths"] if g.n_axes else ["vec", "seq", "ids"]))
        size = draw(st.sampled_from([1, 2, 17, 17, SIZE, SIZE + 1])) if kind in ("vec", "seq") else 0
        g.input(draw(NAMES), kind, size, 0 if kind == "lengths" else draw(st.none() | st.just(0)))
    for _ in range(draw(st.integers(1, 4))):
        value = draw(st.integers(0, len(g.values) - 1))
        add_node(draw, g, value, g.values[value].kind)
    features = [i for i, v in enumerate(g.values) if v.kind in ("seq", "vec")]
    g.output(draw(st.sampled_from(features or [0])), draw(NAMES))
    g.meta = draw(st.dictionaries(st.text(max_size=3), META, max_size=3))
    if draw(st.booleans()):
        g.selftest = draw(selftests(g))
    return g


def add_node(draw: st.DrawFn, g: Graph, value: int, kind: str) -> None:
    ops = {"ids": ["embedding", "mask_ids"], "seq": ["mask_values", "select", "reverse"]}.get(kind, [])
    op = draw(st.sampled_from([*ops, "activation", "concat", "slice"] if kind in ("seq", "vec") else ops or ["select"]))
    if op == "embedding":
        g.embedding(value, np.zeros((draw(st.integers(0, 3)), 2), np.float32))
    elif op == "concat":
        g.concat(*[value] * draw(st.integers(2, 7)))
    elif op == "slice":
        g.slice(value, draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    elif op == "mask_ids":
        g.mask_ids(value, draw(st.integers(-(1 << 32), 1 << 32)))
    elif op == "mask_values":
        g.mask_values(value, draw(st.floats()))
    else:
        getattr(g, op)(value, *(["relu"] if op == "activation" else []))


@st.composite
def selftests(draw: st.DrawFn, g: Graph) -> SelfTest:
    batch, steps = draw(st.sampled_from([1, 2, COUNT, 0, COUNT + 1])), draw(st.sampled_from([1, 2, 0]))

    def array(v: Any) -> np.ndarray:
        if v.size > 100:
            raise GraphError("too large for a test")
        timed, sized = v.kind in ("seq", "ids"), v.kind in ("seq", "vec")
        fitting = [np.float32, np.float64] if sized else [np.int32, np.int64]
        dtype = draw(st.sampled_from([*fitting * 3, np.int32, np.uint8, np.bool_]))
        number = draw(st.sampled_from([0.0, 1.0, 1.0, 1e9]))
        return np.full((batch, *[steps] * timed, *[v.size] * sized), number).astype(dtype)

    tolerance = st.sampled_from([0.0, 1e-9, 1e-5, 1e-5]) | st.floats()
    arrays = [array(g.values[i]) for i in g.inputs + g.outputs]
    n = len(g.inputs)
    return SelfTest(arrays[:n], arrays[n:], draw(tolerance), draw(tolerance))


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_what_is_accepted_opens(data: st.DataObject) -> None:
    try:
        graph = data.draw(graphs())
        blob = dumps(graph)
    except GraphError:
        event("refused")
        return
    event("accepted")
    model = Model(blob, threads=1)
    lrt_format.check_bytes(blob)
    again = loads_graph(blob)
    assert [p.name for p in model.inputs] == [graph.values[i].name for i in graph.inputs]
    assert again.parameters() == graph.parameters()
    if graph.selftest is not None and not any(v.kind in ("ids", "lengths") for v in graph.values):
        event("verified")
        model.verify()


def test_metadata_that_is_no_dict() -> None:
    g = Graph()
    g.output(g.activation(g.input("x", "seq", 1), "relu"), "y")
    g.meta = [1]  # type: ignore[assignment]
    with pytest.raises(GraphError, match="meta is a list, expected a dict"):
        dumps(g)


def test_activations_that_are_no_list() -> None:
    w = np.ones((4, 1), np.float32)
    with pytest.raises(GraphError, match="activations is 5, expected a list of 3"):
        lstm_rt.LSTM(w, w, activations=5)  # type: ignore[arg-type]
