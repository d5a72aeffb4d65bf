# Models that keep their state from call to call: one stream, or many that step together.
# Included by _core.pyx.


@cython.internal
cdef class _Running:
    """What streams share: a session that keeps its state, and steps of its first rows."""

    cdef Model model
    cdef _Session session
    cdef uint32_t most
    cdef bint busy  # in a step, which releases the GIL

    cdef int _open(self, Model model, str what, rows, threads, uint32_t steps) except -1:
        cdef lrt_limits limits
        if not lrt_model_streams(&model.m):
            raise InputError(f"this model cannot stream: {lrt_error_text(39).decode()}")
        if isinstance(rows, bool) or not isinstance(rows, int) or not 1 <= rows <= MAX_BATCH:
            raise InputError(f"{what} is {rows!r}, expected an integer from 1 to {MAX_BATCH}")
        if any([p.kind == "lengths" for p in model.inputs]):
            raise InputError("a model with lengths as an input cannot stream")
        self.most = model.most if threads is None else _thread_count(threads)
        memset(&limits, 0, sizeof(limits))
        limits.batch = rows
        limits.lanes = self.most
        limits.steps[0] = steps
        self.model = model
        self.session = _new_session(model, &limits)
        self.busy = False
        return 0

    cdef int _check_idle(self) except -1:
        if self.busy:
            raise InputError(f"this {type(self).__name__} is in use by another thread; give each thread one of its own")
        return 0

    cdef int _begin(self) except -1:
        self._check_idle()
        self.busy = True
        return 0

    cdef int _run(self, lrt_call_args *call) noexcept:
        """Run one call on the session's state; returns the core's error code."""
        cdef int e
        cdef uint32_t most = 1 if _forked else self.most
        call.keep_state = 1
        with nogil:
            e = _execute(self.session.s, call, most)
        return e

    cdef _step(self, x, tuple more, out, uint32_t rows, bint may_be_flat):
        """One step of the first rows. Arrays are (rows, size), or (size,) where they may be flat."""
        cdef Model model = self.model
        cdef lrt_call_args call
        cdef const void *ins[MAX_IO]
        cdef float *outs[MAX_IO]
        cdef uint32_t i
        cdef int e
        cdef bint flat = False
        if 1 + len(more) != <Py_ssize_t>model.m.n_inputs:
            raise model._wrong_count(1 + len(more))
        for i in range(model.m.n_inputs):
            given = more[i - 1] if i else x
            a = self._step_input(i, given, rows, may_be_flat)
            if a is not given:  # keep it
                x, more = (a, more) if i == 0 else (x, more[:i - 1] + (a,) + more[i:])
            if i == 0:
                flat = may_be_flat and cnp.PyArray_NDIM(<cnp.ndarray>a) < (1 if model.ins[0].kind == LRT_IDS else 2)
            ins[i] = cnp.PyArray_DATA(<cnp.ndarray>a)
        if model.m.n_outputs == 1 and not isinstance(out, (tuple, list)):
            results = self._step_output(0, out, rows, flat, outs)
        else:
            given = model._given_outputs(out)
            results = tuple([self._step_output(i, given[i], rows, flat, outs) for i in range(model.m.n_outputs)])
            results = results[0] if model.m.n_outputs == 1 else results
        memset(&call, 0, sizeof(call))
        call.batch = rows
        call.steps[0] = 1
        call.inputs = ins
        call.outputs = outs
        if out is not None and model._share_memory(&call):
            raise InputError(_SHARED)
        e = self._run(&call)
        if e != LRT_OK:
            raise model._call_error(e, [a.reshape(rows, 1) if p.kind == "ids" else a
                                        for p, a in zip(model.inputs, (x, *more))], &call)
        return results

    cdef _step_input(self, uint32_t i, x, uint32_t rows, bint may_be_flat):
        """The array of input i for one step, checked; ids as int32."""
        cdef const lrt_io *io = &self.model.ins[i]
        if io.kind != LRT_IDS:
            if _is_step(x, rows, io.size, False) or may_be_flat and _is_step(x, rows, io.size, True):
                return x
            raise _bad_step("input", self.model.inputs[i], x, rows, may_be_flat and getattr(x, "ndim", 1) < 2)
        if _is_array(x, cnp.NPY_INT32, 1) and cnp.PyArray_DIM(<cnp.ndarray>x, 0) == rows:
            return x
        port = self.model.inputs[i]
        a = _as_array(f"input {port.name!r}", (rows,), "int32", x)
        if (a.dtype.kind not in "iu" or a.size != rows or a.ndim != 1 and not (may_be_flat and a.ndim == 0)
                or isinstance(x, np.ndarray) and not _is_plain(x)):
            raise _bad_step("input", port, x, rows, False)
        return _int32(f"input {port.name!r}", a.shape, a)

    cdef _step_output(self, uint32_t i, y, uint32_t rows, bint flat, float **outs):
        """The array for output i of one step, checked or made; its address goes to outs."""
        cdef cnp.npy_intp *shape = [rows, self.model.outs[i].size]
        if y is None:
            y = cnp.PyArray_EMPTY(2 - flat, shape + flat, cnp.NPY_FLOAT32, 0)
        elif not _is_f32(y, 2 - flat, shape + flat) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>y):
            raise _bad_step("out for", self.model.outputs[i], y, rows, flat)
        outs[i] = <float *>cnp.PyArray_DATA(<cnp.ndarray>y)
        return y


