"""Graphs as ONNX models: onnxruntime gives the numbers of the runtime, and the weights are in them bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.graphs import CELLS, cell_id, cell_weights, every_op_graph, inputs_for, names, weights
from helpers.onnx_models import runs, same
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from lstm_rt_tools import to_onnx
from lstm_rt_tools.export.to_onnx import notes_of
from make_corpus import all_models

from lstm_rt import ConvertError, Model
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import ACTIVATIONS, NOT_ELEMENTWISE, Graph
from lstm_rt.ops import OPS, Axis
from lstm_rt.quantised import has_integers

onnx = pytest.importorskip("onnx")
MODELS = all_models()
CORPUS = {name: graph for name, graph in MODELS.items() if not has_integers(graph)}
SIZES = ((1, 1), (5, 7), (2, 12))
#: A sequence shorter than a window gives no step here; onnxruntime refuses it.
SHORTEST = {"chunked_windows": 3}
BOUNDED = ["sigmoid", "tanh", "hard_sigmoid", "softsign"]  #: for gates
#: Those that jump or are steep somewhere make another number of one that was rounded otherwise.
_STEEP = {"exp", "log", "sqrt", "reciprocal", "square", "power", "sign", "floor", "thresholded_relu"}
TAME = [a for a in ACTIVATIONS if a not in NOT_ELEMENTWISE | _STEEP]


def constants(model: Any) -> dict[str, Any]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}


def ops_of(model: Any) -> list[str]:
    return [n.op_type for n in model.graph.node]


# -- the same numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CORPUS)
def test_every_model_of_the_corpus(name: str) -> None:
    graph, rng = CORPUS[name], np.random.default_rng(1)
    unbatched = not all(graph.values[i].has_batch for i in graph.inputs)
    models = [to_onnx(graph), to_onnx(loads_graph(dumps(graph)))]  # as it was made, and as a file has it
    for batch, steps in SIZES:
        rows, steps = 1 if unbatched else batch, max(steps, SHORTEST.get(name, 1))
        lengths = [steps, *rng.integers(0, steps + 1, rows - 1)]
        inputs = inputs_for(rng, graph, rows, steps, lengths)
        for model in models:
            same(graph, inputs, model)


def test_integer_weights_are_refused() -> None:
    """What is multiplied with them is made integers, too, row by row: ONNX has no such product."""
    refused = [graph for name, graph in MODELS.items() if name not in CORPUS]
    assert refused
    for graph in refused:
        with pytest.raises(ConvertError, match="has integer weights, which is not exported; export the model"):
            to_onnx(graph)


@pytest.mark.parametrize("name", [n for n, g in CORPUS.items() if g.selftest is not None])
def test_self_tests_hold(name: str) -> None:
    test = CORPUS[name].selftest
    assert test is not None
    for y, want in zip(runs(to_onnx(CORPUS[name]), test.inputs), test.outputs, strict=True):
        np.testing.assert_allclose(y, want, rtol=test.rtol, atol=test.atol)


def test_a_graph_of_every_op_on_features() -> None:
    rng = np.random.default_rng(3)
    graph = every_op_graph(rng)
    for batch, steps in SIZES:
        same(graph, inputs_for(rng, graph, batch, steps))


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_every_form_of_a_cell(cell: Any, direction: str) -> None:
    """Long enough that an error in a gate shows; with masks, lengths and given states."""
    op, options = cell
    for mask, lengths, h0 in ((False, False, False), (True, False, True), (False, True, True), (True, True, False)):
        check_cell(op, {**options, "direction": direction}, mask, lengths, h0, seed=1)


def check_cell(op: str, options: dict[str, Any], mask: bool, lengths: bool, given_state: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    in_weights = {k: options[k] for k in ("direction", "proj", "peephole", "bias") if k in options}
    rest = {k: v for k, v in options.items() if k not in ("proj", "peephole", "bias")}
    g, count = Graph(), 2 if options.get("direction") == "bidirectional" else 1
    x = g.input("x", "seq", 3)
    if lengths:
        g.input("n", "lengths", axis=0)
    if given_state:
        rest["h0"] = g.input("h0", "vec", count * options.get("proj", 6))
        if op == "lstm":
            rest["c0"] = g.input("c0", "vec", count * 6)
    if mask:
        rest["mask"] = g.mask_values(x)
    w = cell_weights(rng, op, 3, 6, **in_weights)
    outputs = g.recurrent(op, x, w, hidden_size=6, **rest)
    for name, value in zip(("y", "h", "c"), outputs, strict=True):
        if value is not None:
            g.output(value, name)
    model = to_onnx(g)
    least = int(bool(notes_of(model)))  # a row of length 0 ends in zero, whatever it began with
    assert least == int(lengths and given_state and "Scan" not in ops_of(model))
    for batch, steps in ((3, 9), (1, 1)):
        inputs = inputs_for(rng, g, batch, steps, rng.integers(least, steps + 1, batch))
        same(g, inputs, model)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    op=st.sampled_from(["lstm", "gru", "rnn"]),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    acts=st.tuples(st.sampled_from(BOUNDED), *[st.sampled_from(TAME)] * 2),
    clip=st.sampled_from([0.0, 0.4]),
    flags=st.tuples(*[st.booleans()] * 7),
    seed=st.integers(0, 99),
)
@example("lstm", "bidirectional", ("sigmoid", "tanh", "tanh"), 0.0, (False, True, True, False, False, False, True), 0)
def test_options_together(
    op: str, direction: str, acts: tuple[str, ...], clip: float, flags: tuple[bool, ...], seed: int
) -> None:
    mask, lengths, state, zero_masked, peephole, proj, bias = flags
    count = {"lstm": 3, "gru": 2, "rnn": 1}[op]
    options: dict[str, Any] = {"direction": direction, "activations": acts[:count], "clip": clip, "bias": bias}
    options["zero_masked"] = zero_masked
    if op == "lstm":
        options |= {"peephole": peephole} | ({"proj": 4} if proj else {})
    if op == "gru":
        options["reset_after"] = peephole
    check_cell(op, options, mask, lengths, state, seed)


@settings(max_examples=40, deadline=None)
@given(
    start=st.integers(0, 4), stride=st.integers(1, 4), drop=st.integers(0, 4), most=st.none() | st.integers(0, 3),
    times=st.integers(1, 3), steps=st.integers(1, 9), with_lengths=st.booleans(),
)  # fmt: skip
def test_derived_axes(
    start: int, stride: int, drop: int, most: int | None, times: int, steps: int, with_lengths: bool
) -> None:
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", 2)
    if with_lengths:
        g.input("n", "lengths", axis=0)
    few = g.take(x, start, stride, drop, most)
    more = g.repeat(few, times)
    seq, h, _ = g.recurrent("rnn", more, cell_weights(rng, "rnn", 2, 3), hidden_size=3)
    g.output(g.reverse(seq), "seq")
    g.output(g.select(more, -1), "last")
    g.output(g.select(more, 0), "first")
    g.output(g.reverse(more), "turned")
    g.output(g.repeat_vector(h, g.values[few].axis), "spread")
    g.output(g.repeat_vector(h, g.new_axis(Axis(mul=0, add=2))), "two")
    assume(g.axes[g.values[few].axis].steps(steps) > 0)  # of no step at all, ONNX has no first
    same(g, inputs_for(rng, g, 3, steps, rng.integers(0, steps + 1, 3)))


# -- the same weights, names and axes ---------------------------------------------------------------


def test_weights_are_those_of_the_graph() -> None:
    """In ONNX's order of gates, which the tests of the numbers prove; not folded, and biases apart."""
    rng = np.random.default_rng(0)
    for op, order in (("lstm", "iofg"), ("gru", "zrn"), ("rnn", "h")):
        ours = {"lstm": "ifgo", "gru": "rzn", "rnn": "h"}[op]
        w = cell_weights(rng, op, 3, 5, "bidirectional", peephole=op == "lstm")
        g = Graph()
        with g.layer("enc"):
            x = g.recurrent(op, g.input("x", "seq", 3), w, hidden_size=5, direction="bidirectional")[0]
            g.output(x, "y")
        found = constants(to_onnx(g))
        for d, suffix in enumerate(("", "_reverse")):
            for name, theirs in (("w_ih", found["enc.W"][d]), ("w_hh", found["enc.R"][d])):
                assert stacked(w[name + suffix], ours, order).tobytes() == theirs.tobytes()
            both = [stacked(w[name + suffix], ours, order) for name in ("b_ih", "b_hh")]
            assert np.concatenate(both).tobytes() == found["enc.B"][d].tobytes()
            if op == "lstm":
                p_i, p_f, p_o = w["peephole" + suffix]
                assert np.concatenate([p_i, p_o, p_f]).tobytes() == found["enc.P"][d].tobytes()


