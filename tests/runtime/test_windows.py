"""Convolutions, pooling, convolutional cells: the reference's numbers, and the same bits in every way to run them."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from helpers.integers import integer_graph
from helpers.threads import OPENMP, on_lanes
from helpers.windows import conv_cases, pool_cases
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges import reference

import lstm_rt
from lstm_rt import FormatError, InputError, Model
from lstm_rt._core import _all_kernels
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import Axis, Graph

FUSED = [name for name, fused in _all_kernels() if fused and name in lstm_rt.kernels()]
CASES = st.one_of(conv_cases(), pool_cases())
CAUSAL = st.one_of(conv_cases(causal=True), pool_cases(causal=True))
RNG = np.random.default_rng


def f32(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(0, 0.5, shape).astype(np.float32)


def close(y: Any, want: Any) -> None:
    np.testing.assert_allclose(y, want, atol=1e-5 * max(1.0, np.abs(want).max(initial=0.0)))


# -- numbers -------------------------------------------------------------------------------------------------------


@given(case=CASES, whole=st.booleans())
@settings(max_examples=200, deadline=None)
def test_numbers_are_those_of_the_reference(case: Any, whole: bool) -> None:
    """Plainly, with lengths, and of the file read back."""
    g, x = case.graph, case.x
    g.nodes[0].attrs["whole"] = whole
    model = Model(g)
    close(model(x), reference.run(g, [x])[0])
    close(model(x, lengths=case.lengths), reference.run(g, [x], case.lengths)[0])
    again = loads_graph(dumps(g))
    assert again.nodes[0].attrs == g.nodes[0].attrs
    for name, w in g.nodes[0].weights.items():
        np.testing.assert_array_equal(again.nodes[0].weights[name], w)
    assert Model(again)(x).tobytes() == model(x).tobytes()


def image_graph(rng: np.random.Generator) -> Graph:
    """Images without steps: a small network of all that acts on a vec."""
    g = Graph()
    x, same = g.input("x", "vec", 8 * 6 * 3), ((0, 0), (1, 1), (1, 1))
    v = g.conv(x, f32(rng, 20, 3, 1, 3, 3), f32(rng, 20), size=(8, 6), pad=same)
    v = g.pool(g.activation(v, "relu"), "max", (1, 2, 2), size=(8, 6), stride=(1, 2, 2))
    v = g.conv(v, f32(rng, 20, 1, 1, 3, 3), None, size=(4, 3), groups=20, pad=same)
    v = g.pool(v, "avg", (1, 4, 3), size=(4, 3))
    g.output(g.dense(v, f32(rng, 5, 20)), "y")
    return g


def video_graph(rng: np.random.Generator) -> Graph:
    """Steps with images, causal over time, and what comes before and after such layers."""
    g = Graph()
    x = g.input("x", "seq", 6 * 5 * 2)
    v = g.conv(x, f32(rng, 18, 2, 2, 3, 3), f32(rng, 18), size=(6, 5), pad=((1, 0), (1, 1), (1, 1)), stride=(1, 2, 1))
    v = g.pool(v, "max", (2, 2, 2), size=(3, 5), pad=((1, 0), (0, 1), (1, 1)), stride=(1, 2, 2))
    w_ih, w_hh = f32(rng, 20, 18, 2, 2), f32(rng, 20, 5, 3, 2)
    h, _, c = g.convlstm(v, w_ih, w_hh, f32(rng, 20), size=(2, 3), pad=((1, 0), (0, 1)))
    v = g.conv(h, f32(rng, 30, 1, 3, 1, 1), f32(rng, 30), groups=30, pad=((4, 0), (0, 0), (0, 0)), dilation=(2, 1, 1))
    v = g.pool(v, "avg", (4, 1, 1), pad=((3, 0), (0, 0), (0, 0)))
    w = {"w_ih": f32(rng, 24, 30), "w_hh": f32(rng, 24, 6)}
    y, last, _ = g.recurrent("lstm", v, w, hidden_size=6)
    g.output(g.conv(y, f32(rng, 7, 6, 3, 1, 1), f32(rng, 7), pad=((2, 0), (0, 0), (0, 0))), "y")
    g.output(last, "last")
    g.output(c, "c")
    return g


def encoder_graph(rng: np.random.Generator) -> Graph:
    """Strides, windows that lag and padded steps: it goes through in chunks, but is no stream."""
    g = Graph()
    x = g.pad_steps(g.input("x", "seq", 4), 3, 0, mode="edge")
    v = g.conv(x, f32(rng, 10, 4, 5, 1, 1), f32(rng, 10), stride=(2, 1, 1))
    v = g.pool(v, "max", (3, 1, 1), stride=(2, 1, 1), pad=((1, 0), (0, 0), (0, 0)))
    v = g.conv(v, f32(rng, 12, 5, 2, 1, 1), None, groups=2)
    w = {"w_ih": f32(rng, 15, 6), "w_hh": f32(rng, 15, 5)}
    y, _, _ = g.recurrent("gru", g.unflatten(v, 2), w, hidden_size=5)
    g.output(y, "y")
    return g


def whole_graph(rng: np.random.Generator) -> Graph:
    """Windows that look ahead, and a reverse direction."""
    g = Graph()
    x = g.input("x", "seq", 6)
    v = g.conv(x, f32(rng, 9, 6, 3, 1, 1), f32(rng, 9), pad=((1, 1), (0, 0), (0, 0)))
    v = g.pool(v, "avg_pad", (3, 1, 1), pad=((0, 2), (0, 0), (0, 0)))
    v = g.pad_steps(v, 2, 3, mode="reflect")
    w = {k + s: f32(rng, *n) for k, n in (("w_ih", (20, 9)), ("w_hh", (20, 5))) for s in ("", "_reverse")}
    y, _, _ = g.recurrent("lstm", v, w, hidden_size=5, direction="bidirectional")
    g.output(g.conv(y, f32(rng, 4, 10, 2, 1, 1), pad=((1, 0), (0, 0), (0, 0))), "y")
    return g


def line_of_text_graph(rng: np.random.Generator) -> Graph:
    """Windows of three by three places with many channels: over time and height, time and width, height and width."""
    g = Graph()
    x, same = g.input("x", "seq", 7 * 16), ((1, 1), (1, 1), (0, 0))
    v = g.conv(x, f32(rng, 29, 16, 3, 3, 1) / 8, f32(rng, 29), size=(7, 1), pad=same)
    v = g.conv(g.activation(v, "relu"), f32(rng, 70, 29, 3, 1, 3) / 8, None, size=(1, 7), pad=((1, 1), (0, 0), (0, 0)))
    v = g.conv(v, f32(rng, 4, 70, 1, 1, 5) / 8, size=(1, 5))
    v = g.conv(v, f32(rng, 16, 4, 1, 1, 1), size=(1, 1))
    w = {k + s: f32(rng, *n) for k, n in (("w_ih", (144, 16)), ("w_hh", (144, 36))) for s in ("", "_reverse")}
    v, _, _ = g.recurrent("lstm", v, w, hidden_size=36, direction="bidirectional")
    v = g.conv(g.slice(v, 0, 68), f32(rng, 18, 17, 1, 3, 3), f32(rng, 18), size=(2, 2), pad=((0, 0), (1, 2), (1, 1)))
    g.output(v, "y")
    return g


def grouped_graph(rng: np.random.Generator) -> Graph:
    """Groups of whole panels, whose weights may be integers, in a stream."""
    g = Graph()
    v = g.conv(g.input("x", "seq", 12), f32(rng, 32, 6, 3, 1, 1), f32(rng, 32), groups=2, pad=((2, 0), (0, 0), (0, 0)))
    v = g.conv(g.activation(v, "relu"), f32(rng, 96, 16, 2, 1, 1), None, groups=2, pad=((1, 0), (0, 0), (0, 0)))
    g.output(g.dense(v, f32(rng, 5, 96)), "y")
    return g


def int8_video_graph(rng: np.random.Generator) -> Graph:
    return integer_graph(video_graph(rng), 8, 16)


def int16_video_graph(rng: np.random.Generator) -> Graph:
    return integer_graph(video_graph(rng), 16, 16)


def int8_grouped_graph(rng: np.random.Generator) -> Graph:
    return integer_graph(grouped_graph(rng), 8, 8)


def int16_grouped_graph(rng: np.random.Generator) -> Graph:
    return integer_graph(grouped_graph(rng), 16, 16)


def int8_whole_graph(rng: np.random.Generator) -> Graph:
    return integer_graph(whole_graph(rng), 8, 16)


def int8_line_of_text_graph(rng: np.random.Generator) -> Graph:
    return integer_graph(line_of_text_graph(rng), 8, 16)


def int16_image_graph(rng: np.random.Generator) -> Graph:
    return integer_graph(image_graph(rng), 16, 8)


GRAPHS = [image_graph, video_graph, encoder_graph, whole_graph, line_of_text_graph, grouped_graph]
#: The reference rounds what it multiplies integers with from other last bits.
INTEGERS = [
    int16_image_graph, int8_video_graph, int16_video_graph, int8_whole_graph, int8_line_of_text_graph,
    int8_grouped_graph, int16_grouped_graph,
]  # fmt: skip


def made(make: Any, batch: int, steps: int) -> tuple[Graph, Any]:
    g = make(RNG(0))
    v = g.values[g.inputs[0]]
    return g, f32(RNG(1), batch, *([steps] if v.kind == "seq" else []), v.size)


def leaves(y: Any) -> list[Any]:
    return [a for part in y for a in leaves(part)] if isinstance(y, (tuple, list)) else [y]


def same(a: Any, b: Any) -> None:
    for p, q in zip(leaves(a), leaves(b), strict=True):
        assert p.shape == q.shape
        assert p.tobytes() == np.ascontiguousarray(q).tobytes()


def rows_of(y: Any, rows: Any) -> list[Any]:
    return [np.ascontiguousarray(a[rows]) for a in leaves(y)]


@pytest.mark.parametrize("steps", [0, 1, 5, 200])
@pytest.mark.parametrize("make", GRAPHS)
def test_networks_give_the_numbers_of_the_reference(make: Any, steps: int) -> None:
    g, x = made(make, 3, steps)
    model = Model(g)
    for lengths in [None, [steps, steps // 2, 0]] if g.values[0].kind == "seq" else [None]:
        want, state = reference.run(g, [x], lengths, return_state=True)
        got, own = model(x, lengths=lengths, return_state=True)
        for y, w in zip(leaves(got), want, strict=True):
            close(y, w)
        for y, w in zip(leaves(own), leaves(state), strict=True):
            close(y, w)


# -- the same bits -------------------------------------------------------------------------------------------------


@given(case=CASES)
@settings(max_examples=60, deadline=None)
def test_kernels(case: Any) -> None:
    blob = dumps(case.graph)
    first, *others = [Model(blob, kernels=k)(case.x, lengths=case.lengths) for k in FUSED]
    for y in others:
        same(y, first)


@pytest.mark.parametrize("make", GRAPHS + INTEGERS)
def test_kernels_on_networks(make: Any) -> None:
    g, x = made(make, 3, 150)
    first, *others = [Model(dumps(g), kernels=k)(x) for k in FUSED]
    for y in others:
        same(y, first)


@pytest.mark.parametrize("make", GRAPHS + INTEGERS)
def test_batches(make: Any) -> None:
    g, x = made(make, 9, 130)
    model = Model(g)
    whole = model(x)
    for rows in (slice(0, 1), slice(2, 5), slice(4, 9)):
        same(model(np.ascontiguousarray(x[rows])), rows_of(whole, rows))


@pytest.mark.parametrize("make", GRAPHS[1:] + INTEGERS[1:])
def test_ragged_batches(make: Any) -> None:
    """A row gives what it gives alone, as far as it goes; its state too."""
    g, x = made(make, 6, 260)
    model, lengths = Model(g), [260, 1, 0, 119, 121, 7]
    y, state = model(x, lengths=lengths, return_state=True)
    axis = g.values[g.outputs[0]].axis
    for row, n in enumerate(lengths):
        alone, own = model(np.ascontiguousarray(x[row : row + 1, :n]), return_state=True)
        ends = {0: n}
        g.complete_lengths(ends)
        same(np.ascontiguousarray(leaves(y)[0][row : row + 1, : ends[axis]]), leaves(alone)[0][:, : ends[axis]])
        same(rows_of(leaves(y)[1:], slice(row, row + 1)), leaves(alone)[1:])
        same([np.ascontiguousarray(a[:, row : row + 1]) for a in leaves(state)], leaves(own))


@OPENMP
@pytest.mark.parametrize("lanes", [2, 3])
@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("make", GRAPHS + INTEGERS)
def test_threads(make: Any, batch: int, lanes: int) -> None:
    g, x = made(make, batch, 300)
    lengths = None if x.ndim == 2 else list(RNG(2).integers(0, 301, batch))
    one, several = Model(g, threads=1), Model(g, threads=lanes)
    same(one(x), on_lanes(lanes, lambda: several(x)))
    same(one(x, lengths=lengths), on_lanes(lanes, lambda: several(x, lengths=lengths)))


@given(case=CAUSAL, cut=st.integers(0, 12))
@settings(max_examples=80, deadline=None)
def test_streams(case: Any, cut: int) -> None:
    """One step after the other, and in two parts from the state that the first one leaves."""
    model, x = Model(case.graph), case.x
    assert model.can_stream
    whole, final = model(x, return_state=True)
    stream = model.stream(len(x))
    steps = [stream.step(np.ascontiguousarray(x[:, t])).copy().reshape(len(x), -1) for t in range(x.shape[1])]
    same(np.stack(steps, axis=1), whole)
    same(stream.state, final)
    first, second = (np.ascontiguousarray(part) for part in (x[:, :cut], x[:, cut:]))
    y, state = model(first, return_state=True)
    same(np.concatenate([y, model(second, state=state)], axis=1), whole)


@pytest.mark.parametrize("make", [video_graph, int8_video_graph, int16_video_graph, int8_grouped_graph])
@given(cuts=st.lists(st.integers(0, 140), max_size=5), batch=st.sampled_from([1, 3]))
@settings(max_examples=25, deadline=None)
def test_chunks(make: Any, cuts: list[int], batch: int) -> None:
    g, x = made(make, batch, 140)
    model = Model(g)
    whole, final = model(x, return_state=True)
    stream, parts = model.stream(batch), []
    for a, b in itertools.pairwise([0, *sorted(cuts), 140]):
        parts.append(first_of(stream.feed(np.ascontiguousarray(x[:, a:b]))))
        saved = stream.state
        stream = model.stream(batch)
        stream.state = saved
    same(np.concatenate(parts, axis=1), first_of(whole))
    same(stream.state, final)
    stream.reset()
    same(first_of(stream.feed(x)), first_of(whole))


def first_of(y: Any) -> Any:
    return leaves(y)[0]


@pytest.mark.parametrize("make", [video_graph, int8_video_graph, int16_video_graph])
def test_groups_of_streams(make: Any) -> None:
    """Each as if it were alone, whichever step together, join, leave or start again."""
    g, x = made(make, 4, 40)
    model, rng = Model(g), RNG(5)
    whole = model(x)[0]
    group = model.streams(4)
    keys, at = [group.join() for _ in range(4)], [0] * 4
    for turn in range(60):
        live = [i for i in range(4) if at[i] < 40 and rng.random() < 0.7]
        if not live:
            continue
        y, _, _ = group.step(np.stack([x[i, at[i]] for i in live]), keys=[keys[i] for i in live])
        for row, i in zip(y, live, strict=True):
            same(row, whole[i, at[i]])
            at[i] += 1
        if turn == 20:
            state = group.state(keys[1])
            group.leave(keys[1])
            keys[1] = group.join(state)
        if turn == 30:
            group.reset(keys[2])
            at[2] = 0


def test_a_stream_of_a_pool_from_any_state() -> None:
    """How many steps there have been is a number that a caller may set to anything."""
    g = Graph()
    g.output(g.pool(g.input("x", "seq", 2), "avg", (3, 1, 1), pad=((2, 0), (0, 0), (0, 0))), "y")
    stream = Model(g).stream()
    for seen, divisor in ((np.nan, 1), (-5.0, 1), (0.0, 1), (1.5, 2), (2.0, 3), (1e30, 3), (np.inf, 3)):
        stream.state = np.array([[[1, 1, 1, 1, seen]]], np.float32)
        y = stream.step(np.array([4, 4], np.float32))
        np.testing.assert_allclose(y, [(4 + divisor - 1) / divisor] * 2, rtol=1e-6)


def test_a_not_a_number_stays() -> None:
    rng, g = RNG(0), Graph()
    g.output(g.pool(g.input("x", "seq", 19), "max", (3, 1, 1)), "y")
    x = f32(rng, 1, 30, 19)
    x[rng.random(x.shape) < 0.05] = np.nan
    x[rng.random(x.shape) < 0.05] = np.inf
    x[rng.random(x.shape) < 0.05] = 0.0
    want = np.max([x[:, i : 28 + i] for i in range(3)], axis=0)
    for name in lstm_rt.kernels():
        np.testing.assert_array_equal(Model(g, kernels=name)(x), want)


# -- windows of three by three places ---------------------------------------------------------------------------------


def squares(draw: Any, causal: bool) -> tuple[Graph, Any, list[int]]:
    rng, sizes = RNG(draw(st.integers(0, 99))), st.integers(16, 75)
    inside, units, size = draw(sizes), draw(sizes), (draw(st.integers(2, 5)), draw(st.integers(2, 5)))
    two = (1, 2) if causal else draw(st.sampled_from([(0, 1), (0, 2), (1, 2)]))
    pad = [draw(st.tuples(st.integers(1, 2), st.integers(0, 2))) if d in two else (0, 0) for d in range(3)]
    g = Graph()
    weight = f32(rng, units, inside, *(3 if d in two else 1 for d in range(3)))
    x = g.input("x", "seq", size[0] * size[1] * inside)
    g.output(g.conv(x, weight, f32(rng, units) if draw(st.booleans()) else None, size=size, pad=tuple(pad)), "y")
    steps = draw(st.integers(2, 9))
    lengths = draw(st.lists(st.integers(0, steps), min_size=1, max_size=3))
    return g, f32(rng, len(lengths), steps, g.values[x].size), lengths


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_squares(data: Any) -> None:
    """The reference's numbers, the same bits of all kernels and rows; what is not a number stays where it is read."""
    g, x, lengths = squares(data.draw, False)
    first, *others = [Model(dumps(g), kernels=k) for k in FUSED]
    y = first(x, lengths=lengths)
    close(y, reference.run(g, [x], lengths)[0])
    for model in others:
        same(model(x, lengths=lengths), y)
    same(first(x[-1:], lengths=lengths[-1:]), y[-1:])
    place = tuple(data.draw(st.integers(0, n - 1)) for n in x.shape)
    x[place] = np.nan
    np.testing.assert_array_equal(np.isnan(first(x)), np.isnan(reference.run(g, [x])[0]))


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_squares_in_streams(data: Any) -> None:
    g, x, _ = squares(data.draw, True)
    model = Model(g)
    stream = model.stream(len(x))
    steps = [stream.step(np.ascontiguousarray(x[:, t])).copy().reshape(len(x), -1) for t in range(x.shape[1])]
    same(np.stack(steps, axis=1), model(x))


