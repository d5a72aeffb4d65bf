"""What the writer writes is what a reader of the text alone (``helpers/spec_reader.py``) finds."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from helpers.graphs import CELLS, cell_id, cell_weights, every_op_graph, inputs_for, recurrent_graph, weights
from helpers.spec_reader import (
    ACTS,
    NONE,
    OPS,
    read,
    read_act,
    read_cell,
    read_convlstm,
    read_window,
    u32s,
    unpack_panels,
    widths,
)
from helpers.windows import conv_cases, pool_cases
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_rt import FormatError, Model
from lstm_rt.format import dumps
from lstm_rt.graph import ACTIVATIONS, NOT_ELEMENTWISE, Activation, Axis, Graph, SelfTest


def same(a, b):
    """Equal bits, shapes aside."""
    assert np.asarray(a, np.float32).tobytes() == np.asarray(b, np.float32).tobytes()


def check_cell(node, source):
    """A read recurrent node against the graph's node."""
    cell, a, w = read_cell(node), source.attrs, source.weights
    direction = {0: "forward", 1: "reverse", 2: "bidirectional"}[cell["flags"] & 3]
    assert (cell["hidden"], cell["input"], cell["proj"]) == (a["hidden_size"], a["input_size"], a["proj_size"])
    assert direction == a["direction"]
    assert bool(cell["flags"] & 8) == a["zero_masked"]
    assert bool(cell["flags"] & 4) == a.get("reset_after", False)
    same(cell["clip"], a["clip"])
    for got, want in zip(cell["acts"], a["activations"], strict=False):
        assert got[0] == want.name
        same(got[1:], (want.alpha, want.beta))
    assert all(act == ("linear", 0, 0) for act in cell["acts"][len(a["activations"]) :])
    rows = {"lstm": 4, "gru": 3, "rnn": 1}[node["op"]] * cell["hidden"]
    zero = np.zeros(rows, np.float32)
    for suffix, t in zip(("", "_reverse"), cell["directions"], strict=False):
        b_ih, b_hh = w.get("b_ih" + suffix, zero), w.get("b_hh" + suffix, zero)
        same(t[0], w["w_ih" + suffix])
        if node["op"] == "gru":
            split = 3 if a["reset_after"] else 2
            same(t[1], b_ih)
            same(t[2], w["w_hh" + suffix][: split * cell["hidden"]])
            same(t[3], b_hh[: split * cell["hidden"]])
            if a["reset_after"]:
                assert t[4] is None
                assert t[5] is None
            else:
                same(t[4], w["w_hh" + suffix][2 * cell["hidden"] :])
                same(t[5], b_hh[2 * cell["hidden"] :])
            continue
        same(t[1], b_ih + b_hh)
        same(t[2], w["w_hh" + suffix])
        assert t[3] is None
        for i, name in ((4, "w_hr"), (5, "peephole")):
            assert (t[i] is None) == (name + suffix not in w)
            if t[i] is not None:
                same(t[i], w[name + suffix])


