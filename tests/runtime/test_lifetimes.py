"""Copies, lifetimes and memory of models, streams and results."""

from __future__ import annotations

import copy
import ctypes
import gc
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import cell_weights, recurrent_graph
from helpers.models import arrays, both_ways, stream_graph
from helpers.threads import run_in_threads
from hypothesis import given, settings
from hypothesis import strategies as st

import lstm_rt
from lstm_rt import FormatError, InputError, Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

LINUX = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="/proc is needed")


# -- copies and lifetimes --------------------------------------------------------------------------------


def same_model(a: Model, b: Model) -> None:
    x = arrays(1)[0]
    np.testing.assert_equal(a(x), b(x))
    assert a.info == b.info
    assert repr(a) == repr(b)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(protocol: int) -> None:
    model = both_ways(threads=2)
    back = pickle.loads(pickle.dumps(model, protocol))
    same_model(model, back)
    assert back.threads == 2


def test_copies(tmp_path: Path) -> None:
    model = both_ways(threads=2, kernels="portable")
    assert copy.copy(model) is model
    deep = copy.deepcopy(model)
    assert deep is not model
    assert (deep.threads, deep.kernels) == (2, "portable")
    model.save(tmp_path / "m.lrt")
    loaded = lstm_rt.load(tmp_path / "m.lrt", kernels="portable")
    for other in (deep, loaded, copy.deepcopy(loaded)):
        same_model(model, other)
    assert "portable" not in repr(pickle.loads(pickle.dumps(model))) or lstm_rt.kernels() == ["portable"]


@pytest.mark.parametrize(
    "how", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["copy", "deepcopy", "pickle"]
)
@pytest.mark.parametrize("batch", [1, 3])
def test_copies_of_streams(batch: int, how: Callable[[Any], Any]) -> None:
    """A copy goes on from the same state, and does not touch the other's."""
    model = Model(dumps(stream_graph()))
    stream = model.stream(batch, threads=2)
    x = np.random.default_rng(2).uniform(-1, 1, (3, batch, 7, 4)).astype(np.float32)
    stream.feed(x[0])
    state = stream.state
    other = how(stream)
    assert other.batch == batch
    np.testing.assert_equal(other.state, state)
    want = other.feed(x[1])
    np.testing.assert_equal(stream.state, state)
    np.testing.assert_equal(stream.feed(x[1]), want)
    np.testing.assert_equal(other.state, stream.state)


def test_a_model_outlives_its_source(tmp_path: Path) -> None:
    x = arrays(1)[0]
    want = both_ways()(x)
    blob = dumps(recurrent_graph(np.random.default_rng(0), "lstm", 4, 24, direction="bidirectional"))
    aligned = np.zeros(len(blob) + 64, np.uint8)
    aligned = aligned[-aligned.ctypes.data % 64 :][: len(blob)]
    aligned[:] = np.frombuffer(blob, np.uint8)
    aligned.flags.writeable = False
    both_ways().save(tmp_path / "m.lrt")
    models = [Model(source) for source in (blob, bytearray(blob), memoryview(blob), aligned)]
    models.append(lstm_rt.load(tmp_path / "m.lrt"))
    del blob, aligned
    (tmp_path / "m.lrt").unlink()
    gc.collect()
    noise = [bytes(range(256)) * 200 for _ in range(50)]  # where the buffers were
    for model in models:
        np.testing.assert_equal(model(x), want)
    del noise


def test_replacing_a_file_that_is_in_use(tmp_path: Path) -> None:
    path, x = tmp_path / "m.lrt", arrays(1)[0]
    first = both_ways()
    first.save(path)
    loaded = lstm_rt.load(path)
    both_ways(9).save(path)
    np.testing.assert_equal(loaded(x), first(x))
    assert lstm_rt.load(path).outputs[0].size == 18


def test_streams_and_results_outlive_their_model() -> None:
    model = Model(dumps(stream_graph()))
    x = np.ones((1, 30, 4), np.float32)
    want = model(x)
    stream = model.stream()
    y, state = model(x, return_state=True)
    stream.feed(np.ascontiguousarray(x[:, :10]))
    del model
    gc.collect()
    np.testing.assert_equal(stream.feed(np.ascontiguousarray(x[:, 10:])), want[:, 10:])
    np.testing.assert_equal(stream.state, state)
    np.testing.assert_equal(y, want)


@LINUX
def test_models_keep_no_descriptors(tmp_path: Path) -> None:
    both_ways().save(tmp_path / "m.lrt")
    before, x = len(os.listdir("/proc/self/fd")), arrays(1)[0]
    models = [lstm_rt.load(tmp_path / "m.lrt", threads=1) for _ in range(300)]
    assert len(os.listdir("/proc/self/fd")) == before
    np.testing.assert_equal(models[-1](x), models[0](x))
    for wrong in (b"", b"hello"):
        (tmp_path / "n.lrt").write_bytes(wrong)
        with pytest.raises(FormatError):
            lstm_rt.load(tmp_path / "n.lrt")
    assert len(os.listdir("/proc/self/fd")) == before


@LINUX
def test_a_mapping_goes_with_its_model(tmp_path: Path) -> None:
    """At once, without the help of the garbage collector."""
    path, x = tmp_path / "mapped.lrt", np.zeros((2, 5, 4), np.float32)
    Model(dumps(stream_graph())).save(path)

    def is_mapped() -> bool:
        return "mapped.lrt" in Path("/proc/self/maps").read_text()

    gc.disable()
    try:
        model = lstm_rt.load(path)
        model(x)
        streams = model.stream(), model.streams(3), copy.deepcopy(model)
        streams[2](x)
        assert is_mapped()
        del model
        assert is_mapped()
        del streams
        assert not is_mapped()
    finally:
        gc.enable()


