"""LSTM, GRU and RNN from arrays: the same as PyTorch, or as the reference where it has no such cell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import cell_weights
from lstm_rt_tools.judges import reference, testdata

import lstm_rt
from lstm_rt import GRU, LSTM, RNN, GraphError, InputError, Model
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import Activation, Graph

F, H = 4, 7
MAKE: dict[str, Callable[..., Model]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}
#: cell, options of the cell's weights, options of the call
OPTIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("lstm", {}, {}),
    ("lstm", {"proj": 3}, {}),
    ("lstm", {"peephole": True}, {"clip": 0.6}),
    ("lstm", {"bias": False}, {"activations": ("hard_sigmoid", "relu", Activation("elu", 0.5))}),
    ("gru", {}, {}),
    ("gru", {}, {"reset_after": False}),
    ("gru", {"bias": False}, {"activations": ("sigmoid", "softsign"), "clip": 0.4, "reset_after": False}),
    ("rnn", {}, {}),
    ("rnn", {}, {"nonlinearity": "relu"}),
    ("rnn", {"bias": False}, {"nonlinearity": Activation("leaky_relu", 0.2), "clip": 1.0}),
]


def stacked(op: str, layers: int, both: bool, seed: int = 0, **options: Any) -> dict[str, list[np.ndarray]]:
    """Weights as lists in the order of PyTorch."""
    rng, size, found = np.random.default_rng(seed), F, {}
    for _ in range(layers):
        w = cell_weights(rng, op, size, H, "bidirectional" if both else "forward", **options)
        for name in {k.removesuffix("_reverse") for k in w}:
            found.setdefault(name, []).extend(w[name + end] for end in ("", "_reverse")[: 1 + both])
        size = (options.get("proj") or H) * (1 + both)
    return found


def inputs(batch: int = 3, steps: int = 9) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1, 1, (batch, steps, F)).astype(np.float32)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(("op", "weight_options", "options"), OPTIONS)
def test_against_reference(
    op: str, weight_options: dict[str, Any], options: dict[str, Any], layers: int, both: bool
) -> None:
    model = MAKE[op](**stacked(op, layers, both, **weight_options), bidirectional=both, **options)
    graph = loads_graph(model._bytes())
    for (batch, steps), lengths in [((1, 1), None), ((1, 17), None), ((5, 17), None), ((3, 9), [9, 0, 4])]:
        x = inputs(batch, steps)
        y, state = model(x, lengths=lengths, return_state=True)
        (want,), states = reference.run(graph, [x], lengths=lengths, return_state=True)
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)
        parts = [np.concatenate(p) for p in zip(*states, strict=True)] if op == "lstm" else [np.concatenate(states)]
        for mine, theirs in zip(state if op == "lstm" else (state,), parts, strict=True):
            assert mine.shape == theirs.shape
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_against_torch(kind: str, options: dict[str, Any]) -> None:
    """Tensors go in as they are; test_from_torch.py has the whole table of options."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = getattr(torch.nn, kind)(F, H, batch_first=True, **options).requires_grad_(False)
    ends = [f"l{k}{e}" for k in range(layer.num_layers) for e in ("", "_reverse")[: 1 + layer.bidirectional]]
    names = {"w_ih": "weight_ih", "w_hh": "weight_hh"} | ({"b_ih": "bias_ih", "b_hh": "bias_hh"} if layer.bias else {})
    lists = {mine: [getattr(layer, f"{theirs}_{e}") for e in ends] for mine, theirs in names.items()}
    model = getattr(lstm_rt, kind)(**lists, bidirectional=layer.bidirectional)
    x = inputs()
    np.testing.assert_allclose(model(x), layer(torch.from_numpy(x))[0], rtol=0, atol=1e-5)


