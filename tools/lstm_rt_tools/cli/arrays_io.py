"""Arrays in and out of .npy, .npz and .csv files."""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import InputError, did_you_mean
from lstm_rt.files import Limit, open_regular, read_regular
from lstm_rt.text import shown

from ..names import listed

AnyArray = NDArray[Any]
FORMATS = ("npy", "npz", "csv")


def format_of(path: Path) -> str:
    """One of :data:`FORMATS`, by the name's end."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise InputError(f"{path}: unknown array file type {shown(path.suffix)!r}; known: .npy, .npz, .csv")
    return suffix


# -- reading ----------------------------------------------------------------------------------------


def read_array(path: Path) -> AnyArray:
    """One array from a .npy or .csv file, or from a .npz file that holds just one."""
    kind = format_of(path)
    if kind == "csv":
        return read_csv(path)
    if kind == "npy":
        return _read_npy(path)
    arrays = _Archive(path)
    if len(arrays.names) != 1:
        raise InputError(f"{path}: holds {len(arrays.names)} arrays, expected one")
    return arrays.read(arrays.names[0])


def _read_npy(path: Path) -> AnyArray:
    with open_regular(path) as file:
        if file.read(6) != np.lib.format.MAGIC_PREFIX:
            raise InputError(f"{path}: not a .npy file: it does not begin as one")
        file.seek(0)
        try:
            array: AnyArray = np.load(file, allow_pickle=False)
        except Exception as e:  # numpy evaluates a header, and has as many ways to fail as that has
            raise InputError(f"{path}: {e}") from e
    return array


class _Archive:
    """The arrays of a .npz file; each is read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_regular(path) as file:
            if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
                raise InputError(f"{path}: not a .npz file: it does not begin as one")
            self.names = list(self._load(file, None))
        twice = [n for k, n in enumerate(self.names) if n in self.names[:k]]
        if twice:
            raise InputError(f"{path}: holds {shown(twice[0])!r} twice")

    def read(self, name: str) -> AnyArray:
        with open_regular(self.path) as file:
            array: AnyArray = self._load(file, name)
        return array

    def _load(self, file: Any, name: str | None) -> Any:
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                if name is None:
                    return archive.files
                array = archive[name]
        except Exception as e:  # zipfile and zlib have many ways to say that a file is broken
            raise InputError(f"{self.path}: {e}") from e
        if not isinstance(array, np.ndarray):
            raise InputError(f"{self.path}: {shown(name)!r} is not an array")
        return array


def read_arrays(paths: Sequence[Path], names: Sequence[str], what: str) -> tuple[list[AnyArray], str]:
    """Arrays in the order of ``names``: from one .npz file by name (or order), or from a file each.

    Args:
        what: ``"input"`` or ``"output"``, for messages.

    Returns:
        The arrays, and a note on those of the .npz file that are none of them ('' if there are none).

    Raises:
        InputError: too few or too many, other names, or a file that is broken.
        OSError: a file is missing, cannot be read or is no regular file.
    """
    wanted = f"{len(names)}: {', '.join(map(shown, names))}"
    if len(paths) == 1 and format_of(paths[0]) == "npz":
        archive = _Archive(paths[0])
        if all(n in archive.names for n in names):
            return [archive.read(n) for n in names], _unread(archive, names, what)
        in_order = [f"arr_{k}" for k in range(len(names))]  # np.savez(f, a, b)
        if sorted(archive.names) == sorted(in_order):
            return [archive.read(n) for n in in_order], ""
        missing = next(n for n in names if n not in archive.names)
        near = did_you_mean(missing, (n for n in archive.names if n not in names))
        raise InputError(
            f"{paths[0]}: holds {listed(archive.names)}, expected {wanted}"
            + (f"; {shown(missing)!r} is missing{near}" if near else "")
        )
    if len(paths) != len(names):
        raise InputError(f"{len(paths)} {what} files given, expected {wanted}")
    return [read_array(p) for p in paths], ""


def _unread(archive: _Archive, names: Sequence[str], what: str) -> str:
    more = [n for n in archive.names if n not in names]
    if not more:
        return ""
    near = did_you_mean(more[0], names)
    unread = listed(map(repr, map(shown, more)))
    return f"{archive.path}: holds {unread}, no {what} of the model ({listed(names)}){near}"


