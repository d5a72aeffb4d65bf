"""Writes tests/blobs/<error>__<what>.lrt: files that are each wrong in exactly one way.

Every file is a valid one with one field changed (or a few where one alone cannot be wrong) and its
checksum made right again, so that a single check is between it and a crash. Run again after a
change of the format:

    python tests/make_bad_blobs.py
"""

from __future__ import annotations

import math
import struct
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from helpers.graphs import cell_weights, weights

from lstm_rt.format import dumps
from lstm_rt.graph import Axis, Graph, SelfTest
from lstm_rt.quantised import Quantised

FOLDER = Path(__file__).parent / "blobs"
NONE = 0xFFFFFFFF
NAN, INF = 0x7FC00000, 0x7F800000

#: Codes of lrt_error by the names that files begin with. Big-endian machines (6) and misaligned
#: addresses (5) are not properties of a file: tests/c has them.
CODES = {
    "short": 1,
    "magic": 2,
    "version": 3,
    "size": 4,
    "counts": 7,
    "tables": 8,
    "tensor": 9,
    "value": 10,
    "op": 11,
    "node_input": 12,
    "node_output": 13,
    "node_attr": 14,
    "node_tensor": 15,
    "interface": 16,
    "string": 17,
    "selftest": 18,
    "checksum": 19,
    "axis": 21,
}

Edit = tuple[Any, ...]


# -- where things are -------------------------------------------------------------------------------

RECORDS = {"value": 32, "node": 160, "tensor": 32, "output": 4, "axis": 20}
FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "header": {
        "version": (8, "I"), "file_size": (16, "Q"), "n_axes": (24, "I"), "n_values": (28, "I"),
        "n_nodes": (32, "I"), "n_tensors": (36, "I"), "n_inputs": (40, "I"), "n_outputs": (44, "I"),
        "n_tests": (48, "I"), "strings": (52, "I"), "meta": (56, "I"), "reserved": (60, "B"), "last": (127, "B"),
    },
    "value": {"kind": (0, "B"), "axis": (1, "B"), "reserved": (2, "H"), "size": (4, "I"), "name": (8, "I"),
              "name_size": (12, "I"), "order": (16, "B"), "zeros": (17, "B"), "groups": (20, "I"), "tail": (31, "B")},
    "node": {"op": (0, "H"), "n_in": (2, "H"), "n_out": (4, "H"), "n_tensors": (6, "H"),
             **{f"in{i}": (8 + 4 * i, "I") for i in range(6)}, **{f"out{i}": (32 + 4 * i, "I") for i in range(3)},
             **{f"tensor{i}": (44 + 4 * i, "I") for i in range(12)},
             **{f"attr{i}": (92 + 4 * i, "I") for i in range(17)}},
    "tensor": {"offset": (0, "Q"), "bytes": (8, "Q"), "dtype": (16, "B"), "layout": (17, "B"), "gates": (18, "H"),
               "units": (20, "I"), "k": (24, "I"), "limit": (28, "I")},
    "output": {"value": (0, "I")},
    "axis": {"parent": (0, "I"), "mul": (4, "I"), "add": (8, "i"), "div": (12, "I"), "cap": (16, "I")},
    "selftest": {"batch": (0, "I"), "atol": (4, "f"), "rtol": (8, "f"), "reserved": (12, "I"), "steps": (16, "I"),
                 "tensor0": (20, "I"), "tensor1": (24, "I")},
}  # fmt: skip


def start_of(blob: bytes, table: str) -> int:
    if table == "header":
        return 0
    counts = struct.unpack_from("<6I", blob, 24)
    at = 128
    axes = counts[0] if blob[8] >= 3 else 0
    for name, n in zip(RECORDS, (counts[1], counts[2], counts[3], counts[5], axes), strict=True):
        if name == table:
            return at
        at += RECORDS[name] * n
    return at


def seal(blob: bytes | bytearray) -> bytes:
    """The checksum made right."""
    if len(blob) < 16:
        return bytes(blob)
    zeroed = bytes(blob[:12]) + bytes(4) + bytes(blob[16:])
    return zeroed[:12] + struct.pack("<I", zlib.crc32(zeroed)) + zeroed[16:]


def edited(blob: bytes, *edits: Edit) -> bytes:
    """``blob`` with fields set: (table, number, field, value), or (table, field, value)."""
    out = bytearray(blob)
    for edit in edits:
        table, number, field, value = edit if len(edit) == 4 else (edit[0], 0, *edit[1:])
        at, code = FIELDS[table][field]
        at += start_of(blob, table) + RECORDS.get(table, 0) * number
        struct.pack_into("<" + code, out, at, value)
    return seal(out)


# -- valid files to start from ----------------------------------------------------------------------


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@cache
def layer(op: str, **options: Any) -> bytes:
    """x (0), h0 (1), c0 (2, lstm) -> mask_values -> layer; the layer is node 1, its outputs the last."""
    g = Graph()
    direction = options.get("direction", "forward")
    proj, peephole = options.pop("proj", 0), options.pop("peephole", False)
    n_dir = 2 if direction == "bidirectional" else 1
    x = g.input("x", "seq", 1)
    h0 = g.input("h0", "vec", n_dir * (proj or 2))
    c0 = g.input("c0", "vec", n_dir * 2) if op == "lstm" else None
    w = cell_weights(rng(), op, 1, 2, direction, proj, peephole)
    seq, _, _ = g.recurrent(op, x, w, hidden_size=2, mask=g.mask_values(x), h0=h0, c0=c0, **options)
    g.output(seq, "y")
    return dumps(g)


@cache
def dense() -> bytes:
    """x (0) -> dense -> y (1). Tensors: weight (0), bias (1)."""
    g = Graph()
    x = g.input("x", "seq", 3)
    g.output(g.dense(x, weights(rng(), 2, 3), weights(rng(), 2), "relu"), "y")
    return dumps(g)


@cache
def ids_of_version_4(axis: int | None, size: int = 3) -> bytes:
    """Version 4. Several ids (0), v (1) -> an embedding of all (2), of the first (3), activation of v (4)."""
    g = Graph()
    ids, v = g.input("ids", "ids", size, axis), g.input("v", "vec", 2)
    g.output(g.embedding(ids, weights(rng(), 4, 2)), "all")
    g.output(g.embedding(ids, weights(rng(), 5, 2), 0, 1), "first")
    g.output(g.activation(v, "exp"), "v")
    return dumps(g)


@cache
def cut() -> bytes:
    """Version 5. x (0) -> cut (1)."""
    g = Graph()
    g.output(g.cut(g.input("x", "seq", 2), 0), "y")
    return dumps(g)


@cache
def shifted() -> bytes:
    """Version 4. x (0) -> take (1), pad (2), align (3)."""
    g = Graph()
    x = g.input("x", "seq", 2)
    g.output(g.align(g.pad_steps(g.take(x, 1), 1, 0), 0), "y")
    return dumps(g)


@cache
def words() -> bytes:
    """ids (0), lengths (1) -> embedding (2), mask_ids (3), apply_mask (4); y is 4, e is 2."""
    g = Graph()
    ids = g.input("ids", "ids")
    g.input("lengths", "lengths", axis=0)
    e = g.embedding(ids, weights(rng(), 4, 3))
    mask = g.mask_ids(ids)
    y = g.apply_mask(e, mask)
    g.output(y, "y")
    g.output(e, "e")
    return dumps(g)


@cache
def features() -> bytes:
    """a (0), b (1), v (2), other (3, on another axis) and one node for each op on features, in order:
    add (4), concat (5), slice (6), activation (7), layernorm (8), batchnorm (9), reverse (10), select (11)."""
    g = Graph()
    a = g.input("a", "seq", 2)
    b = g.input("b", "seq", 2, axis=0)
    g.input("v", "vec", 2)
    g.input("other", "seq", 2)
    s = g.slice(g.concat(g.binary("add", a, b), b), 1, 2)
    n = g.layernorm(g.activation(s, "elu"), weights(rng(), 2), weights(rng(), 2), 1e-3)
    n = g.batchnorm(n, weights(rng(), 2), np.ones(2, np.float32), None, None, 1e-3)
    g.output(g.select(g.reverse(n)), "y")
    return dumps(g)


