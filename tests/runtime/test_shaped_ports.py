"""Ports whose arrays have other dims than the table's: the same bits as batch first, in arrays of any shape."""

from __future__ import annotations

import pickle
import string

import numpy as np
import pytest
from helpers.graphs import cell_weights, weights
from helpers.spec_reader import read
from helpers.threads import OPENMP, on_lanes
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges import reference
from lstm_rt_tools.judges.testdata import make_inputs, make_selftest
from lstm_rt_tools.judges.torch_replay import replay

from lstm_rt import GraphError, InputError, Model
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import Graph


def model_graph(ports=None):
    """x (T, 6), v (4) and ids -> y (T, 6), h (4); ports says the dims of some by their names."""
    rng, g = np.random.default_rng(0), Graph()

    def options(name):
        return {"order": "shaped", "dims": ports[name]} if name in (ports or {}) else {}

    x, v = g.input("x", "seq", 6, **options("x")), g.input("v", "vec", 4, **options("v"))
    ids = g.input("ids", "ids", axis=0, **options("ids"))
    both = g.concat(x, g.embedding(ids, weights(rng, 11, 3)))
    seq, h, _ = g.recurrent("gru", both, cell_weights(rng, "gru", 9, 4), hidden_size=4)
    g.output(g.dense(seq, weights(rng, 6, 4)), "y", **options("y"))
    g.output(g.binary("add", h, v), "h", **options("h"))
    return g


KINDS = {"x": ("NT", 6), "v": ("N", 4), "ids": ("NT", 1), "y": ("NT", 6), "h": ("N", 4)}


def turned(array, lead, dims):
    """An array of (N, T, F), (N, F), (N, T) with the dims: each letter of lead is an axis of its own."""
    sizes = [d for d in dims if d not in ("N", "T")]
    array = array.reshape(*array.shape[: len(lead)], *sizes)
    letters = iter(string.ascii_lowercase)
    names = [d if d in ("N", "T") else next(letters) for d in dims]
    source = lead + "".join(n for n in names if n not in ("N", "T"))
    if "N" not in names:
        assert array.shape[0] == 1
        source, array = source[1:], array[0]
    return np.einsum(f"{source}->{''.join(names)}", array)


@st.composite
def all_dims(draw, batched=True):
    ports = {}
    for name, (lead, size) in KINDS.items():
        sizes = {6: [(6,), (2, 3), (3, 2), (1, 6), (6, 1, 1), (1, 3, 2)], 4: [(4,), (2, 2), (1, 4), (2, 1, 2)],
                 1: [(), (1,), (1, 1)]}[size]  # fmt: skip
        dims = list(draw(st.sampled_from(sizes)))
        for letter in lead if batched else lead[1:]:
            dims.insert(draw(st.integers(0, len(dims))), letter)
        ports[name] = tuple(dims)
    return ports


def plain_inputs(batch, steps, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (batch, steps, 6)).astype(np.float32)
    v = rng.uniform(-1, 1, (batch, 4)).astype(np.float32)
    return [x, v, rng.integers(0, 11, (batch, steps)).astype(np.int32)]


def shaped(ports, names, arrays):
    return [turned(a, KINDS[n][0], ports[n]) for n, a in zip(names, arrays, strict=True)]


IN, OUT = ("x", "v", "ids"), ("y", "h")