cdef inline bint _is_step(x, uint32_t rows, uint32_t size, bint flat) noexcept:
    """float32 (rows, size), or (size,) if flat."""
    cdef cnp.npy_intp *shape = [rows, size]
    return _is_f32(x, 2 - flat, shape + flat)


cdef _bad_step(str what, port, x, uint32_t rows, bint flat):
    shape = (rows,) if port.kind == "ids" else (port.size,) if flat else (rows, port.size)
    return _bad_array(f"{what} {port.name!r}", shape, "writeable float32" if what == "out for" else port.dtype, x)


@cython.final
cdef class Stream(_Running):
    """A model with its own running state. Not for use by several threads at once.

    ``step`` takes one time step and ``feed`` a chunk of them; however a sequence is cut, the
    results are the same bits. After the first call nothing is allocated when ``out`` is given.
    """

    cdef readonly int batch

    def __cinit__(self, Model model not None, batch=1, threads=None):
        self._open(model, "batch", batch, threads, 0)
        self.batch = batch

    def step(self, x, *more, out=None):
        """One time step: float32 ``(F,)`` for a batch of 1 or ``(N, F)``; ids ``(N,)`` or one integer.

        Returns the output(s) of this step, ``(F,)`` or ``(N, F)`` like the input, in ``out`` if given.
        """
        self._begin()
        try:
            return self._step(x, more, out, self.batch, self.batch == 1)
        finally:
            self.busy = False

    def feed(self, x, *more, out=None):
        """A chunk of steps: ``(T, F)`` for a batch of 1 or ``(N, T, F)``; returns outputs alike."""
        self._begin()
        try:
            return self._feed((x, *more), out)
        finally:
            self.busy = False

    def reset(self):
        """Back to zero state."""
        self._check_idle()
        lrt_session_reset(self.session.s)

    @property
    def state(self):
        """The state, in the form of ``Model.__call__``'s; a copy. May be set, to resume from it."""
        self._check_idle()
        return self.model._get_state(self.session, 0, self.batch, True)

    @state.setter
    def state(self, value):
        self._check_idle()
        self.model._set_state(self.session, value, 0, self.batch, True)

    cdef _feed(self, tuple arrays, out):
        cdef Model model = self.model
        cdef lrt_call_args call
        cdef const void *ins[MAX_IO]
        cdef float *outs[MAX_IO]
        cdef list keep = list(arrays), results
        cdef bint batched = model._take_inputs(keep, &call, ins)
        cdef int e
        if call.batch != <uint32_t>self.batch:
            raise InputError(f"the stream has a batch of {self.batch}, the input {call.batch}")
        results = model._take_outputs(out, &call, outs, batched)
        e = self._run(&call)
        if e != LRT_OK:
            raise model._call_error(e, keep, &call)
        return results[0] if len(results) == 1 else tuple(results)


