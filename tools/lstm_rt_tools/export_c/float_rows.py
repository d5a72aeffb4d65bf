"""Ops on rows of features, on steps and on ids, in float32."""

from __future__ import annotations

import numpy as np

from lstm_rt._window import Window
from lstm_rt.format import windows
from lstm_rt.graph import Node, Value
from lstm_rt.quantised import Quantised

from .arrays import float_text
from .float_cells import product
from .floats import Job, act_text, op
from .plan import cannot

#: Ops on two values, and what the core calls them.
_BINARY = {
    "add": "LRT_ADD",
    "sub": "LRT_SUB",
    "mul": "LRT_MUL",
    "div": "LRT_DIV",
    "maximum": "LRT_MAXIMUM",
    "minimum": "LRT_MINIMUM",
    "pow": "LRT_POW",
    "average": "LRT_AVERAGE",
}
_REDUCTIONS = {"sum": 0, "mean": 1, "max": 2, "min": 3, "prod": 4, "l2": 5}


def _row(job: Job, node: Node, text: str, n: int | None = None, groups: int = 1) -> None:
    """A call for each row (or each of its groups) with {x}, {y}, their offsets {g} and {n}, the numbers of a group."""
    job.need("micro/lrt_micro_act.h")
    x, v = job.source(node)
    y = job.result(node)
    out = job.value(node.outputs[0])
    calls = [
        text.format(
            x=f"{job.at(x, v)} + {g * (v.size // groups)}", y=job.at(y, out), g=g * (v.size // groups), i=g, n=n
        )
        for g in range(groups)
    ]
    job.each(v.timed, calls[0] if groups == 1 else f"{{ {' '.join(calls)} }}")


@op("activation")
def _activation(job: Job, node: Node) -> None:
    v = job.value(node.inputs[0])
    _row(job, node, f"micro_activate({act_text(node.attrs['activation'])}, {{x}}, {{y}}, {v.size});")


@op(*_BINARY)
def _binary(job: Job, node: Node) -> None:
    job.need("micro/lrt_micro_act.h")
    (a, va), (b, vb) = job.source(node, 0), job.source(node, 1)
    y = job.result(node)
    out = job.value(node.outputs[0])
    sides = [f"{job.at(place, v)}, {int(v.size == 1 and out.size != 1)}" for place, v in ((a, va), (b, vb))]
    job.each(out.timed, f"micro_binary({_BINARY[node.op]}, {', '.join(sides)}, {job.at(y, out)}, {out.size});")


@op("concat")
def _concat(job: Job, node: Node) -> None:
    y = job.result(node)
    out = job.value(node.outputs[0])
    calls, at = [], 0
    for i in range(len(node.inputs)):
        x, v = job.source(node, i)
        calls.append(f"micro_copy({job.at(y, out)} + {at}, {job.at(x, v)}, {v.size});")
        at += v.size
    job.each(out.timed, f"{{ {' '.join(calls)} }}")


@op("slice")
def _slice(job: Job, node: Node) -> None:
    _row(job, node, f"micro_copy({{y}}, {{x}} + {node.attrs['start']}, {node.attrs['size']});")


@op("gather")
def _gather(job: Job, node: Node) -> None:
    index = job.array("index", node.weights["index"].astype(np.uint32), "uint32_t")
    n = node.weights["index"].size
    _row(job, node, f"for (uint32_t i = 0; i < {n}; i++) ({{y}})[i] = ({{x}})[{index}[i]];")


@op("constant")
def _constant(job: Job, node: Node) -> None:
    value = node.weights["value"]
    y = job.result(node)
    job.call(f"micro_copy({y}, {job.array('value', value)}, {value.size});")


@op("layernorm")
def _layernorm(job: Job, node: Node) -> None:
    _normed(job, node, 1)


@op("groupnorm")
def _groupnorm(job: Job, node: Node) -> None:
    _normed(job, node, node.attrs["groups"])


def _normed(job: Job, node: Node, groups: int) -> None:
    n = job.value(node.inputs[0]).size // groups
    names = [
        f"{job.array(name, node.weights[name])} + {{g}}" if name in node.weights else "NULL"
        for name in ("gamma", "beta")
    ]
    eps = float_text(node.attrs["eps"])
    _row(job, node, f"layernorm({{x}}, {', '.join(names)}, {eps}, {{y}} + {{g}}, {n});", groups=groups)


@op("batchnorm")
def _batchnorm(job: Job, node: Node) -> None:
    w = node.weights
    mean = w["mean"]
    scale = w.get("gamma", np.ones_like(mean)) / np.sqrt(w["var"].astype(np.float64) + node.attrs["eps"])
    arrays = [
        job.array("mean", mean),
        job.array("scale", scale.astype(np.float32)),
        job.array("beta", w.get("beta", np.zeros_like(mean))),
    ]
    _row(job, node, f"batchnorm({{x}}, {', '.join(arrays)}, {{y}}, {mean.size});")


@op("prelu")
def _prelu(job: Job, node: Node) -> None:
    alpha = node.weights["alpha"]
    _row(job, node, f"prelu({{x}}, {job.array('alpha', alpha)}, {{y}}, {alpha.size});")


@op("l2norm")
def _l2norm(job: Job, node: Node) -> None:
    groups = node.attrs["groups"]
    n = job.value(node.inputs[0]).size // groups
    _row(job, node, f"l2norm({{x}}, {float_text(node.attrs['eps'])}, {{y}} + {{g}}, {n});", groups=groups)


@op("reduce_features")
def _reduce_features(job: Job, node: Node) -> None:
    groups, kind = node.attrs["groups"], _REDUCTIONS[node.attrs["kind"]]
    n = job.value(node.inputs[0]).size // groups
    _row(job, node, f"({{y}})[{{i}}] = reduce((enum lrt_reduction){kind}, {{x}}, {n});", groups=groups)


@op("embedding")
def _embedding(job: Job, node: Node) -> None:
    table = node.weights["table"]
    job.need("micro/lrt_micro_ids.h")
    ids, v = job.source(node)
    each, start = max(v.size, 1), node.attrs["start"]
    count = node.attrs["count"] or each - start
    steps = "steps" if job.whole and v.timed else "1"
    job.plan.checks.append((f"if (micro_ids_wrong({ids}, {steps}, {each}, {start}, {count}, {len(table)}))", "E_TOKEN"))
    y = job.result(node)
    out = job.value(node.outputs[0])
    at = f"{ids} + t * {each}" if job.whole and v.timed else ids
    if isinstance(table, Quantised):
        _integer_rows(job, table, f"{at} + {start}", count, job.at(y, out), v.timed)
        return
    rows = job.array("table", table)
    job.each(v.timed, f"micro_embed({at} + {start}, {count}, {rows}, {job.at(y, out)}, {table.shape[1]});")


def _integer_rows(job: Job, table: Quantised, ids: str, count: int, y: str, timed: bool) -> None:
    """Rows of a table of integers: the numbers that they stand for."""
    job.need("micro/lrt_micro_ints.h")
    bits, k = 8 * table.stored.itemsize, table.shape[1]
    rows = job.array("table", table.values, f"int{bits}_t")
    scale = job.array("table_s", (table.scale.view(np.uint32) >> 16).astype(np.uint16), "uint16_t")
    call = f"micro_ints_row{bits}({rows}, {scale}, (uint32_t)({ids})[i], {k}, {y} + i * {k});"
    job.each(timed, f"for (uint32_t i = 0; i < {count}; i++) {call}")


@op("select")
def _select(job: Job, node: Node) -> None:
    x, v = job.source(node)
    y = job.result(node)
    row = f" + (steps - 1) * {v.size}" if job.whole and node.attrs["index"] == -1 else ""
    job.call(f"micro_copy({y}, {x}{row}, {v.size});")


@op("reverse")
def _reverse(job: Job, node: Node) -> None:
    x, v = job.source(node)
    y = job.result(node)
    job.each(True, f"micro_copy({job.at(y, v)}, {x} + (steps - 1 - t) * {v.size}, {v.size});")


@op("conv")
def _conv(job: Job, node: Node) -> None:
    weight, groups = node.weights["weight"], node.attrs["groups"]
    x, v = job.source(node)
    window = Window.of(node.attrs, weight.shape[2:])
    depthwise = windows.is_depthwise(len(weight), weight.shape[1] * groups, groups)
    if window.size != (1, 1) or window.kernel[1:] != (1, 1) or (groups > 1 and not depthwise):
        raise cannot(node, "only convolutions over time, of all channels or of each by itself")
    k, apart = window.kernel[0], window.dilation[0]
    rows = windows.channels_last(weight)
    y = job.result(node)
    place, prepare = _windows(job, node, x, v, window)
    bias = node.weights.get("bias", np.zeros(len(weight), np.float32))
    to = job.at(y, job.value(node.outputs[0]))
    if depthwise:
        text = f"micro_by_channel({place}, {job.array('w', rows.T)}, {job.array('w_b', bias)}, {to}, {k}, {v.size});"
    else:
        text = product(job, "w", rows, bias).format(x=place, y=to)
    assert apart >= 1
    job.each(v.timed, f"{{ {prepare} {text} }}")


def _windows(job: Job, node: Node, x: str, v: Value, window: Window) -> tuple[str, str]:
    """Where the window of a step is, and what puts it there."""
    job.need("micro/lrt_micro_conv.h")
    k, apart = window.kernel[0], window.dilation[0]
    if not v.timed:
        return x, ""
    if job.whole:
        place = job.scratch(k * v.size)
        return place, f"micro_window({place}, {x}, steps, t, {window.pad[0][0]}, {k}, {apart}, {v.size});"
    if window.pad[0][1] or window.pad[0][0] != window.span:
        raise cannot(node, "a window of later steps does not stream")
    kept = job.state((window.span + 1) * v.size)
    prepare = f"micro_remember({kept}, {x}, {window.span}, {v.size});"
    if apart == 1 or k == 1:
        return kept, prepare
    place = job.scratch(k * v.size)
    return place, f"{prepare} micro_pick({place}, {kept}, {k}, {apart}, {v.size});"
