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
        self.axis = None if kind == "vec" else axis
        self.shape = _shapes.shape(kind, size, order, groups, dims, "N", "T" if n_axes == 1 else f"T{axis}")
        self.dtype = "float32" if kind in ("seq", "vec") else "int32"

    def __repr__(self):
        from .text import shown
        return f"<{shown(repr(self.name))}: {self.dtype} {_shape_text(self.shape)}>"

    def __reduce__(self):
        return Port, self.made_of


cdef _describe(const lrt_model *m, const lrt_io *io):
    name = (<const char *>io.name)[:io.name_size].decode("utf-8", "replace")
    return Port(name, _KINDS[io.kind], io.size, io.axis, m.n_axes, _shapes.ORDERS[io.order], io.groups)


cdef struct _Axes:
    int ndim  # of an array, the batch included
    int batch  # which of them is the batch; -1: none
    int steps  # which the time steps; -1: none


cdef _Axes _axes_of(const lrt_io *io) noexcept:
    cdef _Axes axes
    cdef bint timed = io.kind == LRT_SEQ or io.kind == LRT_IDS
    axes.ndim = timed + _is_float(io) + (io.groups > 0) + (io.order != LRT_UNBATCHED)
    axes.batch = -1 if io.order == LRT_UNBATCHED else 0 if io.order == LRT_BATCH_FIRST else 1
    axes.steps = -1 if not timed else 1 if io.order == LRT_BATCH_FIRST else 0
    return axes


cdef inline int _steps_at(const _Axes *axes, bint batched) noexcept:
    """Which axis of an array are the steps, if it may lack the batch?"""
    return axes.steps - (not batched and 0 <= axes.batch < axes.steps)


cdef inline int _ndim_of(const _Axes *axes, bint batched) noexcept:
    return axes.ndim - (not batched and axes.batch >= 0)


cdef tuple _without_batch(tuple shape):
    return tuple([n for n in shape if n != "N"])
