"""``.lrt`` files: graph to bytes and back. The only Python that knows the container.

The layout is specified in ``docs/format.md``; the C core (``src/lrt_model.c``) is what validates a
file before it runs. This module writes files, and reads them for inspection.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _selftest
from ._core import MAX_COUNT, MAX_SIZE
from .errors import FormatError, GraphError
from .files import read_regular, write_atomically
from .graph import ACTIVATIONS, DIRECTIONS, GATES, Activation, Array, Graph, Node, SelfTest, Value, check_limit

MAGIC = b"\x89LRT\r\n\x1a\n"
VERSION = 2  #: the newest; a file is given the lowest that says all it needs
TIED_VERSION = 2  #: the first in which an embedding may share the panels of a dense layer
ALIGN = 64
OVERREAD = 64  #: bytes that must follow the last tensor
PANEL = 16
NONE = 0xFFFFFFFF
MAX_BYTES = 0xFFFFFFFF  #: of all names, and of the metadata: their sizes are u32

HEADER = struct.Struct("<8sIIQIIIIIIIII68x")
VALUE = struct.Struct("<BBHIII16x")
NODE = struct.Struct("<HHHH6I3I12I")  # and 17 attributes of 4 bytes
N_ATTRS = 17
TENSOR = struct.Struct("<QQBBHIII")

KIND_CODES = {"seq": 1, "vec": 2, "ids": 3, "mask": 4, "lengths": 5}
OP_CODES = {
    "embedding": 1,
    "mask_ids": 2,
    "mask_values": 3,
    "apply_mask": 4,
    "lstm": 5,
    "gru": 6,
    "rnn": 7,
    "dense": 8,
    "activation": 9,
    "layernorm": 10,
    "batchnorm": 11,
    "add": 12,
    "mul": 13,
    "average": 14,
    "concat": 15,
    "slice": 16,
    "select": 17,
    "reverse": 18,
}
ACT_CODES = {
    "linear": 0,
    "sigmoid": 1,
    "tanh": 2,
    "relu": 3,
    "hard_sigmoid": 4,
    "leaky_relu": 5,
    "elu": 6,
    "selu": 7,
    "softplus": 8,
    "softsign": 9,
    "swish": 10,
    "gelu": 11,
    "gelu_tanh": 12,
    "softmax": 13,
    "log_softmax": 14,
}
assert set(ACT_CODES) == set(ACTIVATIONS)
PLAIN, PANELS, LANES = 0, 1, 2
F32, I32 = 1, 2
REVERSE, BIDIRECTIONAL, RESET_AFTER, ZERO_MASKED = 1, 2, 4, 8

_KIND_NAMES = {v: k for k, v in KIND_CODES.items()}
_OP_NAMES = {v: k for k, v in OP_CODES.items()}
_ACT_NAMES = {v: k for k, v in ACT_CODES.items()}


# -- panels: the order in which the kernels read weights ------------------------------------------


def panel_widths(units: int) -> list[int]:
    """Widths of the panels of ``units``: 16s, then for the rest 4, 8, 8 + 4 or a padded 16."""
    full, rest = divmod(units, PANEL)
    tail = {0: [], 1: [4], 2: [8], 3: [8, 4], 4: [16]}[(rest + 3) // 4]
    return [PANEL] * full + tail


def padded_units(units: int) -> int:
    return sum(panel_widths(units))


def to_panels(w: Array, gates: int) -> Array:
    """``(gates * units, k)`` -> flat ``[panel][k][gate][lane]``, padding lanes zero."""
    units, k = w.shape[0] // gates, w.shape[1]
    padded = np.zeros((gates, padded_units(units), k), np.float32)
    padded[:, :units] = w.reshape(gates, units, k)
    parts, start = [], 0
    for width in panel_widths(units):
        parts.append(padded[:, start : start + width].transpose(2, 0, 1).ravel())
        start += width
    return np.concatenate(parts)


def from_panels(flat: Array, gates: int, units: int, k: int) -> Array:
    """Inverse of :func:`to_panels`; padding is dropped."""
    out = np.empty((gates, padded_units(units), k), np.float32)
    at = start = 0
    for width in panel_widths(units):
        n = gates * width * k
        out[:, start : start + width] = flat[at : at + n].reshape(k, gates, width).transpose(1, 2, 0)
        at, start = at + n, start + width
    return np.ascontiguousarray(out[:, :units].reshape(gates * units, k))


# -- writing ---------------------------------------------------------------------------------------


class _Writer:
    """Collects the tables of one file."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: list[tuple[bytes, int, int, int, int, int]] = []
        self.shared: dict[tuple[bytes, int, int, int, int, int], int] = {}
        self.version = 1
        self.order = _value_order(graph)
        self.strings = b""

    def tensor(self, data: NDArray[Any], dtype: int, layout: int, gates: int, units: int, k: int) -> int:
        """Number of a tensor; equal ones (tied weights) are stored once."""
        raw = np.ascontiguousarray(data, dtype="<f4" if dtype == F32 else "<i4").tobytes()
        record = (raw, dtype, layout, gates, units, k)
        if record not in self.shared:
            self.shared[record] = len(self.tensors)
            self.tensors.append(record)
        return self.shared[record]

    def is_dense_weight(self, table: Array) -> bool:
        """Is it also what a dense layer multiplies with (tied weights)?"""
        if len(table) > MAX_SIZE:
            return False
        dense = (n.weights["weight"] for n in self.graph.nodes if n.op == "dense")
        return any(w is table or (w.shape == table.shape and w.tobytes() == table.tobytes()) for w in dense)

    def panels(self, w: Array, gates: int) -> int:
        w = w.reshape(w.shape[0], -1)
        return self.tensor(to_panels(w, gates), F32, PANELS, gates, w.shape[0] // gates, w.shape[1])

    def vector(self, v: Array | None) -> int:
        return NONE if v is None else self.tensor(v, F32, PLAIN, 1, 1, v.size)

    def string(self, text: str) -> tuple[int, int]:
        raw = text.encode()
        at = len(self.strings)
        self.strings += raw
        return at, len(raw)

    # -- records

    def value(self, v: Value) -> bytes:
        axis = 255 if v.axis < 0 else v.axis
        return VALUE.pack(KIND_CODES[v.kind], axis, 0, v.size, *self.string(v.name))

    def node(self, n: Node) -> bytes:
        tensors, attrs = _NODE_WRITERS.get(n.op, _write_plain)(self, n)
        ins = [NONE if i is None else self.order[i] for i in n.inputs]
        outs = [self.order[o] for o in n.outputs if o is not None]

        def pad(ids: list[int], size: int) -> list[int]:
            return ids + [NONE] * (size - len(ids))

        head = NODE.pack(
            OP_CODES[n.op], len(ins), len(outs), len(tensors), *pad(ins, 6), *pad(outs, 3), *pad(tensors, 12)
        )
        return head + attrs.ljust(4 * N_ATTRS, b"\0")

    def selftest(self) -> bytes:
        test = self.graph.selftest
        if test is None:
            return b""
        batch, steps, test = _selftest.checked(self.graph, test)
        ids = []
        for value, array in zip(self.graph.inputs + self.graph.outputs, test.inputs + test.outputs, strict=True):
            size = max(self.graph.values[value].size, 1)
            dtype = I32 if array.dtype.kind == "i" else F32
            ids.append(self.tensor(array, dtype, PLAIN, 1, array.size // size, size))
        head = struct.pack("<IffI", batch, test.atol, test.rtol, 0)
        return head + struct.pack(f"<{len(steps) + len(ids)}I", *steps, *ids)

    def meta(self) -> bytes:
        """The metadata, with what the tables do not tell: how many parameters the source of each node had."""
        meta = {"parameters": self.graph.node_parameters(), **self.graph.meta}
        try:
            raw = json.dumps(meta, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as e:
            raise GraphError(f"the metadata cannot be written as JSON: {e}") from e
        check_limit("bytes of metadata", len(raw), MAX_BYTES)
        return raw

    def bytes(self) -> bytes:
        g = self.graph
        by_number = sorted(range(len(g.values)), key=lambda i: self.order[i])
        values = b"".join(self.value(g.values[i]) for i in by_number)
        nodes = b"".join(self.node(n) for n in g.nodes)
        outputs = struct.pack(f"<{len(g.outputs)}I", *(self.order[o] for o in g.outputs))
        selftest = self.selftest()
        meta = self.meta()
        check_limit("tensors", len(self.tensors), MAX_COUNT)
        check_limit("bytes of names", len(self.strings), MAX_BYTES)
        tables = HEADER.size + len(values) + len(nodes) + TENSOR.size * len(self.tensors)
        at = _round_up(tables + len(outputs) + len(selftest) + len(self.strings) + len(meta))
        records, data, places = b"", [], dict[bytes, int]()
        for raw, dtype, layout, gates, units, k in self.tensors:
            if raw not in places:  # tensors of other shapes may be the same bytes
                places[raw] = at
                data.append(raw.ljust(_round_up(len(raw)), b"\0"))
                at += len(data[-1])
            records += TENSOR.pack(places[raw], len(raw), dtype, layout, gates, units, k, 0)
        total = at + OVERREAD
        counts = (g.n_axes, len(g.values), len(g.nodes), len(self.tensors), len(g.inputs), len(g.outputs))
        sizes = (1 if g.selftest else 0, len(self.strings), len(meta))
        body = values + nodes + records + outputs + selftest + self.strings + meta
        head = HEADER.pack(MAGIC, self.version, 0, total, *counts, *sizes)
        start = b"".join([head, body]).ljust(_round_up(HEADER.size + len(body)), b"\0")
        blob = b"".join([start, *data, bytes(OVERREAD)])
        return blob[:12] + struct.pack("<I", zlib.crc32(blob)) + blob[16:]


def _round_up(n: int) -> int:
    return (n + ALIGN - 1) // ALIGN * ALIGN


def _value_order(graph: Graph) -> dict[int, int]:
    """Old to new numbers: inputs first, then outputs in the order of the nodes."""
    order = list(graph.inputs)
    for n in graph.nodes:
        order += [o for o in n.outputs if o is not None]
    if sorted(order) != list(range(len(graph.values))):
        raise GraphError("the graph has values that no node writes, or that are written twice")
    return {old: new for new, old in enumerate(order)}


def _act_bytes(*acts: Activation) -> bytes:
    return b"".join(struct.pack("<Iff", ACT_CODES[a.name], a.alpha, a.beta) for a in acts)


def _write_recurrent(w: _Writer, n: Node) -> tuple[list[int], bytes]:
    a = n.attrs
    flags = {"forward": 0, "reverse": REVERSE, "bidirectional": BIDIRECTIONAL}[a["direction"]]
    flags |= RESET_AFTER if a.get("reset_after") else 0
    flags |= ZERO_MASKED if a["zero_masked"] else 0
    tensors: list[int] = []
    for suffix in ("", "_reverse") if a["direction"] == "bidirectional" else ("",):
        tensors += _direction_tensors(w, n, suffix)
    acts = tuple(a["activations"]) + (Activation("linear"),) * (3 - len(a["activations"]))
    head = struct.pack("<IIIIf", a["hidden_size"], a["input_size"], a["proj_size"], flags, a["clip"])
    return tensors, head + _act_bytes(*acts)


def _direction_tensors(w: _Writer, n: Node, suffix: str) -> list[int]:
    """The six tensors of one direction; see docs/format.md."""
    gates, hidden = GATES[n.op], n.attrs["hidden_size"]
    w_hh = n.weights["w_hh" + suffix]
    zero = np.zeros(gates * hidden, np.float32)
    b_ih = n.weights.get("b_ih" + suffix, zero)
    b_hh = n.weights.get("b_hh" + suffix, zero)
    w_ih = w.panels(n.weights["w_ih" + suffix], gates)
    if n.op == "gru" and n.attrs["reset_after"]:
        return [w_ih, w.panels(b_ih, 3), w.panels(w_hh, 3), w.panels(b_hh, 3), NONE, NONE]
    if n.op == "gru":
        rz = 2 * hidden
        first = [w.panels(w_hh[:rz], 2), w.panels(b_hh[:rz], 2)]
        return [w_ih, w.panels(b_ih, 3), *first, w.panels(w_hh[rz:], 1), w.panels(b_hh[rz:], 1)]
    w_hr, peephole = n.weights.get("w_hr" + suffix), n.weights.get("peephole" + suffix)
    extra = NONE if w_hr is None else w.panels(w_hr, 1)
    extra2 = NONE
    if peephole is not None:
        lanes = np.zeros((3, padded_units(hidden)), np.float32)
        lanes[:, :hidden] = peephole
        extra2 = w.tensor(lanes, F32, LANES, 3, hidden, 1)
    return [w_ih, w.panels(b_ih + b_hh, gates), w.panels(w_hh, gates), NONE, extra, extra2]


def _write_dense(w: _Writer, n: Node) -> tuple[list[int], bytes]:
    bias = n.weights.get("bias")
    tensors = [w.panels(n.weights["weight"], 1), NONE if bias is None else w.panels(bias, 1)]
    return tensors, _act_bytes(n.attrs["activation"])


def _write_embedding(w: _Writer, n: Node) -> tuple[list[int], bytes]:
    table = n.weights["table"]
    if w.is_dense_weight(table):
        w.version = max(w.version, TIED_VERSION)
        return [w.panels(table, 1)], b""
    return [w.tensor(table, F32, PLAIN, 1, *table.shape)], b""


def _write_layernorm(w: _Writer, n: Node) -> tuple[list[int], bytes]:
    tensors = [w.vector(n.weights.get("gamma")), w.vector(n.weights.get("beta"))]
    return tensors, struct.pack("<f", n.attrs["eps"])


def _write_batchnorm(w: _Writer, n: Node) -> tuple[list[int], bytes]:
    """mean, gamma / sqrt(var + eps), beta: folded in float64."""
    mean, var = n.weights["mean"], n.weights["var"].astype(np.float64)
    scale = n.weights.get("gamma", np.ones_like(mean)) / np.sqrt(var + n.attrs["eps"])
    beta = n.weights.get("beta", np.zeros_like(mean))
    return [w.vector(mean), w.vector(scale.astype(np.float32)), w.vector(beta)], b""


def _write_plain(w: _Writer, n: Node) -> tuple[list[int], bytes]:
    a = n.attrs
    if n.op == "activation":
        return [], _act_bytes(a["activation"])
    if n.op == "mask_ids":
        return [], struct.pack("<i", a["value"])
    if n.op == "mask_values":
        return [], struct.pack("<f", a["value"])
    if n.op == "slice":
        return [], struct.pack("<II", a["start"], a["size"])
    if n.op == "select":
        return [], struct.pack("<I", 0 if a["index"] == 0 else 1)
    return [], b""


_NODE_WRITERS: dict[str, Callable[[_Writer, Node], tuple[list[int], bytes]]] = {
    "lstm": _write_recurrent,
    "gru": _write_recurrent,
    "rnn": _write_recurrent,
    "dense": _write_dense,
    "embedding": _write_embedding,
    "layernorm": _write_layernorm,
    "batchnorm": _write_batchnorm,
}


def dumps(graph: Graph) -> bytes:
    """The graph as the bytes of a ``.lrt`` file. Raises GraphError when it is not complete, or too large for one."""
    graph.check()
    return _Writer(graph).bytes()


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write the graph to ``path``, whole or not at all; see :func:`lstm_rt.files.write_atomically`."""
    from ._core import validate

    blob = dumps(graph)
    try:
        validate(blob)
    except FormatError as e:  # a graph put together by hand
        raise GraphError(f"the graph makes a file that does not open: {e}") from e
    write_atomically(path, blob)


# -- reading, for inspection -------------------------------------------------------------------------


class _Reader:
    """The tables of a file that the core has already found valid."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        h = HEADER.unpack_from(blob)
        self.n_axes, self.n_values, self.n_nodes, self.n_tensors, self.n_inputs, self.n_outputs = h[4:10]
        self.n_tests, self.strings_size, self.meta_size = h[10:13]
        self.values_at = HEADER.size
        self.nodes_at = self.values_at + VALUE.size * self.n_values
        self.tensors_at = self.nodes_at + (NODE.size + 4 * N_ATTRS) * self.n_nodes
        self.outputs_at = self.tensors_at + TENSOR.size * self.n_tensors
        self.selftest_at = self.outputs_at + 4 * self.n_outputs
        per_test = 16 + 4 * (self.n_axes + self.n_inputs + self.n_outputs)
        self.strings_at = self.selftest_at + (per_test if self.n_tests else 0)

    def u32s(self, at: int, n: int) -> tuple[int, ...]:
        return struct.unpack_from(f"<{n}I", self.blob, at)

    def tensor(self, i: int) -> NDArray[Any]:
        """Tensor i in the layout of the neutral graph."""
        offset, size, dtype, layout, gates, units, k, _ = TENSOR.unpack_from(
            self.blob, self.tensors_at + TENSOR.size * i
        )
        flat: NDArray[Any] = np.frombuffer(self.blob, "<f4" if dtype == F32 else "<i4", size // 4, offset)
        if layout == PANELS:
            return from_panels(flat, gates, units, k)
        shaped: NDArray[Any] = flat.reshape(gates, -1)[:, :units] if layout == LANES else flat.reshape(units, k)
        out: NDArray[Any] = shaped.copy()
        return out

    def value(self, i: int) -> Value:
        kind, axis, _, size, name, n = VALUE.unpack_from(self.blob, self.values_at + VALUE.size * i)
        raw = self.blob[self.strings_at + name : self.strings_at + name + n]
        return Value(raw.decode(errors="replace"), _KIND_NAMES[kind], size, -1 if axis == 255 else axis)

    def node(self, i: int) -> Node:
        at = self.nodes_at + (NODE.size + 4 * N_ATTRS) * i
        f = NODE.unpack_from(self.blob, at)
        attrs = self.blob[at + NODE.size : at + NODE.size + 4 * N_ATTRS]
        op = _OP_NAMES[f[0]]
        ins = tuple(None if v == NONE else v for v in f[4 : 4 + f[1]])
        outs = tuple(None if v == NONE else v for v in f[10 : 10 + f[2]])
        if op in ("gru", "rnn"):
            outs += (None,)  # no c_n
        tensors = f[13 : 13 + f[3]]
        node = Node(op, ins, outs)
        _NODE_READERS.get(op, _read_plain)(self, node, tensors, attrs)
        return node

    def weights(self, node: Node, names: tuple[str, ...], tensors: tuple[int, ...]) -> None:
        for name, t in zip(names, tensors, strict=True):
            if t != NONE:
                node.weights[name] = self.tensor(t)

    def selftest(self) -> SelfTest | None:
        if not self.n_tests:
            return None
        batch, atol, rtol, _ = struct.unpack_from("<IffI", self.blob, self.selftest_at)
        at = self.selftest_at + 16
        steps = self.u32s(at, self.n_axes)
        ids = self.u32s(at + 4 * self.n_axes, self.n_inputs + self.n_outputs)
        outputs = self.u32s(self.outputs_at, self.n_outputs)
        arrays = []
        for tensor, value in zip(ids, (*range(self.n_inputs), *outputs), strict=True):
            v = self.value(value)
            shape: tuple[int, ...] = (batch,)
            shape += (steps[v.axis],) if v.kind in ("seq", "ids") else ()
            shape += (v.size,) if v.size else ()
            arrays.append(self.tensor(tensor).reshape(shape))
        return SelfTest(arrays[: self.n_inputs], arrays[self.n_inputs :], float(atol), float(rtol))

    def meta(self) -> dict[str, Any]:
        at = self.strings_at + self.strings_size
        if not self.meta_size:
            return {}
        try:
            meta = json.loads(self.blob[at : at + self.meta_size])
        except (ValueError, RecursionError) as e:  # hostile nesting
            raise FormatError("the metadata is not JSON") from e
        if not isinstance(meta, dict):
            raise FormatError("the metadata is not a JSON object")
        return meta

    def graph(self) -> Graph:
        g = Graph()
        g.n_axes = self.n_axes
        g.values = [self.value(i) for i in range(self.n_values)]
        g.nodes = [self.node(i) for i in range(self.n_nodes)]
        g.inputs = list(range(self.n_inputs))
        g.outputs = list(self.u32s(self.outputs_at, self.n_outputs))
        g.meta = self.meta()
        _take_parameters(g)
        g.selftest = self.selftest()
        return g


def _take_parameters(g: Graph) -> None:
    """Moves the numbers of parameters from the metadata to the nodes, if they are such."""
    counts = g.meta.get("parameters")
    if not isinstance(counts, list) or len(counts) != len(g.nodes):
        return
    if all(type(n) is int and 0 <= n < 1 << 63 for n in counts):
        del g.meta["parameters"]
        for node, n in zip(g.nodes, counts, strict=True):
            node.parameters = n


def _read_act(attrs: bytes, at: int) -> Activation:
    code, alpha, beta = struct.unpack_from("<Iff", attrs, at)
    return Activation(_ACT_NAMES[code], alpha, beta)


def _read_recurrent(r: _Reader, node: Node, tensors: tuple[int, ...], attrs: bytes) -> None:
    hidden, inputs, proj, flags, clip = struct.unpack_from("<IIIIf", attrs)
    direction = DIRECTIONS[1 if flags & REVERSE else 2 if flags & BIDIRECTIONAL else 0]
    n_acts = {"lstm": 3, "gru": 2, "rnn": 1}[node.op]
    node.attrs = {
        "input_size": inputs,
        "hidden_size": hidden,
        "proj_size": proj,
        "direction": direction,
        "activations": tuple(_read_act(attrs, 20 + 12 * i) for i in range(n_acts)),
        "clip": clip,
        "zero_masked": bool(flags & ZERO_MASKED),
    }
    if node.op == "gru":
        node.attrs["reset_after"] = bool(flags & RESET_AFTER)
    for d, suffix in enumerate(("", "_reverse")[: len(tensors) // 6]):
        _read_direction(r, node, tensors[6 * d : 6 * d + 6], suffix)


def _read_direction(r: _Reader, node: Node, t: tuple[int, ...], suffix: str) -> None:
    put = node.weights
    put["w_ih" + suffix] = r.tensor(t[0])
    if t[1] != NONE:
        put["b_ih" + suffix] = r.tensor(t[1]).ravel()
    put["w_hh" + suffix] = r.tensor(t[2])
    if node.op == "gru":
        put["b_hh" + suffix] = r.tensor(t[3]).ravel()
        if not node.attrs["reset_after"]:
            put["w_hh" + suffix] = np.concatenate([r.tensor(t[2]), r.tensor(t[4])])
            put["b_hh" + suffix] = np.concatenate([r.tensor(t[3]).ravel(), r.tensor(t[5]).ravel()])
        return
    if t[4] != NONE:
        put["w_hr" + suffix] = r.tensor(t[4])
    if t[5] != NONE:
        put["peephole" + suffix] = r.tensor(t[5])


def _read_dense(r: _Reader, node: Node, tensors: tuple[int, ...], attrs: bytes) -> None:
    node.attrs = {"activation": _read_act(attrs, 0)}
    node.weights["weight"] = r.tensor(tensors[0])
    if tensors[1] != NONE:
        node.weights["bias"] = r.tensor(tensors[1]).ravel()


def _read_plain(r: _Reader, node: Node, tensors: tuple[int, ...], attrs: bytes) -> None:
    ints, floats = struct.unpack_from("<2i", attrs), struct.unpack_from("<f", attrs)
    if node.op == "activation":
        node.attrs = {"activation": _read_act(attrs, 0)}
    elif node.op == "mask_ids":
        node.attrs = {"value": ints[0]}
    elif node.op == "mask_values":
        node.attrs = {"value": floats[0]}
    elif node.op == "slice":
        node.attrs = {"start": ints[0], "size": ints[1]}
    elif node.op == "select":
        node.attrs = {"index": -ints[0]}
    elif node.op == "embedding":
        node.weights["table"] = r.tensor(tensors[0])
    elif node.op == "layernorm":
        node.attrs = {"eps": floats[0]}
        r.weights(node, ("gamma", "beta"), tensors)
        node.weights = {k: w.ravel() for k, w in node.weights.items()}
    elif node.op == "batchnorm":  # the fold cannot be undone: scale comes back as gamma with var 1
        mean, scale, beta = (r.tensor(t).ravel() for t in tensors)
        node.attrs = {"eps": 0.0}
        node.weights = {"mean": mean, "var": np.ones_like(mean), "gamma": scale, "beta": beta}


_NODE_READERS: dict[str, Callable[[_Reader, Node, tuple[int, ...], bytes], None]] = {
    "lstm": _read_recurrent,
    "gru": _read_recurrent,
    "rnn": _read_recurrent,
    "dense": _read_dense,
}


def loads_graph(blob: bytes) -> Graph:
    """The graph in the bytes of a ``.lrt`` file, weights unpacked. Raises FormatError.

    Biases come back summed where the cell allows it, and batch normalisation folded: the graph
    computes the same as the one that was saved, but is not always equal to it.
    """
    from ._core import validate

    validate(blob)
    return _Reader(blob).graph()


def load_graph(path: str | os.PathLike[str]) -> Graph:
    """:func:`loads_graph` of a file."""
    return _Reader(read_file(path)).graph()


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a ``.lrt`` file. What is none is found out by its header and tables, before it is read.

    Raises:
        FormatError: not a valid ``.lrt`` file (the checksum aside).
        OSError: it cannot be read, or is no regular file.
    """
    from ._core import load, validate

    load(path, threads=1)  # maps the file
    blob = read_regular(path)
    validate(blob)  # what is used, should the file have changed
    return blob


def read_meta(blob: Any) -> dict[str, Any]:
    """The metadata of a valid file's bytes (any buffer)."""
    return _Reader(blob).meta()


def read_selftest(blob: Any) -> SelfTest | None:
    """The self-test of a valid file's bytes (any buffer), or None."""
    return _Reader(blob).selftest()


def check_bytes(blob: Any) -> None:
    """Raise FormatError unless the checksum of these bytes is right."""
    view = memoryview(blob)
    if len(view) < HEADER.size:
        raise FormatError(f"{len(view)} bytes are too short for an .lrt file")
    crc = zlib.crc32(view[16:], zlib.crc32(bytes(4), zlib.crc32(view[:12])))
    stored = int.from_bytes(view[12:16], "little")
    if crc != stored:
        raise FormatError(f"checksum is {crc:08x}, the file says {stored:08x}: it is damaged")


def check(path: str | os.PathLike[str]) -> None:
    """Raise FormatError unless the file is valid and its checksum is right."""
    check_bytes(read_file(path))
