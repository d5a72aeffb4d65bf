"""One run of a PyTorch program: the machine that it drives, and what all of its operations need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from ..names import shown
from ..program.machine import Machine, Tensor
from .agree import check
from .dtypes import NAMES, numpy_dtype, result_type
from .meter import Meter
from .tensors import Complex, Var

_MOST_DIMS = 16
_LARGEST = 8  #: bytes of a number


class Run:
    """A program at work.

    Args:
        machine: what computes.
        notes: what the user should know; each is added once.
        meter: counts what it costs.
        version: of the operators (TorchScript's ``version``), where old ones meant something else.
    """

    def __init__(self, machine: Machine, notes: list[str], meter: Meter, version: int = 10) -> None:
        self.machine, self.notes, self.meter, self.version = machine, notes, meter, version
        meter.bound(machine)

    def note(self, text: str) -> None:
        """Tell the user something, once."""
        if text not in self.notes:
            self.notes.append(text)

    def error(self, why: str, op: str = "") -> ConvertError:
        """An error about what is being run."""
        return self.machine.error(op or self.op, why)

    #: The operation at work, for messages.
    op: str = "the program"

    # -- values -----------------------------------------------------------------------------------------

    def tensor(self, value: Any) -> Tensor:
        """The numbers of a :class:`Var`, or of a Python number as PyTorch makes a tensor of it."""
        if isinstance(value, Var):
            return value.read(self)
        if isinstance(value, Tensor):
            return value
        if isinstance(value, bool | int | float):
            kind = np.bool_ if isinstance(value, bool) else np.int64 if isinstance(value, int) else np.float32
            return self.machine.constant(np.asarray(value, kind))
        raise self.error(f"a {kind_of(value)} where a tensor is expected")

    def output(self, value: Var, name: str) -> Tensor:
        """The numbers of an output of the program, which ``name`` names.

        Raises:
            ConvertError: it is complex, or of a packed sequence or a sorted batch.
        """
        if isinstance(value.tag, Complex):
            raise self.error("it is complex; give its parts (torch.view_as_real) or its size (abs)", name)
        if value.tag is not None or value.order is not None:
            raise self.error("its rows are in the order of a sorted batch, or it is packed", name)
        return value.read(self)

    def constant(self, array: Any, dtype: Any = None) -> Tensor:
        """Numbers that depend on no input."""
        made = self.machine.constant(np.asarray(array, dtype))
        self.meter.made(made)
        return made

    def apply(self, op: str, *args: Any, **options: Any) -> Any:
        """One word of the vocabulary, on tensors, numbers or None."""
        given = [None if a is None else self.tensor(a) for a in args]
        where = self.machine.where
        check(op, given, options, f" ({where})" if where else "")
        made = self.machine.apply(op, *given, **options)
        self.meter.made(made)
        return made

    def array(self, value: Any, what: str) -> NDArray[Any]:
        """The numbers of what is known.

        Raises:
            ConvertError: they depend on an input.
        """
        return self.machine.number(self.tensor(value), what)

    def whole(self, value: Any, what: str = "a number that decides a shape") -> int:
        """A whole number."""
        if isinstance(value, Var | Tensor):
            array = self.array(value, what)
            if array.size != 1:
                raise self.error(f"{what} is a tensor of shape {array.shape}, expected a single number")
            value = array.reshape(()).item()
        if isinstance(value, float) and not math.isfinite(value):
            raise self.error(f"{what} is {value}, expected a whole number")
        if not isinstance(value, bool | int | float):
            raise self.error(f"{what} is a {kind_of(value)}, expected a whole number")
        return int(value)

    def wholes(self, value: Any, what: str = "sizes") -> list[int]:
        """Whole numbers; a single one counts as a list of it."""
        if isinstance(value, Var | int):
            return [self.whole(value, what)]
        if not isinstance(value, list | tuple):
            raise self.error(f"{what}: a {kind_of(value)}, expected whole numbers")
        return [self.whole(v, what) for v in value]

    def axis(self, dim: Any, ndim: int) -> int:
        """A dimension counted from the front."""
        place = self.whole(dim, "a dimension")
        if not -max(ndim, 1) <= place < max(ndim, 1):
            raise self.error(f"dimension {place} of a tensor that has {ndim}")
        return place % max(ndim, 1)

    def axes(self, dims: Any, ndim: int) -> tuple[int, ...]:
        """Dimensions counted from the front; all of them where none are given."""
        if dims is None or (isinstance(dims, list | tuple) and not dims):
            return tuple(range(ndim))
        return tuple(sorted({self.axis(d, ndim) for d in (dims if isinstance(dims, list | tuple) else [dims])}))

    # -- types ------------------------------------------------------------------------------------------

    def dtype(self, code: Any) -> np.dtype[Any] | None:
        """The type that PyTorch's number for it stands for; None for None."""
        if code is None:
            return None
        name = NAMES.get(self.whole(code, "a dtype"), str(code))
        found = numpy_dtype(name)
        if found is None:
            raise self.error(f"tensors of {name} are not supported")
        return found

    def cast(self, x: Tensor, dtype: np.dtype[Any] | None) -> Tensor:
        """In another type; as it is where that is its own or None."""
        if dtype is None or x.dtype == dtype:
            return x
        made: Tensor = self.apply("cast", x, dtype=dtype)
        return made

    def floats(self, x: Any) -> Tensor:
        """As floats: what functions such as ``sigmoid`` make of whole numbers."""
        t = self.tensor(x)
        return t if t.dtype.kind == "f" else self.cast(t, np.dtype(np.float32))

    def alike(self, *values: Any, as_float: bool = False) -> list[Tensor]:
        """Tensors and numbers in the type of their mixture, or at least floats."""
        tensors = [self.tensor(v) for v in values if isinstance(v, Var | Tensor)]
        scalars = [v for v in values if not isinstance(v, Var | Tensor)]
        dtype = result_type([(t.dtype, t.ndim) for t in tensors], scalars)
        if as_float and dtype.kind != "f":
            dtype = np.dtype(np.float32)
        return [
            self.cast(self.tensor(v), dtype) if isinstance(v, Var | Tensor) else self.constant(v, dtype) for v in values
        ]

    # -- parts ------------------------------------------------------------------------------------------

    def cut(self, x: Tensor, axis: int, start: int, stop: int) -> Tensor:
        """``start:stop`` of an axis; ``x`` itself if that is all of it."""
        if start == 0 and stop == x.shape[axis]:
            return x
        part: Tensor = self.apply("slice", x, axis=axis, start=start, stop=stop, step=1)
        return part

    def dropped(self, x: Tensor, axis: int) -> Tensor:
        """Without an axis of size 1."""
        made: Tensor = self.apply("squeeze", x, axes=(axis,))
        return made

    def widened(self, x: Tensor, axis: int) -> Tensor:
        """With one more axis of size 1."""
        made: Tensor = self.apply("unsqueeze", x, axes=(axis,))
        return made

    def reshaped(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """In another shape; ``x`` itself if it has that."""
        if tuple(sizes) == x.shape:
            return x
        made: Tensor = self.apply("reshape", x, sizes=list(sizes))
        return made

    def permuted(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """With its axes in another order; ``x`` itself if that is the same."""
        if list(axes) == list(range(x.ndim)):
            return x
        made: Tensor = self.apply("permute", x, axes=list(axes))
        return made

    def swapped(self, x: Tensor, a: int, b: int) -> Tensor:
        """With two axes swapped."""
        order = list(range(x.ndim))
        order[a], order[b] = order[b], order[a]
        return self.permuted(x, order)

    def expanded(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """Repeated along axes of size 1; ``x`` itself if it has these sizes."""
        if tuple(sizes) == x.shape:
            return x
        made: Tensor = self.apply("expand", x, sizes=list(sizes))
        return made

    def sizes(self, value: Any) -> list[int]:
        """Sizes of a tensor that is made of nothing.

        Raises:
            ConvertError: negative, or absurdly many.
        """
        sizes = self.wholes(value)
        if any(n < 0 for n in sizes) or len(sizes) > _MOST_DIMS:
            raise self.error(f"a tensor of shape {tuple(sizes)[:_MOST_DIMS]}")
        self.meter.room(_LARGEST * math.prod(sizes))
        return sizes


def kind_of(value: Any) -> str:
    """What a value of a program is called in messages."""
    if isinstance(value, Var | Tensor):
        return "tensor"
    return "None" if value is None else type(value).__name__


def kept_note(name: str) -> str:
    """What is told of a tensor that a module keeps from call to call."""
    return (
        f"the module keeps {shown(name)} from call to call; the converted model begins each call with the value in "
        "the file"
    )