def check_plain(node, source):
    """Any other node against the graph's node."""
    a, w, t = source.attrs, source.weights, [x and x[0] for x in node["tensor"]]
    layouts = {x[1] for x in node["tensor"] if x}
    if node["op"] in ("dense", "activation"):
        name, alpha, beta = read_act(node["attr"], 0)
        assert name == a["activation"].name
        same((alpha, beta), (a["activation"].alpha, a["activation"].beta))
    if node["op"] == "dense":
        assert layouts == {"panels"}
        assert (t[1] is None) == ("bias" not in w)
        same(t[0], w["weight"])
        assert t[1] is None or t[1].ravel().tobytes() == w["bias"].tobytes()
    elif node["op"] == "embedding":
        table = t[0][0] if layouts == {"panels"} else t[0]  # shared with a dense layer: one gate
        assert table.shape == w["table"].shape
        same(table, w["table"])
    elif node["op"] == "layernorm":
        same(struct.unpack_from("<f", node["attr"])[0], a["eps"])
        for got, name in zip(t, ("gamma", "beta"), strict=True):
            assert (got is None) == (name not in w)
            assert got is None or (got.shape == (1, w[name].size) and got.tobytes() == w[name].tobytes())
    elif node["op"] == "batchnorm":
        scale = w["gamma"].astype(np.float64) / np.sqrt(w["var"].astype(np.float64) + a["eps"])
        for got, want in zip(t, (w["mean"], scale.astype(np.float32), w["beta"]), strict=True):
            assert got.shape == (1, want.size)
            same(got, want)
    elif node["op"] == "mask_ids":
        assert struct.unpack_from("<i", node["attr"])[0] == a["value"]
    elif node["op"] == "mask_values":
        same(struct.unpack_from("<f", node["attr"])[0], a["value"])
    elif node["op"] == "slice":
        assert u32s(node["attr"], 0, 2) == [a["start"], a["size"]]
    elif node["op"] == "select":
        assert u32s(node["attr"], 0, 1) == [-a["index"]]
    elif node["op"] == "take":
        assert u32s(node["attr"], 0, 2) == [a["start"], a["stride"]]
    elif node["op"] == "repeat":
        assert u32s(node["attr"], 0, 1) == [a["times"]]
    elif node["op"] == "reduce":
        kind = ["sum", "mean", "max", "min", "prod", "l2"][u32s(node["attr"], 0, 1)[0]]
        assert (kind, u32s(node["attr"], 4, 1)[0]) == (a["kind"], a["whole"])
    elif node["op"] == "softmax_steps":
        assert u32s(node["attr"], 0, 1) == [a["whole"]]
    elif node["op"] == "attention":
        check_attention(node, a, w, t)
    elif node["op"] in ("conv", "pool"):
        check_window(node, source)
    elif node["op"] == "convlstm":
        check_convlstm(node, source)
    elif node["op"] == "pad":
        mode = ["constant", "edge", "reflect"].index(a["mode"])
        assert u32s(node["attr"], 0, 2) + u32s(node["attr"], 12, 1) == [a["before"], a["after"], mode]
        same(struct.unpack_from("<f", node["attr"], 8)[0], a["value"])
    elif node["op"] in ("flatten", "unflatten"):
        assert u32s(node["attr"], 0, 1) == [a["steps" if node["op"] == "flatten" else "times"]]


def check_attention(node, a, w, t):
    heads, groups, kind, scale, causal, whole = struct.unpack_from("<IIIfII", node["attr"])
    assert (heads, groups, ["dot", "additive"][kind]) == (a["heads"], a["kv_heads"], a["kind"])
    assert (causal, whole) == (a["causal"], a["whole"])
    same(scale, a["scale"])
    assert (t[0] is None) == ("weight" not in w)
    assert t[0] is None or (t[0].shape == (1, w["weight"].size) and t[0].tobytes() == w["weight"].tobytes())


def triple(attrs, name, dimensions="thw"):
    return tuple(attrs[f"{name}_{d}"] for d in dimensions)


def check_window(node, source):
    got, a = read_window(node), source.attrs
    assert got["size"] == (a["height"], a["width"])
    assert (got["stride"], got["dilation"]) == (triple(a, "stride"), triple(a, "dilation"))
    assert got["pad"] == tuple(zip(triple(a, "before"), triple(a, "after"), strict=True))
    assert got["whole"] == a["whole"]
    if node["op"] == "pool":
        assert got["kernel"] == triple(a, "kernel")
        assert got["kind"] == ["max", "avg", "avg_pad"].index(a["kind"])
        return
    w = source.weights
    assert got["groups"] == a["groups"]
    assert got["kernel"] == w["weight"].shape[2:]
    same(np.moveaxis(got["weight"], -1, 1), w["weight"])
    assert (got["bias"] is None) == ("bias" not in w)
    assert got["bias"] is None or got["bias"].tobytes() == w["bias"].tobytes()


