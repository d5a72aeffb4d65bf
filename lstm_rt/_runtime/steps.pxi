# Steps: what streams and groups of them share.
# Included by _core.pyx.


@cython.internal
cdef class _Running:
    """What streams share: a session that keeps its state, and steps of its first rows."""

    cdef Model model
    cdef _Session session
    cdef object threads  # as given; None: the model's
    cdef uint32_t most
    cdef int32_t *ids  # of one step: what has been checked is what is used
    cdef float *turned  # of one step: shaped inputs and outputs as the core has them
    # Whatever touches the session has set it, to the number of forks and 1: a step releases the GIL, other
    # things run code of arrays.
    cdef int busy
    cdef bint uneven  # outputs have not one step for each of the inputs
    cdef uint32_t changing  # rows whose state the call under way is writing
    cdef _Tracer tracer  # of the call under way
    cdef set torn  # slots whose state is half-written: such a call has not come to its end

    cdef int _open(self, Model model, str what, rows, threads, uint32_t steps) except -1:
        cdef lrt_limits limits
        cdef uint32_t i, node = 0
        cdef const char *obstacle
        cdef size_t ids = sum([max(p.size, 1) for p in model.inputs if p.kind == "ids"])
        if not lrt_model_streams(&model.m):
            from ._info import why_no_stream
            obstacle = lrt_stream_obstacle(&model.m, &node)
            raise InputError(f"this model cannot stream: {why_no_stream(model._graph(), node if obstacle else None)}")
        _check_count(what, rows, 1, MAX_BATCH)
        if any([p.kind == "lengths" for p in model.inputs]):
            raise InputError("a model with lengths as an input cannot stream")
        self.most = model.most if threads is None else _thread_count(threads)
        self.threads = threads
        memset(&limits, 0, sizeof(limits))
        limits.batch = rows
        limits.lanes = self.most
        for i in range(<uint32_t>LRT_MAX_AXES):
            limits.steps[i] = steps
        self.model = model
        self._check_steps()
        self.session = _new_session(model, &limits)
        self.torn = set()
        if ids:
            self.ids = <int32_t *>PyMem_Calloc(ids * <size_t>rows, sizeof(int32_t))
            if self.ids == NULL:
                raise MemoryError
        return self._take_turned(rows)

    cdef int _take_turned(self, uint32_t rows) except -1:
        """Memory for what a step turns."""
        cdef size_t i, floats = 0
        for i in range(self.model.m.n_inputs):
            if _is_turned(&self.model.ins[i], &self.model.in_dims[i], rows):
                floats += self.model.ins[i].size
        for i in range(self.model.m.n_outputs):
            if _is_turned(&self.model.outs[i], &self.model.out_dims[i], rows):
                floats += self.model.outs[i].size
        if floats:
            self.turned = <float *>PyMem_Calloc(floats * <size_t>rows, sizeof(float))
            if self.turned == NULL:
                raise MemoryError
        return 0

    def __dealloc__(self):
        PyMem_Free(self.ids)
        PyMem_Free(self.turned)

    cdef int _check_steps(self) except -1:
        """Does one step give one step?"""
        cdef uint32_t steps[LRT_MAX_AXES]
        cdef uint32_t i
        for i in range(<uint32_t>LRT_MAX_AXES):
            steps[i] = 1
        self.uneven = not lrt_model_steps(&self.model.m, steps)
        for i in range(self.model.m.n_outputs):
            self.uneven |= self.model.outs[i].kind == LRT_SEQ and steps[self.model.outs[i].axis] != 1
        return 0

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
        cdef uint32_t most
        cdef int e
        self._check_whole(0, call.batch)
        call.keep_state = 1
        if self.tracer is not None:
            self.tracer.attach(call)
        e = _run_short(self.session.s, call)
        if e >= 0:
            return e
        most = _allowed(self.most)
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
        cdef const void *ins[LRT_MAX_IO]
        cdef float *outs[LRT_MAX_IO]
        cdef float *theirs[LRT_MAX_IO]  # where outputs go in the end
        cdef uint32_t i
        cdef int32_t *ids = self.ids
        cdef int e
        cdef bint flat = False
        if 1 + len(more) != <Py_ssize_t>model.m.n_inputs:
            raise _wrong_count(model, 1 + len(more))
        if self.uneven:
            raise InputError("this model does not give one step for each step of its inputs: feed it")
        for i in range(model.m.n_inputs):
            given = more[i - 1] if i else x
            a = self._step_input(i, given, rows, may_be_flat)
            if a is not given:  # keep it
                x, more = (a, more) if i == 0 else (x, more[:i - 1] + (a,) + more[i:])
            if i == 0:
                flat = may_be_flat and not _is_step(a, &model.in_dims[0], rows, False)
            ins[i] = cnp.PyArray_DATA(<cnp.ndarray>a)
            if model.ins[i].kind == LRT_IDS:
                ins[i] = memcpy(ids, ins[i], rows * _per_step(&model.ins[i]) * sizeof(int32_t))
                ids += rows * _per_step(&model.ins[i])
        if model.m.n_outputs == 1 and not isinstance(out, (tuple, list)):
            results = self._step_output(0, out, rows, flat, outs)
        else:
            given = _given_outputs(model, out)
            results = tuple([self._step_output(i, given[i], rows, flat, outs) for i in range(model.m.n_outputs)])
            results = results[0] if model.m.n_outputs == 1 else results
        memset(&call, 0, sizeof(call))
        call.batch = rows
        for i in range(model.m.n_axes):
            call.steps[i] = 1
        call.inputs = ins
        call.outputs = outs
        if out is not None and _share_memory(model, &call):
            raise InputError(_SHARED)
        if self.turned != NULL:
            memcpy(theirs, outs, sizeof(outs))
            self._turn_inputs(ins, rows)
            self._turn_outputs(outs, theirs, rows, False)
        e = self._run(&call)
        if self.turned != NULL and e == LRT_OK:
            self._turn_outputs(outs, theirs, rows, True)
        if e != LRT_OK:
            raise _call_error(model, e, [a.reshape(rows, -1) if p.kind == "ids" else a
                                        for p, a in zip(model.inputs, (x, *more))], &call)
        return results

    cdef void _turn_inputs(self, const void **ins, uint32_t rows) noexcept:
        cdef uint32_t i
        cdef float *at = self.turned
        cdef const lrt_io *io
        for i in range(self.model.m.n_inputs):
            io = &self.model.ins[i]
            if _is_turned(io, &self.model.in_dims[i], rows):
                _turn(&self.model.in_dims[i], io.size, rows, at, <float *>ins[i], False)
                ins[i] = at
                at += <size_t>rows * io.size

    cdef void _turn_outputs(self, float **outs, float **theirs, uint32_t rows, bint back) noexcept:
        """Give the call places for its outputs behind the inputs; then copy them to theirs."""
        cdef uint32_t i
        cdef float *at = self.turned
        cdef const lrt_io *io
        for i in range(self.model.m.n_inputs):
            if _is_turned(&self.model.ins[i], &self.model.in_dims[i], rows):
                at += <size_t>rows * self.model.ins[i].size
        for i in range(self.model.m.n_outputs):
            io = &self.model.outs[i]
            if not _is_turned(io, &self.model.out_dims[i], rows):
                continue
            if back:
                _turn(&self.model.out_dims[i], io.size, rows, at, theirs[i], True)
            outs[i] = at
            at += <size_t>rows * io.size

    cdef _step_input(self, uint32_t i, x, uint32_t rows, bint may_be_flat):
        """The array of input i for one step, in form and of the right shape; ids as int32."""
        cdef const lrt_io *io = &self.model.ins[i]
        cdef const _Dims *dims = &self.model.in_dims[i]
        if not _is_ready(x, cnp.NPY_FLOAT32 if _is_float(io) else cnp.NPY_INT32):
            x = self._in_form(i, x, rows, may_be_flat)
        if not _is_step(x, dims, rows, False) and not (may_be_flat and _is_step(x, dims, rows, True)):
            port = self.model.inputs[i]
            raise _bad_array(f"input {port.name!r}", _step_shape(dims, rows, may_be_flat and _seems_flat(x, dims)),
                             "float32" if _is_float(io) else "integers", x)
        return x

    cdef _in_form(self, uint32_t i, x, uint32_t rows, bint may_be_flat):
        port = self.model.inputs[i]
        flat = may_be_flat and _seems_flat(x, &self.model.in_dims[i])
        what, shape = f"input {port.name!r}", _step_shape(&self.model.in_dims[i], rows, flat)
        if _is_float(&self.model.ins[i]):
            return _floats(what, shape, x)
        return _int32(what, shape, x)

    cdef _step_output(self, uint32_t i, y, uint32_t rows, bint flat, float **outs):
        """The array for output i of one step, checked or made; its address goes to outs."""
        cdef cnp.npy_intp shape[MOST_AXES]
        cdef int ndim = _shape_of(&self.model.out_dims[i], -1 if flat else <Py_ssize_t>rows, -1, shape)
        if y is None:
            y = cnp.PyArray_EMPTY(ndim, shape, cnp.NPY_FLOAT32, 0)
        elif not _is_out(y, ndim, shape):
            port = self.model.outputs[i]
            raise _bad_out(f"out for {port.name!r}", _step_shape(&self.model.out_dims[i], rows, flat), y)
        outs[i] = <float *>cnp.PyArray_DATA(<cnp.ndarray>y)
        return y


cdef inline bint _is_step(cnp.ndarray x, const _Dims *dims, uint32_t rows, bint flat) noexcept:
    cdef cnp.npy_intp shape[MOST_AXES]
    return _has_shape(x, _shape_of(dims, -1 if flat else <Py_ssize_t>rows, -1, shape), shape)


cdef tuple _step_shape(const _Dims *dims, uint32_t rows, bint flat):
    cdef cnp.npy_intp shape[MOST_AXES]
    return _tuple(_shape_of(dims, -1 if flat else <Py_ssize_t>rows, -1, shape), shape)


cdef bint _seems_flat(x, const _Dims *dims):
    """Does it look like a step without rows? Lists and numbers do."""
    cdef cnp.npy_intp shape[MOST_AXES]
    return getattr(x, "ndim", 1) <= max(1, _shape_of(dims, -1, -1, shape))
