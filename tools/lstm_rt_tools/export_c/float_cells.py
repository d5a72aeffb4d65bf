"""Recurrent layers and products, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.activations import Activation
from lstm_rt.format.panels import padded_units
from lstm_rt.graph import GATES, Node
from lstm_rt.quantised import Quantised

from .arrays import LANES, float_text, panels, strips
from .floats import Job, act_text, op, padded
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
    if any(isinstance(w, Quantised) for w in node.weights.values()):
        raise cannot(node, "its weights are integers")
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
        out = job.scratch(padded(r))
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
                job.call(f"micro_zero({place}, {padded(size)});")
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
    both = np.concatenate([w["w_ih" + suffix], w["w_hh" + suffix]], axis=1)
    peephole = w.get("peephole" + suffix)
    peep = "NULL"
    if peephole is not None:
        wide = np.zeros((3, padded_units(hidden)), np.float32)
        wide[:, :hidden] = peephole
        peep = job.array("peephole" + suffix, wide)
    usual = _usual(node) and peephole is None
    arrays = [
        job.array("w" + suffix, panels(both, 4)),
        job.array("b" + suffix, panels(_biases(w, suffix, 4, hidden)[:, None], 4)),
    ]
    acts = f"{{{_acts(node)}}}, {float_text(a['clip'])}, {int(usual)}"
    name = _declare(job, "micro_lstm", f"{inputs}, {hidden}, {r}, {', '.join(arrays)}, {peep}, {acts}")
    _strip(job, inputs + r)
    xh, c = job.state(inputs + padded(r)), job.state(padded(hidden))
    h = f"{xh} + {inputs}"
    if not a["proj_size"]:
        return _Step(f"micro_lstm_step(&{name}, {xh}, {{x}}, {c}, {{out}});", h, c)
    m = job.scratch(padded(hidden))
    project = product(job, "w_hr" + suffix, w["w_hr" + suffix], None)
    text = (
        f"micro_copy({xh}, {{x}}, {inputs}); micro_lstm_cell(&{name}, {xh}, {c}, {m}); "
        f"{project.format(x=m, y='{out}')} micro_copy({h}, {{out}}, {r});"
    )
    return _Step(text, h, c)


def _gru(job: Job, node: Node, suffix: str) -> _Step:
    job.need("micro/lrt_micro_gru.h")
    a, w = node.attrs, node.weights
    hidden, inputs = a["hidden_size"], a["input_size"]
    zero = np.zeros(3 * hidden, np.float32)
    w_hh, b_hh = w["w_hh" + suffix], w.get("b_hh" + suffix, zero)
    first = 3 if a["reset_after"] else 2
    arrays = [
        job.array("w" + suffix, panels(w["w_ih" + suffix], 3)),
        job.array("b" + suffix, panels(w.get("b_ih" + suffix, zero)[:, None], 3)),
        job.array("u" + suffix, panels(w_hh[: first * hidden], first)),
        job.array("d" + suffix, panels(b_hh[: first * hidden, None], first)),
    ]
    arrays += ["NULL", "NULL"]
    if first == 2:
        arrays[4:] = [
            job.array("u_n" + suffix, panels(w_hh[2 * hidden :], 1)),
            job.array("d_n" + suffix, panels(b_hh[2 * hidden :, None], 1)),
        ]
    fields = f"{inputs}, {hidden}, {', '.join(arrays)}, {{{_acts(node)}}}, {float_text(a['clip'])}, {int(_usual(node))}"
    name = _declare(job, "micro_gru", fields)
    _strip(job, inputs)
    _strip(job, hidden)
    h = job.state(padded(hidden))
    if first == 3:
        return _Step(f"micro_gru_step(&{name}, {{x}}, {h}, {{out}});", h)
    pre, rh = job.scratch(3 * padded(hidden)), job.scratch(padded(hidden))
    return _Step(f"micro_gru_reset_step(&{name}, {{x}}, {h}, {{out}}, {pre}, {rh});", h)


def _rnn(job: Job, node: Node, suffix: str) -> _Step:
    job.need("micro/lrt_micro_act.h")
    a, w = node.attrs, node.weights
    hidden, inputs = a["hidden_size"], a["input_size"]
    both = np.concatenate([w["w_ih" + suffix], w["w_hh" + suffix]], axis=1)
    times = product(job, "w" + suffix, both, _biases(w, suffix, 1, hidden))
    xh = job.state(inputs + padded(hidden))
    h = f"{xh} + {inputs}"
    clip = ""
    if a["clip"]:
        clip = f"{_activate(Activation('clip', -a['clip'], a['clip']), hidden)} "
    text = (
        f"micro_copy({xh}, {{x}}, {inputs}); {times.format(x=xh, y='{out}')} {clip}"
        f"{_activate(a['activations'][0], hidden)} micro_copy({h}, {{out}}, {hidden});"
    )
    return _Step(text, h)


def _activate(act: Activation, size: int) -> str:
    return f"micro_activate({act_text(act)}, {{out}}, {{out}}, {size});"


_CELLS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}
assert list(_CELLS) == list(GATES)
assert LANES == 4


def _strip(job: Job, k: int) -> None:
    """The products of so many inputs: three or two at a time, and those that are left."""
    if k % 3:
        job.plan.defines["LRT_STRIP_REST"] = "1"
    if k % 2:
        job.plan.defines["LRT_STRIP_ODD"] = "1"


def product(job: Job, name: str, w: NDArray[Any], bias: NDArray[Any] | None) -> str:
    """The product with a matrix ``(outputs, k)``: a call with {x} and {y}."""
    job.need("micro/lrt_micro_dense.h")
    outputs, k = w.shape
    if outputs >= 16:
        _strip(job, k)
    start = bias if bias is not None else np.zeros(outputs, np.float32)
    return f"micro_product({k}, {outputs}, {job.array(name, strips(w))}, {job.array(name + '_b', start)}, {{x}}, {{y}});"


@op("dense")
def _dense(job: Job, node: Node) -> None:
    weight, act = node.weights["weight"], node.attrs["activation"]
    if isinstance(weight, Quantised):
        raise cannot(node, "its weights are integers")
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
