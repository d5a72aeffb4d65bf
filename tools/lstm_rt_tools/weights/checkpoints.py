"""Reads the weights in a file: which format it is, and the state dict in it as layers use it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError
from lstm_rt.files import open_regular

from ..names import shown
from .budget import Budget
from .find import Weighed, bare, find_weights
from .forms import fold
from .json_text import load_json, looks_like_json
from .safe_pickle import Inert
from .safetensors_file import check_layout, looks_like_safetensors, read_safetensors
from .tensors import ArrayTensor, Tensor
from .torch_files import looks_like_torch, read_torch

_HEAD = 4096  #: bytes in which a file shows what it is


@dataclass
class Checkpoint:
    """What a weight file holds.

    Attributes:
        what: its name, for messages.
        tensors: the state dict; prefixes of wrappers are stripped, and weights that were stored in
            another form (weight norm, weight drop) are back in that of the layer.
        model_data: the description in GuitarML files.
        module: the whole pickled module, if that is what was saved.
        source: framework, file and hash, for ``graph.meta``.
        key: where in the checkpoint the weights lie, as ``checkpoint`` in an arch file spells it.
        beside: single arrays outside of the weights, by dotted path.
        elsewhere: names of weights in other places of the file, and the ``checkpoint`` key there.
        stored: names of weights in the file that are not in ``tensors`` but went into others there.
        unknown: weights that exist in a form that cannot be undone, and why.
        notes: what the user should know about the choice of weights.
        budget: what is left of the file's for what is made of the weights.
    """

    what: str
    tensors: dict[str, Tensor]
    model_data: dict[str, Any] | None = None
    module: Inert | None = None
    source: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    beside: dict[str, Tensor] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    stored: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)


def read_checkpoint(path: str | os.PathLike[str], key: str | None = None) -> Checkpoint:
    """Read a torch.save, safetensors or GuitarML JSON file.

    Args:
        path: the file.
        key: dotted path to the weights inside a checkpoint, when they are not the obvious ones.

    Raises:
        ConvertError: an unknown format, damaged, no weights in it, or several sets of weights of
            which none is the obvious one.
        OSError: the file is missing, cannot be read or is no regular file.
    """
    what = os.path.basename(os.fspath(path))
    with open_regular(path) as f:
        head = f.read(_HEAD)
        _check_known(head, what)  # before gigabytes are read and hashed
        if _is_safetensors(head, what):
            check_layout(f, what)
        f.seek(0)
        data = f.read(os.fstat(f.fileno()).st_size)
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
    if _is_safetensors(data[:16], what):
        return _checkpoint(what, read_safetensors(data, what, budget))
    return _from_json(data, what, budget)


def _check_known(head: bytes, what: str) -> None:
    """Raise ConvertError unless a file that begins like this is of a kind that :func:`_parse` reads."""
    if not (looks_like_torch(head[:8]) or _is_safetensors(head, what) or looks_like_json(head)):
        raise ConvertError(
            f"{what}: unknown format; expected a torch.save file (zip or legacy), safetensors, or GuitarML JSON"
        )


def _is_safetensors(head: bytes, what: str) -> bool:
    """Only asked of what is no torch.save file, whatever its name."""
    return not looks_like_torch(head[:8]) and (looks_like_safetensors(head[:16]) or what.endswith(".safetensors"))


def from_mapping(state: Mapping[str, Any], key: str | None = None) -> Checkpoint:
    """A state dict or checkpoint in memory: names to NumPy arrays or torch tensors.

    Raises:
        ConvertError: as :func:`read_checkpoint`.
    """
    checkpoint = _from_tree(state, "state dict", key)
    checkpoint.source = {"framework": "pytorch"}
    return checkpoint


def _from_tree(tree: Any, what: str, key: str | None, budget: Budget | None = None) -> Checkpoint:
    found = find_weights(tree, what, key, budget)
    checkpoint = _checkpoint(what, found.chosen.tensors)
    checkpoint.module = found.chosen.module
    checkpoint.key = found.chosen.key
    checkpoint.beside = found.beside
    checkpoint.elsewhere = _elsewhere(found)
    checkpoint.notes[:0] = found.notes
    return checkpoint


def _elsewhere(found: Weighed) -> dict[str, str]:
    return {bare(name): other.key for other in reversed(found.others) for name in other.tensors}


def _checkpoint(what: str, tensors: Mapping[str, Tensor], **more: Any) -> Checkpoint:
    folded = fold(strip_prefixes(tensors, what))
    known: dict[str, Any] = {"stored": folded.stored, "unknown": folded.unknown, "notes": folded.notes}
    return Checkpoint(what, folded.tensors, **known, **more)


def strip_prefixes(tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Names without the ``module.`` and ``_orig_mod.`` that wrappers put before them."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        short = bare(name)
        if short in out:
            raise ConvertError(f"{what}: two weights are named {shown(short)} once wrapper prefixes are stripped")
        out[short] = tensor
    return out


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
    return _checkpoint(what, tensors, model_data=model_data)


def _json_tensor(name: str, value: Any, what: str) -> ArrayTensor:
    _check_numbers(name, value, what)
    try:
        with np.errstate(over="ignore"):  # infinite then, which is refused
            array = np.array(value, dtype=np.float32)
    except (ValueError, TypeError, OverflowError):
        raise ConvertError(f"{what}: weight {shown(name)} is not a regular array of numbers") from None
    # JSON has no such numbers: where others read this file they refuse them, or take one that was too large.
    if not np.all(np.isfinite(array)):
        raise ConvertError(f"{what}: weight {shown(name)} holds a number that is not finite")
    return ArrayTensor(array)


def _check_numbers(name: str, value: Any, what: str) -> None:
    """Raise ConvertError unless all that lists hold are numbers: NumPy would make some of true and of text, too."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, list):
            left.extend(item)
        elif type(item) not in (int, float):
            raise ConvertError(
                f"{what}: weight {shown(name)} is not a regular array of numbers: it holds {shown(repr(item)[:100])}"
            )
