"""Recurrent Keras layers -> nodes of a graph.

LSTM, GRU, SimpleRNN, their CuDNN forms of Keras 2, RNN around a cell or stacked cells, Bidirectional.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lstm_rt.graph import GATES, Activation

from .arrays import is_stepwise, timed
from .build import Call, Context, Mask, Tensor
from .config import LayerSpec
from .weights import FloatArray, Weights

_COMMON = ("units", "activation", "use_bias")
#: class -> graph op and the options of the cell; ``...Cell`` and ``CuDNN...`` are the same cells.
_CELLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "LSTM": ("lstm", (*_COMMON, "recurrent_activation")),
    "GRU": ("gru", (*_COMMON, "recurrent_activation", "reset_after")),
    "SimpleRNN": ("rnn", _COMMON),
    "LSTMCell": ("lstm", (*_COMMON, "recurrent_activation")),
    "GRUCell": ("gru", (*_COMMON, "recurrent_activation", "reset_after")),
    "SimpleRNNCell": ("rnn", _COMMON),
    "CuDNNLSTM": ("lstm", ("units",)),
    "CuDNNGRU": ("gru", ("units",)),
}
#: Cells, which a model may call as layers.
CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells")
_LAYER_OPTIONS = (
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "zero_output_for_mask",
)
#: Layers around cells.
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU", "RNN")


@dataclass(frozen=True)
class Cell:
    """One cell, ready for :meth:`lstm_rt.graph.Graph.recurrent`."""

    op: str
    units: int
    activations: tuple[Activation, ...]
    reset_after: bool
    weights: dict[str, FloatArray]

    @property
    def n_states(self) -> int:
        return 2 if self.op == "lstm" else 1


@dataclass(frozen=True)
class _Layer:
    """A recurrent layer: its cells, the first one reading the input, and what it does with them."""

    spec: LayerSpec
    cells: tuple[Cell, ...]
    sequences: bool
    states: bool
    backwards: bool
    zero_masked: bool

    @property
    def n_states(self) -> int:
        return sum(c.n_states for c in self.cells)


@dataclass(frozen=True)
class _Result:
    """What a run over the sequence gave; ``seq`` is in forward time order."""

    seq: int
    last: int
    states: list[int]


# -- reading ----------------------------------------------------------------------------------------


def read_cell(spec: LayerSpec, weights: Weights, extra: Sequence[str] = ()) -> Cell:
    """The cell of a layer or of a ``...Cell``; ``extra`` are options the caller interprets."""
    if spec.class_name not in _CELLS:
        raise spec.error(f"this cell is not supported; known: {', '.join(_CELLS)}")
    op, options = _CELLS[spec.class_name]
    spec.check_options((*options, *extra))
    cudnn = spec.class_name.startswith("CuDNN")
    units = spec.size("units")
    activations = _cudnn_activations(op) if cudnn else _activations(spec, op)
    # Keras 2 before 2.1 had no such option, and its GRU was the one of Cho et al.
    reset_after = op == "gru" and (cudnn or spec.flag("reset_after", spec.keras.major >= 3))
    bias = cudnn or spec.flag("use_bias", True)
    roles = ("kernel", "recurrent_kernel", "bias") if bias else ("kernel", "recurrent_kernel")
    arrays = weights.take(roles, str(spec))
    return Cell(op, units, activations, reset_after, _to_graph(spec, op, units, reset_after, arrays))


def _cudnn_activations(op: str) -> tuple[Activation, ...]:
    names = ("sigmoid", "tanh", "tanh") if op == "lstm" else ("sigmoid", "tanh")
    return tuple(Activation(name) for name in names)


def _activations(spec: LayerSpec, op: str) -> tuple[Activation, ...]:
    main = spec.activation("activation")
    if op == "rnn":
        return (main,)
    gate = spec.activation("recurrent_activation")
    return (gate, main, main) if op == "lstm" else (gate, main)


def _to_graph(
    spec: LayerSpec, op: str, units: int, reset_after: bool, arrays: dict[str, FloatArray]
) -> dict[str, FloatArray]:
    """Keras's matrices ``(inputs, gates * units)`` -> PyTorch's layout and gate order."""
    kernel, recurrent, bias = arrays["kernel"], arrays["recurrent_kernel"], arrays.get("bias")
    gates = GATES[op]
    if kernel.ndim != 2 or kernel.shape[1] != gates * units:
        raise spec.error(f"kernel has shape {kernel.shape}, expected (inputs, {gates * units})")
    if recurrent.shape != (units, gates * units):
        raise spec.error(f"recurrent_kernel has shape {recurrent.shape}, expected ({units}, {gates * units})")
    if bias is not None and op != "rnn" and bias.shape == (2 * gates * units,):
        kernel, recurrent = _from_cudnn(kernel, gates), _transpose_blocks(recurrent, gates)
        bias = bias.reshape(2, -1)
        if op == "lstm":
            bias = bias[0] + bias[1]
        elif not reset_after:
            raise spec.error("the weights are of a CuDNNGRU, but reset_after is false")
    result = {"w_ih": _order(op, kernel.T), "w_hh": _order(op, recurrent.T)}
    if bias is None:
        return result
    expected = (2, gates * units) if reset_after else (gates * units,)
    if bias.shape != expected:
        raise spec.error(f"bias has shape {bias.shape}, expected {expected}")
    for name, row in zip(("b_ih", "b_hh"), np.atleast_2d(bias), strict=False):
        result[name] = _order(op, row)
    return result


def _order(op: str, rows: FloatArray) -> FloatArray:
    """Gates are rows here; a GRU's come as z r h and go as r z n, the others agree."""
    if op != "gru":
        return np.ascontiguousarray(rows)
    z, r, n = np.split(rows, 3)
    return np.concatenate([r, z, n])


