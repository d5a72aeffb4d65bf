"""How many threads a call runs on, in which floating-point mode, and how a signal ends it."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import cell_weights, recurrent_graph

import lstm_rt
from lstm_rt import InputError, Model, _core
from lstm_rt._cgroups import quota
from lstm_rt._core import force_lanes, last_lanes
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

OPENMP = pytest.mark.skipif(not lstm_rt.build_info()["openmp"], reason="the build has no OpenMP")
AFFINITY = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
COMPILER = shutil.which("cc")


def both_ways(hidden: int = 300, **kw: Any) -> Model:
    """Two lanes take a direction each."""
    graph = recurrent_graph(np.random.default_rng(0), "lstm", 4, hidden, direction="bidirectional")
    return Model(dumps(graph), **kw)


def uniform(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


@contextlib.contextmanager
def forced(lanes: int) -> Iterator[None]:
    force_lanes(lanes)
    try:
        yield
    finally:
        force_lanes(0)


# -- floating-point mode ------------------------------------------------------------------------------


@contextlib.contextmanager
def rounding_upward() -> Iterator[None]:
    upward = {"x86_64": 0x800, "amd64": 0x800, "aarch64": 0x400000, "arm64": 0x400000}.get(platform.machine().lower())
    name = ctypes.util.find_library("m")
    if upward is None or name is None:
        pytest.skip("the C library's number for rounding upward is not known here")
    libm = ctypes.CDLL(name)
    before = libm.fegetround()
    assert libm.fesetround(upward) == 0
    try:
        yield
    finally:
        libm.fesetround(before)


@contextlib.contextmanager
def denormals_flushed() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush denormals")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def tiny() -> Model:
    """Outputs are denormal numbers."""
    cells = {name: w * np.float32(1e-20) for name, w in cell_weights(np.random.default_rng(0), "rnn", 4, 32).items()}
    cells = {name: np.zeros_like(w) if w.ndim == 1 else w for name, w in cells.items()}
    g = Graph()
    x = g.input("x", "seq", 4)
    both = {f"{name}{end}": w for name, w in cells.items() for end in ("", "_reverse")}
    g.output(g.recurrent("rnn", x, both, hidden_size=32, direction="bidirectional", activations=["relu"])[0], "y")
    return Model(dumps(g))


@OPENMP
@pytest.mark.parametrize("mode", [rounding_upward, denormals_flushed])
def test_all_threads_compute_in_the_callers_mode(mode: Callable[[], Any]) -> None:
    model = both_ways(64) if mode is rounding_upward else tiny()
    x = uniform(1, 30, 4) * np.float32(1 if mode is rounding_upward else 1e-20)
    want = model(x, threads=1)
    with forced(2):
        np.testing.assert_equal(model(x, threads=2), want)
        with mode():
            one = model(x, threads=1)
            two = model(x, threads=2)
            lanes = last_lanes()
        after = model(x, threads=2)
    assert lanes == 2
    first = [np.ravel(a[0]) if isinstance(a, tuple) else np.ravel(a) for a in (want, one)]
    half = first[0].size // 2
    assert not np.array_equal(first[0][:half], first[1][:half])  # the mode matters
    np.testing.assert_equal(two, one)
    np.testing.assert_equal(after, want)  # and the threads have their own again


# -- processors -----------------------------------------------------------------------------------------

LARGE = (2, 60, 4)  #: of both_ways: work enough for two threads that sleep


@contextlib.contextmanager
def pinned(cpus: set[int]) -> Iterator[None]:
    """The calling thread on these processors; the runtime looks every 10 ms."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    time.sleep(0.02)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        time.sleep(0.02)


def two_cpus() -> set[int]:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two processors")
    return set(cpus[:2])


@OPENMP
@AFFINITY
@pytest.mark.parametrize("threads", ["auto", 2, 64])
def test_never_more_threads_than_processors_now(threads: Any) -> None:
    cpus, x = two_cpus(), uniform(*LARGE)
    with pinned({min(cpus)}):
        model = both_ways(threads=threads)  # loaded while there is one
        model(x)
        assert last_lanes() == 1
    with pinned(cpus):
        model(x)
        assert last_lanes() == 2
    with pinned({max(cpus)}):
        model(x)
        assert last_lanes() == 1


