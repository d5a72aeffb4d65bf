"""Products, convolutions, pooling and normalisation of ATen's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...program.machine import Misfit, Tensor
from ..agree import DimsDiffer
from ..run import Run
from .elementwise import add
from .table import op

# -- products --------------------------------------------------------------------------------------------


@op("linear", plain=True)
def linear(run: Run, input: Any, weight: Any, bias: Any = None) -> Any:
    w = run.tensor(weight)
    y = run.apply("matmul", run.floats(input), run.swapped(w, 0, 1) if w.ndim == 2 else w)
    return y if bias is None else run.apply("add", y, run.tensor(bias))


#: Dimensions that the arguments of the products without broadcasting have.
_DIMS = {"mm": (2, 2), "bmm": (3, 3), "mv": (2, 1), "dot": (1, 1), "vdot": (1, 1), "addmm": (2, 2), "baddbmm": (3, 3),
         "addmv": (2, 1)}  # fmt: skip


def _check_dims(run: Run, *args: Any) -> None:
    for x, wanted in zip(args, _DIMS[run.op.removesuffix("_")], strict=True):
        found = len(x.shape(run))
        if found != wanted and x.tag is None:
            raise DimsDiffer(str(run.error(f"of a tensor with {found} dimensions, expected {wanted}")), run.op,
                              (found, wanted))  # fmt: skip


@op("mm", "bmm", "mv", "dot", "vdot", plain=True)
def product(run: Run, self: Any, other: Any) -> Any:
    _check_dims(run, self, other)
    return matmul(run, self, other)


@op("matmul", plain=True)
def matmul(run: Run, self: Any, other: Any) -> Any:
    return run.apply("matmul", *run.alike(self, other))


def _plus_product(run: Run, base: Any, a: Any, b: Any, beta: Any, alpha: Any) -> Any:
    _check_dims(run, a, b)
    y = run.apply("matmul", *run.alike(a, b))
    y = y if alpha == 1 else run.apply("mul", *run.alike(y, alpha))
    if beta == 0:
        return y
    return add(run, y, base if beta == 1 else run.apply("mul", *run.alike(base, beta)))


@op("addmm", plain=True)
def addmm(run: Run, self: Any, mat1: Any, mat2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    return _plus_product(run, self, mat1, mat2, beta, alpha)


@op("baddbmm")
def baddbmm(run: Run, self: Any, batch1: Any, batch2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    return _plus_product(run, self, batch1, batch2, beta, alpha)


@op("addmv")
def addmv(run: Run, self: Any, mat: Any, vec: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    return _plus_product(run, self, mat, vec, beta, alpha)


@op("outer", "ger")
def outer(run: Run, self: Any, vec2: Any) -> Any:
    a, b = run.alike(self, vec2)
    return run.apply("mul", run.widened(a, 1), run.widened(b, 0))


@op("bilinear")
def bilinear(run: Run, input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    a, b, w = run.floats(input1), run.floats(input2), run.tensor(weight)
    left = run.apply("matmul", run.widened(run.widened(a, a.ndim - 1), a.ndim), run.permuted(w, [0, 1, 2]))
    y = run.apply("sum", run.apply("mul", run.dropped(left, a.ndim), run.widened(b, b.ndim - 1)), axes=(-1,))
    return y if bias is None else run.apply("add", y, run.tensor(bias))


@op("_trilinear")
def trilinear(
    run: Run, i1: Any, i2: Any, i3: Any, expand1: Any, expand2: Any, expand3: Any, sumdim: Any, unroll_dim: Any = 1
) -> Any:
    wide = []
    for x, more in ((i1, expand1), (i2, expand2), (i3, expand3)):
        t = run.floats(x)
        for axis in sorted(run.wholes(more)):
            t = run.widened(t, axis)
        wide.append(t)
    product = run.apply("mul", run.apply("mul", wide[0], wide[1]), wide[2])
    return run.apply("sum", product, axes=tuple(run.wholes(sumdim)), keepdims=False)


@op("einsum")
def einsum(run: Run, equation: str, tensors: Any, path: Any = None) -> Any:
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        letters = sorted(set(left) - {","})
        right = "".join(c for c in letters if left.count(c) == 1)
    given = run.alike(*tensors)
    if "." in equation or len(terms) != len(given) or any(len(set(t)) != len(t) for t in (*terms, right)):
        raise run.error(f"the equation {equation[:60]!r} is not supported")
    x, at = given[0], terms[0]
    for i in range(1, len(terms)):
        later = set(right).union(*terms[i + 1 :])
        x, at = _contracted(run, (x, at), (given[i], terms[i]), later)
    x, at = _summed(run, x, at, set(right))
    return run.permuted(x, [at.index(c) for c in right])


def _summed(run: Run, x: Tensor, at: str, keep: set[str]) -> tuple[Tensor, str]:
    gone = tuple(i for i, c in enumerate(at) if c not in keep)
    if not gone:
        return x, at
    return run.apply("sum", x, axes=gone, keepdims=False), "".join(c for c in at if c in keep)


def _contracted(run: Run, a: tuple[Tensor, str], b: tuple[Tensor, str], later: set[str]) -> tuple[Tensor, str]:
    """The product of two terms: a matrix product over what both have and nobody needs later."""
    (x, p), (y, q) = _summed(run, *a, set(b[1]) | later), _summed(run, *b, set(a[1]) | later)
    both = [c for c in p if c in q]
    batch, inner = [c for c in both if c in later], [c for c in both if c not in later]
    rows, columns = [c for c in p if c not in q], [c for c in q if c not in p]
    size = dict(zip(p, x.shape, strict=True)) | dict(zip(q, y.shape, strict=True))
    x = run.permuted(x, [p.index(c) for c in (*batch, *rows, *inner)])
    y = run.permuted(y, [q.index(c) for c in (*batch, *inner, *columns)])

    def joined(letters: Sequence[str]) -> int:
        return math.prod(size[c] for c in letters)

    outer_sizes = [size[c] for c in batch]
    x = run.reshaped(x, [*outer_sizes, joined(rows), joined(inner)])
    y = run.reshaped(y, [*outer_sizes, joined(inner), joined(columns)])
    z = run.apply("matmul", x, y)
    return run.reshaped(z, [*outer_sizes, *(size[c] for c in (*rows, *columns))]), "".join([*batch, *rows, *columns])


# -- convolutions ----------------------------------------------------------------------------------------


def _each(run: Run, value: Any, n: int, what: str) -> list[int]:
    numbers = run.wholes(value, what)
    if len(numbers) not in (1, n):
        raise run.error(f"{what} has {len(numbers)} numbers, expected {n}")
    return numbers * (n if len(numbers) == 1 else 1)


def _same(kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return [(t // 2, t - t // 2) for t in totals]


def _conv(
    run: Run, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any,
    transposed: Any = False, output_padding: Any = 0,
) -> Any:  # fmt: skip
    x, w = run.floats(x), run.tensor(weight)
    n = w.ndim - 2
    unbatched = x.ndim == n + 1
    x = run.widened(x, 0) if unbatched else x
    steps, apart = _each(run, stride, n, "stride"), _each(run, dilation, n, "dilation")
    if padding == "same":
        pads = _same(w.shape[2:], apart)
    else:
        pads = [(p, p) for p in _each(run, 0 if padding == "valid" else padding, n, "padding")]
    options = {"stride": tuple(steps), "pads": tuple(pads), "dilation": tuple(apart), "groups": run.whole(groups)}
    args = (x, w) if bias is None else (x, w, run.tensor(bias))
    if transposed:
        options["output_padding"] = tuple(_each(run, output_padding, n, "output_padding"))
        y = run.apply("conv_transpose", *args, **options)
    else:
        y = run.apply("conv", *args, **options)
    return run.dropped(y, 0) if unbatched else y


@op("conv1d", "conv2d", "conv3d")
def conv(
    run: Run, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: Any = 1,
) -> Any:  # fmt: skip
    return _conv(run, input, weight, bias, stride, padding, dilation, groups)


@op("conv_transpose1d", "conv_transpose2d")
def conv_transpose(
    run: Run, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: Any = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    return _conv(run, input, weight, bias, stride, padding, dilation, groups, True, output_padding)


@op("_convolution", "convolution")
def convolution(
    run: Run, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: Any,
    output_padding: Any, groups: Any, *flags: Any,
) -> Any:  # fmt: skip
    return _conv(run, input, weight, bias, stride, padding, dilation, groups, transposed, output_padding)


@op("_convolution_mode")
def convolution_mode(
    run: Run, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Any:
    return _conv(run, input, weight, bias, stride, padding, dilation, groups)


@op("conv_tbc")
def conv_tbc(run: Run, self: Any, weight: Any, bias: Any, pad: Any = 0) -> Any:
    x = run.permuted(run.floats(self), [1, 2, 0])
    w = run.permuted(run.tensor(weight), [2, 1, 0])
    return run.permuted(_conv(run, x, w, bias, 1, pad, 1, 1), [2, 0, 1])


@op("im2col")
def im2col(run: Run, self: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    x = run.floats(self)
    alone = x.ndim == 3
    x = run.widened(x, 0) if alone else x
    kernel, apart = _each(run, kernel_size, 2, "kernel_size"), _each(run, dilation, 2, "dilation")
    around, steps = _each(run, padding, 2, "padding"), _each(run, stride, 2, "stride")
    if any(around):
        x = run.apply("pad", x, pads=[(0, 0), (0, 0), *((p, p) for p in around)], mode="constant", value=0.0)
    for axis, k, d, by in zip((3, 2), kernel[::-1], apart[::-1], steps[::-1], strict=True):
        count = (x.shape[axis] - d * (k - 1) - 1) // max(by, 1) + 1
        if min(k, d, by, count) < 1:
            raise Misfit(str(run.error(f"windows of {k} of a dimension of size {x.shape[axis]}")), run.op)
        if k == x.shape[axis]:  # a single window, however many there are
            x = run.widened(x, axis)
        else:
            index = np.arange(count)[:, None] * by + np.arange(k) * d
            x = run.apply("index_select", x, run.constant(index), axis=axis)
    n, c, high, _, wide, _ = x.shape
    y = run.reshaped(run.permuted(x, [0, 1, 3, 5, 2, 4]), [n, c * kernel[0] * kernel[1], high * wide])
    return run.dropped(y, 0) if alone else y


@op("_weight_norm", "_weight_norm_interface")
def weight_norm(run: Run, v: Any, g: Any, dim: Any = 0) -> Any:
    x = run.tensor(v)
    axes = tuple(i for i in range(x.ndim) if dim == -1 or i != run.axis(dim, x.ndim))
    length = run.apply("l2", x, axes=axes, keepdims=True)
    w = run.apply("mul", x, run.apply("div", run.tensor(g), length))
    return (w, length) if run.op.endswith("interface") else w


# -- pooling ---------------------------------------------------------------------------------------------


def _pool(
    run: Run, self: Any, kind: str, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: Any, n: int
) -> Any:
    x = run.tensor(self)
    unbatched = x.ndim == n + 1
    x = run.widened(x, 0) if unbatched else x
    windows = _each(run, kernel, n, "kernel_size")
    steps = windows if stride is None or stride == [] else _each(run, stride, n, "stride")
    pads = tuple((p, p) for p in _each(run, padding, n, "padding"))
    apart = tuple(_each(run, dilation, n, "dilation"))
    y = run.apply("pool", x, kind=kind, kernel=tuple(windows), stride=tuple(steps), pads=pads, dilation=apart,
                  ceil=bool(ceil))  # fmt: skip
    return run.dropped(y, 0) if unbatched else y


def _max_pool(dims: int) -> None:
    @op(f"max_pool{dims}d")
    def function(run: Run, self: Any, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
                 ceil_mode: Any = False) -> Any:  # fmt: skip
        return _pool(run, self, "max", kernel_size, list(stride) if isinstance(stride, tuple) else stride, padding,
                     dilation, ceil_mode, dims)  # fmt: skip

    @op(f"max_pool{dims}d_with_indices")
    def with_indices(run: Run, self: Any, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
                     ceil_mode: Any = False) -> Any:  # fmt: skip
        return function(run, self, kernel_size, stride, padding, dilation, ceil_mode), None

    @op(f"avg_pool{dims}d")
    def average(run: Run, self: Any, kernel_size: Any, stride: Any = (), padding: Any = 0, ceil_mode: Any = False,
                count_include_pad: Any = True, divisor_override: Any = None) -> Any:  # fmt: skip
        if divisor_override is not None:
            raise run.error("with divisor_override")
        kind = "avg_pad" if count_include_pad else "avg"
        return _pool(run, self, kind, kernel_size, list(stride) if isinstance(stride, tuple) else stride, padding, 1,
                     ceil_mode, dims)  # fmt: skip

    def adaptive(kind: str, self: Any, output_size: Any, run: Run) -> Any:
        x = run.tensor(self)
        wanted = run.wholes([v if v is not None else -1 for v in output_size] if isinstance(output_size, list | tuple)
                          else output_size)  # fmt: skip
        wanted = wanted * (dims if len(wanted) == 1 else 1)
        space = x.shape[-dims:]
        sizes = [n if w == -1 else w for n, w in zip(space, wanted, strict=True)]
        ones = tuple(i - dims for i, w in enumerate(sizes) if w == 1)
        if ones:
            x = run.apply("max" if kind == "max" else "mean", x, axes=ones, keepdims=True)
        kernel = [1 if w == 1 else n // max(w, 1) for n, w in zip(space, sizes, strict=True)]
        if any(w != 1 and (w < 1 or n % w) for n, w in zip(space, sizes, strict=True)):
            raise run.error(f"{space} to {sizes}: only sizes that divide are supported")
        return x if all(k == 1 for k in kernel) else _pool(run, x, kind, kernel, None, 0, 1, False, dims)

    @op(f"adaptive_avg_pool{dims}d", *([f"_adaptive_avg_pool{dims}d"] if dims > 1 else []))
    def adaptive_avg(run: Run, self: Any, output_size: Any) -> Any:
        return adaptive("avg", self, output_size, run)

    @op(f"adaptive_max_pool{dims}d")
    def adaptive_max(run: Run, self: Any, output_size: Any) -> Any:
        return adaptive("max", self, output_size, run), None


for _dims in (1, 2, 3):
    _max_pool(_dims)


# -- normalisation ---------------------------------------------------------------------------------------


def _optional(run: Run, *values: Any) -> list[Any]:
    return [None if v is None else run.tensor(v) for v in values]


def _batch_norm(run: Run, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: Any) -> Any:
    if mean is None or var is None:
        raise run.error("batch normalisation by the statistics of the batch (track_running_stats=False)")
    gamma, beta = _optional(run, weight, bias)
    return run.apply("batch_norm", run.floats(x), mean, var, gamma, beta, eps=float(eps), axis=1)


@op("batch_norm", "cudnn_batch_norm")
def batch_norm(
    run: Run, input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: Any = False,
    momentum: Any = 0.1, eps: Any = 1e-5, cudnn_enabled: Any = True,
) -> Any:  # fmt: skip
    if training:
        run.note(IN_TRAINING)
    return _batch_norm(run, input, weight, bias, running_mean, running_var, eps)


@op("_native_batch_norm_legit_no_training")
def batch_norm_no_training(
    run: Run, input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, momentum: Any, eps: Any
) -> Any:
    return _batch_norm(run, input, weight, bias, running_mean, running_var, eps), None, None


@op("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_functional", "_batch_norm_impl_index")
def native_batch_norm(
    run: Run, input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: Any,
    momentum: Any = None, eps: Any = None, *more: Any,
) -> Any:  # fmt: skip
    if isinstance(running_mean, bool):  # no_stats: (input, weight, bias, training, momentum, eps)
        return _of_one_row(run, run.floats(input), weight, bias, training), None, None
    y = batch_norm(run, input, weight, bias, running_mean, running_var, training, momentum, eps)
    return (y, None, None, running_mean, running_var)


def _of_one_row(run: Run, x: Tensor, weight: Any, bias: Any, eps: Any) -> Any:
    """By the statistics of the batch: those of each channel, where the batch is one row, as instance norm has it."""
    if x.shape[0] != 1:
        raise run.error("batch normalisation by the statistics of the batch (track_running_stats=False)")
    gamma, beta = _optional(run, weight, bias)
    return run.apply("group_norm", x, gamma, beta, eps=float(eps), groups=x.shape[1])


IN_TRAINING = (
    "the module is in training mode; it is converted as it is in eval mode, without dropout and with the running "
    "statistics of batch normalisation"
)


@op("layer_norm", plain=True)
def layer_norm(
    run: Run, input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5,
    cudnn_enable: Any = True,
) -> Any:  # fmt: skip
    gamma, beta = _optional(run, weight, bias)
    dims = len(run.wholes(normalized_shape))
    return run.apply("layer_norm", run.floats(input), gamma, beta, eps=float(eps), dims=dims)


@op("native_layer_norm", plain=True)
def native_layer_norm(run: Run, input: Any, normalized_shape: Any, weight: Any, bias: Any, eps: Any) -> Any:
    return layer_norm(run, input, normalized_shape, weight, bias, eps), None, None


@op("rms_norm", "_fused_rms_norm", plain=True)
def rms_norm(run: Run, input: Any, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Any:
    x = run.floats(input)
    axes = tuple(range(-len(run.wholes(normalized_shape)), 0))
    square = run.apply("mean", run.apply("square", x), axes=axes, keepdims=True)
    small = run.constant(np.finfo(np.float32).eps if eps is None else eps, np.float32)
    y = run.apply("div", x, run.apply("sqrt", run.apply("add", square, small)))
    y = y if weight is None else run.apply("mul", y, run.tensor(weight))
    return (y, None) if run.op.startswith("_") else y


@op("group_norm")
def group_norm(
    run: Run, input: Any, num_groups: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5,
    cudnn_enabled: Any = True,
) -> Any:  # fmt: skip
    gamma, beta = _optional(run, weight, bias)
    return run.apply("group_norm", run.floats(input), gamma, beta, eps=float(eps), groups=run.whole(num_groups))


@op("native_group_norm")
def native_group_norm(
    run: Run, input: Any, weight: Any, bias: Any, N: Any, C: Any, HxW: Any, group: Any, eps: Any
) -> Any:
    return group_norm(run, input, group, weight, bias, eps), None, None


@op("instance_norm")
def instance_norm(
    run: Run, input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, use_input_stats: Any,
    momentum: Any = 0.1, eps: Any = 1e-5, cudnn_enabled: Any = True,
) -> Any:  # fmt: skip
    x = run.floats(input)
    if not use_input_stats:
        return _batch_norm(run, x, weight, bias, running_mean, running_var, eps)
    gamma, beta = _optional(run, weight, bias)
    return run.apply("group_norm", x, gamma, beta, eps=float(eps), groups=x.shape[1])


@op("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "dropout1d", plain=True)
def dropout(run: Run, input: Any, p: Any = 0.5, train: Any = False) -> Any:
    if train and p:
        run.note(IN_TRAINING)
    return input


@op("native_dropout", plain=True)
def native_dropout(run: Run, input: Any, p: Any = 0.5, train: Any = False) -> Any:
    return dropout(run, input, p, train), None


@op("cosine_similarity")
def cosine_similarity(run: Run, x1: Any, x2: Any, dim: Any = 1, eps: Any = 1e-8) -> Any:
    a, b = run.alike(x1, x2, as_float=True)
    axes = (run.axis(dim, max(a.ndim, b.ndim)) - max(a.ndim, b.ndim),)
    small = run.constant(eps, np.float32)
    lengths = [run.apply("maximum", run.apply("l2", t, axes=axes, keepdims=True), small) for t in (a, b)]
    product = run.apply("mul", *(run.apply("div", t, n) for t, n in zip((a, b), lengths, strict=True)))
    return run.apply("sum", product, axes=axes, keepdims=False)
