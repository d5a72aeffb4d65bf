# Arguments of a call: its inputs, lengths and outputs, checked, and where the core finds them.
# Included by _core.pyx.


cdef list _by_name(Model model, tuple inputs, dict named):
    names = [p.name for p in model.inputs]
    arrays = dict(zip(names, inputs))
    for name, array in named.items():
        if name not in names:
            near = did_you_mean(name, [*names, "lengths", "state", "return_state", "out", "threads"])
            raise TypeError(f"unexpected argument {name!r}; inputs of this model: {', '.join(names)}{near}")
        if name in arrays:
            raise TypeError(f"input {name!r} is given twice")
        arrays[name] = array
    missing = [n for n in names if n not in arrays]
    if missing:
        raise TypeError(f"input {missing[0]!r} is missing; inputs of this model: {', '.join(names)}")
    return [arrays[n] for n in names] + list(inputs[len(names):])


cdef _wrong_count(Model model, Py_ssize_t given):
    names = ", ".join(p.name for p in model.inputs)
    return TypeError(f"{given} inputs given, this model takes {len(model.inputs)}: {names}")


cdef bint _take_inputs(Model model, list arrays, lrt_call_args *call, const void **ins, Py_ssize_t least=1) except -1:
    """Check the inputs, fill the call's inputs, batch and steps; returns whether they have a batch axis.

    Models without one are given none. Steps of derived time axes follow from the others.

    ``arrays`` then has what the core reads. Texts are made only for errors: they would take most
    of the time of a small call.
    """
    cdef Py_ssize_t i, n, t, batch = -1
    cdef Py_ssize_t steps[LRT_MAX_AXES]
    cdef const lrt_io *io
    cdef const _Dims *dims
    cdef cnp.ndarray x
    cdef bint batched
    if len(arrays) != <Py_ssize_t>model.m.n_inputs:
        raise _wrong_count(model, len(arrays))
    for i in range(len(arrays)):
        arrays[i] = _in_form(model, i, arrays[i])
    memset(call, 0, sizeof(call[0]))
    memset(steps, 0xff, sizeof(steps))
    dims = &model.in_dims[0]
    batched = dims.batch >= 0 and cnp.PyArray_NDIM(<cnp.ndarray>arrays[0]) != dims.n - 1
    for i in range(len(arrays)):
        io = &model.ins[i]
        dims = &model.in_dims[i]
        x = arrays[i]
        _check_axes(model, i, x, batched)
        ins[i] = cnp.PyArray_DATA(x)
        if batched:
            n = cnp.PyArray_DIM(x, dims.batch)
        else:
            n = cnp.PyArray_DIM(x, 0) if _is_row(io, x) else 1
        if batch < 0:
            batch = n
        if n != batch:
            raise InputError(f"input {model.inputs[i].name!r} has a batch of {n}, the inputs before it {batch}")
        if _is_timed(io):
            t = cnp.PyArray_DIM(x, _steps_at(dims, batched))
            if steps[io.axis] < 0:
                steps[io.axis] = t
            elif steps[io.axis] != t:
                raise InputError(f"input {model.inputs[i].name!r} has {t} steps, "
                                 f"an input before it on its time axis {steps[io.axis]}")
    if batch < least or batch > MAX_BATCH:
        raise InputError(f"the batch is {batch}, expected 1 to {MAX_BATCH}")
    call.batch = <uint32_t>batch
    for i in range(<Py_ssize_t>model.m.n_axes):
        if steps[i] > MAX_STEPS:
            raise InputError(f"{steps[i]} steps are more than {MAX_STEPS}")
        call.steps[i] = <uint32_t>max(steps[i], 0)
    if not lrt_model_steps(&model.m, call.steps):
        raise InputError(f"so many steps would become more than {MAX_STEPS}")
    call.inputs = ins
    return batched


cdef _in_form(Model model, Py_ssize_t i, x):
    """Input i as an array that the core can read, of any shape. May run code of x's."""
    cdef const lrt_io *io = &model.ins[i]
    if _is_float(io) and _is_ready(x, cnp.NPY_FLOAT32):
        return x
    port = model.inputs[i]
    shape = port.shape
    if model.in_dims[i].batch >= 0 and getattr(x, "ndim", -1) == model.in_dims[i].n - 1:
        shape = _without_batch(shape)
    if _is_float(io):
        return _floats(f"input {port.name!r}", shape, x)
    return _int32(f"input {port.name!r}", shape, x)


