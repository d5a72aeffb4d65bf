"""Where in a checkpoint the weights lie: beside what, and which ones when there are several.

A checkpoint is whatever a training script put into it: dictionaries, lists, tuples, objects. All of
it is looked through once. Nothing is chosen or left out without a word: several sets of weights are
an error or a note, and so are arrays that lie beside the weights.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError, did_you_mean

from ..names import listed, shown
from .budget import Budget
from .quantized import weight_of_packed
from .safe_pickle import Inert
from .tensors import ArrayTensor, FileTensor, Tensor, as_float32, numpy_number, numpy_tensor, unread
from .torch_files import is_module, is_script, module_tensors, script_tensors

Path: TypeAlias = "tuple[str, ...]"

#: Where training scripts put the weights of the model itself, the most telling name first.
_USUAL_KEYS = (
    "state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params",
)  # fmt: skip
#: Places that hold weights whatever these are called.
_TELLING_KEYS = _USUAL_KEYS[:3]
#: The last part of a weight's name, as torch.nn and its parametrizations give it.
_WEIGHT = re.compile(
    r"^weight(_(ih|hh|hr)(_l\d+)?(_reverse)?)?(_(g|v|raw|orig))?$|(^|\.)parametrizations\.weight\w*\.original[01]?$"
)
#: A key that calls its weights the best ones: best_model, modelBest, but not not_best or second_best.
_BEST = re.compile(
    r"^(?!.*(?i:(?<![a-z])(not|non|no|next|second|third|worst|\d(nd|rd|th))[^a-z]*best))"
    r".*?((?<![A-Za-z])[Bb]est|BEST|(?<=[a-z])Best)",
    re.DOTALL,
)
_MAX_DEPTH = 16
_FEW = 6  #: sets that a message lists as they are written in an arch file


class SeveralSets(ConvertError):
    """There are several sets of weights; ``keys`` are the places of all, ``copies`` whether they are of one network."""

    def __init__(self, text: str, keys: list[str], copies: bool) -> None:
        super().__init__(text)
        self.keys = keys
        self.copies = copies


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


def find_weights(tree: Any, what: str, key: str | None = None, budget: Budget | None = None) -> Weighed:
    """Look through a checkpoint for its weights.

    Args:
        tree: the checkpoint: a mapping, list, tuple, pickled object or module.
        what: its name, for messages.
        key: dotted path to the weights, if the user chose. They may lie anywhere below it.
        budget: of the file; None for what is in memory already.

    Raises:
        ConvertError: there are no weights (at ``key``), or several and none is the obvious one.
    """
    survey = _Survey(tree, budget)
    found = survey.weights()
    if not key:
        if not found:
            raise ConvertError(f"{what}: no weights found: {survey.why_none(tree)}")
        return _weigh(_choose(found, what), found, survey, True)
    path, at = _lookup(tree, key, what)
    below = survey.below(path) or _Survey(at, budget).weights()  # the second: what lies in another place too
    if not below:
        keys = [f.key for f in found if f.path]
        there = f"; there are some at {listed(keys)}" if keys else ""
        raise ConvertError(f"{what}: no weights at checkpoint = {key!r}{there}")
    return _weigh(_choose(below, f"{what}: {shown(key)}"), found, survey, False)


def _weigh(chosen: Found, found: Sequence[Found], survey: _Survey, by_itself: bool) -> Weighed:
    it = _identity(chosen)
    others = [f for f in _distinct(found) if _identity(f) != it]
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
    found = _distinct(found)
    usual = sorted((f for f in found if _rank(f.path) is not None), key=lambda f: _rank(f.path) or ())
    if len(usual) > 1 and _rank(usual[0].path) == _rank(usual[1].path):
        usual = []  # two in one list: neither place is more usual than the other
    first = usual[0] if usual else found[0]
    signature = _signature(first)
    copies = [f for f in found if _signature(f) == signature]
    best = [f for f in copies if any(_BEST.search(part) for part in f.path)]
    if len(found) == 1 or (usual and len(copies) == 1):
        return first
    if len(best) == 1 and (usual or len(copies) == len(found)):
        return best[0]
    same = len(copies) == len(found)
    keys = [f.label for f in found]
    sets = "several copies of the same weights" if same else "several sets of weights"
    listing = ", ".join(f'"{f.label}"' for f in found[:_FEW] if f.path) + (", ..." if len(found) > _FEW else "")
    advice = "" if same else f"; where they are parts of one model, checkpoint = [{listing}] takes them together"
    example = next(f.label for f in found if f.path)
    text = f'{what}: {sets} ({listed(keys)}); choose one in the arch file with checkpoint = "{example}"{advice}'
    raise SeveralSets(text, [f.key for f in found if f.path], same)


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


def _distinct(found: Sequence[Found]) -> list[Found]:
    """Without those that are the very tensors of another one, saved once: the more usual place stays."""
    places: dict[Any, Found] = {}
    for f in sorted(found, key=lambda f: (_rank(f.path) is None, _rank(f.path) or ())):
        places.setdefault(_identity(f), f)
    return [f for f in found if places[_identity(f)] is f]


def _identity(found: Found) -> tuple[Any, ...]:
    return tuple((name, *place(t)) for name, t in found.tensors.items())


def place(tensor: Tensor) -> tuple[Any, ...]:
    """What part of which storage a tensor is: the same for one tensor that was saved under two names."""
    if isinstance(tensor, FileTensor):
        return (id(tensor.storage), tensor.offset, tensor.shape, tensor.stride, tensor.negative)
    return (id(tensor),)


#: Put before names by (Distributed)DataParallel and Opacus; a module of a network may be called so, too.
_WRAPPERS = re.compile(r"(?:module\.|_module\.)*")
#: Put anywhere into names by torch.compile, FSDP and activation checkpoints, and by nothing else.
_WITHIN = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


def bare(name: str) -> str:
    """A weight's name without what wrappers put before it, such as ``module.``, and into it, such as ``_orig_mod.``"""
    name = _WITHIN.sub("", name)
    wrappers = _WRAPPERS.match(name)
    return name[wrappers.end() :] if wrappers else name


