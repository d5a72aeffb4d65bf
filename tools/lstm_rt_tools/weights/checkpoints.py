"""Reads the weights in a file: which format it is, and the state dict in it as layers use it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.files import open_regular

from ..names import shown
from .budget import Budget
from .find import Weighed, bare, find_weights, numbers_at, place
from .forms import fold
from .guitarml_json import is_guitarml, read_guitarml
from .json_text import load_json, looks_like_json
from .npz_file import is_npz, read_npz
from .safe_pickle import Inert
from .safetensors_file import check_size, looks_like_safetensors, read_safetensors
from .state_json import with_arrays
from .tensors import Tensor
from .torch_files import looks_like_pickle, looks_like_torch, read_pickle, read_torch
from .zip_archive import ZIP_MAGIC, ZipArchive

_HEAD = 4096  #: bytes in which a file shows what it is
#: What PaddlePaddle writes beside the weights, which have names as PyTorch's have.
_PADDLE = "StructuredToParameterName@@"
#: Where in a checkpoint weights lie: one place, or several that are taken together.
Key: TypeAlias = "str | list[str]"


@dataclass
class Checkpoint:
    """What a weight file holds.

    Attributes:
        what: its name, for messages.
        tensors: the state dict; prefixes of wrappers are stripped, and weights that were stored in
            another form (weight norm, weight drop) are back in that of the layer.
        model_data: the description in GuitarML files.
        modules: the whole pickled modules, if that is what was saved, by the prefix that their weights have here.
        source: framework, file and hash, for ``graph.meta``.
        key: where in the checkpoint the weights lie, as ``checkpoint`` in an arch file spells it; several places
            whose weights are taken together stand before the names of these.
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
    modules: dict[str, Inert] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    key: str | list[str] = ""
    beside: dict[str, Tensor] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    stored: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)
    tree: Any = None  #: all that the file holds

    @property
    def module(self) -> Inert | None:
        """The pickled module that the weights are those of."""
        return self.modules.get("")

    def numbers(self, name: str) -> NDArray[np.float32] | None:
        """The number or the list of numbers at a dotted path; None if there is none."""
        return numbers_at(self.tree, name, self.what)


