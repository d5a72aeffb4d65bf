"""What a row of the table of readers (:mod:`.readers`) is made of."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.files import open_regular
from lstm_rt.graph import Graph

from .names import shown
from .weights.zip_archive import ZIP_ERRORS, ZIP_MAGIC

_SPELLED = {"settings": "set"}  #: fields of options, as the command line has them where that differs
SAVED_MODEL = "saved_model.pb"  #: what makes a folder a SavedModel
_HEAD = 1 << 16  #: bytes in which a file shows what it is: JSON needs many


class Glance(NamedTuple):
    """What a file shows before it is read: its first bytes, and the names of the entries if it is a zip archive."""

    head: bytes
    entries: tuple[str, ...]


def glance(path: Path) -> Glance:
    """A look at a file.

    Raises:
        ConvertError: it begins like a zip archive, but is damaged.
        OSError: the file is missing, cannot be read or is no regular file.
    """
    with open_regular(path) as file:
        head = file.read(_HEAD)
        if not head.startswith(ZIP_MAGIC):
            return Glance(head, ())
        try:
            with zipfile.ZipFile(file) as archive:
                return Glance(head, tuple(archive.namelist()))
        except ZIP_ERRORS as e:
            raise ConvertError(f"{path}: the zip archive is damaged ({shown(str(e))})") from e


@dataclass(frozen=True)
class Options:
    """What the command line tells about a source beside its name; None where it tells nothing.

    Attributes:
        arch: the file with what a file of weights does not tell (``--arch``).
        part: which of the parts that this file describes (``--part``).
        settings: values of inputs that are single whole numbers (``--set``).
    """

    arch: Path | None = None
    part: str | None = None
    settings: Mapping[str, int] | None = None


class Rerun(NamedTuple):
    """A source that was run again: what ran, in words, the inputs that were made up, and its outputs."""

    what: str
    inputs: list[NDArray[Any]]
    outputs: list[NDArray[Any]]


class ReaderModule(Protocol):
    """What the module behind a row defines."""

    def read(self, path: Path, options: Options) -> Graph:
        """The graph of a file.

        Raises:
            ConvertError: it cannot be converted; what is in the way is named.
            OSError: a file is missing, cannot be read or is no regular file.
        """
        ...

    def rerun(self, path: Path, graph: Graph, options: Options) -> Rerun:
        """Run the file again, on made-up inputs that fit ``graph``: by its framework, or by a second reading.

        Raises:
            ConvertError: the source cannot be read or run, or has other inputs and outputs than ``graph``.
            ImportError: the package that must run it is not installed.
        """
        ...


class Weights(Protocol):
    """What the module of a kind of weight files may define, for ``lstm-rt info``."""

    def weights(self, path: Path) -> list[dict[str, Any]]:
        """``name``, ``shape`` and ``dtype`` of each weight; raises as ``read`` does."""
        ...


@dataclass(frozen=True)
class Row:
    """One kind of file.

    Attributes:
        name: of the kind: ``PyTorch`` files.
        framework: what ``--from`` calls it; kinds that come from one framework share it.
        suffixes: of the names that such files usually have. They count where the bytes tell nothing.
        recognises: whether a file is of this kind, by a glance at it.
        module: loads the module that reads such files and runs them again.
        options: names of the fields of :class:`Options` that these files take.
    """

    name: str
    framework: str
    suffixes: tuple[str, ...]
    recognises: Callable[[Glance], bool]
    module: Callable[[], ReaderModule]
    options: frozenset[str] = frozenset()

    def check(self, path: Path, options: Options) -> None:
        """Raise :class:`ConvertError` where an option is given that these files do not take."""
        for name, value in vars(options).items():
            if value is not None and name not in self.options:
                raise ConvertError(f"{path.name}: {self.name} files take no --{_SPELLED.get(name, name)}")
