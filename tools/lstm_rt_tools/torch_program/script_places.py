"""Where code of a TorchScript archive comes from: beside it stands which text of the user's it was made of."""

from __future__ import annotations

import io

from lstm_rt.errors import ConvertError

from ..names import shown
from ..weights.safe_pickle import SafePickle
from ..weights.torch_files import TorchZip

_LIST = "torch.jit._pickle.build_intlist"
_MOST_TEXT = 1 << 20  #: characters of a function
_FORM = "FORMAT_WITH_STRING_TABLE"


def told(archive: TorchZip, owner: str, line: int) -> str:
    """A class or function of the file, and a line of its code, as the user's source has it if the file says so.

    Args:
        owner: its full name, ``__torch__.a.b.C``.
        line: of the code in the archive.
    """
    place, _, short = owner.rpartition(".")
    path = f"code/{place.replace('.', '/')}.py"
    try:
        found = _original(archive, path, line)
    except ConvertError:
        found = None  # damaged; but it is for a message alone
    where = f"{path} in the archive, line {line}" if found is None else f"{found[0]}, line {found[1]}"
    return f"{shown(short)} ({shown(where)})"


def _original(archive: TorchZip, path: str, line: int) -> tuple[str, int] | None:
    """The name of the file that a line of code was made of, and the line there."""
    if path not in archive or f"{path}.debug_pkl" not in archive:
        return None
    lines = bytes(archive.read(path)).splitlines(keepends=True)
    end = sum(map(len, lines[:line])) - 1
    stored = io.BytesIO(archive.read(f"{path}.debug_pkl"))
    table = SafePickle(archive.what, stored, archive.budget, {_LIST: lambda value, *_: value}).load()
    try:
        form, strings, ranges = table
        before = [source for offset, source, *_ in ranges if offset < end]
        (parts, file, first), start, _ = next(s for s in reversed(before) if s[0][0])
        if sum(len(strings[k]) for k in parts) > _MOST_TEXT:  # the same lines again and again
            return None
        text = "".join(strings[k] for k in parts)
        name = str(strings[file]).replace("\\", "/").rpartition("/")[2]
        return (name, int(first) + text[: int(start)].count("\n")) if form == _FORM and name else None
    except (TypeError, ValueError, LookupError, OverflowError, StopIteration):
        return None