ADD, CONCAT, SLICE, ACTIVATION, LAYERNORM, BATCHNORM, REVERSE, SELECT = range(8)


@cache
def along_time() -> bytes:
    """Version 4. x (0), q (1, a vec), other (2, on another axis) and one node for each op, in order: mask of x (3),
    cumsum (4), softmax_steps (5), additive attention of q (6, its weights 7), reduce (8), self-attention (9). Tensors:
    the weight of the additive attention (0)."""
    g = Graph()
    x, q = g.input("x", "seq", 6), g.input("q", "vec", 6)
    g.input("other", "seq", 6)
    mask = g.mask_values(x)
    s = g.softmax_steps(g.cumsum(x), mask)
    y, w = g.attention(q, s, x, heads=2, kind="additive", weight=weights(rng(), 6), mask=mask)
    assert w is not None
    g.output(y, "y")
    g.output(w, "weights")
    g.output(g.reduce(x, "mean", mask), "mean")
    g.output(g.attention(x, x, x, heads=2)[0], "self")
    return dumps(g)


_, CUMSUM, SOFTMAX_STEPS, ATTENTION, REDUCE, SELF = range(6)


@cache
def tested() -> bytes:
    """A self-test of one input and one output."""
    g = Graph()
    x = g.input("x", "seq", 1)
    g.output(g.activation(x, "linear"), "y")
    array = np.ones((2, 3, 1), np.float32)
    g.selftest = SelfTest([array], [array + 1])
    g.meta = {"a": 1}
    return dumps(g)


@cache
def derived() -> bytes:
    """Version 3. x (0, time first), v (1, groups first) -> take (2), repeat (3), repeat of v (4), identity of v (5).

    Axes: x's (0), take's (1), repeat's (2), a fixed one (3). All but inputs are outputs; there is a self-test.
    """
    g = Graph()
    x = g.input("x", "seq", 2, order="time_first")
    v = g.input("v", "vec", 4, order="groups_first", groups=2)
    g.output(g.take(x, 1, 2), "some", order="time_first")
    g.output(g.repeat(x, 3), "more")
    g.output(g.repeat_vector(v, g.new_axis(Axis(mul=0, add=2))), "four")
    g.output(g.activation(v, "linear"), "same", order="groups_first", groups=2)
    arrays = [np.ones((5, 1, 2), np.float32), np.ones((2, 1, 2), np.float32)]
    outputs = [np.ones(shape, np.float32) for shape in ((2, 1, 2), (1, 15, 2), (1, 2, 4), (2, 1, 2))]
    g.selftest = SelfTest(arrays, outputs)
    return dumps(g)


@cache
def inner() -> bytes:
    """Version 3: x (0, time first) -> activation (1) -> activation (2), the output."""
    g = Graph()
    x = g.input("x", "seq", 2, order="time_first")
    g.output(g.activation(g.activation(x, "tanh"), "tanh"), "y", order="time_first")
    return dumps(g)


@cache
def rows() -> bytes:
    """Version 4. a (0), v (1), other (2, on another axis), w (3) -> sub (4), gather (5), prelu (6), l2norm (7),
    groupnorm (8), celu (9), reduce_features (10). Tensors: index (0), alpha (1), gamma (2)."""
    g = Graph()
    a, v = g.input("a", "seq", 6), g.input("v", "vec", 6)
    g.input("other", "seq", 6)
    g.input("w", "vec", 2)
    x = g.prelu(g.gather(g.binary("sub", a, v), [5, 0, 1, 1]), weights(rng(), 4))
    x = g.groupnorm(g.l2norm(x, 1e-3, 2), weights(rng(), 4), None, 1e-3, 2)
    g.output(g.reduce_features(g.activation(x, "celu"), "max", 2), "y")
    g.output(g.constant([1.0, 2.0, 3.0]), "c")
    return dumps(g)


SUB, GATHER, PRELU, L2NORM, GROUPNORM, CELU, REDUCE_FEATURES, CONSTANT = range(8)


@cache
def broadcast() -> bytes:
    """Version 4 for one thing: x (0) + v (1)."""
    g = Graph()
    g.output(g.binary("add", g.input("x", "seq", 2), g.input("v", "vec", 2)), "y")
    return dumps(g)


@cache
def later_activation() -> bytes:
    """Version 4 for one thing: an exponential."""
    g = Graph()
    g.output(g.activation(g.input("x", "seq", 2), "exp"), "y")
    return dumps(g)


@cache
def shaped() -> bytes:
    """Version 4. x (0, N 2 T 3), v (1, 4 N), ids (2, N 1 T) -> y (3, T N 6). Their dims are tensors 0 to 3."""
    g = Graph()
    x = g.input("x", "seq", 6, order="shaped", dims=("N", 2, "T", 3))
    g.input("v", "vec", 4, order="shaped", dims=(4, "N"))
    g.input("ids", "ids", axis=0, order="shaped", dims=("N", 1, "T"))
    g.output(g.activation(x, "tanh"), "y", order="shaped", dims=("T", "N", 6))
    return dumps(g)


def with_integer(blob: bytes, tensor: int, at: int, value: int) -> bytes:
    """``blob`` with one number of a tensor changed."""
    out = bytearray(blob)
    (offset,) = struct.unpack_from("<Q", blob, start_of(blob, "tensor") + 32 * tensor)
    struct.pack_into("<i", out, offset + 4 * at, value)
    return seal(out)


@cache
def windows() -> bytes:
    """Version 4. x (0), v (1) and one node for each op, in order: conv (2, on x's axis), depthwise conv (3), pool (4,
    axis 1), pad (5, axis 2), flatten (6), unflatten (7, axis 3), unflatten of v (8, axis 4), convlstm (9 to 11).

    Tensors: weight and bias of conv (0, 1), of the other (2, 3), of convlstm W (4), b (5) and U (6).
    """
    g = Graph()
    x, v = g.input("x", "seq", 6), g.input("v", "vec", 6)
    a = g.conv(x, weights(rng(), 4, 2, 2, 1, 2), weights(rng(), 4), size=(1, 3), pad=((1, 0), (0, 0), (0, 0)))
    b = g.conv(a, weights(rng(), 4, 1, 1, 1, 2), weights(rng(), 4), size=(1, 2), groups=4)
    c = g.pool(a, "max", (2, 1, 2), size=(1, 2), stride=(2, 1, 1))
    d = g.pad_steps(c, 2, 0)
    e, f, u = g.flatten(x, 3), g.unflatten(x, 2), g.unflatten(v, 3)
    h, _, _ = g.convlstm(x, weights(rng(), 8, 2, 1, 2), weights(rng(), 8, 2, 1, 3), weights(rng(), 8), size=(1, 3))
    for i, y in enumerate((b, d, e, f, u, h)):
        g.output(y, f"y{i}")
    return dumps(g)


CONV, DEPTHWISE, POOL, PAD, FLATTEN, UNFLATTEN, UNFLATTEN_VEC, CONVLSTM = range(8)


@cache
def many_axes() -> bytes:
    """Version 4: ten time axes."""
    g = Graph()
    for i in range(10):
        g.output(g.activation(g.input(f"x{i}", "seq", 1), "relu"), f"y{i}")
    return dumps(g)


