# Kernel tables: which there are, and which one a model takes.
# Included by _core.pyx.


def kernels():
    """Names of the kernel tables that this CPU can run, best first."""
    names, i = [], 0
    while lrt_kernels_at(i) != NULL:
        if lrt_kernels_usable(lrt_kernels_at(i)):
            names.append(lrt_kernels_name(lrt_kernels_at(i)).decode())
        i += 1
    return names


def _all_kernels():
    """Names of all kernel tables in this build, best first, and whether each is fused."""
    tables, i = [], 0
    while lrt_kernels_at(i) != NULL:
        tables.append((lrt_kernels_name(lrt_kernels_at(i)).decode(), bool(lrt_kernels_fused(lrt_kernels_at(i)))))
        i += 1
    return tables


cdef const lrt_kernels *_find_kernels(name) except NULL:
    cdef const lrt_kernels *k = lrt_kernels_best()
    if name is None:
        name = os.environ.get("LSTM_RT_KERNELS") or None
    if name is not None:
        if name not in kernels():
            near = did_you_mean(name, kernels())
            raise InputError(f"kernels {name!r} are not available here; available: {', '.join(kernels())}{near}")
        k = lrt_kernels_by_name(name.encode())
    return k


def _has_openmp():
    return bool(LRT_OPENMP)


def activate(int code, double alpha, double beta, x, kernels=None):
    """Activation ``code`` (docs/format.md) of one row of float32, by a kernel table: for tests."""
    cdef cnp.ndarray a = np.ascontiguousarray(x, np.float32).ravel()
    cdef cnp.ndarray y = np.empty_like(a)
    cdef const lrt_kernels *k = _find_kernels(kernels)
    cdef int e = lrt_activate(k, code, alpha, beta, <const float *>cnp.PyArray_DATA(a),
                              <float *>cnp.PyArray_DATA(y), a.size)
    if e != LRT_OK:
        raise ValueError(lrt_error_text(e).decode())
    return y
