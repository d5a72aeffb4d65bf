# Groups: many streams of one model that step together.
# Included by _core.pyx.


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
        if model.in_dims[0].batch < 0 and self.uneven:
            raise InputError("this model has no batch axis, and does not give one step for each step of its inputs: "
                             "give each of several streams a stream of its own")
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
            _set_state(self.model, self.session, state, row, 1, True)
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
        cdef const void *ins[LRT_MAX_IO]
        cdef float *outs[LRT_MAX_IO]
        cdef uint32_t rows = self._line_up(keys)
        if model.in_dims[0].batch < 0:
            raise InputError("this model has no batch axis, so a chunk has no place for several streams: step them")
        if not _take_inputs(model, arrays, &call, ins, 0):
            port = model.inputs[0]
            dtype = "integers" if port.kind == "ids" else "float32"
            raise _bad_array(f"input {port.name!r}", port.shape, dtype, arrays[0])
        if call.batch != rows:
            raise InputError(f"{rows} streams take these steps, the input has {call.batch} rows")
        if rows == 0:
            results = _take_outputs(model, out, &call, outs, True)
            return results[0] if len(results) == 1 else tuple(results)
        self._check_whole(0, rows)
        state = _get_state(model, self.session, 0, rows, True)
        results, state = Model.__call__(model, *arrays[:model.m.n_inputs], state=state, return_state=True, out=out, threads=self.most)
        _set_state(model, self.session, state, 0, rows, True)
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
            return _get_state(self.model, self.session, self._row(key), 1, True)
        finally:
            self.busy = False

    def set_state(self, key, state):
        """Let one stream go on from ``state``."""
        self._begin()
        try:
            _set_state(self.model, self.session, state, self._row(key), 1, True)
            self._mend(self._row(key))
        finally:
            self.busy = False

    def __repr__(self):
        return f"<lstm_rt.StreamGroup of {len(self)} of {self.capacity} streams, {self.model!r}>"

    def _repr_html_(self):
        from ._html import stream_html
        return stream_html(self, self.model)

    def __reduce__(self):
        cdef uint32_t rows
        self._begin()
        try:
            rows = self._line_up(None)
            self._check_whole(0, rows)
            state = _get_state(self.model, self.session, 0, rows, True) if rows else None
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
        _set_state(group.model, group.session, state, 0, len(keys), True)
    return group


cdef list _key_list(keys):
    if not isinstance(keys, np.ndarray) or keys.ndim != 1:
        raise InputError(f"keys: got {_array_text(keys)}, expected a list of the keys of live streams")
    return keys.tolist()
