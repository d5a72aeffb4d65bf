"""``.pt2`` archives of torch.export: the graph as JSON and the weights, without torch.

Since torch 2.8 an archive has ``models/<name>.json`` and ``data/weights/``; before it had
``serialized_exported_program.json`` and ``serialized_state_dict.pt`` side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lstm_rt.errors import ConvertError

from ..names import listed, shown
from ..weights.budget import Budget
from ..weights.json_text import load_json
from ..weights.tensors import ITEM_SIZE, FileTensor, Storage
from ..weights.torch_files import read_torch
from ..weights.zip_archive import ZipArchive
from .dtypes import EXPORTED

_OLD = "serialized_exported_program.json"
_MAJORS = range(5, 9)  #: of the schema: torch 2.2 to the newest


class ExportedArchive:
    """What is in a ``.pt2`` file.

    Args:
        data: the whole file.
        what: its name, for messages.
        budget: of the file.

    Attributes:
        program: the JSON of the exported program.
        weights: parameters, buffers and constants, by their names.

    Raises:
        ConvertError: damaged, without a program or with several, or of an unknown version.
    """

    def __init__(self, data: bytes, what: str, budget: Budget) -> None:
        self.what, self.budget = what, budget
        self._archive = ZipArchive(data, what, budget)
        names = self._archive.names
        old = next((n for n in names if n.rpartition("/")[2] == _OLD), None)
        if old is not None:
            self._root = old.removesuffix(_OLD)
            self.program = self._json(old)
            self.weights = self._old_weights()
        else:
            self._root = next(n for n in names if n.endswith("archive_format")).removesuffix("archive_format")
            model = self._model(names)
            self.program = self._json(f"{self._root}models/{model}.json")
            self.weights = {**self._part("weights", model), **self._part("constants", model)}
        self._check_version()

    def _check_version(self) -> None:
        version = self.program.get("schema_version")
        major = version.get("major") if isinstance(version, dict) else None
        if major not in _MAJORS:
            raise ConvertError(
                f"{self.what}: torch.export's format {shown(str(major))}, known are {_MAJORS[0]} to {_MAJORS[-1]}; "
                "export the model again with a newer torch"
            )

    def _json(self, entry: str) -> Mapping[str, Any]:
        found = load_json(self._archive.read(entry), f"{self.what}: {shown(entry)}", self.budget)
        if not isinstance(found, dict):
            raise ConvertError(f"{self.what}: {shown(entry)} is not a table")
        return found

    def _model(self, names: Sequence[str]) -> str:
        prefix = f"{self._root}models/"
        models = [n[len(prefix) : -len(".json")] for n in names if n.startswith(prefix) and n.endswith(".json")]
        if len(models) != 1:
            compiled = any("aotinductor" in n for n in names)
            has = f"{len(models)} programs ({listed(models)})" if models else "no program"
            why = ", but compiled code, which is never run" if compiled and not models else ""
            raise ConvertError(f"{self.what}: the archive has {has}{why}; expected one, as torch.export.save writes")
        return models[0]

    # -- weights ----------------------------------------------------------------------------------------

    def _old_weights(self) -> dict[str, FileTensor]:
        found: dict[str, FileTensor] = {}
        for part in ("state_dict", "constants"):
            for suffix in (".pt", ".json"):  # the latter is none of JSON either
                entry = f"{self._root}serialized_{part}{suffix}"
                if entry in self._archive:
                    found |= self._pickled(entry)
        return found

    def _pickled(self, entry: str) -> dict[str, FileTensor]:
        data = bytes(self._archive.read(entry))
        if not data:
            return {}
        tree = read_torch(data, f"{self.what}/{shown(entry)}", self.budget)
        tensors = tree if isinstance(tree, dict) else {}
        return {k: v for k, v in tensors.items() if isinstance(k, str) and isinstance(v, FileTensor)}

    def _part(self, part: str, model: str) -> dict[str, FileTensor]:
        folder = f"{self._root}data/{part}/"
        legacy = f"{folder}{model}.pt"
        if legacy in self._archive:
            return self._pickled(legacy)
        config = f"{folder}{model}_{part}_config.json"
        if config not in self._archive:
            return {}
        entries = self._json(config).get("config")
        if not isinstance(entries, dict):
            raise ConvertError(f"{self.what}: {shown(config)} has no config")
        storages: dict[str, Storage] = {}
        found: dict[str, FileTensor] = {}
        for name, entry in entries.items():
            tensor = self._tensor(name, entry, folder, storages)
            if tensor is not None:
                found[name] = tensor
        return found

    def _tensor(self, name: str, entry: Any, folder: str, storages: dict[str, Storage]) -> FileTensor | None:
        what = f"{self.what}: {shown(name)}"
        if not isinstance(entry, dict) or not isinstance(path := entry.get("path_name"), str):
            raise ConvertError(f"{what}: no path_name in its description")
        if entry.get("use_pickle"):
            tree = read_torch(bytes(self._archive.read(folder + path)), what, self.budget)
            return tree if isinstance(tree, FileTensor) else None
        meta = entry.get("tensor_meta")
        if not isinstance(meta, dict):
            return None  # an object of some class: an error where it is used
        try:
            dtype = EXPORTED.get(meta["dtype"], f"type {meta['dtype']!r}")
            sizes, strides = (tuple(_int(n) for n in meta[k]) for k in ("sizes", "strides"))
            offset = _int(meta["storage_offset"])
        except (KeyError, TypeError, ValueError) as e:
            raise ConvertError(f"{what}: its description is damaged ({shown(str(e))})") from None
        if path not in storages or storages[path].dtype != dtype:
            storages[path] = self._storage(folder, path, dtype, what)
        return FileTensor(storages[path], offset, sizes, strides)

    def _storage(self, folder: str, path: str, dtype: str, what: str) -> Storage:
        data, size = self._archive.read(folder + path), ITEM_SIZE.get(dtype, 1)
        if len(data) % size:
            raise ConvertError(f"{what}: {shown(path)} has {len(data)} bytes, which are no whole number of {dtype}")
        return Storage(path, dtype, len(data) // size, data, budget=self.budget)


def _int(size: Any) -> int:
    """A size that is a number: not one of a symbol."""
    value = size["as_int"]
    if type(value) is not int:
        raise ValueError("a size that is no whole number")
    return value
