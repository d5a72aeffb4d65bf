# Streams: models that keep their state from call to call.
# Included by _core.pyx.


@cython.final
cdef class Stream(_Running):
    """A model with its own running state. Not for use by several threads at once.

    ``step`` takes one time step and ``feed`` a chunk of them; however a sequence is cut, the
    results are the same bits. After the first call nothing is allocated when ``out`` is given.
    """

    cdef readonly int batch

    def __cinit__(self, Model model not None, batch=1, threads=None):
        self._open(model, "batch", batch, threads, 0)
        if model.in_dims[0].batch < 0 and batch != 1:
            raise InputError(f"batch is {batch}, but this model has no batch axis: streams(capacity) steps several")
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

    def trace_step(self, x, *more, layers=None):
        """One time step, as :meth:`step` makes it, with what the layers compute on the way.

        Args:
            x, *more: as in :meth:`step`.
            layers: as in :meth:`Model.trace`.

        Returns:
            :class:`lstm_rt.trace.Trace`, of arrays without an axis for the steps, and without one for the rows where the
            outputs have none.
        """
        cdef lrt_call_args call
        cdef tuple wanted
        self._begin()
        try:
            wanted = self.model._layers(layers)
            memset(&call, 0, sizeof(call))
            call.batch = self.batch
            for i in range(LRT_MAX_AXES):
                call.steps[i] = 1
            self.tracer = tracer = _tracer_of(self.model, wanted, &call)
            y = self._step(x, more, None, self.batch, self.batch == 1)
            state = _get_state(self.model, self.session, 0, self.batch, True)
        finally:
            self.tracer = None
            self.busy = False
        from .trace import Trace
        first = y[0] if isinstance(y, tuple) else y
        flat = self.batch == 1 and first.ndim == len(_step_shape(&self.model.out_dims[0], 1, True))
        return Trace(self.model, wanted, tracer.arrays, [x, *more], y, state, "step" if flat else "steps")

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
            return _get_state(self.model, self.session, 0, self.batch, True)
        finally:
            self.busy = False

    @state.setter
    def state(self, value):
        self._begin()
        try:
            _set_state(self.model, self.session, value, 0, self.batch, True)
            self._mend(0)
        finally:
            self.busy = False

    def __repr__(self):
        return f"<lstm_rt.Stream of {self.batch} {'row' if self.batch == 1 else 'rows'}, {self.model!r}>"

    def _repr_html_(self):
        from ._html import stream_html
        return stream_html(self, self.model)

    def __reduce__(self):
        return _stream_again, (self.model, self.batch, self.threads, self.state)

    cdef _feed(self, tuple arrays, out):
        cdef Model model = self.model
        cdef lrt_call_args call
        cdef const void *ins[LRT_MAX_IO]
        cdef float *outs[LRT_MAX_IO]
        cdef list keep = list(arrays), results
        cdef bint batched = _take_inputs(model, keep, &call, ins)
        cdef int e
        if call.batch != <uint32_t>self.batch:
            raise InputError(f"the stream has a batch of {self.batch}, the input {call.batch}")
        results = _take_outputs(model, out, &call, outs, batched)
        later = _to_core(model, keep, results, ins, outs, batched) if model.shaped else ()
        e = self._run(&call)
        if e != LRT_OK:
            raise _call_error(model, e, keep, &call)
        _from_core(later)
        return _results(model, results, out, batched)


def _stream_again(model, batch, threads, state):
    """A copy of a stream: it goes on from where the other was."""
    stream = Stream(model, batch, threads)
    stream.state = state
    return stream
