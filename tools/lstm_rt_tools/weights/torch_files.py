"""Reads what ``torch.save`` wrote, without torch: zip archives (torch >= 1.6) and legacy streams.

The answer is the saved object with tensors as :class:`~.tensors.FileTensor` and objects of unknown
classes as :class:`~.safe_pickle.Inert`. Of TorchScript archives the weights are read, never the
code. Nothing in the file is executed or imported.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Sequence
from sys import getsizeof
from typing import Any

from lstm_rt.errors import ConvertError

from ..names import listed, shown
from .budget import Budget
from .quantized import weight_of_quantized
from .safe_pickle import Global, Inert, SafePickle
from .tensors import FLOATS, FileTensor, Storage, unread
from .zip_archive import ZIP_MAGIC, ZipArchive

#: The number that legacy files begin with, pickled by the protocols 2 to 5; torch.save uses 2 unless told.
_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_FRAME = b"\x95\x0d\0\0\0\0\0\0\0"
LEGACY_MAGIC = b"\x80\x02" + _MAGIC
_LEGACY = (LEGACY_MAGIC, b"\x80\x03" + _MAGIC, b"\x80\x04" + _FRAME + _MAGIC, b"\x80\x05" + _FRAME + _MAGIC)
#: What shows that a file is a legacy one, even if the rest of the number is damaged.
_LEGACY_STARTS = tuple(magic[:4] for magic in _LEGACY[:2]) + tuple(magic[:8] for magic in _LEGACY[2:])
_LEGACY_PROTOCOL = 1001
_MAX_DEPTH = 64  #: of modules in modules
_TENSOR_STEPS, _BYTES_PER_STEP = 200, 5  #: to read a tensor that brings a file of its own
_MAX_DIMS = 64  #: of tensors in torch
_NAME = 200  #: bytes that a name takes in a dictionary
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
    "QInt8": "qint8",
    "QUInt8": "quint8",
    "QInt32": "qint32",
    "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4",
}
#: Names of the files that people put into a zip archive of their own.
_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin")
#: ``state_dict()`` of every optimizer has these and no others.
_OPTIMIZER = frozenset({"state", "param_groups"})


def looks_like_torch(head: bytes) -> bool:
    """Whether a file that starts with ``head`` may come from ``torch.save``."""
    return head.startswith((ZIP_MAGIC, *_LEGACY_STARTS))


def is_torch_archive(entries: Sequence[str]) -> bool:
    """Whether a zip archive with these entries is one of torch's, or holds files of ``torch.save``."""
    return bool(_roots(entries)) or is_exported_archive(entries) or any(n.lower().endswith(_SUFFIXES) for n in entries)


def read_torch(data: bytes, what: str, budget: Budget | None = None) -> Any:
    """The object saved in ``data``.

    Of a zip archive around several such files (stable-baselines3 writes them) the answer is a
    dictionary of their objects, by their names without the suffix and without the states of
    optimizers; of an archive around one file it is that file's object.

    Args:
        data: the whole file.
        what: its name, for messages.
        budget: what reading it may cost; by default what its size allows.

    Raises:
        ConvertError: not a torch file, truncated, damaged, a torch.export archive, or one that asks
            for more than its budget.
    """
    budget = budget or Budget(len(data), what)
    if data.startswith(ZIP_MAGIC):
        return _read_zip(ZipArchive(data, what, budget), what, budget)
    return _read_legacy(data, what, budget)


def _legacy_magic(data: bytes, what: str) -> bytes:
    """The magic number that a legacy file begins with."""
    for magic in _LEGACY:
        if data.startswith(magic):
            return magic
    if data.startswith(_LEGACY_STARTS):
        raise ConvertError(f"{what}: starts like a legacy torch file but its magic number is damaged")
    raise ConvertError(f"{what}: not a torch.save file (neither a zip archive nor the legacy magic number)")


# -- storages and tensors ----------------------------------------------------------------------


