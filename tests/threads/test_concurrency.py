"""Threads, processes, lifetimes and memory of one model."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import cell_weights, recurrent_graph
from helpers.paths import TESTS

import lstm_rt
from lstm_rt import FormatError, InputError, Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

TIMEOUT = 60  # seconds after which a process hangs
LINUX = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="/proc is needed")
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def stream_graph(hidden: int = 24) -> Graph:
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", 4)
    v = g.recurrent("lstm", x, cell_weights(rng, "lstm", 4, hidden), hidden_size=hidden)[0]
    g.output(g.recurrent("gru", v, cell_weights(rng, "gru", hidden, 8), hidden_size=8)[0], "y")
    return g


def both_ways(hidden: int = 24, **kw: Any) -> Model:
    graph = recurrent_graph(np.random.default_rng(0), "lstm", 4, hidden, direction="bidirectional")
    return Model(dumps(graph), **kw)


def arrays(count: int, seed: int = 0) -> list[np.ndarray]:
    """Inputs of different batches and steps."""
    rng = np.random.default_rng(seed)
    shapes = [(int(rng.integers(1, 6)), int(rng.integers(0, 90)), 4) for _ in range(count)]
    return [rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]


def run_in_threads(jobs: list[Callable[[], Any]], threads: int = 8) -> list[Any]:
    """Results of the jobs, all threads starting at the same moment."""
    barrier = threading.Barrier(threads)

    def work(mine: list[Callable[[], Any]]) -> list[Any]:
        barrier.wait(TIMEOUT)
        return [job() for job in mine]

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(work, [jobs[i::threads] for i in range(threads)], timeout=TIMEOUT))
    results: list[Any] = [None] * len(jobs)
    for i, part in enumerate(parts):
        results[i::threads] = part
    return results


# -- threads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_one_model_in_many_threads(threads: int) -> None:
    model, xs = both_ways(threads=threads), arrays(64)
    want = [model(x, return_state=True) for x in xs]
    got = run_in_threads([lambda x=x: model(x, return_state=True) for x in xs])
    np.testing.assert_equal(got, want)


def test_errors_in_some_threads_do_not_disturb_the_others() -> None:
    model, xs = both_ways(), arrays(40)
    want = [model(x) for x in xs]

    def wrong() -> None:
        with pytest.raises(InputError):
            model(xs[0], lengths=[-1] * len(xs[0]))

    got = run_in_threads([job for x in xs for job in (lambda x=x: model(x), wrong)])
    np.testing.assert_equal(got[::2], want)


def test_streams_of_one_model_in_many_threads() -> None:
    model = Model(dumps(stream_graph()))
    xs = [np.random.default_rng(i).uniform(-1, 1, (60, 4)).astype(np.float32) for i in range(16)]

    def steps(x: np.ndarray) -> np.ndarray:
        stream = model.stream()
        return np.stack([stream.step(row) for row in x])

    np.testing.assert_equal(run_in_threads([lambda x=x: steps(x) for x in xs]), [model(x) for x in xs])


def test_one_stream_in_two_threads_is_an_error() -> None:
    stream = Model(dumps(stream_graph(200)), threads=1).stream()
    x, refused = np.zeros((20000, 4), np.float32), set()
    uses = {"step": lambda: stream.step(x[0]), "reset": stream.reset, "state": lambda: stream.state}
    worker = threading.Thread(target=stream.feed, args=(x,))
    worker.start()
    while worker.is_alive():
        for name, use in uses.items():
            with contextlib.suppress(InputError):
                use()
                continue
            refused.add(name)
    worker.join()
    assert refused == set(uses)
    stream.reset()
    assert stream.step(x[0]).shape == (8,)


def test_the_gil_is_released() -> None:
    model = both_ways(160, threads=1)
    x = np.zeros((4, 2000, 4), np.float32)
    count, done = 0, threading.Event()

    def call() -> None:
        try:
            model(x)
        finally:
            done.set()

    old = sys.getswitchinterval()
    sys.setswitchinterval(5.0)  # nobody takes the GIL from a thread by force
    try:
        worker = threading.Thread(target=call)
        worker.start()
        while not done.is_set():
            count += 1
            time.sleep(0)
        worker.join()
    finally:
        sys.setswitchinterval(old)
    assert count > 20


@pytest.mark.parametrize("own", [1, 2, "auto"])
@pytest.mark.parametrize("per_call", [None, 1, 2, "auto"])
def test_threads_of_model_and_call(own: Any, per_call: Any) -> None:
    model, x = both_ways(threads=own), arrays(1)[0]
    assert model.threads == own
    for _ in range(2):
        np.testing.assert_equal(model(x, threads=per_call), both_ways(threads=1)(x))
    stream = Model(dumps(stream_graph()), threads=own).stream(threads=per_call)
    np.testing.assert_equal(stream.feed(x[0]), Model(dumps(stream_graph()), threads=1)(x[0]))


# What is written here while a call runs must not become an index.
WRITER = r"""
import sys, threading
import numpy as np
from helpers.graphs import cell_weights, weights
from lstm_rt import InputError, Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

