"""A second reader of ``.lrt`` files, written from docs/format.md alone: no code of lstm_rt is used."""

from __future__ import annotations

import json
import math
import struct
import zlib
from itertools import pairwise

import numpy as np

NONE = 0xFFFFFFFF
KINDS = {1: "seq", 2: "vec", 3: "ids", 4: "mask", 5: "lengths"}
ORDERS = ["batch_first", "time_first", "unbatched", "groups_first", "shaped"]
ACTS = ["linear", "sigmoid", "tanh", "relu", "hard_sigmoid", "leaky_relu", "elu", "selu", "softplus", "softsign",
        "swish", "gelu", "gelu_tanh", "softmax", "log_softmax", "exp", "log", "sqrt", "abs", "square", "reciprocal",
        "clip", "hard_swish", "mish", "erf", "sin", "cos", "sign", "floor", "affine", "scaled_tanh", "thresholded_relu",
        "celu", "power"]  # fmt: skip
#: op code: name, n_in, n_out, n_tensors per direction
OPS = {
    1: ("embedding", 1, 1, 1), 2: ("mask_ids", 1, 1, 0), 3: ("mask_values", 1, 1, 0), 4: ("apply_mask", 2, 1, 0),
    5: ("lstm", 4, 3, 6), 6: ("gru", 4, 2, 6), 7: ("rnn", 4, 2, 6), 8: ("dense", 1, 1, 2), 9: ("activation", 1, 1, 0),
    10: ("layernorm", 1, 1, 2), 11: ("batchnorm", 1, 1, 3), 12: ("add", 2, 1, 0), 13: ("mul", 2, 1, 0),
    14: ("average", 2, 1, 0), 15: ("concat", None, 1, 0), 16: ("slice", 1, 1, 0), 17: ("select", 1, 1, 0),
    18: ("reverse", 1, 1, 0), 19: ("take", 1, 1, 0), 20: ("repeat", 1, 1, 0), 21: ("sub", 2, 1, 0),
    22: ("div", 2, 1, 0),
    23: ("maximum", 2, 1, 0), 24: ("minimum", 2, 1, 0), 25: ("pow", 2, 1, 0), 26: ("gather", 1, 1, 1),
    27: ("prelu", 1, 1, 1), 28: ("l2norm", 1, 1, 0), 29: ("groupnorm", 1, 1, 2), 40: ("reduce_features", 1, 1, 0),
    41: ("constant", 0, 1, 1),
    30: ("reduce", 2, 1, 0), 31: ("softmax_steps", 2, 1, 0), 32: ("cumsum", 1, 1, 0), 38: ("attention", 4, None, 1),
    33: ("conv", 1, 1, 2), 34: ("pool", 1, 1, 0), 35: ("pad", 1, 1, 0), 36: ("flatten", 1, 1, 0),
    37: ("unflatten", 1, 1, 0), 39: ("convlstm", 3, 3, 3),
    42: ("align", 1, 1, 0), 43: ("cut", 1, 1, 0),
}  # fmt: skip


def u32s(blob, at, n):
    return list(struct.unpack_from(f"<{n}I", blob, at))


def widths(units):
    return [16] * math.floor(units / 16) + {0: [], 1: [4], 2: [8], 3: [8, 4], 4: [16]}[math.ceil((units % 16) / 4)]


def unpack_panels(flat, gates, units, k, dtype=np.float32, padding=0):
    """(gates, units, k), by the closed form of section 3.2; padding must be zero."""
    w, used = np.empty((gates, units, k), dtype), np.zeros(flat.size, bool)
    start = 0
    for width in widths(units):
        u = np.arange(start, min(start + width, units))
        g, i = np.arange(gates)[:, None, None], np.arange(k)
        at = start * gates * k + (i * gates + g) * width + (u[:, None] - start)
        w[:, u] = flat[at]
        used[at] = True
        start += width
    assert (flat[~used] == padding).all()
    return w


def read_integers(blob, offset, dtype, gates, units, k, limit):
    """Section 3.4: {"q": (gates, units, k), "s": (gates, units), "limit"}."""
    n = {3: 4, 4: 2}[dtype]
    w, padded = math.ceil(k / n), sum(widths(units))
    flat = np.frombuffer(blob, "<u4", gates * padded * w, offset)
    words = unpack_panels(flat, gates, units, w, np.uint32, 0x80808080 if dtype == 3 else 0)
    halves = np.frombuffer(blob, "<u2", gates * padded, offset + 4 * gates * padded * w)
    return integers_of(words, halves, dtype, gates, units, k, limit)


