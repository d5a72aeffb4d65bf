# Models that keep their state from call to call: one stream, or many that step together.
# Included by _core.pyx.


@cython.internal
cdef class _Running:
    """What streams share: a session that keeps its state, and steps of its first rows."""

    cdef Model model
    cdef _Session session
    cdef object threads  # as given; None: the model's
    cdef uint32_t most
    cdef int32_t *ids  # of one step: what has been checked is what is used
    # Whatever touches the session has set it, to the number of forks and 1: a step releases the GIL, other
    # things run code of arrays.
    cdef int busy
    cdef uint32_t changing  # rows whose state the call under way is writing
    cdef set torn  # slots whose state is half-written: such a call has not come to its end

    cdef int _open(self, Model model, str what, rows, threads, uint32_t steps) except -1:
        cdef lrt_limits limits
        cdef size_t ids = sum([p.kind == "ids" for p in model.inputs])
        if not lrt_model_streams(&model.m):
            raise InputError(f"this model cannot stream: {lrt_error_text(39).decode()}")
        _check_count(what, rows, 1, MAX_BATCH)
        if any([p.kind == "lengths" for p in model.inputs]):
            raise InputError("a model with lengths as an input cannot stream")
        self.most = model.most if threads is None else _thread_count(threads)
        self.threads = threads
        memset(&limits, 0, sizeof(limits))
        limits.batch = rows
        limits.lanes = self.most
        limits.steps[0] = steps
        self.model = model
        self.session = _new_session(model, &limits)
        self.torn = set()
        if ids:
            self.ids = <int32_t *>PyMem_Calloc(ids * <size_t>rows, sizeof(int32_t))
            if self.ids == NULL:
                raise MemoryError
        return 0

    def __dealloc__(self):
        PyMem_Free(self.ids)

    cdef int _begin(self) except -1:
        """Nothing runs between the question and the answer, so the GIL makes them one."""
        if self.busy == _forks + 1:
            raise InputError(f"this {type(self).__name__} is in use already, by another thread or by "
                             "a call that this one comes from; give each one of its own")
        if self.busy:  # by a thread that stayed behind when the process was forked
            self._tear()
        self.busy = _forks + 1
        return 0

    cdef list _slots_of(self, uint32_t row, uint32_t rows):
        """What keeps its place while streams move from row to row."""
        return [0]

    cdef int _tear(self) except -1:
        """The call that was changing rows will not go on."""
        self.torn.update(self._slots_of(0, self.changing) if self.changing else ())
        self.changing = 0
        return 0

    cdef int _mend(self, uint32_t row) except -1:
        """The state of a row has been set anew."""
        if self.torn:
            self.torn.difference_update(self._slots_of(row, 1))
        return 0

    cdef int _check_whole(self, uint32_t row, uint32_t rows) except -1:
        if self.torn and not self.torn.isdisjoint(self._slots_of(row, rows)):
            raise InputError("the state of this stream is half-written, because a call on it was interrupted, or its "
                             "process was forked during one; reset the stream or set its state")
        return 0

    cdef int _run(self, lrt_call_args *call) except -1:
        """Run one call on the session's state; returns the core's error code."""
        cdef uint32_t most = _allowed(self.most)
        self._check_whole(0, call.batch)
        call.keep_state = 1
        self.changing = call.batch
        try:
            return _execute(self.session.s, call, most)
        except BaseException:  # from a signal handler
            self._tear()
            raise
        finally:
            self.changing = 0

    cdef _step(self, x, tuple more, out, uint32_t rows, bint may_be_flat):
        """One step of the first rows. Arrays are (rows, size), or (size,) where they may be flat."""
        cdef Model model = self.model
        cdef lrt_call_args call
        cdef const void *ins[MAX_IO]
        cdef float *outs[MAX_IO]
        cdef uint32_t i
        cdef int32_t *ids = self.ids
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
            if model.ins[i].kind == LRT_IDS:
                ins[i] = memcpy(ids, ins[i], rows * sizeof(int32_t))
                ids += rows
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
        """The array of input i for one step, in form and of the right shape; ids as int32."""
        cdef const lrt_io *io = &self.model.ins[i]
        if not _is_ready(x, cnp.NPY_FLOAT32 if _is_float(io) else cnp.NPY_INT32):
            x = self._in_form(i, x, rows, may_be_flat)
        if not _is_step(x, io, rows, False) and not (may_be_flat and _is_step(x, io, rows, True)):
            port = self.model.inputs[i]
            raise _bad_array(f"input {port.name!r}", _step_shape(port, rows, may_be_flat and x.ndim < 2),
                             "float32" if _is_float(io) else "integers", x)
        return x

    cdef _in_form(self, uint32_t i, x, uint32_t rows, bint may_be_flat):
        port = self.model.inputs[i]
        what, shape = f"input {port.name!r}", _step_shape(port, rows, may_be_flat and getattr(x, "ndim", 1) < 2)
        if _is_float(&self.model.ins[i]):
            return _floats(what, shape, x)
        return _int32(what, shape, x)

    cdef _step_output(self, uint32_t i, y, uint32_t rows, bint flat, float **outs):
        """The array for output i of one step, checked or made; its address goes to outs."""
        cdef cnp.npy_intp *shape = [rows, self.model.outs[i].size]
        if y is None:
            y = cnp.PyArray_EMPTY(2 - flat, shape + flat, cnp.NPY_FLOAT32, 0)
        elif not _is_out(y, 2 - flat, shape + flat):
            port = self.model.outputs[i]
            raise _bad_out(f"out for {port.name!r}", _step_shape(port, rows, flat), y)
        outs[i] = <float *>cnp.PyArray_DATA(<cnp.ndarray>y)
        return y


