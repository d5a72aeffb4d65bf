"""The kinds of model files that can be converted: a row for each (``CONTRIBUTING.md``: how to add a reader)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lstm_rt.errors import ConvertError
from lstm_rt.format import MAGIC
from lstm_rt.graph import Graph

from .json_reader.nam import looks_like_nam
from .json_reader.rtneural import looks_like_rtneural
from .json_reader.segmenter import looks_like_segmenter
from .onnx_reader.proto import looks_like_onnx
from .row import SAVED_MODEL, Glance, Options, ReaderModule, Rerun, Row, glance
from .weights.guitarml_json import looks_like_guitarml
from .weights.hdf5_child import HDF5_MAGIC
from .weights.npz_file import is_npz
from .weights.safetensors_file import looks_like_safetensors
from .weights.torch_files import is_torch_archive, looks_like_pickle, looks_like_torch
from .weights.zip_archive import ZIP_MAGIC

#: What the JSON of a Keras model's architecture (``model.to_json()``) has at its top.
_KERAS_JSON = (rb'"class_name"\s*:\s*"', rb'"config"\s*:\s*\{')


def _is_keras(seen: Glance) -> bool:
    json = seen.head.lstrip()[:1] == b"{" and all(re.search(mark, seen.head) for mark in _KERAS_JSON)
    return seen.head.startswith(HDF5_MAGIC) or "config.json" in seen.entries or json


def _is_npz(seen: Glance) -> bool:
    return seen.head.startswith(ZIP_MAGIC) and is_npz(seen.entries)


def _is_torch(seen: Glance) -> bool:
    return is_torch_archive(seen.entries) if seen.head.startswith(ZIP_MAGIC) else looks_like_torch(seen.head)


# Readers, and the libraries that they need, load when a file is read.


def _keras() -> ReaderModule:
    from .keras_reader import reader

    return reader


def _torch() -> ReaderModule:
    from .torch_reader import reader

    return reader


def _tensorflow() -> ReaderModule:
    from .tensorflow_reader import reader

    return reader


def _onnx() -> ReaderModule:
    from .onnx_reader import reader

    return reader


def _json() -> ReaderModule:
    from .json_reader import reader

    return reader


_ARCH = frozenset({"arch"})
_PARTS = _ARCH | {"part"}
#: What comes first recognises first.
READERS = (
    Row("Keras", "keras", (".keras", ".h5", ".hdf5"), _is_keras, _keras, _ARCH),
    Row("PyTorch", "torch", (".pt", ".pth", ".bin", ".ckpt", ".pt2"), _is_torch, _torch, _PARTS | {"settings"}),
    Row("safetensors", "torch", (".safetensors",), lambda seen: looks_like_safetensors(seen.head), _torch, _PARTS),
    Row("pickle", "torch", (".pkl", ".pickle"), lambda seen: looks_like_pickle(seen.head), _torch, _PARTS),
    Row("NumPy", "torch", (".npz",), _is_npz, _torch, _PARTS),
    Row("ONNX", "onnx", (".onnx",), lambda seen: looks_like_onnx(seen.head), _onnx, frozenset({"settings"})),
    Row("TensorFlow", "tensorflow", (), lambda seen: False, _tensorflow, frozenset({"settings"})),
    Row("RTNeural", "rtneural", (".aidax",), lambda seen: looks_like_rtneural(seen.head), _json),
    Row("Neural Amp Modeler", "nam", (".nam",), lambda seen: looks_like_nam(seen.head), _json),
    Row("ICU word segmenter", "icu", (), lambda seen: looks_like_segmenter(seen.head), _json),
    Row("GuitarML", "torch", (".json",), lambda seen: looks_like_guitarml(seen.head), _torch, _PARTS),
)
#: What ``--from`` takes.
FRAMEWORKS = tuple(dict.fromkeys(row.framework for row in READERS))
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_LFS = b"version https://git-lfs.github.com/spec/"


def _is_html(head: bytes) -> bool:
    return head[:200].lstrip().lower().startswith((b"<!doctype html", b"<html"))


#: Kinds of files that are known and not read: by their bytes, where these tell, or by the end of their name.
_NOT_READ: tuple[tuple[str, str, Callable[[bytes], bool]], ...] = (
    ("an empty file", "", lambda head: not head),
    ("a pointer of Git LFS, in place of the file that git lfs pull fetches,", "", lambda head: head.startswith(_LFS)),
    ("a page of HTML, in place of the file that was to be downloaded,", "", _is_html),
    ("an .lrt file, a converted model already,", ".lrt", lambda head: head.startswith(MAGIC)),
    ("a TensorFlow Lite file", ".tflite", lambda head: head[4:8] == b"TFL3"),
    ("a frozen graph of TensorFlow's", ".pb", lambda head: False),
    ("a compressed file, to be unpacked first,", ".gz", lambda head: head.startswith(_COMPRESSED)),
    ("a tar archive, to be unpacked first,", ".tar", lambda head: head[257:262] == b"ustar"),
)


def find(path: Path, framework: str | None = None) -> Row:
    """The row of a file: by its content first, by its name second.

    Args:
        path: the file.
        framework: one of :data:`FRAMEWORKS`, of whose rows it must be one.

    Raises:
        ConvertError: none; the message lists what is known.
        OSError: the file is missing, cannot be read or is no regular file.
    """
    if is_saved_model(path):
        return _of_saved_model(path, framework)
    if path.is_dir():
        raise _unknown(path, "a folder")
    seen, suffix = glance(path), path.suffix.lower()
    rows = [row for row in READERS if framework in (None, row.framework)]
    by_content = next((row for row in rows if row.recognises(seen)), None)
    by_name = next((row for row in rows if suffix in row.suffixes), None)
    if framework is not None:
        return by_content or by_name or rows[0]  # the user knows better; the reader says what is wrong
    not_read = next((what for what, _, is_it in _NOT_READ if is_it(seen.head)), None)
    if found := by_content or (by_name if not_read is None else None):
        return found
    by_end = (what for what, end, _ in _NOT_READ if end and end == suffix)
    raise _unknown(path, not_read or next(by_end, "a file of unknown type"))


def _of_saved_model(path: Path, framework: str | None) -> Row:
    """Keras 2 describes its models in their folders; of others there is TensorFlow's graph alone."""
    from .keras_reader.saved_model import describes_model

    folder = path if path.is_dir() else path.parent
    keras = framework == "keras" or (framework != "tensorflow" and describes_model(folder))
    return next(row for row in READERS if row.framework == ("keras" if keras else "tensorflow"))


