"""Recurrent layers within the steps of another sequence, as over the characters of each word.

The inner steps of all outer ones are one long sequence, and behind those of each outer step comes one at which the
layer forgets: its gates let nothing through, and its state is 0 again. So a single node does for any number of words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lstm_rt.graph import Activation

from ..arith import padded
from ..arrays import side_by_side
from ..build import Call, Context, Mask, Tensor
from ..config import LayerSpec
from ..weights import FloatArray
from .cells import Cell, Recurrent

_SHUT = 1e4  #: what is taken from the sum before a gate to close it
_SHUTS = ("sigmoid", "hard_sigmoid", "relu")  #: functions of gates that then are 0
_ODD = ("linear", "tanh", "relu", "elu", "selu", "softsign", "swish", "gelu", "leaky_relu")  #: functions that keep 0
_MOST_INNER = 256  #: for each of which there is a node where all of them are an output


@dataclass(frozen=True)
class Inner:
    """The inner steps of a sequence, ``count`` for each step of the axis ``outer``, with the ones that forget.

    ``x``, ``mask`` and ``resets``, which is 1 where the layer forgets and else 0, are values on one time axis.
    """

    x: int
    resets: int
    mask: int | None
    count: int
    outer: int
    passed: Mask | None


def laid_out(ctx: Context, spec: LayerSpec, call: Call) -> Inner:
    """The steps within the steps of a layer's input, one after the other.

    Raises:
        ConvertError: the input has other axes than steps and features, or the layer is called with initial states.
    """
    x, graph = call.inputs[0], ctx.graph
    if len(x.dims) != 2 or x.dims[0] is None:
        raise spec.error(f"its input has shape {('batch', *x.dims)}, expected (batch, steps, features)")
    if call.initial_state:
        raise spec.error("initial states are not supported within TimeDistributed")
    count, mask = x.dims[0], None
    if call.run_mask is not None:
        if not ctx.is_within(call.run_mask):
            raise spec.error("a mask of the steps around it is not supported within TimeDistributed")
        flags = Tensor(ctx.flags(call.run_mask, spec), (count,))
        mask = graph.mask_values(graph.unflatten(padded(ctx, flags, [(0, 1)], 1.0).value, count + 1))
    zero = graph.activation(graph.slice(x.value, 0, 1), Activation("clip", alpha=0.0, beta=0.0))
    ends = graph.binary("add", zero, graph.constant(np.eye(count + 1, dtype=np.float32)[-1]))
    steps, resets = (graph.unflatten(v, count + 1) for v in (padded(ctx, x, [(0, 1), (0, 0)]).value, ends))
    return Inner(steps, resets, mask, count, graph.values[x.value].axis, call.pass_mask)


def run(ctx: Context, layer: Recurrent, inner: Inner, backwards: bool, zero_masked: bool) -> Tensor:
    """A layer's output within each outer step: its last one, or all of them in the order in which it makes them."""
    if layer.states:
        raise layer.spec.error("states as outputs are not supported within TimeDistributed")
    x = inner.x
    for cell in layer.cells:
        forgetful = _forgetful(layer.spec, cell)
        x, _, _ = ctx.graph.recurrent(
            forgetful.op,
            ctx.graph.concat(x, inner.resets),
            forgetful.weights,
            hidden_size=cell.units,
            direction="reverse" if backwards else "forward",
            activations=forgetful.activations,
            reset_after=cell.reset_after,
            mask=inner.mask,
            zero_masked=zero_masked,
        )
    size = layer.cells[-1].units
    if not layer.sequences:
        return Tensor(_at(ctx, inner, x, [0 if backwards else inner.count - 1]), (size,))
    if inner.count > _MOST_INNER:
        raise layer.spec.error(
            f"with return_sequences within TimeDistributed it is supported for up to {_MOST_INNER} steps, "
            f"here are {inner.count}"
        )
    order = range(inner.count)
    value = _at(ctx, inner, x, [*(reversed(order) if backwards else order)])
    return Tensor(value, (inner.count, size), mask=inner.passed)


def _at(ctx: Context, inner: Inner, steps: int, places: list[int]) -> int:
    """The inner steps at these places of every outer step, side by side."""
    period = inner.count + 1
    parts = [ctx.graph.take(steps, i, period, drop=inner.count - i) for i in places]
    return ctx.graph.align(side_by_side(ctx, parts), inner.outer)


def _forgetful(spec: LayerSpec, cell: Cell) -> Cell:
    """The cell with one more input, the last, which is 1 where its state is to become 0, and else 0.

    Raises:
        ConvertError: no number of its activations closes its gates.
    """
    cell = _with_gates(cell) if cell.op == "rnn" else cell
    gate, *others = cell.activations
    kept = others[:1] if cell.op == "gru" else []
    if gate.name not in _SHUTS or any(a.name not in _ODD for a in kept):
        names = ", ".join(a.name for a in cell.activations)
        raise spec.error(f"within TimeDistributed its activations {names} are not supported")
    shut = np.full(cell.units, -_SHUT, np.float32)
    if cell.op == "lstm":
        column = np.concatenate([shut, shut, np.zeros_like(shut), 2 * shut])
    else:  # all of the new state is the candidate, of which only the biases would be left
        biases = [cell.weights[b] for b in ("b_ih", "b_hh") if b in cell.weights]
        left = sum((b[-cell.units :] for b in biases[: 1 if cell.reset_after else 2]), np.zeros_like(shut))
        column = np.concatenate([shut, shut, -left])
    weight = np.column_stack([cell.weights["w_ih"], column]).astype(np.float32)
    return replace(cell, weights={**cell.weights, "w_ih": weight})


def _with_gates(cell: Cell) -> Cell:
    """A simple cell as an LSTM that takes all of what is new and keeps nothing of what was."""
    size = cell.units

    def candidate(array: FloatArray) -> FloatArray:
        return np.concatenate([np.zeros((2 * size, *array.shape[1:]), np.float32), array, np.zeros_like(array)])

    weights = {name: candidate(array) for name, array in cell.weights.items()}
    bias = weights.get("b_ih", np.zeros(4 * size, np.float32))
    bias[: 2 * size] = np.repeat([_SHUT, -_SHUT], size)
    bias[3 * size :] = _SHUT
    gates = Activation("sigmoid"), *cell.activations, Activation("linear")
    return replace(cell, op="lstm", activations=gates, weights={**weights, "b_ih": bias})
