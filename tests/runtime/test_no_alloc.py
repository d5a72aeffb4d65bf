"""``Stream.step(x, out=out)`` allocates nothing, nor does ``StreamGroup.step``.

Three views, each with its own blind spot, each first shown to see an allocation when there is one:

* a preloaded library counts every call of malloc and its kin in the process, the interpreter's and
  NumPy's included, but not what they serve from pools they already hold;
* ``tracemalloc`` sees those pools, but only lasting growth: blocks freed within the loop go unseen;
* ``mallinfo2`` (glibc) sees growth of the C heap by code that tracemalloc does not know.

That the C core itself has no way to allocate is shown by ``make -C tests/c check``.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import cell_weights, recurrent_graph, weights
from helpers.programs import python

import lstm_rt
from lstm_rt import format as lrt_format
from lstm_rt.graph import Graph

STEPS = 1000

COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

/* Counts, then asks glibc's own functions, which have these second names. */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);
static volatile long calls; /* the child measures one thread */

long counted(void) { return calls; }
void *malloc(size_t n) { calls++; return __libc_malloc(n); }
void *calloc(size_t n, size_t size) { calls++; return __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { calls++; return __libc_realloc(p, n); }
void *memalign(size_t align, size_t n) { calls++; return __libc_memalign(align, n); }
void *aligned_alloc(size_t align, size_t n) { calls++; return __libc_memalign(align, n); }
int posix_memalign(void **p, size_t align, size_t n)
{
    calls++;
    *p = __libc_memalign(align, n);
    return *p ? 0 : ENOMEM;
}
void free(void *p) { calls += p != NULL; __libc_free(p); }
"""

# Runs with the counter preloaded. Prints the calls seen in: nothing, a large array made and freed,
# the steps of a stream with out, those of a group, one feed without.
CHILD = r"""
import ctypes, gc, itertools, sys
import numpy as np
import lstm_rt

counted = ctypes.CDLL(None).counted
counted.restype = ctypes.c_long
model = lstm_rt.load(sys.argv[1], threads=1)
stream = model.stream()

def array(port, **extents):
    return np.ones([extents.get(d, d) for d in port.shape if d not in ("N", "T") or d in extents], np.float32)

source, target = model.inputs[0], model.outputs[0]
x, out = array(source), array(target)
group = model.streams(300)  # more keys than Python has small integers ready
all_keys = [group.join() for _ in range(300)]
some = all_keys[::-2]
many, few, many_out, few_out = (array(port, N=n) for port in (source, target) for n in (300, 150))
steps = int(sys.argv[2])

def run(n):
    step = stream.step
    for _ in itertools.repeat(None, n):
        step(x, out=out)

def run_group(n):
    step = group.step
    for _ in itertools.repeat(None, n):
        step(many, out=many_out)
        step(few, keys=some, out=few_out)

def difference(f, *args):
    before = counted()
    f(*args)
    return counted() - before

run(10)
run_group(10)
gc.collect()
gc.disable()
difference(run, 10)  # the first use of counted() itself
xs = array(source, T=5000)
print(difference(run, 0), difference(np.empty, 1 << 22), difference(run, steps), difference(run_group, steps),
      difference(stream.feed, xs))
"""


@pytest.fixture(params=["lstm", "gru", "rnn"])
def model_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    graph = recurrent_graph(np.random.default_rng(1), request.param, 3, 20)
    last = graph.values[graph.outputs[0]]
    del graph.outputs[1:]  # one output: the plain way through step()
    assert last.kind == "seq"
    path = tmp_path / "model.lrt"
    lrt_format.save(graph, path)
    return path


def stream_steps(model: lstm_rt.Model) -> Callable[..., None]:
    step = model.stream().step
    x, out = np.ones(3, np.float32), np.empty(20, np.float32)

    def run(n: int = STEPS) -> None:
        for _ in itertools.repeat(None, n):
            step(x, out=out)

    return run


