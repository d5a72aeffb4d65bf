# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The Python runtime: models, calls and streams over the C core.

The core reads and writes the memory of NumPy arrays in place. Only what is not contiguous, and ids and
lengths, which are small, are copied; no array of floats is converted behind the caller's back.
"""

import os
import threading

import numpy as np

cimport cython
cimport numpy as cnp
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.pythread cimport PyThread_get_thread_ident
from cython.parallel cimport parallel
from libc.errno cimport errno
from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memcpy, memset

from ._lrt cimport *

from ._cgroups import quota
from .errors import FormatError, InputError, did_you_mean

cnp.import_array()

cdef enum:
    MAX_IO = LRT_MAX_IO
    MAX_STEPS = 0x7fffffff
    MAX_BATCH = 1 << 24
    POOL = 8  # idle sessions that a model keeps

# What the writer of files must keep to: docs/format.md, section 10.
MAX_AXES, MAX_COUNT, MAX_PORTS, MAX_SIZE = LRT_MAX_AXES, LRT_MAX_COUNT, LRT_MAX_IO, LRT_MAX_SIZE
MAX_ROWS, MAX_PARTS, MAX_RTOL = LRT_MAX_ROWS, LRT_NODE_INPUTS, LRT_MAX_RTOL

_KINDS = {LRT_SEQ: "seq", LRT_VEC: "vec", LRT_IDS: "ids", LRT_LENGTHS: "lengths"}


# -- kernels ------------------------------------------------------------------------------------------


def kernels():
    """Names of the kernel tables that this CPU can run, best first."""
    names, i = [], 0
    while lrt_kernels_at(i) != NULL:
        if lrt_kernels_usable(lrt_kernels_at(i)):
            names.append(lrt_kernels_name(lrt_kernels_at(i)).decode())
        i += 1
    return names


def _all_kernels():
    """Names of all kernel tables in this build, best first, and whether each is fused."""
    tables, i = [], 0
    while lrt_kernels_at(i) != NULL:
        tables.append((lrt_kernels_name(lrt_kernels_at(i)).decode(), bool(lrt_kernels_fused(lrt_kernels_at(i)))))
        i += 1
    return tables


cdef const lrt_kernels *_find_kernels(name) except NULL:
    cdef const lrt_kernels *k = lrt_kernels_best()
    if name is None:
        name = os.environ.get("LSTM_RT_KERNELS") or None
    if name is not None:
        if name not in kernels():
            near = did_you_mean(name, kernels())
            raise InputError(f"kernels {name!r} are not available here; available: {', '.join(kernels())}{near}")
        k = lrt_kernels_by_name(name.encode())
    return k


def _has_openmp():
    return bool(LRT_OPENMP)


def activate(int code, double alpha, double beta, x, kernels=None):
    """Activation ``code`` (docs/format.md) of one row of float32, by a kernel table: for tests."""
    cdef cnp.ndarray a = np.ascontiguousarray(x, np.float32).ravel()
    cdef cnp.ndarray y = np.empty_like(a)
    cdef const lrt_kernels *k = _find_kernels(kernels)
    cdef int e = lrt_activate(k, code, alpha, beta, <const float *>cnp.PyArray_DATA(a),
                              <float *>cnp.PyArray_DATA(y), a.size)
    if e != LRT_OK:
        raise ValueError(lrt_error_text(e).decode())
    return y


# -- threads ------------------------------------------------------------------------------------------

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
        return min(os.cpu_count() or 1, 64)
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 64:
        from .text import shown
        raise InputError(f"threads is {shown(repr(threads))}, expected 'auto' or an integer from 1 to 64")
    return threads


cdef uint32_t _allowed(uint32_t most) except 0:
    """Threads that a call in this process may have, of ``most``."""
    if most == 1 or _forks:
        return 1
    if lrt_quota_due:
        cpus = quota()
        lrt_set_quota(64 if cpus is None or cpus >= 64 else max(int(cpus), 1))
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


# -- sessions -----------------------------------------------------------------------------------------


@cython.final
cdef class _Session:
    """Memory and state of one run at a time. Who holds one holds its model too."""

    cdef void *memory
    cdef lrt_session *s
    cdef lrt_limits limits
    cdef size_t nbytes

    def __dealloc__(self):
        lrt_aligned_free(self.memory)

    cdef bint holds(self, const lrt_limits *need, bint chunked) noexcept:
        cdef int i
        if need.batch > self.limits.batch or need.lanes > self.limits.lanes:
            return False
        for i in range(LRT_MAX_AXES):
            if not chunked and need.steps[i] > self.limits.steps[i]:
                return False
        return True


cdef int _check_count(str what, n, least, most) except -1:
    if isinstance(n, bool) or not isinstance(n, int) or not least <= n <= most:
        raise InputError(f"{what} is {n!r}, expected an integer from {least} to {most}")
    return 0


cdef _Session _new_session(Model model, const lrt_limits *limits):
    cdef _Session session = _Session.__new__(_Session)
    cdef size_t size = lrt_session_size(&model.m, limits)
    cdef int e
    if size == 0:
        raise MemoryError(lrt_error_text(34).decode())
    session.memory = lrt_aligned_alloc(size)
    if session.memory == NULL:
        raise MemoryError(f"{size} bytes for a batch of {limits.batch} could not be allocated")
    e = lrt_session_init(&session.s, &model.m, model.k, limits, session.memory, size)
    if e != LRT_OK:
        raise RuntimeError(lrt_error_text(e).decode())
    session.limits = limits[0]
    session.nbytes = size
    return session


# -- ports: named inputs and outputs ------------------------------------------------------------------


@cython.final
@cython.auto_pickle(False)
cdef class Port:
    """A named input or output of a model. Read-only.

    ``shape`` has ``"N"`` for the batch and ``"T"`` (``"T0"``, ``"T1"``... with several time axes)
    for the steps; ``dtype`` is what a call expects or gives.
    """

    cdef readonly str name, kind, dtype
    cdef readonly tuple shape
    cdef readonly object size, axis
    cdef tuple made_of

    def __cinit__(self, str name not None, str kind not None, size, axis, n_axes):
        steps = "T" if n_axes == 1 else f"T{axis}"
        self.made_of = name, kind, size, axis, n_axes
        self.name, self.kind, self.size = name, kind, size
        self.axis = None if kind == "vec" else axis
        self.shape = {"seq": ("N", steps, size), "vec": ("N", size), "ids": ("N", steps), "lengths": ("N",)}[kind]
        self.dtype = "float32" if kind in ("seq", "vec") else "int32"

    def __repr__(self):
        from .text import shown
        return f"<{shown(repr(self.name))}: {self.dtype} {_shape_text(self.shape)}>"

    def __reduce__(self):
        return Port, self.made_of


cdef _describe(const lrt_model *m, const lrt_io *io):
    name = (<const char *>io.name)[:io.name_size].decode("utf-8", "replace")
    return Port(name, _KINDS[io.kind], io.size, io.axis, m.n_axes)


# -- arrays -------------------------------------------------------------------------------------------

include "_arrays.pxi"

# -- where models come from -----------------------------------------------------------------------------

include "_blobs.pxi"

# -- models -------------------------------------------------------------------------------------------


#: Arguments of Model.__call__ and what they are when not given.
cdef dict _OPTIONS = {"lengths": None, "state": None, "return_state": False, "out": None, "threads": None}


cdef class Model:
    """A model ready to run, from the bytes of a ``.lrt`` file or a :class:`lstm_rt.graph.Graph`.

    :func:`lstm_rt.load` makes one from a file, :func:`lstm_rt.LSTM` and its like from arrays.

    Calls are pure: each starts from zero state or from ``state=`` and leaves nothing behind. One
    model may be called from many Python threads at once; the GIL is released while it computes.
    """

    cdef lrt_model m
    cdef const lrt_kernels *k
    cdef _Blob blob
    cdef list pool  # idle sessions, then None: of fixed length, so that calls do not resize it
    cdef int idle  # how many
    cdef lrt_io ins[MAX_IO]
    cdef lrt_io outs[MAX_IO]
    cdef readonly tuple inputs
    cdef readonly tuple outputs
    cdef readonly object threads
    cdef uint32_t most  # threads as a number
    cdef bint chunked
    cdef tuple clashes  # inputs that are called like an argument of __call__
    cdef list slots  # (layer, is_cell, directions, size) per slot, found with the first session

    def __cinit__(self, blob, threads="auto", kernels=None):
        cdef int e
        cdef uint32_t i
        self.k = _find_kernels(kernels)
        self.most = _thread_count(threads)
        self.threads = threads
        self.blob = _blob_of(_graph_bytes(blob))
        e = lrt_model_open(&self.m, self.blob.data, self.blob.size)
        if e != LRT_OK:
            raise _format_error(e, <const char *>self.blob.data, self.blob.size)
        self.pool = [None] * POOL
        self.idle = 0
        for i in range(self.m.n_inputs):
            self.ins[i] = lrt_model_input(&self.m, i)
        for i in range(self.m.n_outputs):
            self.outs[i] = lrt_model_output(&self.m, i)
        self.inputs = tuple([_describe(&self.m, &self.ins[i]) for i in range(self.m.n_inputs)])
        self.outputs = tuple([_describe(&self.m, &self.outs[i]) for i in range(self.m.n_outputs)])
        self.chunked = lrt_model_is_causal(&self.m)
        self.clashes = tuple([p.name for p in self.inputs if p.name in _OPTIONS])
        self.slots = None

    # -- running

    def __call__(self, *inputs, lengths=None, state=None, return_state=False, out=None, threads=None, **named):
        """Run the model.

        Args:
            *inputs, **named: one array per input, in order or by name (see :attr:`inputs`):
                float32 ``(N, T, F)`` for sequences, integer ``(N, T)`` for ids. Without the batch
                axis (``(T, F)``, ``(T,)``) the outputs come without it too. Arrays may lie in memory
                in any way (what is not contiguous is copied); lists of numbers and what NumPy takes
                for such arrays, CPU tensors for example, will do. An input that is called like one of
                the arguments below takes precedence over it, unless all inputs are given in order.
            lengths: valid steps per row, integers ``(N,)``; with several time axes a dict from
                the name of a sequence input. Steps beyond a row's length do not count: outputs
                there are 0, final states and last steps are those of the last valid step.
            state: initial state, as ``return_state`` gives it; zero by default.
            return_state: also return the final state.
            out: array(s) to write the output(s) into: float32, C-contiguous, of the right shape.
            threads: at most this many threads for this call; more than is useful are never used.

        Returns:
            One output as an array, several as a tuple; with ``return_state`` a pair of that and
            the state. Layers of one kind and size give PyTorch's form: ``h`` or ``(h, c)`` of
            shape ``(layers * directions, N, H)``; others a tuple with ``h`` or ``(h, c)`` of
            shape ``(directions, N, size)`` per layer.

        Raises:
            InputError: an argument is not what the model expects; the message says what is.
            KeyboardInterrupt, or what a signal's handler raises: in the main thread, during a long
                call; what ``out`` holds is undefined then.
        """
        cdef lrt_call_args call
        cdef const void *ins[MAX_IO]
        cdef float *outs[MAX_IO]
        cdef const int32_t *lens[8]
        cdef _Session session
        cdef uint32_t most
        cdef int e
        cdef list arrays, results
        cdef bint batched
        if self.clashes and len(inputs) < <Py_ssize_t>self.m.n_inputs:
            given = {"lengths": lengths, "state": state, "return_state": return_state, "out": out, "threads": threads}
            lengths, state, return_state, out, threads = self._take_clashes(named, given)
        most = _allowed(self.most if threads is None or threads is self.threads else _thread_count(threads))
        arrays = self._by_name(inputs, named) if named else list(inputs)
        batched = self._take_inputs(arrays, &call, ins)
        if lengths is not None:
            self._take_lengths(lengths, &call, lens, arrays, batched)
        results = self._take_outputs(out, &call, outs, batched)
        session = self._borrow(&call, most)
        try:
            if state is not None:
                self._set_state(session, state, 0, call.batch, batched)
                call.keep_state = 1
            e = _execute(session.s, &call, most)
            if e != LRT_OK:
                raise self._call_error(e, arrays, &call)
            if return_state:
                final = self._get_state(session, 0, call.batch, batched)
        finally:
            if self.idle < POOL:
                self.pool[self.idle] = session
                self.idle += 1
        result = results[0] if len(results) == 1 else tuple(results)
        return (result, final) if return_state else result

    cdef _take_clashes(self, dict named, dict given):
        """Arguments that are inputs of this model by their name go to ``named``; returns the others' values."""
        for name in self.clashes:
            if given[name] is not _OPTIONS[name]:
                named[name] = given[name]
                given[name] = _OPTIONS[name]
        return given.values()

    cdef list _by_name(self, tuple inputs, dict named):
        names = [p.name for p in self.inputs]
        arrays = dict(zip(names, inputs))
        for name, array in named.items():
            if name not in names:
                near = did_you_mean(name, [*names, "lengths", "state", "return_state", "out", "threads"])
                raise TypeError(f"unexpected argument {name!r}; inputs of this model: {', '.join(names)}{near}")
            if name in arrays:
                raise TypeError(f"input {name!r} is given twice")
            arrays[name] = array
        missing = [n for n in names if n not in arrays]
        if missing:
            raise TypeError(f"input {missing[0]!r} is missing; inputs of this model: {', '.join(names)}")
        return [arrays[n] for n in names] + list(inputs[len(names):])

    cdef _wrong_count(self, Py_ssize_t given):
        names = ", ".join(p.name for p in self.inputs)
        return TypeError(f"{given} inputs given, this model takes {len(self.inputs)}: {names}")

    cdef bint _take_inputs(self, list arrays, lrt_call_args *call, const void **ins, Py_ssize_t least=1) except -1:
        """Check the inputs, fill the call's inputs, batch and steps; returns whether they have a batch axis.

        ``arrays`` then has what the core reads. Texts are made only for errors: they would take most
        of the time of a small call.
        """
        cdef Py_ssize_t i, n, t, batch = -1
        cdef Py_ssize_t steps[8]
        cdef const lrt_io *io
        cdef cnp.ndarray x
        cdef bint batched
        if len(arrays) != <Py_ssize_t>self.m.n_inputs:
            raise self._wrong_count(len(arrays))
        for i in range(len(arrays)):
            arrays[i] = self._in_form(i, arrays[i])
        memset(call, 0, sizeof(call[0]))
        memset(steps, 0xff, sizeof(steps))
        batched = cnp.PyArray_NDIM(<cnp.ndarray>arrays[0]) != _full_ndim(&self.ins[0]) - 1
        for i in range(len(arrays)):
            io = &self.ins[i]
            x = arrays[i]
            self._check_axes(i, x, batched)
            ins[i] = cnp.PyArray_DATA(x)
            n = cnp.PyArray_DIM(x, 0) if batched or io.kind == LRT_LENGTHS and cnp.PyArray_NDIM(x) == 1 else 1
            if batch < 0:
                batch = n
            if n != batch:
                raise InputError(f"input {self.inputs[i].name!r} has a batch of {n}, the inputs before it {batch}")
            if io.kind == LRT_SEQ or io.kind == LRT_IDS:
                t = cnp.PyArray_DIM(x, 1 if batched else 0)
                if steps[io.axis] < 0:
                    steps[io.axis] = t
                elif steps[io.axis] != t:
                    raise InputError(f"input {self.inputs[i].name!r} has {t} steps, "
                                     f"an input before it on its time axis {steps[io.axis]}")
        if batch < least or batch > MAX_BATCH:
            raise InputError(f"the batch is {batch}, expected 1 to {MAX_BATCH}")
        call.batch = <uint32_t>batch
        for i in range(<Py_ssize_t>self.m.n_axes):
            if steps[i] > MAX_STEPS:
                raise InputError(f"{steps[i]} steps are more than {MAX_STEPS}")
            call.steps[i] = <uint32_t>max(steps[i], 0)
        call.inputs = ins
        return batched

    cdef _in_form(self, Py_ssize_t i, x):
        """Input i as an array that the core can read, of any shape. May run code of x's."""
        cdef const lrt_io *io = &self.ins[i]
        if _is_float(io) and _is_ready(x, cnp.NPY_FLOAT32):
            return x
        port = self.inputs[i]
        shape = port.shape[1:] if getattr(x, "ndim", -1) == _full_ndim(io) - 1 else port.shape
        if _is_float(io):
            return _floats(f"input {port.name!r}", shape, x)
        return _int32(f"input {port.name!r}", shape, x)

    cdef int _check_axes(self, Py_ssize_t i, cnp.ndarray x, bint batched) except -1:
        """The number of axes of input i, and its features."""
        cdef const lrt_io *io = &self.ins[i]
        cdef int ndim = _full_ndim(io) - (not batched)
        if io.kind == LRT_LENGTHS and cnp.PyArray_NDIM(x) == 1:
            return 0
        if (cnp.PyArray_NDIM(x) == ndim
                and not (_is_float(io) and cnp.PyArray_DIM(x, ndim - 1) != <cnp.npy_intp>io.size)):
            return 0
        port = self.inputs[i]
        raise _bad_array(f"input {port.name!r}", port.shape if batched else port.shape[1:] or port.shape,
                         "float32" if _is_float(io) else "integers", x)

    cdef int _take_lengths(self, lengths, lrt_call_args *call, const int32_t **lens, list keep, bint batched) except -1:
        """Check the lengths; fill the call's."""
        cdef int axis
        memset(lens, 0, LRT_MAX_AXES * sizeof(lens[0]))
        call.lengths = lens
        if not isinstance(lengths, dict):
            names = [p.name for p in self.inputs if p.kind in ("seq", "ids")]
            if not names:
                raise InputError("lengths are given, but this model has no sequence input")
            if self.m.n_axes != 1:
                raise InputError(f"this model has several time axes: give lengths as a dict of {', '.join(names)}")
            lengths = {names[0]: lengths}
        ports = {p.name: p for p in self.inputs}
        for name, given in dict(lengths).items():
            if name not in ports or ports[name].kind not in ("seq", "ids"):
                near = did_you_mean(name, [n for n in ports if ports[n].kind in ("seq", "ids")])
                raise InputError(f"lengths for {name!r}, which is not a sequence input of this model{near}")
            axis = ports[name].axis
            if any(p.kind == "lengths" and p.axis == axis for p in self.inputs):
                raise InputError(f"the lengths of {name!r} are an input of this model of their own")
            if lens[axis] != NULL:
                raise InputError(f"the lengths of {name!r} are given twice: other inputs share its time axis")
            a = _int32("lengths", ("N",), given)
            if a.ndim != 1 and (batched or a.ndim != 0):
                raise _bad_array("lengths", ("N",), "integers", a)
            if a.size != call.batch:
                raise InputError(f"lengths has {a.size} entries, expected one per row: {call.batch}")
            keep.append(a)
            lens[axis] = <const int32_t *>cnp.PyArray_DATA(<cnp.ndarray>a)
        return 0

    cdef list _take_outputs(self, out, lrt_call_args *call, float **outs, bint batched):
        """The arrays of ``out``, checked, or new ones; fill the call's outputs."""
        cdef Py_ssize_t i
        cdef int ndim
        cdef cnp.npy_intp shape[3]
        cdef list results = []
        given = self._given_outputs(out)
        for i in range(<Py_ssize_t>self.m.n_outputs):
            ndim = _shape_of(&self.outs[i], call, batched, shape)
            y = given[i]
            if y is None:
                y = cnp.PyArray_EMPTY(ndim, shape, cnp.NPY_FLOAT32, 0)
            elif not _is_out(y, ndim, shape):
                raise _bad_out(f"out for {self.outputs[i].name!r}", _tuple(ndim, shape), y)
            results.append(y)
            outs[i] = <float *>cnp.PyArray_DATA(<cnp.ndarray>y)
        call.outputs = outs
        if out is not None and self._share_memory(call):
            raise InputError(_SHARED)
        return results

    cdef tuple _given_outputs(self, out):
        """One entry per output: an array, or None for one that is to be made. A list may change meanwhile."""
        given = tuple(out) if isinstance(out, (tuple, list)) else (out,) * (1 if out is not None else len(self.outputs))
        if len(given) != len(self.outputs):
            raise InputError(f"out holds {len(given)} arrays, this model has {len(self.outputs)} outputs")
        return given

    cdef bint _share_memory(self, const lrt_call_args *call) noexcept:
        """Does an output of the call share memory with an input or with another output?"""
        cdef uint32_t i, o
        cdef size_t size
        for o in range(self.m.n_outputs):
            size = _bytes_of(&self.outs[o], call)
            for i in range(self.m.n_inputs):
                if _overlap(call.outputs[o], size, call.inputs[i], _bytes_of(&self.ins[i], call)):
                    return True
            for i in range(o):
                if _overlap(call.outputs[o], size, call.outputs[i], _bytes_of(&self.outs[i], call)):
                    return True
        return False

    cdef _Session _borrow(self, const lrt_call_args *call, uint32_t most):
        """An idle session that is large enough, or a new one in place of one that is not."""
        cdef lrt_limits need, both
        cdef _Session session
        cdef size_t size
        cdef int i
        need.batch = call.batch
        need.lanes = most
        for i in range(8):
            need.steps[i] = 0 if self.chunked else call.steps[i]
        if self.idle:
            self.idle -= 1
            session = self.pool[self.idle]
            self.pool[self.idle] = None
            if session.holds(&need, self.chunked):
                return session
            # One that holds both shapes, unless it is much larger than either (few long rows, many short).
            both = need
            both.batch = max(need.batch, session.limits.batch)
            both.lanes = max(need.lanes, session.limits.lanes)
            for i in range(8):
                both.steps[i] = max(need.steps[i], session.limits.steps[i])
            size = lrt_session_size(&self.m, &both)
            if 0 < size <= 2 * max(<size_t>session.nbytes, lrt_session_size(&self.m, &need)):
                need = both
            session = None  # free it first
        return _new_session(self, &need)

    cdef _call_error(self, int e, list arrays, const lrt_call_args *call):
        """The exception for an error of lrt_prepare, with the number that is in the way."""
        cdef const int32_t *given
        cdef Py_ssize_t row
        cdef int axis
        if e == LRT_E_TOKEN:
            tables = self._tables()
            for port, x in zip(self.inputs, arrays):
                bad = np.argwhere((x < 0) | (x >= tables[port.name])) if port.name in tables else ()
                if len(bad):
                    at = tuple(bad[0].tolist())
                    return InputError(f"input {port.name!r}: id {x[at]} at {list(at)}, "
                                      f"expected 0 to {tables[port.name] - 1}")
        if e == LRT_E_LENGTH:
            for axis in range(<int>self.m.n_axes):
                what, given = "lengths", call.lengths[axis] if call.lengths != NULL else NULL
                for port, x in zip(self.inputs, arrays):
                    if port.kind == "lengths" and port.axis == axis:
                        what, given = f"input {port.name!r}", <const int32_t *>cnp.PyArray_DATA(<cnp.ndarray>x)
                for row in range(call.batch if given != NULL else 0):
                    if given[row] < 0 or <uint32_t>given[row] > call.steps[axis]:
                        return InputError(f"{what}: {given[row]} at [{row}], expected 0 to {call.steps[axis]}, "
                                          "the number of steps")
        return InputError(lrt_error_text(e).decode())

    def _tables(self):
        """Rows of the smallest embedding table that each ids input meets."""
        graph = self._graph()
        rows = {}
        for node in graph.nodes:
            if node.op == "embedding":
                name = graph.values[node.inputs[0]].name
                rows[name] = min(rows.get(name, 1 << 31), len(node.weights["table"]))
        return rows

    # -- state

    cdef list _slots(self, _Session session):
        cdef lrt_slot slot
        cdef uint32_t i
        if self.slots is None:
            found = []
            for i in range(lrt_slot_count(session.s)):
                lrt_slot_info(session.s, i, &slot)
                found.append((slot.layer, bool(slot.is_cell), slot.directions, slot.size))
            self.slots = found
        return self.slots

    cdef _get_state(self, _Session session, uint32_t row, uint32_t rows, bint batched):
        cdef list arrays = []
        cdef uint32_t i
        for i, (_, _, directions, size) in enumerate(self._slots(session)):
            a = np.empty((directions, rows, size), np.float32)
            lrt_slot_get(session.s, i, row, rows, <float *>cnp.PyArray_DATA(<cnp.ndarray>a))
            arrays.append(a if batched else a[:, 0])
        return _join_state(self.slots, arrays)

    cdef int _set_state(self, _Session session, state, uint32_t row, uint32_t rows, bint batched) except -1:
        cdef uint32_t i
        cdef list arrays = _split_state(self._slots(session), state, (rows,) if batched else ())
        for i, a in enumerate(arrays):
            lrt_slot_set(session.s, i, row, rows, <const float *>cnp.PyArray_DATA(<cnp.ndarray>a))
        return 0

    # -- streams

    def stream(self, batch=1, threads=None):
        """A :class:`Stream`: the model with a state of its own, fed step by step or in chunks.

        Args:
            batch: rows that step together.
            threads: at most this many threads per step; by default the model's.

        Raises:
            InputError: the model needs the whole sequence (a reverse direction, several inputs
                on different time axes, the first step), so it cannot stream.
        """
        return Stream(self, batch, threads)

    def streams(self, capacity, threads=None):
        """A :class:`StreamGroup`: many streams that step together, each with a state of its own.

        Args:
            capacity: most streams that live at the same time.
            threads: at most this many threads per step; by default the model's.

        Raises:
            InputError: the model cannot stream, see :meth:`stream`.
        """
        return StreamGroup(self, capacity, threads)

    # -- inspection

    def _graph(self):
        from .format import loads_graph
        return loads_graph(self._bytes())

    def _bytes(self):
        return (<const char *>self.blob.data)[:self.blob.size]

    @property
    def info(self):
        """Facts about the model as a dict: sizes, layers, parameters, source, kernels. Reads all weights."""
        from ._info import describe
        return describe(self)

    @property
    def kernels(self):
        """Name of the kernel table that runs this model."""
        return lrt_kernels_name(self.k).decode()

    @property
    def can_stream(self):
        """Can the model run step by step?"""
        return bool(lrt_model_streams(&self.m)) and not any([p.kind == "lengths" for p in self.inputs])

    @property
    def nbytes(self):
        """Size of the model file in bytes."""
        return self.blob.size

    def session_nbytes(self, batch=1, steps=0):
        """Bytes of working memory that a call of this batch and number of steps takes."""
        cdef lrt_limits limits
        cdef int i
        _check_count("batch", batch, 1, MAX_BATCH)
        _check_count("steps", steps, 0, MAX_STEPS)
        limits.batch = batch
        limits.lanes = 1
        for i in range(8):
            limits.steps[i] = 0 if self.chunked else steps
        return lrt_session_size(&self.m, &limits)

    def verify(self):
        """Check the checksum, then run the self-test vector that the file carries.

        Returns:
            dict: ``ok``, ``max_abs_err`` and ``outputs`` (per output: name, max_abs_err, ok), or
            ``ok`` None when the file has no self-test.

        Raises:
            FormatError: the checksum is wrong, or the self-test proves nothing: wrong outputs would pass.
        """
        from ._info import verify
        return verify(self)

    def save(self, path):
        """Write the model as a ``.lrt`` file; it appears whole or not at all.

        Symbolic links are followed and the mode of a file that was there is kept; see
        :func:`lstm_rt.files.write_atomically`.
        """
        from .files import write_atomically
        write_atomically(path, self._bytes())

    def __repr__(self):
        ins, outs = ", ".join(map(repr, self.inputs)), ", ".join(map(repr, self.outputs))
        return f"<lstm_rt.Model {ins} -> {outs}, {self.nbytes} bytes, {self.kernels}>"

    def __reduce__(self):
        return _rebuild, (self._bytes(), self.threads)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return Model(self.blob, self.threads, self.kernels)


