# Ports: named inputs and outputs.
# Included by _core.pyx.

_KINDS = {LRT_SEQ: "seq", LRT_VEC: "vec", LRT_IDS: "ids", LRT_LENGTHS: "lengths"}


@cython.final
@cython.auto_pickle(False)
cdef class Port:
    """A named input or output of a model. Read-only.

    ``shape`` has ``"N"`` for the batch and ``"T"`` (``"T0"``, ``"T1"``... with several time axes)
    for the steps; ``dtype`` is what a call expects or gives.
    """

    cdef readonly str name, kind, dtype
    cdef readonly tuple shape
    cdef readonly object size, axis
    cdef tuple made_of

    def __cinit__(self, str name not None, str kind not None, size, axis, n_axes):
        steps = "T" if n_axes == 1 else f"T{axis}"
        self.made_of = name, kind, size, axis, n_axes
        self.name, self.kind, self.size = name, kind, size
        self.axis = None if kind == "vec" else axis
        self.shape = {"seq": ("N", steps, size), "vec": ("N", size), "ids": ("N", steps), "lengths": ("N",)}[kind]
        self.dtype = "float32" if kind in ("seq", "vec") else "int32"

    def __repr__(self):
        from .text import shown
        return f"<{shown(repr(self.name))}: {self.dtype} {_shape_text(self.shape)}>"

    def __reduce__(self):
        return Port, self.made_of


cdef _describe(const lrt_model *m, const lrt_io *io):
    name = (<const char *>io.name)[:io.name_size].decode("utf-8", "replace")
    return Port(name, _KINDS[io.kind], io.size, io.axis, m.n_axes)
