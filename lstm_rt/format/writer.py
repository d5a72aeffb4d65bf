"""A graph to the bytes of a ``.lrt`` file."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _selftest
from .._checks import Array, check_limit
from .._core import MAX_COUNT, MAX_SIZE
from ..activations import ACT_SINCE
from ..errors import GraphError
from ..graph import Activation, Graph, Node, Value
from ..ops import GATES, OPS, Axis, Weight
from ..quantised import Quantised
from . import blocks, windows
from .panels import padded_units, to_panels, to_words
from .records import (
    AXES_VERSION,
    AXIS,
    BIDIRECTIONAL,
    BLOCKS,
    BLOCKS_VERSION,
    BROADCAST_VERSION,
    DIM_CODES,
    DISK,
    F32,
    FEW_AXES,
    HEADER,
    I32,
    INTEGERS,
    INTEGERS_VERSION,
    KIND_CODES,
    MAGIC,
    MANY_AXES_VERSION,
    MAX_BYTES,
    N_ATTRS,
    NODE,
    NONE,
    OP_CODES,
    ORDER_CODES,
    OVERREAD,
    PADDED,
    PANELS,
    PLAIN,
    RESET_AFTER,
    REVERSE,
    SHAPES_VERSION,
    TENSOR,
    TIED_VERSION,
    VALUE,
    ZERO_MASKED,
    act_bytes,
    attr_bytes,
    round_up,
)


class _Tensor(NamedTuple):
    """A record, and what its data are found by."""

    digest: bytes
    size: int
    dtype: int
    layout: int
    gates: int
    units: int
    k: int
    limit: int


class Contents:
    """The bytes of a file, in pieces that are made when they are asked for: weights may fill half the memory.

    Args:
        start: header and tables, without the checksum.
        size: bytes of the file.
        data: where tensors start, in order, and what makes their bytes.
        shares: of each matrix that is stored as blocks, the share of its blocks that are not zero.
    """

    def __init__(
        self, start: bytes, size: int, data: list[tuple[int, Callable[[], memoryview]]], shares: list[float]
    ) -> None:
        self._start, self._size, self._data, self.shares = start, size, data, shares
        crc = 0
        for piece in self:
            crc = zlib.crc32(piece, crc)
        self._start = start[:12] + struct.pack("<I", crc) + start[16:]

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes | memoryview]:
        yield self._start
        end = len(self._start)
        for at, make in self._data:
            piece = make()
            yield bytes(at - end)
            yield piece
            end = at + len(piece)
        yield bytes(self._size - end)


class Writer:
    """Collects the tables of one file."""

    def __init__(self, graph: Graph, blocks_below: float | None = None) -> None:
        self.graph = graph
        self.blocks_below = blocks_below
        self.shares: list[float] = []  #: of matrices of blocks: which share of the blocks is there
        self.tensors: list[_Tensor] = []
        self.shared: dict[tuple[bytes, int, int, int, int, int, int], int] = {}
        self.data: dict[bytes, Callable[[], memoryview]] = {}  #: by digests: other shapes may have the same bytes
        self.version = _lowest_version(graph)
        self.order = _value_order(graph)
        self.strings = b""

    def tensor(
        self, data: Callable[[], NDArray[Any]], dtype: int, layout: int, gates: int, units: int, k: int, limit: int = 0
    ) -> int:
        """Number of a tensor; equal ones (tied weights) are stored once. ``data`` makes it, whenever it is needed."""

        def make() -> memoryview:
            return np.ascontiguousarray(data(), dtype=DISK[dtype]).reshape(-1).view(np.uint8).data

        raw = make()
        digest = hashlib.blake2b(raw).digest()
        record = (digest, dtype, layout, gates, units, k, limit)
        if record not in self.shared:
            self.shared[record] = len(self.tensors)
            self.tensors.append(_Tensor(digest, len(raw), dtype, layout, gates, units, k, limit))
            self.data.setdefault(digest, make)
        return self.shared[record]

    def is_dense_weight(self, table: Array) -> bool:
        """Is it also what a dense layer multiplies with (tied weights)?"""
        if len(table) > MAX_SIZE:
            return False
        dense = (n.weights["weight"] for n in self.graph.nodes if n.op == "dense")
        return any(w is table or (w.shape == table.shape and w.tobytes() == table.tobytes()) for w in dense)

    def panels(self, w: Array | Quantised, gates: int) -> int:
        if isinstance(w, Quantised):
            return self.words(w, gates)
        w = w.reshape(w.shape[0], -1)
        return self.tensor(lambda: to_panels(w, gates), F32, PANELS, gates, w.shape[0] // gates, w.shape[1])

    def words(self, q: Quantised, gates: int) -> int:
        self.version = max(self.version, INTEGERS_VERSION)
        rows, k = q.shape
        return self.tensor(lambda: to_words(q, gates), _dtype(q), PANELS, gates, rows // gates, k, q.limit)

    def matrices(self, n: Node, name: str) -> list[int]:
        """Those that a file has for a weight that rows are multiplied with."""
        return [self.matrix(w, gates) for w, gates in blocks.pieces(n, name, n.weights[name])]

    def matrix(self, w: Array | Quantised, gates: int) -> int:
        """Panels, or blocks, of a matrix that rows are multiplied with."""
        if not blocks.is_worth_it(w, gates, self.blocks_below) or self.is_table(w):
            return self.panels(w, gates)
        self.version = max(self.version, BLOCKS_VERSION)
        self.shares.append(blocks.share(w, gates))
        rows, k = w.shape
        limit = w.limit if isinstance(w, Quantised) else 0

        def make() -> NDArray[Any]:
            words = blocks.to_blocks(w, gates)
            return words if isinstance(w, Quantised) else words.view("<f4")

        return self.tensor(make, _dtype(w), BLOCKS, gates, rows // gates, k, limit)

    def is_table(self, w: Array | Quantised) -> bool:
        """Is it also what an embedding looks up, which takes panels?"""
        tables = (n.weights["table"] for n in self.graph.nodes if n.op == "embedding")
        return any(t is w or np.array_equal(np.asarray(t), np.asarray(w), equal_nan=True) for t in tables)

    def vector(self, v: Array) -> int:
        return self.tensor(lambda: v, F32, PLAIN, 1, 1, v.size)

    def integers(self, v: NDArray[Any]) -> int:
        return self.tensor(lambda: v, I32, PLAIN, 1, 1, v.size)

    def weight(self, w: Weight, array: Array | None) -> int:
        """Number of the tensor of one weight, in the layout that its op wants."""
        if array is None:
            return NONE
        if w.layout == "panels":
            return self.matrix(array, 1) if w.integers else self.panels(array, 1)
        if w.layout == "index":
            return self.integers(array)
        return self.vector(array) if w.layout == "vector" else self.tensor(lambda: array, F32, PLAIN, 1, *array.shape)

    def string(self, text: str) -> tuple[int, int]:
        raw = text.encode()
        at = len(self.strings)
        self.strings += raw
        return at, len(raw)

    # -- records

    def value(self, v: Value) -> bytes:
        axis = 255 if v.axis < 0 else v.axis
        shaped = v.order == "shaped"
        dims = [DIM_CODES[d] if isinstance(d, str) else d for d in v.dims]
        groups = self.integers(np.array(dims, np.int32)) if shaped else v.groups
        return VALUE.pack(KIND_CODES[v.kind], axis, 0, v.size, *self.string(v.name), ORDER_CODES[v.order], groups)

    def node(self, n: Node) -> bytes:
        tensors, attrs = _NODE_WRITERS.get(n.op, _write_node)(self, n)
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
            ids.append(self.tensor(partial(np.asarray, array), dtype, PLAIN, 1, array.size // size, size))
        head = struct.pack("<IffI", batch, test.atol, test.rtol, 0)
        return head + struct.pack(f"<{len(steps) + len(ids)}I", *steps, *ids)

    def meta(self) -> bytes:
        """The metadata, with what the tables do not tell: of each node its source's parameters and name."""
        meta = {"parameters": self.graph.node_parameters(), **self.graph.meta}
        if any(n.name for n in self.graph.nodes):
            meta = {"names": [n.name for n in self.graph.nodes], **meta}
        try:
            raw = json.dumps(meta, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as e:
            raise GraphError(f"the metadata cannot be written as JSON: {e}") from e
        check_limit("bytes of metadata", len(raw), MAX_BYTES)
        return raw

    def contents(self) -> Contents:
        g = self.graph
        by_number = sorted(range(len(g.values)), key=lambda i: self.order[i])
        values = b"".join(self.value(g.values[i]) for i in by_number)
        nodes = b"".join(self.node(n) for n in g.nodes)
        outputs = struct.pack(f"<{len(g.outputs)}I", *(self.order[o] for o in g.outputs))
        selftest = self.selftest()
        meta = self.meta()
        check_limit("tensors", len(self.tensors), MAX_COUNT)
        check_limit("bytes of names", len(self.strings), MAX_BYTES)
        axes = b"".join(map(_axis, g.axes)) if self.version >= AXES_VERSION else b""
        tables = HEADER.size + len(values) + len(nodes) + TENSOR.size * len(self.tensors)
        at = round_up(tables + len(outputs) + len(axes) + len(selftest) + len(self.strings) + len(meta))
        records, places = b"", dict[bytes, int]()
        data = []
        for t in self.tensors:
            if t.digest not in places:
                places[t.digest] = at
                data.append((at, self.data[t.digest]))
                at += round_up(t.size)
            records += TENSOR.pack(places[t.digest], t.size, t.dtype, t.layout, t.gates, t.units, t.k, t.limit)
        total = at + OVERREAD
        counts = (g.n_axes, len(g.values), len(g.nodes), len(self.tensors), len(g.inputs), len(g.outputs))
        sizes = (1 if g.selftest else 0, len(self.strings), len(meta))
        body = values + nodes + records + outputs + axes + selftest + self.strings + meta
        head = HEADER.pack(MAGIC, self.version, 0, total, *counts, *sizes)
        return Contents(head + body, total, data, self.shares)


def _dtype(w: Array | Quantised) -> int:
    """The code of a matrix's numbers."""
    if isinstance(w, Quantised):
        return next(code for code, stored in INTEGERS.items() if stored == w.stored)
    return F32


def _value_order(graph: Graph) -> dict[int, int]:
    """Old to new numbers: inputs first, then outputs in the order of the nodes."""
    order = list(graph.inputs)
    for n in graph.nodes:
        order += [o for o in n.outputs if o is not None]
    if sorted(order) != list(range(len(graph.values))):
        raise GraphError("the graph has values that no node writes, or that are written twice")
    return {old: new for new, old in enumerate(order)}


def _write_recurrent(w: Writer, n: Node) -> tuple[list[int], bytes]:
    a = n.attrs
    flags = {"forward": 0, "reverse": REVERSE, "bidirectional": BIDIRECTIONAL}[a["direction"]]
    flags |= RESET_AFTER if a.get("reset_after") else 0
    flags |= ZERO_MASKED if a["zero_masked"] else 0
    tensors: list[int] = []
    for suffix in ("", "_reverse") if a["direction"] == "bidirectional" else ("",):
        tensors += _direction_tensors(w, n, suffix)
    acts = tuple(a["activations"]) + (Activation("linear"),) * (3 - len(a["activations"]))
    head = struct.pack("<IIIIf", a["hidden_size"], a["input_size"], a["proj_size"], flags, a["clip"])
    return tensors, head + act_bytes(*acts)


def _direction_tensors(w: Writer, n: Node, suffix: str) -> list[int]:
    """The six tensors of one direction; see docs/format.md."""
    gates, hidden = GATES[n.op], n.attrs["hidden_size"]
    zero = np.zeros(gates * hidden, np.float32)
    b_ih = n.weights.get("b_ih" + suffix, zero)
    b_hh = n.weights.get("b_hh" + suffix, zero)
    w_ih, *_ = w.matrices(n, "w_ih" + suffix)
    if n.op == "gru" and n.attrs["reset_after"]:
        return [w_ih, w.panels(b_ih, 3), *w.matrices(n, "w_hh" + suffix), w.panels(b_hh, 3), NONE, NONE]
    if n.op == "gru":
        rz = 2 * hidden
        w_rz, w_n = blocks.pieces(n, "w_hh" + suffix, n.weights["w_hh" + suffix])
        first = [w.matrix(*w_rz), w.panels(b_hh[:rz], 2)]
        return [w_ih, w.panels(b_ih, 3), *first, w.matrix(*w_n), w.panels(b_hh[rz:], 1)]
    peephole = n.weights.get("peephole" + suffix)
    extra = w.matrices(n, "w_hr" + suffix)[0] if "w_hr" + suffix in n.weights else NONE
    extra2 = NONE
    if peephole is not None:
        padded = np.zeros((3, padded_units(hidden)), np.float32)
        padded[:, :hidden] = peephole
        extra2 = w.tensor(lambda: padded, F32, PADDED, 3, hidden, 1)
    return [w_ih, w.panels(b_ih + b_hh, gates), *w.matrices(n, "w_hh" + suffix), NONE, extra, extra2]


def _write_embedding(w: Writer, n: Node) -> tuple[list[int], bytes]:
    table: Array | Quantised = n.weights["table"]
    if isinstance(table, Quantised):
        return [w.words(table, 1)], b""
    if w.is_dense_weight(table):
        w.version = max(w.version, TIED_VERSION)
        return [w.panels(table, 1)], b""
    return _write_node(w, n)


def _write_batchnorm(w: Writer, n: Node) -> tuple[list[int], bytes]:
    """mean, gamma / sqrt(var + eps), beta: folded in float64."""
    mean, var = n.weights["mean"], n.weights["var"].astype(np.float64)
    scale = n.weights.get("gamma", np.ones_like(mean)) / np.sqrt(var + n.attrs["eps"])
    beta = n.weights.get("beta", np.zeros_like(mean))
    return [w.vector(mean), w.vector(scale.astype(np.float32)), w.vector(beta)], b""


def _write_conv(w: Writer, n: Node) -> tuple[list[int], bytes]:
    weight, bias, groups = n.weights["weight"], n.weights.get("bias"), n.attrs["groups"]
    rows = windows.channels_last(weight)
    if isinstance(weight, Quantised):
        groups = 1  # their units lie one after the other
    if windows.is_depthwise(len(weight), weight.shape[1] * groups, groups):
        tensors = [w.tensor(lambda: rows.T, F32, PLAIN, 1, *rows.T.shape), NONE if bias is None else w.vector(bias)]
    else:
        tensors = [w.panels(windows.to_group_units(rows, groups), 1), NONE]
        if bias is not None:
            tensors[1] = w.panels(windows.to_group_units(bias[:, None], groups), 1)
    return tensors, _with_kernel(_attrs(n), windows.KERNEL, *weight.shape[2:])


def _write_convlstm(w: Writer, n: Node) -> tuple[list[int], bytes]:
    w_ih, w_hh, bias = n.weights["w_ih"], n.weights["w_hh"], n.weights.get("bias")
    tensors = [w.panels(windows.channels_last(w_ih), 4), NONE if bias is None else w.panels(bias, 4)]
    tensors.append(w.panels(windows.channels_last(w_hh), 4))
    return tensors, _with_kernel(_attrs(n), windows.CELL_KERNELS, *w_ih.shape[2:], *w_hh.shape[2:])


def _with_kernel(attrs: bytes, form: struct.Struct, *sizes: int) -> bytes:
    """Attributes, and in their free places the sizes of a kernel."""
    kernel = form.pack(*sizes).ljust(len(attrs), b"\0")
    return bytes(a | b for a, b in zip(attrs, kernel, strict=True))


def _write_node(w: Writer, n: Node) -> tuple[list[int], bytes]:
    """As the op's entry says."""
    return [w.weight(weight, n.weights.get(weight.name)) for weight in OPS[n.op].weights], _attrs(n)


def _attrs(n: Node) -> bytes:
    attrs = bytearray(4 * N_ATTRS)
    for attr in OPS[n.op].attrs:
        raw = attr_bytes(attr, n.attrs[attr.name])
        attrs[attr.place : attr.place + len(raw)] = raw
    return bytes(attrs)


_NODE_WRITERS: dict[str, Callable[[Writer, Node], tuple[list[int], bytes]]] = {
    **dict.fromkeys(GATES, _write_recurrent),
    "embedding": _write_embedding,
    "batchnorm": _write_batchnorm,
    "conv": _write_conv,
    "convlstm": _write_convlstm,
}


def _lowest_version(graph: Graph) -> int:
    """The lowest that knows the graph's nodes, axes and orders; what its nodes write may ask for more."""
    orders = any(v.order != "batch_first" for v in graph.values)
    axes = not all(a.is_input for a in graph.axes)
    shaped = any(v.order == "shaped" for v in graph.values)
    ids = any(v.kind == "ids" and (v.size or not v.timed) for v in graph.values)
    ports = SHAPES_VERSION if shaped or ids else AXES_VERSION if orders or axes else 1
    many = MANY_AXES_VERSION if graph.n_axes > FEW_AXES else 1
    return max([ports, many, *(_node_version(graph, n) for n in graph.nodes)])


def _node_version(graph: Graph, n: Node) -> int:
    """The first version that knows the node's op and activations, and what the op is applied to."""
    acts = [a for v in n.attrs.values() for a in (v if isinstance(v, tuple) else (v,)) if isinstance(a, Activation)]
    read = {(graph.values[i].kind, graph.values[i].size) for i in n.inputs if i is not None}
    broadcasts = OPS[n.op].broadcasts and len(read) > 1
    return max([BROADCAST_VERSION if broadcasts else 1, OPS[n.op].since, *(ACT_SINCE[a.name] for a in acts)])


def _axis(a: Axis) -> bytes:
    return AXIS.pack(NONE if a.parent is None else a.parent, a.mul, a.add, a.div, a.cap)