def _rebuild(blob, threads):
    return Model(blob, threads)


cdef _graph_bytes(source):
    """The bytes of a graph; anything else as it is."""
    if not isinstance(source, (bytes, _Blob)):
        from .graph import Graph
        if isinstance(source, Graph):
            from .format import dumps
            return dumps(source)
    return source


cdef _format_error(int e, const char *blob, Py_ssize_t size):
    text = lrt_error_text(e).decode()
    if e == LRT_E_VERSION:
        version = int.from_bytes(blob[8:12], "little")
        text = f"format version {version}; this runtime reads versions 1 to {LRT_FORMAT_VERSION}"
    return FormatError(f"not a usable .lrt file ({size} bytes): {text}", e)


def validate(blob):
    """Raise FormatError unless these bytes are a valid ``.lrt`` file (checksum aside)."""
    Model(blob, 1)


cdef bint _is_uniform(list slots):
    """All layers of one kind and size: states can be stacked as PyTorch does."""
    per_layer = {}
    for layer, is_cell, _, size in slots:
        per_layer.setdefault(layer, []).append((is_cell, size))
    return len({tuple(v) for v in per_layer.values()}) == 1


cdef _join_state(list slots, list arrays):
    cells = [a for (_, is_cell, _, _), a in zip(slots, arrays) if is_cell]
    hiddens = [a for (_, is_cell, _, _), a in zip(slots, arrays) if not is_cell]
    if not slots:
        return ()
    if _is_uniform(slots):
        h = np.concatenate(hiddens) if len(hiddens) > 1 else hiddens[0]
        if not cells:
            return h
        return h, np.concatenate(cells) if len(cells) > 1 else cells[0]
    layers = {}
    for (layer, _, _, _), a in zip(slots, arrays):
        layers.setdefault(layer, []).append(a)
    return tuple([v[0] if len(v) == 1 else tuple(v) for v in layers.values()])


