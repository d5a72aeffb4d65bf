"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lstm_rt.errors import InputError

MARK = "lstm-rt export-c"  #: in the first lines of every file that is written
_LOOK = 600  #: bytes in which it stands


def check_target(target: Path, force: bool) -> None:
    """Raises InputError where a folder may not be written there.

    An existing folder is replaced with ``force`` alone, and only if all in it was written by this command.
    """
    if not target.name:
        raise InputError(f"{target}: is no name for a folder")
    if not os.path.lexists(target):
        if not target.parent.is_dir():
            raise InputError(f"{target}: the folder {target.parent} does not exist")
        return
    if target.is_symlink() or not target.is_dir():
        raise InputError(f"{target}: exists and is no folder")
    if not force:
        raise InputError(f"{target}: exists; to replace it give --force")
    for file in sorted(target.rglob("*")):
        if not (file.is_dir() and not file.is_symlink()) and not _is_ours(file):
            raise InputError(f"{target}: holds {file.relative_to(target)}, which export-c has not written")


def _is_ours(file: Path) -> bool:
    if file.is_symlink() or not file.is_file():
        return False
    with file.open("rb") as f:
        return MARK.encode() in f.read(_LOOK)


def write_folder(target: Path, files: Mapping[str, str], force: bool) -> None:
    """Write all files, by their paths in the folder. Whatever happens, the folder is as it was, or whole and new.

    Raises:
        InputError: as :func:`check_target`.
        OSError: it cannot be written.
    """
    check_target(target, force)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        new = temporary / "new"
        for name, text in files.items():
            file = new / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        old = temporary / "old"
        if os.path.lexists(target):
            os.rename(target, old)
        try:
            os.rename(new, target)
        except OSError:
            if os.path.lexists(old):
                os.rename(old, target)
            raise
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary)
