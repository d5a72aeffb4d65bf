"""Trace.plot: what it draws, bins and says. Numbers are those of the trace."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from helpers.graphs import cell_weights, weights
from helpers.small_graphs import build, lstm, tokens

from lstm_rt import InputError, Model
from lstm_rt.graph import Graph
from lstm_rt.trace import Trace

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close() -> Any:
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def layer(op: str = "lstm", hidden: int = 4, direction: str = "forward", name: str = "") -> Model:
    def make(g: Graph) -> None:
        x = g.input("x", "seq", 3)
        w = cell_weights(np.random.default_rng(0), op, 3, hidden, direction)
        with g.layer(name):
            y = g.recurrent(op, x, w, hidden_size=hidden, direction=direction)
        g.output(y[0], "y")
        g.output(y[1], "last")

    return build(make)


def x(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def titles(figure: Any) -> list[str]:
    return [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]


def image(figure: Any, title: str) -> Any:
    (ax,) = [ax for ax in figure.axes if ax.get_title(loc="left").startswith(title) and ax.images]
    return ax.images[0].get_array()


def drawn(figure: Any) -> None:
    figure.canvas.draw()  # what cannot be drawn raises here


def test_all_of_it() -> None:
    trace = layer(direction="bidirectional").trace(x(2, 9, 3), lengths=[9, 6])
    figure = trace.plot(row=1, units=[2, 0])
    drawn(figure)
    kinds = ["input gate i", "forget gate f", "candidate g", "output gate o"]
    want = ["x"] + [f"lstm: {kind}, {d}" for kind in kinds for d in ("forward", "backward")]
    for kind in ("cell state c", "hidden state h"):  # a heat map and lines
        want += [f"lstm: {kind}, {d}" for d in ("forward", "backward") for _ in range(2)]
    assert titles(figure) == [*want, "y", "last"]
    shown = image(figure, "lstm: forget gate f, backward")
    assert shown.shape == (4, 9)
    np.testing.assert_allclose(shown[:, :6], trace["lstm"].f[1, :6, 1].T, rtol=1e-6)
    assert shown.mask[:, 6:].all()  # beyond the row's end
    assert not shown.mask[:, :6].any()
    lines = [ax for ax in figure.axes if ax.get_title(loc="left") == "lstm: cell state c, forward"][-1].lines
    assert [line.get_label() for line in lines] == ["2", "0"]
    np.testing.assert_allclose(lines[0].get_ydata()[:6], trace["lstm"].c[1, :6, 0, 2], rtol=1e-6)
    bars = figure.axes[len(titles(figure)) - 1].patches
    np.testing.assert_allclose([b.get_height() for b in bars], trace.y[1][1], rtol=1e-6)


@pytest.mark.parametrize("op", ["gru", "rnn"])
def test_other_cells(op: str) -> None:
    figure = layer(op).trace(x(5, 3)).plot()
    drawn(figure)
    assert titles(figure)[1:-2] == [
        f"{op}: {kind}" for kind in (["reset gate r", "update gate z", "candidate n"] if op == "gru" else [])
    ] + [f"{op}: hidden state h"]


def test_large_traces_are_binned_and_say_so() -> None:
    trace = layer("rnn", 1024).trace(x(4001, 3))
    figure = trace.plot()
    drawn(figure)
    assert "rnn: hidden state h (means of 3 steps and 4 units)" in titles(figure)
    assert titles(figure)[-2] == "y; 8 of 1024 (means of 3 steps)"
    shown = image(figure, "rnn")
    assert shown.shape == (256, 1334)
    np.testing.assert_allclose(shown[7, 11], trace["rnn"].h[33:36, 28:32].mean(), rtol=1e-5)
    np.testing.assert_allclose(shown[7, -1], trace["rnn"].h[3999:, 28:32].mean(), rtol=1e-5)


def test_many_steps() -> None:
    """A hundred thousand of them."""
    figure = layer("gru", 3).trace(x(100_000, 3)).plot()
    drawn(figure)
    assert "gru: update gate z (means of 50 steps)" in titles(figure)


def test_not_numbers() -> None:
    """NaN stays blank, and what is not NaN keeps its colours."""
    a = x(8, 3)
    a[5] = np.nan
    trace = layer().trace(a)
    figure = trace.plot(units=[1])
    drawn(figure)
    shown = image(figure, "lstm: cell state c")
    assert shown.mask[:, 5:].all()
    np.testing.assert_allclose(shown[:, :5], trace["lstm"].c[:5].T, rtol=1e-6)
    a[:] = np.inf
    drawn(layer().trace(a).plot())


def test_masked_steps_are_blank() -> None:
    def make(g: Graph) -> None:
        ids = g.input("ids", "ids")
        e = g.embedding(ids, weights(np.random.default_rng(2), 5, 3))
        w = cell_weights(np.random.default_rng(0), "lstm", 3, 4)
        g.output(g.recurrent("lstm", e, w, hidden_size=4, mask=g.mask_ids(ids))[0], "y")

    trace = build(make).trace(np.array([[1, 0, 2]]))
    figure = trace.plot()
    drawn(figure)
    for title in ("lstm: forget gate f", "lstm: cell state c"):
        assert image(figure, title).mask.all(axis=0).tolist() == [False, True, False]


def test_attention() -> None:
    g = Graph()
    q, k, v = g.input("q", "seq", 4), g.input("k", "seq", 4), g.input("v", "vec", 4)
    g.output(g.node("attention", q, k, k, heads=2), "y")
    g.output(g.node("attention", v, k, k), "z")
    trace = Model(g).trace(x(2, 5, 4), x(2, 7, 4), x(2, 4))
    figure = trace.plot()
    drawn(figure)
    shown = image(figure, "attention.0: attention weights, head 1")
    np.testing.assert_allclose(shown, trace["attention.0"].weights[0, :, 1].T)
    np.testing.assert_allclose(image(figure, "attention.1").ravel(), trace["attention.1"].weights[0, 0])


def test_other_inputs() -> None:
    """Ids, several outputs; a model without recurrent layers; no steps."""
    drawn(build(tokens).trace(np.array([[1, 2, 3]])).plot())
    g = Graph()
    g.output(g.dense(g.input("x", "seq", 3, order="time_first"), np.eye(3, dtype=np.float32)), "y", order="time_first")
    a = x(6, 2, 3)
    figure = Model(g).trace(a).plot(row=1)
    drawn(figure)
    assert titles(figure) == ["x", "y"]
    np.testing.assert_allclose(figure.axes[1].lines[2].get_ydata(), a[:, 1, 2])
    drawn(layer().trace(np.ones((1, 0, 3), np.float32)).plot(units=[0]))


def test_markup_is_text() -> None:
    figure = layer(name="<b>$\\frac{$_x^").trace(x(4, 3)).plot()
    drawn(figure)
    assert any(t.startswith("<b>$\\frac{$_x^: ") for t in titles(figure))


def test_many_layers() -> None:
    def make(g: Graph) -> None:
        y = g.input("x", "seq", 4)
        for _ in range(15):
            y = lstm(g, y, op="rnn")[0]
        g.output(y, "y")

    trace = build(make).trace(x(3, 4))
    figure = trace.plot()
    assert len(titles(figure)) == 2 + 12
    assert figure.axes[13].get_xlabel() == "step; 3 more layers are not drawn: name them in layers="
    assert titles(trace.plot(layers=["rnn.14"]))[1:-1] == ["rnn.14: hidden state h"]


def test_a_figure_of_the_caller() -> None:
    from matplotlib.figure import Figure

    mine = Figure()
    assert layer().trace(x(4, 3)).plot(figure=mine) is mine
    assert len(mine.axes) > 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"row": 2}, "row is 2, expected 0 to 1"),
        ({"layers": ["a"]}, "layers has 'a', which this trace has not; it has 'lstm'"),
        ({"layers": "lstm"}, "layers is 'lstm', expected a list of names"),
        ({"units": [4]}, "units has 4, expected integers from 0 to 3"),
        ({"units": [True]}, "units has True"),
        ({"units": ["a"]}, "units has 'a'"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        layer().trace(x(2, 5, 3)).plot(**options)


def test_what_cannot_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    model = layer()
    with pytest.raises(InputError, match="a trace of one step"):
        model.stream().trace_step(x(3)).plot()
    trace: Trace = model.trace(x(4, 3))
    with pytest.raises(InputError, match="row is 1, expected 0: this trace is of one row"):
        trace.plot(row=1)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"needs matplotlib: pip install matplotlib"):
        trace.plot()
