"""Ops along time in ONNX's terms: a function each, in the table at the end."""

from __future__ import annotations

import numpy as np

from lstm_rt.graph import Node
from lstm_rt.ops import MAX_STEPS

from .onnx_build import END, dtype_code
from .onnx_state import Export, Handler

#: Operators that join numbers, by our kinds.
REDUCTIONS = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd",
              "l2": "ReduceL2"}  # fmt: skip
#: What changes nothing where steps that do not count take part.
_NEUTRAL = {"sum": 0.0, "mean": 0.0, "l2": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf}


def _select(e: Export, node: Node, x: list[str]) -> str:
    """Rows without a valid step give zero."""
    b, value = e.b, node.inputs[0] or 0
    axis, index = e.axis(value), node.attrs["index"]
    if not e.axes.has_lengths(axis):
        return b.add("Gather", x[0], b.constant(np.int64(index), "last" if index else "first"), axis=0)
    steps = x[0] if index == 0 else _turned(e, axis, x[0])
    y = b.add("Gather", steps, b.constant(np.int64(0), "first"), axis=0)
    if e.zero_after_end(value):
        return y
    some = b.add("Greater", e.axes.lengths(axis), b.constant(np.int32(0), "none"))
    return b.add("Where", b.add("Unsqueeze", some, b.ints(1)), y, b.number(0.0))


def _reverse(e: Export, node: Node, x: list[str]) -> str:
    b, value = e.b, node.inputs[0] or 0
    axis = e.axis(value)
    if not e.axes.has_lengths(axis):
        return b.add("Slice", x[0], b.ints(-1), b.ints(-END), b.ints(0), b.ints(-1))
    y = _turned(e, axis, x[0])
    clean = e.zero_after_end(value)
    e.note_zero_after_end(node)
    return y if clean else b.add("Where", e.axes.valid(axis), y, b.number(0.0))


def _turned(e: Export, axis: int, x: str) -> str:
    """Each row backwards within its valid steps; later steps stay."""
    lengths = e.b.add("Cast", e.axes.lengths(axis), to=dtype_code(np.int64))
    return e.b.add("ReverseSequence", x, lengths, time_axis=0, batch_axis=1)


def _take(e: Export, node: Node, x: list[str]) -> str:
    b, start, stride = e.b, node.attrs["start"], node.attrs["stride"]
    (value,) = (o for o in node.outputs if o is not None)
    rule = e.graph.axes[e.axis(value)]
    drop = stride - 1 - start - rule.add
    y = b.add("Slice", x[0], b.ints(start), b.ints(-drop if drop else END), b.ints(0), b.ints(stride))
    return y if rule.cap == MAX_STEPS else b.add("Slice", y, b.ints(0), b.ints(rule.cap), b.ints(0))


def _cut(e: Export, node: Node, x: list[str]) -> str:
    (value,) = (o for o in node.outputs if o is not None)
    return e.b.add("Slice", x[0], e.b.ints(0), e.axes.steps(e.axis(value)), e.b.ints(0))


def _repeat(e: Export, node: Node, x: list[str]) -> str:
    b, times = e.b, node.attrs["times"]
    (value,) = (o for o in node.outputs if o is not None)
    if not times:
        one, count = (
            b.add("Unsqueeze", x[0], b.ints(0)),
            b.add("Concat", e.axes.steps(e.axis(value)), b.ints(1, 1), axis=0),
        )
        return b.add("Expand", one, count)
    several = b.add("Tile", b.add("Unsqueeze", x[0], b.ints(1)), b.ints(1, times, 1, 1))
    return b.add("Reshape", several, b.add("Concat", b.ints(-1), b.add("Shape", x[0], start=1), axis=0))


def _reduce(e: Export, node: Node, x: list[str]) -> str:
    """Where no step counts, 0."""
    b, kind = e.b, node.attrs["kind"]
    counts = e.counting(node.inputs[0] or 0, node.inputs[1], node.attrs["whole"])
    if not counts:
        return b.add(REDUCTIONS[kind], x[0], b.ints(0), keepdims=0)
    there = b.add("Where", counts, x[0], b.number(_NEUTRAL[kind]))
    y = b.add(REDUCTIONS["sum" if kind == "mean" else kind], there, b.ints(0), keepdims=0)
    if kind in ("sum", "l2"):
        return y
    count = b.add("ReduceSum", b.add("Cast", counts, to=dtype_code(np.float32)), b.ints(0), keepdims=0)
    if kind == "mean":
        return b.add("Div", y, b.add("Max", count, b.number(1.0)))
    return b.add("Where", b.add("Greater", count, b.number(0.0)), y, b.number(0.0))


