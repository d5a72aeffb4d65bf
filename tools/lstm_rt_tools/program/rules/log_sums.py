"""Running sums written out by their logarithms, as cells without a loop are: ``exp(a + logcumsumexp(v - a))``.

With ``a`` the running sum of ``f`` that is ``h' = exp(f) h + exp(v)``, from 0, and so it is computed: by itself, the
logarithm would need sums of numbers that may be too large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation

from ..labelled import Labelled
from ..labels import Feat, Label, LogSums, apart, cell, is_fixed, is_steps
from ..machine import Tensor
from ..tidy import maker

Args = Sequence[Tensor | None]


def logcumsumexp(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    """The rule of the word."""
    x = args[0]
    assert x is not None
    label = b.feat(x, "logcumsumexp")
    i = options["axis"] % x.ndim
    if not is_steps(label.dims[i]):
        if is_fixed(label.dims[i]):
            raise b.error("logcumsumexp", "over features it is not supported")
        raise b.wrong_roles("logcumsumexp", f"it goes over {b.words(label.dims[i])}")
    why = "logcumsumexp is known where exp(a + logcumsumexp(v - a)) is computed, a being a running sum, alone"
    return LogSums(why, label.dims, label)


def added(word: str, x: Tensor, y: Tensor) -> Label | None:
    """What is added to such a logarithm; None of anything else."""
    sums, other = (x.label, y.label) if isinstance(x.label, LogSums) else (y.label, x.label)
    if word != "add" or not isinstance(sums, LogSums) or not isinstance(other, Feat) or sums.plus is not None:
        return None
    return replace(sums, plus=other) if other.dims == sums.dims else None


def exponential(b: Labelled, sums: LogSums) -> Label:
    """``exp`` of such a logarithm, and of what was added to it."""
    sides = _made_by(b, "sub", sums.of)
    rates = _made_by(b, "cumsum", sums.plus) if sums.plus is not None else None
    if sides is None or rates is None or sums.plus is None or not np.array_equal(sides[1], sums.plus.cells):
        return sums
    steps = b.steps_of(sums.dims, "logcumsumexp")
    assert steps is not None
    entering, forget = (
        b.at_every_step(b.graph.activation(b.value(cells, steps, "logcumsumexp"), "exp"), steps)
        for cells in (sides[0], rates[0])
    )
    size = sums.of.cells.size
    one, none = np.eye(size, dtype=np.float32), np.zeros((size, size), np.float32)
    weights = {
        "w_ih": np.block([[none, none], [none, one], [one, none], [none, none]]),
        "w_hh": np.zeros((4 * size, size), np.float32),
        "b_ih": np.repeat(np.array([1, 0, 0, 1], np.float32), size),
    }
    linear = (Activation("linear"),) * 3
    made = b.graph.recurrent("lstm", b.graph.concat(entering, forget), weights, hidden_size=size, activations=linear)[0]
    assert made is not None
    return Feat(sums.dims, cell(made, np.arange(size)).reshape(sums.of.cells.shape))


def _made_by(b: Labelled, op: str, label: Feat) -> list[NDArray[np.int64]] | None:
    """What a node of an op reads for each of the cells; None where they are made by others."""
    values, features = apart(label.cells)
    if not values.size or (values != values.flat[0]).any():
        return None
    node = maker(b.graph, int(values.flat[0]))
    inputs = [] if node is None or node.op != op else [i for i in node.inputs if i is not None]
    if not inputs or any(b.graph.values[i].size != b.graph.values[int(values.flat[0])].size for i in inputs):
        return None
    return [cell(i, features) for i in inputs]