how, rng, g = sys.argv[1], np.random.default_rng(0), Graph()
ids = g.input("ids", "ids")
x = g.embedding(ids, weights(rng, 5, 4))
seq, h, _ = g.recurrent("lstm", x, cell_weights(rng, "lstm", 4, 8), hidden_size=8)
g.output(g.select(seq, -1), "last")
g.output(g.embedding(ids, weights(rng, 5, 2)), "later")
model = Model(dumps(g), threads=1)
ids, lengths, wide = np.ones((64, 500), np.int32), np.full(64, 500, np.int32), np.ones(20_000, np.int32)
group = model.streams(len(wide))
for _ in wide:
    group.join()
written, wrong = {"ids": (ids, 0x7fffff00), "lengths": (lengths, 1), "step": (wide, 0x7fffff00)}[how]

def call():
    if how == "step":
        group.reset(0)
        return group.step(wide)[0][0]
    return (model(ids, lengths=lengths) if how == "lengths" else model(ids))[0]

good, right, done = written.copy(), [call()], threading.Event()
if how == "lengths":
    written.fill(wrong)
    right.append(call())

def write():
    while not done.is_set():
        written.fill(wrong)
        written[...] = good

threading.Thread(target=write, daemon=True).start()
for _ in range(50):
    try:
        y = call()
    except InputError:
        continue
    assert any(np.array_equal(y, r) for r in right), "other numbers than those of what was checked"
