"""Complex numbers of ATen's, such as spectra, as two tensors: the vocabulary knows real numbers alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ...program.machine import Tensor
from ..run import Run
from ..tensors import Complex, Var
from .table import COMPLEX, TABLE, op

_F = TypeVar("_F", bound=Callable[..., Any])
#: What is done to the real parts and to the imaginary parts alike.
_EACH_PART = frozenset(
    ("neg", "sum", "mean", "select", "slice", "narrow", "split", "split_with_sizes", "unsafe_split", "chunk",
     "unsafe_chunk", "unbind", "transpose", "permute", "movedim", "t", "numpy_T", "mT", "unsqueeze", "squeeze", "view",
     "reshape", "_unsafe_view", "flatten", "unflatten", "expand", "expand_as", "repeat", "cat", "concat", "stack",
     "flip", "roll", "pad", "constant_pad_nd", "index_select", "index", "unfold", "contiguous", "clone", "detach",
     "alias", "to", "resolve_conj", "resolve_neg")
)  # fmt: skip


def made(real: Tensor, imag: Tensor) -> Var:
    """A complex tensor."""
    found = Var(real)
    found.tag = Complex(real, imag)
    return found


def parts(run: Run, x: Any) -> tuple[Tensor, Tensor]:
    """Real and imaginary part; the latter is 0 of what is real."""
    if isinstance(x, Var) and isinstance(x.tag, Complex):
        return x.tag.real, x.tag.imag
    real = run.floats(x)
    return real, run.constant(np.zeros_like(real.data))


def _of_complex(*names: str) -> Callable[[_F], _F]:
    """What an operation does where an argument is complex."""

    def put(function: _F) -> _F:
        COMPLEX.update(dict.fromkeys(names, function))
        return function

    return put


def _each_part(run: Run, *args: Any, **kwargs: Any) -> Any:
    function = TABLE[run.op].function
    sides = [
        function(run, *(_side(run, a, k) for a in args), **{n: _side(run, a, k) for n, a in kwargs.items()})
        for k in (0, 1)
    ]
    return _joined(run, *sides)


def _side(run: Run, value: Any, k: int) -> Any:
    """An argument with the real (0) or the imaginary parts (1) in the place of complex numbers."""
    if isinstance(value, Var) and isinstance(value.tag, Complex):
        return Var(parts(run, value)[k])
    if isinstance(value, list | tuple) and any(isinstance(v, Var) and isinstance(v.tag, Complex) for v in value):
        return [Var(parts(run, v)[k]) for v in value]
    return value


def _joined(run: Run, real: Any, imag: Any) -> Any:
    if isinstance(real, list | tuple):
        return [_joined(run, r, i) for r, i in zip(real, imag, strict=True)]
    return made(run.tensor(real), run.tensor(imag))


COMPLEX.update(dict.fromkeys(_EACH_PART, _each_part))


def _is_complex(x: Any) -> bool:
    return isinstance(x, Var) and isinstance(x.tag, Complex)


@_of_complex("mul", "multiply", "matmul", "bmm", "mm")
def _product(run: Run, self: Any, other: Any) -> Any:
    if not (_is_complex(self) and _is_complex(other)):
        return _each_part(run, self, other)
    function = TABLE[run.op].function
    (a, b), (c, d) = parts(run, self), parts(run, other)
    ac, bd, ad, bc = (run.tensor(function(run, Var(x), Var(y))) for x, y in ((a, c), (b, d), (a, d), (b, c)))
    return made(run.apply("sub", ac, bd), run.apply("add", ad, bc))


@_of_complex("div", "divide", "true_divide")
def _quotient(run: Run, self: Any, other: Any) -> Any:
    if _is_complex(other):
        (a, b), (c, d) = parts(run, self), parts(run, other)
        size = _square(run, c, d)
        real = run.apply("add", *(run.apply("mul", *run.alike(x, y)) for x, y in ((a, c), (b, d))))
        imag = run.apply("sub", *(run.apply("mul", *run.alike(x, y)) for x, y in ((b, c), (a, d))))
        return made(run.apply("div", real, size), run.apply("div", imag, size))
    return _each_part(run, self, other)


@_of_complex("add", "sub")
def _sum(run: Run, self: Any, other: Any, alpha: Any = 1) -> Any:
    function = TABLE[run.op].function
    pairs = zip(parts(run, self), parts(run, other), strict=True)
    return made(*(run.tensor(function(run, Var(x), Var(y), alpha)) for x, y in pairs))


def _square(run: Run, real: Tensor, imag: Tensor) -> Tensor:
    found: Tensor = run.apply("add", run.apply("square", real), run.apply("square", imag))
    return found


@_of_complex("abs", "absolute")
def _absolute(run: Run, self: Any) -> Any:
    return run.apply("sqrt", _square(run, *parts(run, self)))


@_of_complex("pow")
def _power(run: Run, self: Any, exponent: Any) -> Any:
    if exponent != 2:
        raise run.error(f"complex numbers to the power of {exponent} are not supported")
    real, imag = parts(run, self)
    both = run.apply("mul", real, imag)
    return made(run.apply("sub", run.apply("square", real), run.apply("square", imag)), run.apply("add", both, both))


@_of_complex("conj", "conj_physical", "_conj", "_conj_physical")
def _conjugate(run: Run, self: Any) -> Any:
    real, imag = parts(run, self)
    return made(real, run.apply("neg", imag))


@_of_complex("angle")
def _angle(run: Run, self: Any) -> Any:
    error = run.error("the phase of complex numbers has no operation in a graph; their parts and size have")

    def read() -> Tensor:
        raise error

    return Var(later=read)  # as often as not, nothing reads it


@_of_complex("is_complex")
def _yes(run: Run, self: Any) -> Any:
    return True


@_of_complex("is_floating_point")
def _no(run: Run, self: Any) -> Any:
    return False


@_of_complex("size", "sym_size", "dim", "ndimension", "numel", "sym_numel", "shape", "_shape_as_tensor", "len")
def _as_real(run: Run, self: Any, *args: Any) -> Any:
    return TABLE[run.op].function(run, Var(parts(run, self)[0]), *args)


@op("conj", "conj_physical", "_conj", "_conj_physical", "real")
def conj(run: Run, self: Any) -> Any:
    return self


@op("angle")
def angle(run: Run, self: Any) -> Any:
    raise run.error("of real numbers it is not supported")


@op("imag")
def imag_of_real(run: Run, self: Any) -> Any:
    raise run.error("real numbers have no imaginary part")


@_of_complex("real")
def real(run: Run, self: Any) -> Any:
    return _read_only(run, parts(run, self)[0])


@_of_complex("imag")
def imag(run: Run, self: Any) -> Any:
    return _read_only(run, parts(run, self)[1])


@op("view_as_real")
def real_of_real(run: Run, self: Any) -> Any:
    raise run.error("its numbers are real already")


@_of_complex("view_as_real", "view_as_real_copy")
def view_as_real(run: Run, self: Any) -> Any:
    return _read_only(run, side_by_side(run, self))


def side_by_side(run: Run, x: Any) -> Tensor:
    """The real and the imaginary parts along one more axis at the end."""
    wide = [run.widened(p, p.ndim) for p in parts(run, x)]
    joined: Tensor = run.apply("concat", *wide, axis=wide[0].ndim - 1)
    return joined


def _read_only(run: Run, x: Tensor) -> Var:
    """A tensor that shares its numbers with complex ones, which cannot be written to."""

    def put(t: Tensor, new: Tensor) -> Tensor:
        raise run.error("the parts of complex numbers are written to")

    return Var.view(Var(x), lambda t: t, put, shape=x.shape)


@op("view_as_complex")
def view_as_complex(run: Run, self: Any) -> Any:
    x = run.floats(self)
    last = x.ndim - 1
    if last < 0 or x.shape[last] != 2:
        raise run.error(f"of shape {x.shape}, expected 2 as the last size")
    return made(*(run.dropped(run.cut(x, last, k, k + 1), last) for k in (0, 1)))


@op("complex")
def complex_(run: Run, real: Any, imag: Any) -> Any:
    return made(run.floats(real), run.floats(imag))


@op("polar")
def polar(run: Run, abs: Any, angle: Any) -> Any:
    size, phase = run.alike(abs, angle, as_float=True)
    return made(*(run.apply("mul", size, run.apply(word, phase)) for word in ("cos", "sin")))
