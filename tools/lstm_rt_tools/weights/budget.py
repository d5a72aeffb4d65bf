"""What reading one model file may cost: bytes of memory and steps of work, by the size of the file.

A file of a kilobyte can name an array of gigabytes, or a table that holds the next one twice, forty
times over. So every reader charges what it makes to the one budget of the file *before* making it,
and what is shared, as often as it is used. The process stays below 16 times the file plus 64 MB, and
ends within seconds for a small file. Honest files are far from that: their size is that of the weights.

The rest of the 16 and 64 is for what is not charged: the file's own bytes, and the libraries' buffers.
"""

from __future__ import annotations

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

#: Bytes of objects and arrays that a file may ask for: per byte of the file, and in any case.
_BYTES_PER_BYTE = 12
_BASE_BYTES = 40 << 20
#: Steps, of about a microsecond, per byte of the file and in any case.
_STEPS_PER_BYTE = 1
_BASE_STEPS = 1 << 21
#: How often an array is there at once while it is converted: as read, in the graph, packed, written.
_ARRAY_COPIES = 4
#: Bytes of numbers that go through all of that in one step.
_ARRAY_BYTES_PER_STEP = 50
_SELFTEST_BYTES = 4 * (8 + 4)  #: of a feature: 4 time steps, in double and in single precision


class Budget:
    """What is left of the memory and the steps that reading a file may take.

    Args:
        size: bytes of the file; 0 for what comes from no file, or from one whose size is unknown.
        what: its name, for messages.
    """

    def __init__(self, size: int = 0, what: str = "the file") -> None:
        self.what = what
        self.size = size
        self._bytes = _BASE_BYTES + _BYTES_PER_BYTE * size
        self._steps = _BASE_STEPS + _STEPS_PER_BYTE * size

    @property
    def memory_left(self) -> int:
        """Bytes that may still be charged."""
        return self._bytes

    @property
    def left(self) -> tuple[int, int]:
        """Bytes and steps that may still be charged, for another process to go on with."""
        return self._bytes, self._steps

    def settle(self, nbytes: int, steps: int) -> None:
        """Go on with what another process has :attr:`left`; nothing comes back."""
        self._bytes, self._steps = min(nbytes, self._bytes), min(steps, self._steps)

    def memory(self, n: int, for_what: str = "its contents") -> None:
        """Charge ``n`` bytes of objects.

        Raises:
            ConvertError: more than the budget has left; nothing has been made yet.
        """
        if n > self._bytes:
            raise ConvertError(
                f"{self.what}: {for_what} would take far more memory than a file of {self.size:,} bytes "
                "should need; the file is damaged or hostile"
            )
        self._bytes -= n

    def steps(self, n: int = 1) -> None:
        """Charge ``n`` microseconds of work.

        Raises:
            ConvertError: more than the budget has left.
        """
        if n > self._steps:
            raise ConvertError(
                f"{self.what}: its parts refer to each other so often that reading them would take far longer "
                f"than a file of {self.size:,} bytes should need; the file is damaged or hostile"
            )
        self._steps -= n

    def array(self, nbytes: int, for_what: str) -> None:
        """Charge an array of weights with all that is made of it until it is written."""
        self.memory(_ARRAY_COPIES * nbytes, for_what)
        self.use(nbytes)

    def use(self, nbytes: int) -> None:
        """Charge the work of one more use of an array that is there already."""
        self.steps(nbytes // _ARRAY_BYTES_PER_STEP)

    def graph(self, graph: Graph) -> None:
        """Charge the arrays that computing a self-test for ``graph`` takes."""
        self.memory(_SELFTEST_BYTES * sum(v.size for v in graph.values), "the values of its layers")