def _softmax_steps(e: Export, node: Node, x: list[str]) -> str:
    counts = e.counting(node.inputs[0] or 0, node.inputs[1], node.attrs["whole"])
    return _softmax(e, x[0], [counts] if counts else [], axis=0)


def _softmax(e: Export, x: str, conditions: list[str], axis: int) -> str:
    """Softmax over what all conditions count, 0 elsewhere: one by one, as readers know masks of steps and causality."""
    b = e.b
    for counts in conditions:
        x = b.add("Where", counts, x, b.number(-np.inf))
    y = b.add("Softmax", x, axis=axis)
    for counts in conditions:
        y = b.add("Where", counts, y, b.number(0.0))
    return y


def _cumsum(e: Export, node: Node, x: list[str]) -> str:
    b, value = e.b, node.inputs[0] or 0
    there = x[0] if e.zero_after_end(value) else b.add("Where", e.axes.valid(e.axis(value)), x[0], b.number(0.0))
    return b.add("CumSum", there, b.constant(np.int64(0), "zero"))


def _flatten(e: Export, node: Node, x: list[str]) -> str:
    rows_first = e.b.add("Transpose", x[0], perm=[1, 0, 2])
    return e.b.add("Reshape", rows_first, e.b.ints(0, node.attrs["steps"] * e.size(node.inputs[0] or 0)))


def _unflatten(e: Export, node: Node, x: list[str]) -> str:
    b, times, value = e.b, node.attrs["times"], node.inputs[0] or 0
    size = e.size(value) // times
    if e.graph.values[value].kind == "vec":
        return b.add("Transpose", b.add("Reshape", x[0], b.ints(0, times, size)), perm=[1, 0, 2])
    parts = b.add("Transpose", b.add("Reshape", x[0], b.ints(0, 0, times, size)), perm=[0, 2, 1, 3])
    (output,) = (o for o in node.outputs if o is not None)
    shape = b.add("Concat", e.axes.steps(e.axis(output)), b.add("Shape", x[0], start=1, end=2), b.ints(size), axis=0)
    return b.add("Reshape", parts, shape)


# -- padding ----------------------------------------------------------------------------------------


def _pad(e: Export, node: Node, x: list[str]) -> str:
    b, a, axis = e.b, node.attrs, e.axis(node.inputs[0] or 0)
    if e.axes.has_lengths(axis):
        return _pad_rows(e, node, x[0])
    pads = b.ints(a["before"], 0, 0, a["after"], 0, 0)
    if a["mode"] == "constant":
        return b.add("Pad", x[0], pads, b.number(a["value"]))
    return b.add("Pad", x[0], pads, mode=a["mode"])


def _pad_rows(e: Export, node: Node, x: str) -> str:
    """Each row after its own end: steps are looked up by number; beyond the padding they are 0."""
    b, a, axis = e.b, node.attrs, e.axis(node.inputs[0] or 0)
    lengths = b.add("Unsqueeze", b.add("Cast", e.axes.lengths(axis), to=dtype_code(np.int64)), b.ints(0))
    (output,) = (o for o in node.outputs if o is not None)
    step = b.add("Sub", b.add("Unsqueeze", e.axes.numbers(e.axis(output)), b.ints(1)), b.ints(a["before"]))
    last = b.add("Max", b.add("Sub", lengths, b.ints(1)), b.ints(0))
    index = step
    if a["mode"] == "reflect":
        period = b.add("Max", b.add("Mul", last, b.ints(2)), b.ints(1))
        along = b.add("Mod", step, period)
        index = b.add("Min", along, b.add("Sub", period, along))
    index = b.add("Min", b.add("Max", index, b.ints(0)), last)
    like_x = b.add("Concat", b.add("Shape", index), b.ints(e.size(node.inputs[0] or 0)), axis=0)
    y = b.add("GatherElements", x, b.add("Expand", b.add("Unsqueeze", index, b.ints(2)), like_x), axis=0)
    within = b.add("Less", step, b.add("Add", lengths, b.ints(a["after"])))
    if a["mode"] == "constant":
        own = b.add("And", b.add("GreaterOrEqual", step, b.ints(0)), b.add("Less", step, lengths))
        y = b.add("Where", b.add("Unsqueeze", own, b.ints(2)), y, b.number(a["value"]))
    else:
        within = b.add("And", within, b.add("Greater", lengths, b.ints(0)))
    return b.add("Where", b.add("Unsqueeze", within, b.ints(2)), y, b.number(0.0))