cdef inline bint _is_step(cnp.ndarray x, const lrt_io *io, uint32_t rows, bint flat) noexcept:
    """Has it the shape (rows, size), or (size,) if flat; of ids (rows,), or ()?"""
    cdef cnp.npy_intp *shape = [rows, io.size]
    if io.kind == LRT_IDS:
        return _has_shape(x, 1 - flat, shape)
    return _has_shape(x, 2 - flat, shape + flat)


cdef tuple _step_shape(port, uint32_t rows, bint flat):
    return (rows,) if port.kind == "ids" else (port.size,) if flat else (rows, port.size)


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
        """A chunk of steps: ``(T, F)`` for a batch of 1 or ``(N, T, F)``; returns outputs alike.

        A signal whose handler raises ends it, in the main thread. The stream is of no use then before
        :meth:`reset`, or before its :attr:`state` is set.
        """
        self._begin()
        try:
            return self._feed((x, *more), out)
        finally:
            self.busy = False

    def reset(self):
        """Back to zero state."""
        self._begin()
        lrt_session_reset(self.session.s)
        self.torn.clear()
        self.busy = False

    @property
    def state(self):
        """The state, in the form of ``Model.__call__``'s; a copy. May be set, to resume from it."""
        self._begin()
        try:
            self._check_whole(0, 1)
            return self.model._get_state(self.session, 0, self.batch, True)
        finally:
            self.busy = False

    @state.setter
    def state(self, value):
        self._begin()
        try:
            self.model._set_state(self.session, value, 0, self.batch, True)
            self._mend(0)
        finally:
            self.busy = False

    def __reduce__(self):
        return _stream_again, (self.model, self.batch, self.threads, self.state)

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