def group_steps(model: lstm_rt.Model) -> Callable[..., None]:
    """All streams and half of them in turn."""
    group = model.streams(300)
    keys = [group.join() for _ in range(300)][::-2]
    x, out = np.ones((300, 3), np.float32), np.empty((300, 20), np.float32)
    some, some_out = np.ones((150, 3), np.float32), np.empty((150, 20), np.float32)

    def run(n: int = STEPS // 2) -> None:
        for _ in itertools.repeat(None, n):
            group.step(x, out=out)
            group.step(some, keys=keys, out=some_out)

    return run


def id_steps(_: lstm_rt.Model) -> Callable[..., None]:
    """Ids are copied before they are checked: to memory that is there."""
    rng, g = np.random.default_rng(0), Graph()
    ids = g.input("ids", "ids")
    x = g.embedding(ids, weights(rng, 9, 4))
    g.output(g.recurrent("gru", x, cell_weights(rng, "gru", 4, 20), hidden_size=20)[0], "y")
    model = lstm_rt.Model(g, threads=1)
    step, group = model.stream().step, model.streams(300)
    keys = [group.join() for _ in range(300)]
    one, out = np.ones(1, np.int32), np.empty((1, 20), np.float32)
    many, many_out = np.ones(300, np.int32), np.empty((300, 20), np.float32)

    def run(n: int = STEPS // 2) -> None:
        for _ in itertools.repeat(None, n):
            step(one, out=out)
            group.step(many, keys=keys, out=many_out)

    return run


@pytest.fixture(params=[stream_steps, group_steps, id_steps])
def run_steps(request: pytest.FixtureRequest, model_file: Path) -> Callable[..., None]:
    """Takes 1000 steps, or as many as it is told to."""
    run: Callable[..., None] = request.param(lstm_rt.load(model_file, threads=1))
    run(10)
    return run


def test_steps_call_no_malloc(model_file: Path, tmp_path: Path) -> None:
    """No call of malloc, calloc, realloc, memalign or free in 1000 steps, by anyone in the process."""
    check_calls(model_file, tmp_path)


def test_steps_of_shaped_ports_call_no_malloc(tmp_path: Path) -> None:
    """What has to be turned has memory of its own."""
    g = Graph()
    x = g.input("x", "seq", 6, order="shaped", dims=("T", 2, "N", 3))
    g.output(g.activation(x, "tanh"), "y", order="shaped", dims=(6, "T", "N"))
    lrt_format.save(g, tmp_path / "model.lrt")
    check_calls(tmp_path / "model.lrt", tmp_path)


def check_calls(model_file: Path, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if not sys.platform.startswith("linux") or compiler is None or os.environ.get("LD_PRELOAD"):
        pytest.skip("needs Linux, a C compiler and the place of LD_PRELOAD")
    source, library = tmp_path / "counter.c", tmp_path / "counter.so"
    source.write_text(COUNTER)
    built = subprocess.run([compiler, "-O1", "-fno-builtin", "-shared", "-fPIC", str(source), "-o", str(library)])
    if built.returncode:
        pytest.skip("this C library has no second names for malloc and its kin")
    done = python("-c", CHILD, model_file, STEPS, env={"LD_PRELOAD": str(library)}, timeout=60)
    assert done.returncode == 0, done.stderr
    idle, large, steps, group_steps, feed = map(int, done.stdout.split())
    assert large >= 1  # the counter counts: an array of 32 MB is made
    assert feed >= 1  # and the result of a feed without out
    assert idle == 0
    assert steps == 0
    assert group_steps == 0


def test_tracemalloc_sees_no_growth(run_steps: Callable[..., None]) -> None:
    """Nothing that Python or NumPy allocates for 1000 steps is left afterwards."""

    def growth(f: Any) -> int:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        f()
        return tracemalloc.get_traced_memory()[0] - before

    kept: list[Any] = []
    tracemalloc.start()
    try:
        growth(run_steps)
        assert growth(lambda: kept.append(np.empty(100_000, np.float32))) >= 400_000
        idle = growth(lambda: run_steps(0))  # the measuring's own numbers and frames
        assert growth(run_steps) == idle
        assert idle < 1000
    finally:
        tracemalloc.stop()


class Mallinfo(ctypes.Structure):
    # arena ordblks smblks hblks, hblkhd (bytes in mapped blocks), usmblks fsmblks, uordblks (bytes in
    # use in the rest of the heap), fordblks keepcost
    _fields_ = tuple((f"field{i}", ctypes.c_size_t) for i in range(10))


def heap_in_use() -> int:
    f = ctypes.CDLL(None).mallinfo2
    f.restype = Mallinfo
    info = f()
    return int(info.field4 + info.field7)


def test_the_c_heap_does_not_grow(run_steps: Callable[..., None]) -> None:
    """What is in use in glibc's heap is the same before and after 1000 steps."""
    try:
        heap_in_use()
    except (AttributeError, OSError):
        pytest.skip("needs glibc 2.33 or newer")

    def growth(f: Any) -> int:
        gc.collect()
        before = heap_in_use()
        f()
        return heap_in_use() - before

    kept: list[Any] = []
    growth(run_steps)
    assert growth(lambda: kept.append(np.empty(1_000_000, np.float32))) >= 4_000_000
    # Another thread of the test process may allocate meanwhile, so any quiet round of a few counts.
    assert min(abs(growth(run_steps)) for _ in range(5)) == 0