def _from_cudnn(kernel: FloatArray, gates: int) -> FloatArray:
    """CuDNN layers store the kernel of each gate as if it were ``(units, inputs)`` in memory."""
    blocks = [b.ravel().reshape(b.shape[1], b.shape[0]).T for b in np.split(kernel, gates, axis=1)]
    return np.concatenate(blocks, axis=1)


def _transpose_blocks(kernel: FloatArray, gates: int) -> FloatArray:
    return np.concatenate([b.T for b in np.split(kernel, gates, axis=1)], axis=1)


def _read_layer(spec: LayerSpec, weights: Weights) -> _Layer:
    if spec.class_name not in RECURRENT:
        raise spec.error(f"expected a recurrent layer: {', '.join(RECURRENT)}")
    if spec.class_name == "RNN":
        spec.check_options((*_LAYER_OPTIONS, "cell"))
        cells = _read_cells(spec.sublayer("cell"), weights)
    elif spec.class_name.startswith("CuDNN"):
        cells = (read_cell(spec, weights, _LAYER_OPTIONS),)
    else:
        cells = (read_cell(spec, weights.child("cell"), _LAYER_OPTIONS),)
    return _Layer(
        spec,
        cells,
        sequences=spec.flag("return_sequences", False),
        states=spec.flag("return_state", False),
        backwards=spec.flag("go_backwards", False),
        zero_masked=spec.flag("zero_output_for_mask", False),
    )


def _read_cells(spec: LayerSpec, weights: Weights) -> tuple[Cell, ...]:
    inside = weights.child("cell", (spec.name,))
    if spec.class_name != "StackedRNNCells":
        return (read_cell(spec, inside),)
    spec.check_options(("cells",))
    listed = spec.required("cells")
    if not isinstance(listed, list) or not listed:
        raise spec.error("option cells: expected a list of cells")
    specs = [replace(spec, config={"cell": c}).sublayer("cell") for c in listed]
    groups = group_names([s.class_name for s in specs])
    return tuple(
        read_cell(s, inside.child(f"cells/{g}", (s.name,), i, len(specs)))
        for i, (s, g) in enumerate(zip(specs, groups, strict=True))
    )


def group_names(class_names: Sequence[str]) -> list[str]:
    """The group of each object of a list in a ``.keras`` archive: lstm_cell, lstm_cell_1, ..."""
    seen: dict[str, int] = {}
    groups = []
    for class_name in class_names:
        name = snake_case(class_name)
        seen[name] = seen.get(name, -1) + 1
        groups.append(f"{name}_{seen[name]}" if seen[name] else name)
    return groups


