"""Finds the weights in a file: which format it is, where in it the state dict lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from .budget import Budget
from .json_text import load_json
from .names import listed, shown
from .safe_pickle import Inert
from .safetensors_file import looks_like_safetensors, read_safetensors
from .tensors import FileTensor
from .torch_files import is_module, is_script, looks_like_torch, module_tensors, read_torch, script_tensors

#: Where training scripts put the weights, looked up in this order.
_USUAL_KEYS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params")
#: Put before names by torch.compile and (Distributed)DataParallel.
_PREFIXES = ("module.", "_orig_mod.")
_MAX_DEPTH = 16


class Tensor(Protocol):
    """What a weight is to the readers: a shape, a type, and the numbers on demand."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...

    def array(self, what: str) -> NDArray[np.float32]: ...


class ArrayTensor:
    """A :class:`Tensor` around an array or a live torch tensor."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self.shape: tuple[int, ...] = tuple(int(n) for n in value.shape)
        self.dtype = str(value.dtype).removeprefix("torch.")

    def array(self, what: str) -> NDArray[np.float32]:
        """The numbers as C-contiguous float32; :class:`ConvertError` if they are not floats."""
        value = self._value
        if hasattr(value, "detach"):
            if not value.is_floating_point():
                raise ConvertError(f"{what}: has type {self.dtype}, expected a float tensor")
            value = value.detach().cpu().float().numpy()
        array = np.asarray(value)
        if array.dtype.kind != "f":
            raise ConvertError(f"{what}: has type {self.dtype}, expected a float array")
        return np.ascontiguousarray(array, dtype=np.float32)


@dataclass
class Checkpoint:
    """What a weight file holds.

    ``tensors`` is the state dict with wrapper prefixes stripped; ``model_data`` the description in
    GuitarML files; ``module`` the whole pickled module, if that is what was saved.
    """

    what: str
    tensors: dict[str, Tensor]
    model_data: dict[str, Any] | None = None
    module: Inert | None = None
    source: dict[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)  #: what is left of it for what is made of the weights


def read_checkpoint(path: str | os.PathLike[str], key: str | None = None) -> Checkpoint:
    """Read a torch.save, safetensors or GuitarML JSON file.

    Args:
        path: the file.
        key: dotted path to the state dict inside a checkpoint dictionary, when it is not in one of
            the usual places.

    Raises:
        ConvertError: unreadable, an unknown format, damaged, or no weights in it.
    """
    what = os.path.basename(os.fspath(path))
    try:
        with open(path, "rb") as f:
            data = f.read()
    except OSError as e:
        raise ConvertError(f"{what}: cannot be read ({e.strerror or e})") from None
    budget = Budget(len(data), what)
    checkpoint = _parse(data, what, key, budget)
    checkpoint.budget = budget
    if key and not looks_like_torch(data[:8]):
        raise ConvertError(
            f"{what}: checkpoint = {key!r} is for torch.save files; this file has one set of weights"
        )
    checkpoint.source = {
        "framework": "pytorch",
        "version": None,  # weight files do not tell which torch wrote them
        "file": what,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return checkpoint


def _parse(data: bytes, what: str, key: str | None, budget: Budget) -> Checkpoint:
    if looks_like_torch(data[:8]):
        return _from_tree(read_torch(data, what, budget), what, key, budget)
    if looks_like_safetensors(data[:16]) or what.endswith(".safetensors"):
        return Checkpoint(what, strip_prefixes(read_safetensors(data, what, budget), what))
    if data.lstrip()[:1] == b"{":
        return _from_json(data, what, budget)
    raise ConvertError(
        f"{what}: unknown format; expected a torch.save file (zip or legacy), safetensors, or GuitarML JSON"
    )


def from_mapping(state: Mapping[str, Any], key: str | None = None) -> Checkpoint:
    """A state dict in memory: names to NumPy arrays or torch tensors; other values are left out.

    Raises:
        ConvertError: no arrays in it, or none at ``key`` (as in :func:`read_checkpoint`).
    """
    if key:
        found = _lookup(state, key, "state dict")
        return from_mapping(found if isinstance(found, Mapping) else {})
    tensors: dict[str, Tensor] = {
        str(k): ArrayTensor(v) for k, v in state.items() if hasattr(v, "shape") and hasattr(v, "dtype")
    }
    if not tensors:
        for usual in _USUAL_KEYS:
            if isinstance(state.get(usual), Mapping):
                return from_mapping(state[usual])
        raise ConvertError("the state dict holds no arrays or tensors")
    return Checkpoint("state dict", strip_prefixes(tensors, "state dict"), source={"framework": "pytorch"})


def strip_prefixes(tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Names without the ``module.`` and ``_orig_mod.`` that wrappers put before them."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        short = name
        while short.startswith(_PREFIXES):
            short = short[short.index(".") + 1 :]
        if short in out:
            raise ConvertError(f"{what}: two weights are named {shown(short)} once wrapper prefixes are stripped")
        out[short] = tensor
    return out


# -- torch.save trees --------------------------------------------------------------------------


def _from_tree(tree: Any, what: str, key: str | None, budget: Budget) -> Checkpoint:
    found = _lookup(tree, key, what) if key else _search(tree, what, 0)
    if is_module(found):
        return Checkpoint(what, strip_prefixes(module_tensors(found, budget), what), module=found)
    if is_script(found) and (tensors := dict[str, Tensor](script_tensors(found, budget))):
        return Checkpoint(what, strip_prefixes(tensors, what), module=found)
    tensors = _state_dict(found)
    if not tensors:
        where = f"at {key!r}" if key else "found in the file"
        holds = f"; there is a {shown(str(found))}, which is looked at, never made" if isinstance(found, Inert) else ""
        raise ConvertError(f"{what}: no weights {where}{holds}")
    return Checkpoint(what, strip_prefixes(tensors, what))


def _state_dict(obj: Any) -> dict[str, Tensor]:
    if not isinstance(obj, dict):
        return {}
    return {k: v for k, v in obj.items() if isinstance(k, str) and isinstance(v, FileTensor)}


def _holds_weights(obj: Any) -> bool:
    return is_module(obj) or bool(_state_dict(obj))


def _lookup(tree: Any, key: str, what: str) -> Any:
    for part in key.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            known = listed(map(str, tree)) if isinstance(tree, Mapping) else "no keys"
            raise ConvertError(f"{what}: checkpoint key {key!r} does not exist; there is {known}")
        tree = tree[part]
    return tree


def _search(tree: Any, what: str, depth: int) -> Any:
    if _holds_weights(tree) or not isinstance(tree, dict) or depth > _MAX_DEPTH:
        return tree
    for key in _USUAL_KEYS:
        if isinstance(tree.get(key), dict) or is_module(tree.get(key)):
            return _search(tree[key], what, depth + 1)
    holders = [str(k) for k, v in tree.items() if _holds_weights(v)]
    if len(holders) > 1:
        raise ConvertError(
            f"{what}: several sets of weights ({listed(holders)}); choose one in the arch file with "
            f'checkpoint = "{shown(holders[0])}"'
        )
    return next((v for v in tree.values() if _holds_weights(v)), tree)


# -- GuitarML JSON -----------------------------------------------------------------------------


def _from_json(data: bytes, what: str, budget: Budget) -> Checkpoint:
    tree = load_json(data, what, budget)
    state = tree.get("state_dict")
    if not isinstance(state, dict):
        raise ConvertError(
            f"{what}: JSON without a state_dict table; expected GuitarML's model_data and state_dict"
        )
    model_data = tree.get("model_data")
    if model_data is not None and not isinstance(model_data, dict):
        raise ConvertError(f"{what}: model_data is not a table")
    tensors: dict[str, Tensor] = {name: _json_tensor(name, v, what) for name, v in state.items()}
    return Checkpoint(what, strip_prefixes(tensors, what), model_data=model_data)


def _json_tensor(name: str, value: Any, what: str) -> ArrayTensor:
    try:
        with np.errstate(over="ignore"):  # found below
            array = np.array(value, dtype=np.float32)
    except (ValueError, TypeError, OverflowError):
        raise ConvertError(f"{what}: weight {shown(name)} is not a regular array of numbers") from None
    if not np.all(np.isfinite(array)):
        raise ConvertError(f"{what}: weight {shown(name)} holds a number that is not finite")
    return ArrayTensor(array)