@OPENMP
@AFFINITY
def test_calls_at_once_share_the_processors() -> None:
    """While a call has both processors, another one has a thread of its own and no more."""
    model, x = both_ways(threads=2), uniform(*LARGE)
    long, done, lanes = uniform(1, 20_000, 4), threading.Event(), []

    def work() -> None:
        model(long)
        lanes.append(last_lanes())
        done.set()

    with pinned(two_cpus()):
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.05)
        beside = []
        while not done.is_set():
            model(x)
            beside.append(last_lanes())
        thread.join()
        model(x)
        assert last_lanes() == 2
    assert lanes == [2]
    assert beside[:-1]
    assert set(beside[:-1]) == {1}  # the other one may have ended before the last began


@OPENMP
@AFFINITY
def test_the_quota_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once a second, before a call that follows one which could use several threads."""
    model, x = both_ways(threads=2), uniform(*LARGE)

    def lanes() -> int:
        time.sleep(1.1)
        model(x)
        model(x)
        return last_lanes()

    with pinned(two_cpus()):
        monkeypatch.setattr(_core, "quota", lambda: 1.9)  # the time of one processor, and some
        assert lanes() == 1
        monkeypatch.setattr(_core, "quota", lambda: None)
        assert lanes() == 2


def group_files(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = "26 25 0:24 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "30 25 0:28 {root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "31 25 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


@pytest.mark.parametrize(
    ("files", "want"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        (  # the least of the process's own group and those above it
            {
                "proc/self/cgroup": "0::/a.slice/b.service\n",
                "proc/self/mountinfo": V2,
                "sys/fs/cgroup/a.slice/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/a.slice/b.service/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/other/cpu.max": "100000 100000\n",
            },
            2.0,
        ),
        (  # version 1 in a container: the mount shows the container's group as its top
            {
                "proc/self/cgroup": "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n",
                "proc/self/mountinfo": V1.format(root="/docker/1"),
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            4.0,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/\n0::/\n",
                "proc/self/mountinfo": V1.format(root="/") + V2.replace("cgroup rw", "cgroup/unified rw"),
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        (  # a group outside what this namespace can see
            {"proc/self/cgroup": "0::/../x\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/cpu.max": "50000 100000\n"},
            0.5,
        ),
        ({"proc/self/cgroup": "nonsense\n", "proc/self/mountinfo": V2 + "x\n\n - cgroup2\n"}, None),
    ],
)
def test_the_quota_of_control_groups(tmp_path: Path, files: dict[str, str], want: float | None) -> None:
    assert quota(group_files(tmp_path, files)) == want


def backwards_rnn(steps: int) -> tuple[Model, np.ndarray]:
    """A layer that no two lanes can share, and that looks at all steps in one pass."""
    graph = recurrent_graph(np.random.default_rng(0), "rnn", 4, 8, direction="reverse")
    return Model(dumps(graph)), uniform(1, steps, 4)


@OPENMP
def test_a_lane_that_waits_for_long_sleeps() -> None:
    model, x = backwards_rnn(1_000_000)
    model(x[:, :10].copy())
    with forced(2):
        process, thread = time.process_time(), time.thread_time()
        model(x, threads=2)
        process, thread = time.process_time() - process, time.thread_time() - thread
    assert last_lanes() == 2
    assert thread > 0.02
    assert process - thread < thread / 4  # what the other lane used


@OPENMP
@AFFINITY
def test_more_lanes_than_processors_still_come_to_an_end() -> None:
    """Eight lanes on one processor, that meet at every step: a lane that waits makes room."""
    graph = recurrent_graph(np.random.default_rng(0), "lstm", 4, 400)
    model, x = Model(dumps(graph)), uniform(1, 200, 4)
    want = model(x, threads=1)
    cpus = two_cpus()
    with forced(8), pinned({min(cpus)}):
        begun = time.monotonic()
        np.testing.assert_equal(model(x, threads=8), want)
        assert last_lanes() == 8
        assert time.monotonic() - begun < 20


# -- threads that cannot start ---------------------------------------------------------------------------

SHIM = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

static int most = 1 << 20; /* threads of the process */
void set_most_threads(int n) { most = n; }

static int threads_now(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

int pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    return threads_now() >= most ? EAGAIN : next(t, attr, start, arg);
}
"""

STARVED = r"""
import ctypes, os, sys, time
import numpy as np
import lstm_rt
from lstm_rt._core import force_lanes, last_lanes

model = lstm_rt.load(sys.argv[1])
x = np.ones((2, 60, 4), np.float32)
want = model(x, threads=1)
force_lanes(3)
libc = ctypes.CDLL(None)
for more in map(int, sys.argv[2:]):
    libc.set_most_threads(len(os.listdir("/proc/self/task")) + more)
    got = model(x, threads=3)
    assert all(map(np.array_equal, got, want))
    print(last_lanes(), end=" ")
    time.sleep(1.05)
"""

