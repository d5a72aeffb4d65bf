"""The equations of the cells (docs/format.md, section 5.1) as the body of a Scan, for what ONNX's operators lack."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lstm_rt.graph import GATES, Node

from .onnx_activations import activate
from .onnx_build import Port
from .onnx_state import Export

_FLOAT, _BOOL = np.dtype(np.float32), np.dtype(np.bool_)


class _Cell:
    """One direction of a layer within the body; states are ``(N, H)``."""

    def __init__(self, e: Export, node: Node, suffix: str) -> None:
        self.b, self.node, self.suffix = e.b, node, suffix

    def product(self, x: str, weight: str, bias: str, rows: slice = slice(None)) -> str:
        """``x @ weight.T + bias``, of these rows."""
        w, b = (self.node.weights.get(name + self.suffix) for name in (weight, bias))
        assert w is not None
        y = self.b.add("MatMul", x, self.b.transposed(w[rows], weight + self.suffix))
        return y if b is None else self.b.add("Add", y, self.b.constant(b[rows], bias + self.suffix))

    def gates(self, x: str) -> list[str]:
        count = GATES[self.node.op]
        return self.b.add_many("Split", [x], count, axis=1, num_outputs=count)

    def act(self, x: str, k: int) -> str:
        """Clip, then the activation number ``k``."""
        clip = self.node.attrs["clip"]
        if clip:
            x = self.b.add("Clip", x, self.b.number(-clip), self.b.number(clip))
        return activate(self.b, x, self.node.attrs["activations"][k])


def _lstm(cell: _Cell, x: str, h: str, c: str) -> list[str]:
    b, peephole = cell.b, cell.node.weights.get("peephole" + cell.suffix)
    both = b.add("Add", cell.product(x, "w_ih", "b_ih"), cell.product(h, "w_hh", "b_hh"))
    i, f, g, o = cell.gates(both)

    def seeing(gate: str, c: str, k: int) -> str:
        if peephole is None:
            return gate
        return b.add("Add", gate, b.add("Mul", c, b.constant(peephole[k], "ifo"[k] + "_peephole")))

    i, f, g = cell.act(seeing(i, c, 0), 0), cell.act(seeing(f, c, 1), 0), cell.act(g, 1)
    c = b.add("Add", b.add("Mul", f, c), b.add("Mul", i, g))
    o = cell.act(seeing(o, c, 2), 0)
    h = b.add("Mul", o, activate(b, c, cell.node.attrs["activations"][2]))
    return [cell.product(h, "w_hr", "") if "w_hr" + cell.suffix in cell.node.weights else h, c]


def _gru(cell: _Cell, x: str, h: str) -> list[str]:
    b, two = cell.b, 2 * cell.node.attrs["hidden_size"]
    x_r, x_z, x_n = cell.gates(cell.product(x, "w_ih", "b_ih"))
    if cell.node.attrs["reset_after"]:
        h_r, h_z, h_n = cell.gates(cell.product(h, "w_hh", "b_hh"))
    else:
        rz = cell.product(h, "w_hh", "b_hh", slice(two))
        h_r, h_z = b.add_many("Split", [rz], 2, axis=1, num_outputs=2)
    r, z = cell.act(b.add("Add", x_r, h_r), 0), cell.act(b.add("Add", x_z, h_z), 0)
    if cell.node.attrs["reset_after"]:
        inner = b.add("Mul", r, h_n)
    else:
        inner = cell.product(b.add("Mul", r, h), "w_hh", "b_hh", slice(two, None))
    n = cell.act(b.add("Add", x_n, inner), 1)
    return [b.add("Add", b.add("Mul", b.add("Sub", b.number(1.0), z), n), b.add("Mul", z, h))]


def _rnn(cell: _Cell, x: str, h: str) -> list[str]:
    both = cell.b.add("Add", cell.product(x, "w_ih", "b_ih"), cell.product(h, "w_hh", "b_hh"))
    return [cell.act(both, 0)]


_CELLS: dict[str, Callable[..., list[str]]] = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


def scan_direction(e: Export, node: Node, suffix: str, backwards: bool, initial: list[str], counts: str) -> list[str]:
    """One direction of a layer; see :func:`scan`."""
    x = e.values[node.inputs[0] or 0]
    return scan(e, lambda *args: _CELLS[node.op](_Cell(e, node, suffix), *args), x, initial, backwards, counts)


def scan(
    e: Export, cell: Callable[..., list[str]], x: str, initial: Sequence[str], backwards: bool, counts: str
) -> list[str]:
    """A cell, step by step.

    Args:
        cell: writes the nodes of a step: from the input and the states before it, the states after it.
        x: the inputs ``(T, N, ...)``.
        initial: the states before the first step.
        counts: at which steps the state goes on, bool ``(T, N, 1)``, or with more axes of 1; "" for all.

    Returns:
        The sequence ``(T, N, ...)`` of the first state as it stands after each step, and the final states.
    """
    b = e.b
    states = ["h", "c"][: len(initial)]
    ports = [(name, _FLOAT) for name in (*states, "x")] + [("counts", _BOOL)] * bool(counts)
    with b.body(ports) as body:
        old, step = [p.name for p in body.inputs[: len(states)]], body.inputs[len(states)].name
        new = cell(step, *old)
        if counts:
            new = [b.add("Where", body.inputs[-1].name, n, o) for n, o in zip(new, old, strict=True)]
        shown = b.add("Identity", new[0])  # what is put out is another value than the state that goes on
    body.outputs = [Port(name, _FLOAT) for name in (*new, shown)]
    count = 2 if counts else 1
    outputs = b.add_many(
        "Scan",
        [*initial, x, *([counts] if counts else [])],
        len(states) + 1,
        body=body,
        num_scan_inputs=count,
        scan_input_directions=[int(backwards)] * count,
        scan_output_directions=[int(backwards)],
    )
    return [outputs[-1], *outputs[:-1]]