def as_dtype(array: AnyArray, dtype: np.dtype[Any], name: str) -> tuple[AnyArray, str]:
    """``array`` as ``dtype`` if its values allow it, and a note on what was changed ('' for nothing)."""
    if array.dtype == dtype:
        return array, ""
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: dtype {array.dtype}, expected {dtype}")
    with np.errstate(all="ignore"):
        converted: AnyArray = array.astype(dtype)
        held = np.isfinite(converted) | ~np.isfinite(array) if dtype.kind == "f" else converted == array
    if not held.all():
        where = np.unravel_index(np.argmin(held), array.shape)
        first = f"{array[where]} at {[int(k) for k in where]}"
        raise InputError(f"{name}: dtype {array.dtype} with values that {dtype} does not hold: {first}")
    return converted, f"{name}: {array.dtype} converted to {dtype}{_rounding(array, converted)}"


def _rounding(array: AnyArray, converted: AnyArray) -> str:
    changed = int(np.count_nonzero((converted != array) & (array == array)))  # NaN is not equal to itself
    return f", which rounds {changed:,} of {array.size:,} numbers" if changed else ""


def read_lengths(text: str) -> NDArray[np.int32]:
    """Lengths given as ``3,5,2`` or as the name of an array file."""
    file = lengths_file(text)
    given = read_array(file).ravel() if file else np.array([float(part) for part in text.split(",")])
    lengths, _ = as_dtype(given, np.dtype(np.int32), f"--lengths {file}" if file else "--lengths")
    return lengths


def lengths_file(text: str) -> Path | None:
    """The file that ``text`` names, or None where it is a list of numbers.

    Raises:
        InputError: numbers that are not whole.
    """
    if re.fullmatch(r"\s*[+-]?[0-9]+\s*(,\s*[+-]?[0-9]+\s*)*", text):
        return None
    if re.fullmatch(r"[-+0-9.,eE\s]*", text):
        raise InputError(f"--lengths {shown(text)!r}: lengths are whole numbers, separated by commas, as in 5,3,9")
    return Path(text)


# -- reading CSV ------------------------------------------------------------------------------------

_HEAD = 1 << 16  #: bytes in which a file shows that it is no text
_MAX_CSV = Limit(1 << 30, "larger tables belong into a .npy file")
#: What begins like this is meant as a number, also where a typo made it none, as in "0.l".
_LIKE_A_NUMBER = re.compile(r"[+-]?\.?[0-9]|[+-]?(inf|infinity|nan)$", re.IGNORECASE)
#: A number with letters in the place of digits.
_MISTYPED = re.compile(r"[+-]?(D+\.D*|\.D+)([eE][+-]?D+)?".replace("D", "[0-9OolI]"))
_MISSING = ("na", "n/a", "null", "none")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")


class _Line(NamedTuple):
    number: int
    text: str


def read_csv(path: Path) -> AnyArray:
    """A table of numbers, float64 ``(lines, columns)``.

    Fields are separated by commas, semicolons, tabs or blanks, and have decimal points. Empty lines
    and lines that begin with ``#`` do not count. One line of column names may come first: it has as many
    fields as the others, and none of them begins like a number.

    Raises:
        InputError: anything else; the message names the line.
        OSError: the file is missing, cannot be read or is no regular file.
    """
    text = _read_text(path)
    numbered = (_Line(n, line.strip()) for n, line in enumerate(re.split(r"\r\n|\r|\n", text), 1))
    lines = [line for line in numbered if line.text and not line.text.startswith("#")]
    if not lines:
        raise InputError(f"{path}: the file is empty")
    separator = _separator(lines[min(1, len(lines) - 1)].text)
    names = _names(_fields(lines[0].text, separator))
    data = lines[1:] if names else lines
    if not data:
        raise InputError(f"{path}: holds one line of names, {shown(lines[0].text)!r}, and no numbers")
    table = _parse(path, data, separator)
    if names and len(names) != table.shape[1]:
        raise InputError(
            f"{path}: line {lines[0].number} has {len(names)} names, line {data[0].number} {table.shape[1]} numbers"
        )
    return table


def _read_text(path: Path) -> str:
    with open_regular(path) as file:
        head = file.read(_HEAD)
    data = head if b"\0" in head else read_regular(path, _MAX_CSV)
    if b"\0" in data:
        raise InputError(f"{path}: not a text file in UTF-8")
    return data.decode("utf-8-sig", errors="replace")  # numbers are ASCII; names do not matter