# -- looking through -------------------------------------------------------------------------------


_PLACE = 300  #: bytes that a container takes while it is looked through
_ARRAY = 1000  #: bytes that an array takes under one of its names


class _Survey:
    """One walk through a checkpoint: every set of weights, and every array outside of them.

    What is nearer to the top comes first. Containers without arrays in them, such as a vocabulary,
    cost no memory.
    """

    def __init__(self, tree: Any, budget: Budget | None) -> None:
        self.arrays: dict[str, Tensor] = {}
        self._budget = budget
        self._optimizer = False  # was there the state of one?
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
            self._sure.append(Found(path, module_tensors(obj, self._budget), obj))
            return []
        if is_script(obj) and (tensors := script_tensors(obj, self._budget)):
            self._sure.append(Found(path, tensors, obj))
            return []
        arrays: dict[str, Tensor] = {}
        below: list[tuple[Path, Any]] = []
        keys = set()
        for key, value in _entries(obj):
            tensor = as_tensor(value, self._budget)
            if weight := weight_of_packed(key):
                key, tensor = weight, unread("quantized")
            if tensor is not None:
                self._charge(_ARRAY + len(key) + sum(map(len, path)))  # of an array that is shared each place has one
                arrays[key] = tensor
            elif self._holds_something(value):
                self._charge(_PLACE + len(key))
                below.append(((*path, key), value))
            if isinstance(value, Mapping | list):
                keys.add(key)
        if keys >= {"state", "param_groups"}:
            self._optimizer = True
            return []  # an optimiser's state: as large as the weights, and none of them
        self._collect(path, obj, arrays)
        return below if len(path) < _MAX_DEPTH else []

    def _charge(self, memory: int, steps: int = 1) -> None:
        if self._budget is not None:
            self._budget.memory(memory, "the arrays in it")
            self._budget.steps(steps)

    def _holds_something(self, obj: Any) -> bool:
        """Whether a value is a container with a tensor or another container in it."""
        if isinstance(obj, list | tuple | Mapping):
            self._charge(0, len(obj))
        elif isinstance(obj, Inert):
            self._charge(0, len(obj.items) + len(obj.attrs))
        return is_module(obj) or any(_is_container(v) or as_tensor(v) is not None for _, v in _entries(obj))

    def _collect(self, path: Path, obj: Any, tensors: dict[str, Tensor]) -> None:
        told = bool(path) and path[-1] in _TELLING_KEYS and bool(tensors)
        if told or any(_WEIGHT.search(name.rpartition(".")[2]) or _WEIGHT.search(name) for name, t in tensors.items()
               if len(t.shape) > 1):  # fmt: skip
            self._sure.append(Found(path, tensors))
            return
        if tensors and isinstance(obj, Mapping | Inert):
            self._unsure.append(Found(path, tensors))
        self.arrays.update({".".join((*path, k)): t for k, t in tensors.items()})

    def why_none(self, tree: Any) -> str:
        """What there is instead of weights."""
        if self.arrays:
            return "the arrays in it have no names"
        if as_tensor(tree) is not None:
            return "it is a single array"
        if isinstance(tree, Inert):
            return f"there is a {shown(str(tree))}, which is looked at, never made"
        return "it holds the state of an optimizer" if self._optimizer else "it holds no arrays or tensors"

    def weights(self) -> list[Found]:
        """All sets of weights; if none has the names of weights, all dictionaries of tensors."""
        return self._sure or self._unsure

    def below(self, path: Path) -> list[Found]:
        """The sets of weights at and below ``path``."""
        sure, unsure = ([f for f in s if f.path[: len(path)] == path] for s in (self._sure, self._unsure))
        return sure or unsure


