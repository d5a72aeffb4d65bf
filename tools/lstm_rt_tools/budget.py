"""What reading one model file may cost: bytes of memory and steps of work, by the size of the file.

A file of a kilobyte can name an array of gigabytes, or a table that holds the next one twice, forty
times over. So every reader charges what it makes to the one budget of the file *before* making it,
and what is shared, as often as it is used. The process stays below 16 times the file plus 64 MB, and
ends within seconds for a small file. Honest files are far from that: their size is that of the weights.

The rest of the 16 and 64 is for what is not charged: the file's own bytes, and the libraries' buffers.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
_ALLOCATOR = 8 << 20  #: taken in advance, by the allocators of C and Python
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


@contextmanager
def memory_limited(more: int) -> Iterator[None]:
    """Let the process take at most ``more`` bytes above what it has, while C code reads a hostile file.

    Beyond that, allocations fail, which the code must bear. Only on Linux, and only in a process without
    other threads of Python: the limit would be theirs too.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _data_bytes() + more + _ALLOCATOR
    if resource.RLIM_INFINITY not in (soft, hard):
        limit = min(limit, soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """What RLIMIT_DATA limits: the private memory of the process that can be written."""
    with open("/proc/self/status", encoding="ascii") as f:
        sizes = [line.split()[1] for line in f if line.startswith("VmData:")]
    return 1024 * int(sizes[0])