def check_convlstm(node, source):
    got, a, w = read_convlstm(node), source.attrs, source.weights
    assert got["size"] == (a["height"], a["width"])
    assert (got["stride"], got["dilation"]) == (triple(a, "stride", "hw"), triple(a, "dilation", "hw"))
    assert got["pad"] == tuple(zip(triple(a, "before", "hw"), triple(a, "after", "hw"), strict=True))
    assert [act[0] for act in got["acts"]] == [a[name].name for name in ("gate", "cell", "output")]
    for name in ("w_ih", "w_hh"):
        same(np.moveaxis(got[name], -1, 1), w[name])
    assert (got["bias"] is None) == ("bias" not in w)
    assert got["bias"] is None or got["bias"].tobytes() == w["bias"].tobytes()


def check(graph):
    """dumps(graph), read by the reader above, is the graph; returns what was read."""
    blob = dumps(graph)
    got = read(blob)
    number = {}  # the graph's value ids -> numbers in the file
    for i in graph.inputs:
        number[i] = len(number)
    for node in graph.nodes:
        for o in node.outputs:
            if o is not None:
                number[o] = len(number)
    for value, i in ((graph.values[old], new) for old, new in number.items()):
        axis = None if value.kind == "vec" else value.axis
        want = {"name": value.name, "kind": value.kind, "size": value.size, "axis": axis}
        if value.order != "batch_first":
            want.update(order=value.order, groups=value.groups)
        assert got["values"][i] == want
    rules = [(NONE if a.parent is None else a.parent, a.mul, a.add, a.div, a.cap) for a in graph.axes]
    assert got["axes"] == (rules if got["version"] >= 3 else [])
    assert got["version"] >= 3 or not any(parent != NONE or mul == 0 for parent, mul, _, _, _ in rules)
    assert got["n_inputs"] == len(graph.inputs)
    assert got["outputs"] == [number[o] for o in graph.outputs]
    counts = [sum(w.size for name, w in node.weights.items() if name != "index") for node in graph.nodes]
    assert got["meta"] == {**graph.meta, "parameters": counts}
    for node, source in zip(got["nodes"], graph.nodes, strict=True):
        assert node["op"] == source.op
        assert node["in"] == [NONE if v is None else number[v] for v in source.inputs]
        assert node["out"] == [number[o] for o in source.outputs if o is not None]
        (check_cell if node["op"] in ("lstm", "gru", "rnn") else check_plain)(node, source)
    return blob, got


@pytest.mark.parametrize(("op", "options"), CELLS, ids=map(cell_id, CELLS))
def test_cells_of_every_size(op, options):
    directions = ("forward", "reverse", "bidirectional")
    for hidden in range(1, 41):
        rng = np.random.default_rng(hidden)
        for direction in directions if hidden in (1, 20, 27) else (directions[hidden % 3],):
            check(recurrent_graph(rng, op, hidden % 7 + 1, hidden, direction=direction, **options))


def test_dense_of_every_size():
    for size in range(1, 41):
        rng, g = np.random.default_rng(size), Graph()
        x = g.input("x", "seq", 41 - size)
        g.output(g.dense(x, weights(rng, size, 41 - size), weights(rng, size) if size % 2 else None, "relu"), "y")
        check(g)


def test_every_op():
    g = every_op_graph(np.random.default_rng(0))
    g.meta = {"source": {"framework": "none"}, "ü": [1, 2.5, None]}
    _, got = check(g)
    assert {n["op"] for n in got["nodes"]} == {OPS[code][0] for code in range(1, 19)} - {"gru", "rnn"}  # of version 1


