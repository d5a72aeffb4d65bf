"""Recurrent layers and products, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.activations import Activation
from lstm_rt.format.panels import padded_units
from lstm_rt.graph import GATES, Node
from lstm_rt.quantised import Quantised

from .arrays import LANES, float_text, panel_rows, panels, strips, words
from .floats import Job, act_text, op
from .plan import cannot

_CELL = "kernels/lrt_cells_impl.h"


def _biases(w: dict[str, Any], suffix: str, gates: int, hidden: int) -> NDArray[np.float32]:
    zero = np.zeros(gates * hidden, np.float32)
    total: NDArray[np.float32] = w.get("b_ih" + suffix, zero) + w.get("b_hh" + suffix, zero)
    return total


def _usual(node: Node) -> bool:
    names = [a.name for a in node.attrs["activations"]]
    return names == ["sigmoid", "tanh", "tanh"][: len(names)] and not node.attrs["clip"]


def _acts(node: Node) -> str:
    return ", ".join("{" + act_text(a) + "}" for a in node.attrs["activations"])


def _declare(job: Job, ctype: str, fields: str) -> str:
    name = f"$_layer{len(job.plan.declarations)}"
    job.plan.declarations.append(f"static const {ctype} {name} = {{{fields}}};")
    return name


@op("lstm", "gru", "rnn")
def _recurrent(job: Job, node: Node) -> None:
    if node.inputs[3] is not None:
        raise cannot(node, "it has a mask")
    direction = node.attrs["direction"]
    if direction != "forward" and not job.whole:
        raise cannot(node, "a reverse direction does not stream")
    suffixes = ("", "_reverse") if direction == "bidirectional" else ("",)
    if not job.whole:
        _direction(job, node, "", 0, 1, job.result(node, spill=True))
        return
    y = job.result(node)
    for d, suffix in enumerate(suffixes):
        _direction(job, node, suffix, d, len(suffixes), y)


def _direction(job: Job, node: Node, suffix: str, d: int, directions: int, y: str) -> None:
    """One direction: of a stream `y` is where h goes; of runs it has its features among those of each step."""
    step = _CELLS[node.op](job, node, suffix)
    backward = node.attrs["direction"] == "reverse" or d == 1
    hidden = node.attrs["hidden_size"]
    r = node.attrs["proj_size"] or hidden
    x, xv = job.source(node)
    step.start(job, node, d, r)
    if job.whole:
        out = job.scratch(job.padded(r))
        row = f"{y} + t * {directions * r}" + (f" + {d * r}" if d else "")
        job.each(True, f"{{ {step.text.format(x=job.at(x, xv), out=out)} micro_copy({row}, {out}, {r}); }}", backward)
    else:
        job.call(step.text.format(x=x, out=y))
    step.finish(job, node, d, directions, r)


class _Step:
    """The call of a step, and where its states are."""

    def __init__(self, text: str, h: str, c: str | None = None) -> None:
        self.text, self.h, self.c = text, h, c

    def start(self, job: Job, node: Node, d: int, r: int) -> None:
        """States at the start of a run: zeros, or a value of the graph."""
        if not job.whole:
            if node.inputs[1] is not None or node.inputs[2] is not None:
                raise cannot(node, "an initial state that the model computes does not stream")
            return
        for place, i, size in ((self.h, 1, r), (self.c, 2, node.attrs["hidden_size"])):
            if place is None:
                continue
            if node.inputs[i] is None:
                job.call(f"micro_zero({place}, {job.padded(size)});")
            else:
                source, _ = job.source(node, i)
                job.call(f"micro_copy({place}, {source}{f' + {d * size}' if d else ''}, {size});")

    def finish(self, job: Job, node: Node, d: int, directions: int, r: int) -> None:
        """The final states, where they are read."""
        for output, place, size in ((1, self.h, r), (2, self.c, node.attrs["hidden_size"])):
            index = node.outputs[output] if output < len(node.outputs) else None
            if index is None or place is None or index not in job.last:
                continue
            if not job.whole:
                job.alias(node, place, output)
                continue
            if d == 0:
                job.result(node, output)
            to = job.places[index]
            job.call(f"micro_copy({to}{f' + {d * size}' if d else ''}, {place}, {size});")


def _lstm(job: Job, node: Node, suffix: str) -> _Step:
    job.need("micro/lrt_micro_lstm.h")
    a, w = node.attrs, node.weights
    hidden, inputs, r = a["hidden_size"], a["input_size"], a["proj_size"] or a["hidden_size"]
    w_ih, w_hh = w["w_ih" + suffix], w["w_hh" + suffix]
    mixed = isinstance(w_ih, Quantised) or isinstance(w_hh, Quantised)
    peephole = w.get("peephole" + suffix)
    peep, both = "NULL", "NULL"
    if peephole is not None:
        wide = np.zeros((3, padded_units(hidden)), np.float32)
        wide[:, :hidden] = peephole
        peep = job.array("peephole" + suffix, wide)
    if not mixed:
        both = job.array("w" + suffix, panels(np.concatenate([w_ih, w_hh], axis=1), 4, job.lanes))
        _strip(job, inputs + r)
    bias = job.array("b" + suffix, panels(_biases(w, suffix, 4, hidden)[:, None], 4, job.lanes))
    acts = f"{{{_acts(node)}}}, {float_text(a['clip'])}, {int(_usual(node) and peephole is None)}"
    name = _declare(job, "micro_lstm", f"{inputs}, {hidden}, {r}, {both}, {bias}, {peep}, {acts}")
    c = job.state(job.padded(hidden))
    xh = job.state(job.padded(r) if mixed else inputs + job.padded(r))
    h = xh if mixed else f"{xh} + {inputs}"
    m = job.scratch(job.padded(hidden)) if a["proj_size"] else "{out}"
    if mixed:
        (first, room_x), (second, room_h) = matrix(job, "w" + suffix, w_ih, 4), matrix(job, "u" + suffix, w_hh, 4)
        text = f"micro_lstm_mixed(&{name}, {first}, {second}, {{x}}, {h}, {c}, {m}, {room_x}, {room_h});"
    elif a["proj_size"]:
        text = f"micro_copy({xh}, {{x}}, {inputs}); micro_lstm_cell(&{name}, {xh}, {c}, {m});"
    else:
        return _Step(f"micro_lstm_step(&{name}, {xh}, {{x}}, {c}, {{out}});", h, c)
    if a["proj_size"]:
        text += f" {product(job, 'w_hr' + suffix, w['w_hr' + suffix], None).format(x=m, y='{out}')}"
    return _Step(f"{text} micro_copy({h}, {{out}}, {r});", h, c)


def _gru(job: Job, node: Node, suffix: str) -> _Step:
    job.need("micro/lrt_micro_gru.h")
    a, w = node.attrs, node.weights
    hidden, inputs = a["hidden_size"], a["input_size"]
    zero = np.zeros(3 * hidden, np.float32)
    w_ih, w_hh, b_hh = w["w_ih" + suffix], w["w_hh" + suffix], w.get("b_hh" + suffix, zero)
    mixed = isinstance(w_ih, Quantised) or isinstance(w_hh, Quantised)
    first = 3 if a["reset_after"] else 2
    matrices = [("w", w_ih, 3), ("u", w_hh[: first * hidden], first)]
    if first == 2:
        matrices.append(("u_n", w_hh[2 * hidden :], 1))
    biases = [
        job.array("b" + suffix, panels(w.get("b_ih" + suffix, zero)[:, None], 3, job.lanes)),
        job.array("d" + suffix, panels(b_hh[: first * hidden, None], first, job.lanes)),
        job.array("d_n" + suffix, panels(b_hh[2 * hidden :, None], 1, job.lanes)) if first == 2 else "NULL",
    ]
    floats, mixes = ["NULL"] * 3, []
    for i, (what, values, gates) in enumerate(matrices):
        if mixed:
            mixes.append(matrix(job, what + suffix, values, gates))
        else:
            floats[i] = job.array(what + suffix, panels(values, gates, job.lanes))
            _strip(job, values.shape[1])
    arrays = ", ".join(part for pair in zip(floats, biases, strict=True) for part in pair)
    fields = f"{inputs}, {hidden}, {arrays}, {{{_acts(node)}}}, {float_text(a['clip'])}, {int(_usual(node))}"
    name = _declare(job, "micro_gru", fields)
    h = job.state(job.padded(hidden))
    names = "".join(f", {m}" for m, _ in mixes)
    rooms = "".join(f", {room}" for _, room in mixes[:2])
    how = "mixed" if mixed else "step"
    if first == 3:
        return _Step(f"micro_gru_{how}(&{name}{names}, {{x}}, {h}, {{out}}{rooms});", h)
    pre, rh = job.scratch(3 * job.padded(hidden)), job.scratch(job.padded(hidden))
    return _Step(f"micro_gru_reset_{how}(&{name}{names}, {{x}}, {h}, {{out}}, {pre}, {rh}{rooms});", h)


def _rnn(job: Job, node: Node, suffix: str) -> _Step:
    job.need("micro/lrt_micro_act.h")
    a, w = node.attrs, node.weights
    hidden, inputs = a["hidden_size"], a["input_size"]
    w_ih, w_hh, bias = w["w_ih" + suffix], w["w_hh" + suffix], _biases(w, suffix, 1, hidden)
    mixed = isinstance(w_ih, Quantised) or isinstance(w_hh, Quantised)
    xh = job.state(job.padded(hidden) if mixed else inputs + job.padded(hidden))
    h = xh if mixed else f"{xh} + {inputs}"
    if mixed:
        over_x = product(job, "w" + suffix, w_ih, bias).format(x="{x}", y="{out}")
        over_h = product(job, "u" + suffix, w_hh, "{out}").format(x=h, y="{out}", out="{out}")
        text = f"{over_x} {over_h}"
    else:
        times = product(job, "w" + suffix, np.concatenate([w_ih, w_hh], axis=1), bias)
        text = f"micro_copy({xh}, {{x}}, {inputs}); {times.format(x=xh, y='{out}')}"
    if a["clip"]:
        text += f" {_activate(Activation('clip', -a['clip'], a['clip']), hidden)}"
    return _Step(f"{text} {_activate(a['activations'][0], hidden)} micro_copy({h}, {{out}}, {hidden});", h)


def _activate(act: Activation, size: int) -> str:
    return f"micro_activate({act_text(act)}, {{out}}, {{out}}, {size});"


_CELLS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}
assert list(_CELLS) == list(GATES)


def _strip(job: Job, k: int) -> None:
    """The products of so many inputs: three or two at a time, and those that are left."""
    if k % 3:
        job.plan.defines["LRT_STRIP_REST"] = "1"
    if k % 2:
        job.plan.defines["LRT_STRIP_ODD"] = "1"


def _ints(job: Job, name: str, q: Quantised, rows: NDArray[Any], scale: NDArray[np.float32]) -> str:
    """The fields of a matrix of integers, its rows in the order in which they are read."""
    job.need("micro/lrt_micro_ints.h")
    upper = (np.append(scale, np.zeros(-len(scale) % LANES, np.float32)).view(np.uint32) >> 16).astype(np.uint16)
    arrays = f"{job.array(name, words(rows), 'uint32_t')}, {job.array(name + '_s', upper, 'uint16_t')}"
    return f"{rows.shape[1]}, {8 * q.stored.itemsize}, {q.limit}, {arrays}"


def _room(job: Job, q: Quantised) -> str:
    """Where a row is packed: two numbers in a word."""
    return f"(uint32_t *)({job.scratch(2 * -(-q.shape[1] // 4))})"


def matrix(job: Job, name: str, w: NDArray[Any] | Quantised, gates: int) -> tuple[str, str]:
    """A matrix of a cell, of floats or of integers: the address of its declaration, and room for packed rows."""
    if isinstance(w, Quantised):
        q = _ints(job, name, w, panel_rows(w.values, gates, job.lanes), panel_rows(w.scale, gates, job.lanes))
        job.need("micro/lrt_micro_mixed.h")
        return f"&{_declare(job, 'micro_matrix', f'NULL, {{{q}}}')}", _room(job, w)
    job.need("micro/lrt_micro_mixed.h")
    _strip(job, w.shape[1])
    fields = f"{job.array(name, panels(w, gates, job.lanes))}, {{{w.shape[1]}, 0, 0, NULL, NULL}}"
    return f"&{_declare(job, 'micro_matrix', fields)}", "NULL"


def product(job: Job, name: str, w: NDArray[Any] | Quantised, bias: NDArray[Any] | str | None) -> str:
    """The product with a matrix ``(outputs, k)``: a call with {x} and {y}. bias: numbers, or where they are."""
    outputs, k = w.shape
    if isinstance(bias, str):
        start = bias
    else:
        given = np.zeros(outputs, np.float32) if bias is None else bias
        start = job.array(name + "_b", np.append(given, np.zeros(-outputs % LANES, np.float32)))
    if isinstance(w, Quantised):
        declared = _declare(job, "micro_ints", _ints(job, name, w, w.values.reshape(outputs, -1), w.scale))
        return f"micro_ints_product(&{declared}, {outputs}, {start}, {{x}}, {_room(job, w)}, {{y}});"
    job.need("micro/lrt_micro_dense.h")
    if outputs >= 16:
        _strip(job, k)
    return f"micro_product({k}, {outputs}, {job.array(name, strips(w))}, {start}, {{x}}, {{y}});"


@op("dense")
def _dense(job: Job, node: Node) -> None:
    weight, act = node.weights["weight"], node.attrs["activation"]
    x, v = job.source(node)
    times = product(job, "w", weight, node.weights.get("bias"))
    y = job.result(node)
    out = job.value(node.outputs[0])
    text = times.format(x=job.at(x, v), y=job.at(y, out))
    if act.name != "linear":
        job.need("micro/lrt_micro_act.h")
        place = job.at(y, out)
        text = f"{{ {text} micro_activate({act_text(act)}, {place}, {place}, {out.size}); }}"
    job.each(v.timed, text)