def is_saved_model(path: Path) -> bool:
    """Is it the folder of a SavedModel of TensorFlow's, or the file that makes it one?"""
    return path.is_file() if path.name == SAVED_MODEL else (path / SAVED_MODEL).is_file()


def recognised(path: Path) -> Row | None:
    """The row of a file by its content alone; None where no row knows it or it cannot be read."""
    if is_saved_model(path):
        return find(path)
    try:
        seen = glance(path)
    except (ConvertError, OSError):
        return None
    return next((row for row in READERS if row.recognises(seen)), None)


def _unknown(path: Path, what: str) -> ConvertError:
    kinds = [f"{row.name} ({', '.join(row.suffixes)})" if row.suffixes else row.name for row in READERS]
    return ConvertError(
        f"{path}: {what} cannot be converted; known are {', '.join(kinds[:-1])} and {kinds[-1]} files; "
        f"{' or '.join(f'--from {name}' for name in FRAMEWORKS)} overrides the guess"
    )


def read(path: Path, options: Options, framework: str | None = None) -> Graph:
    """The graph of a model file of any kind; errors as of :func:`find` and :meth:`.row.ReaderModule.read`."""
    row = find(path, framework)
    row.check(path, options)
    return row.module().read(path, options)


def rerun(path: Path, graph: Graph, options: Options, framework: str | None = None) -> Rerun:
    """The file that ``graph`` was converted from, run again; errors as of :func:`find` and ``rerun`` of the row."""
    row = find(path, framework)
    row.check(path, options)
    return row.module().rerun(path, graph, options)


def weights(path: Path, framework: str | None = None) -> list[dict[str, Any]]:
    """Names, shapes and dtypes of the weights in a file; none where its kind is not one of weights with names.

    Raises:
        ConvertError, OSError: as of :func:`find` and :meth:`.row.ReaderModule.read`.
    """
    row = find(path, framework)
    lists = getattr(row.module(), "weights", None)
    return lists(path) if lists is not None else []
