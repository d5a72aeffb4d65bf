"""Where in a checkpoint the weights lie: beside what, and which ones when there are several.

A checkpoint is whatever a training script put into it: dictionaries, lists, tuples, objects. All of
it is looked through once. Nothing is chosen or left out without a word: several sets of weights are
an error or a note, and so are arrays that lie beside the weights.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lstm_rt.errors import ConvertError, did_you_mean

from .names import listed, shown
from .safe_pickle import Global, Inert
from .tensors import ArrayTensor, FileTensor, Tensor, numpy_tensor
from .torch_files import is_module, is_script, module_tensors, script_tensors

Path: TypeAlias = "tuple[str, ...]"

#: Where training scripts put the weights of the model itself, the most telling name first.
_USUAL_KEYS = (
    "state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params",
)  # fmt: skip
#: The last part of a weight's name, as torch.nn and its parametrizations give it.
_WEIGHT = re.compile(
    r"^weight(_(ih|hh|hr)(_l\d+)?(_reverse)?)?(_(g|v|raw|orig))?$|(^|\.)parametrizations\.weight\w*\.original[01]?$"
)
_MAX_DEPTH = 16


@dataclass
class Found:
    """A set of weights: where it lies, the tensors, and the pickled module if they are in one."""

    path: Path
    tensors: Mapping[str, Tensor]
    module: Inert | None = None

    @property
    def key(self) -> str:
        """The path as an arch file's ``checkpoint`` spells it."""
        return ".".join(self.path)

    @property
    def label(self) -> str:
        """The path for messages."""
        return shown(self.key) if self.path else "the top"


@dataclass
class Weighed:
    """What :func:`find_weights` found: the weights, those left aside, and single arrays beside them."""

    chosen: Found
    others: list[Found]
    beside: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)


def find_weights(tree: Any, what: str, key: str | None = None) -> Weighed:
    """Look through a checkpoint for its weights.

    Args:
        tree: the checkpoint: a mapping, list, tuple, pickled object or module.
        what: its name, for messages.
        key: dotted path to the weights, if the user chose. They may lie anywhere below it.

    Raises:
        ConvertError: there are no weights (at ``key``), or several and none is the obvious one.
    """
    survey = _Survey(tree)
    found = survey.weights()
    if not key:
        if not found:
            why = "the arrays in it have no names" if survey.arrays else "it holds no arrays or tensors"
            raise ConvertError(f"{what}: no weights found: {why}")
        return _weigh(_choose(found, what), found, survey, True)
    path, at = _lookup(tree, key, what)
    below = survey.below(path) or _Survey(at).weights()  # the second: what lies in another place too
    if not below:
        keys = [f.key for f in found if f.path]
        there = f"; there are some at {listed(keys)}" if keys else ""
        raise ConvertError(f"{what}: no weights at checkpoint = {key!r}{there}")
    return _weigh(_choose(below, f"{what}: {shown(key)}"), found, survey, False)


def _weigh(chosen: Found, found: Sequence[Found], survey: _Survey, by_itself: bool) -> Weighed:
    others = [f for f in found if not _same(f, chosen)]
    notes = []
    keys = [f.key for f in others if f.path]
    if keys and by_itself:
        notes.append(
            f"the weights are those at {chosen.label}; there are others at {listed(keys)}: "
            f'checkpoint = "{shown(keys[0])}" in the arch file takes those'
        )
    return Weighed(chosen, others, survey.arrays, notes)


# -- choosing ------------------------------------------------------------------------------------


def _choose(found: Sequence[Found], what: str) -> Found:
    """The weights that a user means; an error that lists them where that is a toss-up.

    A set called best is meant among copies of one network; else the one in the usual place is,
    unless there is a copy of it that may be as good, such as a moving average.
    """
    if len(found) == 1:
        return found[0]
    usual = sorted((f for f in found if _rank(f.path) is not None), key=lambda f: _rank(f.path) or ())
    first = usual[0] if usual else found[0]
    copies = [f for f in found if f is first or (_signature(f) == _signature(first) and not _same(f, first))]
    best = [f for f in copies if any("best" in part.lower() for part in f.path)]
    if len(best) == 1 and (usual or len(copies) == len(found)):
        return best[0]
    if usual and len(copies) == 1:
        return first
    same = len(copies) == len(found)
    keys = [f.label for f in found]
    sets = "several copies of the same weights" if same else "several sets of weights"
    advice = "" if same else (
        "; where they are parts of one model, convert each part with an arch file of its own, "
        "as one arch file cannot take two yet"
    )  # fmt: skip
    example = next(f.label for f in found if f.path)
    raise ConvertError(
        f'{what}: {sets} ({listed(keys)}); choose one in the arch file with checkpoint = "{example}"{advice}'
    )


def _rank(path: Path) -> tuple[int, ...] | None:
    """Order of the usual places, None for another place. Positions in lists and tuples do not matter."""
    if not path:
        return (len(_USUAL_KEYS),)
    named = [part for part in path if not part.isdecimal()]
    if any(part not in _USUAL_KEYS for part in named):
        return None
    return tuple(_USUAL_KEYS.index(part) for part in named)


