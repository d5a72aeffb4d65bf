"""Recurrent Keras layers -> nodes of a graph.

LSTM, GRU, SimpleRNN, their CuDNN forms of Keras 2, RNN around a cell or stacked cells, Bidirectional.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..arith import binary
from ..arrays import backwards, is_stepwise, joined, timed
from ..build import Call, Context, Mask, Tensor
from ..config import LayerSpec
from ..masks import on_steps_of
from ..weights import Weights
from . import within
from .cells import Cell, Recurrent, read_cell, read_recurrent


@dataclass(frozen=True)
class _Result:
    """What a run over the sequence gave; ``seq`` is in forward time order."""

    seq: int
    last: int
    states: list[int]


def emit_recurrent(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """A recurrent layer: its output, then with ``return_state`` the states of its cells."""
    layer = read_recurrent(spec, weights)
    _note_stateful(ctx, layer)
    if is_stepwise(ctx, call.inputs[0]):
        return [within.run(ctx, layer, within.laid_out(ctx, spec, call, layer.backwards), layer.zero_masked)]
    call = over_time(ctx, spec, call)
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
    layer = Recurrent(spec, (read_cell(spec, weights),), sequences=False, states=True)
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
    if call.run_mask is None:
        return replace(call, inputs=(x, *others))
    mask = on_steps_of(ctx, call.run_mask, x)
    if mask is None:
        raise spec.error("its mask counts other steps than its input has, which is not supported")
    return replace(call, inputs=(x, *others), run_mask=mask)


def _output(ctx: Context, call: Call, value: int, mask: Mask | None = None) -> Tensor:
    """A sequence over the steps of the call's input, or a vec."""
    v = ctx.graph.values[value]
    if v.kind == "vec":
        return Tensor(value, (v.size,))
    return Tensor(value, (call.inputs[0].steps, v.size), 0, mask)


def _note_stateful(ctx: Context, layer: Recurrent) -> None:
    if layer.spec.flag("stateful", False):
        ctx.note(f"{layer.spec}: was stateful in Keras; here calls are pure and streams keep the state")


def _run_chain(
    ctx: Context, layer: Recurrent, call: Call, backwards: bool, zero_masked: bool, initial: Sequence[Tensor]
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
    for layer in (forward, backward):
        _note_stateful(ctx, layer)
    # Keras overrides the option of the layers inside.
    zero_masked = forward.sequences and spec.keras.bidirectional_zeroes_masked
    if is_stepwise(ctx, call.inputs[0]):
        inner = [within.laid_out(ctx, spec, call, side is backward) for side in (forward, backward)]
        sides = [within.run(ctx, *pair, zero_masked) for pair in zip((forward, backward), inner, strict=True)]
        return merged(ctx, mode, [sides[0], backwards(ctx, sides[1], 0) if forward.sequences else sides[1]])
    call = over_time(ctx, spec, call)
    joined = _joined_cell(forward, backward)
    # One node gives the last output as its state, and with a mask and initial states they may differ.
    if joined is not None and not (call.run_mask and call.initial_state):
        parts, states = _run_joined(ctx, forward, joined, call, zero_masked)
    else:
        parts, states = _run_pair(ctx, forward, backward, call, zero_masked)
    mask = call.pass_mask if forward.sequences else None
    outputs = [_output(ctx, call, v, mask) for v in _merge(ctx, mode, parts)]
    return outputs + [_output(ctx, call, s) for s in states] if forward.states else outputs


def _read_pair(spec: LayerSpec, weights: Weights) -> tuple[Recurrent, Recurrent]:
    pair = [read_recurrent(sub, own) for sub, own in both_sides(spec, weights)]
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


def _joined_cell(forward: Recurrent, backward: Recurrent) -> Cell | None:
    """Both directions as one node with two directions, where they are of the same form."""
    if len(forward.cells) != 1 or len(backward.cells) != 1:
        return None
    f, b = forward.cells[0], backward.cells[0]
    same_form = replace(f, weights={}) == replace(b, weights={}) and f.weights.keys() == b.weights.keys()
    if not same_form:
        return None
    return replace(f, weights=f.weights | {f"{k}_reverse": w for k, w in b.weights.items()})


def _run_joined(
    ctx: Context, layer: Recurrent, cell: Cell, call: Call, zero_masked: bool
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
    ctx: Context, forward: Recurrent, backward: Recurrent, call: Call, zero_masked: bool
) -> tuple[list[int], list[int]]:
    """A node (or chain of nodes) for each direction; the output is one value for each."""
    initial = call.initial_state
    half = forward.n_states if initial else 0
    a = _run_chain(ctx, forward, call, False, zero_masked, initial[:half])
    b = _run_chain(ctx, backward, call, True, zero_masked, initial[half:])
    return ([a.seq, b.seq] if forward.sequences else [a.last, b.last]), a.states + b.states


def merged(ctx: Context, mode: str | None, sides: list[Tensor]) -> list[Tensor]:
    """The outputs of a Bidirectional whose layers give these, both in the order of time."""
    if mode is None:
        return sides
    if mode == "concat":
        return [joined(ctx, sides, len(sides[0].dims) - 1)]
    return [binary(ctx, MERGE[mode], *sides)]


def _merge(ctx: Context, mode: str | None, parts: list[int]) -> list[int]:
    graph = ctx.graph
    if mode == "concat":
        return parts if len(parts) == 1 else [graph.concat(*parts)]
    if len(parts) == 1:
        size = graph.values[parts[0]].size // 2
        parts = [graph.slice(parts[0], start, size) for start in (0, size)]
    return parts if mode is None else [graph.binary(MERGE[mode], *parts)]