done.set()
print("ok")
"""


@pytest.mark.parametrize("how", ["ids", "lengths", "step"])
def test_writing_to_inputs_during_a_call(how: str) -> None:
    """The ids and lengths that are used are those that have been checked."""
    path = os.pathsep.join([str(Path(lstm_rt.__file__).parent.parent), str(TESTS)])
    done = subprocess.run(
        [sys.executable, "-c", WRITER, how],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr[-2000:]


class Calls:
    """An array that runs code when it is looked at, as another thread may at any moment."""

    def __init__(self, a: np.ndarray, call: Callable[[], Any]) -> None:
        self.a, self.call = a, call

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self.call()
        return self.a


def test_a_stream_is_held_by_whatever_uses_it() -> None:
    model = Model(dumps(recurrent_graph(np.random.default_rng(0), "gru", 4, 8)))
    stream, x = model.stream(), np.ones((3, 4), np.float32)
    stream.feed(x)
    state = stream.state
    inner: dict[str, Callable[[], Any]] = {
        "step": lambda: stream.step(x[0]),
        "feed": lambda: stream.feed(x),
        "reset": stream.reset,
        "state": lambda: stream.state,
        "set": lambda: setattr(stream, "state", state),
        "copy": lambda: copy.copy(stream),
        "pickle": lambda: pickle.dumps(stream),
    }
    for call in inner.values():
        for use in (
            lambda call=call: stream.step(Calls(x[0], call)),
            lambda call=call: stream.feed(Calls(x, call)),
            lambda call=call: setattr(stream, "state", Calls(state, call)),
        ):
            with pytest.raises(InputError, match="this Stream is in use"):
                use()
            np.testing.assert_equal(stream.state, state)


def test_a_group_is_held_by_whatever_uses_it() -> None:
    model = Model(dumps(recurrent_graph(np.random.default_rng(0), "gru", 4, 8)))
    group, x = model.streams(4), np.ones((2, 4), np.float32)
    a, b = group.join(), group.join()
    group.step(x)
    state = group.state(a)

    class Key(int):
        def __int__(self) -> int:
            call()
            return int.__int__(self)

    inner: dict[str, Callable[[], Any]] = {
        "join": group.join,
        "leave": lambda: group.leave(b),
        "step": lambda: group.step(x),
        "feed": lambda: group.feed(np.ones((2, 3, 4), np.float32)),
        "reset": lambda: group.reset(a),
        "state": lambda: group.state(a),
        "set_state": lambda: group.set_state(a, state),
        "copy": lambda: copy.copy(group),
    }
    outer: dict[str, Callable[[], Any]] = {
        "join": lambda: group.join(Calls(state, call)),
        "leave": lambda: group.leave(Key(a)),
        "step": lambda: group.step(Calls(x, call)),
        "keys": lambda: group.step(x, keys=[a, Key(b)]),
        "feed": lambda: group.feed(Calls(np.ones((2, 3, 4), np.float32), call)),
        "reset": lambda: group.reset(Key(a)),
        "state": lambda: group.state(Key(a)),
        "set_state": lambda: group.set_state(a, Calls(state, call)),
    }
    for call in inner.values():  # noqa: B007
        for use in outer.values():
            with pytest.raises(InputError, match="this StreamGroup is in use"):
                use()
            assert group.keys == [a, b]
            np.testing.assert_equal(group.state(a), state)
    assert group.join() == 2


# -- processes ------------------------------------------------------------------------------------------


def call_in_child(model: Model, x: np.ndarray, queue: Any) -> None:
    stream = Model(dumps(stream_graph(300)), threads=2).stream()
    queue.put((model(x, threads=2), stream.feed(x[0])))


def in_process(context: Any, model: Model, x: np.ndarray) -> Any:
    queue = context.Queue()
    child = context.Process(target=call_in_child, args=(model, x, queue))
    child.start()
    try:
        result = queue.get(timeout=TIMEOUT)
        child.join(TIMEOUT)
        assert child.exitcode == 0
    finally:
        child.kill()
    return result


def large_calls() -> tuple[Model, np.ndarray, Any]:
    """A model that has run on a team of two, an input and the outputs for it."""
    model, stream = both_ways(300, threads=2), Model(dumps(stream_graph(300)), threads=2).stream()
    x = np.random.default_rng(1).uniform(-1, 1, (2, 40, 4)).astype(np.float32)
    return model, x, (model(x), stream.feed(x[0]))


@FORKS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_multiprocessing_fork() -> None:
    model, x, want = large_calls()
    np.testing.assert_equal(in_process(multiprocessing.get_context("fork"), model, x), want)
    np.testing.assert_equal(model(x), want[0])  # the parent goes on with its team


@FORKS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_of_a_process_that_computes() -> None:
    """Fork while other threads are inside calls; the child's stream goes on from the parent's state."""
    model, x, want = large_calls()
    stream = Model(dumps(stream_graph(300)), threads=2).stream()
    stream.feed(x[0][:10])
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            model(x)

    workers = [threading.Thread(target=busy) for _ in range(2)]
    for w in workers:
        w.start()
    try:
        for _ in range(3):
            child = os.fork()
            if child == 0:
                good = all(map(np.array_equal, model(x), want[0]))
                good = good and np.array_equal(stream.feed(x[0][10:]), want[1][10:])
                os._exit(0 if good else 1)
            assert wait_for(child) == 0
    finally:
        stop.set()
        for w in workers:
            w.join()


def in_use(operation: Callable[[], Any]) -> bool:
    try:
        operation()
    except InputError as e:
        return "in use" in str(e)
    return False


def fork_during(long: Callable[[], Any], short: Callable[[], Any], check: Callable[[], bool]) -> None:
    """Fork while another thread is in the long operation of what the short one uses too; check in the child."""
    worker = threading.Thread(target=long)
    worker.start()
    while not in_use(short):
        assert worker.is_alive()
    child = os.fork()
    if child == 0:
        good = False
        with contextlib.suppress(BaseException):
            good = check()
        os._exit(0 if good else 1)
    inside = in_use(short)
    worker.join()
    assert inside  # it was still there when the process was forked
    assert wait_for(child) == 0


def refuses(use: Callable[[], Any]) -> bool:
    """With an error that says what has happened, and then what to do."""
    with pytest.raises(InputError, match="half-written"):
        use()
    return True


@FORKS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["reset", "state"])
def test_fork_during_a_feed(how: str) -> None:
    """Nobody in the child will end the feed: its half-written state is replaced, or the stream is of no use."""
    model = Model(dumps(stream_graph(300)), threads=1)
    stream, x = model.stream(), np.ones((30_000, 4), np.float32)
    short = x[:20].copy()
    want = model(short)
    saved = model.stream().state

    def check() -> bool:
        for _ in range(2):
            refuses(lambda: stream.step(short[0]))
            refuses(lambda: stream.feed(short))
            refuses(lambda: stream.state)
        if how == "reset":
            stream.reset()
        else:
            stream.state = saved
        return np.array_equal(stream.feed(short), want)

    fork_during(lambda: stream.feed(x), lambda: stream.state, check)
    stream.reset()
    np.testing.assert_equal(stream.feed(short), want)  # the parent's stream is as it was


@FORKS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_during_a_step_of_a_group() -> None:
    """The streams that were taking the step have to be set anew; the others, and new ones, have not."""
    model, rows = Model(dumps(stream_graph(200)), threads=1), 20_000
    group = model.streams(rows + 2)
    keys = [group.join() for _ in range(rows)]
    other = group.join()
    x = np.ones((rows, 4), np.float32)
    group.step(x[:1], keys=[other])
    want = model.stream().feed(x[:2]), model.stream().step(x[0])

    def check() -> bool:
        good = np.array_equal(group.step(x[:1], keys=[other])[0], want[0][1])
        refuses(lambda: group.step(x[:2], keys=[other, keys[7]]))
        refuses(lambda: group.state(keys[0]))
        refuses(lambda: group.feed(x[None, :2].copy(), keys=[keys[0]]))
        group.reset(keys[0])
        group.set_state(keys[1], model.stream().state)
        group.leave(keys[2])
        mended = [keys[0], keys[1], group.join()]
        return good and all(np.array_equal(y, want[1]) for y in group.step(x[:3], keys=mended))

    fork_during(lambda: [group.step(x, keys=keys) for _ in range(3)], lambda: group.state(other), check)


def wait_for(child: int) -> int:
    """The exit code of a process; it is killed if it takes too long."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


def test_multiprocessing_spawn() -> None:
    model, x, want = large_calls()
    np.testing.assert_equal(in_process(multiprocessing.get_context("spawn"), model, x), want)


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
