"""Steps of sequences that a program reads one by one.

A step is a placeholder until somebody reads it (:meth:`Unrolled.resolve`); so is what :mod:`.rolled` finds to be the
step of a sequence. All steps of a sequence, put together in order, are that sequence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lstm_rt.graph import Graph

from ..labels import Cells, apart, cell
from ..machine import ProgramError
from ..tidy import drop_dead

#: Operations that treat each step for itself.
EACH_STEP = {
    "dense",
    "activation",
    "batchnorm",
    "layernorm",
    "groupnorm",
    "l2norm",
    "prelu",
    "gather",
    "slice",
    "concat",
}
EACH_STEP |= {"add", "sub", "mul", "div", "maximum", "minimum", "pow", "average", "reduce_features"}


FEW = 3  #: steps that a program may read one by one, of which there happen to be no more


class Unrolled:
    """Steps of the sequences of one graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._step_of: dict[int, tuple[int, int]] = {}  #: placeholders: a sequence, and which step
        self._placeholder: dict[tuple[int, int], int] = {}
        self._counts: dict[int, int] = {}  #: steps of sequences in this run
        self._of_steps: set[int] = set()  #: what depends on steps, as far as ``_looked`` nodes tell
        self._looked = 0
        self.done: set[int] = set()  #: states within cells that have become layers, still written out
        self.folded: list[str] = []  #: what was put together, for the user

    def step(self, seq: int, t: int, count: int) -> int:
        """Step ``t`` of ``count``."""
        if (seq, t) not in self._placeholder:
            value = self._graph.placeholder(self._graph.values[seq].size)
            self._placeholder[seq, t], self._step_of[value], self._counts[seq] = value, (seq, t), count
        return self._placeholder[seq, t]

    def put(self, value: int, seq: int, t: int, count: int) -> None:
        """A value is step ``t`` of a sequence from now on; no node makes it any more."""
        self._step_of[value], self._counts[seq] = (seq, t), count
        self._placeholder.setdefault((seq, t), value)
        self._of_steps.clear()
        self._looked = 0

    def depends(self, value: int) -> bool:
        """Is it made of single steps of sequences?"""
        nodes = self._graph.nodes
        for node in nodes[self._looked :]:
            if any(i in self._step_of or i in self._of_steps for i in node.inputs):
                self._of_steps.update(o for o in node.outputs if o is not None)
        self._looked = len(nodes)
        return value in self._step_of or value in self._of_steps

    @property
    def steps(self) -> Collection[int]:
        """The values that are steps of sequences."""
        return self._step_of.keys()

    @property
    def counts(self) -> Collection[int]:
        """How many steps there are of the sequences that are read step by step."""
        return set(self._counts.values())

    @property
    def middle(self) -> bool:
        """Is a step read that is neither the first nor the last?"""
        return any(0 < t < self._counts[seq] - 1 for seq, t in self._step_of.values())

    def step_of(self, value: int) -> tuple[int, int, int] | None:
        """The sequence that a value is a step of, which step, and of how many."""
        found = self._step_of.get(value)
        return None if found is None else (*found, self._counts[found[0]])

    def is_placeholder(self, value: int) -> bool:
        """Is it a step that nothing makes yet?"""
        return value in self._step_of

    def joined(self, parts: Sequence[Cells]) -> tuple[Cells, int, bool] | None:
        """All steps of sequences in order: the sequences' cells, one of these, and whether they come backwards."""
        values, features = zip(*(apart(p) for p in parts), strict=True)
        steps = [[self._step_of.get(int(v)) for v in part.ravel()] for part in values]
        if not steps or any(s is None for part in steps for s in part) or not steps[0]:
            return None
        found = np.array(steps)  # part, cell, (sequence, step)
        forth = np.arange(len(parts))
        first = int(found[0, 0, 0])
        if len(parts) != self._counts[first] or (found[:, :, 0] != found[:1, :, 0]).any():
            return None
        if any((f != features[0]).any() for f in features):
            return None
        for order, backwards in ((forth, False), (forth[::-1], True)):
            if (found[:, :, 1] == order[:, None]).all():
                cells = cell(0, features[0].ravel()) | (found[0, :, 0].astype(np.int64) << 32)
                return cells.reshape(parts[0].shape), first, backwards
        return None

    def read_whole(self) -> list[int]:
        """The sequences all of whose steps are read one by one."""
        drop_dead(self._graph, {value: seq for value, (seq, _) in self._step_of.items()})
        read: dict[int, set[int]] = {}
        for i in {i for node in self._graph.nodes for i in node.inputs if i in self._step_of}:
            seq, t = self._step_of[i]
            read.setdefault(seq, set()).add(t)
        return [seq for seq, steps in read.items() if len(steps) == self._counts[seq] > FEW]

    def resolve(self, fixed: Collection[int] = ()) -> None:
        """Make the steps that nodes read; ``fixed``: axes whose number of steps the program fixes.

        Raises:
            ProgramError: the steps of an input are read as features are.
        """
        graph, made = self._graph, dict[int, int]()
        drop_dead(graph, {value: seq for value, (seq, _) in self._step_of.items()})
        self._must_be_steps(fixed)
        nodes, graph.nodes = graph.nodes, []
        for node in nodes:
            for i in node.inputs:
                if i in self._step_of and i not in made:
                    made[i] = self._make(*self._step_of[i])
            graph.nodes.append(
                replace(node, inputs=tuple(made.get(i, i) if i is not None else None for i in node.inputs))
            )

    def _must_be_steps(self, fixed: Collection[int]) -> None:
        """Of so many steps of an input, read one by one, each is something else: no more or fewer could be given."""
        plain = set(self._graph.inputs)
        for node in self._graph.nodes:
            if node.op in EACH_STEP and plain.issuperset(i for i in node.inputs if i is not None):
                plain.update(o for o in node.outputs if o is not None)
        read: dict[int, set[int]] = {}
        for i in {i for node in self._graph.nodes for i in node.inputs if i in self._step_of}:
            seq, t = self._step_of[i]
            axis = self._graph.values[seq].axis
            if seq in plain and axis in fixed:
                read.setdefault(axis, set()).add(t)
        if any(len(steps) > 1 for steps in read.values()):
            raise ProgramError("steps of an input, of which there is a fixed number, are read one by one")

    def _make(self, seq: int, t: int) -> int:
        count = self._counts[seq]
        if t in (0, count - 1):
            return self._graph.select(seq, -1 if t else 0)
        return self._graph.select(self._graph.take(seq, start=t, most=1), -1)


def digest(weights: Mapping[str, Any]) -> str:
    """What tells weights from others."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode())
        found.update(np.ascontiguousarray(weights[name]).tobytes())
    return found.hexdigest()
