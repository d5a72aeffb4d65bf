"""Recurrent layers and cells of ATen's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...program.machine import Tensor
from ..agree import SizesDiffer
from ..run import Run
from ..tensors import BatchSizes, Packed, Var
from .layers import IN_TRAINING
from .table import op

_TAKES = (Packed, BatchSizes)
_GATES = {"lstm": 4, "gru": 3, "rnn": 1}

# -- layers ----------------------------------------------------------------------------------------------


def _layers(
    run: Run, word: str, x: Var, states: Sequence[Any], params: Any, biases: Any, num_layers: Any, dropout: Any,
    train: Any, bidirectional: Any, batch_first: Any, activation: str | None = None,
) -> tuple[Any, ...]:  # fmt: skip
    """Layers one upon the other: the last one's output, then the final states of all."""
    if train and dropout:
        run.note(IN_TRAINING)
    packed = x.tag if isinstance(x.tag, Packed) else None
    y, directions = run.floats(x), 2 if bidirectional else 1
    y = run.swapped(y, 0, 1) if batch_first else y
    lengths = [] if packed is None else [packed.pack.lengths]
    count = run.whole(num_layers)
    depth = len(params) // max(count * directions, 1)
    if not depth or len(params) != count * directions * depth:
        raise run.error(f"{len(params)} weights for {count} layers of {directions} directions")
    for s in states:
        found = s.shape(run)[0] if s.shape(run) else 0
        if found != count * directions:
            why = f"states of {found} layers and directions, expected {count * directions}"
            raise SizesDiffer(f"{word}: {why}", word, (found, count * directions))
    finals: list[list[Tensor]] = [[] for _ in states]
    for layer in range(count):
        at = layer * directions
        own = [_own_state(run, run.floats(s), at, at + directions) for s in states]
        own_params = params[at * depth : (at + directions) * depth]
        options = _options(run, word, own_params, bool(biases), directions, activation)
        with run.machine.layer(f"l{layer}" if count > 1 else ""):
            y, *last = run.apply(word, y, *_states(run, own, states, directions), *lengths, **options)
        for states_of, state in zip(finals, last, strict=True):
            states_of.append(state)
    y = run.swapped(y, 0, 1) if batch_first else y
    out = Var(y)
    if packed is not None:
        out.tag = Packed(packed.pack, clean=True)
    return (out, *(f[0] if len(f) == 1 else run.apply("concat", *f, axis=0) for f in finals))


def _own_state(run: Run, states: Tensor, start: int, stop: int) -> Tensor | None:
    """A layer's part of the initial states; None where that is the zeros that it has anyhow."""
    part = run.cut(states, 0, start, stop)
    return None if part.known and not part.data.any() else part


def _states(run: Run, own: list[Tensor | None], states: Sequence[Any], directions: int) -> list[Tensor | None]:
    """Either all of the states or none."""
    if all(s is None for s in own):
        return own
    sizes = [(directions, *s.shape(run)[1:]) for s in states]
    return [run.constant(np.zeros(n), np.float32) if s is None else s for s, n in zip(own, sizes, strict=True)]


def _options(
    run: Run, word: str, params: Sequence[Any], biases: bool, directions: int, activation: str | None
) -> dict[str, Any]:
    """Weights and what else a layer of the vocabulary takes."""
    arrays = [np.asarray(run.array(p, f"a weight of the {word}"), np.float32) for p in params]
    depth = len(arrays) // directions
    names = ["w_ih", "w_hh", *(["b_ih", "b_hh"] if biases else [])]
    if depth == len(names) + 1:
        names.append("w_hr")
    if depth != len(names):
        raise run.error(f"{depth} weights of a direction, expected {', '.join(names)}")
    weights: dict[str, NDArray[np.float32]] = {}
    for d in range(directions):
        suffix = "_reverse" if d else ""
        own = arrays[d * depth : (d + 1) * depth]
        weights |= {n + suffix: w for n, w in zip(names, own, strict=True)}
    options: dict[str, Any] = {
        "weights": weights,
        "hidden_size": weights["w_hh"].shape[0] // _GATES[word],
        "direction": "bidirectional" if directions == 2 else "forward",
    }
    return options if activation is None else {**options, "activations": (activation,)}


@op("lstm", tags=_TAKES)
def lstm(
    run: Run, input: Any, hx: Any, params: Any, has_biases: Any, num_layers: Any, dropout: Any, train: Any,
    bidirectional: Any, batch_first: Any,
) -> Any:  # fmt: skip
    if isinstance(hx, Var):  # of packed data: (data, batch_sizes, hx, params, has_biases, ... bidirectional)
        more = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
        return _layers(run, "lstm", input, params, *more, False)
    more = (params, has_biases, num_layers, dropout, train, bidirectional)
    return _layers(run, "lstm", input, hx, *more, batch_first)


def _one_state(word: str, name: str, activation: str | None = None) -> None:
    @op(name, tags=_TAKES)
    def function(
        run: Run, input: Any, hx: Any, params: Any, has_biases: Any, num_layers: Any, dropout: Any, train: Any,
        bidirectional: Any, batch_first: Any,
    ) -> Any:  # fmt: skip
        if isinstance(params, Var):  # of packed data
            more = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
            return _layers(run, word, input, [params], *more, False, activation)
        more = (params, has_biases, num_layers, dropout, train, bidirectional)
        return _layers(run, word, input, [hx], *more, batch_first, activation)


_one_state("gru", "gru")
_one_state("rnn", "rnn_tanh", "tanh")
_one_state("rnn", "rnn_relu", "relu")

# -- cells -----------------------------------------------------------------------------------------------


def _cell(
    run: Run, word: str, x: Any, states: Sequence[Any], w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any,
    activation: str | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """One step of a layer: its new states."""
    params = [w_ih, w_hh, *([] if b_ih is None else [b_ih, b_hh])]
    own = [run.widened(run.floats(s), 0) for s in states]
    zero = [s.known and not s.data.any() for s in own]
    given = [None] * len(own) if all(zero) else own
    options = _options(run, word, params, b_ih is not None, 1, activation)
    _, *last = run.apply(word, run.widened(run.floats(x), 0), *given, **options)
    return tuple(run.dropped(s, 0) for s in last)


@op("lstm_cell")
def lstm_cell(run: Run, input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    return _cell(run, "lstm", input, hx, w_ih, w_hh, b_ih, b_hh)


@op("gru_cell")
def gru_cell(run: Run, input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    return _cell(run, "gru", input, [hx], w_ih, w_hh, b_ih, b_hh)[0]


@op("rnn_tanh_cell")
def rnn_tanh_cell(run: Run, input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    return _cell(run, "rnn", input, [hx], w_ih, w_hh, b_ih, b_hh, "tanh")[0]


@op("rnn_relu_cell")
def rnn_relu_cell(run: Run, input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    return _cell(run, "rnn", input, [hx], w_ih, w_hh, b_ih, b_hh, "relu")[0]