def test_forms_of_weights() -> None:
    """One array or a list of one; float64 and lists of numbers; None for absent."""
    w = stacked("lstm", 1, False)
    want = LSTM(**w)(inputs())
    for form in (lambda a: a, lambda a: (a,), lambda a: a.astype(float), lambda a: a.tolist(), np.asfortranarray):
        np.testing.assert_array_equal(LSTM(**{k: form(v[0]) for k, v in w.items()})(inputs()), want)
    by_place = LSTM(w["w_ih"], w["w_hh"], w["b_ih"], w["b_hh"], w_hr=None, peephole=None)
    np.testing.assert_array_equal(by_place(inputs()), want)
    one = LSTM(w["w_ih"], w["w_hh"], [w["b_ih"][0] + w["b_hh"][0]])(inputs())
    np.testing.assert_allclose(one, want, rtol=0, atol=1e-6)
    half = {k: v[0].astype(np.float16) for k, v in w.items()}
    single = {k: v.astype(np.float32) for k, v in half.items()}
    np.testing.assert_array_equal(LSTM(**half)(inputs()), LSTM(**single)(inputs()))


def test_weights_are_copied() -> None:
    w = stacked("gru", 1, False)
    model = GRU(**w)
    want = model(inputs())
    for arrays in w.values():
        arrays[0][:] = 0
    np.testing.assert_array_equal(model(inputs()), want)