def test_every_activation():
    assert set(ACTS) == set(ACTIVATIONS)
    g = Graph()
    x = g.input("x", "vec", 3)
    for i, name in enumerate(ACTS):
        alone = ACTIVATIONS[name] == (0, 0)
        x = g.activation(x, Activation(name) if alone else Activation(name, 0.5 + i, -0.25))
    g.output(x, "y")
    _, got = check(g)
    assert got["version"] == 4
    assert set(ACTS[13:15]) == NOT_ELEMENTWISE


@pytest.mark.parametrize("name", ACTS)
def test_versions_of_activations(name):
    g = Graph()
    x = g.input("x", "seq", 2)
    y = g.activation(x, name)
    if name not in NOT_ELEMENTWISE:
        w = {"w_ih": np.ones((2, 2)), "w_hh": np.ones((2, 2))}
        y, _, _ = g.recurrent("rnn", y, w, hidden_size=2, activations=[name])
    g.output(g.dense(y, np.ones((2, 2)), None, name), "y")
    _, got = check(g)
    assert got["version"] == (4 if ACTS.index(name) >= 15 else 1)


def test_row_ops():
    """Version 4: ops over rows of features, and broadcasts."""
    rng, g = np.random.default_rng(0), Graph()
    x, v, one = g.input("x", "seq", 6), g.input("v", "vec", 6), g.input("one", "vec", 1)
    y = x
    for op, other in (("sub", v), ("div", one), ("minimum", x), ("maximum", v), ("pow", one)):
        y = g.binary(op, y, other)
    y = g.gather(g.prelu(y, weights(rng, 6)), [5, 4, 3, 3, 0, 1])
    y = g.groupnorm(g.l2norm(y, 1e-6, 3), weights(rng, 6), None, 1e-5, 2)
    g.output(g.reduce_features(y, "l2", 3), "y")
    _, got = check(with_selftest(g, batch=2))
    assert got["version"] == 4
    nodes = {n["op"]: n for n in got["nodes"]}
    (index, layout), = nodes["gather"]["tensor"]
    assert (index.tolist(), index.dtype, layout) == ([[5, 4, 3, 3, 0, 1]], np.int32, "plain")
    assert u32s(nodes["l2norm"]["attr"], 4, 1) == [3]
    assert nodes["groupnorm"]["tensor"][1] is None
    assert u32s(nodes["reduce_features"]["attr"], 0, 2) == [5, 3]


def test_broadcasts_need_version_4():
    cases = [(("seq", "seq"), (2, 2), 1), (("seq", "vec"), (2, 2), 4), (("vec", "vec"), (2, 1), 4)]
    for kinds, sizes, version in cases:
        for op in ("add", "mul"):
            g = Graph()
            a, b = (g.input(n, k, s, axis=0 if n == "b" and k == "seq" else None)
                    for n, k, s in zip("ab", kinds, sizes, strict=True))  # fmt: skip
            g.output(g.binary(op, a, b), "y")
            assert check(g)[1]["version"] == version


@given(case=st.one_of(conv_cases(), pool_cases()))
@settings(max_examples=100, deadline=None)
def test_windows(case):
    _, got = check(case.graph)
    assert got["version"] == 4


@pytest.mark.parametrize("bias", [False, True])
def test_convlstm_and_regrouped_steps(bias):
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", 6 * 5 * 2)
    y, h, _ = g.convlstm(
        x, weights(rng, 12, 2, 2, 3), weights(rng, 12, 3, 3, 1), weights(rng, 12) if bias else None, size=(6, 5),
        stride=(2, 1), dilation=(1, 2), pad=((1, 0), (2, 1)), activations=("hard_sigmoid", "relu", "tanh"),
    )  # fmt: skip
    g.output(g.pad_steps(y, 2, 3, mode="reflect"), "y")
    g.output(g.pad_steps(y, 1, 0, -0.5), "z")
    g.output(g.flatten(x, 3), "flat")
    g.output(g.unflatten(h, 3), "steps")
    _, got = check(g)
    assert got["version"] == 4


