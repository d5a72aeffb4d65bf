"""Zip archives with one model inside, as people send them: unpacked into a folder that goes away again."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lstm_rt.errors import ConvertError
from lstm_rt.files import open_regular, read_regular

from . import readers
from .names import listed, shown
from .weights.budget import Budget
from .weights.zip_archive import ZIP_MAGIC, ZipArchive

_ENTRY_STEPS = 500  #: to write a file and to look at it
_LEFT_OUT = re.compile(r"(^|/)(__MACOSX/|\.DS_Store$|Thumbs\.db$)")


@dataclass(frozen=True)
class Source:
    """A model file: ``path`` is what readers read, ``name`` what the user calls it."""

    path: Path
    name: str
    archive: Path | None = None  #: that it lies in
    folder: Path | None = None  #: where that is unpacked

    def shown(self, read: str) -> str:
        """The name of a file that was read, as the user knows it."""
        if self.folder is None or not Path(read).is_relative_to(self.folder):
            return read
        return f"{self.archive} ({Path(read).relative_to(self.folder)})"


@contextmanager
def opened(path: Path, framework: str | None = None) -> Iterator[Source]:
    """The model file at ``path``, or the one model in it if it is an archive that no reader knows.

    Raises:
        ConvertError: the archive is damaged, unpacks to far more than its size, leads out of its folder, or holds no
            model or several.
        OSError: the file cannot be read.
    """
    if framework is not None or not _is_archive(path):
        yield Source(path, path.name)
        return
    with tempfile.TemporaryDirectory(prefix="lstm-rt-") as temporary:
        folder = Path(temporary) / path.stem  # what a model that is a folder is called
        folder.mkdir()
        inner = _the_model(path, folder, _unpack(path, folder))
        yield Source(inner, f"{inner.relative_to(folder)} in {path.name}", path, folder)


def _is_archive(path: Path) -> bool:
    if not path.exists() or path.is_dir():  # the reader says what is wrong
        return False
    with open_regular(path) as file:
        if file.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
            return False
    suffixes = {s for row in readers.READERS for s in row.suffixes}
    return path.suffix.lower() not in suffixes and readers.recognised(path) is None


def _unpack(path: Path, folder: Path) -> list[Path]:
    """All files of the archive, below ``folder``."""
    data = read_regular(path)
    budget = Budget(len(data), path.name)
    archive = ZipArchive(data, path.name, budget)
    written = []
    for name in archive.names:
        budget.steps(_ENTRY_STEPS)
        if name.endswith("/") or _LEFT_OUT.search(name):
            continue
        target = folder / _safe(path, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "xb") as file:
            file.write(archive.read(name))
        written.append(target)
    return written


def _safe(path: Path, name: str) -> str:
    parts = name.split("/")
    if "\\" in name or "\0" in name or ":" in name or any(p in ("", ".", "..") for p in parts):
        raise ConvertError(f"{path.name}: '{shown(name)}' in the archive leads out of its folder; nothing is unpacked")
    if any(len(os.fsencode(p)) > 255 for p in parts) or len(parts) > 32 or not name.isprintable():
        raise ConvertError(f"{path.name}: '{shown(name)}' in the archive is no name for a file")
    return name


def _the_model(path: Path, folder: Path, files: list[Path]) -> Path:
    """The one that is recognised by its content, or else by its name."""
    known = [f for f in files if readers.recognised(f) is not None]
    if not known:
        suffixes = {s for row in readers.READERS for s in row.suffixes}
        known = [f for f in files if f.suffix.lower() in suffixes]
    names = listed([str(f.relative_to(folder)) for f in known or files], 5)
    if not known:
        raise ConvertError(f"{path}: an archive without a model that can be converted; it holds {names or 'nothing'}")
    if len(known) > 1:
        raise ConvertError(f"{path}: holds {len(known)} models or parts of one: {names}; unpack it and name one")
    return known[0]
