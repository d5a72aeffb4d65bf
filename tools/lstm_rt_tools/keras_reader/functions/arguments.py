"""A call of a function between layers: its arguments and options, and what a row of the table is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import GraphError

from ..arrays import place_of, places_of
from ..build import Context, Tensor, Truth

#: What a function of arrays gives.
Results = Tensor | list[Tensor]


@dataclass(frozen=True)
class Arguments:
    """A call of a function: its arguments in order, tensors and constants, and its options by Keras's names."""

    ctx: Context
    given: Sequence[Any]
    options: Mapping[str, Any]

    def tensor(self, at: int = 0) -> Tensor:
        """The argument ``at``, which must be an array that depends on the model's inputs."""
        found = self.given[at] if at < len(self.given) else None
        if not isinstance(found, Tensor):
            raise GraphError(f"argument {at + 1} is {found!r:.60}, expected the output of a layer")
        return found if not isinstance(found, Truth) else Tensor(found.value, found.dims, found.time, found.mask)

    def tensors(self) -> list[Tensor]:
        """The arrays in a list that is the first argument."""
        listed = self.given[0] if self.given else None
        if not isinstance(listed, list) or not listed:
            raise GraphError("its argument is not a list of arrays")
        return [Arguments(self.ctx, listed, {}).tensor(i) for i in range(len(listed))]

    def axes(self) -> list[int]:
        """The axes that the option ``axis`` names; all but the batch's where it is missing."""
        t, axis = self.tensor(), self.options.get("axis")
        if axis is None:
            raise GraphError("without an axis it goes over all of a batch, which is not supported")
        return places_of(axis, len(t.dims))

    def axis(self, more: int = 0) -> int:
        """The one axis that the option names, of an array with ``more`` axes."""
        return place_of(self.options.get("axis"), len(self.tensor().dims) + more)


@dataclass(frozen=True)
class Function:
    """A row of the table: what runs it, its options in the order of its arguments, and their defaults.

    ``tensors``: how many arguments come before the options; None: the first is a list of them.
    """

    run: Callable[[Arguments], Results]
    options: Mapping[str, Any]
    tensors: int | None = 1


def array_of(value: Any) -> NDArray[Any] | None:
    """A constant that a configuration holds; None if it is none."""
    if isinstance(value, Mapping) and value.get("class_name") in ("__numpy__", "__tensor__"):
        inner = value.get("config")
        value = inner.get("value") if isinstance(inner, Mapping) else None
    try:
        array = np.asarray(value, dtype=np.float64) if isinstance(value, int | float | list) else None
    except (TypeError, ValueError):
        return None
    return array if array is not None and array.size else None