W = stacked("lstm", 1, False)
PAIR = {k: v * 2 for k, v in W.items()}
ERRORS: dict[str, tuple[Callable[..., Model], dict[str, Any], str]] = {
    "no w_ih": (LSTM, {**W, "w_ih": None}, "lstm: w_ih is missing"),
    "no w_hh": (LSTM, {**W, "w_hh": None}, "lstm: weight w_hh is missing"),
    "rows": (LSTM, {**W, "w_ih": W["w_ih"][0][:27]}, r"w_ih has shape \(27, 4\), expected \(4 \* H, I\)"),
    "rank": (LSTM, {**W, "w_ih": W["w_ih"][0][0]}, r"w_ih has shape \(4,\), expected \(4 \* H, I\)"),
    "empty": (LSTM, {**W, "w_ih": np.zeros((0, 4))}, r"w_ih has shape \(0, 4\)"),
    "no features": (RNN, {"w_ih": np.zeros((3, 0)), "w_hh": np.zeros((3, 3))}, r"\(3, 0\), expected \(H, I\)"),
    "ragged": (LSTM, {**W, "w_ih": [[1.0], [1.0, 2.0]]}, "w_ih is not an array"),
    "w_hh": (LSTM, {**W, "w_hh": np.zeros((28, 6))}, r"w_hh has shape \(28, 6\), expected \(28, 7\)"),
    "b_ih": (LSTM, {**W, "b_ih": np.zeros(27)}, r"b_ih has shape \(27,\), expected \(28\)"),
    "integers": (LSTM, {**W, "b_hh": np.zeros(28, int)}, "b_hh has dtype int64, expected a float array"),
    "strings": (LSTM, {**W, "b_hh": ["a"] * 28}, "b_hh has dtype <U1"),
    "w_hr": (LSTM, {**W, "w_hr": np.zeros((3, 8))}, r"w_hr has shape \(3, 8\), expected \(any, 7\)"),
    "peephole": (LSTM, {**W, "peephole": np.zeros((4, 7))}, r"peephole has shape \(4, 7\), expected \(3, 7\)"),
    "odd": (LSTM, {**W, "bidirectional": True}, "1 arrays in w_ih, expected two per bidirectional layer"),
    "count": (LSTM, {**PAIR, "b_ih": W["b_ih"]}, "1 arrays in b_ih, expected 2 as in w_ih"),
    "second layer": (LSTM, PAIR, r"lstm: w_ih has shape \(28, 4\), expected \(28, 7\)"),
    "one direction": (
        LSTM, {**PAIR, "bidirectional": True, "b_ih": [W["b_ih"][0], None]}, "b_ih is given for one direction only"
    ),
    "activation": (LSTM, {**W, "activations": ("sigmoid", "maxout", "tanh")}, "unknown activation 'maxout'"),
    "activations": (GRU, {**stacked("gru", 1, False), "activations": ("tanh",)}, "1 activations given, expected 2"),
    "softmax": (RNN, {**stacked("rnn", 1, False), "nonlinearity": "softmax"}, "softmax cannot be a gate activation"),
    "clip": (LSTM, {**W, "clip": -1.0}, "clip is -1.0, expected"),
    "clip text": (LSTM, {**W, "clip": "x"}, "clip is 'x', expected a number"),
    "gru of lstm": (GRU, W, r"w_ih has shape \(28, 4\), expected \(3 \* H, I\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str) -> None:
    make, arguments, message = ERRORS[case]
    with pytest.raises(GraphError, match=message):
        make(**arguments)


def test_other_arguments() -> None:
    with pytest.raises(InputError, match="threads is 0"):
        LSTM(**W, threads=0)
    with pytest.raises(TypeError):
        GRU(**stacked("gru", 1, False), peephole=np.zeros((3, H)))
    assert LSTM(**W, threads=1).threads == 1


@pytest.mark.parametrize(("op", "weight_options", "options"), OPTIONS)
def test_save_and_load(op: str, weight_options: dict[str, Any], options: dict[str, Any], tmp_path: Path) -> None:
    model = MAKE[op](**stacked(op, 2, True, **weight_options), bidirectional=True, **options)
    model.save(tmp_path / "m.lrt")
    loaded, again = lstm_rt.load(tmp_path / "m.lrt", verify=True), Model(dumps(model._graph()))
    assert loaded._bytes() == model._bytes()
    assert (tmp_path / "m.lrt").read_bytes() == model._bytes()
    want = model(inputs(), return_state=True)
    np.testing.assert_equal(loaded(inputs(), return_state=True), want)
    np.testing.assert_equal(again(inputs(), return_state=True), want)
    assert model.verify() == {"ok": None, "max_abs_err": None, "outputs": []}


def test_info_and_repr() -> None:
    model = GRU(**stacked("gru", 2, True), bidirectional=True)
    info = model.info
    assert json.loads(json.dumps(info)) == info
    sizes = 2 * (3 * H * (F + H) + 6 * H) + 2 * (3 * H * (2 * H + H) + 6 * H)
    assert info["parameters"] == sizes
    assert info["format_version"] == 1
    assert info["file_bytes"] == model.nbytes == len(model._bytes())
    assert info["session_bytes"] == model.session_nbytes() > 0
    assert (info["streams"], info["kernels"], info["not_finite"]) == (False, model.kernels, 0)
    sequence = {"kind": "seq", "order": "batch_first", "dtype": "float32"}
    assert info["inputs"] == [{"name": "x", "shape": ["N", "T", F], **sequence}]
    assert info["outputs"] == [{"name": "y", "shape": ["N", "T", 2 * H], **sequence}]
    assert [(x["op"], x["size"]) for x in info["layers"]] == [("gru", 2 * H)] * 2
    assert sum(x["parameters"] for x in info["layers"]) == sizes
    first = info["layers"][0]["options"]
    assert first["direction"] == "bidirectional"
    assert first["activations"] == ["sigmoid", "tanh"]
    assert (first["reset_after"], first["hidden_size"], first["input_size"], first["clip"]) == (True, H, F, 0.0)
    assert info["has_selftest"] is False
    assert info["meta"] == {"source": {"framework": "arrays"}}
    text = repr(model)
    assert text == (
        f"<lstm_rt.Model <'x': float32 (N, T, {F})> -> <'y': float32 (N, T, {2 * H})>, "
        f"{model.nbytes} bytes, {model.kernels}>"
    )
    assert LSTM(**W).info["streams"] is True


def test_selftest_of_a_model_without_sequences() -> None:
    rng, g = np.random.default_rng(0), Graph()
    g.output(g.dense(g.input("v", "vec", 3), rng.normal(size=(2, 3)), activation="tanh"), "y")
    g.selftest = testdata.make_selftest(g)
    assert Model(dumps(g)).verify()["ok"] is True


def test_build_info() -> None:
    info = lstm_rt.build_info()
    assert info["version"] == lstm_rt.__version__
    assert set(info["usable_kernels"]) <= set(info["kernels"])
    assert "portable" in info["usable_kernels"]
    assert isinstance(info["openmp"], bool)