def test_orders_and_derived_axes():
    """Version 3."""
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", 4, order="time_first")
    h0 = g.input("h0", "vec", 6, order="groups_first", groups=2)
    w = cell_weights(rng, "gru", 4, 3, "bidirectional")
    seq, h, _ = g.recurrent("gru", x, w, hidden_size=3, direction="bidirectional", h0=h0)
    g.output(g.take(seq, 1, 2, drop=1, most=5), "every_second", order="time_first")
    g.output(g.repeat(seq, 3), "three_times")
    g.output(g.repeat_vector(h, g.new_axis(Axis(mul=0, add=4))), "four_times")
    g.output(h, "h", order="groups_first", groups=2)
    _, got = check(with_selftest(g, batch=2))
    assert got["version"] == 3
    assert got["axes"][1:] == [(0, 1, -1, 2, 5), (0, 3, 0, 1, (1 << 31) - 1), (NONE, 0, 4, 1, (1 << 31) - 1)]
    assert got["test"]["steps"] == [6, 2, 18, 4]


def test_without_a_batch():
    """Version 3: no port has one."""
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", 4, order="unbatched")
    seq, h, c = g.recurrent("lstm", x, cell_weights(rng, "lstm", 4, 3), hidden_size=3)
    g.output(seq, "y", order="unbatched")
    g.output(h, "h", order="unbatched", groups=1)
    g.output(c, "c", order="unbatched")
    _, got = check(with_selftest(g))
    assert got["version"] == 3
    assert [v.get("order") for v in got["values"]] == ["unbatched"] * 4


def test_ops_along_time():
    """Version 4: what is absent and what is not; weights of attention where the query is a vector."""
    rng, g = np.random.default_rng(0), Graph()
    x, q = g.input("x", "seq", 6), g.input("q", "vec", 12)
    mask = g.mask_values(x)
    for kind in ("sum", "mean", "max", "min", "prod", "l2"):
        g.output(g.reduce(x, kind, mask if kind < "mean" else None, whole=kind > "mean"), kind)
    g.output(g.softmax_steps(x, mask), "masked")
    g.output(g.softmax_steps(x, whole=True), "softmax")
    g.output(g.cumsum(x), "sums")
    y, w = g.attention(q, x, x, heads=4, kv_heads=2, kind="additive", weight=weights(rng, 12), mask=mask, whole=True)
    g.output(y, "context")
    g.output(w, "weights")
    g.output(g.attention(x, x, x, heads=3, scale=0.1, causal=True)[0], "causal")
    _, got = check(with_selftest(g, batch=2))
    assert got["version"] == 4
    assert [len(n["out"]) for n in got["nodes"][-2:]] == [2, 1]
    assert [n["in"][1] for n in got["nodes"] if n["op"] == "reduce"].count(NONE) == 4


def test_initial_states_and_lengths():
    rng, g = np.random.default_rng(0), Graph()
    x, n = g.input("x", "seq", 4), None
    n = g.input("n", "lengths", axis=g.values[x].axis)
    other = g.input("other", "ids")
    h0, c0 = g.input("h0", "vec", 6), g.input("c0", "vec", 10)
    w = cell_weights(rng, "lstm", 4, 10, proj=6)
    seq, _, _ = g.recurrent("lstm", x, w, hidden_size=10, h0=h0, c0=c0)
    e = g.embedding(other, weights(rng, 9, 6))
    g.output(e, "e")
    g.output(g.dense(seq, weights(rng, 2, 6)), "y")
    _, got = check(g)
    assert got["values"][n] == {"name": "n", "kind": "lengths", "size": 0, "axis": 0}
    assert got["values"][other]["axis"] == 1
    assert got["size"]["n_axes"] == 2


def test_tied_weights_are_stored_once():
    rng, g = np.random.default_rng(0), Graph()
    w = weights(rng, 8, 8)
    g.output(g.dense(g.dense(g.input("x", "seq", 8), w), w.copy()), "y")
    assert len(dumps(g)) < 128 + 3 * 32 + 2 * 160 + 32 + 4 + 64 + 256 + 2 * 64