def read_checkpoint(path: str | os.PathLike[str], key: Key | None = None) -> Checkpoint:
    """Read a torch.save, pickle, safetensors, ``.npz`` or JSON file.

    Args:
        path: the file.
        key: dotted path to the weights inside a checkpoint, when they are not the obvious ones; of several paths the
            weights are taken together, and the path is the beginning of their names.

    Raises:
        ConvertError: an unknown format, damaged, no weights in it, or several sets of weights of
            which none is the obvious one.
        OSError: the file is missing, cannot be read or is no regular file.
    """
    what = os.path.basename(os.fspath(path))
    with open_regular(path) as f:
        head = f.read(_HEAD)
        parse = _parser(head, what)  # before gigabytes are read and hashed
        if parse is _safetensors:
            check_size(f, what)
        f.seek(0)
        data = f.read(os.fstat(f.fileno()).st_size)
    budget = Budget(len(data), what)
    checkpoint = parse(data, what, key, budget)
    checkpoint.budget = budget
    checkpoint.source = {
        "framework": "pytorch",
        "version": None,  # weight files do not tell which torch wrote them
        "file": what,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return checkpoint


_Parser: TypeAlias = "Callable[[bytes, str, Key | None, Budget], Checkpoint]"


def _parser(head: bytes, what: str) -> _Parser:
    """What reads a file that begins like this; :class:`ConvertError` if nothing does."""
    if looks_like_torch(head):
        return _torch
    if looks_like_safetensors(head) or what.endswith(".safetensors"):
        return _safetensors
    if looks_like_pickle(head):
        return _pickle
    if looks_like_json(head):
        return _json
    raise ConvertError(
        f"{what}: unknown format; expected a torch.save file (zip or legacy), a pickle, safetensors, .npz, or JSON of "
        "a state dict or from GuitarML"
    )


def _torch(data: bytes, what: str, key: Key | None, budget: Budget) -> Checkpoint:
    if data.startswith(ZIP_MAGIC):
        archive = ZipArchive(data, what, budget)
        if is_npz(archive.names):
            _one_set(what, key)
            return _checkpoint(what, read_npz(archive, what, budget))
    return _from_tree(read_torch(data, what, budget), what, key, budget)


def _pickle(data: bytes, what: str, key: Key | None, budget: Budget) -> Checkpoint:
    tree = read_pickle(data, what, budget)
    if isinstance(tree, dict) and _PADDLE in tree:
        raise ConvertError(f"{what}: a file of PaddlePaddle, whose matrices lie otherwise; not supported")
    return _from_tree(tree, what, key, budget)


def _safetensors(data: bytes, what: str, key: Key | None, budget: Budget) -> Checkpoint:
    _one_set(what, key)
    return _checkpoint(what, read_safetensors(data, what, budget))


def _json(data: bytes, what: str, key: Key | None, budget: Budget) -> Checkpoint:
    tree = load_json(data, what, budget)
    if not is_guitarml(tree):
        return _from_tree(with_arrays(tree, what, budget), what, key, budget)
    _one_set(what, key)
    tensors, model_data = read_guitarml(tree, what)
    return _checkpoint(what, tensors, model_data=model_data)


def _one_set(what: str, key: Key | None) -> None:
    if key:
        raise ConvertError(
            f"{what}: checkpoint = {key!r} is for torch.save files, pickles and JSON; this file has one set of weights"
        )


def from_mapping(state: Mapping[str, Any], key: Key | None = None) -> Checkpoint:
    """A state dict or checkpoint in memory: names to NumPy arrays or torch tensors.

    Raises:
        ConvertError: as :func:`read_checkpoint`.
    """
    checkpoint = _from_tree(state, "state dict", key)
    checkpoint.source = {"framework": "pytorch"}
    return checkpoint


def _from_tree(tree: Any, what: str, key: Key | None, budget: Budget | None = None) -> Checkpoint:
    several = isinstance(key, list)
    found = {k: find_weights(tree, what, k, budget) for k in (key if isinstance(key, list) else [key])}
    prefixes = {k: f"{k}." if several else "" for k in found}
    tensors = {
        prefixes[k] + name: tensor
        for k, f in found.items()
        for name, tensor in strip_prefixes(f.chosen.tensors, what).items()
    }
    first = next(iter(found.values()))
    checkpoint = _folded(what, tensors)
    checkpoint.modules = {
        prefixes[k].removesuffix("."): f.chosen.module for k, f in found.items() if f.chosen.module is not None
    }
    checkpoint.key = list(key) if isinstance(key, list) else first.chosen.key
    taken = {place(t) for t in tensors.values()}
    checkpoint.beside = {n: t for n, t in first.beside.items() if place(t) not in taken}
    checkpoint.elsewhere = _elsewhere(list(found.values()))
    checkpoint.notes[:0] = first.notes
    checkpoint.tree = tree
    return checkpoint


def _elsewhere(found: Sequence[Weighed]) -> dict[str, str]:
    taken = {f.chosen.key for f in found}
    others = [other for f in found for other in f.others if other.key not in taken]
    return {bare(name): other.key for other in reversed(others) for name in other.tensors}


def _checkpoint(what: str, tensors: Mapping[str, Tensor], **more: Any) -> Checkpoint:
    return _folded(what, strip_prefixes(tensors, what), **more)


def _folded(what: str, tensors: Mapping[str, Tensor], **more: Any) -> Checkpoint:
    folded = fold(tensors)
    known: dict[str, Any] = {"stored": folded.stored, "unknown": folded.unknown, "notes": folded.notes}
    return Checkpoint(what, folded.tensors, **known, **more)


def strip_prefixes(tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Names without what wrappers put before and into them, such as ``module.`` and ``_orig_mod.``"""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        short = bare(name)
        if short in out:
            raise ConvertError(f"{what}: two weights are named {shown(short)} once wrapper prefixes are stripped")
        out[short] = tensor
    return out
