"""Functions of numbers: operators between arrays and constants, functions of each number, sums over axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import GraphError
from lstm_rt.graph import Activation

from ..arith import activated, binary, constant, limited, normalized, reduced, scaled, softmax
from ..arrays import permuted, timed, whole
from ..build import Context, Tensor, Truth, Whole
from ..layers.einsum import contracted
from ..masks import not_zero
from ..scores import multiplied, settled
from .arguments import Arguments, Function, Results, array_of

# -- of two -----------------------------------------------------------------------------------------


def two(op: str) -> Callable[[Arguments], Results]:
    def run(call: Arguments) -> Results:
        if len(call.given) != 2:
            raise GraphError(f"it is called with {len(call.given)} arguments, expected 2")
        a, b = call.given
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return binary(call.ctx, op, a, b)
        t, c = (a, array_of(b)) if isinstance(a, Tensor) else (b, array_of(a))
        if not isinstance(t, Tensor) or c is None:
            raise GraphError(f"its arguments are {a!r:.60} and {b!r:.60}, expected arrays or numbers")
        if c.ndim == len(t.dims) + 1 and c.shape[0] == 1:
            c = c[0]  # the batch's axis
        return _CONSTANT[op](call.ctx, t, c, t is b)

    return run


def _add(ctx: Context, t: Tensor, c: NDArray[Any], first: bool) -> Tensor:
    return scaled(ctx, t, 1.0, c)


def _sub(ctx: Context, t: Tensor, c: NDArray[Any], first: bool) -> Tensor:
    return scaled(ctx, t, -1.0, c) if first else scaled(ctx, t, 1.0, -c)


def _mul(ctx: Context, t: Tensor, c: NDArray[Any], first: bool) -> Tensor:
    return scaled(ctx, t, c, 0.0)


def _div(ctx: Context, t: Tensor, c: NDArray[Any], first: bool) -> Tensor:
    if not first:
        if not np.all(c):
            raise GraphError("it divides by 0")
        return scaled(ctx, t, 1 / c, 0.0)
    inverse = activated(ctx, t, Activation("reciprocal"))
    return inverse if np.all(c == 1) else scaled(ctx, inverse, c, 0.0)


_POWERS = {1.0: "linear", 2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}


def _pow(ctx: Context, t: Tensor, c: NDArray[Any], first: bool) -> Tensor:
    if c.size != 1:
        return _two_arrays("pow")(ctx, t, c, first)
    number = float(c.ravel()[0])
    if first:
        if number <= 0:
            raise GraphError(f"powers of {number} are not supported")
        return activated(ctx, scaled(ctx, t, math.log(number), 0.0), Activation("exp"))
    if number in _POWERS:
        return activated(ctx, t, Activation(_POWERS[number]))
    return activated(ctx, t, Activation("power", alpha=number))


def _maximum(ctx: Context, t: Tensor, c: NDArray[Any], first: bool) -> Tensor:
    return limited(ctx, t, float(c.ravel()[0]), None) if c.size == 1 else _two_arrays("maximum")(ctx, t, c, first)


def _minimum(ctx: Context, t: Tensor, c: NDArray[Any], first: bool) -> Tensor:
    return limited(ctx, t, None, float(c.ravel()[0])) if c.size == 1 else _two_arrays("minimum")(ctx, t, c, first)


def _two_arrays(op: str) -> Callable[[Context, Tensor, NDArray[Any], bool], Tensor]:
    def run(ctx: Context, t: Tensor, c: NDArray[Any], first: bool) -> Tensor:
        if c.ndim > len(t.dims):
            raise GraphError(f"an array of {len(t.dims) + 1} axes meets a constant of shape {list(c.shape)}")
        other = constant(ctx, t, c.reshape((1,) * (len(t.dims) - c.ndim) + c.shape))
        return binary(ctx, op, *((other, t) if first else (t, other)))

    return run


#: With a constant: the tensor, the constant, and whether the constant comes first.
_CONSTANT = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "maximum": _maximum,
    "minimum": _minimum,
}


# -- of one -----------------------------------------------------------------------------------------


def each(name: str, alpha: float | None = None, beta: float | None = None) -> Function:
    return Function(lambda call: activated(call.ctx, call.tensor(), Activation(name, alpha, beta)), {})


def same(call: Arguments) -> Results:
    return call.tensor()


def cast(call: Arguments) -> Results:
    dtype = str(call.options.get("dtype"))
    if dtype == "bool":
        true = call.tensor() if isinstance(call.given[0], Truth) else not_zero(call.ctx, call.tensor())
        return Truth(true.value, true.dims, true.time)
    if isinstance(call.given[0], Whole):
        return call.given[0] if "int" in dtype else call.tensor()
    if "float" not in dtype and not any(isinstance(t, Truth) for t in call.given):
        raise GraphError(f"numbers are cast to {dtype}, only float types are supported")
    return call.tensor()


def negative(call: Arguments) -> Results:
    return scaled(call.ctx, call.tensor(), -1.0, 0.0)


def rsqrt(call: Arguments) -> Results:
    return activated(call.ctx, activated(call.ctx, call.tensor(), Activation("sqrt")), Activation("reciprocal"))


def log_sigmoid(call: Arguments) -> Results:
    opposite = scaled(call.ctx, call.tensor(), -1.0, 0.0)
    return scaled(call.ctx, activated(call.ctx, opposite, Activation("softplus")), -1.0, 0.0)


def log1p(call: Arguments) -> Results:
    return activated(call.ctx, scaled(call.ctx, call.tensor(), 1.0, 1.0), Activation("log"))


def expm1(call: Arguments) -> Results:
    return scaled(call.ctx, activated(call.ctx, call.tensor(), Activation("exp")), 1.0, -1.0)


def clip(call: Arguments) -> Results:
    low, high = call.options["x_min"], call.options["x_max"]
    return limited(call.ctx, call.tensor(), *(None if n is None else number(n) for n in (low, high)))


def number(value: Any) -> float:
    array = array_of(value)
    if array is None or array.size != 1:
        raise GraphError(f"{value!r:.60} is not a number")
    return float(array.ravel()[0])


def leaky_relu(call: Arguments) -> Results:
    return activated(call.ctx, call.tensor(), Activation("leaky_relu", alpha=number(call.options["negative_slope"])))


def elu(name: str) -> Callable[[Arguments], Results]:
    return lambda call: activated(call.ctx, call.tensor(), Activation(name, alpha=number(call.options["alpha"])))


def gelu(call: Arguments) -> Results:
    return activated(call.ctx, call.tensor(), Activation("gelu_tanh" if call.options["approximate"] else "gelu"))


def softmax_of(log: bool) -> Callable[[Arguments], Results]:
    return lambda call: softmax(call.ctx, call.tensor(), call.axes(), log=log)


def normalize(call: Arguments) -> Results:
    if call.options["order"] != 2:
        raise GraphError(f"norms of order {call.options['order']!r:.60} are not supported")
    epsilon = call.options["epsilon"]
    return normalized(call.ctx, call.tensor(), call.axes(), 1e-7 if epsilon is None else number(epsilon))


def l2_normalize(call: Arguments) -> Results:
    return normalized(call.ctx, call.tensor(), call.axes(), math.sqrt(number(call.options["epsilon"])))


# -- over axes --------------------------------------------------------------------------------------


def reduce(kind: str) -> Function:
    def run(call: Arguments) -> Results:
        return reduced(call.ctx, call.tensor(), kind, call.axes(), bool(call.options["keepdims"]))

    return Function(run, {"axis": None, "keepdims": False})


def variance(root: bool) -> Function:
    def run(call: Arguments) -> Results:
        ctx, t, axes = call.ctx, call.tensor(), call.axes()
        away = binary(ctx, "sub", t, reduced(ctx, t, "mean", axes, keep=True))
        spread = reduced(ctx, activated(ctx, away, Activation("square")), "mean", axes, bool(call.options["keepdims"]))
        return activated(ctx, spread, Activation("sqrt")) if root else spread

    return Function(run, {"axis": None, "keepdims": False})


def norm(call: Arguments) -> Results:
    if call.options["ord"] not in (None, 2, "euclidean") or len(call.axes()) != 1:
        raise GraphError(f"norms of order {call.options['ord']!r:.60} over {len(call.axes())} axes are not supported")
    return reduced(call.ctx, call.tensor(), "l2", call.axes(), bool(call.options["keepdims"]))


def logsumexp(call: Arguments) -> Results:
    ctx, t, axes, keep = call.ctx, call.tensor(), call.axes(), bool(call.options["keepdims"])
    e = activated(ctx, binary(ctx, "sub", t, reduced(ctx, t, "max", axes, keep=True)), Activation("exp"))
    return binary(
        ctx,
        "add",
        activated(ctx, reduced(ctx, e, "sum", axes, keep), Activation("log")),
        reduced(ctx, t, "max", axes, keep),
    )


def argmax(sign: float) -> Callable[[Arguments], Results]:
    """The first place of the largest number along an axis, or with ``sign`` -1 of the smallest."""

    def run(call: Arguments) -> Results:
        ctx, axis = call.ctx, call.axis()
        t = whole(ctx, call.tensor()) if axis == call.tensor().time else call.tensor()
        t = t if sign == 1.0 else scaled(ctx, t, sign, 0.0)
        size = t.dims[axis] or 0
        away = binary(ctx, "sub", reduced(ctx, t, "max", [axis], keep=True), t)
        least = scaled(ctx, activated(ctx, away, Activation("sign")), -1.0, 1.0)  # 1 where nothing is away
        from_behind = np.arange(size, 0, -1).reshape([-1 if i == axis else 1 for i in range(len(t.dims))])
        first = reduced(ctx, scaled(ctx, least, from_behind, 0.0), "max", [axis], bool(call.options["keepdims"]))
        place = scaled(ctx, first, -1.0, float(size))
        ctx.note("whole numbers that the model computes are given as float32")
        return Whole(place.value, place.dims, place.time)

    return run


def ceil(call: Arguments) -> Results:
    opposite = scaled(call.ctx, call.tensor(), -1.0, 0.0)
    return scaled(call.ctx, activated(call.ctx, opposite, Activation("floor")), -1.0, 0.0)


def log_to(base: float) -> Callable[[Arguments], Results]:
    def run(call: Arguments) -> Results:
        return scaled(call.ctx, activated(call.ctx, call.tensor(), Activation("log")), 1 / math.log(base), 0.0)

    return run


def cumsum(call: Arguments) -> Results:
    t = call.tensor()
    t = timed(call.ctx, t, call.axis())
    return replace(t, value=call.ctx.graph.cumsum(t.value))


def _matrix(call: Arguments) -> NDArray[np.float32] | None:
    """The second argument where it is a constant matrix."""
    array = None if len(call.given) < 2 or isinstance(call.given[1], Tensor) else array_of(call.given[1])
    if array is not None and array.ndim != 2:
        raise GraphError(f"a constant of {array.ndim} axes is multiplied, expected a matrix")
    return None if array is None else array.astype(np.float32)


def _times_matrix(ctx: Context, t: Tensor, matrix: NDArray[np.float32]) -> Tensor:
    names = ascii_letters[: len(t.dims)]
    if not names or t.dims[-1] not in (None, len(matrix)):
        raise GraphError(f"an array of shape {list(t.dims)} meets a matrix of shape {list(matrix.shape)}")
    return contracted(ctx, t, names, matrix, names[-1] + "_", names[:-1] + "_")


def dot(call: Arguments) -> Results:
    matrix = _matrix(call)
    if matrix is None:
        raise GraphError("it is supported with a constant matrix alone")
    return _times_matrix(call.ctx, call.tensor(0), matrix)


def tensordot(call: Arguments) -> Results:
    if call.options["axes"] != 1:
        raise GraphError(f"over axes {call.options['axes']!r:.60} it is not supported, only over one")
    return dot(call)


def matmul(call: Arguments) -> Results:
    matrix = _matrix(call)
    if matrix is not None:
        flipped = call.options.get("transpose_a"), call.options.get("transpose_b")
        if flipped[0]:
            raise GraphError("a product of a matrix with an array transposed is not supported")
        return _times_matrix(call.ctx, call.tensor(0), matrix.T if flipped[1] else matrix)
    a, b = call.tensor(0), call.tensor(1)
    if len(a.dims) != 2 or len(b.dims) != 2:
        raise GraphError(f"matrices of {len(a.dims) + 1} and {len(b.dims) + 1} axes are multiplied, expected 3")
    flips = (call.options.get("transpose_a"), call.options.get("transpose_b"))
    return multiplied(call.ctx, a, b, (0 if flips[0] else 1, 1 if flips[1] else 0))


def _einsum_constant(call: Arguments, names: list[str], out: str) -> Results | None:
    """With a constant second argument, as an EinsumDense layer has it."""
    array = array_of(call.given[1]) if len(call.given) == 2 and not isinstance(call.given[1], Tensor) else None
    if array is None:
        return None
    (a, b), t = names, call.tensor(0)
    plain = all(n.isalpha() and len(set(n)) == len(n) for n in (a, b, out))
    fits = plain and len(a) == len(t.dims) + 1 and len(b) == array.ndim and a[0] == out[0] and a[0] not in b
    if not fits or set(out) | set(a) | set(b) != set(out) | (set(a) & set(b)) or not set(out) <= set(a + b):
        raise GraphError(f"einsum of {a},{b}->{out} is not supported with a constant")
    sizes = dict(zip(a[1:], t.dims, strict=True))
    if any(sizes.get(c) not in (None, n) for c, n in zip(b, array.shape, strict=True)):
        raise GraphError(f"einsum of {a},{b}->{out}: the constant has shape {list(array.shape)}")
    return contracted(call.ctx, t, a[1:], array.astype(np.float32), b, out[1:])


def einsum(call: Arguments) -> Results:
    """Batches of two arrays that share the batch's axis and one more."""
    text = str(call.options["subscripts"]).replace(" ", "")
    sides, _, out = text.partition("->")
    names = sides.split(",")
    if len(names) == 2 and (constant_side := _einsum_constant(call, names, out)) is not None:
        return constant_side
    tensors = [call.tensor(i) for i in range(len(call.given))]
    if len(names) != 2 or len(tensors) != 2 or not out or "." in text:
        raise GraphError(f"einsum {text!r:.60} is not supported")
    (a, b), batch = names, out[:1]
    shared = [c for c in a if c in b and c != batch]
    if len(shared) != 1 or shared[0] in out or any(n[:1] != batch or len(set(n)) != len(n) for n in (a, b, out)):
        raise GraphError(f"einsum {text!r:.60} is not supported, expected the sum over one axis of two arrays")
    places = (a.index(shared[0]) - 1, b.index(shared[0]) - 1)
    result = settled(call.ctx, multiplied(call.ctx, tensors[0], tensors[1], places))
    made = [c for c in a[1:] + b[1:] if c != shared[0]]
    if sorted(made) != sorted(out[1:]):
        raise GraphError(f"einsum {text!r:.60} is not supported, it sums over several axes")
    return permuted(call.ctx, result, [made.index(c) for c in out[1:]])