def stacked(a: Any, ours: str, theirs: str) -> Any:
    gates = dict(zip(ours, np.split(a, len(ours)), strict=True))
    return np.concatenate([gates[g] for g in theirs])


def test_other_weights_are_those_of_the_graph() -> None:
    rng, g = np.random.default_rng(0), Graph()
    x, w = g.input("x", "vec", 4), {n: weights(rng, 4) for n in ("mean", "gamma", "beta")}
    with g.layer("norm"):
        y = g.batchnorm(x, w["mean"], np.abs(w["mean"]) + 1, w["gamma"], w["beta"], 1e-3)
    with g.layer("ln"):
        y = g.layernorm(y, w["beta"], w["mean"], 1e-2)
    with g.layer("fc"):
        y = g.dense(y, weight := weights(rng, 3, 4), weights(rng, 3))
    g.output(y, "y")
    found = constants(to_onnx(g))
    assert set(found) == {"norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "fc.weight", "fc.bias"}
    np.testing.assert_array_equal(found["norm.weight"], w["gamma"])
    np.testing.assert_array_equal(found["norm.running_var"], np.abs(w["mean"]) + 1)
    np.testing.assert_array_equal(found["fc.weight"], weight.T)


def test_tied_weights_are_stored_once() -> None:
    rng, g = np.random.default_rng(0), Graph()
    table = weights(rng, 11, 4)
    e = g.embedding(g.input("ids", "ids"), table)
    g.output(g.dense(e, table), "y")
    model = to_onnx(g)
    assert [a.shape for a in constants(model).values() if a.dtype == np.float32] == [(11, 4)]
    same(g, [np.array([[1, 2, 10]], np.int32)], model)


def test_names_orders_and_free_dims() -> None:
    g = Graph()
    x = g.input("Eingänge", "seq", 3, order="time_first")
    ids = g.input("ids", "ids")
    g.input("n", "lengths", axis=1)
    g.input("unread", "vec", 2, order="groups_first", groups=2)
    g.output(g.select(g.embedding(ids, np.ones((4, 2), np.float32)), -1), "z")
    g.output(g.activation(x, "relu"), "y", order="time_first")
    model = to_onnx(g)

    def ports(side: Any) -> list[Any]:
        out = []
        for p in side:
            dims = [d.dim_param or d.dim_value for d in p.type.tensor_type.shape.dim]
            out.append((p.name, dims, onnx.helper.tensor_dtype_to_np_dtype(p.type.tensor_type.elem_type)))
        return out

    assert ports(model.graph.input) == [
        ("Eingänge", ["T0", "N", 3], np.float32),
        ("ids", ["N", "T1"], np.int32),
        ("n", ["N"], np.int32),
        ("unread", [2, "N", 1], np.float32),
    ]
    assert ports(model.graph.output) == [("z", ["N", 2], np.float32), ("y", ["T0", "N", 3], np.float32)]
    assert notes_of(model) == []
    assert {o.domain for o in model.opset_import} == {""}


def test_names_that_onnx_cannot_have_are_changed_and_told() -> None:
    g = Graph()
    x = g.input("x", "vec", 2)
    g.output(g.activation(x, "relu"), "x")
    g.output(g.activation(x, "tanh"), "")
    model = to_onnx(g)
    assert [o.name for o in model.graph.output] == ["x_1", "output"]
    assert notes_of(model) == [
        "output 'x' is called 'x_1': names of inputs and outputs differ in ONNX",
        "output '' is called 'output': names of inputs and outputs differ in ONNX",
    ]
    same(g, [np.ones((1, 2), np.float32)], model)


def test_names_like_those_within() -> None:
    """Ports keep their names, whatever nodes would be called."""
    g = Graph()
    with g.layer("a"):
        y = g.activation(g.input("a/Relu_output", "vec", 2), "relu")
    g.output(y, "a/Relu")
    model = to_onnx(g)
    assert notes_of(model) == []
    assert names(g) == ([model.graph.input[0].name], [model.graph.output[0].name])
    same(g, [np.ones((1, 2), np.float32)], model)


def test_one_value_as_two_outputs() -> None:
    g = Graph()
    y = g.activation(g.input("x", "vec", 2), "relu")
    g.output(y, "y")
    g.output(g.activation(y, "linear"), "z")
    same(g, [np.ones((1, 2), np.float32)])


def test_nodes_are_named_after_the_layers() -> None:
    g = Graph()
    with g.layer("encoder.lstm1"):
        y = g.recurrent("lstm", g.input("x", "seq", 2), cell_weights(np.random.default_rng(0), "lstm", 2, 3),
                        hidden_size=3)[0]  # fmt: skip
    g.output(g.activation(y, "relu"), "y")
    found = {n.op_type: n.name for n in to_onnx(g).graph.node}
    assert found["LSTM"] == "encoder.lstm1/LSTM"
    assert found["Relu"] == "activation_1/Relu"


def test_what_nothing_reads_is_left_out() -> None:
    g = Graph()
    x = g.input("x", "seq", 2)
    g.activation(x, "tanh")
    h = g.recurrent("lstm", x, cell_weights(np.random.default_rng(0), "lstm", 2, 3), hidden_size=3)[1]
    g.output(h, "h")
    model = to_onnx(g)
    assert "Tanh" not in ops_of(model)
    (lstm,) = (n for n in model.graph.node if n.op_type == "LSTM")
    assert lstm.output[0] == ""
    assert len(lstm.output) == 2


# -- states -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("options", [{}, {"activations": ["swish"] * 3}])
def test_states_carry_over(op: str, options: dict[str, Any]) -> None:
    """Two halves, the second from the states of the first, are the whole; of Scans, too."""
    rng, g = np.random.default_rng(0), Graph()
    if options:
        options = {"activations": options["activations"][: {"lstm": 3, "gru": 2, "rnn": 1}[op]]}
    y = g.input("x", "seq", 3)
    for layer in ("a", ""):
        with g.layer(layer):
            y, h, _ = g.recurrent(op, y, cell_weights(rng, op, g.values[y].size, 4), hidden_size=4, **options)
    g.output(y, "y")
    g.output(h, "h")
    model = to_onnx(g, states=True)
    letters = ["h", "c"] if op == "lstm" else ["h"]
    layers = ["a", f"{op}_1"]
    assert [i.name for i in model.graph.input] == ["x", *(f"{n}_{s}0" for n in layers for s in letters)]
    assert [o.name for o in model.graph.output] == ["y", "h", *(f"{n}_{s}n" for n in layers for s in letters)]
    x = inputs_for(rng, g, 2, 9)[0]
    zero = [np.zeros((1, 2, 4), np.float32)] * (2 * len(letters))
    y1, _, *states = runs(model, [x[:, :4], *zero])
    y2, h2, *_ = runs(model, [x[:, 4:], *states])
    want, want_h = Model(dumps(g))(x)
    np.testing.assert_allclose(np.concatenate([y1, y2], 1), want, rtol=0, atol=1e-6)
    np.testing.assert_allclose(h2, want_h, rtol=0, atol=1e-6)


def test_states_that_the_graph_gives_are_no_inputs() -> None:
    model = to_onnx(CORPUS["lstm_explicit"], states=True)
    assert [i.name for i in model.graph.input] == ["x", "h0", "c0"]
    assert [o.name for o in model.graph.output] == ["y", "h", "c"]


# -- what cannot be ---------------------------------------------------------------------------------


def test_an_op_that_onnx_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    from lstm_rt_tools.export import onnx_ops

    monkeypatch.delitem(onnx_ops.HANDLERS, "take")
    g = Graph()
    with g.layer("few"):
        g.output(g.take(g.input("x", "seq", 2), 0, 2), "y")
    with pytest.raises(ConvertError, match=r"^node 0 \(take, few\) cannot be exported"):
        to_onnx(g)


def test_every_op_is_known() -> None:
    from lstm_rt_tools.export.onnx_ops import HANDLERS

    assert [name for name, op in OPS.items() if op.cell is None and name not in HANDLERS] == []


def test_weights_beyond_a_protobuf(monkeypatch: pytest.MonkeyPatch) -> None:
    from lstm_rt_tools.export import to_onnx as module

    monkeypatch.setattr(module, "_MAX_WEIGHTS", 1000)
    with pytest.raises(ConvertError, match="more than the 2 GiB"):
        to_onnx(CORPUS["tagger"])


def test_the_graph_is_left_as_it_was() -> None:
    before = dumps(CORPUS["tagger"])
    to_onnx(CORPUS["tagger"])
    assert dumps(CORPUS["tagger"]) == before


def test_the_checker_finds_it_valid() -> None:
    """As the docstring says; a damaged model would not be."""
    model = to_onnx(CORPUS["tagger"])
    onnx.checker.check_model(model, full_check=True)
    del model.graph.node[0]
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model, full_check=True)