cdef list _split_state(list slots, state, tuple batch):
    """The arrays of each slot, checked and contiguous, from the form that _join_state gives."""
    cdef list out = []
    if slots and _is_uniform(slots):
        parts = _parts(state, 2 if slots[len(slots) - 1][1] else 1, "state")
        at = [0, 0]
        for _, is_cell, directions, size in slots:
            rows = sum([s[2] for s in slots if s[1] == is_cell])
            a = _state_array(parts[is_cell], is_cell, "", (rows, *batch, size))
            out.append(a[at[is_cell]:at[is_cell] + directions])
            at[is_cell] += directions
        return out
    n_layers = slots[len(slots) - 1][0] + 1 if slots else 0
    state = tuple(state) if isinstance(state, (tuple, list)) else state
    if not isinstance(state, tuple) or len(state) != n_layers:
        got = f"{len(state)} entries" if isinstance(state, tuple) else _array_text(state)
        raise InputError(f"state: got {got}, expected a tuple with one entry for each of {n_layers} recurrent layers")
    for layer, entry in enumerate(state):
        mine = [s for s in slots if s[0] == layer]
        parts = _parts(entry, len(mine), f"state of layer {layer}")
        for (_, is_cell, directions, size), a in zip(mine, parts):
            out.append(_state_array(a, is_cell, f" of layer {layer}", (directions, *batch, size)))
    return out