# -- memory ----------------------------------------------------------------------------------------------


def resident() -> int:
    """Bytes of memory in use, without what glibc keeps for later: large blocks go straight back."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@LINUX
@pytest.mark.parametrize("make", [both_ways, lambda: Model(dumps(stream_graph()))], ids=["whole", "streaming"])
def test_memory_does_not_grow_with_shapes(make: Callable[[], Model]) -> None:
    model = make()
    rng = np.random.default_rng(0)
    shapes = [(1 + i % 20, 1 + i * 7 % 300, 4) for i in range(500)]
    x = rng.uniform(-1, 1, (20, 300, 4)).astype(np.float32)
    model(x)
    before = resident()
    for batch, steps, _ in shapes:
        model(np.ascontiguousarray(x[:batch, :steps]))
    assert resident() - before < 30e6


def two_both_ways(hidden: int) -> Model:
    """A session holds all that flows between the layers; only a vector comes out."""
    rng, g = np.random.default_rng(0), Graph()
    v, both = g.input("x", "seq", 4), "bidirectional"
    for size in (4, 2 * hidden):
        w = cell_weights(rng, "lstm", size, hidden, both)
        v, h, _ = g.recurrent("lstm", v, w, hidden_size=hidden, direction=both)
    g.output(h, "h")
    return Model(dumps(g), threads=1)


@LINUX
def test_few_long_and_many_short_rows_do_not_multiply() -> None:
    """A session for both shapes at once would take gigabytes."""
    model = two_both_ways(8)
    long, wide = np.zeros((1, 20000, 4), np.float32), np.zeros((20000, 1, 4), np.float32)
    assert model.session_nbytes(20000, 20000) > 20e9
    before = resident()
    for _ in range(3):
        model(long)
        model(wide)
    assert resident() - before < 200e6


def chain(depth: int, *, ahead: bool) -> Graph:
    """So many nodes over steps, each of which reads the one before alone."""
    g = Graph()
    v = first = g.input("x", "seq", 8)
    if ahead:  # then the model does not run in chunks
        v = g.reverse(v)
    for _ in range(depth):
        v = g.activation(v, "tanh")
    g.output(g.binary("add", v, first), "y")
    return g


@pytest.mark.parametrize("ahead", [False, True])
def test_a_value_lives_until_its_last_reader(ahead: bool) -> None:
    """However many nodes follow each other: no more than two values at a time, and what each node has of its own."""
    steps = 4000
    few, many = (Model(chain(depth, ahead=ahead)).session_nbytes(1, steps) for depth in (10, 40))
    assert many - few < 30 * 1024
    assert (many > 2 * steps * 8 * 4) == ahead


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_values_that_are_read_late_are_whole(data: Any) -> None:
    """Graphs whose nodes read any values before them, of several sizes: what double precision gives."""
    rng, g = np.random.default_rng(data.draw(st.integers(0, 99))), Graph()
    draw = data.draw
    values = [(g.input("x", "seq", 3), rng.uniform(-1, 1, (2, draw(st.integers(1, 200)), 3)))]
    x = values[0][1].astype(np.float32)
    values[0] = (values[0][0], x.astype(np.float64))
    for _ in range(draw(st.integers(1, 40))):
        kind = draw(st.sampled_from(["concat", "slice", "average", "reverse", "select"]))
        (a, of_a), (b, of_b) = (draw(st.sampled_from(values)) for _ in range(2))
        if of_a.ndim == 2:
            values.append((g.repeat_vector(a, 0), np.repeat(of_a[:, None], x.shape[1], 1)))
        elif kind == "concat" and of_a.shape[-1] + of_b.shape[-1] < 40 and of_b.ndim == 3:
            values.append((g.concat(a, b), np.concatenate([of_a, of_b], -1)))
        elif kind == "slice" and of_a.shape[-1] > 1:
            values.append((g.slice(a, 1, of_a.shape[-1] - 1), of_a[..., 1:]))
        elif kind == "average" and of_a.shape == of_b.shape:
            values.append((g.binary("average", a, b), (of_a + of_b) / 2))
        elif kind == "reverse" and draw(st.booleans()):
            values.append((g.reverse(a), of_a[:, ::-1]))
        elif kind == "select":
            values.append((g.select(a), of_a[:, -1]))
    wanted = []
    for v, of_v in values[1:]:
        if draw(st.integers(0, 3)) == 0 or v == values[-1][0]:
            g.output(v, f"y{v}")
            wanted.append(of_v)
    if wanted:
        y = Model(g, threads=1)(x)
        for got, want in zip(y if isinstance(y, tuple) else (y,), wanted, strict=True):
            np.testing.assert_allclose(got, want, atol=1e-5)


@LINUX
def test_idle_sessions_are_bounded() -> None:
    """Many calls at once make many sessions; few are kept."""
    model = two_both_ways(16)
    x = np.zeros((64, 600, 4), np.float32)
    one = model.session_nbytes(64, 600)
    assert one > 4e6
    model(x)
    before = resident()
    run_in_threads([lambda: model(x) for _ in range(64)], threads=32)
    assert resident() - before < 9 * one + 20e6


@LINUX
def test_models_and_streams_are_freed() -> None:
    blob, x = dumps(stream_graph(64)), np.zeros((4, 50, 4), np.float32)

    def use() -> None:
        model = Model(blob)
        model(x)
        model.stream(4).feed(x)
        group = model.streams(50)
        group.join()
        group.step(x[:1, 0], keys=[group.join()])
        with pytest.raises(InputError):
            model(x, lengths=[99] * 4)

    for _ in range(20):
        use()
    before = resident()
    for _ in range(200):
        use()
    assert resident() - before < 10e6