def with_extra_value() -> bytes:
    """One value more, that no node writes: everything after its record moves by one line of 64."""
    blob = dense()
    nodes, tensors, outputs = (start_of(blob, table) for table in ("node", "tensor", "output"))
    first = struct.unpack_from("<Q", blob, tensors)[0]
    value = struct.pack("<BBHIII16x", 2, 255, 0, 1, 0, 0)
    moved = bytearray(blob[:nodes] + value + blob[nodes:first] + bytes(32) + blob[first:])
    for i in range((outputs - tensors) // 32):
        at = tensors + 32 + 32 * i
        struct.pack_into("<Q", moved, at, struct.unpack_from("<Q", moved, at)[0] + 64)
    struct.pack_into("<Q", moved, 16, len(moved))
    struct.pack_into("<I", moved, 28, 3)
    return seal(moved)


# -- files that are wrong ---------------------------------------------------------------------------


def container() -> dict[str, bytes]:
    """Header and tables."""
    d, t = dense(), tested()
    return {
        "short__empty": b"",
        "short__seven_bytes": d[:7],
        "short__magic_only": d[:8],
        "short__almost_a_header": d[:127],
        "magic__another_type": b"\x89PNG\r\n\x1a\n" + bytes(120),
        "magic__text_mode_transfer": b"\x89LRT\n\x1a\n" + d[8:],
        "version__zero": edited(d, ("header", "version", 0)),
        "version__beyond": edited(d, ("header", "version", 1000)),
        "size__cut": d[:-64],
        "size__cut_after_header": d[:128],
        "size__appended": d + bytes(64),
        "size__one_more": d + b"\0",
        "size__high_half": edited(d, ("header", "file_size", len(d) + (1 << 32))),
        **{f"counts__{name}_{n}": edited(d, ("header", name, n))
           for name, n in (("n_axes", 9), ("n_values", 0), ("n_values", 4097), ("n_nodes", 0), ("n_nodes", 4097),
                           ("n_tensors", 4097), ("n_inputs", 0), ("n_inputs", 65), ("n_inputs", 2),
                           ("n_outputs", 0), ("n_outputs", 65), ("n_tests", 2))},
        "counts__n_nodes_huge": edited(d, ("header", "n_nodes", NONE)),
        "tables__too_many_values": edited(d, ("header", "n_values", 4096)),
        "tables__too_many_nodes": edited(d, ("header", "n_nodes", 4096)),
        "tables__too_many_tensors": edited(d, ("header", "n_tensors", 4096)),
        "tables__strings_too_long": edited(d, ("header", "strings", NONE)),
        "tables__metadata_too_long": edited(t, ("header", "meta", NONE)),
        "tables__reserved": edited(d, ("header", "reserved", 1)),
        "tables__reserved_last": edited(d, ("header", "last", 1)),
        "interface__input_is_mask": edited(words(), ("value", 0, "kind", 4)),
        "interface__two_lengths": edited(words(), ("value", 0, "kind", 5)),
        "interface__output_is_input": edited(d, ("output", "value", 0)),
        "interface__output_beyond": edited(d, ("output", "value", 2)),
        "interface__output_is_mask": edited(words(), ("output", "value", 3)),
        "interface__output_twice": edited(words(), ("output", "value", 2)),
        "string__name_too_long": edited(d, ("value", 0, "name_size", 99)),
        "string__name_outside": edited(d, ("value", 0, "name", 99)),
        "string__name_wraps": edited(d, ("value", 0, "name", NONE)),
        "selftest__no_rows": edited(t, ("selftest", "batch", 0)),
        "selftest__too_many_rows": edited(t, ("selftest", "batch", 4097)),
        **{f"selftest__{field}_{name}": edited(t, ("selftest", field, value))
           for field in ("atol", "rtol")
           for name, value in (("infinite", math.inf), ("nan", math.nan), ("negative", -1e-9))},
        "selftest__rtol_too_large": edited(t, ("selftest", "rtol", 0.011)),
        "selftest__reserved": edited(t, ("selftest", "reserved", 1)),
        "selftest__other_batch": edited(t, ("selftest", "batch", 3)),
        "selftest__other_steps": edited(t, ("selftest", "steps", 2)),
        "selftest__no_tensor": edited(t, ("selftest", "tensor0", 2)),
        "selftest__absent_tensor": edited(t, ("selftest", "tensor1", NONE)),
        "selftest__dtype": edited(t, ("tensor", 0, "dtype", 2)),
        "selftest__layout": edited(t, ("tensor", 0, "layout", 1), ("tensor", 0, "units", 4),
                                   ("tensor", 0, "bytes", 16)),
        "selftest__size": edited(t, ("tensor", 1, "units", 3), ("tensor", 1, "k", 2)),
    }  # fmt: skip


def orders_and_axes() -> dict[str, bytes]:
    """What version 3 adds."""
    d, t = derived(), tested()
    rules = {
        "later_parent": (d, ("axis", 1, "parent", 2)),
        "its_own_parent": (d, ("axis", 1, "parent", 1)),
        "first_has_parent": (d, ("axis", 0, "parent", 0)),
        "mul_too_large": (d, ("axis", 2, "mul", 1 << 31)),
        "div_0": (d, ("axis", 1, "div", 0)),
        "div_too_large": (d, ("axis", 1, "div", 1 << 31)),
        "cap_too_large": (d, ("axis", 1, "cap", 1 << 31)),
        "rule_without_parent": (d, ("axis", 0, "mul", 2)),
        "add_without_parent": (d, ("axis", 0, "add", 1)),
    }
    values = {
        "order_4": (d, ("value", 0, "order", 4)),
        "order_zeros": (d, ("value", 0, "zeros", 1)),
        "order_before_version_3": (t, ("value", 0, "order", 1)),
        "groups_before_version_3": (t, ("value", 0, "groups", 1)),
        "groups_of_seq": (d, ("value", 0, "groups", 1)),
        "groups_batch_first": (d, ("value", 1, "order", 0)),
        "groups_do_not_divide": (d, ("value", 1, "groups", 3)),
        "no_groups": (d, ("value", 1, "groups", 0)),
        "too_many_groups": (d, ("value", 1, "groups", 8)),
        "vec_time_first": (d, ("value", 1, "order", 1), ("value", 1, "groups", 0)),
    }
    ports = {
        "order_of_no_port": (inner(), ("value", 1, "order", 1)),
        "some_unbatched": (d, ("value", 0, "order", 2)),
        "input_on_derived_axis": (d, ("axis", 0, "parent", NONE), ("axis", 0, "mul", 0)),
    }
    nodes = {
        "node_attr__take_stride_0": (d, ("node", 0, "attr1", 0)),
        "node_attr__take_stride_too_large": (d, ("node", 0, "attr1", 1 << 30)),
        "node_attr__take_start_too_large": (d, ("node", 0, "attr0", 1 << 30)),
        "node_attr__repeat_no_times": (d, ("node", 1, "attr0", 0)),
        "node_attr__repeat_times_too_large": (d, ("node", 1, "attr0", (1 << 20) + 1)),
        "node_attr__repeat_of_vec_with_times": (d, ("node", 2, "attr0", 1)),
        "node_output__take_of_more_steps": (d, ("axis", 1, "add", 1)),
        "node_output__take_other_stride": (d, ("axis", 1, "div", 3)),
        "node_output__take_other_parent": (d, ("axis", 1, "parent", NONE), ("axis", 1, "mul", 0)),
        "node_output__take_on_its_input_axis": (d, ("value", 2, "axis", 0)),
        "node_output__repeat_other_times": (d, ("axis", 2, "mul", 2)),
        "node_output__repeat_with_add": (d, ("axis", 2, "add", 1)),
        "node_output__repeat_with_div": (d, ("axis", 2, "div", 2)),
        "node_input__take_of_vec": (d, ("node", 0, "in0", 1)),
        "selftest__steps_do_not_follow": (d, ("selftest", 0, "steps", 5), ("axis", 3, "add", 3)),
    }
    return {
        **{f"axis__{name}": edited(*args) for name, args in rules.items()},
        **{f"value__{name}": edited(*args) for name, args in values.items()},
        **{f"interface__{name}": edited(*args) for name, args in ports.items()},
        **{name: edited(*args) for name, args in nodes.items()},
    }


def records() -> dict[str, bytes]:
    """Values and tensors."""
    d, w, v = dense(), words(), features()
    peephole = layer("lstm", peephole=True)
    lanes = next(i for i in range(9) if peephole[start_of(peephole, "tensor") + 32 * i + 17] == 2)
    end = len(d) - 64
    values = {
        "kind_0": (d, ("value", 0, "kind", 0)),
        "kind_6": (d, ("value", 1, "kind", 6)),
        "reserved": (d, ("value", 0, "reserved", 1)),
        "reserved_tail": (d, ("value", 0, "tail", 1)),
        "axis_too_large": (d, ("value", 0, "axis", 1)),
        "axis_missing": (d, ("value", 0, "axis", 255)),
        "axis_of_vec": (v, ("value", 2, "axis", 0)),
        "no_features": (d, ("value", 0, "size", 0)),
        "too_many_features": (d, ("value", 0, "size", (1 << 20) + 1)),
        "ids_with_features": (w, ("value", 0, "size", 1)),
        "ids_without_axis_before_version_4": (ids_of_version_4(axis=-1, size=0), ("header", "version", 3)),
        "several_ids_before_version_4": (ids_of_version_4(axis=None), ("header", "version", 3)),
        "too_many_ids": (ids_of_version_4(axis=None), ("value", 0, "size", (1 << 20) + 1)),
        "ids_without_axis_time_first": (ids_of_version_4(axis=-1), ("value", 0, "order", 1)),
        "lengths_axis": (w, ("value", 1, "axis", 255)),
    }
    tensors = {
        "reserved": (d, ("tensor", 0, "limit", 1)),
        "dtype_0": (d, ("tensor", 0, "dtype", 0)),
        "dtype_3": (d, ("tensor", 0, "dtype", 3)),
        "layout_3": (d, ("tensor", 0, "layout", 3)),
        "gates_0": (d, ("tensor", 0, "gates", 0), ("tensor", 0, "bytes", 0)),
        "gates_5": (d, ("tensor", 1, "gates", 5)),
        "k_too_large": (d, ("tensor", 0, "k", (1 << 20) + 1)),
        "plain_with_gates": (w, ("tensor", 0, "gates", 2), ("tensor", 0, "units", 2)),
        "plain_too_many_units": (w, ("tensor", 0, "units", 1 << 31), ("tensor", 0, "k", 0), ("tensor", 0, "bytes", 0)),
        "panels_without_units": (d, ("tensor", 0, "units", 0), ("tensor", 0, "bytes", 0)),
        "panels_too_many_units": (d, ("tensor", 0, "units", (1 << 20) + 1)),
        "panels_without_inputs": (d, ("tensor", 0, "k", 0), ("tensor", 0, "bytes", 0)),
        "lanes_with_inputs": (peephole, ("tensor", lanes, "k", 2), ("tensor", lanes, "bytes", 96)),
        "too_few_bytes": (d, ("tensor", 0, "bytes", 44)),
        "too_many_bytes": (d, ("tensor", 0, "bytes", 52)),
        "bytes_high_half": (d, ("tensor", 0, "bytes", 48 + (1 << 32))),
        "misaligned": (d, ("tensor", 1, "offset", end - 128 + 16)),
        "in_the_tables": (d, ("tensor", 0, "offset", 128)),
        "beyond_the_file": (d, ("tensor", 0, "offset", len(d) + 64)),
        "no_room_to_overread": (d, ("tensor", 1, "offset", end)),
        "offset_wraps": (d, ("tensor", 0, "offset", (1 << 64) - 64)),
        "larger_than_the_file": (w, ("tensor", 0, "units", 0x7FFFFFFF), ("tensor", 0, "bytes", 4 * 3 * 0x7FFFFFFF)),
    }
    out = {f"value__{name}": edited(*case) for name, case in values.items()}
    out.update({f"tensor__{name}": edited(*case) for name, case in tensors.items()})
    return out


def windows_and_more_axes() -> dict[str, bytes]:
    """What windows, steps padded and regrouped, and more than eight time axes add."""
    w = windows()
    attrs = {
        "conv_no_height": (CONV, 0, 0),
        "conv_places_do_not_divide": (CONV, 1, 4),
        "conv_places_wrap": (CONV, 0, 1 << 31),
        "conv_no_kernel": (CONV, 2, 0),
        "conv_no_kernel_width": (CONV, 3, 1),
        "conv_kernel_too_wide": (CONV, 3, 1 | 4 << 16),
        "conv_kernel_wraps": (CONV, 2, NONE),
        "conv_stride_0": (CONV, 4, 0),
        "conv_stride_too_large": (CONV, 4, (1 << 28) + 1),
        "conv_width_stride_0": (CONV, 5, 1),
        "conv_dilation_0": (CONV, 6, 0),
        "conv_dilation_too_large": (CONV, 6, (1 << 20) + 1),
        "conv_width_dilation_too_large": (CONV, 7, 1 | 0xFFFF << 16),
        "conv_padding_too_large": (CONV, 8, (1 << 28) + 1),
        "conv_padding_behind_wraps": (CONV, 9, NONE),
        "conv_no_groups": (CONV, 12, 0),
        "conv_groups_do_not_divide": (CONV, 12, 3),
        "conv_groups_wrap": (CONV, 12, NONE),
        "conv_whole_2": (CONV, 13, 2),
        "pool_kind_3": (POOL, 12, 3),
        "pool_whole_2": (POOL, 13, 2),
        "pool_kernel_of_too_many_places": (POOL, 2, 1 << 20),
        "pad_before_too_large": (PAD, 0, (1 << 28) + 1),
        "pad_after_wraps": (PAD, 1, NONE),
        "pad_value_nan": (PAD, 2, NAN),
        "pad_mode_3": (PAD, 3, 3),
        "flatten_no_steps": (FLATTEN, 0, 0),
        "flatten_too_many_features": (FLATTEN, 0, 1 << 19),
        "unflatten_no_times": (UNFLATTEN, 0, 0),
        "unflatten_does_not_divide": (UNFLATTEN, 0, 4),
        "unflatten_too_often": (UNFLATTEN_VEC, 0, 7),
        "convlstm_no_width": (CONVLSTM, 1, 0),
        "convlstm_kernel_too_wide": (CONVLSTM, 2, 1 | 4 << 16),
        "convlstm_stride_0": (CONVLSTM, 3, 1),
        "convlstm_dilation_0": (CONVLSTM, 4, 1),
        "convlstm_no_kernel_of_h": (CONVLSTM, 7, 3 << 16),
        "convlstm_gate_softmax": (CONVLSTM, 8, 13),
        "convlstm_cell_unknown": (CONVLSTM, 11, 1000),
        "convlstm_output_alpha_nan": (CONVLSTM, 15, NAN),
    }
    others = {
        "node_output__conv_of_more_steps": ("node", CONV, "attr8", 2),
        "node_output__conv_of_other_width": ("node", CONV, "attr11", 1),
        "node_output__pool_with_other_stride": ("node", POOL, "attr4", 3),
        "node_output__pool_on_its_input_axis": ("value", 4, "axis", 0),
        "node_output__pool_with_cap": ("axis", 1, "cap", 7),
        "node_output__pad_of_fewer_steps": ("axis", 2, "add", 1),
        "node_output__flatten_of_more_steps": ("node", FLATTEN, "attr0", 4),
        "node_output__unflatten_with_add": ("axis", 3, "add", 1),
        "node_output__unflatten_of_vec_on_other_axis": ("axis", 4, "add", 2),
        "node_output__convlstm_of_other_size": ("node", CONVLSTM, "attr6", 1),
        "node_input__pad_of_vec": ("node", PAD, "in0", 1),
        "node_input__flatten_of_vec": ("node", FLATTEN, "in0", 1),
        "node_input__convlstm_of_vec": ("node", CONVLSTM, "in0", 1),
        "node_input__convlstm_h0_of_other_size": ("node", CONVLSTM, "in1", 1),
        "node_input__convlstm_c0_is_seq": ("node", CONVLSTM, "in2", 2),
        "node_input__convlstm_with_two": ("node", CONVLSTM, "n_in", 2),
        "node_tensor__conv_absent": ("node", CONV, "tensor0", NONE),
        "node_tensor__conv_of_each_channel": ("node", CONV, "tensor0", 2),
        "node_tensor__conv_bias_of_each_channel": ("node", CONV, "tensor1", 3),
        "node_tensor__depthwise_in_panels": ("node", DEPTHWISE, "tensor0", 0),
        "node_tensor__depthwise_bias_in_panels": ("node", DEPTHWISE, "tensor1", 1),
        "node_tensor__pool_has_one": ("node", POOL, "n_tensors", 1),
        "node_tensor__convlstm_h_absent": ("node", CONVLSTM, "tensor2", NONE),
        "node_tensor__convlstm_swapped": ("node", CONVLSTM, "tensor0", 6),
        "node_tensor__convlstm_kernel_of_h": ("node", CONVLSTM, "attr7", 1 | 5 << 16),
        "op__conv_before_version_4": ("header", "version", 3),
    }
    return {
        **{f"node_attr__{name}": edited(w, ("node", node, f"attr{attr}", value))
           for name, (node, attr, value) in attrs.items()},
        **{name: edited(w, edit) for name, edit in others.items()},
        "node_attr__conv_of_vec_with_padding": edited(vector(), ("node", 0, "attr8", 1)),
        "counts__n_axes_33": edited(many_axes(), ("header", "n_axes", 33)),
        "counts__many_axes_before_version_4": edited(many_axes(), ("header", "version", 3)),
    }  # fmt: skip


@cache
def vector() -> bytes:
    """Version 4: a conv of a vec."""
    g = Graph()
    g.output(g.conv(g.input("v", "vec", 6), weights(rng(), 4, 2, 1, 1, 2), size=(1, 3)), "y")
    return dumps(g)


def node_values() -> dict[str, bytes]:
    """What nodes read and write."""
    d, w, f = dense(), words(), features()
    lstm, gru = layer("lstm"), layer("gru")
    several, once = ids_of_version_4(axis=None), ids_of_version_4(axis=-1)
    inputs = {
        "too_many": (d, ("node", 0, "n_in", 7)),
        "none": (d, ("node", 0, "n_in", 0)),
        "one_more": (d, ("node", 0, "n_in", 2)),
        "absent": (d, ("node", 0, "in0", NONE)),
        "its_own_output": (d, ("node", 0, "in0", 1)),
        "a_later_value": (f, ("node", CONCAT, "in0", 9)),
        "embedding_of_lengths": (w, ("node", 0, "in0", 1)),
        "mask_ids_of_seq": (w, ("node", 1, "in0", 2)),
        "mask_values_of_vec": (lstm, ("node", 0, "in0", 1)),
        "apply_mask_to_mask": (w, ("node", 2, "in0", 3)),
        "apply_mask_with_seq": (w, ("node", 2, "in1", 2)),
        "apply_mask_without": (w, ("node", 2, "n_in", 1)),
        "mask_of_several_ids": (several, ("node", 1, "op", 2), ("node", 1, "n_tensors", 0)),
        "mask_of_ids_of_one_step": (once, ("node", 0, "op", 2), ("node", 0, "n_tensors", 0)),
        "align_of_ids": (several, ("node", 0, "op", 42), ("node", 0, "n_tensors", 0)),
        "cut_of_ids": (several, ("header", "version", 5), ("node", 0, "op", 43), ("node", 0, "n_tensors", 0)),
        "dense_of_ids": (w, ("node", 2, "op", 9), ("node", 2, "n_in", 1), ("node", 2, "in0", 0)),
        "add_of_one": (f, ("node", ADD, "n_in", 1)),
        "add_of_other_kind": (f, ("node", ADD, "in1", 2)),
        "add_of_other_axis": (f, ("node", ADD, "in1", 3)),
        "add_of_other_size": (f, ("node", SLICE, "op", 12), ("node", SLICE, "n_in", 2), ("node", SLICE, "in1", 0)),
        "concat_of_one": (f, ("node", CONCAT, "n_in", 1)),
        "concat_of_none": (f, ("node", CONCAT, "n_in", 0)),
        "concat_of_kinds": (f, ("node", CONCAT, "in1", 2)),
        "concat_of_axes": (f, ("node", CONCAT, "in1", 3)),
        "concat_with_absent": (f, ("node", CONCAT, "n_in", 3)),
        "reverse_of_vec": (f, ("node", REVERSE, "in0", 2)),
        "select_of_vec": (f, ("node", SELECT, "in0", 2)),
        "recurrent_of_vec": (lstm, ("node", 1, "in0", 1)),
        "recurrent_with_three": (lstm, ("node", 1, "n_in", 3)),
        "h0_is_seq": (lstm, ("node", 1, "in1", 0)),
        "h0_of_other_size": (layer("lstm", proj=1), ("node", 1, "in1", 2)),
        "h0_of_one_direction": (layer("lstm", direction="bidirectional"), ("value", 1, "size", 2)),
        "c0_of_other_size": (layer("lstm", proj=1), ("node", 1, "in2", 1)),
        "c0_of_gru": (gru, ("node", 1, "in2", 1)),
        "mask_is_seq": (lstm, ("node", 1, "in3", 0)),
        "mask_is_later": (lstm, ("node", 1, "in3", 6)),
    }
    outputs = {
        "too_many": (d, ("node", 0, "n_out", 4)),
        "none": (d, ("node", 0, "n_out", 0)),
        "absent": (d, ("node", 0, "out0", NONE)),
        "an_input": (d, ("node", 0, "out0", 0)),
        "beyond": (d, ("node", 0, "out0", 2)),
        "twice": (f, ("node", CONCAT, "out0", 4)),
        "swapped": (lstm, ("node", 1, "out1", 6), ("node", 1, "out2", 5)),
        "lstm_with_two": (lstm, ("node", 1, "n_out", 2)),
        "gru_with_three": (gru, ("node", 1, "n_out", 3)),
        "of_other_kind": (f, ("value", 11, "kind", 1), ("value", 11, "axis", 0)),
        "of_other_size": (d, ("value", 1, "size", 3)),
        "of_other_axis": (f, ("value", 4, "axis", 1)),
        "embedding_of_other_size": (w, ("value", 2, "size", 4)),
        "align_of_other_size": (shifted(), ("value", 3, "size", 3)),
        "align_to_vec": (shifted(), ("value", 3, "kind", 2), ("value", 3, "axis", 255)),
        "cut_to_vec": (cut(), ("value", 1, "kind", 2), ("value", 1, "axis", 255)),
        "cut_of_other_size": (cut(), ("value", 1, "size", 3)),
        "embedding_of_more_ids": (several, ("value", 2, "size", 9)),
        "embedding_of_steps_is_vec": (several, ("value", 2, "kind", 2), ("value", 2, "axis", 255)),
        "concat_of_other_size": (f, ("value", 5, "size", 5)),
        "slice_of_other_size": (f, ("value", 6, "size", 1)),
        "h_of_other_size": (lstm, ("value", 5, "size", 4)),
        "c_of_other_size": (lstm, ("value", 6, "size", 4)),
    }
    out = {f"node_input__{name}": edited(*case) for name, case in inputs.items()}
    out.update({f"node_output__{name}": edited(*case) for name, case in outputs.items()})
    out.update({f"op__{n}": edited(d, ("node", 0, "op", n)) for n in (0, 19, 21, 65535)})
    out["node_output__never_written"] = with_extra_value()
    return out


def node_attrs() -> dict[str, bytes]:
    d, f, lstm, gru, rnn = dense(), features(), layer("lstm"), layer("gru"), layer("rnn")
    attrs = {
        "no_units": (lstm, 1, 0, 0),
        "too_many_units": (lstm, 1, 0, (1 << 20) + 1),
        "other_input_size": (lstm, 1, 1, 2),
        "projection_too_large": (lstm, 1, 2, (1 << 20) + 1),
        "projection_of_gru": (gru, 1, 2, 2),
        "projection_of_rnn": (rnn, 1, 2, 2),
        "unknown_flag": (lstm, 1, 3, 16),
        "reverse_and_both": (layer("lstm", direction="bidirectional"), 1, 3, 3),
        "reset_after_of_lstm": (lstm, 1, 3, 4),
        "reset_after_of_rnn": (rnn, 1, 3, 4),
        "clip_nan": (lstm, 1, 4, NAN),
        "clip_infinite": (lstm, 1, 4, INF),
        "clip_negative": (lstm, 1, 4, 0xBF800000),
        "gate_softmax": (lstm, 1, 5, 13),
        "cell_log_softmax": (lstm, 1, 8, 14),
        "gate_of_a_later_version": (lstm, 1, 11, 15),
        "gate_unknown": (lstm, 1, 11, 34),
        "gate_alpha_nan": (gru, 1, 6, NAN),
        "gate_beta_infinite": (rnn, 1, 7, INF),
        "dense_activation_of_a_later_version": (d, 0, 0, 15),
        "dense_alpha_nan": (d, 0, 1, NAN),
        "activation_unknown": (f, ACTIVATION, 0, NONE),
        "activation_beta_nan": (f, ACTIVATION, 2, 0xFFC00000),
        "layernorm_eps_nan": (f, LAYERNORM, 0, NAN),
        "layernorm_eps_negative": (f, LAYERNORM, 0, 0x80800000),
        "embedding_starts_beyond": (ids_of_version_4(axis=None), 0, 0, 3),
        "embedding_reads_too_many": (ids_of_version_4(axis=None), 1, 1, 4),
        "slice_of_nothing": (f, SLICE, 1, 0),
        "slice_too_long": (f, SLICE, 1, 4),
        "slice_starts_beyond": (f, SLICE, 0, 3),
        "slice_wraps": (f, SLICE, 0, NONE),
        "slice_size_wraps": (f, SLICE, 1, NONE),
        "select_2": (f, SELECT, 0, 2),
    }
    return {f"node_attr__{name}": edited(b, ("node", n, f"attr{i}", value)) for name, (b, n, i, value) in attrs.items()}


def node_tensors() -> dict[str, bytes]:
    """Weights of the layer (node 1): w_ih 0, bias 1, w_hh 2, bias_hh 3, then two that depend on the cell."""
    d, w, f = dense(), words(), features()
    lstm, rnn, projected = layer("lstm"), layer("rnn"), layer("lstm", proj=1)
    after, before, both = layer("gru"), layer("gru", reset_after=False), layer("lstm", direction="bidirectional")

    def slot(blob: bytes, i: int, tensor: int, node: int = 1) -> tuple[Any, ...]:
        return blob, ("node", node, f"tensor{i}", tensor)

    cases = {
        "too_many": (d, ("node", 0, "n_tensors", 13)),
        "one_less": (d, ("node", 0, "n_tensors", 1)),
        "of_one_direction": (both, ("node", 1, "n_tensors", 6)),
        "of_no_weights": (f, ("node", ADD, "n_tensors", 1)),
        "dense_absent": slot(d, 0, NONE, 0),
        "dense_beyond": slot(d, 0, 2, 0),
        "dense_other_inputs": slot(d, 0, 1, 0),
        "dense_bias_is_weight": slot(d, 1, 0, 0),
        "dense_bias_beyond": slot(d, 1, 2, 0),
        "dense_dtype": (d, ("tensor", 0, "dtype", 2)),
        "dense_layout": (d, ("tensor", 0, "layout", 0), ("tensor", 0, "units", 4)),
        "embedding_absent": slot(w, 0, NONE, 0),
        "embedding_dtype": (w, ("tensor", 0, "dtype", 2)),
        "embedding_layout": (w, ("tensor", 0, "layout", 1)),
        "layernorm_size": (f, ("tensor", 0, "k", 1), ("tensor", 0, "bytes", 4)),
        "layernorm_beyond": slot(f, 1, 99, LAYERNORM),
        "batchnorm_absent": slot(f, 1, NONE, BATCHNORM),
        "batchnorm_two": (f, ("node", BATCHNORM, "n_tensors", 2)),
        "w_ih_absent": slot(lstm, 0, NONE),
        "w_ih_is_w_hh": slot(lstm, 0, 2),
        "w_hh_absent": slot(lstm, 2, NONE),
        "w_hh_is_bias": slot(lstm, 2, 1),
        "bias_is_w_hh": slot(lstm, 1, 2),
        "lstm_bias_hh": slot(lstm, 3, 1),
        "lstm_projection_missing": slot(projected, 4, NONE),
        "lstm_projection_other": slot(projected, 4, 0),
        "lstm_projection_unexpected": slot(lstm, 4, 0),
        "lstm_peephole_layout": slot(lstm, 5, 1),
        "gru_after_without_bias_hh": slot(after, 3, NONE),
        "gru_after_extra": slot(after, 4, 0),
        "gru_after_extra2": slot(after, 5, 1),
        "gru_before_without_bias_hh": slot(before, 3, NONE),
        "gru_before_without_candidate": slot(before, 4, NONE),
        "gru_before_without_candidate_bias": slot(before, 5, NONE),
        "rnn_extra": slot(rnn, 4, 0),
        "rnn_extra2": slot(rnn, 5, 1),
        "second_direction_absent": slot(both, 6, NONE),
    }
    return {f"node_tensor__{name}": edited(*case) for name, case in cases.items()}


def version_4_rows() -> dict[str, bytes]:
    """Ops over rows of features."""
    r, a = rows(), later_activation()
    before = ("header", "version", 3)
    attrs = {
        "l2norm_eps_negative": (L2NORM, 0, 0x80800000),
        "l2norm_no_groups": (L2NORM, 1, 0),
        "l2norm_groups_do_not_divide": (L2NORM, 1, 3),
        "groupnorm_eps_nan": (GROUPNORM, 0, NAN),
        "groupnorm_more_groups_than_features": (GROUPNORM, 1, 8),
        "reduce_features_kind_6": (REDUCE_FEATURES, 0, 6),
        "reduce_features_no_groups": (REDUCE_FEATURES, 1, 0),
        "celu_alpha_0": (CELU, 1, 0),
        "celu_alpha_negative": (CELU, 1, 0xBF800000),
        "activation_34": (CELU, 0, 34),
    }
    cases = {
        "op__sub_before_version_4": (r, before),
        "op__cut_before_version_5": (cut(), ("header", "version", 4)),
        "node_attr__exp_before_version_4": (a, before),
        "node_input__broadcast_before_version_4": (broadcast(), before),
        "node_input__broadcast_of_average": (broadcast(), ("node", 0, "op", 14)),
        "node_input__constant_of_one": (r, ("node", CONSTANT, "n_in", 1)),
        "node_output__constant_of_other_size": (r, ("value", 11, "size", 4)),
        "node_output__constant_is_seq": (r, ("value", 11, "kind", 1), ("value", 11, "axis", 0)),
        "node_tensor__constant_absent": (r, ("node", CONSTANT, "tensor0", NONE)),
        "node_input__sub_of_one": (r, ("node", SUB, "n_in", 1)),
        "node_input__sub_of_axes": (r, ("node", SUB, "in1", 2)),
        "node_input__sub_of_sizes": (r, ("node", SUB, "in1", 3)),
        "node_input__sub_of_later": (r, ("node", SUB, "in1", 5)),
        "node_output__sub_is_vec": (r, ("value", 4, "kind", 2), ("value", 4, "axis", 255)),
        "node_output__sub_on_other_axis": (r, ("value", 4, "axis", 1)),
        "node_output__sub_of_other_size": (r, ("value", 4, "size", 1)),
        "node_output__gather_of_other_size": (r, ("value", 5, "size", 6)),
        "node_output__reduce_features_of_other_size": (r, ("value", 10, "size", 4)),
        "node_tensor__gather_absent": (r, ("node", GATHER, "tensor0", NONE)),
        "node_tensor__gather_without": (r, ("node", GATHER, "n_tensors", 0)),
        "node_tensor__gather_beyond": (r, ("node", GATHER, "tensor0", 99)),
        "node_tensor__gather_of_floats": (r, ("tensor", 0, "dtype", 1)),
        "node_tensor__gather_in_columns": (r, ("tensor", 0, "units", 4), ("tensor", 0, "k", 1)),
        "node_tensor__gather_of_nothing": (r, ("tensor", 0, "k", 0), ("tensor", 0, "bytes", 0)),
        "node_tensor__prelu_absent": (r, ("node", PRELU, "tensor0", NONE)),
        "node_tensor__prelu_of_integers": (r, ("node", PRELU, "tensor0", 0)),
        "node_tensor__groupnorm_of_integers": (r, ("node", GROUPNORM, "tensor0", 0)),
    }
    return {
        **{name: edited(*case) for name, case in cases.items()},
        **{f"node_attr__{name}": edited(r, ("node", n, f"attr{i}", value)) for name, (n, i, value) in attrs.items()},
        "node_tensor__gather_index_too_large": with_integer(r, 0, 2, 6),
        "node_tensor__gather_index_negative": with_integer(r, 0, 2, -1),
    }


def version_4_shapes() -> dict[str, bytes]:
    """Shaped ports. x has the dims N 2 T 3, v 4 N, ids N 1 T, y T N 6."""
    s = shaped()
    dims = {
        "no_size": (0, 1, 0),
        "negative_size": (0, 1, -3),
        "other_product": (0, 1, 3),
        "product_overflows": (0, 1, (1 << 31) - 1),
        "batch_twice": (0, 1, -1),
        "no_steps": (0, 2, 1),
        "steps_twice": (2, 1, -2),
        "steps_of_vec": (1, 0, -2),
        "ids_with_features": (2, 1, 2),
        "output_without_batch": (3, 1, 1),
        "of_input_joined": (0, 1, -3),
        "joined_at_the_start": (3, 0, -3),
        "joined_at_the_end": (3, 2, -3),
        "unknown_mark": (3, 1, -4),
    }
    cases = {
        "value__shaped_before_version_4": (s, ("header", "version", 3)),
        "value__order_5": (s, ("value", 0, "order", 5)),
        "interface__no_dims": (s, ("value", 0, "groups", 99)),
        "interface__absent_dims": (s, ("value", 0, "groups", NONE)),
        "interface__dims_of_floats": (s, ("tensor", 0, "dtype", 1)),
        "interface__dims_in_columns": (s, ("tensor", 0, "units", 4), ("tensor", 0, "k", 1)),
        "interface__too_many_dims": (s, ("tensor", 0, "k", 17), ("tensor", 0, "bytes", 68)),
        "interface__dims_of_other_features": (s, ("value", 1, "size", 8)),
    }
    return {
        **{name: edited(*case) for name, case in cases.items()},
        **{f"interface__dims_{name}": with_integer(s, *case) for name, case in dims.items()},
    }


def nodes_along_time() -> dict[str, bytes]:
    """Ops 30, 31, 32 and 38."""
    b = along_time()
    inputs = {
        "reduce_of_vec": ("node", REDUCE, "in0", 1),
        "reduce_with_one": ("node", REDUCE, "n_in", 1),
        "reduce_mask_is_seq": ("node", REDUCE, "in1", 4),
        "reduce_mask_of_other_axis": ("node", REDUCE, "in0", 2),
        "cumsum_of_vec": ("node", CUMSUM, "in0", 1),
        "softmax_steps_of_vec": ("node", SOFTMAX_STEPS, "in0", 1),
        "softmax_steps_mask_is_later": ("node", SOFTMAX_STEPS, "in1", 5),
        "attention_without_query": ("node", SELF, "in0", NONE),
        "attention_of_a_mask": ("node", SELF, "in0", 3),
        "attention_key_is_vec": ("node", ATTENTION, "in1", 1),
        "attention_value_is_vec": ("node", ATTENTION, "in2", 1),
        "attention_value_of_other_axis": ("node", SELF, "in2", 2),
        "attention_key_of_other_size": ("node", SELF, "in1", 7),
        "attention_mask_is_seq": ("node", SELF, "in3", 0),
        "attention_mask_of_other_axis": (("node", ATTENTION, "in1", 2), ("node", ATTENTION, "in2", 2)),
        "attention_without_mask": ("node", SELF, "n_in", 3),
        "attention_value_not_of_its_heads": (("node", SELF, "in2", 7), ("node", SELF, "attr0", 3)),
        "attention_key_not_of_its_heads": ("node", SELF, "attr1", 1),
    }
    outputs = {
        "reduce_of_seq": (("node", REDUCE, "op", 32), ("node", REDUCE, "n_in", 1)),
        "attention_without_weights": ("node", ATTENTION, "n_out", 1),
        "attention_weights_of_seq": ("node", SELF, "n_out", 2),
        "attention_weights_of_other_size": ("value", 7, "size", 3),
        "attention_of_other_size": ("value", 9, "size", 5),
        "attention_of_other_axis": ("value", 9, "axis", 1),
        "cumsum_of_other_size": ("value", 4, "size", 5),
    }
    attrs = {
        "reduce_kind": ("node", REDUCE, "attr0", 6),
        "reduce_whole": ("node", REDUCE, "attr1", 2),
        "softmax_steps_whole": ("node", SOFTMAX_STEPS, "attr0", 2),
        "attention_no_heads": ("node", SELF, "attr0", 0),
        "attention_too_many_heads": ("node", SELF, "attr0", (1 << 20) + 1),
        "attention_heads_do_not_divide": ("node", SELF, "attr0", 4),
        "attention_groups_do_not_divide": ("node", SELF, "attr1", 4),
        "attention_groups_wrap": ("node", SELF, "attr1", NONE),
        "attention_kind": ("node", SELF, "attr2", 2),
        "attention_scale_nan": ("node", SELF, "attr3", NAN),
        "attention_scale_infinite": ("node", SELF, "attr3", INF),
        "attention_causal": ("node", SELF, "attr4", 2),
        "attention_causal_of_vec": ("node", ATTENTION, "attr4", 1),
        "attention_whole": ("node", SELF, "attr5", 2),
    }
    tensors = {
        "attention_none": ("node", SELF, "n_tensors", 0),
        "attention_weight_of_products": ("node", ATTENTION, "attr2", 0),
        "attention_weight_of_other_size": (("tensor", 0, "k", 5), ("tensor", 0, "bytes", 20)),
        "attention_weight_beyond": ("node", ATTENTION, "tensor0", 1),
    }
    out = {}
    for kind, cases in (("input", inputs), ("output", outputs), ("attr", attrs), ("tensor", tensors)):
        for name, case in cases.items():
            edits = case if isinstance(case[0], tuple) else (case,)
            out[f"node_{kind}__{name}"] = edited(b, *edits)
    out["op__reduce_before_version_4"] = edited(b, ("header", "version", 3))
    return out


@cache
def integers(bits: int = 8) -> bytes:
    """x (0) -> dense of integer weights -> y (1). Tensors: weight (0), 4 units of 5 inputs, bias (1)."""
    g = Graph()
    x = g.input("x", "seq", 5)
    most = 127 if bits == 8 else 30_000
    values = np.full((4, 5), most, np.int8 if bits == 8 else np.int16)
    limit = (1 << 31) // (5 * most) if bits == 16 else 32639
    w: Any = Quantised(values, np.full(4, 2.0**-7, np.float32), limit)
    g.output(g.dense(x, w, weights(rng(), 4)), "y")
    return dumps(g)


@cache
def integer_gru() -> bytes:
    """x (0) -> gru, reset before, of integer weights. Tensors: W (0), U_rz (1), U_n (4)."""
    g = Graph()
    w: dict[str, Any] = dict(cell_weights(rng(), "gru", 3, 4))
    for name in ("w_ih", "w_hh"):
        w[name] = Quantised(np.ones(w[name].shape, np.int8), np.ones(len(w[name]), np.float32), 100)
    g.output(g.recurrent("gru", g.input("x", "seq", 3), w, hidden_size=4, reset_after=False)[0], "y")
    return dumps(g)


@cache
def integer_windows() -> bytes:
    """x (0) -> conv of two groups of 16 outputs -> convlstm, all of integer weights. Tensors: weight (0), 32 units of 6
    inputs, and bias (1) of conv; of convlstm W (2), no bias, and U (3)."""
    g = Graph()

    def ones(*shape: int) -> Any:
        return Quantised(np.ones(shape, np.int8), np.ones(shape[0], np.float32), 100)

    v = g.conv(g.input("x", "seq", 4), ones(32, 2, 3, 1, 1), weights(rng(), 32), groups=2, pad=((2, 0), (0, 0), (0, 0)))
    g.output(g.convlstm(v, ones(8, 8, 1, 2), ones(8, 2, 1, 1), size=(1, 4))[0], "y")
    return dumps(g)


def integer_weights() -> dict[str, bytes]:
    """What version 5 adds."""
    i8, i16, gru, conv = integers(), integers(16), integer_gru(), integer_windows()
    limit = (1 << 31) // (5 * 30_000)
    tensors = {
        "integers_before_version_5": (i8, ("header", "version", 4)),
        "integers_dtype_5": (i8, ("tensor", 0, "dtype", 5)),
        "integers_plain": (i8, ("tensor", 0, "layout", 0), ("tensor", 0, "k", 4)),
        "integers_of_other_width": (i8, ("tensor", 0, "dtype", 4)),
        "integers_without_scales": (i8, ("tensor", 0, "bytes", 32)),
        "integers_limit_0": (i8, ("tensor", 0, "limit", 0)),
        "integers_limit_too_large": (i8, ("tensor", 0, "limit", 32640)),
        "integers_sums_overflow": (i16, ("tensor", 0, "limit", limit + 1)),
        "floats_with_limit": (i8, ("tensor", 1, "limit", 1)),
    }
    padding = bytearray(i16)  # half of the third word is an input that does not exist
    at = struct.unpack_from("<Q", i16, start_of(i16, "tensor"))[0]
    struct.pack_into("<h", padding, at + 4 * 4 * 2 + 2, 32767)
    nodes = {
        "integers_as_bias": (i8, ("node", 0, "tensor1", 0)),
        "integers_of_other_inputs": (i8, ("tensor", 0, "k", 6)),
        "integers_gru_other_limit": (gru, ("tensor", 1, "limit", 99)),
        "integers_conv_of_other_kernel": (conv, ("tensor", 0, "k", 7)),
        "integers_conv_in_parts_of_panels": (conv, ("node", 0, "attr12", 4)),
        "integers_conv_bias_by_groups": (conv, ("tensor", 1, "units", 16), ("tensor", 1, "k", 2)),
        "integers_convlstm_of_other_kernel": (conv, ("tensor", 2, "k", 13)),
        "integers_convlstm_h_of_bias": (conv, ("node", 1, "tensor2", 1)),
        "integers_convlstm_as_bias": (conv, ("node", 1, "tensor1", 3)),
    }
    return {
        **{f"tensor__{name}": edited(*args) for name, args in tensors.items()},
        **{f"node_tensor__{name}": edited(*args) for name, args in nodes.items()},
        "tensor__integers_padding_overflows": seal(padding),
    }


@cache
def blocks(bits: int = 32) -> bytes:
    """x (0) -> dense of blocks -> y (1). Tensors: weight (0), 20 units of 24 inputs, bias (1).

    Strips are 16 units and 4. The first has blocks for words 0, 1 and 5, the second for 2 and 3: starts 0, 3, 5.
    """
    g, per_word = Graph(), 32 // bits
    x = g.input("x", "seq", 24)
    values = np.zeros((20, 24))
    for unit, word in ((0, 0), (1, 1), (15, 5), (17, 2), (18, 3)):
        values[unit, word * per_word] = 100
    w: Any = values.astype(np.float32)
    if bits < 32:
        w = Quantised(values.astype(f"i{bits // 8}"), np.full(20, 2.0**-7, np.float32), 32639)
    g.output(g.dense(x, w, weights(rng(), 20)), "y")
    return dumps(g, blocks_below=1.0)


def with_data(blob: bytes, *parts: tuple[int, str, int]) -> bytes:
    """With other numbers in the data of tensor 0: where from its start, of which kind."""
    out = bytearray(blob)
    data = struct.unpack_from("<Q", blob, start_of(blob, "tensor"))[0]
    for at, code, value in parts:
        struct.pack_into("<" + code, out, data + at, value)
    return seal(out)


def sparse_weights() -> dict[str, bytes]:
    """Matrices of blocks, which version 5 adds."""
    f32, i8, i16 = blocks(), blocks(8), blocks(16)
    size = struct.unpack_from("<Q", f32, start_of(f32, "tensor") + 8)[0]
    index, index_after_scales, first = 12, 12 + 2 * 20, 64  # of the data: after three starts; the first block
    large = 0x7FFF_7FFF  # two numbers of 16 bits; one such word fits
    edits = {
        "blocks_before_version_5": (f32, ("header", "version", 4)),
        "blocks_layout_4": (f32, ("tensor", 0, "layout", 4)),
        "blocks_of_i32": (f32, ("tensor", 0, "dtype", 2)),
        "blocks_with_limit": (f32, ("tensor", 0, "limit", 1)),
        "blocks_of_integers_without_limit": (i8, ("tensor", 0, "limit", 0)),
        "blocks_of_too_many_inputs": (f32, ("tensor", 0, "k", 0x10001)),
        "blocks_without_inputs": (f32, ("tensor", 0, "k", 0)),
        "blocks_one_word_too_short": (f32, ("tensor", 0, "bytes", size - 4)),
        "blocks_one_block_too_long": (f32, ("tensor", 0, "bytes", size + 64)),
        "blocks_without_starts": (f32, ("tensor", 0, "bytes", 8)),
        "blocks_of_more_strips": (f32, ("tensor", 0, "units", 28)),
        "blocks_without_scales": (f32, ("tensor", 0, "dtype", 4), ("tensor", 0, "limit", 9)),
        "blocks_of_fewer_inputs_than_the_index": (f32, ("tensor", 0, "k", 5)),
    }
    data = {
        "blocks_do_not_start_at_0": (f32, (0, "I", 1)),
        "blocks_starts_decrease": (f32, (4, "I", 6)),
        "blocks_more_than_there_are": (f32, (8, "I", 6)),
        "blocks_far_more_than_there_are": (f32, (8, "I", 0xFFFFFFFF)),
        "blocks_index_twice": (f32, (index + 2, "H", 0)),
        "blocks_index_descends": (f32, (index + 4, "H", 0)),
        "blocks_index_beyond": (f32, (index + 8, "H", 24)),
        "blocks_of_integers_index_beyond": (i8, (index_after_scales + 8, "H", 6)),
        "blocks_sums_overflow": (i16, (first, "I", large), (first + 64, "I", large)),
        "blocks_unused_sums_overflow": (i16, (first + 3 * 64 + 60, "I", large), (first + 4 * 64 + 60, "I", large)),
    }
    nodes = {
        "blocks_as_bias": (f32, ("node", 0, "tensor1", 0)),
        "blocks_of_other_inputs": (f32, ("tensor", 0, "k", 25)),
    }
    return {
        **{f"tensor__{name}": edited(*args) for name, args in edits.items()},
        **{f"tensor__{name}": with_data(*args) for name, args in data.items()},
        **{f"node_tensor__{name}": edited(*args) for name, args in nodes.items()},
        "node_tensor__blocks_as_table": blocks_as_table(),
    }


def blocks_as_table() -> bytes:
    """An embedding cannot look up rows of blocks: the tied table (0) becomes the weight (1) of another layer."""
    g = Graph()
    e = g.embedding(g.input("ids", "ids"), weights(rng(), 20, 24))
    g.output(g.dense(e, np.eye(20, 24, dtype=np.float32)), "y")
    return edited(dumps(g, blocks_below=0.5), ("node", 0, "tensor0", 1))


def damaged() -> dict[str, bytes]:
    """Valid files, but for the checksum."""
    d, t = dense(), tested()

    def flip(blob: bytes, at: int) -> bytes:
        return blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]

    weight = struct.unpack_from("<Q", d, start_of(d, "tensor"))[0]
    return {
        "checksum__weight": flip(d, weight + 2),
        "checksum__padding": flip(d, len(d) - 1),
        "checksum__stored": flip(d, 13),
        "checksum__metadata": flip(t, t.index(b'{"a":1,') + 5),
    }