@cython.final
cdef class StreamGroup(_Running):
    """Many streams of one model that step together, as one batch. Not for use by several threads at once.

    Streams join and leave at any time. Each has a key, an integer that no other stream of the group
    will ever have, and a state of its own: it gives the bits that it would give alone.
    """

    cdef readonly int capacity
    cdef dict slots  # of each key, in the order of joining
    cdef uint32_t *row_of  # of each slot
    cdef uint32_t *slot_at  # of each row; live streams have the first rows
    cdef Py_ssize_t joined  # streams so far: the next key

    def __cinit__(self, Model model not None, capacity, threads=None):
        cdef uint32_t i
        self._open(model, "capacity", capacity, threads, 1)
        self.capacity = capacity
        self.slots = {}
        self.joined = 0
        self.row_of = <uint32_t *>PyMem_Calloc(capacity, 2 * sizeof(uint32_t))
        if self.row_of == NULL:
            raise MemoryError
        self.slot_at = self.row_of + self.capacity
        for i in range(<uint32_t>self.capacity):
            self.row_of[i] = self.slot_at[i] = i

    def __dealloc__(self):
        PyMem_Free(self.row_of)

    def __len__(self):
        return len(self.slots)

    def __contains__(self, key):
        return key in self.slots

    @property
    def keys(self):
        """The keys of the live streams, in the order of joining; a new list."""
        return list(self.slots)

    def join(self, state=None):
        """A new stream, from zero state or from ``state`` in the form of :meth:`state`; returns its key.

        Raises:
            InputError: ``capacity`` streams are live, or the state is not one of this model.
        """
        cdef Py_ssize_t row = len(self.slots)
        self._check_idle()
        if row == self.capacity:
            raise InputError(f"the group is full: {row} streams are live, its capacity")
        if state is not None:
            self.model._set_state(self.session, state, row, 1, True)
        key = self.joined
        self.slots[key] = self.slot_at[row]
        self.joined += 1
        return key

    def leave(self, key):
        """End a stream; its place is free for another one."""
        cdef uint32_t row = self._row(key), last = len(self.slots) - 1
        self._swap(row, last)
        lrt_row_reset(self.session.s, last)
        del self.slots[key]

    def step(self, x, *more, keys=None, out=None):
        """One time step of some streams together.

        Args:
            x, *more: one array per input, with a row for each stream: float32 ``(K, F)``, ids ``(K,)``.
            keys: the streams that take the step, in the order of the rows: a list, tuple or array of
                K keys. By default all, in the order of :attr:`keys`. Others keep their state.
            out: array(s) to write the output(s) into: float32 ``(K, size)``. With it, nothing is
                allocated after the first call.

        Returns:
            The output(s) of this step, ``(K, size)``.

        Raises:
            InputError: an array is not what the model expects, or a key is not that of a live
                stream or is given twice. No stream has taken the step then.
        """
        self._begin()
        try:
            return self._step(x, more, out, self._line_up(keys), False)
        finally:
            self.busy = False

    def reset(self, key):
        """One stream back to zero state."""
        lrt_row_reset(self.session.s, self._row(key))

    def state(self, key):
        """One stream's state, in the form of :attr:`Stream.state` for a batch of 1; a copy."""
        return self.model._get_state(self.session, self._row(key), 1, True)

    def set_state(self, key, state):
        """Let one stream go on from ``state``."""
        self.model._set_state(self.session, state, self._row(key), 1, True)

    cdef uint32_t _row(self, key) except? 0xffffffff:
        self._check_idle()
        return self.row_of[self._slot(key)]

    cdef uint32_t _slot(self, key) except? 0xffffffff:
        number = isinstance(key, int) or isinstance(key, np.integer)
        slot = self.slots.get(key) if number else None
        if slot is None:
            left = number and 0 <= key < self.joined
            raise InputError(f"stream {key} has left this group" if left else f"{key!r} is not the key of a stream")
        return slot

    cdef void _swap(self, uint32_t a, uint32_t b) noexcept:
        """Exchange the rows of two streams."""
        cdef uint32_t slot = self.slot_at[a]
        if a == b:
            return
        lrt_row_swap(self.session.s, a, b)
        self.slot_at[a], self.slot_at[b] = self.slot_at[b], slot
        self.row_of[self.slot_at[a]], self.row_of[slot] = a, b

    cdef uint32_t _line_up(self, keys) except? 0xffffffff:
        """Bring streams to the first rows, in the order of their keys; returns their number."""
        cdef uint32_t slot, n = 0
        if keys is None:
            for slot in self.slots.values():
                self._swap(n, self.row_of[slot])
                n += 1
            return n
        if not isinstance(keys, (list, tuple)):
            keys = _key_list(keys)
        for key in keys:
            slot = self._slot(key)
            if self.row_of[slot] < n:  # one of those that have come to the front
                raise InputError(f"keys: stream {key} is given twice, at [{self.row_of[slot]}] and [{n}]")
            self._swap(n, self.row_of[slot])
            n += 1
        return n


cdef list _key_list(keys):
    if not isinstance(keys, np.ndarray) or keys.ndim != 1:
        raise InputError(f"keys: got {_array_text(keys)}, expected a list of the keys of live streams")
    return keys.tolist()
