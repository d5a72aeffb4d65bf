"""Integer weights in files and graphs: what the text says of them, and what is refused."""

import numpy as np
import pytest
from helpers.graphs import FORMS, cell_id, inputs_for, recurrent_graph, weights
from helpers.integers import WAYS, integer_graph, random_integers
from helpers.spec_cells import run_node
from helpers.spec_reader import read, read_cell, read_convlstm, read_window
from helpers.windows import conv_cases
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_rt import GraphError, Model
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import Graph
from lstm_rt.quantised import Quantised


@given(
    units=st.integers(1, 40), k=st.integers(1, 20), bits=st.sampled_from([8, 16]),
    limit=st.sampled_from([1, 127, 3000, 32639]), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_reader_of_the_text_finds_the_integers(units, k, bits, limit, seed):
    q = random_integers(np.random.default_rng(seed), units, k, bits, limit)
    g = Graph()
    g.output(g.dense(g.input("x", "seq", k), q), "y")
    blob = dumps(g)
    found = read(blob)
    (weight, layout), bias = found["nodes"][0]["tensor"]
    assert (found["version"], layout, bias, weight["limit"]) == (5, "panels", None, limit)
    np.testing.assert_array_equal(weight["q"][0], q.values)
    np.testing.assert_array_equal(weight["s"][0], q.scale)
    assert loads_graph(blob).nodes[0].weights["weight"].same(q)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMS, ids=cell_id)
def test_cells_compute_what_the_text_says(form, way):
    """Gates in float64, so that now and then a state is rounded to the integer beside."""
    op, options = form
    g = integer_graph(recurrent_graph(np.random.default_rng(2), op, 5, 22, direction="bidirectional", **options), *way)
    (x,) = inputs_for(np.random.default_rng(3), g, 3, 6)
    blob = dumps(g)
    node = read(blob)["nodes"][0]
    cell = read_cell(node)
    size = cell["proj"] or cell["hidden"]
    h, c = np.zeros((2, 3, size)), np.zeros((2, 3, cell["hidden"]))
    want = run_node(op, cell, x, [6] * 3, np.ones((3, 6), bool), h, c, False)
    for y, w in zip(Model(blob)(x), want, strict=False):
        assert np.abs(y - w).max() <= (2e-2 if way[1] == 8 else 2e-4)
        assert np.median(np.abs(y - w)) <= 2e-6


def test_files_without_integers_stay_of_their_versions():
    g = recurrent_graph(np.random.default_rng(0), "lstm", 3, 4)
    assert dumps(g)[8] == 1
    assert dumps(integer_graph(g, 8, 16))[8] == 5


@pytest.mark.parametrize(
    ("values", "scale", "limit", "message"),
    [
        (np.ones((2, 3), np.int32), np.ones(2, np.float32), 9, "int32 of shape (2, 3), expected a matrix of int8 or "),
        (np.ones(3, np.int8), np.ones(1, np.float32), 9, "int8 of shape (3,), expected a matrix"),
        (np.ones((0, 3), np.int8), np.ones(0, np.float32), 9, "int8 of shape (0, 3), expected a matrix"),
        (np.ones((2, 3), np.int8), np.ones(3, np.float32), 9, "float32 of shape (3,), expected float32 of shape (2,)"),
        (np.ones((2, 3), np.int8), np.ones(2), 9, "the scale is float64 of shape (2,), expected float32"),
        (np.ones((2, 3), np.int8), np.full(2, 0.1, np.float32), 9, "a scale is no bfloat16"),
        (np.ones((2, 3), np.int8), np.ones(2, np.float32), 0, "limit is 0, expected 1 to 32639"),
        (np.ones((2, 3), np.int8), np.ones(2, np.float32), 32640, "limit is 32640, expected 1 to 32639"),
        (np.ones((2, 3), np.int8), np.ones(2, np.float32), True, "limit is True, expected 1 to 32639"),
        (np.full((1, 3), 32767, np.int16), np.ones(1, np.float32), 21847, "98,301, times the limit 21,847, can"),
    ],
)  # fmt: skip
def test_what_is_no_matrix_of_integers(values, scale, limit, message):
    with pytest.raises(GraphError) as caught:
        Quantised(values, scale, limit)
    assert message in str(caught.value)


def test_the_largest_sum_that_fits():
    q = Quantised(np.full((1, 3), 32767, np.int16), np.ones(1, np.float32), 21846)
    assert q.largest_sum() * q.limit <= (1 << 31) - 1


def test_integers_where_they_may_not_be():
    rng = np.random.default_rng(0)
    g = Graph()
    x = g.input("x", "seq", 3)
    q = random_integers(rng, 3, 3, 8, 100)
    with pytest.raises(GraphError, match="layernorm: gamma is made of integers, expected a float array"):
        g.node("layernorm", x, gamma=q, beta=weights(rng, 3), eps=1e-3)
    with pytest.raises(GraphError, match=r"dense: weight has shape \(3, 3\), expected \(any, 4\)"):
        g.dense(g.input("z", "seq", 4), q)


def test_it_stands_for_an_array():
    q = random_integers(np.random.default_rng(0), 5, 7, 16, 100)
    exact = q.values.astype(np.float32) * q.scale[:, None]
    np.testing.assert_array_equal(np.asarray(q), exact)
    np.testing.assert_array_equal(q.astype(np.float64), exact.astype(np.float64))
    np.testing.assert_array_equal(q[2], exact[2])
    np.testing.assert_array_equal(np.asarray(q[1:3]), exact[1:3])
    assert (q.shape, len(q), q.size, q.ndim, q.nbytes) == ((5, 7), 5, 35, 2, 80)
    assert not q.same(q[:4])
    assert not q.same(exact)
    with pytest.raises(ValueError, match="by a copy"):
        np.array(q, copy=False)


@given(case=conv_cases(each=(16, 32)), way=st.sampled_from(WAYS))
@settings(max_examples=60, deadline=None)
def test_a_reader_of_the_text_finds_those_of_convolutions(case, way):
    """The outputs of all groups one after the other, and their biases."""
    integer_graph(case.graph, *way)
    node = case.graph.nodes[0]
    found, q = read_window(read(dumps(case.graph))["nodes"][0]), node.weights["weight"]
    np.testing.assert_array_equal(np.moveaxis(found["weight"]["q"], -1, 1), q.values)
    np.testing.assert_array_equal(found["weight"]["s"], q.scale)
    assert (found["weight"]["limit"], found["groups"]) == (q.limit, node.attrs["groups"])
    assert (found["bias"] is None) == (case.bias is None)
    assert case.bias is None or found["bias"].tobytes() == case.bias.tobytes()


def test_a_reader_of_the_text_finds_those_of_a_convlstm():
    rng, g = np.random.default_rng(0), Graph()
    w_ih, w_hh = weights(rng, 20, 3, 2, 3), weights(rng, 20, 5, 3, 2)
    g.output(g.convlstm(g.input("x", "seq", 4 * 5 * 3), w_ih, w_hh, weights(rng, 20), size=(4, 5))[0], "y")
    integer_graph(g, 8, 16)
    found = read_convlstm(read(dumps(g))["nodes"][0])
    for name in ("w_ih", "w_hh"):
        np.testing.assert_array_equal(np.moveaxis(found[name], -1, 1), g.nodes[0].weights[name].values)