# -- attention --------------------------------------------------------------------------------------


def _attention(e: Export, node: Node, x: list[str]) -> list[str]:
    b, a = e.b, node.attrs
    q, k, v, mask = node.inputs
    heads, groups = a["heads"], a["kv_heads"] or a["heads"]
    flat = e.graph.values[q or 0].kind == "vec"
    first = b.add("Unsqueeze", x[0], b.ints(0)) if flat else x[0]
    queries = _by_head(e, first, heads, e.size(q or 0) // heads)
    keys, used = (_spread(e, _by_head(e, name, groups, e.size(i or 0) // groups), groups, heads)
                  for name, i in ((x[1], k), (x[2], v)))  # fmt: skip
    fits = b.add("Mul", _fits(e, node, queries, keys), b.number(a["scale"]))
    counts = e.counting(k or 0, mask, a["whole"])
    if counts:  # (Tk, N, 1) as (N, 1, 1, Tk); what does not count plays no part in v either, NaN included
        counts = b.add("Unsqueeze", b.add("Transpose", counts, perm=[1, 2, 0]), b.ints(1))
        there = b.add("Transpose", counts, perm=[0, 1, 3, 2])
        used = b.add("Where", there, used, b.number(0.0))
    conditions = [counts] if counts else []
    if a["causal"]:
        steps = [b.add("Unsqueeze", e.axes.numbers(e.axis(i or 0)), b.ints(d)) for i, d in ((k, 0), (q, 1))]
        conditions.append(b.add("LessOrEqual", *steps))
    weights = _softmax(e, fits, conditions, axis=-1)
    y = b.add("Transpose", b.add("MatMul", weights, used), perm=[2, 0, 1, 3])
    width = heads * (e.size(v or 0) // groups)
    if not flat:
        return [b.add("Reshape", y, b.ints(0, 0, width))]
    side = b.add("Transpose", b.add("Squeeze", weights, b.ints(2)), perm=[2, 0, 1])
    return [b.add("Reshape", b.add("Squeeze", y, b.ints(0)), b.ints(0, width)), side]


def _by_head(e: Export, x: str, heads: int, size: int) -> str:
    """``(T, N, H*E)`` as ``(N, H, T, E)``."""
    return e.b.add("Transpose", e.b.add("Reshape", x, e.b.ints(0, 0, heads, size)), perm=[1, 2, 0, 3])


def _spread(e: Export, x: str, groups: int, heads: int) -> str:
    """Keys or values of some heads for all: ``(N, G, T, E)`` as ``(N, H, T, E)``."""
    if groups == heads:
        return x
    index = np.repeat(np.arange(groups), heads // groups)
    return e.b.add("Gather", x, e.b.constant(index, "heads"), axis=1)


def _fits(e: Export, node: Node, queries: str, keys: str) -> str:
    """How well each key fits each query: ``(N, H, Tq, Tk)``."""
    b = e.b
    if node.attrs["kind"] == "dot":
        return b.add("MatMul", queries, b.add("Transpose", keys, perm=[0, 1, 3, 2]))
    both = b.add("Tanh", b.add("Add", b.add("Unsqueeze", queries, b.ints(3)), b.add("Unsqueeze", keys, b.ints(2))))
    if "weight" in node.weights:
        weight = node.weights["weight"].reshape(node.attrs["heads"], 1, 1, -1)
        both = b.add("Mul", both, b.constant(weight, "weight"))
    return b.add("ReduceSum", both, b.ints(-1), keepdims=0)


TIME_HANDLERS: dict[str, Handler] = {
    "select": _select,
    "reverse": _reverse,
    "take": _take,
    "repeat": _repeat,
    "align": lambda e, node, x: e.b.add("Identity", x[0]),
    "cut": _cut,
    "reduce": _reduce,
    "softmax_steps": _softmax_steps,
    "cumsum": _cumsum,
    "flatten": _flatten,
    "unflatten": _unflatten,
    "pad": _pad,
    "attention": _attention,
}
