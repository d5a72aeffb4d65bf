# A call: on how many threads it runs, and what ends it early.
# Included by _core.pyx.

cdef extern from "Python.h" nogil:
    int _check_signals "PyErr_CheckSignals"() noexcept

# libgomp hangs in a forked child that opens a team, so a child runs on one thread.
cdef int _forks = 0  # how many processes above this one have been forked from each other
cdef unsigned long _main_thread = threading.main_thread().ident  # the only one that runs signal handlers


def _after_fork():
    global _forks, _main_thread
    _forks += 1
    _main_thread = <unsigned long>PyThread_get_thread_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _thread_count(threads):
    """The most threads that calls may have. What processors there are is seen when they run."""
    if isinstance(threads, str) and threads == "auto":
        return min(os.cpu_count() or 1, LRT_MOST_LANES)
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= LRT_MOST_LANES:
        from .text import shown
        raise InputError(f"threads is {shown(repr(threads))}, expected 'auto' or an integer from 1 to {LRT_MOST_LANES}")
    return threads


cdef uint32_t _allowed(uint32_t most) except 0:
    """Threads that a call in this process may have, of ``most``."""
    if most == 1 or _forks:
        return 1
    if lrt_quota_due:
        cpus = quota()
        lrt_set_quota(LRT_MOST_LANES if cpus is None else max(int(min(cpus, LRT_MOST_LANES)), 1))
    return most


def force_lanes(int lanes):
    """Run every call that may use so many threads on exactly so many, however small it is; 0: as usual. For tests."""
    global lrt_forced_lanes
    lrt_forced_lanes = lanes


def last_lanes():
    """On how many threads the last call of this thread ran. For tests."""
    return lrt_me.lanes


cdef int _run_team(lrt_session *s, int lanes) noexcept nogil:
    cdef lrt_team team
    lrt_team_init(&team)
    with parallel(num_threads=lanes):
        lrt_team_run(s, &team)
    return team.result


cdef int _run_lanes(lrt_session *s, const lrt_call_args *call, uint32_t most) noexcept nogil:
    cdef int e = lrt_prepare(s, call)
    cdef int lanes
    if e != LRT_OK:
        return e
    lanes = lrt_team_lanes(s, most) if most > 1 else 1
    if lanes > 1:
        e = _run_team(s, lanes)
    else:
        lrt_me.lanes = 1
        e = lrt_run(s, 0, 1, NULL, NULL)
    if most > 1:
        lrt_team_done(lanes)
    return e


cdef enum:
    SHORT_ROWS = 256  # rows of all steps, whose ids may have to be looked at
    SHORT_WORK = 8192  # multiply-adds: a microsecond or so


cdef int _run_short(lrt_session *s, const lrt_call_args *call) noexcept:
    """Run a call of one time axis if it takes about as long as to release the GIL and take it back; -1: it does not.

    Nothing else runs meanwhile, so it cannot be interrupted.
    """
    cdef int e
    if <uint64_t>call.batch * call.steps[0] > SHORT_ROWS or lrt_forced_lanes > 0:
        return -1
    e = lrt_prepare(s, call)
    if e == LRT_OK and lrt_prepared_work(s) > SHORT_WORK:
        return -1
    if e == LRT_OK:
        lrt_me.lanes = 1
        e = lrt_run(s, 0, 1, NULL, NULL)
    return e


cdef int _signalled() noexcept with gil:
    """Run the handlers of signals that have come. Has one raised? Then its exception is set."""
    return _check_signals() != 0


cdef int _execute(lrt_session *s, lrt_call_args *call, uint32_t most) except -1:
    """Run a call; returns the core's error code.

    In the main thread, a signal handler that raises ends the call; then the state of its rows is undefined.
    """
    cdef lrt_watch watch
    cdef int e
    if <unsigned long>PyThread_get_thread_ident() == _main_thread:
        memset(&watch, 0, sizeof(watch))
        watch.signalled = _signalled
        call.stop = lrt_watch_signals
        call.stop_context = &watch
    with nogil:
        e = _run_lanes(s, call, most)
    return -1 if e == LRT_E_STOPPED else e
