"""What running a program from a file may cost: its steps are charged to the file's budget, its tensors are counted."""

from __future__ import annotations

import weakref
from typing import Any

from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from ..program.machine import Exhausted, Machine, Tensor
from ..weights.budget import Budget

_BYTES = 40 << 20  #: that tensors may take at once, and for each byte of the file
_BYTES_PER_BYTE = 12
_STEP = 4  #: of the budget, for a statement or a node
_OPERATION = 30  #: and for an operation, with what it makes:
_BYTES_PER_STEP = 100
_ELEMENT = 16  #: bytes, with what is noted of it


class Meter:
    """Counts for all runs of one program.

    Args:
        budget: of the file.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.most = _BYTES + _BYTES_PER_BYTE * budget.size
        self._live = 0
        self._seen: dict[int, weakref.ref[NDArray[Any]]] = {}

    def bound(self, machine: Machine) -> None:
        """Let a machine make nothing that is larger than all tensors together may be."""
        machine.most = min(machine.most, self.most // _ELEMENT)

    def step(self) -> None:
        """A statement or a node is run.

        Raises:
            Exhausted: the budget of the file is used up.
        """
        self._charge(_STEP)

    def _charge(self, steps: int) -> None:
        try:
            self._budget.steps(steps)
        except ConvertError:
            raise Exhausted(
                f"{self._budget.what}: its code does not end, or runs for far longer on a small example than a file of "
                f"{self._budget.size:,} bytes should need"
            ) from None

    def room(self, nbytes: int) -> None:
        """Raise :class:`ConvertError` where a tensor of so many bytes is not to be made."""
        if self._live + nbytes > self.most:
            raise Exhausted(
                f"{self._budget.what}: its tensors take more than {self.most >> 20} MB while it runs on a small "
                f"example, far more than a file of {self._budget.size:,} bytes should need"
            )

    def made(self, results: Any) -> None:
        """An operation has given these: a tensor, or several.

        Raises:
            ConvertError: that is more than a file of its size should need.
        """
        self._charge(_OPERATION)
        for tensor in results if isinstance(results, tuple) else (results,):
            self._count(tensor)

    def _count(self, tensor: Tensor) -> None:
        array = tensor.data
        if array.base is not None or id(array) in self._seen:
            return
        nbytes, key = array.nbytes, id(array)
        self.room(nbytes)
        self._charge(nbytes // _BYTES_PER_STEP)

        def gone(_: Any) -> None:
            self._live -= nbytes
            self._seen.pop(key, None)

        self._live += nbytes
        self._seen[key] = weakref.ref(array, gone)
