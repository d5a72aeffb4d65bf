"""Operations on each number by itself, and on two numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation

from ..counts import ramp, scaled_by_steps
from ..labelled import Labelled
from ..labels import (
    AnyStep,
    Counted,
    Differs,
    Dims,
    Feat,
    Ids,
    Label,
    Lengths,
    LogSums,
    Loose,
    Mask,
    Pairs,
    PerPair,
    Steps,
    Sums,
    Times,
    Turn,
)
from ..machine import ProgramError, Tensor
from ..masks import joined, length_dims, only
from ..pairs import anded
from ..positions import positions
from ..truths import both_or_one, compared, negated
from . import log_sums
from .attention import added, combined
from .tables import one_hot

Args = Sequence[Tensor | None]

#: Words whose function is an activation of the same parameters, by its name in graphs.
_ACTIVATIONS = {
    **{word: word for word in ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "celu", "selu", "softplus", "softsign")},
    **{word: word for word in ("hard_sigmoid", "hard_swish", "mish", "exp", "log", "sqrt", "abs", "square")},
    **{word: word for word in ("reciprocal", "erf", "sin", "cos", "sign", "floor", "scaled_tanh", "thresholded_relu")},
    "silu": "swish",
}


def activation(b: Labelled, x: Feat, op: str, act: str | Activation) -> Feat:
    """An activation that acts on each feature by itself."""
    return b.each(x, op, lambda value: b.graph.activation(value, act))


def scaled(b: Labelled, x: Feat, op: str, factor: Any, shift: Any) -> Feat:
    """``x * factor + shift``, which broadcast to it."""
    factor, shift = np.asarray(factor, np.float32), np.asarray(shift, np.float32)
    if np.all(factor == 1) and np.all(shift == 0):
        return b.with_numbers(x, [factor], op, lambda value, _: value) if factor.ndim else x

    def make(value: int, f: NDArray[Any], s: NDArray[Any]) -> int:
        if (f == f[0]).all() and (s == s[0]).all():
            return b.graph.activation(value, Activation("affine", float(f[0]), float(s[0])))
        zeros, ones = np.zeros_like(f), np.ones_like(f)
        return b.graph.batchnorm(value, zeros, ones, f, s, 0.0)

    return b.with_numbers(x, [factor, shift], op, make)


def _unary(word: str, b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    label = _first(args).label
    if isinstance(label, Sums) and word == "tanh" and not label.tanh:
        return replace(label, tanh=True)
    if isinstance(label, LogSums) and word == "exp" and isinstance(found := log_sums.exponential(b, label), Feat):
        return found
    x = b.feat(_first(args), word)
    return activation(b, x, word, Activation(_ACTIVATIONS[word], options.get("alpha"), options.get("beta")))


def _gelu(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    return activation(b, b.feat(_first(args), "gelu"), "gelu", "gelu_tanh" if options.get("tanh") else "gelu")


def _clip(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    low, high = options.get("low", -math.inf), options.get("high", math.inf)
    return clipped(b, b.feat(_first(args), "clip"), "clip", low, high)


def clipped(b: Labelled, x: Feat, op: str, low: float, high: float) -> Feat:
    """Between two numbers, either of which may be infinite."""
    if low == 0 and high == math.inf:
        return activation(b, x, op, "relu")
    most = float(np.finfo(np.float32).max)
    return activation(b, x, op, Activation("clip", max(low, -most), min(high, most)))


def _neg(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    return scaled(b, b.feat(_first(args), "neg"), "neg", -1, 0)


def _ceil(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    x = scaled(b, b.feat(_first(args), "ceil"), "ceil", -1, 0)
    return scaled(b, activation(b, x, "ceil", "floor"), "ceil", -1, 0)


def _round(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    """To the nearest whole number; of two that are as near the larger one, where programs take the even one."""
    note = "what is rounded goes up from halves, in the file to even numbers"
    b.notes += [note] if note not in b.notes else []
    x = scaled(b, b.feat(_first(args), "round"), "round", 1, 0.5)
    return activation(b, x, "round", "floor")


def _cast(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    label: Label = _first(args).label
    if isinstance(label, Lengths) and out.dtype.kind == "f":
        return b.feat(_first(args), "cast")
    kind = _first(args).dtype.kind
    if isinstance(label, Feat) and out.dtype.kind == "b" and kind in "iu":
        return compared(b, "ne", label, np.zeros(1, np.float32))
    if isinstance(label, Feat) and out.dtype.kind != "f" and kind == "f":
        return Loose("features that are rounded to integers are not supported", label.dims)
    return label


def _logical_not(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    label = _first(args).label
    if isinstance(label, Mask):
        return Mask(label.value, label.axis, label.dims, not label.inverted)
    if isinstance(label, Pairs):
        return replace(label, inverted=not label.inverted)
    if isinstance(label, Differs) and not label.counted:
        return replace(label, equal=not label.equal)
    if isinstance(label, Feat) and _first(args).dtype.kind == "b":
        return negated(b, label)
    return Loose("what is not a mask is inverted", getattr(label, "dims", ()))


# -- two numbers --------------------------------------------------------------------------------------


def _binary(word: str, b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label | None:
    x, y = args
    assert x is not None
    assert y is not None
    found = combined(b, word, x, y)
    if found is None:
        found = added(b, word, x, y) or log_sums.added(word, x, y)
    if found is not None:
        return found
    for label in (x.label, y.label):
        whole = isinstance(label, Lengths) and out.dtype.kind != "f"
        if whole or (isinstance(label, Ids | Turn | Loose) and not isinstance(label, Differs)):
            return _of_integers(b, word, x, y)
    if word == "mul" and isinstance(x.label, Mask) != isinstance(y.label, Mask) and not (x.known or y.known):
        mask, features = (x.label, y) if isinstance(x.label, Mask) else (y.label, x)
        return only(b, mask, b.feat(features, word), word)
    if word == "mul" and b.loop_of_step is not None and any(t.known and not t.data.any() for t in (x, y)):
        return None  # nothing is left of it: the other side of a choice by a mask
    if out.dtype.kind != "f" and (word in ("div", "pow") or (word == "add" and out.dtype.kind == "b")):
        raise b.error(word, "of whole numbers or truths that depend on the inputs it is not supported")
    for known, label in ((x, y.label), (y, x.label)):
        if not known.known or not isinstance(label, Feat):
            continue
        line = ramp(b, known.data, label.dims) or positions(b, known.data, label.dims)
        if line is not None:
            sides = (line, label) if known is x else (label, line)
            return b.pairs(*sides, word, lambda p, q: b.graph.binary(word, p, q))
    if x.known:
        if word == "mul" and x.data.size == 1 and (found := _by_one(b, word, b.feat(y, word), x)) is not None:
            return found
        return _number_first(b, word, x.data, b.feat(y, word))
    if y.known:
        if word in ("mul", "div") and y.data.size == 1 and (found := _by_one(b, word, b.feat(x, word), y)) is not None:
            return found
        return _number_second(b, word, b.feat(x, word), y.data)
    if word == "mul" and x.label is y.label:
        return activation(b, b.feat(x, word), word, "square")
    return b.pairs(b.feat(x, word), b.feat(y, word), word, lambda p, q: b.graph.binary(word, p, q))


def _by_one(b: Labelled, word: str, x: Feat, number: Tensor) -> Feat | None:
    """Times or by a number that is made of the number of steps; None of any other."""
    c = float(number.data.item())
    if not math.isfinite(c) or not c or number.ndim > len(x.dims):
        return None
    return scaled_by_steps(b, x, c if word == "mul" else 1 / c, word)


def _number_first(b: Labelled, word: str, c: NDArray[Any], x: Feat) -> Feat:
    if word in ("add", "mul", "maximum", "minimum"):
        return _number_second(b, word, x, c)
    if word == "sub":
        return scaled(b, x, word, -1, c)
    if word == "div":
        return scaled(b, activation(b, x, word, "reciprocal"), word, c, 0)
    if word == "pow" and np.all(c > 0):
        return activation(b, scaled(b, x, word, np.log(c), 0), word, "exp")
    raise b.error(word, "of a number that is not positive it is not supported")


def _number_second(b: Labelled, word: str, x: Feat, c: NDArray[Any]) -> Feat:
    c = np.asarray(c, np.float32)
    if word == "add":
        return scaled(b, x, word, 1, c)
    if word == "sub":
        return scaled(b, x, word, 1, -c)
    if word == "mul":
        return scaled(b, x, word, c, 0)
    if word == "div":
        with np.errstate(all="ignore"):
            return scaled(b, x, word, 1 / c, 0)
    if word in ("maximum", "minimum"):
        return _limited(b, word, x, c)
    return _powered(b, x, c)


def _limited(b: Labelled, word: str, x: Feat, c: NDArray[Any]) -> Feat:
    if c.size and (c == c.flat[0]).all():
        low, high = (float(c.flat[0]), math.inf) if word == "maximum" else (-math.inf, float(c.flat[0]))
        return clipped(b, b.with_numbers(x, [c], word, lambda value, _: value), word, low, high)
    return b.with_numbers(x, [c], word, lambda value, n: b.graph.binary(word, value, b.constant_vec(n)))


def _powered(b: Labelled, x: Feat, c: NDArray[Any]) -> Feat:
    if not c.size or not (c == c.flat[0]).all():
        raise b.error("pow", "with several exponents it is not supported")
    x = b.with_numbers(x, [c], "pow", lambda value, _: value)
    exponent = float(c.flat[0])
    names = {2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}
    if exponent == 1:
        return x
    return activation(b, x, "pow", names.get(exponent) or Activation("power", exponent))


def _of_integers(b: Labelled, word: str, x: Tensor, y: Tensor) -> Label | None:
    """Sums and comparisons of ids and lengths; None of what they do not decide, such as whether ids are below 0."""
    label, other = (x.label, y) if not x.known else (y.label, x)
    dims = getattr(label, "dims", ())
    constant = other.data if other.known else None
    uniform = constant is not None and constant.size > 0 and bool((constant == constant.flat[0]).all())
    if constant is not None and word == "mul" and not constant.any():
        return None
    nothing = {"add": 0, "mul": 1, **({"sub": 0} if other is y else {})}.get(word)
    if uniform and constant is not None and constant.flat[0] == nothing:
        own = x.shape if other is y else y.shape
        if np.broadcast_shapes(own, constant.shape) == own:
            same: Label = label
            return same
    below = isinstance(label, Ids) and uniform and constant is not None and other is y and constant.flat[0] <= 0
    if below and word in ("lt", "ge"):
        return None  # ids are never below 0
    if (
        isinstance(label, Turn)
        and uniform
        and constant is not None
        and (word == "add" or (word == "sub" and other is y))
    ):
        return Turn(dims, label.offset + (1 if word == "add" else -1) * int(constant.flat[0]))
    if isinstance(label, Lengths) and uniform and constant is not None and other is y and word in ("add", "sub"):
        by = int(constant.flat[0])
        return Lengths(label.name, dims, label.less + (by if word == "sub" else -by))
    beside = None if constant is None or word != "add" or len(dims) != 1 else _places_of_rows(b, constant)
    if isinstance(label, Lengths) and beside is not None:
        return replace(label, beside=beside)
    if isinstance(label, Ids) and word == "eq" and constant is not None and _counts(label.dims, constant):
        return one_hot(b, replace(label, dims=label.dims[:-1]), constant.size)
    if isinstance(label, Ids) and word in ("eq", "ne", "gt", "ge") and uniform and constant is not None:
        return _token_mask(b, word, label, int(constant.flat[0]), other is y)
    if isinstance(label, Lengths) and word in ("lt", "gt", "le", "ge") and constant is not None:
        return _length_mask(b, word, label, constant, other is x)
    if isinstance(label, Loose):
        why = label.why if label.why.endswith("reads it)") else f"{label.why} ({word} reads it)"
        return (PerPair if isinstance(label, PerPair) else Loose)(why, dims)
    return Loose(f"{word} of token ids or lengths is not supported", dims)


def _counts(dims: Dims, numbers: NDArray[Any]) -> bool:
    """Do numbers count from 0 along a last dimension that a label has not?"""
    n = numbers.size
    return dims[-1:] == ((),) and numbers.shape[-1:] == (n,) and n > 1 and np.array_equal(numbers.ravel(), range(n))


def _places_of_rows(b: Labelled, numbers: NDArray[Any]) -> int | None:
    """The time axis of which each row has as many steps as the numbers grow by from row to row, from 0."""
    if numbers.shape != (b.rows,) or b.rows < 2:
        return None
    return next((axis for axis, n in b.steps.items() if np.array_equal(numbers, n * np.arange(b.rows))), None)


def _token_mask(b: Labelled, word: str, ids: Ids, token: int, second: bool) -> Label:
    steps = next((a for d in ids.dims for a in d if isinstance(a, Steps)), None)
    if steps is None or ids.alone is None or (word in ("gt", "ge") and (token != (word == "ge") or not second)):
        return Loose(f"{word} of token ids is not supported", ids.dims)
    token = 0 if word in ("gt", "ge") else token  # ids are never below 0
    return Mask(b.graph.mask_ids(ids.alone, token), steps.axis, ids.dims, inverted=word == "eq")


def _length_mask(b: Labelled, word: str, lengths: Lengths, numbers: NDArray[Any], first: bool) -> Label:
    """``arange(T) < lengths[:, None]`` and the like; or whether rows have any steps."""
    if not lengths.less and _asks_for_any(word, numbers, first):
        try:
            its = b.axis_of_lengths(lengths)
        except ProgramError as e:
            return Loose(str(e), lengths.dims)
        b.use_lengths(lengths, its)
        return AnyStep(lengths.dims, Mask(None, its, ((Steps(its),), *lengths.dims)))
    axis = next((a for a, n in b.steps.items() if n == numbers.size), None)
    counted = axis is not None and numbers.size in numbers.shape
    counted = counted and np.array_equal(np.diff(numbers.ravel()), np.ones(numbers.size - 1))
    if not counted or axis is None:
        return Loose(f"{word} of lengths is not supported", lengths.dims)
    # words as "number of the step < length - beyond"
    word = word if first else {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}[word]
    beyond = lengths.less + int(numbers.flat[0]) - (word in ("le", "gt"))
    if beyond:
        return Loose(f"{word} of lengths and other numbers than those of the steps is not supported", lengths.dims)
    b.use_lengths(replace(lengths, less=0), axis)
    return Mask(None, axis, length_dims(lengths, numbers.shape, axis), inverted=word in ("gt", "ge"))


def _asks_for_any(word: str, numbers: NDArray[Any], first: bool) -> bool:
    """Does a comparison of numbers of steps ask whether there are any? ``first``: they stand behind the number."""
    word = {"lt": "gt", "le": "ge"}.get(word, "") if first else word
    return numbers.size == 1 and {"gt": 0, "ge": 1}.get(word) == numbers.flat[0]


def _compared(word: str, b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label | None:
    x, y = args
    assert x is not None
    assert y is not None
    if any(isinstance(t.label, Ids | Lengths | Turn) for t in (x, y)):
        return _of_integers(b, word, x, y)
    if (found := _of_masks(b, word, x, y)) is not None:
        return found
    counted, numbers = (x.label, y.data) if isinstance(x.label, Counted) else (y.label, x.data)
    if isinstance(counted, Counted) and (x.known or y.known) and _asks_for_any(word, numbers, y.label is counted):
        return AnyStep(counted.dims, counted.mask)
    if isinstance(x.label, Times) and word in ("gt", "ne") and y.known and y.data.size == 1 and not y.data.any():
        return replace(x.label.mask, dims=x.label.dims)
    if isinstance(x.label, Differs) and x.label.counted and word in ("gt", "ne") and y.known and not y.data.any():
        return differing_steps(b, x.label, x.label.dims)
    dims = next((t.label.dims for t in (x, y) if hasattr(t.label, "dims")), ())
    why = f"{word} of features is not supported: it makes the program depend on their numbers"
    if (found := _differing(b, word, x, y, why)) is not None:
        return found
    if word.startswith("logical"):
        both = all(isinstance(t.label, Feat | Differs) and t.dtype.kind == "b" for t in (x, y))
        return both_or_one(b, word, b.feat(x, word), b.feat(y, word)) if both else Loose(why, dims)
    if not all(t.known or isinstance(t.label, Feat) for t in (x, y)):
        return Loose(why, dims)
    return compared(b, word, *(t.data if t.known else t.label for t in (x, y)))


def _differing(b: Labelled, word: str, x: Tensor, y: Tensor, why: str) -> Label | None:
    """A comparison of the features of steps with one number; None of anything else."""
    feat, other = (x.label, y) if isinstance(x.label, Feat) else (y.label, x)
    if word not in ("eq", "ne") or not isinstance(feat, Feat) or not other.known or not other.data.size:
        return None
    number = float(other.data.flat[0])
    if not math.isfinite(number) or (other.data != number).any() or b.steps_of(feat.dims, word) is None:
        return None
    differs = Differs(why, feat.dims, feat, number, word == "eq")
    return differing_steps(b, differs, feat.dims) if feat.cells.size == 1 else differs


def differing_steps(b: Labelled, label: Differs, dims: Dims) -> Mask:
    """The steps of which any feature differs, or all are equal."""
    steps = b.steps_of(label.feat.dims, "comparison")
    assert steps is not None
    value = b.at_every_step(b.features(label.feat, "comparison"), steps)
    return Mask(b.graph.mask_values(value, label.number), steps.axis, dims, label.equal)


def _of_masks(b: Labelled, word: str, x: Tensor, y: Tensor) -> Label | None:
    """Masks put together, or compared with a truth or 0 or 1; None of anything else."""
    if (both := _paired(b, word, x, y)) is not None:
        return both
    if isinstance(x.label, Mask) and isinstance(y.label, Mask) and word.startswith("logical"):
        return joined(b, word, x.label, y.label)
    mask, other = (x.label, y) if isinstance(x.label, Mask) else (y.label, x)
    if not isinstance(mask, Mask) or not other.known or not other.data.size:
        return None
    numbers = np.asarray(other.data, np.float64)
    if not (numbers == numbers.flat[0]).all() or numbers.flat[0] not in (0, 1):
        return None
    if (word, numbers.flat[0]) in (("logical_or", 0), ("logical_and", 1)):
        return replace(mask, dims=b.wider(mask.dims, other.data, word))
    if numbers.size > 1:
        return None
    same = {"eq": numbers.flat[0] == 1, "ne": numbers.flat[0] == 0}.get(word)
    return None if same is None else replace(mask, inverted=mask.inverted != (not same))


def _paired(b: Labelled, word: str, x: Tensor, y: Tensor) -> Label | None:
    """Pairs of steps that count by both; None of anything else."""
    kinds = Mask | Pairs
    first, other = (x, y) if isinstance(x.label, kinds) else (y, x)
    if not isinstance(first.label, kinds) or not (other.known or isinstance(other.label, kinds)):
        return None
    return anded(b, word, first.label, other.label, other.data if other.known else None)


def _prelu(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    slope = args[1]
    assert slope is not None
    x = b.feat(_first(args), "prelu")
    return b.with_numbers(x, [b.number(slope, "the slopes of a prelu")], "prelu", b.graph.prelu)


def _first(args: Args) -> Tensor:
    x = args[0]
    assert x is not None
    return x


RULES: dict[str, Callable[..., Any]] = {
    **{word: partial(_unary, word) for word in _ACTIVATIONS},
    **{word: partial(_binary, word) for word in ("add", "sub", "mul", "div", "maximum", "minimum", "pow")},
    **{word: partial(_compared, word) for word in ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or")},
    "gelu": _gelu,
    "clip": _clip,
    "neg": _neg,
    "ceil": _ceil,
    "round": _round,
    "cast": _cast,
    "logical_not": _logical_not,
    "prelu": _prelu,
}
