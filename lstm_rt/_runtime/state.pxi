# State, in and out: the arrays of every slot, in the form that callers see.
# Included by _core.pyx.


cdef list _slots(Model model, _Session session):
    cdef lrt_slot slot
    cdef uint32_t i
    if model.slots is None:
        found = []
        for i in range(lrt_slot_count(session.s)):
            lrt_slot_info(session.s, i, &slot)
            found.append((slot.layer, bool(slot.is_cell), slot.directions, slot.size))
        model.slots = found
    return model.slots


cdef _get_state(Model model, _Session session, uint32_t row, uint32_t rows, bint batched):
    cdef list arrays = []
    cdef uint32_t i
    for i, (_, _, directions, size) in enumerate(_slots(model, session)):
        a = np.empty((directions, rows, size), np.float32)
        lrt_slot_get(session.s, i, row, rows, <float *>cnp.PyArray_DATA(<cnp.ndarray>a))
        arrays.append(a if batched else a[:, 0])
    return _join_state(model.slots, arrays)


cdef int _set_state(Model model, _Session session, state, uint32_t row, uint32_t rows, bint batched) except -1:
    cdef uint32_t i
    cdef list arrays = _split_state(_slots(model, session), state, (rows,) if batched else ())
    for i, a in enumerate(arrays):
        lrt_slot_set(session.s, i, row, rows, <const float *>cnp.PyArray_DATA(<cnp.ndarray>a))
    return 0


cdef bint _is_uniform(list slots):
    """All layers of one kind and size: states can be stacked as PyTorch does."""
    per_layer = {}
    for layer, is_cell, _, size in slots:
        per_layer.setdefault(layer, []).append((is_cell, size))
    return len({tuple(v) for v in per_layer.values()}) == 1


cdef _join_state(list slots, list arrays):
    cells = [a for (_, is_cell, _, _), a in zip(slots, arrays) if is_cell]
    hiddens = [a for (_, is_cell, _, _), a in zip(slots, arrays) if not is_cell]
    if not slots:
        return ()
    if _is_uniform(slots):
        h = np.concatenate(hiddens) if len(hiddens) > 1 else hiddens[0]
        if not cells:
            return h
        return h, np.concatenate(cells) if len(cells) > 1 else cells[0]
    layers = {}
    for (layer, _, _, _), a in zip(slots, arrays):
        layers.setdefault(layer, []).append(a)
    return tuple([v[0] if len(v) == 1 else tuple(v) for v in layers.values()])


cdef list _split_state(list slots, state, tuple batch):
    """The arrays of each slot, checked and contiguous, from the form that _join_state gives."""
    cdef list out = []
    if slots and _is_uniform(slots):
        parts = _parts(state, 2 if slots[len(slots) - 1][1] else 1, "state")
        at = [0, 0]
        for _, is_cell, directions, size in slots:
            rows = sum([s[2] for s in slots if s[1] == is_cell])
            a = _state_array(parts[is_cell], is_cell, "", (rows, *batch, size))
            out.append(a[at[is_cell]:at[is_cell] + directions])
            at[is_cell] += directions
        return out
    n_layers = slots[len(slots) - 1][0] + 1 if slots else 0
    state = tuple(state) if isinstance(state, (tuple, list)) else state
    if not isinstance(state, tuple) or len(state) != n_layers:
        got = f"{len(state)} entries" if isinstance(state, tuple) else _array_text(state)
        raise InputError(f"state: got {got}, expected a tuple with one entry for each of {n_layers} layers with state")
    for layer, entry in enumerate(state):
        mine = [s for s in slots if s[0] == layer]
        parts = _parts(entry, len(mine), f"state of layer {layer}")
        for (_, is_cell, directions, size), a in zip(mine, parts):
            out.append(_state_array(a, is_cell, f" of layer {layer}", (directions, *batch, size)))
    return out


cdef tuple _parts(state, Py_ssize_t count, str what):
    parts = tuple(state) if isinstance(state, (tuple, list)) else (state,)
    if len(parts) != count:
        got = f"a {type(state).__name__} of {len(state)}" if isinstance(state, (tuple, list)) else _array_text(state)
        raise InputError(f"{what}: got {got}, expected {'a pair (h, c)' if count == 2 else 'one array h'}")
    return parts


cdef _state_array(a, bint is_cell, str where, tuple shape):
    what = f"state {'c' if is_cell else 'h'}{where}"
    a = _floats(what, shape, a)
    if a.shape != shape:
        raise _bad_array(what, shape, "float32", a)
    return a
