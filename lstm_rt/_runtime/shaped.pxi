# Shaped ports: their arrays are turned into what the core reads and writes, or used in place where they lie so.
# Included by _core.pyx.


cdef list _turned(const _Dims *dims, bint batched):
    """The axes of an array with these dims in the order of the core: the batch, the steps, sizes."""
    keys = {LRT_DIM_BATCH: 0, LRT_DIM_STEPS: 1}
    found = [keys.get(dims.of[i], 2) for i in range(dims.n) if batched or dims.of[i] != LRT_DIM_BATCH]
    return sorted(range(len(found)), key=found.__getitem__)


cdef bint _lies_so(cnp.ndarray x, list order):
    """Do the numbers follow each other in this order of the axes? Axes of one place do not matter."""
    wide = [i for i in order if cnp.PyArray_DIM(x, i) != 1]
    return wide == sorted(wide)


cdef list _to_core(Model model, list arrays, list results, const void **ins, float **outs, bint batched):
    """Let the call read and write arrays that lie as the core has them; returns those to be copied, and to where.

    What has to live as long as the call goes to the end of ``arrays``.
    """
    cdef uint32_t i
    cdef cnp.ndarray x
    later = []
    for i in range(model.m.n_inputs):
        order = _turned(&model.in_dims[i], batched)
        if model.ins[i].order == LRT_SHAPED and not _lies_so(arrays[i], order):
            x = np.ascontiguousarray(arrays[i].transpose(order))
            ins[i] = cnp.PyArray_DATA(x)
            arrays.append(x)
    for i in range(model.m.n_outputs):
        order = _turned(&model.out_dims[i], batched)
        if model.outs[i].order == LRT_SHAPED and not _lies_so(results[i], order):
            x = np.empty(tuple([results[i].shape[k] for k in order]), np.float32)
            outs[i] = <float *>cnp.PyArray_DATA(x)
            later.append((results[i].transpose(order), x))
    return later


cdef int _from_core(later) except -1:
    for y, x in later:
        y[...] = x
    return 0


cdef inline bint _is_turned(const lrt_io *io, const _Dims *dims, uint32_t rows) noexcept:
    """Does one step of so many rows lie in another way than the core has it? Then sizes stand before the batch."""
    return io.order == LRT_SHAPED and dims.batch >= 0 and dims.features > 1 and rows > 1


cdef void _turn(const _Dims *dims, uint32_t size, uint32_t rows, float *row_first, float *shaped, bint back) noexcept:
    """Copy a step of some rows: (features, rows, ...) to (rows, features, ...), or back."""
    cdef size_t f, n, features = dims.features, rest = size // dims.features
    cdef float *row
    for f in range(features):
        for n in range(rows):
            row = row_first + (n * features + f) * rest
            memcpy(shaped if back else row, row if back else shaped, rest * sizeof(float))
            shaped += rest
