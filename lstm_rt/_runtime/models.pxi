# Models, and calls of them.
# Included by _core.pyx.

#: Arguments of Model.__call__ and Model.trace, and what they are when not given.
cdef dict _OPTIONS = {"lengths": None, "state": None, "return_state": False, "out": None, "threads": None, "layers": None}


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
    cdef lrt_io ins[LRT_MAX_IO]
    cdef lrt_io outs[LRT_MAX_IO]
    cdef _Dims in_dims[LRT_MAX_IO]
    cdef _Dims out_dims[LRT_MAX_IO]
    cdef bint shaped  # have ports axes in an order that the core does not know?
    cdef readonly tuple inputs
    cdef readonly tuple outputs
    cdef readonly object threads
    cdef uint32_t most  # threads as a number
    cdef bint chunked
    cdef tuple clashes  # inputs that are called like an argument of __call__
    cdef tuple joined  # of each output its dims, where some of these are one axis; None where none are
    cdef tuple traceable  # layers that can be traced, found with the first trace
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
            self.in_dims[i] = _dims_of(&self.ins[i])
            self.shaped |= self.ins[i].order == LRT_SHAPED
        for i in range(self.m.n_outputs):
            self.outs[i] = lrt_model_output(&self.m, i)
            self.out_dims[i] = _dims_of(&self.outs[i])
            self.shaped |= self.outs[i].order == LRT_SHAPED
        self.joined = tuple([_joined_dims(&self.outs[i]) for i in range(self.m.n_outputs)])
        self.inputs = tuple([_describe(&self.m, &self.ins[i]) for i in range(self.m.n_inputs)])
        self.outputs = tuple([_describe(&self.m, &self.outs[i]) for i in range(self.m.n_outputs)])
        self.chunked = lrt_model_is_causal(&self.m)
        self.clashes = tuple([p.name for p in self.inputs if p.name in _OPTIONS])
        self.slots = None
        self.traceable = None

    # -- running

    def __call__(self, *inputs, lengths=None, state=None, return_state=False, out=None, threads=None, **named):
        """Run the model.

        Args:
            *inputs, **named: one array per input, in order or by name (see :attr:`inputs`):
                float32 ``(N, T, F)`` for sequences, integer ``(N, T)`` for ids, or with the axes in
                the order that the model's source has: ports say their ``shape``. Without the batch
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
        if self.clashes and len(inputs) < <Py_ssize_t>self.m.n_inputs:
            given = {"lengths": lengths, "state": state, "return_state": return_state, "out": out, "threads": threads}
            lengths, state, return_state, out, threads = self._take_clashes(named, given)
        arrays = _by_name(self, inputs, named) if named else list(inputs)
        return self._run(arrays, lengths, state, return_state, out, threads, None)

    def trace(self, *inputs, lengths=None, state=None, layers=None, threads=None, **named):
        """Run the model as a call does, and keep what its recurrent layers and attention compute on the way.

        Args:
            *inputs, lengths, state, threads, **named: as in a call.
            layers: names of layers to keep, as the trace's keys; by default all. A call takes as long whatever they
                are, but each takes memory.

        Returns:
            :class:`lstm_rt.trace.Trace`: a mapping from the names of layers to their arrays. Its ``y`` is what a call
            returns, to the bit, and its ``state`` the final state.

        Raises:
            InputError: an argument is not what the model expects, or it has no layer of such a name.
        """
        if self.clashes and len(inputs) < <Py_ssize_t>self.m.n_inputs:
            given = {"lengths": lengths, "state": state, "layers": layers, "threads": threads}
            lengths, state, layers, threads = self._take_clashes(named, given)
        arrays = _by_name(self, inputs, named) if named else list(inputs)
        return self._run(arrays, lengths, state, True, None, threads, self._layers(layers))

    cdef tuple _layers(self, wanted):
        """The layers of these names that can be traced; None: all."""
        from .trace import choose, traceable
        if self.traceable is None:
            self.traceable = traceable(self._graph())
        return choose(self.traceable, wanted)

    cdef _run(self, list arrays, lengths, state, bint return_state, out, threads, tuple layers):
        """What a call returns, or where layers are given a trace."""
        cdef lrt_call_args call
        cdef const void *ins[LRT_MAX_IO]
        cdef float *outs[LRT_MAX_IO]
        cdef const int32_t *lens[LRT_MAX_AXES]
        cdef _Session session
        cdef _Tracer tracer = None
        cdef uint32_t most
        cdef int e
        cdef list results
        cdef bint batched
        most = _allowed(self.most if threads is None or threads is self.threads else _thread_count(threads))
        batched = _take_inputs(self, arrays, &call, ins)
        if lengths is not None:
            _take_lengths(self, lengths, &call, lens, arrays, batched)
        results = _take_outputs(self, out, &call, outs, batched)
        later = _to_core(self, arrays, results, ins, outs, batched) if self.shaped else ()
        if layers is not None:
            tracer = _tracer_of(self, layers, &call)
            tracer.attach(&call)
        session = self._borrow(&call, most)
        try:
            if state is not None:
                _set_state(self, session, state, 0, call.batch, batched)
                call.keep_state = 1
            e = _execute(session.s, &call, most)
            if e != LRT_OK:
                raise _call_error(self, e, arrays, &call)
            _from_core(later)
            if return_state:
                final = _get_state(self, session, 0, call.batch, batched)
        finally:
            if self.idle < POOL:
                self.pool[self.idle] = session
                self.idle += 1
        result = _results(self, results, out, batched)
        if tracer is not None:
            from .trace import Trace
            return Trace(self, layers, tracer.arrays, arrays[:self.m.n_inputs], result, final, "call" if batched else "row")
        return (result, final) if return_state else result

    cdef _take_clashes(self, dict named, dict given):
        """Arguments that are inputs of this model by their name go to ``named``; returns the others' values."""
        for name in self.clashes:
            if name in given and given[name] is not _OPTIONS[name]:
                named[name] = given[name]
                given[name] = _OPTIONS[name]
        return given.values()

    cdef _Session _borrow(self, const lrt_call_args *call, uint32_t most):
        """An idle session that is large enough, or a new one in place of one that is not."""
        cdef lrt_limits need, both
        cdef _Session session
        cdef size_t size
        cdef int i
        need.batch = call.batch
        need.lanes = most
        for i in range(LRT_MAX_AXES):
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
            for i in range(LRT_MAX_AXES):
                both.steps[i] = max(need.steps[i], session.limits.steps[i])
            size = lrt_session_size(&self.m, &both)
            if 0 < size <= 2 * max(<size_t>session.nbytes, lrt_session_size(&self.m, &need)):
                need = both
            session = None  # free it first
        return _new_session(self, &need)

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
        for i in range(LRT_MAX_AXES):
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

    def _repr_html_(self):
        from ._html import model_html
        return model_html(self)

    def __reduce__(self):
        return _rebuild, (self._bytes(), self.threads)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return Model(self.blob, self.threads, self.kernels)


def _rebuild(blob, threads):
    return Model(blob, threads)