def _signature(found: Found) -> dict[str, tuple[int, ...]]:
    """Names and shapes: the same for copies of one network."""
    return {bare(name): t.shape for name, t in found.tensors.items() if len(t.shape)}


def _same(a: Found, b: Found) -> bool:
    """Whether both are the very same tensors, saved once."""
    return len(a.tensors) == len(b.tensors) and all(map(same_tensor, a.tensors.values(), b.tensors.values()))


def same_tensor(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of a file are the same part of the same storage."""
    if isinstance(a, FileTensor) and isinstance(b, FileTensor):
        return a.storage is b.storage and (a.offset, a.shape, a.stride) == (b.offset, b.shape, b.stride)
    return a is b


#: Put before names by torch.compile and (Distributed)DataParallel.
_WRAPPERS = ("module.", "_orig_mod.")


def bare(name: str) -> str:
    """A weight's name without the ``module.`` and ``_orig_mod.`` that wrappers put before it."""
    while name.startswith(_WRAPPERS):
        name = name[name.index(".") + 1 :]
    return name


# -- looking through -------------------------------------------------------------------------------


class _Survey:
    """One walk through a checkpoint: every set of weights, and every array outside of them."""

    def __init__(self, tree: Any) -> None:
        self.arrays: dict[str, Tensor] = {}
        self._sure: list[Found] = []
        self._unsure: list[Found] = []  # tensors whose names are not those of weights
        seen: set[int] = set()
        queue: deque[tuple[Path, Any]] = deque([((), tree)])
        while queue:
            path, obj = queue.popleft()
            if id(obj) not in seen:
                seen.add(id(obj))
                queue.extend(self._visit(path, obj))

    def _visit(self, path: Path, obj: Any) -> list[tuple[Path, Any]]:
        if is_module(obj):
            self._sure.append(Found(path, module_tensors(obj), obj))
            return []
        if is_script(obj) and (tensors := script_tensors(obj)):
            self._sure.append(Found(path, tensors, obj))
            return []
        entries = _entries(obj)
        if {"state", "param_groups"} <= entries.keys():
            return []  # an optimiser's state: as large as the weights, and none of them
        self._collect(path, obj, {k: t for k, v in entries.items() if (t := as_tensor(v)) is not None})
        if len(path) == _MAX_DEPTH:
            return []
        return [((*path, k), v) for k, v in entries.items() if _has_entries(v) and as_tensor(v) is None]

    def _collect(self, path: Path, obj: Any, tensors: dict[str, Tensor]) -> None:
        if any(_WEIGHT.search(name.rpartition(".")[2]) or _WEIGHT.search(name) for name, t in tensors.items()
               if len(t.shape) > 1):  # fmt: skip
            self._sure.append(Found(path, tensors))
            return
        if tensors and isinstance(obj, Mapping | Inert):
            self._unsure.append(Found(path, tensors))
        self.arrays.update({".".join((*path, k)): t for k, t in tensors.items()})

    def weights(self) -> list[Found]:
        """All sets of weights; if none has the names of weights, all dictionaries of tensors."""
        return self._sure or self._unsure

    def below(self, path: Path) -> list[Found]:
        """The sets of weights at and below ``path``."""
        sure, unsure = ([f for f in s if f.path[: len(path)] == path] for s in (self._sure, self._unsure))
        return sure or unsure


def as_tensor(value: Any) -> Tensor | None:
    """A tensor or array, in a file or in memory, as a :class:`Tensor`; None if it is neither."""
    if isinstance(value, FileTensor):
        return value
    if isinstance(value, Inert):
        return numpy_tensor(value.state) if str(value.cls) == "numpy.ndarray" else None
    return ArrayTensor(value) if hasattr(value, "shape") and hasattr(value, "dtype") else None


def _has_entries(obj: Any) -> bool:
    return isinstance(obj, Mapping | Inert | list | tuple)


def _entries(obj: Any) -> dict[str, Any]:
    """What a container holds, by the names that a dotted path can spell."""
    if isinstance(obj, Mapping):
        return {str(k): v for k, v in obj.items() if isinstance(k, str | int)}
    if isinstance(obj, list | tuple):
        return {str(i): v for i, v in enumerate(obj)}
    if not isinstance(obj, Inert) or (isinstance(obj.cls, Global) and obj.cls.module.startswith("numpy")):
        return {}
    pairs = zip(obj.items[::2], obj.items[1::2], strict=False)
    return {**{k: v for k, v in pairs if isinstance(k, str)}, **obj.attrs}


def _lookup(tree: Any, key: str, what: str) -> tuple[Path, Any]:
    """The object at a dotted path, and the path in its parts, which may hold dots themselves."""
    path: list[str] = []
    place, rest = tree, key
    while rest:
        entries = _entries(place)
        fits = [k for k in entries if rest == k or rest.startswith(k + ".")]
        if not fits:
            there = listed(entries) or "no entry"
            raise ConvertError(
                f"{what}: checkpoint = {key!r}: {rest!r} does not exist; there is {there}{did_you_mean(rest, entries)}"
            )
        path.append(max(fits, key=len))
        place, rest = entries[path[-1]], rest[len(path[-1]) + 1 :]
    return tuple(path), place
