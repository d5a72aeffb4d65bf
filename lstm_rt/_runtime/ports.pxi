# Ports: named inputs and outputs.
# Included by _core.pyx.

_KINDS = {LRT_SEQ: "seq", LRT_VEC: "vec", LRT_IDS: "ids", LRT_LENGTHS: "lengths"}


@cython.final
@cython.auto_pickle(False)
cdef class Port:
    """A named input or output of a model. Read-only.

    ``shape`` has ``"N"`` for the batch and ``"T"`` (``"T0"``, ``"T1"``... with several time axes)
    for the steps, in the ``order`` that the model has them in, a vec in so many ``groups`` (0: none); ``dtype`` is
    what a call expects or gives.
    """

    cdef readonly str name, kind, dtype, order
    cdef readonly tuple shape
    cdef readonly object size, axis, groups
    cdef tuple made_of

    def __cinit__(self, str name not None, str kind not None, size, axis, n_axes, order="batch_first", groups=0,
                  dims=()):
        self.made_of = name, kind, size, axis, n_axes, order, groups, dims
        self.name, self.kind, self.size = name, kind, size
        self.order, self.groups = order, groups
        self.axis = None if axis >= LRT_MAX_AXES else axis
        self.shape = _shapes.shape(self.axis is not None and kind != "lengths", size, order, groups, dims, "N",
                                   "T" if n_axes == 1 else f"T{axis}")
        self.dtype = "float32" if kind in ("seq", "vec") else "int32"

    def __repr__(self):
        from .text import shown
        return f"<{shown(repr(self.name))}: {self.dtype} {_shape_text(self.shape)}>"

    def __reduce__(self):
        return Port, self.made_of


cdef _describe(const lrt_model *m, const lrt_io *io):
    cdef uint32_t i
    name = (<const char *>io.name)[:io.name_size].decode("utf-8", "replace")
    names = {LRT_DIM_BATCH: "N", LRT_DIM_STEPS: "T", LRT_DIM_JOINED: _shapes.JOINED}
    dims = tuple([names.get(io.dims[i], io.dims[i]) for i in range(io.n_dims)])
    return Port(name, _KINDS[io.kind], io.size, io.axis, m.n_axes, _shapes.ORDERS[io.order], io.groups, dims)


cdef tuple _joined_dims(const lrt_io *io):
    """The dims of a port with marks between those that are one axis of its array; None where none are."""
    cdef uint32_t i
    dims = tuple([_shapes.JOINED if io.dims[i] == LRT_DIM_JOINED else io.dims[i] for i in range(io.n_dims)])
    return dims if _shapes.JOINED in dims else None


cdef struct _Dims:
    int n  # of an array, the batch included
    int batch, steps  # which of them these are; -1: none
    int features  # sizes up to the batch, multiplied
    int32_t of[LRT_MAX_DIMS]  # each a size, LRT_DIM_BATCH or LRT_DIM_STEPS


cdef void _add_dim(_Dims *dims, int32_t dim) noexcept:
    dims.of[dims.n] = dim
    if dim == LRT_DIM_BATCH:
        dims.batch = dims.n
    elif dim == LRT_DIM_STEPS:
        dims.steps = dims.n
    elif dims.batch < 0:
        dims.features *= dim
    dims.n += 1


cdef _Dims _dims_of(const lrt_io *io) noexcept:
    """Those of a port's arrays, as callers have them."""
    cdef _Dims dims
    cdef uint32_t i
    cdef bint timed = _is_timed(io)
    memset(&dims, 0, sizeof(dims))
    dims.batch, dims.steps, dims.features = -1, -1, 1
    if io.order == LRT_SHAPED:
        for i in range(io.n_dims):
            if io.dims[i] != LRT_DIM_JOINED:
                _add_dim(&dims, io.dims[i])
        return dims
    if io.order == LRT_GROUPS_FIRST or io.order == LRT_UNBATCHED and io.groups:
        _add_dim(&dims, io.groups)
    if timed and io.order == LRT_TIME_FIRST:
        _add_dim(&dims, LRT_DIM_STEPS)
    if io.order != LRT_UNBATCHED:
        _add_dim(&dims, LRT_DIM_BATCH)
    if timed and io.order != LRT_TIME_FIRST:
        _add_dim(&dims, LRT_DIM_STEPS)
    if io.size:
        _add_dim(&dims, io.size // io.groups if io.groups else io.size)
    return dims


cdef inline int _steps_at(const _Dims *dims, bint batched) noexcept:
    """Which axis of an array are the steps, if it may lack the batch?"""
    return dims.steps - (not batched and 0 <= dims.batch < dims.steps)


cdef inline int _ndim_of(const _Dims *dims, bint batched) noexcept:
    return dims.n - (not batched and dims.batch >= 0)


cdef tuple _without_batch(tuple shape):
    return tuple([n for n in shape if n != "N"])