def _stream_again(model, batch, threads, state):
    """A copy of a stream: it goes on from where the other was."""
    stream = Stream(model, batch, threads)
    stream.state = state
    return stream


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
        self._begin()
        try:
            return self._join(state)
        finally:
            self.busy = False

    cdef _join(self, state):
        cdef Py_ssize_t row = len(self.slots)
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
        cdef uint32_t last
        self._begin()
        try:
            key = self._key(key)
            last = len(self.slots) - 1
            self._swap(self.row_of[<uint32_t>self.slots[key]], last)
            lrt_row_reset(self.session.s, last)
            self._mend(last)
            del self.slots[key]
        finally:
            self.busy = False

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

    def feed(self, x, *more, keys=None, out=None):
        """A chunk of steps of some streams together: ``(K, T, F)``, ids ``(K, T)``; returns outputs alike.

        Arguments as in :meth:`step`; the results are the bits of that many steps.
        """
        self._begin()
        try:
            return self._feed([x, *more], keys, out)
        finally:
            self.busy = False

    cdef _feed(self, list arrays, keys, out):
        """One call that goes on from the streams' states and leaves its own in their place."""
        cdef Model model = self.model
        cdef lrt_call_args call
        cdef const void *ins[MAX_IO]
        cdef float *outs[MAX_IO]
        cdef uint32_t rows = self._line_up(keys)
        if not model._take_inputs(arrays, &call, ins, 0):
            port = model.inputs[0]
            dtype = "integers" if port.kind == "ids" else "float32"
            raise _bad_array(f"input {port.name!r}", port.shape, dtype, arrays[0])
        if call.batch != rows:
            raise InputError(f"{rows} streams take these steps, the input has {call.batch} rows")
        if rows == 0:
            results = model._take_outputs(out, &call, outs, True)
            return results[0] if len(results) == 1 else tuple(results)
        self._check_whole(0, rows)
        state = model._get_state(self.session, 0, rows, True)
        results, state = Model.__call__(model, *arrays, state=state, return_state=True, out=out, threads=self.most)
        model._set_state(self.session, state, 0, rows, True)
        return results

    def reset(self, key):
        """One stream back to zero state."""
        self._begin()
        try:
            lrt_row_reset(self.session.s, self._row(key))
            self._mend(self._row(key))
        finally:
            self.busy = False

    def state(self, key):
        """One stream's state, in the form of :attr:`Stream.state` for a batch of 1; a copy."""
        self._begin()
        try:
            self._check_whole(self._row(key), 1)
            return self.model._get_state(self.session, self._row(key), 1, True)
        finally:
            self.busy = False

    def set_state(self, key, state):
        """Let one stream go on from ``state``."""
        self._begin()
        try:
            self.model._set_state(self.session, state, self._row(key), 1, True)
            self._mend(self._row(key))
        finally:
            self.busy = False

    def __reduce__(self):
        cdef uint32_t rows
        self._begin()
        try:
            rows = self._line_up(None)
            self._check_whole(0, rows)
            state = self.model._get_state(self.session, 0, rows, True) if rows else None
            return _group_again, (self.model, self.capacity, self.threads, self.joined, list(self.slots), state)
        finally:
            self.busy = False

    cdef list _slots_of(self, uint32_t row, uint32_t rows):
        cdef uint32_t i
        return [self.slot_at[row + i] for i in range(rows)]

    cdef uint32_t _row(self, key) except? 0xffffffff:
        return self.row_of[<uint32_t>self.slots[self._key(key)]]

    cdef _key(self, key):
        """The key of a live stream, as the integer that it is."""
        number = int(key) if isinstance(key, (int, np.integer)) else None
        if number is None or number not in self.slots:
            left = number is not None and 0 <= number < self.joined
            raise InputError(f"stream {number} has left this group" if left else f"{key!r} is not the key of a stream")
        return number

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
            slot = self.slots[self._key(key)]
            if self.row_of[slot] < n:  # one of those that have come to the front
                raise InputError(f"keys: stream {key} is given twice, at [{self.row_of[slot]}] and [{n}]")
            self._swap(n, self.row_of[slot])
            n += 1
        return n


def _group_again(model, capacity, threads, joined, keys, state):
    """A copy of a group: the same keys, and their streams go on from where the others were."""
    cdef StreamGroup group = StreamGroup(model, capacity, threads)
    if not isinstance(joined, int) or len(set(keys)) != len(keys) or not all([0 <= k < joined for k in keys]):
        raise InputError("this is not the copy of a group")
    for key in keys:
        group.joined = key
        group._join(None)
    group.joined = joined
    if keys:
        group.model._set_state(group.session, state, 0, len(keys), True)
    return group


cdef list _key_list(keys):
    if not isinstance(keys, np.ndarray) or keys.ndim != 1:
        raise InputError(f"keys: got {_array_text(keys)}, expected a list of the keys of live streams")
    return keys.tolist()
