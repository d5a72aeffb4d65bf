"""HDF5 files read without trusting them: by a process of its own, within its limits of time and memory.

libhdf5 can be made to loop for ever, to take any memory, or to crash, by a file with damaged tables, and code
beside it in the same process could not stop it. So it is loaded into a child process alone
(:mod:`.hdf5_child`), which gets the bytes of the file and answers questions; arrays come one at a time.

The child ends after 4 seconds of processor time and one more for each MB of the file (on every system but
Windows), after fifteen times that by the clock (everywhere), and its memory is what the budget has left (on
Linux; elsewhere only what is charged to the budget is limited). Where no process can be started, as there is no
``sys.executable`` that is Python (WebAssembly, frozen programs, some that embed Python), the file is read in
this process: the budget holds, and nothing stops a damaged file that makes libhdf5 loop.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from .budget import Budget
from .hdf5_child import NEEDS_H5PY, Answer, Question, Reader
from .python_process import can_start, command

_BASE_SECONDS = 4  #: of processor time; with starting and the rest of the conversion, small files take below 5
_SECONDS_PER_MB = 1
_CLOCK = 15  #: seconds by the clock for one of the processor: machines are shared
_CHILD = "import sys; sys.path[:] = sys.argv[1:]; from lstm_rt_tools.weights.hdf5_child import main; main()"
_PACKAGES = ("lstm_rt_tools", "lstm_rt", "numpy", "h5py")
#: One thread is enough, and more take memory; no filters from libraries that lie about.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}


class _Reads(Protocol):
    def answer(self, question: Question) -> Answer: ...


class Hdf5Group:
    """A group of an HDF5 file: its groups by their names, its attributes that are texts, its datasets as arrays."""

    def __init__(self, reader: _Reads, number: int, name: str) -> None:
        self._reader = reader
        self._number = number
        self.name = name  #: its path in the file

    def __iter__(self) -> Iterator[str]:
        header, body = _ask(self._reader, "names", self._number)
        return (text.decode("utf-8", "surrogateescape") for text in _texts(header["sizes"], body))

    def group(self, path: str) -> Hdf5Group | None:
        """The group at ``path`` below this one; None if there is none."""
        number = _ask(self._reader, "group", self._number, path)[0]["number"]
        return None if number is None else Hdf5Group(self._reader, number, f"{self.name.rstrip('/')}/{path}")

    def attribute(self, name: str) -> list[bytes] | None:
        """The texts of an attribute, as they stand in the file: a text is a list of one. None if there is none."""
        header, body = _ask(self._reader, "attribute", self._number, name)
        return None if header["sizes"] is None else _texts(header["sizes"], body)

    def array(self, path: str, label: str) -> NDArray[Any]:
        """The numbers of the dataset at ``path`` below this group.

        Raises:
            ConvertError: no dataset of numbers is there, it lies in other files, is compressed in a way
                that is not read, or is larger than the budget allows. ``label`` names it.
        """
        header, body = _ask(self._reader, "array", self._number, path, label)
        array: NDArray[Any] = body.view(header["dtype"]).reshape(header["shape"])
        return array


def _ask(reader: _Reads, what: str, number: int, name: str = "", label: str = "") -> Answer:
    header, body = reader.answer((what, number, name, label))
    if "error" in header:
        raise ConvertError(header["error"])
    return header, body


def _texts(sizes: list[int], body: NDArray[np.uint8]) -> list[bytes]:
    source = io.BytesIO(body.data)
    return [source.read(n) for n in sizes]


class _Child:
    """The process that reads the file."""

    def __init__(self, file: BinaryIO, name: str, budget: Budget) -> None:
        self._name = name
        self._budget = budget
        seconds = _BASE_SECONDS + _SECONDS_PER_MB * (budget.size >> 20)
        nbytes = file.seek(0, io.SEEK_END)
        file.seek(0)
        start = {"name": name, "nbytes": nbytes, "what": budget.what, "budget": budget.size, "seconds": seconds}
        self._process = _start()
        self._late = False
        self._clock = threading.Timer(_CLOCK * seconds, self._end)
        self._clock.daemon = True
        self._clock.start()
        try:
            self._send(json.dumps(start).encode() + b"\n", file)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it, whatever it does."""
        self._clock.cancel()
        self._process.kill()
        self._process.communicate()

    def _end(self) -> None:
        self._late = True
        self._process.kill()

    def _send(self, line: bytes, file: BinaryIO | None = None) -> None:
        pipe = cast(io.BufferedWriter, self._process.stdin)
        try:
            pipe.write(line)
            if file is not None:
                shutil.copyfileobj(file, pipe, 1 << 20)
            pipe.flush()
        except OSError as e:
            raise self._ended() from e

    def answer(self, question: Question) -> Answer:
        self._send(json.dumps([*self._budget.left, question]).encode() + b"\n")
        pipe = cast(io.BufferedReader, self._process.stdout)
        line = pipe.readline()
        if not line.endswith(b"\n"):
            raise self._ended()
        header = json.loads(line)
        body = np.empty(header["nbytes"], np.uint8)
        if pipe.readinto(body.data) != body.nbytes:
            raise self._ended()
        self._budget.settle(*header["left"])
        return header, body

    def _ended(self) -> ConvertError:
        """Why it is no more."""
        self._process.kill()  # if it only stopped listening
        status = self._process.wait()
        if self._late or (sys.platform != "win32" and status == -signal.SIGXCPU):
            why = f"reading it takes far longer than a file of {self._budget.size:,} bytes should need"
        else:
            why = f"the HDF5 library ended with {_signal(status)} when it read it"
        return ConvertError(f"{self._name}: the HDF5 file is damaged, or larger than its budget: {why}")


def _signal(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"status {status}"


def _start() -> subprocess.Popen[bytes]:
    """Python that runs :mod:`.hdf5_child`."""
    try:
        return subprocess.Popen(
            command(_CHILD, _PACKAGES),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as e:
        raise ConvertError(f"reading HDF5 files needs a process of its own, which does not start: {e}") from e


@contextmanager
def open_hdf5(file: BinaryIO, name: str, budget: Budget) -> Iterator[Hdf5Group]:
    """The root of an HDF5 file; whatever its reader stumbles over, or dies of, becomes a ConvertError."""
    if importlib.util.find_spec("h5py") is None:
        raise ConvertError(NEEDS_H5PY)
    child = _Child(file, name, budget) if can_start() else None
    reader = child or Reader(file, name, budget)
    try:
        _ask(reader, "open", 0)
        yield Hdf5Group(reader, 0, "/")
    except RecursionError as e:
        raise ConvertError(f"{name}: the HDF5 file is damaged (its groups lie too deep in each other)") from e
    finally:
        if child:
            child.close()
