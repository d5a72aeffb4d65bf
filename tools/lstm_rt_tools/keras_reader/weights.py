"""The weights of a Keras model as a tree in which each layer finds its own.

Keras files name weights in two ways. A ``.keras`` archive has a tree of groups, one per Python
attribute, and numbers the weights of a group: ``lstm/cell/vars/0``. A ``.h5`` file and a living
model have names: ``lstm/lstm_cell/kernel:0``. Both kinds offer the same three questions: the
weights of a part of this layer (:meth:`Weights.child`), of a layer of this model
(:meth:`Weights.layer`), and the arrays themselves (:meth:`Weights.take`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from ..weights.tensors import as_float32
from .config import LayerSpec

FloatArray = NDArray[np.float32]

#: Random states of dropout layers are stored beside the weights; inference has no use for them.
_SEED = "seed_generator"


@dataclass
class Weight:
    """One stored array: its name in the file, for messages, and whether a layer has taken it."""

    label: str
    array: NDArray[Any]
    used: bool = False


class Weights(Protocol):
    """The weights of one layer, of a part of it, or of a model."""

    def child(self, group: str, names: Sequence[str] = (), index: int = 0, count: int = 1) -> Weights:
        """The part stored in the subgroup ``group``, or whose weights' paths hold one of ``names``.

        ``index`` and ``count``: which of how many equal parts it is, for files that do not name them.
        """
        ...

    def layer(self, name: str, group: str, nested: bool = False) -> Weights:
        """The layer called ``name``; ``group`` is its group in archives that do not keep names.

        ``nested``: it is a model, whose name need not be in the names of its weights.
        """
        ...

    def take(self, roles: Sequence[str], who: str, others: Sequence[str] = ()) -> dict[str, FloatArray]:
        """The arrays of this part by role, in Keras's order; marks them as used.

        ``others`` come behind them in the file, and are not read.
        """
        ...

    def has(self, role: str) -> bool:
        """Whether an array of this part has this name, in files that name them."""
        ...

    def ignore(self) -> None:
        """Mark all weights below as used: Keras does not read them either."""
        ...

    def unused(self) -> list[str]:
        """Names of the weights that nobody has taken."""
        ...

    def reset(self) -> None:
        """Forget what was taken."""
        ...


@dataclass
class GroupWeights:
    """Weights of a ``.keras`` archive: a tree of groups with numbered arrays."""

    label: str
    name: str | None = None  #: the name of the layer, where the file keeps it
    arrays: dict[str, Weight] = field(default_factory=dict)
    children: dict[str, GroupWeights] = field(default_factory=dict)
    #: The groups of the whole file with weights, by the names of their layers.
    named: dict[str, list[GroupWeights]] = field(default_factory=dict)
    by_name: bool = True  #: are layers found by their names?
    filled: bool = False  #: are there weights here or below?

    def forget_names(self, known: Sequence[Any]) -> None:
        """Let layers be found by their groups, as Keras itself does it; ``known`` are the names in the architecture.

        Where these are other names than in the file, no layer is looked for by its name.
        """
        layers = self.children.get("layers")
        if layers is None or not all(g.name in known for g in layers.children.values()):
            self.named.clear()
        self._forget()

    def _forget(self) -> None:
        self.by_name = False
        for child in self.children.values():
            child._forget()

    def link(self, named: dict[str, list[GroupWeights]] | None = None) -> bool:
        """Let all groups know :attr:`named`; called once at the root. Returns whether there are weights here."""
        self.named = {} if named is None else named
        below = [child.link(self.named) for child in self.children.values()]
        self.filled = bool(self.arrays) or any(below)
        if self.filled and self.name is not None:
            self.named.setdefault(self.name, []).append(self)
        return self.filled

    def _elsewhere(self, label: str, names: Sequence[str]) -> GroupWeights:
        """The group of a layer that has none here: one that several models share is stored where it is met first."""
        found = [g for name in names for g in self.named.get(name, ())]
        return found[0] if len(found) == 1 else GroupWeights(label, named=self.named)

    def child(self, group: str, names: Sequence[str] = (), index: int = 0, count: int = 1) -> GroupWeights:
        here = self
        for part in group.split("/"):
            # A group is called after an attribute, or after the property that shows it.
            found = here.children.get(part) or here.children.get(f"_{part}")
            here = found or here._elsewhere(f"{here.label}/{part}", names)
        return here

    def layer(self, name: str, group: str, nested: bool = False) -> GroupWeights:
        layers = self.child("layers")
        named = [g for g in layers.children.values() if g.name is not None and g.by_name]
        if not named:  # written by Keras 2.12 to 2.15, or by tf_keras
            return layers.child(group, (name,))
        found = [g for g in named if g.name == name]
        if len(found) > 1:
            raise ConvertError(f"{self.label}: {len(found)} groups are of a layer named {name!r}")
        return found[0] if found else layers._elsewhere(f"{layers.label}/{group}", (name,))

    def take(self, roles: Sequence[str], who: str, others: Sequence[str] = ()) -> dict[str, FloatArray]:
        expected = [str(i) for i in range(len(roles) + len(others))]
        if sorted(self.arrays, key=lambda k: (len(k), k)) != expected:
            raise ConvertError(
                f"{who}: {self.label}/vars holds {len(self.arrays)} weights, "
                f"expected {len(expected)}: {', '.join((*roles, *others))}"
            )
        for i in expected[len(roles) :]:
            self.arrays[i].used = True
        return {role: _read(self.arrays[i], who) for role, i in zip(roles, expected, strict=False)}

    def has(self, role: str) -> bool:
        return False

    def ignore(self) -> None:
        for weight in self._all():
            weight.used = True

    def unused(self) -> list[str]:
        return [w.label for w in self._all() if not w.used]

    def reset(self) -> None:
        for weight in self._all():
            weight.used = False

    def _all(self) -> list[Weight]:
        below = [w for key, g in self.children.items() if key != _SEED for w in g._all()]
        return [*self.arrays.values(), *below]


@dataclass
class NamedWeights:
    """Weights of an ``.h5`` file or a living model: paths of names, in Keras's order.

    At the root the first part of each path is the layer's name.
    """

    entries: list[tuple[tuple[str, ...], Weight]]
    root: bool = True

    @classmethod
    def of_layers(cls, layers: dict[str, list[tuple[str, NDArray[Any]]]]) -> NamedWeights:
        """From the names and arrays of each layer; names look like ``lstm/lstm_cell/kernel:0``."""
        entries = []
        for layer, weights in layers.items():
            for name, array in weights:
                path = (layer, *(part for part in name.split("/") if part))
                if not path[-1].startswith(_SEED):
                    entries.append((path, Weight(f"{layer}: {name}", array)))
        return cls(entries)

    def child(self, group: str, names: Sequence[str] = (), index: int = 0, count: int = 1) -> NamedWeights:
        for name in names:
            named = [e for e in self.entries if name in e[0][:-1]]
            if named:
                return NamedWeights(named, root=False)
        # Keras itself goes by order alone, so where names do not tell, the order does.
        size, rest = divmod(len(self.entries), count)
        if rest:
            return NamedWeights([], root=False)
        return NamedWeights(self.entries[index * size : (index + 1) * size], root=False)

    def layer(self, name: str, group: str, nested: bool = False) -> NamedWeights:
        first = [(p[1:], w) for p, w in self.entries if p[0] == name and len(p) > 1]
        if first or self.root:
            return NamedWeights(first, root=False)
        named = [e for e in self.entries if name in e[0][:-1]]
        # A weight is called after the layer that made it: models around that one leave no trace.
        return NamedWeights(named or (self.entries if nested else []), root=False)

    def take(self, roles: Sequence[str], who: str, others: Sequence[str] = ()) -> dict[str, FloatArray]:
        for role in others:
            self._find(role, (*roles, *others), who).used = True
        return {role: _read(self._find(role, roles, who), who) for role in roles}

    def has(self, role: str) -> bool:
        return bool(self._called(role))

    def _called(self, role: str) -> list[Weight]:
        # TensorFlow appends :0, and _1 when a name was taken before: bias, bias:0, bias_1:0
        pattern = re.compile(rf"{re.escape(role)}(_\d+)?(:\d+)?")
        return [w for path, w in self.entries if pattern.fullmatch(path[-1])]

    def _find(self, role: str, roles: Sequence[str], who: str) -> Weight:
        found = self._called(role)
        if len(found) != 1:
            names = ", ".join("/".join(p) for p, _ in self.entries) or "none"
            raise ConvertError(
                f"{who}: {len(found)} weights are called {role!r}, expected one; "
                f"the layer needs {', '.join(roles)}, the file has: {names}"
            )
        return found[0]

    def ignore(self) -> None:
        for _, weight in self.entries:
            weight.used = True

    def unused(self) -> list[str]:
        return [w.label for _, w in self.entries if not w.used]

    def reset(self) -> None:
        for _, weight in self.entries:
            weight.used = False


def with_lora(spec: LayerSpec, weights: Weights, array: FloatArray, role: str) -> FloatArray:
    """An array with what was learned beside it by low-rank adaptation (Hu et al. 2021); archives have it added."""
    names = [f"lora_{role}_{side}" for side in "ab"]
    if not weights.has(names[0]):
        return array
    found, rank = weights.take(names, str(spec)), spec.size("lora_rank")
    a, b = (found[name] for name in names)
    if a.ndim < 2 or b.ndim != 2 or a.shape[-1] != len(b) or (*a.shape[:-1], b.shape[-1]) != array.shape:
        raise spec.error(f"{names[0]} and {names[1]} have shapes {a.shape} and {b.shape}, {role} has {array.shape}")
    alpha = spec.optional("lora_alpha")
    delta: FloatArray = np.float32((rank if alpha is None else alpha) / rank) * (a @ b)
    return array + delta


def _read(weight: Weight, who: str) -> FloatArray:
    if weight.array.dtype.kind != "f":
        raise ConvertError(f"{who}: weight {weight.label} has dtype {weight.array.dtype}, expected floats")
    weight.used = True
    return as_float32(weight.array, f"{who}: weight {weight.label}")