def integers_of(words, halves, dtype, gates, units, k, limit):
    n = {3: 4, 4: 2}[dtype]
    place = np.arange(k)
    part = words[:, :, place // n].astype(np.int64) >> (32 // n * (place % n)) & (255 if dtype == 3 else 65535)
    q = part - 128 if dtype == 3 else np.where(part < 32768, part, part - 65536)
    s = unpack_panels(halves.astype(np.uint32) << 16, gates, units, 1, np.uint32)[:, :, 0].view(np.float32)
    assert 1 <= limit <= 32639
    assert limit * np.abs(q).sum(axis=2).max() <= (1 << 31) - 1
    return {"q": q, "s": s, "limit": limit}


def read_blocks(blob, offset, size, dtype, gates, units, k, limit):
    """Section 3.5, as a matrix with zeros: (gates, units, k) of f32, or what :func:`read_integers` gives."""
    n = {1: 1, 3: 4, 4: 2}[dtype]
    w, strips, padded = math.ceil(k / n), gates * len(widths(units)), sum(widths(units))
    assert k <= 1 << 16
    starts = u32s(blob, offset, strips + 1)
    assert starts[0] == 0
    assert sorted(starts) == starts
    scales_at = offset + 4 * (strips + 1)
    index_at = scales_at + (2 * gates * padded if dtype != 1 else 0)
    index = np.frombuffer(blob, "<u2", starts[-1], index_at)
    begin = math.ceil((index_at - offset + 2 * starts[-1]) / 64) * 64
    assert size == begin + 64 * starts[-1]
    blocks = np.frombuffer(blob, "<u4", 16 * starts[-1], offset + begin).reshape(-1, 16)
    zero = 0x80808080 if dtype == 3 else 0
    words, start = np.full((gates, units, w), zero, np.uint32), 0
    for panel, width in enumerate(widths(units)):
        for gate in range(gates):
            strip = panel * gates + gate
            mine = index[starts[strip] : starts[strip + 1]].tolist()
            assert sorted(set(mine)) == mine
            assert all(i < w for i in mine)
            for i, block in zip(mine, blocks[starts[strip] : starts[strip + 1]], strict=True):
                exist = min(width, units - start)
                words[gate, start : start + exist, i] = block[:exist]
                assert (block[exist:] == zero).all()
        start += width
    if dtype == 1:
        return words.view(np.float32)
    return integers_of(words, np.frombuffer(blob, "<u2", gates * padded, scales_at), dtype, gates, units, k, limit)


def read_tensor(blob, at, data):
    """(array, layout): plain (units, k), panels and blocks (gates, units, k), padded (gates, units)."""
    offset, size, dtype, layout, gates, units, k, limit = struct.unpack_from("<QQBBHIII", blob, at)
    padded = units if layout == 0 else sum(widths(units))
    assert dtype in (1, 2, 3, 4)
    assert layout in (0, 1, 2, 3)
    if layout == 3:
        assert blob[8] >= 5
        assert dtype in (1, 3, 4)
        assert dtype != 1 or limit == 0
        assert offset % 64 == 0
        assert offset >= data
        assert offset + size + 64 <= len(blob)
        return read_blocks(blob, offset, size, dtype, gates, units, k, limit), "blocks"
    if dtype > 2:
        assert blob[8] >= 5
        assert layout == 1
        assert size == gates * padded * (4 * math.ceil(k / {3: 4, 4: 2}[dtype]) + 2)
        assert offset % 64 == 0
        assert offset >= data
        assert offset + size + 64 <= len(blob)
        return read_integers(blob, offset, dtype, gates, units, k, limit), "panels"
    assert limit == 0
    assert 1 <= gates <= (4 if layout else 1)
    assert layout != 2 or k == 1
    assert size == 4 * gates * k * padded
    assert offset % 64 == 0
    assert offset >= data
    assert offset + size + 64 <= len(blob)
    flat = np.frombuffer(blob, "<f4" if dtype == 1 else "<i4", size // 4, offset)
    if layout == 1:
        return unpack_panels(flat, gates, units, k), "panels"
    if layout == 2:
        rows = flat.reshape(gates, padded)
        assert not rows[:, units:].any()
        return rows[:, :units], "padded"
    return flat.reshape(units, k), "plain"


def read_dims(value, array, layout):
    assert layout == "plain"
    assert array.dtype == np.int32
    assert len(array) == 1
    assert array.size <= 16
    dims = [{-1: "N", -2: "T", -3: "*"}.get(int(d), int(d)) for d in array[0]]
    sizes = [d for d in dims if d not in ("N", "T", "*")]
    assert "*" not in (dims[:1] + dims[-1:])
    assert not any(a == b == "*" for a, b in pairwise(dims))
    assert all(d >= 1 for d in sizes)
    assert math.prod(sizes) == max(value["size"], 1)
    assert dims.count("N") <= 1
    assert dims.count("T") == (value["kind"] in ("seq", "ids") and value["axis"] is not None)
    return tuple(dims)


def read_node(blob, at):
    op, n_in, n_out, n_tensors = struct.unpack_from("<4H", blob, at)
    name, want_in, want_out, want_tensors = OPS[op]
    attr = blob[at + 92 : at + 160]
    directions = 2 if name in ("lstm", "gru", "rnn") and u32s(attr, 12, 1)[0] & 2 else 1
    assert n_in == want_in if want_in else 2 <= n_in <= 6
    assert n_out == want_out if want_out else 1 <= n_out <= 2
    assert n_tensors == want_tensors * directions
    ins, outs, tensors = u32s(blob, at + 8, 6), u32s(blob, at + 32, 3), u32s(blob, at + 44, 12)
    assert set(ins[n_in:] + outs[n_out:] + tensors[n_tensors:]) <= {NONE}
    return {"op": name, "in": ins[:n_in], "out": outs[:n_out], "tensor": tensors[:n_tensors], "attr": attr}


def read(blob):
    """All of a file: a dict of values, nodes (weights as arrays), outputs, self-test and metadata."""
    magic, version, checksum, file_size = struct.unpack_from("<8sIIQ", blob)
    n_axes, n_values, n_nodes, n_tensors, n_inputs, n_outputs, n_tests, strings_size, meta_size = u32s(blob, 24, 9)
    assert magic == bytes([0x89, 0x4C, 0x52, 0x54, 0x0D, 0x0A, 0x1A, 0x0A])
    assert 1 <= version <= 5
    assert file_size == len(blob)
    assert checksum == zlib.crc32(blob[:12] + bytes(4) + blob[16:])
    assert n_axes <= (32 if version >= 4 else 8)
    assert n_tests <= 1
    assert n_inputs < n_values
    assert not any(blob[60:128])
    nodes_at = 128 + 32 * n_values
    tensors_at = nodes_at + 160 * n_nodes
    outputs_at = tensors_at + 32 * n_tensors
    axes_at = outputs_at + 4 * n_outputs
    test_at = axes_at + (20 * n_axes if version >= 3 else 0)
    strings_at = test_at + (16 + 4 * (n_axes + n_inputs + n_outputs)) * n_tests
    meta_at = strings_at + strings_size
    data = meta_at + meta_size

    values = []
    for i in range(n_values):
        kind, axis, zero, size, name, n = struct.unpack_from("<BBHIII", blob, 128 + 32 * i)
        assert zero == 0
        order, zeros, groups = struct.unpack_from("<B3sI", blob, 128 + 32 * i + 16)
        assert not any(zeros)
        assert not any(blob[128 + 32 * i + 24 : 128 + 32 * i + 32])
        assert order <= (0 if version < 3 else 3 if version < 4 else 4)
        assert groups == 0 or order == 4 or (version >= 3 and order in (2, 3) and kind == 2 and size % groups == 0)
        assert groups or order != 3
        free = version >= 4 and kind == 3
        assert order != 1 or (kind in (1, 3) and axis != 255)
        assert kind == 2 or free if axis == 255 else kind != 2 and axis < n_axes
        assert (size >= 1) == (kind in (1, 2)) or free
        assert name + n <= strings_size
        text = blob[strings_at + name : strings_at + name + n].decode()
        values.append({"name": text, "kind": KINDS[kind], "size": size, "axis": None if axis == 255 else axis})
        if order:
            values[-1].update(order=ORDERS[order], groups=groups)
    axes = [struct.unpack_from("<IIiII", blob, axes_at + 20 * i) for i in range(n_axes)] if version >= 3 else []
    for i, (parent, mul, add, div, cap) in enumerate(axes):
        assert parent == NONE or parent < i
        assert max(mul, div, cap) < 1 << 31
        assert div >= 1
        assert parent != NONE or mul == 0 or (mul, add, div, cap) == (1, 0, 1, (1 << 31) - 1)

    tensors = [read_tensor(blob, tensors_at + 32 * i, data) for i in range(n_tensors)]
    for v in values:
        if v.get("order") == "shaped":
            v.update(dims=read_dims(v, *tensors[v["groups"]]), groups=0)
    nodes, following = [], n_inputs
    for i in range(n_nodes):
        node = read_node(blob, nodes_at + 160 * i)
        assert all(v == NONE or v < following for v in node["in"])
        assert node["out"] == list(range(following, following + len(node["out"])))
        following += len(node["out"])
        node["tensor"] = [None if t == NONE else tensors[t] for t in node["tensor"]]
        nodes.append(node)
    assert following == n_values

    outputs = u32s(blob, outputs_at, n_outputs)
    assert all(n_inputs <= o < n_values and values[o]["kind"] in ("seq", "vec") for o in outputs)
    test = None
    if n_tests:
        batch, atol, rtol, zero = struct.unpack_from("<IffI", blob, test_at)
        steps = u32s(blob, test_at + 16, n_axes)
        ids = u32s(blob, test_at + 16 + 4 * n_axes, n_inputs + n_outputs)
        arrays = []
        for v, t in zip([*range(n_inputs), *outputs], ids, strict=True):
            kind, size, axis = values[v]["kind"], values[v]["size"], values[v]["axis"]
            units = batch * steps[axis] if kind in ("seq", "ids") and axis is not None else batch
            assert tensors[t][1] == "plain"
            assert tensors[t][0].shape == (units, size or 1)
            assert zero == 0
            arrays.append(tensors[t][0])
        test = {"batch": batch, "steps": steps, "atol": atol, "rtol": rtol, "arrays": arrays}
    meta = json.loads(blob[meta_at:data].decode()) if meta_size else None
    return {"values": values, "n_inputs": n_inputs, "nodes": nodes, "outputs": outputs, "test": test, "meta": meta,
            "axes": axes, "version": version, "size": {"data": data, "n_axes": n_axes}}  # fmt: skip


def read_act(attr, i):
    code, alpha, beta = struct.unpack_from("<Iff", attr, 4 * i)
    return ACTS[code], alpha, beta


def read_window(node):
    """Sizes of a conv or pool by the names of section 5.3, and a conv's weight (O, kt, kh, kw, C / G) and bias.

    Of integers the weight is {"q": (O, kt, kh, kw, C / G), "s": (O), "limit"}.
    """
    u16 = struct.unpack("<34H", node["attr"])
    h, w, kt = u32s(node["attr"], 0, 3)
    st, dt, t0, t1, what, whole = (u32s(node["attr"], 4 * i, 1)[0] for i in (4, 6, 8, 9, 12, 13))
    out = {"size": (h, w), "kernel": (kt, *u16[6:8]), "stride": (st, *u16[10:12]), "dilation": (dt, *u16[14:16]),
           "pad": ((t0, t1), u16[20:22], u16[22:24]), "whole": whole}  # fmt: skip
    if node["op"] == "pool":
        return out | {"kind": what}
    (array, layout), bias = node["tensor"][0], node["tensor"][1]
    if isinstance(array, dict):
        q, s = array["q"][0], array["s"][0]
        assert what == 1 or len(q) // what % 16 == 0
        weight = {"q": q.reshape(len(q), *out["kernel"], -1), "s": s, "limit": array["limit"]}
        assert bias is None or bias[0].shape == (1, len(q), 1)
        return out | {"groups": what, "weight": weight, "bias": bias and bias[0].ravel()}
    if layout == "plain":  # places x outputs
        rows, b = array.T, bias and bias[0].ravel()
    else:
        _, units, inputs = array.shape
        rows = np.stack([array[0, :, g * (inputs // what) + np.arange(inputs // what)].T for g in range(what)])
        rows, b = rows.reshape(what * units, -1), bias and bias[0][0].T.ravel()
    assert bias is None or bias[1] == layout
    return out | {"groups": what, "weight": rows.reshape(len(rows), *out["kernel"], -1), "bias": b}


def read_convlstm(node):
    """Sizes of a convlstm, and its weights (4 H, kh, kw, C)."""
    u16 = struct.unpack("<34H", node["attr"])
    kernel, kernel_h = u16[4:6], u16[14:16]
    (w, _), b, (u, _) = node["tensor"]
    if isinstance(w, dict):  # of integers
        w, u = w["q"], u["q"]
    return {"size": tuple(u32s(node["attr"], 0, 2)), "stride": u16[6:8], "dilation": u16[8:10],
            "pad": (u16[10:12], u16[12:14]), "acts": [read_act(node["attr"], i) for i in (8, 11, 14)],
            "w_ih": w.reshape(-1, *kernel, w.shape[2] // kernel[0] // kernel[1]), "bias": b and b[0].ravel(),
            "w_hh": u.reshape(-1, *kernel_h, u.shape[2] // kernel_h[0] // kernel_h[1])}  # fmt: skip


def read_cell(node):
    """Attributes of a recurrent node, and per direction its weights by the names of section 5.1."""
    h, inputs, proj, flags, clip = struct.unpack_from("<IIIIf", node["attr"])
    acts = [read_act(node["attr"], i) for i in (5, 8, 11)]
    assert flags < 16
    assert flags & 3 != 3
    out = {"hidden": h, "input": inputs, "proj": proj, "flags": flags, "clip": clip, "acts": acts, "directions": []}
    for d in range(0, len(node["tensor"]), 6):
        arrays = [t and t[0] for t in node["tensor"][d : d + 6]]
        layouts = [t and t[1] for t in node["tensor"][d : d + 6]]
        assert layouts[:5] == [a if a is None else "panels" for a in arrays[:5]]
        assert layouts[5] in (None, "panels" if node["op"] == "gru" else "padded")
        out["directions"].append(arrays)
    return out