def snake_case(name: str) -> str:
    """``LSTMCell`` -> ``lstm_cell``, ``Conv2D`` -> ``conv2d``, as Keras does it."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


# -- writing ----------------------------------------------------------------------------------------


def emit_recurrent(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """A recurrent layer: its output, then with ``return_state`` the states of its cells."""
    layer = _read_layer(spec, weights)
    call = over_time(ctx, spec, call)
    _note_stateful(ctx, layer)
    run = _run_chain(ctx, layer, call, layer.backwards, layer.zero_masked, call.initial_state)
    seq = ctx.graph.reverse(run.seq) if layer.backwards and layer.sequences else run.seq
    output = _output(ctx, call, seq, call.pass_mask) if layer.sequences else _output(ctx, call, run.last)
    return [output, *(_output(ctx, call, s) for s in run.states)] if layer.states else [output]


def emit_cell(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """A cell called as a layer, for one step: its output, then its states."""
    x = call.inputs[0]
    if len(x.dims) != 1 or is_stepwise(ctx, x):
        raise spec.error(f"its input has shape {('batch', *x.dims)}, expected (batch, features)")
    if spec.class_name == "StackedRNNCells":
        raise spec.error("called as a layer it is not supported; call its cells one after the other")
    layer = _Layer(spec, (read_cell(spec, weights),), sequences=False, states=True, backwards=False, zero_masked=False)
    if len(call.initial_state) != layer.n_states:
        raise spec.error(f"it is called with {len(call.initial_state)} states, expected {layer.n_states}")
    call = replace(call, inputs=(Tensor(ctx.graph.unflatten(x.value, 1), (1, *x.dims), 0),), run_mask=None)
    run = _run_chain(ctx, layer, call, False, False, call.initial_state)
    return [_output(ctx, call, value) for value in (run.last, *run.states)]


def over_time(ctx: Context, spec: LayerSpec, call: Call) -> Call:
    """The call with its first input a sequence, on the time axis that its mask is on."""
    x, *others = call.inputs
    if len(x.dims) != 2:
        raise spec.error(f"its input has shape {('batch', *x.dims)}, expected (batch, steps, features)")
    x = timed(ctx, x)
    mask = call.run_mask
    if mask is not None and mask.source >= 0 and not ctx.share_axis((x.value, mask.source)):
        raise spec.error("its mask counts other steps than its input has, which is not supported")
    return replace(call, inputs=(x, *others))


def _output(ctx: Context, call: Call, value: int, mask: Mask | None = None) -> Tensor:
    """A sequence over the steps of the call's input, or a vec."""
    v = ctx.graph.values[value]
    if v.kind == "vec":
        return Tensor(value, (v.size,))
    return Tensor(value, (call.inputs[0].steps, v.size), 0, mask)


def _note_stateful(ctx: Context, layer: _Layer) -> None:
    if layer.spec.flag("stateful", False):
        ctx.note(f"{layer.spec}: was stateful in Keras; here calls are pure and streams keep the state")


def _run_chain(
    ctx: Context, layer: _Layer, call: Call, backwards: bool, zero_masked: bool, initial: Sequence[Tensor]
) -> _Result:
    """The cells one after the other, each over the whole sequence in one direction."""
    if initial and len(initial) != layer.n_states:
        raise layer.spec.error(f"{len(initial)} initial states given, expected {layer.n_states}")
    mask = None if call.run_mask is None else ctx.mask(call.run_mask, layer.spec)
    given, x, states = list(initial), call.value, []
    last = x
    for cell in layer.cells:
        h0 = given.pop(0).value if initial else None
        c0 = given.pop(0).value if initial and cell.op == "lstm" else None
        x, last, c_n = ctx.graph.recurrent(
            cell.op,
            x,
            cell.weights,
            hidden_size=cell.units,
            direction="reverse" if backwards else "forward",
            activations=cell.activations,
            reset_after=cell.reset_after,
            mask=mask,
            zero_masked=zero_masked,
            h0=h0,
            c0=c0,
        )
        states += [last] if c_n is None else [last, c_n]
    if mask is not None and (zero_masked or initial):
        # A masked last step gives 0, or the output before it: not always the state.
        last = ctx.graph.select(x, 0 if backwards else -1)
    return _Result(x, last, states)


# -- Bidirectional ----------------------------------------------------------------------------------

MERGE = {"sum": "add", "mul": "mul", "ave": "average"}


