"""Which framework wrote a model file, by its content first and its name second."""

from __future__ import annotations

import os
import re
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

from lstm_rt.errors import ConvertError
from lstm_rt.files import open_regular

from .weights.torch_files import looks_like_torch

KNOWN = ("keras", "torch")
_KNOWN_TEXT = (
    "known are Keras (.keras, .h5, .hdf5), PyTorch (.pt, .pth, .bin, .ckpt, .safetensors) "
    "and GuitarML (.json) files; --from torch or --from keras overrides the guess"
)
SUFFIXES = {
    **dict.fromkeys((".keras", ".h5", ".hdf5"), "keras"),
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pt2", ".json"), "torch"),
}
_HEAD = 1 << 16  #: bytes in which a JSON file shows whose it is
#: What the JSON of a Keras model's architecture (``model.to_json()``) has at its top.
_KERAS_JSON = (rb'"class_name"\s*:\s*"', rb'"config"\s*:\s*\{')
_NOT_YET = {
    ".onnx": "an ONNX file",
    ".tflite": "a TensorFlow Lite file",
    ".pb": "a TensorFlow SavedModel",
    ".lrt": "a converted model already",
}


def detect(path: Path) -> str:
    """``"keras"`` or ``"torch"``.

    Raises:
        ConvertError: neither; the message lists what is known.
    """
    if path.is_dir():
        what = "a TensorFlow SavedModel folder" if (path / "saved_model.pb").exists() else "a folder"
        raise ConvertError(f"{path}: {what} cannot be converted; {_KNOWN_TEXT}")
    with open_regular(path) as file:
        found = _by_content(file, path)
    found = found or SUFFIXES.get(path.suffix.lower())
    if found is None:
        what = _NOT_YET.get(path.suffix.lower(), "a file of unknown type")
        raise ConvertError(f"{path}: {what} cannot be converted; {_KNOWN_TEXT}")
    return found


def _by_content(file: BinaryIO, path: Path) -> str | None:
    head = file.read(_HEAD)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras"
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(file, path)
    if looks_like_torch(head):  # torch.save before version 1.6
        return "torch"
    if len(head) > 8 and head[8:9] == b"{":  # safetensors: length of a JSON header, then the header
        (length,) = struct.unpack("<Q", head[:8])
        return "torch" if 2 <= length <= os.fstat(file.fileno()).st_size - 8 else None
    if head.lstrip()[:1] == b"{" and all(re.search(mark, head) for mark in _KERAS_JSON):
        return "keras"
    return None


def _zip_kind(file: BinaryIO, path: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except Exception as e:  # zipfile has many ways to say that a file is broken
        raise ConvertError(f"{path}: the zip archive is damaged ({e})") from e
    if "config.json" in names:
        return "keras"
    # data.pkl: torch.save and TorchScript; the others: torch.export
    marks = ("data.pkl", "serialized_exported_program.json", "archive_format")
    suffixes = (".pth", ".pt", ".ckpt", ".bin")  # of torch.save files that somebody put into an archive
    return "torch" if any(n.rsplit("/", 1)[-1] in marks or n.lower().endswith(suffixes) for n in names) else None
