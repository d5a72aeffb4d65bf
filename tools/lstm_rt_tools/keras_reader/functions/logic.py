"""Functions of what is true: comparisons, choices by them, masks and token ids as numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lstm_rt.errors import GraphError
from lstm_rt.graph import Activation

from ..arith import activated, binary, reduced, scaled
from ..arrays import check_size, place_of
from ..build import Tensor, Truth
from ..layers.basic import is_whole
from ..layers.basic import one_hot as basic_one_hot
from .arguments import Arguments, Results
from .numeric import two


def compare(name: str) -> Callable[[Arguments], Results]:
    """A comparison: the sign of the difference tells."""

    def run(call: Arguments) -> Results:
        away = two("sub")(call)
        assert isinstance(away, Tensor)
        if name in ("less", "greater_equal"):  # b > a, and not b > a
            away = scaled(call.ctx, away, -1.0, 0.0)
        sign = activated(call.ctx, away, Activation("sign"))
        if name in ("equal", "not_equal"):
            true = activated(call.ctx, sign, Activation("abs"))
        else:
            true = activated(call.ctx, sign, Activation("clip", alpha=0.0, beta=1.0))
        opposite = name in ("equal", "less_equal", "greater_equal")
        return _truth(scaled(call.ctx, true, -1.0, 1.0) if opposite else true)

    return run


def _truth(t: Tensor) -> Truth:
    return Truth(t.value, t.dims, t.time)


def logical(op: str) -> Callable[[Arguments], Results]:
    """``and`` is the product, ``or`` the maximum."""

    def run(call: Arguments) -> Results:
        _check_truths(call)
        return _truth(binary(call.ctx, op, call.tensor(0), call.tensor(1)))

    return run


def logical_not(call: Arguments) -> Results:
    _check_truths(call)
    return _truth(scaled(call.ctx, call.tensor(), -1.0, 1.0))


def _check_truths(call: Arguments) -> None:
    if not all(isinstance(t, Truth) for t in call.given):
        raise GraphError("its arguments are not what comparisons give")


def over_axes(kind: str) -> Callable[[Arguments], Results]:
    """Whether any (``max``) or all (``min``) along the axes are true."""

    def run(call: Arguments) -> Results:
        _check_truths(call)
        return _truth(reduced(call.ctx, call.tensor(), kind, call.axes(), bool(call.options["keepdims"])))

    return run


def where(call: Arguments) -> Results:
    """The second argument where the first is true, else the third."""
    if len(call.given) != 3:
        raise GraphError(f"it is called with {len(call.given)} arguments, expected a condition and two arrays")
    if not isinstance(call.given[0], Truth):
        raise GraphError("its condition is not what a comparison gives")
    ctx, true = call.ctx, call.tensor()
    sides = [_times(call, true, call.given[1]), _times(call, scaled(ctx, true, -1.0, 1.0), call.given[2])]
    kept = [t for t in sides if t is not None]
    if not kept:
        return scaled(ctx, true, 0.0, 0.0)
    ctx.note("where() is a sum of products here: a number that it leaves out must be finite")
    return kept[0] if len(kept) == 1 else binary(ctx, "add", kept[0], kept[1])


def _times(call: Arguments, true: Tensor, side: Any) -> Tensor | None:
    """A side of a choice, 0 where it is not taken; None if it is 0 everywhere."""
    if not isinstance(side, Tensor) and np.isscalar(side) and side == 0:
        return None
    made = two("mul")(Arguments(call.ctx, (true, side), {}))
    assert isinstance(made, Tensor)
    return made


def one_hot(call: Arguments) -> Results:
    """A row of the identity for each token id."""
    t, ctx, count = call.tensor(), call.ctx, call.options["num_classes"]
    ids = ctx.graph.values[t.value].kind == "ids"
    if not ids and not is_whole(ctx, t):
        raise GraphError("it is supported of the model's inputs and of places alone")
    if not isinstance(count, int) or count < 1 or place_of(call.options["axis"], len(t.dims) + 1) != len(t.dims):
        raise GraphError(f"{count!r:.60} classes along axis {call.options['axis']!r:.60} are not supported")
    on, off = call.options["on_value"], call.options["off_value"]
    if on not in (None, 1, 1.0) or off not in (None, 0, 0.0):
        raise GraphError(f"other numbers than 1 and 0 are not supported, here are {on!r:.60} and {off!r:.60}")
    if not ids:
        check_size((*t.features, count))
        return basic_one_hot(ctx, t, count)
    ctx.budget.memory(4 * count * count, "the rows of one_hot")
    return Tensor(ctx.graph.embedding(t.value, np.eye(count, dtype=np.float32)), (*t.dims, count), t.time)
