"""Convolutions and pooling: over steps, over features that have places, or over both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arch.layers import side_by_side
from ..labelled import Labelled
from ..labels import Dim, Feat, Label, Steps, cell, fixed, indexed, is_fixed, is_steps, permuted
from ..machine import Tensor
from ..phases import in_parts, of_whole, part_of_batch
from ..sizes import too_many
from ..tidy import before_zeros
from ..windows import turned_kernels
from .reductions import reduced
from .same import chosen, starts

Args = Sequence[Tensor | None]
Three = tuple[Any, Any, Any]
_MOST_PARTS = 64  #: of each row of the batch, that are convolved one by one


@dataclass(frozen=True)
class _Space:
    """Which dimensions of ``(N, C, *space)`` are the steps, and the two of places: None where there is none."""

    time: int | None
    places: tuple[int | None, int | None]

    def three(self, given: Sequence[Any] | None, absent: Any) -> Three:
        """What is given per dimension of space, for steps and places."""

        def at(dim: int | None) -> Any:
            return absent if dim is None or given is None else given[dim - 2]

        return at(self.time), at(self.places[0]), at(self.places[1])

    def kernels(self, weight: NDArray[Any]) -> NDArray[Any]:
        """``(O, C, *space)`` as ``(O, C, t, h, w)``."""
        known = [d for d in (self.time, *self.places) if d is not None]
        moved = weight.transpose([0, 1, *known])
        sizes = iter(moved.shape[2:])
        shape = [next(sizes) if d is not None else 1 for d in (self.time, *self.places)]
        return np.asarray(moved.reshape(*moved.shape[:2], *shape))


def _space(b: Labelled, x: Feat, op: str) -> _Space:
    time, places = None, []
    if fixed(x.dims[:1]):
        raise b.wrong_roles(op, f"its rows are {b.words(x.dims[0])}")
    for i, dim in enumerate(x.dims[2:], 2):
        if is_fixed(dim):
            places.append(i)
        elif is_steps(dim):
            time = i
        else:
            raise b.wrong_roles(op, f"it goes over {b.words(dim)}")
    if not is_fixed(x.dims[1]):
        raise b.wrong_roles(op, f"its channels are {b.words(x.dims[1])}")
    if len(places) > 2:
        raise b.error(op, "over three dimensions of fixed size it is not supported")
    return _Space(time, (places[0] if places else None, places[1] if len(places) > 1 else None))


def _arranged(b: Labelled, x: Feat, space: _Space, op: str) -> tuple[int, tuple[int, int]]:
    """The value with features ``(h, w, C)``, and h and w."""
    places = [p for p in space.places if p is not None]
    rest = [d for d in range(len(x.dims)) if d not in (1, *places)]
    value = b.features(permuted(x, [*rest, *places, 1]), op)
    sizes = [_size(x.dims[p]) for p in places] + [1, 1]
    return value, (sizes[0], sizes[1])


def _size(dim: Dim) -> int:
    return int(np.prod(fixed((dim,)), dtype=int))


def _spread(b: Labelled, x: Feat, space: _Space, made: int, channels: int, out: NDArray[Any]) -> Feat:
    """The label of a result with features ``(h', w', O)``."""
    steps = (b.new_axis_of(made),) if space.time is not None else ()
    places = [p for p in space.places if p is not None]
    h, w = [*(out.shape[p] for p in places), 1, 1][:2]
    cells = cell(made, np.arange(h * w * channels)).reshape(h, w, channels)
    cells = np.moveaxis(cells, 2, 0)
    dims: list[Dim] = [x.dims[0], (channels,) if channels > 1 else ()]
    for i in range(2, len(x.dims)):
        dims.append(steps if i == space.time else (out.shape[i],) if out.shape[i] > 1 else ())
    return Feat(tuple(dims), cells.reshape(fixed(dims)))


def _conv(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    x, weight, bias = (*args, None)[:3]
    assert x is not None
    assert weight is not None
    if fixed(b.feat(x, "conv").dims[:1]):
        return _conv_of_parts(b, x, args, options)
    label, w = b.feat(x, "conv"), np.asarray(b.number(weight, "the weights of a convolution"), np.float32)
    space = _space(b, label, "conv")
    value, size = _arranged(b, label, space, "conv")
    whole = _whole(b, label)
    pads = _pads(space.three(options.get("pads"), (0, 0)))
    if (ways := _same(b, label, space, options, w.shape[2:])) is not None:
        span = _span(space, options, w.shape[2:])
        given = value
        value = chosen(b, ways, lambda n: b.graph.pad_steps(given, n, span - 1 - n))
        pads = ((0, 0), *pads[1:])
    elif not whole:  # what is beyond a row's length is 0 for both
        value, (before, after) = before_zeros(b.graph, value)
        pads = ((pads[0][0] + before, pads[0][1] + after), *pads[1:])
    made = b.graph.conv(
        value,
        space.kernels(w),
        None if bias is None else np.asarray(b.number(bias, "the bias of a convolution"), np.float32),
        size=size,
        stride=_ints(space.three(options.get("stride"), 1)),
        dilation=_ints(space.three(options.get("dilation"), 1)),
        pad=pads,
        groups=int(options.get("groups", 1)),
        whole=whole,
    )
    return _spread(b, label, space, made, w.shape[0], out)


def _span(space: _Space, options: Mapping[str, Any], kernel: Sequence[int]) -> int:
    """Steps from the first to the last that a window reads."""
    return int(space.three(options.get("dilation"), 1)[0]) * (int(space.three(kernel, 1)[0]) - 1) + 1


def _same(
    b: Labelled, x: Feat, space: _Space, options: Mapping[str, Any], kernel: Sequence[int]
) -> list[tuple[int, int | None]] | None:
    """Where the windows begin, if that depends on the number of steps (:func:`.same.starts`)."""
    stride = int(space.three(options.get("stride"), 1)[0])
    steps = b.steps_of(x.dims, "conv")
    if space.time is None or steps is None or not options.get("same") or stride == 1 or not b.is_free(steps):
        return None
    if options.get("kind") == "avg_pad":
        raise b.error("pool", "averages that count padding, of which there is more or less, are not supported")
    return starts(b, steps, _span(space, options, kernel), stride, options["same"] == "lower")


def _conv_of_parts(b: Labelled, x: Tensor, args: Args, options: Mapping[str, Any]) -> Label:
    """A convolution of several parts of each row of the batch: each by itself, or every few steps of one sequence."""
    n = x.ndim - 2
    stride, dilation, pads = (options.get(k) or [v] * n for k, v in (("stride", 1), ("dilation", 1), ("pads", (0, 0))))
    whole = of_whole(b, x)
    if whole is not None and stride[whole[1] - 2] == 1 and not any(pads[whole[1] - 2]):
        all_steps, i, few = whole
        wider = [d * few if k == i - 2 else d for k, d in enumerate(dilation)]
        return in_parts(b, b.apply("conv", all_steps, *args[1:], **{**options, "dilation": wider}), i, few)
    return _each_part("conv", b, x, args, options)


def _each_part(word: str, b: Labelled, x: Tensor, args: Args, options: Mapping[str, Any]) -> Feat:
    """The windows of several parts of each row of the batch, of each by itself."""
    parts = fixed(b.feat(x, word).dims[:1])
    if (count := math.prod(parts)) > _MOST_PARTS:
        raise b.wrong_roles(word, f"its batch has {count} parts of each row")
    made = [b.feat(b.apply(word, part_of_batch(b, x, k), *args[1:], **options), word) for k in range(count)]
    cells = np.stack([m.cells for m in made]).reshape(*parts, *made[0].cells.shape)
    return Feat((b.feat(x, word).dims[0], *made[0].dims[1:]), cells)


def _conv_transpose(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    """A convolution of the input with zeros between its numbers."""
    x, weight, bias = (*args, None)[:3]
    assert x is not None
    assert weight is not None
    w = b.number(weight, "the weights of a convolution")
    n, groups = x.ndim - 2, int(options.get("groups", 1))
    stride, dilation = (options.get(name) or [1] * n for name in ("stride", "dilation"))
    given, extra = options.get("pads") or [(0, 0)] * n, options.get("output_padding") or [0] * n
    apart = b.feat(x, "conv_transpose").dims
    plain = n == groups == dilation[0] == 1 and stride[0] > 1 and is_steps(apart[2]) and not fixed(apart[:1])
    if plain and stride[0] * -(-w.shape[2] // stride[0]) - w.shape[2] + given[0][1] >= extra[0]:
        return _by_phases(b, x, w, bias, int(stride[0]), int(given[0][0]), int(given[0][1] - extra[0]))
    around: list[tuple[int, int]] = []
    for i in range(n):
        x = _with_zeros(b, x, i + 2, int(stride[i]))
        reach = int(dilation[i]) * (w.shape[i + 2] - 1)
        behind = reach - given[i][1] + extra[i] - (stride[i] - 1)
        around.append((int(reach - given[i][0]), int(behind)))
    less = [(min(0, before), min(0, behind)) for before, behind in around]
    if any(map(any, less)):
        x = b.apply("pad", x, pads=[(0, 0), (0, 0), *less])
    pads = [(max(0, before), max(0, behind)) for before, behind in around]
    kernels = b.constant(turned_kernels(w, groups))
    label: Label = b.apply("conv", x, kernels, bias, pads=pads, dilation=dilation, groups=groups).label
    return label


def _by_phases(
    b: Labelled, x: Tensor, w: NDArray[Any], bias: Tensor | None, stride: int, before: int, behind: int
) -> Label:
    """A transposed convolution over time: ``stride`` steps of each place at once, which then stand one by one.

    Args:
        w: ``(C, O, size)``.
        before, behind: steps of the result that are cut off.
    """
    outputs, size = w.shape[1:]
    reach = -(-size // stride)  # places of the input that a step of the result sees
    wide = np.pad(w, [(0, 0), (0, 0), (0, reach * stride - size)]).reshape(len(w), outputs, reach, stride)
    kernels = wide[:, :, ::-1].transpose(3, 1, 0, 2).reshape(stride * outputs, len(w), reach)
    biases = None if bias is None else b.constant(np.tile(b.number(bias, "the bias of a convolution"), stride))
    behind += reach * stride - size
    places = min(behind // stride, reach - 1)  # of the input, that nothing of what stays sees
    pads = [(reach - 1, reach - 1 - places)]
    y: Tensor = b.apply("conv", x, b.constant(np.ascontiguousarray(kernels)), biases, pads=pads)
    label = b.feat(y, "conv_transpose")
    value = b.features(permuted(label, [0, 2, 1]), "conv_transpose")
    made = b.graph.unflatten(value, stride)
    dims = (label.dims[0], (outputs,) if outputs > 1 else (), (b.new_axis_of(made),))
    data = y.data.reshape(len(y.data), stride, outputs, -1).transpose(0, 2, 3, 1).reshape(len(y.data), outputs, -1)
    steps = Tensor(data, Feat(dims, cell(made, np.arange(outputs)).reshape(fixed(dims))))
    cut = (-before, stride * places - behind)
    found: Label = steps.label if cut == (0, 0) else b.apply("pad", steps, pads=[(0, 0), (0, 0), cut]).label
    return found


def _with_zeros(b: Labelled, x: Tensor, i: int, times: int) -> Tensor:
    """``times - 1`` zeros behind each number along dimension ``i``."""
    if times == 1:
        return x
    if why := too_many(x.data.size * times, b.most):
        raise b.error("conv_transpose", why)
    sizes = [*x.shape[: i + 1], 1, *x.shape[i + 1 :]]
    grow = [(0, 0)] * len(sizes)
    grow[i + 1] = (0, times - 1)
    data = np.pad(x.data.reshape(sizes), grow).reshape(*x.shape[:i], x.shape[i] * times, *x.shape[i + 1 :])
    dim = x.label.dims[i]
    if is_fixed(dim):
        label = indexed(x.label, i, lambda cells, axis: _zeros_behind(cells, axis, times, b.number_cell(0.0)))
        return Tensor(data, label)
    if not is_steps(dim):
        raise b.wrong_roles("conv_transpose", f"it goes over {b.words(dim)}")
    steps = dim[0]

    def stretched(value: int) -> int:
        zeros = b.constant_vec(np.zeros((times - 1) * b.graph.values[value].size, np.float32))
        return b.graph.unflatten(side_by_side(b.graph, [value, b.at_every_step(zeros, steps)]), times)

    return Tensor(data, b.over_steps(x.label, "conv_transpose", i, stretched))


def _zeros_behind(cells: NDArray[np.int64], axis: int, times: int, zero: int) -> NDArray[np.int64]:
    shape = list(cells.shape)
    shape[axis] *= times
    spread = np.full(shape, zero, np.int64)
    spread[(slice(None),) * axis + (slice(None, None, times),)] = cells
    return spread


def _pool(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    x = args[0]
    assert x is not None
    label, kind = b.feat(x, "pool"), options["kind"]
    if kind not in ("max", "avg", "avg_pad"):
        raise b.error("pool", f"of the kind {kind} is not supported")
    if fixed(label.dims[:1]):
        return _each_part("pool", b, x, args, options)
    if over := _all_of(b, label, options):
        return reduced(b, label, "max" if kind == "max" else "mean", over, True)
    space = _space(b, label, "pool")
    value, size = _arranged(b, label, space, "pool")
    kernel = options["kernel"]
    stride = options.get("stride") or kernel
    dilation = _ints(space.three(options.get("dilation"), 1))
    if dilation[1:] != (1, 1):
        raise b.error("pool", "with dilation over features is not supported")
    pads: list[Any] = [tuple(map(int, p)) for p in (options.get("pads") or [(0, 0)] * len(kernel))]
    if options.get("ceil"):
        pads = _rounded_up(b, pads, kernel, stride, kind)
    whole, around = _whole(b, label), _pads(space.three(pads, (0, 0)))

    def pooled(time: tuple[int, int]) -> int:
        pad = (time, *around[1:])
        three = _ints(space.three(kernel, 1)), _ints(space.three(stride, 1))
        return b.graph.pool(
            value, kind, three[0], size=size, stride=three[1], pad=pad, dilation_t=dilation[0], whole=whole
        )

    ways = _same(b, label, space, {**options, "stride": stride}, kernel)
    span = _span(space, options, kernel)
    made = pooled(around[0]) if ways is None else chosen(b, ways, lambda n: pooled((n, span - 1 - n)))
    return _spread(b, label, space, made, _size(label.dims[1]), out)


def _all_of(b: Labelled, label: Feat, options: Mapping[str, Any]) -> list[int]:
    """The dimensions that pooling with a single window goes over, where it does nothing else and steps are among them.

    A window as long as all steps is most often made of their number, and pools any number of them.
    """
    sizes = [math.prod(map(b.size_of, d)) for d in label.dims[2:]]
    kernel = [int(k) for k in options["kernel"]]
    if kernel != [n if n == k else 1 for n, k in zip(sizes, kernel, strict=True)]:
        return []
    stride, dilation, pads = (options.get(name) for name in ("stride", "dilation", "pads"))
    moves = any(k == 1 and s != 1 for k, s in zip(kernel, stride or kernel, strict=True))
    if moves or any(d != 1 for d in dilation or ()) or any(map(any, pads or ())):
        return []
    over = [i + 2 for i, k in enumerate(kernel) if k > 1]
    return over if any(isinstance(a, Steps) for i in over for a in label.dims[i]) else []


def _rounded_up(
    b: Labelled, pads: Sequence[Any], kernel: Sequence[int], stride: Sequence[int], kind: str
) -> list[tuple[int, int]]:
    """A number of windows that is rounded up is padding behind, where a window never lies in it alone."""
    if kind == "avg_pad":
        raise b.error("pool", "averages that count padding, with a number of windows rounded up, are not supported")
    if any(s > k or before for k, s, (before, _) in zip(kernel, stride, pads, strict=True)):
        raise b.error("pool", "a number of windows rounded up, with padding or gaps, is not supported")
    return [(before, behind + s - 1) for (before, behind), s in zip(pads, stride, strict=True)]


def _whole(b: Labelled, x: Feat) -> bool:
    steps = b.steps_of(x.dims, "conv")
    return steps is not None and b.has_lengths(steps.axis)


def _ints(three: Three) -> tuple[int, int, int]:
    return int(three[0]), int(three[1]), int(three[2])


def _pads(three: Three) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    t, h, w = ((int(before), int(behind)) for before, behind in three)
    return t, h, w


RULES: dict[str, Callable[..., Any]] = {"conv": _conv, "conv_transpose": _conv_transpose, "pool": _pool}
