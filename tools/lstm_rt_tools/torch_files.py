"""Reads what ``torch.save`` wrote, without torch: zip archives (torch >= 1.6) and legacy streams.

The answer is the saved object with tensors as :class:`~.tensors.FileTensor` and objects of unknown
classes as :class:`~.safe_pickle.Inert`. Of TorchScript archives the weights are read, never the
code. Nothing in the file is executed or imported.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from lstm_rt.errors import ConvertError

from .safe_pickle import Global, Inert, SafePickle
from .tensors import ITEM_SIZE, FileTensor, Storage

LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_LEGACY_PROTOCOL = 1001
#: What Python's zipfile raises on damaged archives.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    ValueError,
    OSError,
    OverflowError,
    struct.error,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
)
_STORAGE_DTYPES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "Untyped": "uint8",
}


def looks_like_torch(head: bytes) -> bool:
    """Whether a file that starts with ``head`` may come from ``torch.save``."""
    return head.startswith((b"PK\x03\x04", LEGACY_MAGIC[:4]))


def read_torch(data: bytes, what: str) -> Any:
    """The object saved in ``data``.

    Args:
        data: the whole file.
        what: its name, for messages.

    Raises:
        ConvertError: not a torch file, truncated, damaged, a torch.export archive,
            or a pickle that wants to call something unknown.
    """
    if data.startswith(b"PK\x03\x04"):
        return _read_zip(data, what)
    if data.startswith(LEGACY_MAGIC):
        return _read_legacy(data, what)
    if data.startswith(LEGACY_MAGIC[:4]):
        raise ConvertError(f"{what}: starts like a legacy torch file but its magic number is damaged")
    raise ConvertError(f"{what}: not a torch.save file (neither a zip archive nor the legacy magic number)")


# -- storages and tensors ----------------------------------------------------------------------


class _Storages:
    """The storages named in a pickle, one :class:`Storage` per key."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.by_key: dict[str, Storage] = {}

    def persistent(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or not pid:
            raise ConvertError(f"{self.what}: unexpected persistent id of type {type(pid).__name__}")
        if pid[0] == "module" and len(pid) >= 2:
            return pid[1]  # legacy files wrap the class of a module with its source; the source is left alone
        if pid[0] != "storage" or len(pid) not in (5, 6):
            raise ConvertError(f"{self.what}: unexpected persistent id, expected a storage")
        _, kind, key, _location, numel = pid[:5]  # the location (cpu, cuda:0) does not matter here
        if not isinstance(key, str | int) or not isinstance(numel, int) or numel < 0:
            raise ConvertError(f"{self.what}: a storage without a proper name and size")
        storage = self._storage(str(key), _storage_dtype(kind, self.what), numel)
        view = pid[5] if len(pid) == 6 else None
        return storage if view is None else _legacy_view(storage, view, self.what)

    def _storage(self, key: str, dtype: str, numel: int) -> Storage:
        found = self.by_key.setdefault(key, Storage(key, dtype, numel))
        if found.dtype != dtype:
            raise ConvertError(f"{self.what}: storage {key!r} is named as {found.dtype} and as {dtype}")
        found.numel = max(found.numel, numel)
        return found


class _StorageView:
    """Very old torch could save a part of a storage as a storage of its own."""

    def __init__(self, base: Storage, offset: int) -> None:
        self.base, self.offset = base, offset


def _legacy_view(storage: Storage, view: Any, what: str) -> _StorageView:
    if not (isinstance(view, tuple) and len(view) == 3 and all(isinstance(v, int) for v in view[1:])):
        raise ConvertError(f"{what}: damaged storage view")
    return _StorageView(storage, view[1])


def _storage_dtype(kind: Any, what: str) -> str:
    name = str(kind) if isinstance(kind, Global) else type(kind).__name__
    if isinstance(kind, Global) and kind.module in ("torch", "torch.storage", "torch.cuda"):
        dtype = _STORAGE_DTYPES.get(kind.name.removesuffix("Storage"))
        if dtype is not None and kind.name.endswith("Storage"):
            return dtype
    raise ConvertError(f"{what}: storage type {name} is not supported; save the weights as float32")


def _ints(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(type(v) is int for v in value):
        raise ValueError("a shape or stride that is not a tuple of integers")
    return tuple(value)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> FileTensor:
    if type(offset) is not int:
        raise ValueError("a tensor offset that is not an integer")
    if isinstance(storage, _StorageView):
        storage, offset = storage.base, offset + storage.offset
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return FileTensor(storage, offset, _ints(size), _ints(stride))


def _parameter(data: Any, *_: Any) -> FileTensor:
    if not isinstance(data, FileTensor):
        raise ValueError("a parameter that does not wrap a tensor")
    return data


def _quantised(*_: Any) -> Any:
    raise ConvertError("the file holds quantised tensors; convert the float model and use lstm-rt quantize")


_TORCH_CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch.nn.parameter.Parameter": _parameter,
    # TorchScript archives mark the types of lists.
    **dict.fromkeys(
        [f"torch.jit._pickle.{n}" for n in ("restore_type_tag", "build_intlist", "build_tensorlist")]
        + [f"torch.jit._pickle.build_{n}list" for n in ("double", "bool")],
        lambda value, *_: value,
    ),
    # An attribute of modules pickled before torch 1.3; nothing in it is needed.
    "torch.nn.backends.thnn._get_thnn_function_backend": lambda *_: None,
}


def _unpickle(stream: io.BytesIO, what: str, storages: _Storages) -> Any:
    return SafePickle(what, stream, _TORCH_CALLS, storages.persistent).load()


# -- zip archives ------------------------------------------------------------------------------


def _read_zip(data: bytes, what: str) -> Any:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _ZIP_ERRORS as e:
        raise ConvertError(f"{what}: damaged or truncated zip archive ({e})") from None
    with archive:
        root = _archive_root(archive, len(data), what)
        storages = _Storages(what)
        tree = _unpickle(io.BytesIO(_entry(archive, f"{root}data.pkl", what)), what, storages)
        order = _optional_entry(archive, f"{root}byteorder", what).strip()
        if order not in (b"", b"little", b"big"):
            raise ConvertError(f"{what}: unknown byte order {order[:16]!r}")
        for key, storage in storages.by_key.items():
            storage.data = _entry(archive, f"{root}data/{key}", what)
            storage.big_endian = order == b"big"
            _check_length(storage, what)
    return tree


def _archive_root(archive: zipfile.ZipFile, size: int, what: str) -> str:
    names = archive.namelist()
    _refuse_export(names, what)
    # torch stores what we read without compression, so a bomb shows as entries larger than the file.
    if sum(i.file_size for i in archive.infolist() if i.compress_type == zipfile.ZIP_STORED) > size:
        raise ConvertError(f"{what}: the zip entries claim to be larger than the file")
    roots = [n[: -len("data.pkl")] for n in names if n == "data.pkl" or n.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ConvertError(
            f"{what}: a zip archive with {len(roots)} data.pkl, expected one as torch.save writes"
        )
    return roots[0]


def _refuse_export(names: list[str], what: str) -> None:
    if any(n.endswith(("archive_format", "serialized_exported_program.json")) for n in names):
        raise ConvertError(
            f"{what}: a torch.export archive (.pt2), which is not supported yet: convert the live module "
            "with from_torch(module, example), or save its state dict and use an arch file"
        )


def _entry(archive: zipfile.ZipFile, name: str, what: str) -> bytes:
    try:
        if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
            raise ConvertError(f"{what}: {name} is compressed; torch.save stores without compression")
        return archive.read(name)
    except ConvertError:
        raise
    except KeyError:
        raise ConvertError(f"{what}: {name} is missing from the archive") from None
    except _ZIP_ERRORS as e:
        raise ConvertError(f"{what}: {name} in the archive is damaged ({e})") from None


def _optional_entry(archive: zipfile.ZipFile, name: str, what: str) -> bytes:
    return _entry(archive, name, what) if name in archive.namelist() else b""


def _check_length(storage: Storage, what: str) -> None:
    expected = storage.numel * ITEM_SIZE[storage.dtype]
    found = len(storage.data or b"")
    if found != expected:
        raise ConvertError(
            f"{what}: storage {storage.key!r} has {found} bytes, expected {expected} "
            f"({storage.numel} {storage.dtype})"
        )


# -- legacy streams ----------------------------------------------------------------------------


def _read_legacy(data: bytes, what: str) -> Any:
    stream = io.BytesIO(data)
    stream.seek(len(LEGACY_MAGIC))
    storages = _Storages(what)
    protocol = SafePickle(what, stream).load()
    if protocol != _LEGACY_PROTOCOL:
        raise ConvertError(f"{what}: legacy protocol {protocol!r}, expected {_LEGACY_PROTOCOL}")
    system = SafePickle(what, stream).load()
    tree = _unpickle(stream, what, storages)
    keys = SafePickle(what, stream).load()
    if not isinstance(keys, list):
        raise ConvertError(f"{what}: the list of storages is missing")
    little = not isinstance(system, dict) or system.get("little_endian", True) is not False
    _fill_legacy(data, stream.tell(), keys, storages, "<" if little else ">", what)
    return tree


def _fill_legacy(data: bytes, at: int, keys: list[Any], storages: _Storages, order: str, what: str) -> None:
    view = memoryview(data)
    for key in keys:
        storage = storages.by_key.get(str(key)) if isinstance(key, str | int) else None
        if storage is None:
            raise ConvertError(f"{what}: the file lists a storage that no tensor uses")
        if len(data) - at < 8:
            raise ConvertError(f"{what}: truncated: storage {key!r} starts behind the end of the file")
        (numel,) = struct.unpack_from(order + "q", data, at)
        at += 8
        if numel != storage.numel:
            raise ConvertError(f"{what}: storage {key!r} has {numel} numbers, expected {storage.numel}")
        size = numel * ITEM_SIZE[storage.dtype]
        if size > len(data) - at:
            raise ConvertError(
                f"{what}: truncated: storage {key!r} needs {size} bytes, {len(data) - at} are left"
            )
        storage.data, storage.big_endian = view[at : at + size], order == ">"
        at += size
    missing = [k for k, s in storages.by_key.items() if s.data is None]
    if missing:
        raise ConvertError(f"{what}: the data of {len(missing)} storages is missing")


# -- whole modules -----------------------------------------------------------------------------


def is_module(obj: Any) -> bool:
    """Whether a loaded object is a pickled ``torch.nn.Module`` (as an inert record)."""
    return isinstance(obj, Inert) and {"_modules", "_parameters"} <= obj.attrs.keys()


def table_of(module: Inert, name: str) -> dict[Any, Any]:
    """One of the tables of an inert module (``_modules``, ``_parameters``, ``_buffers``)."""
    table = module.attrs.get(name)
    return table if isinstance(table, dict) else {}


def is_script(obj: Any) -> bool:
    """Whether a loaded object is a TorchScript module: its attributes are tensors and submodules."""
    return isinstance(obj, Inert) and (obj.cls.module + ".").startswith("__torch__.")


def script_tensors(module: Inert, prefix: str = "", depth: int = 0) -> dict[str, FileTensor]:
    """The state dict of a TorchScript module."""
    if depth > 64:
        raise ConvertError("the scripted modules are nested too deeply")
    out: dict[str, FileTensor] = {}
    for name, value in module.attrs.items():
        if isinstance(value, FileTensor):
            out[f"{prefix}{name}"] = value
        elif is_script(value):
            out.update(script_tensors(value, f"{prefix}{name}.", depth + 1))
    return out


def module_tensors(module: Inert, prefix: str = "", depth: int = 0) -> dict[str, FileTensor]:
    """The state dict of an inert module: its own tensors and those of its submodules."""
    if depth > 64:
        raise ConvertError("the pickled modules are nested too deeply")
    out: dict[str, FileTensor] = {}
    for table in ("_parameters", "_buffers"):
        for name, tensor in table_of(module, table).items():
            if isinstance(tensor, FileTensor):
                out[f"{prefix}{name}"] = tensor
    for name, child in table_of(module, "_modules").items():
        if is_module(child):
            out.update(module_tensors(child, f"{prefix}{name}.", depth + 1))
    return out