@given(ports=all_dims(), batch=st.integers(1, 4), steps=st.integers(0, 9), ragged=st.booleans(), outs=st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_same_bits_as_batch_first(ports, batch, steps, ragged, outs):
    inputs = plain_inputs(batch, steps)
    lengths = np.random.default_rng(1).integers(0, steps + 1, batch) if ragged else None
    graph, model = model_graph(ports), Model(model_graph(ports))
    mine = shaped(ports, IN, inputs)
    before = [a.copy() for a in mine]
    want = shaped(ports, OUT, Model(model_graph())(*inputs, lengths=lengths))
    out = [np.full(w.shape, 7, np.float32) for w in want] if outs else None
    got = model(*mine, lengths=lengths, out=out)
    for y, w in zip(got, want, strict=True):
        assert y.flags.c_contiguous
        np.testing.assert_array_equal(y, w)
    assert out is None or all(a is b for a, b in zip(got, out, strict=True))
    for a, b in zip(mine, before, strict=True):
        np.testing.assert_array_equal(a, b)
    for y, w in zip(reference.run(graph, mine, lengths), want, strict=True):
        np.testing.assert_allclose(y, w, atol=1e-5)
    assert dumps(loads_graph(dumps(graph))) == dumps(graph)


@given(ports=all_dims(), batch=st.integers(1, 4), steps=st.integers(1, 7), capacity=st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_streams(ports, batch, steps, capacity):
    """A step has no T; a chunk has it where the dims say. Groups likewise, whatever their capacity."""
    inputs = plain_inputs(batch, steps)
    model, plain = Model(model_graph(ports)), Model(model_graph()).stream(batch)
    stream, group = model.stream(batch), model.streams(batch + capacity)
    keys = [group.join() for _ in range(batch)]
    step_dims = {n: tuple(d for d in dims if d != "T") for n, dims in ports.items()}
    for t in range(steps - 1):
        parts = [np.ascontiguousarray(a[:, t]) if a.ndim > 1 and len(KINDS[n][0]) == 2 else a
                 for n, a in zip(IN, inputs, strict=True)]  # fmt: skip
        want = [turned(y, "N", step_dims[n]) for n, y in zip(OUT, plain.step(*parts), strict=True)]
        mine = [turned(a, "N", step_dims[n]) for n, a in zip(IN, parts, strict=True)]
        out = [np.empty(w.shape, np.float32) for w in want]
        for got in (stream.step(*mine, out=out), group.step(*mine, keys=keys)):
            for y, w in zip(got, want, strict=True):
                np.testing.assert_array_equal(y, w)
    last = [a[:, -1:] if len(KINDS[n][0]) == 2 else a for n, a in zip(IN, inputs, strict=True)]
    want = shaped(ports, OUT, plain.feed(*(np.ascontiguousarray(a) for a in last)))
    mine = shaped(ports, IN, last)
    for got in (stream.feed(*mine), group.feed(*mine, keys=keys)):
        for y, w in zip(got, want, strict=True):
            np.testing.assert_array_equal(y, w)


@given(ports=all_dims(batched=False), steps=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_without_a_batch(ports, steps):
    inputs = plain_inputs(1, steps)
    graph = model_graph(ports)
    mine, want = shaped(ports, IN, inputs), shaped(ports, OUT, Model(model_graph())(*inputs))
    for got in (Model(graph)(*mine), reference.run(graph, mine)):
        for y, w in zip(got, want, strict=True):
            assert y.shape == w.shape
            np.testing.assert_allclose(y, w, atol=1e-5)
    stream, group = Model(graph).stream(), Model(graph).streams(3)
    keys = [group.join() for _ in range(3)]
    for t in range(steps):
        parts = [a.take(t, ports[n].index("T")) if "T" in ports[n] else a for n, a in zip(IN, mine, strict=True)]
        y, _ = stream.step(*parts)
        np.testing.assert_array_equal(y, want[0].take(t, ports["y"].index("T")))
        three, _ = group.step(*(np.stack([p] * 3) for p in parts), keys=keys)
        np.testing.assert_array_equal(three, np.stack([y] * 3))


@given(ports=all_dims(), steps=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_the_batch_may_be_left_out(ports, steps):
    model = Model(model_graph(ports))
    inputs = shaped(ports, IN, plain_inputs(1, steps))
    want = [np.squeeze(y, ports[n].index("N")) for n, y in zip(OUT, model(*inputs), strict=True)]
    alone = [np.squeeze(a, ports[n].index("N")) for n, a in zip(IN, inputs, strict=True)]
    for y, w in zip(model(*alone), want, strict=True):
        np.testing.assert_array_equal(y, w)
    parts = [a.take(0, [d for d in ports[n] if d != "N"].index("T")) if "T" in ports[n] else a
             for n, a in zip(IN, alone, strict=True)]  # fmt: skip
    y, _ = model.stream().step(*parts)
    np.testing.assert_array_equal(y, want[0].take(0, [d for d in ports["y"] if d != "N"].index("T")))


@OPENMP
def test_threads():
    ports = {"x": ("T", 2, "N", 3), "y": (6, "N", "T")}
    inputs = plain_inputs(5, 40)
    mine = [turned(inputs[0], "NT", ports["x"]), *inputs[1:]]
    want = Model(model_graph(ports), threads=1)(*mine)
    for lanes in (2, 3):
        got = on_lanes(lanes, lambda n=lanes: Model(model_graph(ports), threads=n)(*mine))
        for y, w in zip(got, want, strict=True):
            np.testing.assert_array_equal(y, w)


@given(ports=all_dims())
@settings(max_examples=20, deadline=None)
def test_the_file(ports):
    """A reader of the text alone finds the dims; a self-test comes and goes; ports say their shapes."""
    graph = model_graph(ports)
    graph.selftest = make_selftest(graph)
    blob = dumps(graph)
    values = {v["name"]: v for v in read(blob)["values"] if v["name"]}
    assert {n: values[n]["dims"] for n in ports} == ports
    model = Model(blob)
    assert model.verify()["ok"]
    for port in (*model.inputs, *model.outputs):
        assert port.shape == ports[port.name]
        assert (port.order, port.groups) == ("shaped", 0)
        again = pickle.loads(pickle.dumps(port))
        assert (again.shape, repr(again)) == (port.shape, repr(port))
    assert [tuple(p["shape"]) for p in model.info["inputs"]] == [ports[n] for n in IN]


@given(ports=all_dims())
@settings(max_examples=20, deadline=None)
def test_replay(ports):
    pytest.importorskip("torch")
    graph = model_graph(ports)
    inputs = make_inputs(graph, 3, 5)
    for y, w in zip(replay(graph, inputs), reference.run(graph, inputs), strict=True):
        assert y.shape == w.shape
        np.testing.assert_allclose(y, w, atol=1e-9)


def test_lengths_and_time_axes_of_shaped_ports():
    g = Graph()
    x = g.input("x", "seq", 2, order="shaped", dims=(1, "T", 2, "N"))
    g.input("n", "lengths", axis=0, order="shaped", dims=("N", 1))
    g.input("z", "seq", 1, order="shaped", dims=("N", "T"))
    g.output(g.select(x), "last", order="shaped", dims=(2, "N"))
    model = Model(g)
    assert [p.shape for p in model.inputs] == [(1, "T0", 2, "N"), ("N", 1), ("N", "T1")]
    array = np.random.default_rng(0).uniform(-1, 1, (1, 5, 2, 3)).astype(np.float32)
    n = np.array([[5], [1], [0]])
    want = np.stack([array[0, 4, :, 0], array[0, 0, :, 1], [0, 0]], axis=1)
    z = np.zeros((3, 7), np.float32)
    np.testing.assert_array_equal(model(array, n, z), want)
    np.testing.assert_array_equal(reference.run(g, [array, n, z])[0], want)
    with pytest.raises(InputError, match=r"input 'n': got int.* \(3,\), expected integers \(N, 1\)"):
        model(array, n[:, 0], z)
    with pytest.raises(InputError, match=r"input 'n': 6 at \[2\], expected 0 to 5"):
        model(array, np.array([[5], [1], [6]]), z)


def test_a_port_of_no_dims():
    g = Graph()
    x = g.input("x", "vec", 1, order="shaped", dims=())
    g.output(g.activation(x, "abs"), "y", order="shaped", dims=[1, 1])
    y = Model(g)(np.float32(-3))
    assert (y.shape, y.item()) == ((1, 1), 3.0)
    assert reference.run(g, [np.float32(-3)])[0].tolist() == [[3.0]]


def test_wrong_arrays_are_refused():
    model = Model(model_graph({"x": ("T", 2, "N", 3), "y": ("N", 6, "T"), "ids": ("N", 1, "T")}))
    x, v, ids = np.zeros((5, 2, 4, 3), np.float32), np.zeros((4, 4), np.float32), np.zeros((4, 1, 5), np.int32)
    assert model(x, v, ids)[0].shape == (4, 6, 5)
    for args, message in [
        ((np.zeros((5, 4, 6), np.float32), v, ids), r"'x': got float32 \(5, 4, 6\), expected float32 \(T, 2, 3\)"),
        ((np.zeros((5, 3, 4, 2), np.float32), v, ids), r"expected float32 \(T, 2, N, 3\)"),
        ((x, v, ids[:, 0]), r"input 'ids': got int32 \(4, 5\), expected integers \(N, 1, T\)"),
        ((x, v[:3], ids), "input 'v' has a batch of 3, the inputs before it 4"),
        ((x, v, ids[:, :, :2]), "input 'ids' has 2 steps, an input before it on its time axis 5"),
        ((x.tolist(), v, np.full((4, 1, 5), 11)), r"input 'ids': id 11 at \[0, 0, 0\], expected 0 to 10"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=message):
            model(*args)
    with pytest.raises(InputError, match=r"out for 'y': .* expected a writeable C-contiguous .* \(4, 6, 5\)"):
        model(x, v, ids, out=[np.zeros((4, 5, 6), np.float32), None])
    buffer = np.zeros(200, np.float32)
    x, y = buffer[:120].reshape(5, 2, 4, 3), buffer[80:].reshape(4, 6, 5)
    with pytest.raises(InputError, match="out shares memory with an input"):
        model(x, v, ids, out=[y, None])
    stream = model.stream(4)
    with pytest.raises(InputError, match=r"input 'x': got float32 \(4, 6\), expected float32 \(2, 4, 3\)"):
        stream.step(np.zeros((4, 6), np.float32), v, ids[:, :, 0])


@pytest.mark.parametrize(
    ("kind", "size", "dims", "message"),
    [
        ("seq", 6, ("N", 6), "dims are (N, 6), expected N at most once and T once"),
        ("seq", 6, ("N", "T", "T", 6), "expected N at most once and T once"),
        ("seq", 6, ("N", "N", "T", 6), "expected N at most once and T once"),
        ("seq", 6, ("N", "T", 5), "dims are (N, T, 5), the product of the sizes is not 6"),
        ("seq", 6, ("N", "T", 2, 0), "expected N, T and sizes of 1 or more"),
        ("seq", 6, ("N", "T", -6, -1), "expected N, T and sizes of 1 or more"),
        ("seq", 6, ("N", "T", "C"), "dims are (N, T, C), expected N, T and sizes of 1 or more"),
        ("seq", 6, ("N", "T", 6.0), "dims is 6.0, expected an integer"),
        ("seq", 6, "NT6", "dims is 'NT6', expected a list of N, T and sizes"),
        ("seq", 6, ("N", "T", 6, *[1] * 14), "17 dims are more than the 16 that an .lrt file can hold"),
        ("vec", 6, ("N", "T", 6), "expected N at most once and T never, as it is of kind vec"),
        ("vec", 6, ("N",), "the product of the sizes is not 6"),
    ],
)
def test_dims_that_cannot_be(kind, size, dims, message):
    g = Graph()
    with pytest.raises(GraphError) as error:
        g.input("x", kind, size, order="shaped", dims=dims)
    assert message in str(error.value)
    value = g.input("x", kind, size)
    with pytest.raises(GraphError) as error:
        g.output(g.activation(value, "tanh"), "y", order="shaped", dims=dims)
    assert message in str(error.value)


def test_dims_are_of_shaped_ports():
    g = Graph()
    with pytest.raises(GraphError, match="input 'x': dims are of the order shaped, this is batch_first"):
        g.input("x", "vec", 2, dims=("N", 2))
    g.output(g.activation(g.input("x", "vec", 2, order="shaped", dims=(2,)), "tanh"), "y")
    with pytest.raises(GraphError, match="some inputs and outputs have no batch, but not y"):
        dumps(g)


def test_other_orders_beside_shaped_ones():
    """Grouped vectors first: whether a step has rows is told by their dims, not by how many there are."""
    g = Graph()
    v = g.input("v", "vec", 4, order="groups_first", groups=2)
    x = g.input("x", "seq", 4, order="time_first")
    g.output(g.binary("add", x, v), "y")
    stream = Model(g).stream()
    v, x = np.arange(4, dtype=np.float32), np.ones(4, np.float32)
    flat = stream.step(v.reshape(2, 2), x)
    assert flat.shape == (4,)
    rows = stream.step(v.reshape(2, 1, 2), x[None])
    np.testing.assert_array_equal(rows, flat[None])
    with pytest.raises(InputError, match=r"input 'v': got float32 \(4,\), expected float32 \(2, 2\)"):
        stream.step(v, x)


# -- dims of outputs that are one axis ------------------------------------------------------------------------


def joined_graph(dims_y, dims_h=("N", 4)):
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", 3)
    seq, h, _ = g.recurrent("gru", x, cell_weights(rng, "gru", 3, 4), hidden_size=4)
    plain = g.activation(seq, "linear"), g.activation(h, "linear")
    g.output(seq, "y", order="shaped", dims=dims_y)
    g.output(h, "h", order="shaped", dims=dims_h)
    for name, value in zip(("plain_y", "plain_h"), plain, strict=True):
        g.output(value, name)
    return g


def as_numpy_joins(array, lead, dims):
    """``turned``, and then the sizes of what is joined multiplied by hand."""
    apart = turned(array, lead, [d for d in dims if d != "*"])
    sizes, shape = list(apart.shape), []
    for i, d in enumerate(dims):
        if d != "*":
            n = sizes.pop(0)
            shape = [*shape[:-1], shape[-1] * n] if i and dims[i - 1] == "*" else [*shape, n]
    return apart.reshape(shape)


JOINED = [
    (("T", "*", "N", 4), ("T*N", 4)),
    (("N", "*", "T", 4), ("N*T", 4)),
    (("N", "T", "*", 4), ("N", "T*4")),
    (("N", "*", "T", "*", 4), ("N*T*4",)),
    ((2, "*", "N", "T", 2), ("2*N", "T", 2)),
    ((4, "T", "*", "N"), (4, "T*N")),
]


@pytest.mark.parametrize(("dims", "shape"), JOINED)
def test_joined_outputs(dims, shape):
    g = joined_graph(dims, (2, "*", "N", 2))
    model = Model(dumps(loads_graph(dumps(g))))
    assert model.outputs[0].shape == shape
    assert read(dumps(g))["values"][g.outputs[0]]["dims"] == dims
    assert pickle.loads(pickle.dumps(model.outputs[0])).shape == shape
    x = np.random.default_rng(1).normal(0, 1, (3, 8, 3)).astype(np.float32)
    y, h, plain_y, plain_h = model(x)
    np.testing.assert_array_equal(y, as_numpy_joins(plain_y, "NT", dims))
    np.testing.assert_array_equal(h, as_numpy_joins(plain_h, "N", (2, "*", "N", 2)))
    for mine, judged in zip((y, h), reference.run(g, [x]), strict=False):
        assert mine.shape == judged.shape
        np.testing.assert_allclose(mine, judged, atol=1e-6)
    out = [np.full_like(a, 7) for a in (y, h, plain_y, plain_h)]
    given = model(x, out=out)
    for a, b, c in zip(given, out, (y, h, plain_y, plain_h), strict=True):
        assert a is b
        np.testing.assert_array_equal(a, c)
    with pytest.raises(InputError, match="out for 'y': got"):
        model(x, out=[np.zeros((3, 8, 4, 1), np.float32), *out[1:]])
    (alone, *_) = model(x[0])  # without the batch
    without = tuple(d for d in dims if d != "N")
    assert alone.size == plain_y[0].size
    if "*" not in without:
        assert alone.shape == tuple({"T": 8}.get(d, d) for d in without)


@pytest.mark.parametrize(("dims", "shape"), JOINED)
def test_streams_of_joined_outputs(dims, shape):
    model = Model(dumps(joined_graph(dims)))
    x = np.random.default_rng(1).normal(0, 1, (3, 8, 3)).astype(np.float32)
    stream = model.stream(batch=3)
    y, _, plain, _ = stream.feed(x)
    assert y.tobytes() == model(x)[0].tobytes()
    stream.reset()
    for t in range(8):  # steps are no axis then, so that nothing is joined with them
        y, _, step, _ = stream.step(np.ascontiguousarray(x[:, t]))
        assert step.tobytes() == np.ascontiguousarray(plain[:, t]).tobytes()
        apart = tuple({"N": 3}.get(d, d) for d in dims if d not in ("T", "*"))
        np.testing.assert_array_equal(y.reshape(apart), turned(step, "N", [d for d in dims if d not in ("T", "*")]))


def test_a_selftest_of_joined_outputs():
    g = joined_graph(("T", "*", "N", 4))
    g.selftest = make_selftest(g)
    assert g.selftest.outputs[0].shape == (8, 4)
    assert Model(dumps(loads_graph(dumps(g)))).verify()["ok"]


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        (("*", "T", "N", 4), "expected [*] between two of them"),
        (("T", "N", 4, "*"), "expected [*] between two of them"),
        (("T", "*", "*", "N", 4), "expected [*] between two of them"),
        (("T", "+", "N", 4), "expected N, T and sizes"),
    ],
)
def test_joined_dims_that_cannot_be(dims, message):
    with pytest.raises(GraphError, match=message):
        joined_graph(dims)
    with pytest.raises(GraphError, match="dims of an input cannot be joined"):
        Graph().input("x", "seq", 4, order="shaped", dims=("T", "*", "N", 4))