def emit_bidirectional(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Bidirectional: the merged output (both when merge_mode is None), then the states if asked for."""
    spec.check_options(("merge_mode", "layer", "backward_layer"))
    mode = spec.config.get("merge_mode", "concat")
    if mode not in ("concat", None, *MERGE):
        raise spec.error(f"option merge_mode={mode!r} is not supported")
    forward, backward = _read_pair(spec, weights)
    call = over_time(ctx, spec, call)
    for layer in (forward, backward):
        _note_stateful(ctx, layer)
    # Keras overrides the option of the layers inside.
    zero_masked = forward.sequences and spec.keras.bidirectional_zeroes_masked
    joined = _joined_cell(forward, backward)
    # One node gives the last output as its state, and with a mask and initial states they may differ.
    if joined is not None and not (call.run_mask and call.initial_state):
        parts, states = _run_joined(ctx, forward, joined, call, zero_masked)
    else:
        parts, states = _run_pair(ctx, forward, backward, call, zero_masked)
    mask = call.pass_mask if forward.sequences else None
    outputs = [_output(ctx, call, v, mask) for v in _merge(ctx, mode, parts)]
    return outputs + [_output(ctx, call, s) for s in states] if forward.states else outputs


def _read_pair(spec: LayerSpec, weights: Weights) -> tuple[_Layer, _Layer]:
    pair = [_read_layer(sub, own) for sub, own in both_sides(spec, weights)]
    if pair[0].backwards or not pair[1].backwards:
        raise spec.error("expected go_backwards false in the forward and true in the backward layer")
    if (pair[0].sequences, pair[0].states) != (pair[1].sequences, pair[1].states):
        raise spec.error("return_sequences and return_state differ between the two directions")
    return pair[0], pair[1]


def both_sides(spec: LayerSpec, weights: Weights) -> list[tuple[LayerSpec, Weights]]:
    """The layers inside a Bidirectional, forward and backward, and the weights of each."""
    forward = spec.sublayer("layer")
    if spec.config.get("backward_layer") is not None:
        backward = spec.sublayer("backward_layer")
    else:
        backward = replace(forward, config={**forward.config, "go_backwards": True})
    found = []
    for i, (side, sub) in enumerate((("forward", forward), ("backward", backward))):
        names = (f"{side}_{sub.name.removeprefix(side + '_')}", sub.name)
        found.append((sub, weights.child(f"{side}_layer", names, i, 2)))
    return found


def _joined_cell(forward: _Layer, backward: _Layer) -> Cell | None:
    """Both directions as one node with two directions, where they are of the same form."""
    if len(forward.cells) != 1 or len(backward.cells) != 1:
        return None
    f, b = forward.cells[0], backward.cells[0]
    same_form = replace(f, weights={}) == replace(b, weights={}) and f.weights.keys() == b.weights.keys()
    if not same_form:
        return None
    return replace(f, weights=f.weights | {f"{k}_reverse": w for k, w in b.weights.items()})


def _run_joined(
    ctx: Context, layer: _Layer, cell: Cell, call: Call, zero_masked: bool
) -> tuple[list[int], list[int]]:
    """One bidirectional node; the output is one value with both directions side by side."""
    graph, size, initial = ctx.graph, cell.units, [t.value for t in call.initial_state]
    if initial and len(initial) != 2 * cell.n_states:
        raise layer.spec.error(f"{len(initial)} initial states given, expected {2 * cell.n_states}")
    seq, h_n, c_n = graph.recurrent(
        cell.op,
        call.value,
        cell.weights,
        hidden_size=size,
        direction="bidirectional",
        activations=cell.activations,
        reset_after=cell.reset_after,
        mask=None if call.run_mask is None else ctx.mask(call.run_mask, layer.spec),
        zero_masked=zero_masked,
        h0=graph.concat(initial[0], initial[cell.n_states]) if initial else None,
        c0=graph.concat(initial[1], initial[3]) if initial and cell.op == "lstm" else None,
    )
    ends = [h_n] if c_n is None else [h_n, c_n]
    states = [graph.slice(end, start, size) for start in (0, size) for end in ends] if layer.states else []
    return [seq if layer.sequences else h_n], states


def _run_pair(
    ctx: Context, forward: _Layer, backward: _Layer, call: Call, zero_masked: bool
) -> tuple[list[int], list[int]]:
    """A node (or chain of nodes) for each direction; the output is one value for each."""
    initial = call.initial_state
    half = forward.n_states if initial else 0
    a = _run_chain(ctx, forward, call, False, zero_masked, initial[:half])
    b = _run_chain(ctx, backward, call, True, zero_masked, initial[half:])
    return ([a.seq, b.seq] if forward.sequences else [a.last, b.last]), a.states + b.states


def _merge(ctx: Context, mode: str | None, parts: list[int]) -> list[int]:
    graph = ctx.graph
    if mode == "concat":
        return parts if len(parts) == 1 else [graph.concat(*parts)]
    if len(parts) == 1:
        size = graph.values[parts[0]].size // 2
        parts = [graph.slice(parts[0], start, size) for start in (0, size)]
    return parts if mode is None else [graph.binary(MERGE[mode], *parts)]