# -- what is refused -------------------------------------------------------------------------------------------------


def test_flatten_takes_so_many_steps() -> None:
    g = Graph()
    g.output(g.flatten(g.input("x", "seq", 2), 5), "y")
    model = Model(g)
    assert model(np.ones((1, 5, 2), np.float32)).shape == (1, 10)
    assert not model.can_stream
    for steps in (0, 4, 6):
        with pytest.raises(InputError, match=rf"node 0 \(flatten\) takes exactly 5 steps, got {steps}"):
            model(np.ones((1, steps, 2), np.float32))


@pytest.mark.parametrize(("what", "make"), [
    ("conv) gives another number", lambda g, x: g.conv(x, np.ones((2, 3, 3, 1, 1), np.float32))),
    ("pool) gives another number", lambda g, x: g.pool(x, "max", (2, 1, 1), stride=(2, 1, 1))),
    ("pool) needs the whole", lambda g, x: g.pool(x, "max", (2, 1, 1), pad=((0, 1), (0, 0), (0, 0)))),
    ("pad) gives another number", lambda g, x: g.pad_steps(x, 1, 0)),
    ("pad) needs the whole", lambda g, x: g.pad_steps(x, 1, 0, mode="reflect")),
    ("flatten) takes exactly 3 steps", lambda g, x: g.flatten(x, 3)),
    ("unflatten) needs the whole", lambda g, x: g.unflatten(g.reduce(x, "sum"), 3)),
])  # fmt: skip
def test_what_cannot_stream_is_named(what: str, make: Any) -> None:
    g = Graph()
    x = g.activation(g.input("x", "seq", 3), "tanh")
    g.output(g.activation(make(g, x), "tanh"), "y")
    model = Model(g)
    assert not model.can_stream
    with pytest.raises(InputError, match=rf"cannot stream: node \d \({re.escape(what)}"):
        model.stream()


def test_many_time_axes() -> None:
    """Up to 32, in files of version 4; the ninth asks for it."""
    for count in (8, 9, 32):
        g = Graph()
        for i in range(count):
            g.output(g.activation(g.input(f"x{i}", "seq", 1), "relu"), f"y{i}")
        blob = dumps(g)
        assert blob[8] == (1 if count == 8 else 4)
        model = Model(blob)
        arrays = [np.full((1, i + 1, 1), i, np.float32) for i in range(count)]
        same(model(*arrays), arrays)
        if count == 9:
            with pytest.raises(FormatError):
                Model(blob[:8] + b"\3" + blob[9:])
    with pytest.raises(lstm_rt.GraphError, match="33 time axes are more than the 32"):
        g.new_axis(Axis(0, 2))