def with_selftest(graph, batch=1, steps=6):
    x = inputs_for(np.random.default_rng(1), graph, batch, steps)
    y = Model(dumps(graph))(*x)
    graph.selftest = SelfTest(x, list(y) if isinstance(y, tuple) else [y], 1e-6, 1e-3)
    return graph


def test_selftest():
    g = with_selftest(every_op_graph(np.random.default_rng(2)), batch=3)
    _, got = check(g)
    test = got["test"]
    assert (test["batch"], test["steps"]) == (3, [6])
    same((test["atol"], test["rtol"]), (1e-6, 1e-3))
    for got_array, want in zip(test["arrays"], g.selftest.inputs + g.selftest.outputs, strict=True):
        assert got_array.dtype.newbyteorder("=") == want.dtype
        assert got_array.tobytes() == want.tobytes()


def test_size():
    """A small model stays small: 1.25 times the raw weights and 2048 bytes, self-test included."""
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", 1)
    w = cell_weights(rng, "lstm", 1, 20)
    seq, _, _ = g.recurrent("lstm", x, w, hidden_size=20)
    g.output(g.dense(seq, weights(rng, 1, 20), weights(rng, 1)), "y")
    g.meta = {"source": {"framework": "pytorch", "sha256": "0" * 64}, "tool": "lstm-rt"}
    blob, got = check(with_selftest(g, steps=16))
    assert got["test"] is not None
    raw = 4 * (4 * 20 * (1 + 20 + 1) + 20 + 1)  # one bias: the two of PyTorch are added
    assert len(blob) <= 1.25 * raw + 2048


# ---- the errors that the text names, one broken rule at a time


E = {"SHORT": 1, "MAGIC": 2, "VERSION": 3, "SIZE": 4, "COUNTS": 7, "TABLES": 8, "TENSOR": 9, "VALUE": 10, "OP": 11,
     "NODE_INPUT": 12, "NODE_OUTPUT": 13, "NODE_ATTR": 14, "NODE_TENSOR": 15, "INTERFACE": 16, "STRING": 17,
     "SELFTEST": 18}  # fmt: skip