def as_tensor(value: Any, budget: Budget | None = None) -> Tensor | None:
    """A tensor or array, in a file or in memory, as a :class:`Tensor`; None if it is neither."""
    if isinstance(value, FileTensor):
        return value
    if isinstance(value, Inert):
        return numpy_tensor(_numpy_state(value), budget) if _is_numpy(value) else None
    return ArrayTensor(value) if hasattr(value, "shape") and hasattr(value, "dtype") else None


def _numpy_state(array: Inert) -> Any:
    """The state of a pickled array; from protocol 5 on its parts are the arguments of a call."""
    if array.cls.name != "_frombuffer" or len(array.args) != 4:
        return array.state
    data, dtype, shape, order = array.args
    return (1, shape, dtype, order == "F", data)


def _is_numpy(obj: Inert) -> bool:
    return obj.cls.module.partition(".")[0] == "numpy"


def _is_container(obj: Any) -> bool:
    return isinstance(obj, Mapping | list | tuple) or (isinstance(obj, Inert) and not _is_numpy(obj))


def _entries(obj: Any) -> Iterator[tuple[str, Any]]:
    """What a container holds, by the names that a dotted path can spell."""
    if isinstance(obj, Mapping):
        yield from ((str(k), v) for k, v in obj.items() if isinstance(k, str | int))
    elif isinstance(obj, list | tuple):
        yield from ((str(i), v) for i, v in enumerate(obj))
    elif isinstance(obj, Inert) and not _is_numpy(obj):
        pairs = zip(obj.items[::2], obj.items[1::2], strict=False)  # of a class derived from dict
        yield from ((k, v) for k, v in pairs if isinstance(k, str))
        yield from obj.attrs.items()


def numbers_at(tree: Any, key: str, what: str) -> NDArray[np.float32] | None:
    """What lies at a dotted path as float32, if it is a number, a list of numbers or an array; else None."""
    try:
        _, value = _lookup(tree, key, what)
    except ConvertError:
        return None
    tensor = as_tensor(value)
    if tensor is not None:
        return tensor.array(f"{what}: {shown(key)}").reshape(tensor.shape)
    several = isinstance(value, list | tuple)
    numbers = [_number(v) for v in (value if several else [value])]
    if not numbers or any(n is None for n in numbers):
        return None
    return as_float32(np.array(numbers if several else numbers[0], np.float64), f"{what}: {shown(key)}")


def _number(value: Any) -> float | None:
    if isinstance(value, Inert) and value.cls.name == "scalar" and _is_numpy(value):
        return numpy_number(value.args)
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None


def _lookup(tree: Any, key: str, what: str) -> tuple[Path, Any]:
    """The object at a dotted path, and the path in its parts, which may hold dots themselves."""
    path: list[str] = []
    place, rest = tree, key
    while rest:
        fits = [(k, v) for k, v in _entries(place) if rest == k or rest.startswith(k + ".")]
        if not fits:
            names = [k for k, _ in islice(_entries(place), 1000)]
            raise ConvertError(
                f"{what}: checkpoint = {key!r}: {rest!r} does not exist; there is {listed(names) or 'no entry'}"
                f"{did_you_mean(rest, names)}"
            )
        part, place = max(fits, key=lambda entry: len(entry[0]))
        path.append(part)
        rest = rest[len(part) + 1 :]
    return tuple(path), place
