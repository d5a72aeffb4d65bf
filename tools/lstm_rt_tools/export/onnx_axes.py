"""Time axes in ONNX's terms: how many steps they have, and which steps of a row are valid."""

from __future__ import annotations

import numpy as np

from lstm_rt.graph import Graph
from lstm_rt.ops import MAX_STEPS, Axis

from .onnx_build import Builder, dtype_code


class Axes:
    """Makes the nodes that count steps where they are asked for, once."""

    def __init__(self, builder: Builder, graph: Graph) -> None:
        self._b, self._graph = builder, graph
        self._ports: dict[int, str] = {}
        self._steps: dict[int, str] = {}
        self._lengths: dict[int, str] = {}
        self._valid: dict[int, str] = {}
        self._numbers: dict[int, str] = {}

    def bring(self, axis: int, kind: str, name: str) -> None:
        """An input of the model that is on this axis: ``(T, ...)``, or lengths ``(N,)``."""
        if kind == "lengths":
            self._lengths[axis] = name
        else:
            self._ports.setdefault(axis, name)

    def steps(self, axis: int) -> str:
        """Its steps: int64 ``(1,)``."""
        if axis not in self._steps:
            rule = self._graph.axes[axis]
            if rule.is_input:
                self._steps[axis] = self._b.add("Shape", self._ports[axis], start=0, end=1)
            elif rule.parent is None:
                self._steps[axis] = self._b.ints(rule.steps(0))
            else:
                self._steps[axis] = self._derived(rule, self.steps(rule.parent))
        return self._steps[axis]

    def numbers(self, axis: int) -> str:
        """The numbers of its steps, 0 to T - 1: int64 ``(T,)``."""
        b = self._b
        if axis not in self._numbers:
            count = b.add("Squeeze", self.steps(axis), b.ints(0))
            self._numbers[axis] = b.add("Range", b.constant(np.int64(0), "zero"), count, b.constant(np.int64(1), "one"))
        return self._numbers[axis]

    def has_lengths(self, axis: int) -> bool:
        """Do rows differ in their valid steps?"""
        rule = self._graph.axes[axis]
        return axis in self._lengths or (rule.parent is not None and self.has_lengths(rule.parent))

    def lengths(self, axis: int) -> str:
        """The valid steps of the rows: int32 ``(N,)``; ask :meth:`has_lengths` first."""
        if axis not in self._lengths:
            rule = self._graph.axes[axis]
            assert rule.parent is not None
            whole = self._b.add("Cast", self.lengths(rule.parent), to=dtype_code(np.int64))
            self._lengths[axis] = self._b.add("Cast", self._derived(rule, whole), to=dtype_code(np.int32))
        return self._lengths[axis]

    def valid(self, axis: int) -> str:
        """Which steps are valid: bool ``(T, N, 1)``; ask :meth:`has_lengths` first."""
        if axis not in self._valid:
            b = self._b
            lengths = b.add("Cast", self.lengths(axis), to=dtype_code(np.int64))
            columns = b.add("Unsqueeze", self.numbers(axis), b.ints(1, 2)), b.add("Unsqueeze", lengths, b.ints(0, 2))
            self._valid[axis] = b.add("Less", *columns)
        return self._valid[axis]

    def _derived(self, rule: Axis, n: str) -> str:
        """``rule.steps`` of a vector; division may round to zero, as what is below it becomes zero anyway."""
        b = self._b
        if rule.mul != 1:
            n = b.add("Mul", n, b.ints(rule.mul))
        if rule.add != 0:
            n = b.add("Add", n, b.ints(rule.add))
        if rule.div != 1:
            n = b.add("Div", n, b.ints(rule.div))
        if rule.add < 0:
            n = b.add("Max", n, b.ints(0))
        return n if rule.cap == MAX_STEPS else b.add("Min", n, b.ints(rule.cap))