cdef inline bint _is_row(const lrt_io *io, cnp.ndarray x) noexcept:
    """Lengths as a row, which they may be even where the model's have no axis."""
    return io.kind == LRT_LENGTHS and io.order != LRT_SHAPED and cnp.PyArray_NDIM(x) == 1


cdef int _check_axes(Model model, Py_ssize_t i, cnp.ndarray x, bint batched) except -1:
    """The number of axes of input i, and those of them that are sizes."""
    if _is_row(&model.ins[i], x) or _has_sizes(x, &model.in_dims[i], batched):
        return 0
    port = model.inputs[i]
    raise _bad_array(f"input {port.name!r}", port.shape if batched else _without_batch(port.shape) or port.shape,
                     "float32" if _is_float(&model.ins[i]) else "integers", x)


cdef inline bint _has_sizes(cnp.ndarray x, const _Dims *dims, bint batched) noexcept:
    cdef int i, at = 0
    if cnp.PyArray_NDIM(x) != _ndim_of(dims, batched):
        return False
    for i in range(dims.n):
        if dims.of[i] >= 0 and cnp.PyArray_DIM(x, at) != dims.of[i]:
            return False
        at += batched or dims.of[i] != LRT_DIM_BATCH
    return True


cdef list _timed_names(Model model):
    return [p.name for p in model.inputs if p.axis is not None and p.kind != "lengths"]


cdef int _take_lengths(Model model, lengths, lrt_call_args *call, const int32_t **lens, list keep,
                       bint batched) except -1:
    """Check the lengths; fill the call's."""
    cdef int axis
    memset(lens, 0, LRT_MAX_AXES * sizeof(lens[0]))
    call.lengths = lens
    if not isinstance(lengths, dict):
        names = _timed_names(model)
        if not names:
            raise InputError("lengths are given, but this model has no sequence input")
        if len({p.axis for p in model.inputs if p.name in names}) != 1:
            raise InputError(f"this model has several time axes: give lengths as a dict of {', '.join(names)}")
        lengths = {names[0]: lengths}
    ports = {p.name: p for p in model.inputs}
    timed = _timed_names(model)
    for name, given in dict(lengths).items():
        if name not in timed:
            near = did_you_mean(name, timed)
            raise InputError(f"lengths for {name!r}, which is not a sequence input of this model{near}")
        axis = ports[name].axis
        if any(p.kind == "lengths" and p.axis == axis for p in model.inputs):
            raise InputError(f"the lengths of {name!r} are an input of this model of their own")
        if lens[axis] != NULL:
            raise InputError(f"the lengths of {name!r} are given twice: other inputs share its time axis")
        a = _int32("lengths", ("N",), given)
        if a.ndim != 1 and (batched or a.ndim != 0):
            raise _bad_array("lengths", ("N",), "integers", a)
        if a.size != call.batch:
            raise InputError(f"lengths has {a.size} entries, expected one per row: {call.batch}")
        keep.append(a)
        lens[axis] = <const int32_t *>cnp.PyArray_DATA(<cnp.ndarray>a)
    return 0


cdef list _take_outputs(Model model, out, lrt_call_args *call, float **outs, bint batched):
    """The arrays of ``out``, checked, or new ones; fill the call's outputs."""
    cdef Py_ssize_t i
    cdef int ndim
    cdef const lrt_io *io
    cdef cnp.npy_intp shape[MOST_AXES]
    cdef list results = []
    given = _given_outputs(model, out)
    for i in range(<Py_ssize_t>model.m.n_outputs):
        io = &model.outs[i]
        ndim = _shape_of(&model.out_dims[i], <Py_ssize_t>call.batch if batched else -1,
                         <Py_ssize_t>call.steps[io.axis] if io.kind == LRT_SEQ else -1, shape)
        y = given[i]
        if y is None:
            y = cnp.PyArray_EMPTY(ndim, shape, cnp.NPY_FLOAT32, 0)
        elif model.joined[i] is not None:
            y = _apart(model, i, y, _tuple(ndim, shape), batched)
        elif not _is_out(y, ndim, shape):
            raise _bad_out(f"out for {model.outputs[i].name!r}", _tuple(ndim, shape), y)
        results.append(y)
        outs[i] = <float *>cnp.PyArray_DATA(<cnp.ndarray>y)
    call.outputs = outs
    if out is not None and _share_memory(model, call):
        raise InputError(_SHARED)
    return results


