# Memory and state of a run.
# Included by _core.pyx.


@cython.final
cdef class _Session:
    """Memory and state of one run at a time. Who holds one holds its model too."""

    cdef void *memory
    cdef lrt_session *s
    cdef lrt_limits limits
    cdef size_t nbytes

    def __dealloc__(self):
        lrt_aligned_free(self.memory)

    cdef bint holds(self, const lrt_limits *need, bint chunked) noexcept:
        cdef int i
        if need.batch > self.limits.batch or need.lanes > self.limits.lanes:
            return False
        for i in range(LRT_MAX_AXES):
            if not chunked and need.steps[i] > self.limits.steps[i]:
                return False
        return True


cdef int _check_count(str what, n, least, most) except -1:
    if isinstance(n, bool) or not isinstance(n, int) or not least <= n <= most:
        raise InputError(f"{what} is {n!r}, expected an integer from {least} to {most}")
    return 0


cdef _Session _new_session(Model model, const lrt_limits *limits):
    cdef _Session session = _Session.__new__(_Session)
    cdef size_t size = lrt_session_size(&model.m, limits)
    cdef int e
    if size == 0:
        raise MemoryError(lrt_error_text(LRT_E_TOO_LARGE).decode())
    session.memory = lrt_aligned_alloc(size)
    if session.memory == NULL:
        raise MemoryError(f"{size} bytes for a batch of {limits.batch} could not be allocated")
    e = lrt_session_init(&session.s, &model.m, model.k, limits, session.memory, size)
    if e != LRT_OK:
        raise RuntimeError(lrt_error_text(e).decode())
    session.limits = limits[0]
    session.nbytes = size
    return session