cdef tuple _parts(state, Py_ssize_t count, str what):
    parts = tuple(state) if isinstance(state, (tuple, list)) else (state,)
    if len(parts) != count:
        got = f"a {type(state).__name__} of {len(state)}" if isinstance(state, (tuple, list)) else _array_text(state)
        raise InputError(f"{what}: got {got}, expected {'a pair (h, c)' if count == 2 else 'one array h'}")
    return parts


cdef _state_array(a, bint is_cell, str where, tuple shape):
    what = f"state {'c' if is_cell else 'h'}{where}"
    a = _floats(what, shape, a)
    if a.shape != shape:
        raise _bad_array(what, shape, "float32", a)
    return a


# -- streams ------------------------------------------------------------------------------------------

include "_streams.pxi"

# -- loading ------------------------------------------------------------------------------------------


def load(path, threads="auto", verify=False, kernels=None, copy=False):
    """Open a ``.lrt`` file.

    The file is mapped, not read: processes share one copy, and opening takes the same time
    whatever its size. The checksum is only read with ``verify``. A mapped file must not be changed
    in place while the model lives; one that is replaced, as :meth:`Model.save` does it, may be.

    Args:
        path: file name.
        threads: ``"auto"`` (all CPUs this process may use) or the most threads a call may use.
        verify: also check the checksum and run the file's self-test vector.
        kernels: name of a kernel table (see :func:`kernels`); by default the environment's
            ``LSTM_RT_KERNELS`` or the best one.
        copy: read the file into memory of its own, so that it may change afterwards.

    Returns:
        Model.

    Raises:
        FormatError: not a valid ``.lrt`` file, or ``verify`` failed.
        OSError: the file cannot be read, or is not a regular file; FileNotFoundError: there is none.
        TypeError: ``path`` is not a file name.
    """
    path = _file_name(path)
    try:
        model = Model(_file_blob(path, copy), threads, kernels)
    except FormatError as e:
        raise FormatError(f"{os.fsdecode(path)}: {e}", e.code) from None
    if verify:
        result = model.verify()
        if result["ok"] is False:
            raise FormatError(f"{os.fsdecode(path)}: the self-test failed: largest error {result['max_abs_err']:.3g}")
    return model


cdef _file_name(path):
    """The name as a string or bytes; the bytes of a model are none."""
    is_name = isinstance(path, str) or isinstance(path, bytes) and b"\0" not in path or hasattr(path, "__fspath__")
    if not is_name:
        raise TypeError(f"load takes a file name, got {_array_text(path)}; "
                        "for the bytes of a model there is lstm_rt.Model")
    return os.fspath(path)