cdef tuple _joined_shape(Model model, Py_ssize_t i, tuple shape, bint batched):
    """The shape of output i as callers have it, where some of its dims are one axis."""
    dims = model.joined[i]
    if not batched and LRT_DIM_BATCH in dims:
        at = dims.index(LRT_DIM_BATCH)  # goes with the mark behind it, or before it
        first = at if at + 1 < len(dims) and dims[at + 1] == _shapes.JOINED else max(at - 1, 0)
        marked = _shapes.JOINED in dims[first:at + 2]
        dims = dims[:first] + dims[first + 2:] if marked else dims[:at] + dims[at + 1:]
    return _shapes.joined(dims, shape)


cdef _apart(Model model, Py_ssize_t i, y, tuple shape, bint batched):
    """The array that was given for output i, with its dims apart."""
    cdef tuple joined = _joined_shape(model, i, shape, batched)
    cdef cnp.npy_intp wanted[MOST_AXES]
    for k, n in enumerate(joined):
        wanted[k] = n
    if not _is_out(y, len(joined), wanted):
        raise _bad_out(f"out for {model.outputs[i].name!r}", joined, y)
    return y.reshape(shape)


cdef _results(Model model, list results, out, bint batched):
    """What a call returns: its outputs, with dims joined that are one axis of the caller's arrays."""
    given = _given_outputs(model, out)
    for i, dims in enumerate(model.joined):
        if dims is not None:
            y = results[i]
            results[i] = y.reshape(_joined_shape(model, i, y.shape, batched)) if given[i] is None else given[i]
    return results[0] if len(results) == 1 else tuple(results)


cdef tuple _given_outputs(Model model, out):
    """One entry per output: an array, or None for one that is to be made. A list may change meanwhile."""
    given = tuple(out) if isinstance(out, (tuple, list)) else (out,) * (1 if out is not None else len(model.outputs))
    if len(given) != len(model.outputs):
        raise InputError(f"out holds {len(given)} arrays, this model has {len(model.outputs)} outputs")
    return given


cdef bint _share_memory(Model model, const lrt_call_args *call) noexcept:
    """Does an output of the call share memory with an input or with another output?"""
    cdef uint32_t i, o
    cdef size_t size
    for o in range(model.m.n_outputs):
        size = _bytes_of(&model.outs[o], call)
        for i in range(model.m.n_inputs):
            if _overlap(call.outputs[o], size, call.inputs[i], _bytes_of(&model.ins[i], call)):
                return True
        for i in range(o):
            if _overlap(call.outputs[o], size, call.outputs[i], _bytes_of(&model.outs[i], call)):
                return True
    return False


cdef _call_error(Model model, int e, list arrays, const lrt_call_args *call):
    """The exception for an error of lrt_prepare, with the number that is in the way."""
    cdef const int32_t *given
    cdef Py_ssize_t row
    cdef int axis
    if e == LRT_E_TOKEN:
        tables = _tables(model)
        for port, x in zip(model.inputs, arrays):
            bad = np.argwhere((x < 0) | (x >= tables[port.name])) if port.name in tables else ()
            if len(bad):
                at = tuple(bad[0].tolist())
                return InputError(f"input {port.name!r}: id {x[at]} at {list(at)}, "
                                  f"expected 0 to {tables[port.name] - 1}")
    if e == LRT_E_LENGTH:
        for axis in range(<int>model.m.n_axes):
            what, given = "lengths", call.lengths[axis] if call.lengths != NULL else NULL
            for port, x in zip(model.inputs, arrays):
                if port.kind == "lengths" and port.axis == axis:
                    what, given = f"input {port.name!r}", <const int32_t *>cnp.PyArray_DATA(<cnp.ndarray>x)
            for row in range(call.batch if given != NULL else 0):
                if given[row] < 0 or <uint32_t>given[row] > call.steps[axis]:
                    return InputError(f"{what}: {given[row]} at [{row}], expected 0 to {call.steps[axis]}, "
                                      "the number of steps")
    if e == LRT_E_STEP_COUNT:
        from ._info import wrong_step_count
        return InputError(wrong_step_count(model._graph(), {i: call.steps[i] for i in range(model.m.n_axes)}))
    return InputError(lrt_error_text(e).decode())


def _tables(Model model):
    """Rows of the smallest embedding table that each ids input meets."""
    graph = model._graph()
    rows = {}
    for node in graph.nodes:
        if node.op == "embedding":
            name = graph.values[node.inputs[0]].name
            rows[name] = min(rows.get(name, LRT_MAX_ROWS), len(node.weights["table"]))
    return rows
