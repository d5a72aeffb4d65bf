# Arrays in and out: what is taken as it is, what is brought into form, and what is refused.
# Included by _core.pyx.

cdef object _memmap = np.memmap


cdef inline bint _is_float(const lrt_io *io) noexcept:
    return io.kind == LRT_SEQ or io.kind == LRT_VEC


cdef inline bint _is_timed(const lrt_io *io) noexcept:
    return io.axis < LRT_MAX_AXES and io.kind != LRT_LENGTHS


cdef inline uint32_t _per_step(const lrt_io *io) noexcept:
    return io.size if io.size else 1


cdef enum:
    MOST_AXES = LRT_MAX_DIMS + 1  # of an array, rows before all else


cdef inline int _shape_of(const _Dims *dims, Py_ssize_t rows, Py_ssize_t steps, cnp.npy_intp *shape) noexcept:
    """The shape of an array of so many rows and steps, each -1 where it has no such axis; returns its number of axes.

    Streams of a model without a batch that step together have rows all the same, before all else.
    """
    cdef int i, ndim = 0
    cdef int32_t dim
    if dims.batch < 0 and rows >= 0:
        shape[0] = rows
        ndim = 1
    for i in range(dims.n):
        dim = dims.of[i]
        if dim < 0 and (rows if dim == LRT_DIM_BATCH else steps) < 0:
            continue
        shape[ndim] = rows if dim == LRT_DIM_BATCH else steps if dim == LRT_DIM_STEPS else dim
        ndim += 1
    return ndim


cdef inline size_t _bytes_of(const lrt_io *io, const lrt_call_args *call) noexcept:
    cdef size_t items = call.batch
    if _is_timed(io):
        items *= call.steps[io.axis]
    return 4 * items * _per_step(io)


# -- what the core can use as it is

cdef inline bint _is_plain(object x) noexcept:
    """An array, and no subclass of which other attributes than the data may matter."""
    return cnp.PyArray_CheckExact(x) or type(x) is _memmap


cdef inline bint _is_ready(object x, int dtype) noexcept:
    return (_is_plain(x)
            and cnp.PyArray_TYPE(<cnp.ndarray>x) == dtype and cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray>x)
            and cnp.PyArray_ISALIGNED(<cnp.ndarray>x) and cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>x))


cdef inline bint _has_shape(cnp.ndarray x, int ndim, const cnp.npy_intp *shape) noexcept:
    cdef int i
    if cnp.PyArray_NDIM(x) != ndim:
        return False
    for i in range(ndim):
        if cnp.PyArray_DIM(x, i) != shape[i]:
            return False
    return True


cdef inline bint _is_out(object y, int ndim, const cnp.npy_intp *shape) noexcept:
    return (_is_ready(y, cnp.NPY_FLOAT32) and _has_shape(<cnp.ndarray>y, ndim, shape)
            and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>y))


# -- messages

cdef tuple _tuple(int ndim, const cnp.npy_intp *shape):
    return tuple([shape[i] for i in range(ndim)])


cdef str _shape_text(tuple shape):
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


cdef str _array_text(x, a=None):
    """What an argument is, for messages; a: what NumPy made of it."""
    dtype, shape = getattr(x, "dtype", None), getattr(x, "shape", None)
    kind = "" if _is_plain(x) else f"{type(x).__name__} of "
    if dtype is None or not isinstance(shape, tuple):
        if a is None or a.ndim == 0 or a.dtype.kind not in "fiubc":
            return f"a {type(x).__name__}"
        dtype, shape, kind = a.dtype, a.shape, "a " + kind
    return f"{kind}{dtype} {_shape_text(tuple(shape))}"


cdef str _how_to_convert(x, a):
    """To float32, where a conversion is for the caller to decide."""
    dtype = getattr(x if a is None else a, "dtype", None)
    if getattr(dtype, "kind", "") not in ("f", "i", "u", "b") or dtype.kind == "f" and dtype.itemsize == 4:
        return "; convert it with x.float()" if "bfloat16" in str(dtype) else ""
    if hasattr(x, "astype") or not hasattr(x, "float"):
        return "; convert it with x.astype(numpy.float32)" if hasattr(x, "astype") else ""
    return "; convert it with x.float()"


