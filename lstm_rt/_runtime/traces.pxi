# Traces: where the pieces go that a traced call tells.
# Included by _core.pyx.

cdef struct _Place:
    float *data  # (rows, steps, directions, units); NULL: nobody wants these
    size_t steps
    size_t row, step, direction  # apart, in floats
    unsigned char *taken  # (rows, steps): which steps the layer takes


cdef void _put_piece(void *context, const lrt_traced *piece) noexcept nogil:
    """One piece into its array. Several lanes do this at the same time, with pieces that do not overlap."""
    cdef const _Place *to = &(<_Place *>context)[<size_t>piece.node * LRT_TRACED_COUNT + <size_t>piece.what]
    cdef size_t at
    if to.data == NULL:
        return
    at = piece.row * to.row + piece.step * to.step + piece.direction * to.direction + piece.from_
    memcpy(to.data + at, piece.values, piece.count * sizeof(float))
    if not piece.held:
        to.taken[piece.row * to.steps + piece.step] = 1


@cython.internal
@cython.final
cdef class _Tracer:
    """Room for the trace of one call: of every layer that is wanted its arrays, zeros to begin with."""

    cdef _Place *places
    cdef list arrays  # per layer a dict of arrays, and which steps it takes

    def __cinit__(self, Model model, layers, uint32_t batch, list steps):
        cdef _Place *place
        self.places = <_Place *>PyMem_Calloc(<size_t>model.m.n_nodes * LRT_TRACED_COUNT, sizeof(_Place))
        if self.places == NULL:
            raise MemoryError
        self.arrays = []
        for layer in layers:
            shapes = layer.shapes(batch, steps)
            taken = np.zeros(shapes[0][:2], np.uint8)
            found = {}
            for (name, code), shape in zip(layer.kinds, shapes):
                a = np.zeros(shape, np.float32)
                found[name] = a
                place = &self.places[<size_t>layer.node * LRT_TRACED_COUNT + <size_t>code]
                place.steps = shape[1]
                place.direction = shape[3]
                place.step = shape[2] * place.direction
                place.row = shape[1] * place.step
                place.taken = <unsigned char *>cnp.PyArray_DATA(<cnp.ndarray>taken)
                place.data = <float *>cnp.PyArray_DATA(<cnp.ndarray>a)
            self.arrays.append((found, taken.view(np.bool_)))

    def __dealloc__(self):
        PyMem_Free(self.places)

    cdef void attach(self, lrt_call_args *call) noexcept:
        call.trace = _put_piece
        call.trace_context = self.places


cdef _Tracer _tracer_of(Model model, layers, const lrt_call_args *call):
    """Room for what a call tells of these layers."""
    cdef uint32_t steps[LRT_MAX_AXES]
    memcpy(steps, call.steps, sizeof(steps))
    lrt_model_steps(&model.m, steps)
    return _Tracer(model, layers, call.batch, [steps[i] for i in range(model.m.n_axes)])
