"""Arrays in and out of .npy, .npz and .csv files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import InputError
from lstm_rt.format import write_atomically

AnyArray = NDArray[Any]


# -- reading ----------------------------------------------------------------------------------------


def read_array(path: Path) -> AnyArray:
    """One array from a .npy or .csv file, or from a .npz file that holds just one."""
    if path.suffix == ".npz":
        arrays = read_npz(path)
        if len(arrays) != 1:
            raise InputError(f"{path}: holds {len(arrays)} arrays, expected one")
        return next(iter(arrays.values()))
    if path.suffix == ".npy":
        array: AnyArray = _numpy_load(path)
        return array
    if path.suffix == ".csv":
        return read_csv(path)
    raise InputError(f"{path}: unknown array file type {path.suffix!r}; known: .npy, .npz, .csv")


def _numpy_load(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as e:
        raise InputError(f"{path}: {' '.join(str(e).split())}") from e


def read_npz(path: Path) -> dict[str, AnyArray]:
    """All arrays of a .npz file by name."""
    try:
        with _numpy_load(path) as archive:
            return {name: archive[name] for name in archive.files}
    except InputError:
        raise
    except Exception as e:  # zipfile and zlib have many ways to say that a file is broken
        raise InputError(f"{path}: {e}") from e


def read_csv(path: Path) -> AnyArray:
    """A table of numbers, ``(lines, columns)``; one line of column names is skipped."""
    lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: the file is empty")
    if not _is_numbers(lines[0]):
        lines = lines[1:]
    try:
        return np.loadtxt(lines, delimiter=",", ndmin=2, dtype=np.float64)
    except ValueError as e:
        raise InputError(f"{path}: {e}") from e


def _is_numbers(line: str) -> bool:
    try:
        [float(cell) for cell in line.split(",")]
    except ValueError:
        return False
    return True


def read_inputs(paths: Sequence[Path], names: Sequence[str]) -> list[AnyArray]:
    """The inputs of a model in order: from one .npz file by name (or order), or from a file each."""
    if len(paths) == 1 and paths[0].suffix == ".npz":
        arrays = read_npz(paths[0])
        if all(n in arrays for n in names):
            return [arrays[n] for n in names]
        if len(arrays) == len(names) and all(n.startswith("arr_") for n in arrays):  # np.savez(f, a, b)
            return [arrays[f"arr_{k}"] for k in range(len(names))]
        raise InputError(f"{paths[0]}: holds {', '.join(arrays)}, expected {', '.join(names)}")
    if len(paths) != len(names):
        raise InputError(f"{len(paths)} input files given, expected {len(names)}: {', '.join(names)}")
    return [read_array(p) for p in paths]


def as_dtype(array: AnyArray, dtype: np.dtype[Any], name: str) -> tuple[AnyArray, str]:
    """``array`` as ``dtype`` if its values allow it, and a note on what was changed ('' for nothing)."""
    if array.dtype == dtype:
        return array, ""
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: dtype {array.dtype}, expected {dtype}")
    with np.errstate(all="ignore"):
        converted = array.astype(dtype)
        if dtype.kind != "f" and not np.array_equal(converted, array):
            raise InputError(f"{name}: dtype {array.dtype} with values that {dtype} does not hold")
    return converted, f"{name}: {array.dtype} converted to {dtype}"


def read_lengths(text: str) -> NDArray[np.int32]:
    """Lengths given as ``3,5,2`` or as the name of an array file."""
    parts = text.split(",")
    if all(p.strip().isdecimal() for p in parts):
        return np.array([int(p) for p in parts], dtype=np.int32)
    lengths, _ = as_dtype(read_array(Path(text)).ravel(), np.dtype(np.int32), "--lengths")
    return lengths


# -- writing ----------------------------------------------------------------------------------------


def write_outputs(path: Path, outputs: dict[str, AnyArray]) -> None:
    """Write outputs by name: .npz takes any number, .npy one, .csv one that is a table.

    The file appears whole or not at all.

    Raises:
        InputError: the file type cannot hold them.
    """
    content = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(content, **outputs)  # type: ignore[arg-type]  # numpy's stub takes the names for its flag
    elif path.suffix not in (".npy", ".csv"):
        raise InputError(f"{path}: unknown array file type {path.suffix!r}; known: .npy, .npz, .csv")
    elif len(outputs) != 1:
        raise InputError(f"{path}: the model has {len(outputs)} outputs; use a .npz file")
    else:
        (array,) = outputs.values()
        if path.suffix == ".npy":
            np.save(content, array)
        else:
            np.savetxt(content, _as_table(path, array), delimiter=",", fmt="%.9g")  # 9 digits hold any float32
    write_atomically(path, content.getvalue())


def _as_table(path: Path, array: AnyArray) -> AnyArray:
    table = array[0] if array.ndim == 3 and array.shape[0] == 1 else array
    if table.ndim > 2:
        raise InputError(f"{path}: an output of shape {array.shape} is no table; use .npy")
    return np.atleast_2d(table)