SHORT_OF_MEMORY = r"""
import resource, sys
import numpy as np
import lstm_rt
from lstm_rt._core import force_lanes, last_lanes

model = lstm_rt.load(sys.argv[1], threads=2)
x = np.ones((2, 60, 4), np.float32)
want = model(x)  # two lanes' memory is there, as none are asked for
assert last_lanes() == 1, last_lanes()
force_lanes(2)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (3 << 20),) * 2)
got = model(x)
assert all(map(np.array_equal, got, want))
print(last_lanes())
"""


def in_child(script: str, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    package = str(Path(lstm_rt.__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, args)],
        env={**os.environ, "PYTHONPATH": package, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


@OPENMP
@pytest.mark.skipif(not sys.platform.startswith("linux") or COMPILER is None, reason="needs Linux and a compiler")
def test_fewer_threads_where_the_system_gives_no_more(tmp_path: Path) -> None:
    source, library = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    assert COMPILER is not None
    subprocess.run([COMPILER, "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"], check=True)
    both_ways().save(tmp_path / "m.lrt")
    done = in_child(STARVED, tmp_path / "m.lrt", 0, 1, 0, 1, LD_PRELOAD=str(library))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "2", "2", "3"]  # none; one; the one that is there; one more


@OPENMP
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_one_thread_where_there_is_no_memory_for_stacks(tmp_path: Path) -> None:
    both_ways(32).save(tmp_path / "m.lrt")
    done = in_child(SHORT_OF_MEMORY, tmp_path / "m.lrt")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1"


@OPENMP
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_the_threads_of_a_thread_end_with_it() -> None:
    model, x = both_ways(threads=2), uniform(*LARGE)

    def tasks() -> int:
        return len(os.listdir("/proc/self/task"))

    with forced(2):
        model(x)
        before = tasks()
        for _ in range(10):
            thread = threading.Thread(target=model, args=(x,))
            thread.start()
            thread.join()
    end = time.monotonic() + 10
    while tasks() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert tasks() <= before


# -- signals ---------------------------------------------------------------------------------------------

STEPS = 1_000_000  #: of calls that would take many seconds
SOON = 5.0  #: seconds: long after the signal on a busy machine, long before the end of the call


class Interrupted(Exception):
    """What a handler raises."""


@contextlib.contextmanager
def alarm(seconds: float, handler: Callable[[], None]) -> Iterator[None]:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        pytest.skip("needs timers and the main thread")
    before = signal.signal(signal.SIGALRM, lambda *_: handler())
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupt(call: Callable[[], Any], soon: float = SOON) -> None:
    """The call, ended by a signal that comes soon after it has begun."""

    def handler() -> None:
        raise Interrupted

    begun = time.monotonic()
    with alarm(0.2, handler), pytest.raises(Interrupted):
        call()
    assert time.monotonic() - begun < soon


def last_state(hidden: int, direction: str = "forward", layers: int = 1, kernels: str | None = None) -> Model:
    """Gives the last h only, so that a long sequence takes little memory."""
    rng, g = np.random.default_rng(0), Graph()
    v, width = g.input("x", "seq", 4), 4
    for _ in range(layers):
        w = cell_weights(rng, "lstm", width, hidden, direction)
        v, h, _ = g.recurrent("lstm", v, w, hidden_size=hidden, direction=direction)
        width = hidden * (2 if direction == "bidirectional" else 1)
    g.output(h, "h")
    return Model(dumps(g), kernels=kernels)


def wide_dense() -> Model:
    """Nearly all of its time is one product, on the table that is slow: on x86 it rounds in software."""
    rng, g = np.random.default_rng(0), Graph()
    v = g.input("x", "seq", 4)
    back = g.recurrent("rnn", v, cell_weights(rng, "rnn", 4, 8), hidden_size=8, direction="reverse")[0]
    wide = g.dense(back, uniform(500, 8), uniform(500))
    g.output(g.select(g.dense(wide, uniform(500, 500), uniform(500), "softmax"), -1), "y")
    return Model(dumps(g), kernels="portable")


@pytest.mark.parametrize("lanes", [1, pytest.param(2, marks=OPENMP)])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: last_state(300), (1, STEPS, 4)),  # in passes; shared by panels
        (lambda: last_state(100, layers=3), (1, 4 * STEPS, 4)),  # layers side by side
        (lambda: last_state(300, "bidirectional"), (1, STEPS, 4)),  # all steps in one pass; by directions
        (lambda: last_state(300, "bidirectional"), (8, STEPS // 8, 4)),  # by rows
        (lambda: last_state(300, "reverse"), (1, STEPS, 4)),
        (wide_dense, (1, STEPS // 50, 4)),
    ],
    ids=["passes", "layers", "directions", "rows", "reverse", "dense"],
)
def test_a_signal_ends_a_long_call(make: Callable[[], Model], shape: tuple[int, ...], lanes: int) -> None:
    model, x = make(), np.ones(shape, np.float32)
    short = x[:10, :50].copy()
    want = model(short, threads=1)
    with forced(lanes if lanes > 1 else 0):
        interrupt(lambda: model(x, threads=lanes))
        assert last_lanes() == lanes
        np.testing.assert_equal(model(short, threads=lanes), want)  # the session of that call is as good as new


def test_a_signal_ends_a_long_step() -> None:
    """Of many rows, on the table that is slow: half a minute."""
    model, x = last_state(300, kernels="portable"), np.ones((20_000, 2, 4), np.float32)
    interrupt(lambda: model(x, threads=1), soon=4 * SOON)


@OPENMP
def test_a_handler_that_calls_a_model_takes_no_threads_away() -> None:
    """The call inside the call keeps out of the books of the outer one."""
    large, small = both_ways(64), both_ways(8)
    x, y = uniform(*LARGE), uniform(1, 3, 4)
    use_two_lanes = lambda: [large(x) for _ in range(20)] and last_lanes() == 2  # noqa: E731
    two_cpus()
    assert any(use_two_lanes() for _ in range(50))
    with alarm(0.05, lambda: small(y)):
        large(uniform(1, 60_000, 4))
    assert any(use_two_lanes() for _ in range(50))


def test_control_c_ends_a_long_call() -> None:
    model, x = last_state(300), np.ones((1, STEPS, 4), np.float32)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            model(x)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < SOON


def test_a_handler_that_returns_ends_nothing() -> None:
    model = both_ways(64, threads=1)
    x = uniform(1, 60_000, 4)
    want, came = model(x), []
    begun = time.monotonic()
    with alarm(0.05, lambda: came.append(time.monotonic())):
        got = model(x)
        ended = time.monotonic()
    np.testing.assert_equal(got, want)
    if ended - begun > 0.5:
        assert came
        assert came[0] < ended


@pytest.mark.parametrize("how", ["reset", "state"])
def test_a_stream_that_was_interrupted_says_so_until_it_has_a_state(how: str) -> None:
    model, x = last_state(300), np.ones((1, STEPS, 4), np.float32)
    short = x[:, :20].copy()
    stream, other = model.stream(), model.stream()
    want = [other.feed(short), other.feed(short)]
    stream.feed(short)
    saved = stream.state
    interrupt(lambda: stream.feed(x))
    uses: list[Callable[[], Any]] = [
        lambda: stream.step(x[0, 0]),
        lambda: stream.feed(short),
        lambda: stream.state,
    ]
    for use in uses:
        with pytest.raises(InputError, match="half-written"):
            use()
    if how == "reset":
        stream.reset()
        np.testing.assert_equal(stream.feed(short), want[0])
    else:
        stream.state = saved
    np.testing.assert_equal(stream.feed(short), want[1])


def test_a_group_whose_feed_was_interrupted_is_where_it_was() -> None:
    model, x = last_state(300), np.ones((1, STEPS, 4), np.float32)
    group, other = model.streams(3), model.streams(3)
    for g in (group, other):
        g.join()
        g.step(x[:1, 0].copy())
        g.join()
    interrupt(lambda: group.feed(x, keys=[0]))
    np.testing.assert_equal(group.step(np.ones((2, 4), np.float32)), other.step(np.ones((2, 4), np.float32)))


def test_the_calls_of_other_threads_go_on() -> None:
    """Only the main thread runs handlers; its signal does not end what another thread computes."""
    model = last_state(300)
    x = np.ones((1, STEPS // 100, 4), np.float32)
    want, got = model(x), []
    thread = threading.Thread(target=lambda: got.append(model(x)))
    thread.start()
    interrupt(lambda: model(np.ones((1, STEPS, 4), np.float32)))
    thread.join()
    np.testing.assert_equal(got[0], want)