def _separator(line: str) -> str | None:
    """What separates the fields of a line; None stands for any number of blanks."""
    found = next((s for s in ";\t," if s in line), None)
    return found or (None if len(line.split()) > 1 else ",")


def _fields(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=separator))]
    except (csv.Error, StopIteration):  # a field of 128 KiB
        return line.split(separator)


def _names(fields: list[str]) -> list[str]:
    """The fields of the first line if they are column names, else nothing."""
    if any(_LIKE_A_NUMBER.match(f) or _MISTYPED.fullmatch(f) for f in fields):
        return []
    some = any(re.search(r"[^\W\d]", f) and f.lower() not in _MISSING for f in fields)
    return fields if some else []


def _parse(path: Path, data: Sequence[_Line], separator: str | None) -> AnyArray:
    try:
        table = np.loadtxt(
            [line.text for line in data],
            delimiter=separator,
            ndmin=2,
            dtype=np.float64,
            comments=None,
            quotechar='"',
        )
    except ValueError as e:
        raise InputError(f"{path}: {_fault(data, separator) or e}") from e
    if len(table) != len(data) or np.isinf(table).any():  # infinite: written so, or too large a number?
        fault = _fault(data, separator)
        if fault:
            raise InputError(f"{path}: {fault}")
    return table


def _fault(data: Sequence[_Line], separator: str | None) -> str:
    """What is wrong with the first wrong line, or ''."""
    columns = len(_fields(data[0].text, separator))
    for number, text in data:
        fields = _fields(text, separator)
        for k, field in enumerate(fields, 1):
            problem = _field_fault(field)
            if problem:
                return f"line {number}, field {k}: {problem}"
        if len(fields) != columns:
            return f"line {number} has {len(fields)} fields, line {data[0].number} has {columns}"
    return ""


def _field_fault(field: str) -> str:
    if not field:
        return "is empty, expected a number"
    try:
        value = float(field if field.isascii() and "_" not in field else "?")  # as numpy reads text
    except ValueError:
        comma = "; decimals have a point, as in 0.5" if _DECIMAL_COMMA.fullmatch(field) else ""
        return f"{shown(field, 40)!r} is no number{comma}"
    if math.isinf(value) and "inf" not in field.lower():
        return f"{shown(field, 40)!r} is too large a number"
    return ""


# -- writing ----------------------------------------------------------------------------------------


def to_bytes(outputs: Sequence[tuple[str, AnyArray]], kind: str) -> bytes:
    """The content of a file with named arrays: npz takes any number, npy one, csv one that is a table.

    Raises:
        InputError: that kind of file cannot hold them.
    """
    content = io.BytesIO()
    if kind == "npz":
        _write_npz(content, outputs)
    elif len(outputs) != 1:
        raise InputError(f"the model has {len(outputs)} outputs, a .{kind} file holds one; use .npz, or --format npz")
    elif kind == "npy":
        np.save(content, outputs[0][1], allow_pickle=False)
    else:
        np.savetxt(content, _as_table(outputs[0][1]), delimiter=",", fmt="%.9g")  # 9 digits hold any float32
    return content.getvalue()


def _write_npz(content: io.BytesIO, arrays: Sequence[tuple[str, AnyArray]]) -> None:
    """What ``numpy.savez`` writes, which takes names like ``file`` for arguments of its own."""
    members = [f"{name}.npy" for name, _ in arrays]
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for member, (name, array) in zip(members, arrays, strict=True):
            _check_member(name, members)
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _check_member(name: str, members: Sequence[str]) -> None:
    """Refuse a name by which the array could not be found again, or that leads out of a folder."""
    problem = ""
    if members.count(f"{name}.npy") > 1:
        problem = "there are two of that name"
    elif name in members:
        problem = f"numpy.load takes it for {name.removesuffix('.npy')!r}"
    elif "\0" in name or len(name.encode()) > 1000:
        problem = "it is no name for a member of an archive"
    elif name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
        problem = "as a path it leads out of the folder where the archive is unpacked"
    if problem:
        raise InputError(f"output {shown(name)!r} cannot be put into a .npz file: {shown(problem, 200)}")


def _as_table(array: AnyArray) -> AnyArray:
    table = array[0] if array.ndim == 3 and array.shape[0] == 1 else array
    if table.ndim > 2:
        raise InputError(f"an output of shape {array.shape} is no table, as .csv needs; use .npy, or --format npy")
    return np.atleast_2d(table)