def valid_files() -> dict[str, bytes]:
    """What the others were made of: without the one change they all load."""
    cells = {f"{op}{options}": layer(op, **options) for op, options in (
        ("lstm", {}), ("gru", {}), ("rnn", {}), ("gru", {"reset_after": False}), ("lstm", {"proj": 1}),
        ("lstm", {"peephole": True}), ("lstm", {"direction": "bidirectional"}))}  # fmt: skip
    return {"dense": dense(), "words": words(), "features": features(), "tested": tested(),
            "derived": derived(), "inner": inner(), "rows": rows(), "broadcast": broadcast(),
            "later_activation": later_activation(), "shaped": shaped(), "along_time": along_time(),
            "windows": windows(), "many_axes": many_axes(), "vector": vector(), "integers": integers(),
             "integers_16": integers(16), "integer_gru": integer_gru(), "integer_windows": integer_windows(),
             "blocks": blocks(), "blocks_8": blocks(8), "blocks_16": blocks(16), **cells}


def all_files() -> dict[str, bytes]:
    makers = (container, records, orders_and_axes, windows_and_more_axes, node_values, node_attrs, node_tensors,
              version_4_rows, version_4_shapes, nodes_along_time, integer_weights, sparse_weights, damaged)
    return {name: blob for make in makers for name, blob in make().items()}


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.lrt"):
        old.unlink()
    for name, blob in all_files().items():
        (folder / f"{name}.lrt").write_bytes(blob)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
    print(f"{len(all_files())} files, {sum(map(len, all_files().values()))} bytes")
