"""On how many threads a call runs: as many as there are processors and quota for, and as the system gives."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.models import LARGE, both_ways, uniform
from helpers.programs import python
from helpers.threads import AFFINITY, OPENMP, TIMEOUT, pinned, two_cpus

from lstm_rt import _core
from lstm_rt._core import last_lanes

COMPILER = shutil.which("cc")


# -- processors -----------------------------------------------------------------------------------------

@OPENMP
@AFFINITY
@pytest.mark.parametrize("threads", ["auto", 2, 64])
def test_never_more_threads_than_processors_now(threads: Any) -> None:
    cpus, x = two_cpus(), uniform(*LARGE)
    with pinned({min(cpus)}):
        model = both_ways(300, threads=threads)  # loaded while there is one
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
    model, x = both_ways(300, threads=2), uniform(*LARGE)
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
    model, x = both_ways(300, threads=2), uniform(*LARGE)

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


@OPENMP
@pytest.mark.skipif(not sys.platform.startswith("linux") or COMPILER is None, reason="needs Linux and a compiler")
def test_fewer_threads_where_the_system_gives_no_more(tmp_path: Path) -> None:
    source, library = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    assert COMPILER is not None
    subprocess.run([COMPILER, "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"], check=True)
    both_ways(300).save(tmp_path / "m.lrt")
    done = python("-c", STARVED, tmp_path / "m.lrt", 0, 1, 0, 1, env={"LD_PRELOAD": str(library)}, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "2", "2", "3"]  # none; one; the one that is there; one more


@OPENMP
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_one_thread_where_there_is_no_memory_for_stacks(tmp_path: Path) -> None:
    both_ways(32).save(tmp_path / "m.lrt")
    done = python("-c", SHORT_OF_MEMORY, tmp_path / "m.lrt", timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1"
