"""EinsumDense: a dense layer over any axes, which an equation names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from string import ascii_letters

import numpy as np

from lstm_rt.graph import Activation

from ..arith import scaled
from ..arrays import check_size, permuted, reshaped, whole
from ..build import Call, Context, Tensor
from ..config import LayerSpec
from ..weights import FloatArray, Weights, with_lora
from .basic import acted, dense

EINSUM = ("equation", "output_shape", "bias_axes", "activation")
_EQUATION = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?")


def emit_einsum_dense(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """EinsumDense."""
    x = call.inputs[0]
    source, kernel_axes, result, named = _axes(spec, len(x.dims) + 1)
    roles = ("kernel",) if spec.config.get("bias_axes") is None else ("kernel", "bias")
    arrays = weights.take(roles, str(spec))
    kernel = with_lora(spec, weights, arrays["kernel"], "kernel")
    sizes = dict(zip(source, x.dims, strict=True))
    known = [sizes.get(a) for a in kernel_axes]
    if kernel.ndim != len(known) or any(n not in (m, None) for n, m in zip(known, kernel.shape, strict=True)):
        raise spec.error(f"kernel has shape {kernel.shape}, expected {kernel_axes} of its input {x.dims}")
    y = contracted(ctx, x, source, kernel, kernel_axes, result)
    if "bias" in arrays:
        y = scaled(ctx, y, 1.0, _bias(spec, arrays["bias"], named, y))
    return [acted(ctx, y, spec.activation("activation"))]


def _axes(spec: LayerSpec, rank: int) -> tuple[str, str, str, str]:
    """The axes of input, kernel and output without the batch's, and those of the output that the equation names."""
    equation = spec.required("equation")
    match = _EQUATION.fullmatch(equation.replace(" ", "")) if isinstance(equation, str) else None
    if match is None:
        raise spec.error(f"option equation is {equation!r:.60}, expected one such as 'abc,cd->abd'")
    before, source, behind, kernel, to_before, result, to_behind = match.groups()
    used = source + kernel + result
    fresh = [a for a in ascii_letters if a not in used]
    elided = rank - len(source)
    if (before, behind) != (to_before, to_behind) or (before and behind) or not 0 <= elided <= len(fresh):
        raise spec.error(f"equation {equation!r:.60} does not fit its input of {rank} axes")
    if elided and not (before or behind):
        raise spec.error(f"equation {equation!r:.60} does not fit its input of {rank} axes")
    others, named = "".join(fresh[:elided]), result
    source, result = (others + a if before else a + others for a in (source, result))
    repeats = any(len(set(a)) != len(a) for a in (source, kernel, result))
    if repeats or source[0] != result[0] or source[0] in kernel or not set(result) <= set(source + kernel):
        raise spec.error(f"equation {equation!r:.60} is not supported: expected the batch first, and each axis once")
    if not set(source[1:]) <= set(kernel + result) or not set(kernel) <= set(source + result):
        raise spec.error(f"equation {equation!r:.60} is not supported: an axis is in one place alone")
    return source[1:], kernel, result[1:], named


def _bias(spec: LayerSpec, bias: FloatArray, named: str, y: Tensor) -> FloatArray:
    """The bias with an axis for each of the output's from the first that it has on; Keras leaves others 1."""
    axes = spec.required("bias_axes")
    if not isinstance(axes, str) or not axes or not set(axes) <= set(named):
        raise spec.error(f"option bias_axes is {axes!r:.60}, expected some of {named!r}")
    if bias.ndim > len(y.dims):
        raise spec.error(f"bias has shape {bias.shape}, expected that of its output {y.dims} or less")
    return bias


def contracted(ctx: Context, x: Tensor, source: str, kernel: FloatArray, kernel_axes: str, result: str) -> Tensor:
    """The sums of products over the axes that input and kernel share and the result lacks, as ``einsum`` has them."""
    time = None if x.time is None else source[x.time]
    if time is not None and time in kernel_axes:  # the steps are summed over, or each has a kernel of its own
        x, time = whole(ctx, x), None
    summed = [a for a in source if a in kernel_axes]  # those in the result too are blocks of the matrix
    kept = [a for a in source if a not in summed and a != time]
    made = [a for a in result if a in kernel_axes]
    matrix = _matrix(kernel, kernel_axes, summed, made)
    order = [*([time] if time is not None else []), *kept, *summed]
    x = permuted(ctx, x, [source.index(a) for a in order])
    sizes = dict(zip(order, x.dims, strict=True)) | dict(zip(kernel_axes, kernel.shape, strict=True))
    x = reshaped(ctx, x, [*x.dims[: len(order) - len(summed)], len(matrix)])
    y = dense(ctx, x, np.ascontiguousarray(matrix.T), None, Activation("linear"))
    order = [*order[: len(order) - len(summed)], *made]
    y = reshaped(ctx, y, [sizes[a] for a in order])
    return permuted(ctx, y, [order.index(a) for a in result])


def _matrix(kernel: FloatArray, axes: str, summed: Sequence[str], made: Sequence[str]) -> FloatArray:
    """The kernel as ``(inputs, outputs)``; an axis that is on both sides is the diagonal of a square."""
    sizes = dict(zip(axes, kernel.shape, strict=True))
    check_size([sizes[a] for a in summed])
    check_size([sizes[a] for a in made])
    rows, columns = ([sizes[a] for a in side] for side in (summed, made))
    matrix = np.zeros((*rows, *columns), np.float32)
    where = np.ix_(*(np.arange(sizes[a]) for a in axes))
    at = dict(zip(axes, where, strict=True))
    matrix[tuple(at[a] for a in (*summed, *made))] = kernel
    return matrix.reshape(math.prod(rows), math.prod(columns))
