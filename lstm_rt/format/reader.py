"""The bytes of a ``.lrt`` file back to a graph, for inspection: what runs them is the C core."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..graph import DIRECTIONS, ORDERS, Graph, Node, SelfTest, Value
from ..ops import GATES, KINDS, OF_CODE, OPS, Axis, cell_of
from ..quantised import Quantised
from . import blocks, windows
from .panels import from_panels, from_words
from .records import (
    AXES_VERSION,
    AXIS,
    BIDIRECTIONAL,
    BLOCKS,
    DIM_CODES,
    DISK,
    HEADER,
    INTEGERS,
    N_ATTRS,
    NODE,
    NODE_SIZE,
    NONE,
    PADDED,
    PANELS,
    RESET_AFTER,
    REVERSE,
    TENSOR,
    VALUE,
    ZERO_MASKED,
    read_act,
    read_attr,
)

_DIMS: dict[int, str] = {code: name for name, code in DIM_CODES.items()}


class Reader:
    """The tables of a file that the core has already found valid."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        h = HEADER.unpack_from(blob)
        self.n_axes, self.n_values, self.n_nodes, self.n_tensors, self.n_inputs, self.n_outputs = h[4:10]
        self.n_tests, self.strings_size, self.meta_size = h[10:13]
        self.values_at = HEADER.size
        self.nodes_at = self.values_at + VALUE.size * self.n_values
        self.tensors_at = self.nodes_at + NODE_SIZE * self.n_nodes
        self.outputs_at = self.tensors_at + TENSOR.size * self.n_tensors
        self.axes_at = self.outputs_at + 4 * self.n_outputs
        has_axes = h[1] >= AXES_VERSION
        self.selftest_at = self.axes_at + (AXIS.size * self.n_axes if has_axes else 0)
        self.axes = [self.axis(i) for i in range(self.n_axes)] if has_axes else [Axis()] * self.n_axes
        per_test = 16 + 4 * (self.n_axes + self.n_inputs + self.n_outputs)
        self.strings_at = self.selftest_at + (per_test if self.n_tests else 0)

    def u32s(self, at: int, n: int) -> tuple[int, ...]:
        return struct.unpack_from(f"<{n}I", self.blob, at)

    def tensor(self, i: int) -> NDArray[Any]:
        """Tensor i in the layout of the neutral graph."""
        offset, size, dtype, layout, gates, units, k, limit = TENSOR.unpack_from(
            self.blob, self.tensors_at + TENSOR.size * i
        )
        flat: NDArray[Any] = np.frombuffer(self.blob, DISK[dtype], size // 4, offset)
        if layout == BLOCKS:
            stored = INTEGERS.get(dtype, np.dtype(np.float32))
            return cast(NDArray[Any], blocks.from_blocks(flat.view("<u4"), stored, gates, units, k, limit))
        if dtype in INTEGERS:
            return cast(NDArray[Any], from_words(flat, INTEGERS[dtype], gates, units, k, limit))
        if layout == PANELS:
            return from_panels(flat, gates, units, k)
        shaped: NDArray[Any] = flat.reshape(gates, -1)[:, :units] if layout == PADDED else flat.reshape(units, k)
        out: NDArray[Any] = shaped.copy()
        return out

    def layout(self, i: int) -> int:
        layout: int = TENSOR.unpack_from(self.blob, self.tensors_at + TENSOR.size * i)[3]
        return layout

    def note_blocks(self, node: Node, name: str, *tensors: int) -> None:
        """Notes which share of a weight's blocks is there, where it stands in these tensors as blocks."""
        if any(self.layout(t) == BLOCKS for t in tensors):
            node.blocks[name] = blocks.share_of(blocks.pieces(node, name, node.weights[name]))

    def value(self, i: int) -> Value:
        kind, axis, _, size, at, n, order, groups = VALUE.unpack_from(self.blob, self.values_at + VALUE.size * i)
        raw = self.blob[self.strings_at + at : self.strings_at + at + n]
        name = raw.decode(errors="replace")
        shaped = ORDERS[order] == "shaped"
        dims = tuple(_DIMS.get(d, d) for d in self.tensor(groups).ravel().tolist()) if shaped else ()
        groups = 0 if shaped else groups
        return Value(name, KINDS[kind - 1], size, -1 if axis == 255 else axis, ORDERS[order], groups, dims)

    def axis(self, i: int) -> Axis:
        parent, *rule = AXIS.unpack_from(self.blob, self.axes_at + AXIS.size * i)
        return Axis(None if parent == NONE else parent, *rule)

    def node(self, i: int) -> Node:
        at = self.nodes_at + NODE_SIZE * i
        f = NODE.unpack_from(self.blob, at)
        attrs = self.blob[at + NODE.size : at + NODE.size + 4 * N_ATTRS]
        op = OF_CODE[f[0]].name
        ins = tuple(None if v == NONE else v for v in f[4 : 4 + f[1]])
        outs = tuple(None if v == NONE else v for v in f[10 : 10 + f[2]])
        if op in ("gru", "rnn"):
            outs += (None,)  # no c_n
        tensors = f[13 : 13 + f[3]]
        node = Node(op, ins, outs)
        _NODE_READERS.get(op, _read_node)(self, node, tensors, attrs)
        return node

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
            arrays.append(self.tensor(tensor).reshape(v.shape(batch, steps[v.axis] if v.axis >= 0 else 0)))
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
        g.axes = self.axes
        g.values = [self.value(i) for i in range(self.n_values)]
        g.nodes = [self.node(i) for i in range(self.n_nodes)]
        g.inputs = list(range(self.n_inputs))
        g.outputs = list(self.u32s(self.outputs_at, self.n_outputs))
        g.meta = self.meta()
        _take_parameters(g)
        _take_names(g)
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


def _take_names(g: Graph) -> None:
    """Moves the names of layers from the metadata to the nodes, if they are such."""
    names = g.meta.get("names")
    if isinstance(names, list) and len(names) == len(g.nodes) and all(isinstance(n, str) for n in names):
        del g.meta["names"]
        for node, name in zip(g.nodes, names, strict=True):
            node.name = name


def _read_recurrent(r: Reader, node: Node, tensors: tuple[int, ...], attrs: bytes) -> None:
    hidden, inputs, proj, flags, clip = struct.unpack_from("<IIIIf", attrs)
    direction = DIRECTIONS[1 if flags & REVERSE else 2 if flags & BIDIRECTIONAL else 0]
    n_acts = len(cell_of(node.op).activations)
    node.attrs = {
        "input_size": inputs,
        "hidden_size": hidden,
        "proj_size": proj,
        "direction": direction,
        "activations": tuple(read_act(attrs, 20 + 12 * i) for i in range(n_acts)),
        "clip": clip,
        "zero_masked": bool(flags & ZERO_MASKED),
    }
    if node.op == "gru":
        node.attrs["reset_after"] = bool(flags & RESET_AFTER)
    for d, suffix in enumerate(("", "_reverse")[: len(tensors) // 6]):
        _read_direction(r, node, tensors[6 * d : 6 * d + 6], suffix)


def _read_direction(r: Reader, node: Node, t: tuple[int, ...], suffix: str) -> None:
    put = node.weights
    put["w_ih" + suffix] = r.tensor(t[0])
    if t[1] != NONE:
        put["b_ih" + suffix] = r.tensor(t[1]).ravel()
    put["w_hh" + suffix] = r.tensor(t[2])
    r.note_blocks(node, "w_ih" + suffix, t[0])
    if node.op == "gru":
        put["b_hh" + suffix] = r.tensor(t[3]).ravel()
        if not node.attrs["reset_after"]:
            rz, n = cast(Any, r.tensor(t[2])), cast(Any, r.tensor(t[4]))  # both are integers, or neither
            joined: Any = Quantised.joined(rz, n) if isinstance(rz, Quantised) else np.concatenate([rz, n])
            put["w_hh" + suffix] = joined
            put["b_hh" + suffix] = np.concatenate([r.tensor(t[3]).ravel(), r.tensor(t[5]).ravel()])
        r.note_blocks(node, "w_hh" + suffix, *(i for i in (t[2], t[4]) if i != NONE))
        return
    r.note_blocks(node, "w_hh" + suffix, t[2])
    if t[4] != NONE:
        put["w_hr" + suffix] = r.tensor(t[4])
        r.note_blocks(node, "w_hr" + suffix, t[4])
    if t[5] != NONE:
        put["peephole" + suffix] = r.tensor(t[5])


def _read_node(r: Reader, node: Node, tensors: tuple[int, ...], attrs: bytes) -> None:
    """As the op's entry says."""
    entry = OPS[node.op]
    node.attrs = _read_attrs(node, attrs)
    for weight, t in zip(entry.stored or entry.weights, tensors, strict=True):
        if t != NONE:
            array = r.tensor(t)
            node.weights[weight.name] = array.ravel() if len(weight.shape) == 1 else array
            r.note_blocks(node, weight.name, t)


def _read_attrs(node: Node, attrs: bytes) -> dict[str, Any]:
    return {attr.name: read_attr(attr, attrs) for attr in OPS[node.op].attrs if attr.at >= 0}


def _read_conv(r: Reader, node: Node, tensors: tuple[int, ...], attrs: bytes) -> None:
    node.attrs = _read_attrs(node, attrs)
    groups, kernel = node.attrs["groups"], windows.KERNEL.unpack_from(attrs)
    stored = r.tensor(tensors[0])
    depthwise = r.layout(tensors[0]) != PANELS
    if isinstance(stored, Quantised):
        groups = 1  # their units lie one after the other
    rows = stored.T if depthwise else windows.from_group_units(stored, groups)
    node.weights["weight"] = windows.channels_second(rows, kernel)
    if tensors[1] != NONE:
        bias = r.tensor(tensors[1])
        node.weights["bias"] = (bias if depthwise else windows.from_group_units(bias, groups)).ravel()


def _read_convlstm(r: Reader, node: Node, tensors: tuple[int, ...], attrs: bytes) -> None:
    node.attrs = _read_attrs(node, attrs)
    kernels = windows.CELL_KERNELS.unpack_from(attrs)
    node.weights["w_ih"] = windows.channels_second(r.tensor(tensors[0]), kernels[:2])
    node.weights["w_hh"] = windows.channels_second(r.tensor(tensors[2]), kernels[2:])
    if tensors[1] != NONE:
        node.weights["bias"] = r.tensor(tensors[1]).ravel()


def _read_batchnorm(r: Reader, node: Node, tensors: tuple[int, ...], attrs: bytes) -> None:
    """The fold cannot be undone: scale comes back as gamma with var 1."""
    _read_node(r, node, tensors, attrs)
    mean, scale, beta = (node.weights[name] for name in ("mean", "scale", "beta"))
    node.attrs = {"eps": 0.0}
    node.weights = {"mean": mean, "var": np.ones_like(mean), "gamma": scale, "beta": beta}


_NODE_READERS: dict[str, Callable[[Reader, Node, tuple[int, ...], bytes], None]] = {
    **dict.fromkeys(GATES, _read_recurrent),
    "batchnorm": _read_batchnorm,
    "conv": _read_conv,
    "convlstm": _read_convlstm,
}