NAN = 0x7FC00000
#: (error, table, record, offset in the record, type, new value); tables as in section 1
BROKEN = [
    ("MAGIC", "header", 0, 0, "B", 0), ("VERSION", "header", 0, 8, "I", 1000), ("VERSION", "header", 0, 8, "I", 0),
    ("SIZE", "header", 0, 16, "Q", 1 << 40), ("COUNTS", "header", 0, 24, "I", 9),
    ("COUNTS", "header", 0, 28, "I", 0), ("COUNTS", "header", 0, 28, "I", 4097), ("COUNTS", "header", 0, 32, "I", 0),
    ("COUNTS", "header", 0, 32, "I", 4097), ("COUNTS", "header", 0, 36, "I", 4097),
    ("COUNTS", "header", 0, 40, "I", 0), ("COUNTS", "header", 0, 40, "I", 65), ("COUNTS", "header", 0, 44, "I", 0),
    ("COUNTS", "header", 0, 44, "I", 65), ("COUNTS", "header", 0, 48, "I", 2),
    ("TABLES", "header", 0, 32, "I", 4096), ("TABLES", "header", 0, 52, "I", 1 << 30),
    ("TABLES", "header", 0, 56, "I", NONE), ("TABLES", "header", 0, 60, "B", 1),
    ("TABLES", "header", 0, 127, "B", 1), ("VALUE", "values", 0, 0, "B", 0), ("VALUE", "values", 0, 0, "B", 6),
    ("VALUE", "values", 0, 1, "B", 1), ("VALUE", "values", 0, 1, "B", 255), ("VALUE", "values", 0, 2, "H", 1),
    ("VALUE", "values", 0, 4, "I", 0), ("VALUE", "values", 0, 4, "I", (1 << 20) + 1),
    ("VALUE", "values", 2, 1, "B", 0), ("VALUE", "values", 0, 16, "B", 1), ("VALUE", "values", 0, 31, "B", 1),
    ("STRING", "values", 0, 8, "I", 1 << 20), ("STRING", "values", 0, 12, "I", NONE),
    ("TENSOR", "tensors", 0, 0, "Q", 64), ("TENSOR", "tensors", 0, 0, "Q", 1 << 40),
    ("TENSOR", "tensors", 0, 8, "Q", 4), ("TENSOR", "tensors", 0, 16, "B", 0), ("TENSOR", "tensors", 0, 16, "B", 3),
    ("TENSOR", "tensors", 0, 17, "B", 3), ("TENSOR", "tensors", 0, 18, "H", 0), ("TENSOR", "tensors", 0, 18, "H", 5),
    ("TENSOR", "tensors", 0, 20, "I", 0), ("TENSOR", "tensors", 0, 24, "I", 0), ("TENSOR", "tensors", 0, 28, "I", 1),
    ("OP", "nodes", 0, 0, "H", 0), ("OP", "nodes", 0, 0, "H", 19), ("OP", "nodes", 0, 0, "H", 21),
    ("NODE_INPUT", "nodes", 0, 2, "H", 7),
    ("NODE_INPUT", "nodes", 0, 2, "H", 3), ("NODE_OUTPUT", "nodes", 0, 4, "H", 4),
    ("NODE_OUTPUT", "nodes", 0, 4, "H", 2), ("NODE_TENSOR", "nodes", 0, 6, "H", 13),
    ("NODE_TENSOR", "nodes", 0, 6, "H", 12), ("NODE_INPUT", "nodes", 0, 8, "I", 1),
    ("NODE_INPUT", "nodes", 0, 8, "I", NONE), ("NODE_INPUT", "nodes", 0, 12, "I", 0),
    ("NODE_INPUT", "nodes", 0, 20, "I", 0), ("NODE_OUTPUT", "nodes", 0, 32, "I", 0),
    ("NODE_OUTPUT", "nodes", 0, 36, "I", 3), ("NODE_TENSOR", "nodes", 0, 44, "I", NONE),
    ("NODE_TENSOR", "nodes", 0, 44, "I", 2), ("NODE_TENSOR", "nodes", 0, 44, "I", 4096),
    ("NODE_TENSOR", "nodes", 0, 56, "I", 0), ("NODE_ATTR", "nodes", 0, 92, "I", 0),
    ("NODE_ATTR", "nodes", 0, 96, "I", 4), ("NODE_ATTR", "nodes", 0, 100, "I", (1 << 20) + 1),
    ("NODE_TENSOR", "nodes", 0, 100, "I", 7), ("NODE_TENSOR", "nodes", 0, 104, "I", 2),
    ("NODE_ATTR", "nodes", 0, 104, "I", 4), ("NODE_ATTR", "nodes", 0, 104, "I", 16),
    ("NODE_ATTR", "nodes", 0, 108, "I", NAN), ("NODE_ATTR", "nodes", 0, 108, "f", -1.0),
    ("NODE_ATTR", "nodes", 0, 112, "I", 13), ("NODE_ATTR", "nodes", 0, 116, "I", NAN),
    ("NODE_TENSOR", "nodes", 0, 64, "I", 1), ("NODE_ATTR", "nodes", 1, 92, "I", 15),
    ("NODE_INPUT", "nodes", 1, 8, "I", 4), ("INTERFACE", "outputs", 0, 0, "I", 0),
    ("INTERFACE", "outputs", 0, 0, "I", 5), ("INTERFACE", "outputs", 1, 0, "I", 4),
    ("SELFTEST", "test", 0, 0, "I", 0), ("SELFTEST", "test", 0, 0, "I", 4097), ("SELFTEST", "test", 0, 12, "I", 1),
    ("SELFTEST", "test", 0, 4, "f", math.inf), ("SELFTEST", "test", 0, 4, "I", NAN),
    ("SELFTEST", "test", 0, 4, "f", -1e-5), ("SELFTEST", "test", 0, 8, "f", math.inf),
    ("SELFTEST", "test", 0, 8, "I", NAN), ("SELFTEST", "test", 0, 8, "f", -1e-5),
    ("SELFTEST", "test", 0, 8, "f", 0.011),
    ("SELFTEST", "test", 0, 16, "I", 5), ("SELFTEST", "test", 0, 20, "I", 4096), ("SELFTEST", "test", 0, 24, "I", 0),
]  # fmt: skip
RECORD = {"header": 0, "values": 32, "nodes": 160, "tensors": 32, "outputs": 4, "test": 0}