cdef _bad_array(str what, tuple shape, str dtype, x, a=None, reason=None):
    """The error for an argument of another type or shape than expected."""
    hint = f": {reason}" if reason else ""
    if dtype == "float32":
        hint += _how_to_convert(x, a)
    return InputError(f"{what}: got {_array_text(x, a)}, expected {dtype} {_shape_text(shape)}{hint}")


cdef _bad_out(str what, tuple shape, y):
    """``out`` is written in place, so it must be just what is needed."""
    text = _array_text(y)
    if isinstance(y, np.ndarray):
        flags = ("C_CONTIGUOUS", "not C-contiguous"), ("ALIGNED", "not aligned"), ("WRITEABLE", "read-only")
        text = ", ".join([text, *[word for flag, word in flags if not y.flags[flag]]])
    return InputError(f"{what}: got {text}, expected a writeable C-contiguous array of float32 {_shape_text(shape)}")


# -- bringing arguments into form

cdef _as_array(str what, tuple shape, str dtype, x):
    """Anything that NumPy takes for an array. Tensors that need a gradient are taken without."""
    try:
        return np.asarray(x.detach() if getattr(x, "requires_grad", False) is True else x)
    except MemoryError:
        raise
    except Exception as e:  # whatever x.__array__ raises, or NumPy of rows of different lengths
        raise _bad_array(what, shape, dtype, x, None, e) from None


cdef bint _is_number(x):
    return isinstance(x, (int, float, np.integer, np.floating)) and not isinstance(x, bool)


cdef list _numbers(str what, tuple shape, x, int depth):
    """Lists of numbers, and arrays among them that could be given by themselves."""
    if depth == 0:
        raise InputError(f"{what}: got lists in lists to a depth of more than {len(shape)}, expected "
                         f"float32 {_shape_text(shape)}")
    return [e if _is_number(e)
            else _numbers(what, shape, e, depth - 1) if isinstance(e, (list, tuple))
            else _floats(what, shape, e) for e in tuple(x)]


cdef _from_list(str what, tuple shape, x):
    """Python's numbers have no dtype of their own, so they become float32, if they fit."""
    rows = _numbers(what, shape, x, len(shape))
    try:
        wide = np.array(rows, np.float64)
    except (ValueError, OverflowError) as e:  # rows of different lengths
        raise _bad_array(what, shape, "float32", x, None, e) from None
    with np.errstate(over="ignore"):
        a = wide.astype(np.float32)
    bad = np.argwhere(np.isinf(a) & ~np.isinf(wide))
    if len(bad):
        raise InputError(f"{what}: {wide[tuple(bad[0])]} at {bad[0].tolist()} does not fit into float32")
    return a


cdef _floats(str what, tuple shape, x):
    """x as a C-contiguous array of float32. How an array lies in memory does not matter, its type does."""
    if isinstance(x, (list, tuple)):
        return _from_list(what, shape, x)
    a = x if isinstance(x, np.ndarray) else _as_array(what, shape, "float32", x)
    if not _is_plain(a) or a.dtype.kind != "f" or a.dtype.itemsize != 4:
        raise _bad_array(what, shape, "float32", x, a)
    return np.require(a, np.float32, "CA")


cdef _int32(str what, tuple shape, x):
    """Ids or lengths as C-contiguous int32, from any integer dtype.

    Always a copy: the core uses them as indices, so those that it has checked must be those that it
    uses, whoever writes to x meanwhile.
    """
    cdef bint untyped = isinstance(x, (list, tuple))
    a = x if isinstance(x, np.ndarray) else _as_array(what, shape, "integers", x)
    if untyped and a.size == 0:
        a = a.astype(np.int32)
    if not _is_plain(a) or a.dtype.kind not in "iu":
        raise _bad_array(what, shape, "integers", x, a)
    a = np.array(a)
    if a.dtype != np.int32 and a.size:
        for n in (int(a.min()), int(a.max())):
            if not -(1 << 31) <= n < 1 << 31:
                raise InputError(f"{what}: {n} at {np.argwhere(a == n)[0].tolist()} does not fit into int32")
    return np.require(a, np.int32, "CA")


# -- outputs

# The core reads inputs after it has begun to write outputs, so they must not share memory.
cdef str _SHARED = "out shares memory with an input or another out; give it memory of its own"


cdef inline bint _overlap(const void *a, size_t a_size, const void *b, size_t b_size) noexcept:
    return <size_t>a < <size_t>b + b_size and <size_t>b < <size_t>a + a_size