class _Storages:
    """The storages named in a pickle, one :class:`Storage` per key."""

    def __init__(self, what: str, budget: Budget) -> None:
        self.what = what
        self.budget = budget
        self.by_key: dict[str, Storage] = {}

    def persistent(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or not pid:
            raise ConvertError(f"{self.what}: unexpected persistent id of type {type(pid).__name__}")
        if pid[0] == "module" and len(pid) >= 2:
            return pid[1]  # legacy files wrap the class of a module with its source; the source is left alone
        if pid[0] != "storage" or len(pid) not in (5, 6):
            raise ConvertError(f"{self.what}: unexpected persistent id, expected a storage")
        _, kind, key, _location, numel = pid[:5]  # the location (cpu, cuda:0) does not matter here
        if not (isinstance(key, str) or _is_size(key)) or not _is_size(numel):
            raise ConvertError(f"{self.what}: a storage without a proper name and size")
        storage = self._storage(str(key), _storage_dtype(kind, self.what), numel)
        view = pid[5] if len(pid) == 6 else None
        return storage if view is None else _legacy_view(storage, view, self.what)

    def _storage(self, key: str, dtype: str, numel: int) -> Storage:
        found = self.by_key.setdefault(key, Storage(key, dtype, numel, budget=self.budget))
        if found.dtype != dtype:
            raise ConvertError(f"{self.what}: storage {shown(key)} is named as {found.dtype} and as {dtype}")
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
    if not isinstance(kind, Global):
        raise ConvertError(f"{what}: a storage of type {type(kind).__name__}, expected one of torch's")
    # A type that we do not know may belong to something beside the weights: it stops who asks for it.
    return _STORAGE_DTYPES.get(kind.name.removesuffix("Storage"), shown(str(kind)))


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _ints(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or len(value) > _MAX_DIMS:
        raise ValueError(f"a shape or stride that is not a tuple of at most {_MAX_DIMS} integers")
    if not all(type(v) is int and abs(v) < 1 << 63 for v in value):
        raise ValueError("a shape, stride or offset that is not of integers")
    return tuple(value)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> FileTensor:
    (offset,) = _ints((offset,))
    if isinstance(storage, _StorageView):
        storage, offset = storage.base, offset + storage.offset
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return FileTensor(storage, offset, _ints(size), _ints(stride))


def _tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any = None, _hooks: Any = None, metadata: Any = None,
    *more: Any,
) -> FileTensor:  # fmt: skip
    """With the bits of views that torch has not carried out yet: ``{"neg": True}``, ``{"conj": True}``."""
    plain = _tensor(storage, offset, size, stride)
    bits = {} if metadata is None else metadata
    known = isinstance(bits, dict) and bits.keys() <= {"neg", "conj"} and all(type(v) is bool for v in bits.values())
    if more or not known or bits.get("conj"):
        return unread(f"{plain.dtype} with metadata that is not known", plain.shape, plain.stride)
    plain.negative = bool(bits.get("neg"))
    return plain


def _tensor_v3(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> FileTensor:
    """Of a type that is too new for a storage of its own: float8 and others that we do not read."""
    dtype = rest[2] if len(rest) > 2 else None
    name = dtype.name if isinstance(dtype, Global) else "unknown"
    return unread(f"untyped {name}" if name in FLOATS else name, _ints(size), _ints(stride))


def _quantized(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> FileTensor:
    plain = _tensor(storage, offset, size, stride)
    return unread(plain.dtype if plain.dtype not in FLOATS else "quantized", plain.shape, plain.stride)


def _parameter(data: Any, *_: Any) -> FileTensor:
    if isinstance(data, Inert):
        return unread(str(data.cls))
    if not isinstance(data, FileTensor):
        raise ValueError("a parameter that does not wrap a tensor")
    return data


def _of_subclass(function: Any = None, _type: Any = None, args: Any = (), *_: Any) -> Any:
    """A tensor of a subclass: the call that makes the plain one."""
    build = _TENSOR_CALLS.get(str(function)) if isinstance(function, Global) else None
    if build is None or not isinstance(args, tuple):
        return unread(str(function) if isinstance(function, Global) else "a tensor that is not known")
    return build(*args)


def _unread(kind: str) -> Callable[..., FileTensor]:
    return lambda *_: unread(kind)


_TENSOR_CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    # Tensors all the same: were they objects of another kind, a layer with such a bias would be one without.
    **{
        f"torch._utils._rebuild_{name}": _unread(f"torch._utils._rebuild_{name}")
        for name in (
            "device_tensor_from_cpu_tensor", "device_tensor_from_numpy", "meta_tensor_no_storage", "nested_tensor",
            "sparse_csr_tensor", "sparse_tensor", "wrapper_subclass", "xla_tensor",
        )
    },
}  # fmt: skip
_TORCH_CALLS: dict[str, Callable[..., Any]] = {
    **_TENSOR_CALLS,
    "torch._tensor._rebuild_from_type": _of_subclass,
    "torch._tensor._rebuild_from_type_v2": _of_subclass,
    # TorchScript archives mark the types of lists.
    **dict.fromkeys(
        [f"torch.jit._pickle.{n}" for n in ("restore_type_tag", "build_intlist", "build_tensorlist")]
        + [f"torch.jit._pickle.build_{n}list" for n in ("double", "bool")],
        lambda value, *_: value,
    ),
    # An attribute of modules pickled before torch 1.3; nothing in it is needed.
    "torch.nn.backends.thnn._get_thnn_function_backend": lambda *_: None,
}
#: How pickles of Python 2 begin: a class by its name, or a table or list with its place in the memo.
_TEXT_PICKLE = re.compile(rb"c[a-z_][\w.]*\n\w+\n|\([dl]p\d+\n|[}\]]q\0")


def looks_like_pickle(head: bytes) -> bool:
    """Whether a file that starts with ``head`` may be a pickle that is none of ``torch.save``."""
    binary = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return (binary or _TEXT_PICKLE.match(head) is not None) and not looks_like_torch(head)


def read_pickle(data: bytes, what: str, budget: Budget) -> Any:
    """What ``pickle.dump`` wrote into ``data``: arrays of NumPy, or tensors, each with a torch file of its own.

    Raises:
        ConvertError: damaged, or more is asked for than the budget allows.
    """

    def storage(inner: Any = None, *_: Any) -> Any:
        if not isinstance(inner, bytes):
            raise ValueError("a tensor whose numbers are no bytes")
        budget.steps(_TENSOR_STEPS + len(inner) // _BYTES_PER_STEP)  # one text may be that of many tensors
        return read_torch(inner, what, budget)

    calls = {**_TORCH_CALLS, "torch.storage._load_from_bytes": storage}
    return SafePickle(what, io.BytesIO(data), budget, calls).load()


def _unpickle(stream: io.BytesIO, what: str, storages: _Storages) -> Any:
    return SafePickle(what, stream, storages.budget, _TORCH_CALLS, storages.persistent).load()


# -- zip archives ------------------------------------------------------------------------------


def _read_zip(archive: ZipArchive, what: str, budget: Budget) -> Any:
    _refuse_export(archive.names, what)
    roots = _roots(archive.names)
    if not roots:
        return _read_several(archive, what, budget)
    if len(roots) > 1:
        raise ConvertError(f"{what}: a zip archive with {len(roots)} data.pkl, expected one as torch.save writes")
    return TorchZip(archive, roots[0], what, budget).load("data")


class TorchZip:
    """An archive of torch's: its pickles, each with a folder of the numbers in it.

    Args:
        archive: the entries.
        root: the folder that all of them are in, with its slash; may be empty.
        what: its name, for messages.
        budget: of the file.
    """

    def __init__(self, archive: ZipArchive, root: str, what: str, budget: Budget) -> None:
        self.archive, self.root, self.what, self.budget = archive, root, what, budget

    def __contains__(self, name: str) -> bool:
        return f"{self.root}{name}" in self.archive

    def read(self, name: str) -> memoryview:
        """The bytes of an entry; errors as of :meth:`ZipArchive.read`."""
        return self.archive.read(f"{self.root}{name}")

    def load(self, name: str, numbers: bool = True) -> Any:
        """The object in ``<name>.pkl``, its tensors filled from the folder ``<name>``.

        Args:
            numbers: without them tensors have a shape and a type alone.

        Raises:
            ConvertError: missing or damaged.
        """
        storages = _Storages(self.what, self.budget)
        tree = _unpickle(io.BytesIO(self.read(f"{name}.pkl")), self.what, storages)
        if not numbers:
            return tree
        order = bytes(self.read("byteorder")[:16] if "byteorder" in self else b"").strip()
        if order not in (b"", b"little", b"big"):
            raise ConvertError(f"{self.what}: unknown byte order {order!r}")
        for key, storage in storages.by_key.items():
            storage.fill(self.read(f"{name}/{key}"), order == b"big", self.what)
        return tree


def _read_several(archive: ZipArchive, what: str, budget: Budget) -> Any:
    """The objects of the torch files in an archive that is none itself."""
    trees: dict[str, Any] = {}
    for name in archive.names:
        stem, dot, suffix = name.rpartition(".")
        if dot + suffix.lower() not in _SUFFIXES:
            continue
        data, inner = bytes(archive.read(name)), f"{what}/{shown(name)}"
        if not looks_like_torch(data):
            continue  # notes that an operating system leaves beside a file
        if data.startswith(ZIP_MAGIC):
            entries = ZipArchive(data, inner, budget)
            if not _roots(entries.names):
                raise ConvertError(f"{inner}: an archive in an archive that torch.save did not write; take it out")
            tree = _read_zip(entries, inner, budget)
        else:
            tree = _read_legacy(data, inner, budget)
        if not (isinstance(tree, dict) and tree.keys() == _OPTIMIZER):
            trees[stem] = tree
    if not trees:
        raise ConvertError(
            f"{what}: a zip archive without a data.pkl, as torch.save writes it, and without .pth files that hold "
            f"a model; it has {listed(archive.names)}"
        )
    return next(iter(trees.values())) if len(trees) == 1 else trees


def _roots(names: Sequence[str]) -> list[str]:
    """The folders with a pickle of torch.save in them, each with its slash; one as a rule."""
    return [n.removesuffix("data.pkl") for n in names if n.rpartition("/")[2] == "data.pkl"]


def is_exported_archive(names: Sequence[str]) -> bool:
    """Whether a zip archive with these entries is one of torch.export's (``.pt2``): it holds a graph."""
    return any(n.rpartition("/")[2] in ("archive_format", "serialized_exported_program.json") for n in names)


def is_script_archive(names: Sequence[str]) -> bool:
    """Whether a zip archive with these entries is one of TorchScript's: it holds code."""
    has_code = any(n.endswith(".py") and "code/" in n for n in names)
    return has_code and any(n.rpartition("/")[2] == "constants.pkl" for n in names)


def _refuse_export(names: Sequence[str], what: str) -> None:
    if is_exported_archive(names):
        raise ConvertError(f"{what}: a torch.export archive (.pt2), which holds its own graph: it takes no arch file")


# -- legacy streams ----------------------------------------------------------------------------


def _read_legacy(data: bytes, what: str, budget: Budget) -> Any:
    stream = io.BytesIO(data)
    stream.seek(len(_legacy_magic(data, what)))
    storages = _Storages(what, budget)
    protocol = SafePickle(what, stream, budget).load()
    if protocol != _LEGACY_PROTOCOL:
        raise ConvertError(f"{what}: another legacy protocol than {_LEGACY_PROTOCOL}, the only one there was")
    system = SafePickle(what, stream, budget).load()
    tree = _unpickle(stream, what, storages)
    keys = SafePickle(what, stream, budget).load()
    if not isinstance(keys, list):
        raise ConvertError(f"{what}: the list of storages is missing")
    little = not isinstance(system, dict) or system.get("little_endian", True) is not False
    _fill_legacy(data, stream.tell(), keys, storages, "<" if little else ">", what)
    return tree


def _fill_legacy(data: bytes, at: int, keys: list[Any], storages: _Storages, order: str, what: str) -> None:
    view = memoryview(data)
    for key in keys:
        storage = storages.by_key.get(str(key)) if isinstance(key, str) or _is_size(key) else None
        if storage is None:
            raise ConvertError(f"{what}: the file lists a storage that no tensor uses")
        if len(data) - at < 8:
            raise ConvertError(f"{what}: truncated: storage {shown(storage.key)} starts behind the end of the file")
        (numel,) = struct.unpack_from(order + "q", data, at)
        at += 8
        if numel != storage.numel:
            raise ConvertError(f"{what}: storage {shown(storage.key)} has {numel} numbers, expected {storage.numel}")
        size = storage.nbytes
        if size is None:  # where the next one starts is not known
            raise ConvertError(f"{what}: storage type {storage.dtype} is not supported in a legacy file")
        if size > len(data) - at:
            raise ConvertError(
                f"{what}: truncated: storage {shown(storage.key)} needs {size} bytes, {len(data) - at} are left"
            )
        storage.fill(view[at : at + size], order == ">", what)
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


def script_tensors(module: Inert, budget: Budget | None = None) -> dict[str, FileTensor]:
    """The state dict of a TorchScript module; the time and memory it takes are charged to ``budget``."""
    out: dict[str, FileTensor] = {}
    _collect(module, lambda m: [m.attrs], lambda m: m.attrs, is_script, budget or Budget(), out)
    return out


def module_tensors(module: Inert, budget: Budget | None = None) -> dict[str, FileTensor]:
    """The state dict of an inert module: its own tensors and those of its submodules."""

    def tables(m: Inert) -> list[dict[Any, Any]]:
        return [table_of(m, "_parameters"), table_of(m, "_buffers")]

    out: dict[str, FileTensor] = {}
    _collect(module, tables, lambda m: table_of(m, "_modules"), is_module, budget or Budget(), out)
    return out


def _collect(
    module: Inert,
    tables: Callable[[Inert], list[dict[Any, Any]]],
    children: Callable[[Inert], dict[Any, Any]],
    is_child: Callable[[Any], bool],
    budget: Budget,
    out: dict[str, FileTensor],
    prefix: str = "",
) -> None:
    """Put the tensors of a module and of those below into ``out``, by their dotted names."""
    if prefix.count(".") > _MAX_DEPTH:
        raise ConvertError(f"{budget.what}: the modules are nested too deeply")
    # A module that several others share is gone through for each: it has a name in each.
    budget.steps(2 + len(prefix) // 100)
    if weight := weight_of_quantized(str(module.cls)):
        out[f"{prefix}{weight}"] = unread("quantized")
    for table in tables(module):
        for name, tensor in table.items():
            if isinstance(tensor, FileTensor):
                budget.memory(_NAME + getsizeof(prefix) + getsizeof(name))
                out[f"{prefix}{name}"] = tensor
    for name, child in children(module).items():
        if is_child(child):
            _collect(child, tables, children, is_child, budget, out, f"{prefix}{name}.")