@pytest.fixture(scope="module")
def small():
    """An lstm, a dense layer, two outputs and a self-test; where its tables begin. Values: x, seq, h_n, c_n, y."""
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", 3)
    seq, h, _ = g.recurrent("lstm", x, cell_weights(rng, "lstm", 3, 5), hidden_size=5)
    g.output(g.dense(seq, weights(rng, 2, 5), weights(rng, 2), "relu"), "y")
    g.output(h, "h")
    blob, got = check(with_selftest(g, batch=2))
    n_values, n_nodes, n_tensors = len(got["values"]), len(got["nodes"]), u32s(blob, 36, 1)[0]
    at = {"header": 0, "values": 128, "nodes": 128 + 32 * n_values}
    at["tensors"] = at["nodes"] + 160 * n_nodes
    at["outputs"] = at["tensors"] + 32 * n_tensors
    at["test"] = at["outputs"] + 4 * 2
    assert (n_values, n_nodes, n_tensors) == (5, 2, 8)
    return blob, at


def code_of(blob):
    """The core's error code for these bytes, 0 when they are valid."""
    try:
        Model(bytes(blob))
    except FormatError as e:
        return getattr(e, "code", None) or e.args[1]
    return 0


@pytest.mark.parametrize("case", BROKEN, ids=lambda c: "-".join(map(str, c)))
def test_each_broken_rule_is_its_error(small, case):
    error, table, record, offset, kind, value = case
    blob, at = bytearray(small[0]), small[1][table] + RECORD[table] * record + offset
    assert code_of(blob) == 0
    struct.pack_into("<" + kind, blob, at, value)
    assert code_of(blob) == E[error]


def test_length_of_the_file(small):
    blob = small[0]
    assert [code_of(blob[:n]) for n in (1, 7, 8, 127, 128, len(blob) - 1)] == [1, 1, 1, 1, 4, 4]
    assert code_of(b"\x89PNG\r\n\x1a\n") == E["MAGIC"]
    assert code_of(blob + b"\0") == E["SIZE"]


def test_what_the_text_leaves_free(small):
    """Unused entries and attributes, bytes between tensors, the checksum: not looked at when opening."""
    blob, at = bytearray(small[0]), small[1]
    struct.pack_into("<I", blob, at["nodes"] + 160 + 8 + 4, 77)  # an input that dense does not have
    struct.pack_into("<I", blob, at["nodes"] + 92 + 4 * 16, 77)  # the last attribute
    struct.pack_into("<I", blob, 12, 77)
    blob[-1] = 77
    assert code_of(blob) == 0


def test_the_worked_examples_of_the_text():
    assert [sum(widths(n)) for n in (20, 27, 29)] == [20, 28, 32]
    assert (widths(20), widths(27), widths(29)) == ([16, 4], [16, 8, 4], [16, 16])
    flat = np.arange(120, dtype=np.float32)
    w = unpack_panels(flat, 2, 20, 3)
    assert (w[0, 0, 0], w[1, 0, 0], w[0, 0, 1], w[0, 16, 0], w[1, 19, 0], w[1, 19, 2]) == (0, 16, 32, 96, 103, 119)
