"""Recurrent layers within each step of a sequence, as over the characters of each word, or the bands of a frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arch.within import Inner, at, cell_states, ends, forgetful, laid_out, run
from .labels import Cells, Dim, Dims, Feat, apart, cell, fixed, permuted
from .machine import Tensor

if TYPE_CHECKING:
    from .labelled import Labelled

_MOST_INNER = 1024  #: steps, for each of which there may be a node


def within_steps(
    b: Labelled, word: str, x: Feat, states: Sequence[Tensor | None], options: Mapping[str, Any], order: Sequence[int]
) -> tuple[Feat, ...]:
    """A layer over a fixed number of steps that the batch has at each step: ``x`` with its steps, rows and features
    in ``order``.
    """
    if any(s is not None and (not s.known or np.any(s.data)) for s in states):
        raise b.error(word, "initial states of a layer within each step of a sequence are not supported")
    size, reset_after = options["hidden_size"], options.get("reset_after", True)
    arranged = permuted(x, order)
    count = math.prod(fixed(arranged.dims[:1]))
    if count > _MOST_INNER:
        raise b.error(word, f"within each step of a sequence it has {count} of its own, at most {_MOST_INNER} can be")
    moments = arranged.cells.reshape(count, -1)
    columns, last_h, last_c = list[list[int]](), list[int](), list[int]()
    for weights, backwards in _ways(options["weights"], options.get("direction", "forward")):
        layer = forgetful(word, weights, size, options.get("activations"), reset_after)
        if layer is None or options.get("clip"):
            raise b.error(word, "within each step of a sequence its activations, or its clip, are not supported")
        inner = _inner(b, moments[::-1] if backwards else moments, x.dims, word)
        y = run(b.graph, inner, layer, hidden_size=size, reset_after=reset_after)
        places = [at(b.graph, y, [k]) for k in range(count)]
        b.places |= {v: (y, k) for k, v in enumerate(places)}
        columns.append(places[::-1] if backwards else places)
        last_h.append(places[-1])
        if word == "lstm":
            c = cell_states(b.graph, inner, layer, y, size)
            if c is None:
                raise b.error(word, "within each step of a sequence its activations are not supported")
            last_c.append(at(b.graph, c, [count - 1]))
    cells = np.stack([_all_of(b, moment) for moment in zip(*columns, strict=True)])
    own = (*arranged.dims[:2], (cells[0].size,) if cells[0].size > 1 else ())
    dims = tuple(own[k] for k in order)
    finals = [_final(_all_of(b, values), arranged.dims[1]) for values in (last_h, last_c) if values]
    return (Feat(dims, cells.reshape(fixed(dims))), *finals)


def _all_of(b: Labelled, values: Sequence[int]) -> Cells:
    """The cells of values of one size: a row for each."""
    return np.stack([cell(v, np.arange(b.graph.values[v].size)) for v in values])


def _final(cells: Cells, rows: Dim) -> Feat:
    """The last state of each direction."""
    d, size = cells.shape
    dims: Dims = ((d,) if d > 1 else (), rows, (size,) if size > 1 else ())
    return Feat(dims, cells.reshape(fixed(dims)))


def _ways(weights: Mapping[str, Any], direction: str) -> list[tuple[dict[str, Any], bool]]:
    """The weights of each direction, and whether it runs backwards."""
    if direction != "bidirectional":
        return [(dict(weights), direction == "reverse")]
    both = [{k: w for k, w in weights.items() if k.endswith("_reverse") == back} for back in (False, True)]
    return [(both[0], False), ({k.removesuffix("_reverse"): w for k, w in both[1].items()}, True)]


def _inner(b: Labelled, moments: Cells, dims: Dims, word: str) -> Inner:
    """The inner steps of a sequence: ``moments (count, features)`` are its cells."""
    values, features = apart(moments)
    found = [b.places.get(int(v)) for v in values[:, 0]]
    if (values == values[:, :1]).all() and (features == features[0]).all() and found[0] is not None:
        inner = found[0][0]
        if inner.count == len(moments) and found == [(inner, k) for k in range(len(moments))]:
            return replace(inner, x=b.some(inner.x, features[0]))  # the outputs of another such layer
    steps = b.steps_of(dims, word)
    assert steps is not None
    key = (steps.axis, b"ends" + len(moments).to_bytes(4, "little"))
    resets = b.kept(key, lambda: ends(b.graph, steps.axis, len(moments)))
    x = b.at_every_step(b.value(moments, steps, word), steps)
    return laid_out(b.graph, x, len(moments), resets)
