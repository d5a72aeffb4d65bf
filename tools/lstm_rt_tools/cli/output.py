"""Where a command writes: checked before the work begins, so that nothing the user has is harmed."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from lstm_rt.errors import InputError
from lstm_rt.files import Buffer, ReadFile, open_regular, status_to_write, write_atomically
from lstm_rt.format import Contents

from .common import warn

STANDARD = Path("-")  #: the name of standard output
Data: TypeAlias = "bytes | Contents"


class Output:
    """A file, or standard output for ``-`` and for what leads there, such as ``/dev/stdout``.

    Raises:
        InputError: the file is one of ``reads``, or cannot be written.
        OSError: its state cannot be found out, or it is of a kind that is never written to.
    """

    def __init__(self, path: Path, reads: Iterable[Path | None]) -> None:
        self.path = path
        standard = _standard_output()
        status = standard if path == STANDARD else _writable(path)
        self.is_standard = path == STANDARD or _leads_to(status, standard)
        self.is_file = not self.is_standard and (status is None or stat.S_ISREG(status.st_mode))
        self.name = "standard output" if self.is_standard else str(path)
        self._status = status
        for read in reads:
            if read is not None and read.exists():
                self.refuse(ReadFile(str(read), read.stat()))

    def say(self, text: str) -> None:
        """Print what the command has to say, beside the data."""
        stream = sys.stderr if self.is_standard else sys.stdout
        if stream is not None:
            print(text, file=stream)

    def refuse(self, read: ReadFile) -> None:
        """Raise InputError if that file would be written to."""
        if self._status is not None and os.path.samestat(self._status, read.status):
            same = "" if str(self.path) == read.name else f" ({read.name})"
            raise InputError(f"{self.name}: is an input of this command{same}, and would be overwritten")

    def write_unnamed(self, data: Data, force: bool, replaces: Callable[[Path], bool] = lambda path: False) -> str:
        """Write to a name that the user has not given: never over another file; returns a remark.

        Args:
            force: the user has said that another file may be replaced.
            replaces: whether the file that is there is an earlier state of what is written.

        Raises:
            InputError: there is another file.
        """
        if self.check_unnamed(data, force, replaces):
            return ", as it was"
        self.write(data)
        return ""

    def check_unnamed(self, data: Data, force: bool, replaces: Callable[[Path], bool] = lambda path: False) -> bool:
        """Whether the file that is there holds just this; arguments and errors as of :meth:`write_unnamed`."""
        if force or self.is_standard or not self.path.exists():
            return False
        same_size = self.is_file and self.path.stat().st_size == len(data)
        if same_size and self._holds(_pieces(data)):
            return True
        if not (self.is_file and replaces(self.path)):
            raise InputError(f"{self.name}: exists and is another file; to replace it give -o {self.name} or --force")
        return False

    def _holds(self, pieces: Iterable[Buffer]) -> bool:
        with open_regular(self.path) as file:
            return all(file.read(len(piece)) == piece for piece in pieces)

    def write(self, data: Data, *, text: bool = False) -> None:
        """Write it all. A file appears whole or not at all.

        Args:
            text: fit for a terminal; other data is not written to one.
        """
        if not self.is_standard:
            write_atomically(self.path, data, lambda: warn(f"note: waiting for somebody to read from {self.name}"))
            return
        if sys.stdout is None:
            raise InputError("standard output is closed")
        if sys.stdout.isatty() and not text:
            raise InputError("standard output is a terminal; redirect it, or name a file with -o")
        sys.stdout.flush()
        for piece in _pieces(data):
            rest = memoryview(piece)
            while rest:  # with -u, Python's standard output takes what the system takes
                rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.buffer.flush()


def _pieces(data: Data) -> Iterable[Buffer]:
    return [data] if isinstance(data, bytes) else data


def _standard_output() -> os.stat_result | None:
    try:
        return os.fstat(sys.stdout.fileno())
    except (AttributeError, OSError, ValueError):  # closed, or replaced by something that is no file
        return None


def _leads_to(status: os.stat_result | None, standard: os.stat_result | None) -> bool:
    if status is None or standard is None or not os.path.samestat(status, standard):
        return False
    return not stat.S_ISCHR(status.st_mode) or sys.stdout.isatty()  # /dev/null is not mixed up with anything


def _writable(path: Path) -> os.stat_result | None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file to write")
    folder = Path(os.path.realpath(path)).parent  # a link leads into a folder of its own
    if not folder.is_dir() and not path.exists():  # what is open as /dev/fd/N exists and has no folder
        raise InputError(f"{path}: the folder {folder} does not exist")
    return status_to_write(path)
