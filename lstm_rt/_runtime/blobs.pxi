# Where the bytes of a model come from, how they are kept from changing under it, and models of files.
# Included by _core.pyx.


@cython.internal
@cython.final
cdef class _Blob:
    """Bytes that nobody else writes to: memory of their own, or a mapped file."""

    cdef void *data
    cdef size_t size
    cdef bint mapped

    def __dealloc__(self):
        if self.mapped:
            lrt_unmap(self.data, self.size)
        else:
            lrt_aligned_free(self.data)


cdef _Blob _new_blob(size_t size):
    cdef _Blob blob = _Blob.__new__(_Blob)
    blob.data = lrt_aligned_alloc(size if size > 0 else 1)
    if blob.data == NULL:
        raise MemoryError(f"{size} bytes for a model could not be allocated")
    blob.size = size
    return blob


cdef _Blob _blob_of(source):
    """A copy of any buffer: that one is read-only does not say that what it shows never changes."""
    cdef Py_buffer view
    cdef _Blob blob
    if isinstance(source, _Blob):
        return source
    try:
        PyObject_GetBuffer(source, &view, PyBUF_SIMPLE)
    except (TypeError, ValueError, BufferError) as e:
        is_path = isinstance(source, str) or hasattr(source, "__fspath__")
        raise TypeError(f"Model takes the bytes of an .lrt file or a Graph, got {_array_text(source)}: "
                        f"{'lstm_rt.load takes a file name' if is_path else e}") from None
    try:
        blob = _new_blob(view.len)
        memcpy(blob.data, view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
    return blob


cdef _Blob _map_file(f, size_t size, path):
    cdef _Blob blob = _Blob.__new__(_Blob)
    blob.data = lrt_map(f.fileno(), size)
    if blob.data == NULL:
        raise OSError(errno, f"{os.strerror(errno)}; the file cannot be mapped, load it with copy=True", path)
    blob.mapped = True
    blob.size = size
    return blob


cdef _Blob _read_file(f, size_t size):
    cdef lrt_model m
    cdef bytes head = f.read(128)
    cdef int e = lrt_model_open(&m, <const char *>head, len(head))
    cdef _Blob blob
    if e != LRT_E_SIZE and e != LRT_OK:  # gigabytes of something else need not be read
        raise _format_error(e, <const char *>head, size)
    if int.from_bytes(head[16:24], "little") != size:
        raise _format_error(LRT_E_SIZE, <const char *>head, size)
    f.seek(0)
    blob = _new_blob(size)
    if f.readinto(PyMemoryView_FromMemory(<char *>blob.data, size, PyBUF_WRITE)) != size:
        raise FormatError("the file has become shorter while it was read")
    return blob


cdef _Blob _file_blob(path, bint copy):
    """The bytes of a regular file, mapped or read."""
    from .files import open_regular
    with open_regular(path) as f:
        size = os.fstat(f.fileno()).st_size
        if size == 0:
            raise FormatError("the file is empty, expected an .lrt file")
        return _read_file(f, size) if copy else _map_file(f, size, path)


cdef _graph_bytes(source):
    """The bytes of a graph; anything else as it is."""
    if not isinstance(source, (bytes, _Blob)):
        from .graph import Graph
        if isinstance(source, Graph):
            from .format import dumps
            return dumps(source)
    return source


cdef _format_error(int e, const char *blob, Py_ssize_t size):
    text = lrt_error_text(e).decode()
    if e == LRT_E_VERSION:
        version = int.from_bytes(blob[8:12], "little")
        text = f"format version {version}; this runtime reads versions {LRT_FIRST_VERSION} to {LRT_FORMAT_VERSION}"
    return FormatError(f"not a usable .lrt file ({size} bytes): {text}", e)


def validate(blob):
    """Raise FormatError unless these bytes are a valid ``.lrt`` file (checksum aside)."""
    Model(blob, 1)


def load(path, threads="auto", verify=False, kernels=None, copy=False):
    """Open a ``.lrt`` file.

    The file is mapped, not read: processes share one copy, and opening takes the same time
    whatever its size. The checksum is only read with ``verify``. A mapped file must not be changed
    in place while the model lives; one that is replaced, as :meth:`Model.save` does it, may be.

    Args:
        path: file name.
        threads: ``"auto"`` (all CPUs this process may use) or the most threads a call may use.
        verify: also check the checksum and run the file's self-test vector.
        kernels: name of a kernel table (see :func:`kernels`); by default the environment's
            ``LSTM_RT_KERNELS`` or the best one.
        copy: read the file into memory of its own, so that it may change afterwards.

    Returns:
        Model.

    Raises:
        FormatError: not a valid ``.lrt`` file, or ``verify`` failed.
        OSError: the file cannot be read, or is not a regular file; FileNotFoundError: there is none.
        TypeError: ``path`` is not a file name.
    """
    path = _file_name(path)
    try:
        model = Model(_file_blob(path, copy), threads, kernels)
    except FormatError as e:
        raise FormatError(f"{os.fsdecode(path)}: {e}", e.code) from None
    if verify:
        result = model.verify()
        if result["ok"] is False:
            raise FormatError(f"{os.fsdecode(path)}: the self-test failed: largest error {result['max_abs_err']:.3g}")
    return model


cdef _file_name(path):
    """The name as a string or bytes; the bytes of a model are none."""
    is_name = isinstance(path, str) or isinstance(path, bytes) and b"\0" not in path or hasattr(path, "__fspath__")
    if not is_name:
        raise TypeError(f"load takes a file name, got {_array_text(path)}; "
                        "for the bytes of a model there is lstm_rt.Model")
    return os.fspath(path)
