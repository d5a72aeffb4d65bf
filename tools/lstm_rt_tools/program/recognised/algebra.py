"""What the values of one step are, as sums of products: so that a cell shows however it is written out.

An expression is a row of *pieces*, each a sum of products of *atoms* for so many features. Atoms are values that are
taken as given, results of a product with weights, and results of an activation.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation, Graph, Node

from ..tidy import scale_and_shift

A: TypeAlias = NDArray[np.float64]
#: An atom's number, and the first of its features that is meant.
Factor: TypeAlias = tuple[int, int]
#: Products, by their factors in order, and what they are multiplied with, feature by feature. () is the constant.
Sum: TypeAlias = dict[tuple[Factor, ...], A]


@dataclass(frozen=True)
class Piece:
    """Some features."""

    size: int
    terms: Sum


Expression: TypeAlias = list[Piece]


@dataclass(frozen=True)
class Given:
    """A value of the step that is taken as it is."""

    value: int


@dataclass(frozen=True)
class Product:
    """``weight @ x + bias``."""

    weight: A
    bias: A
    x: Expression


@dataclass(frozen=True, eq=False)
class Convolved:
    """A convolution over the places of an image of some features: what a node makes."""

    node: Node
    x: Piece


@dataclass(frozen=True)
class Activated:
    """An activation of some features."""

    activation: Activation
    x: Piece


Atom: TypeAlias = "Given | Product | Convolved | Activated"


_MOST_TERMS = 64  #: of a product that is written out
_MOST_PIECES = 8  #: of what is fed into a cell, before it is taken as it is


class Unknown(Exception):
    """A value is not made of sums, products and activations."""


class Algebra:
    """Expressions of the values of one step.

    Args:
        graph: of the step.
        depends: for each value, the states that it depends on.
        states: of the cell that is looked for: what depends on none of them is taken as given.
    """

    def __init__(self, graph: Graph, depends: Mapping[int, frozenset[int]], states: Collection[int]) -> None:
        self._makers: dict[int, Node] = {o: n for n in graph.nodes for o in n.outputs if o is not None}
        self._graph, self._depends, self._states = graph, depends, frozenset(states)
        self.atoms: list[Atom] = []
        self._known: dict[int, Expression] = {}

    def of(self, value: int) -> Expression:
        """The expression of a value.

        Raises:
            Unknown: it is made in another way.
        """
        if value not in self._known:
            self._known[value] = self._of(value)
        return self._known[value]

    def atom(self, atom: Atom, size: int) -> Piece:
        """An atom that is not there yet, or is, as a piece."""
        number = next((i for i, a in enumerate(self.atoms) if _same(a, atom)), None)
        if number is None:
            self.atoms.append(atom)
            number = len(self.atoms) - 1
        return Piece(size, {((number, 0),): np.ones(size)})

    def size(self, node: Node) -> int:
        """Features of a node's result."""
        assert node.outputs[0] is not None
        return self._graph.values[node.outputs[0]].size

    def maker(self, value: int) -> Node | None:
        """The node of the step that makes a value."""
        return self._makers.get(value)

    def is_inner(self, value: int) -> bool:
        """Does it depend on the cell's states?"""
        return bool(self._depends[value] & self._states)

    def _of(self, value: int) -> Expression:
        size = self._graph.values[value].size
        node = None if value in self._states else self._makers.get(value)
        rule = None if node is None else _RULES.get(node.op)
        inner = self.is_inner(value)
        if node is None or rule is None or not (inner or _is_transparent(node)):
            if inner and node is not None:
                raise Unknown(node.op)
            return [self.atom(Given(value), size)]
        return rule(self, node)

    def activated(self, x: Expression, activation: Activation) -> Expression:
        """An activation of an expression, piece by piece."""
        if activation.name == "linear":
            return x
        if activation.name == "affine":
            return self.scaled(x, np.float64(activation.alpha or 0), np.float64(activation.beta or 0))
        return [self.atom(self._limited(Activated(activation, p)), p.size) for p in x]

    def scaled(self, x: Expression, scale: Any, shift: Any) -> Expression:
        """``x * scale + shift``; that of a product is one, and ``min(max(x, 0), 6) / 6`` ``min(max(x / 6, 0), 1)``."""
        factors, s = single(x[0]) if len(x) == 1 else None, np.unique(scale)
        inner = self.atoms[factors[0][0]] if factors is not None and len(factors) == 1 else None
        if isinstance(inner, Product) and np.all(s == 1) and len(inner.weight) == x[0].size:
            return [self.atom(Product(inner.weight, inner.bias + shift, inner.x), x[0].size)]
        limits = _limits(inner.activation) if isinstance(inner, Activated) and not np.any(shift) else None
        if limits is None or limits[0] or s.size != 1 or not s[0] > 0 or not isinstance(inner, Activated):
            return scaled(x, scale, shift)
        if factors is None or factors[0][1] or inner.x.size != x[0].size:
            return scaled(x, scale, shift)
        less = Piece(inner.x.size, {key: c * s[0] for key, c in inner.x.terms.items()})
        high = min(float(np.float32(limits[1] * s[0])), float(np.finfo(np.float32).max))
        return [self.atom(Activated(Activation("clip", 0.0, high), less), less.size)]

    def _limited(self, atom: Activated) -> Activated:
        """A limit of what has a limit already, with both."""
        factors = single(atom.x)
        inner = self.atoms[factors[0][0]] if factors is not None and len(factors) == 1 else None
        if not isinstance(inner, Activated) or factors is None or factors[0][1] or inner.x.size != atom.x.size:
            return atom
        first, second = _limits(inner.activation), _limits(atom.activation)
        if first is None or second is None:
            return atom
        low, high = max(first[0], second[0]), min(first[1], second[1])
        return Activated(Activation("clip", low, high), inner.x) if low <= high else atom


def _limits(a: Activation) -> tuple[float, float] | None:
    """What an activation limits numbers to; None if it does anything else."""
    if a.name == "relu":
        return 0.0, float(np.finfo(np.float32).max)
    return None if a.name != "clip" or a.alpha is None or a.beta is None else (a.alpha, a.beta)


def _same(a: Atom, b: Atom) -> bool:
    if isinstance(a, Given) and isinstance(b, Given):
        return a.value == b.value
    if isinstance(a, Activated) and isinstance(b, Activated):
        return a.activation == b.activation and same(a.x, b.x)
    if isinstance(a, Product) and isinstance(b, Product):
        return a is b or (np.array_equal(a.weight, b.weight) and np.array_equal(a.bias, b.bias) and _all_same(a.x, b.x))
    return isinstance(a, Convolved) and isinstance(b, Convolved) and a.node is b.node


def same(a: Piece, b: Piece) -> bool:
    """Are they written alike?"""
    return (
        a.size == b.size
        and a.terms.keys() == b.terms.keys()
        and all(np.array_equal(c, b.terms[k]) for k, c in a.terms.items())
    )


def _all_same(a: Expression, b: Expression) -> bool:
    return len(a) == len(b) and all(map(same, a, b))


# -- operations on expressions ------------------------------------------------------------------------------


def cut(p: Piece, start: int, size: int) -> Piece:
    """Some features of a piece."""
    terms = {tuple((a, at + start) for a, at in key): c[start : start + size] for key, c in p.terms.items()}
    return Piece(size, terms)


def part(x: Expression, start: int, size: int) -> Expression:
    """Some features of an expression."""
    found, at = [], 0
    for p in x:
        low, high = max(start, at), min(start + size, at + p.size)
        if low < high:
            found.append(p if high - low == p.size else cut(p, low - at, high - low))
        at += p.size
    return found


def aligned(x: Expression, y: Expression) -> list[tuple[Piece, Piece]]:
    """Pieces of two expressions of one size, cut where either is."""
    sizes = [sum(p.size for p in x), sum(p.size for p in y)]
    if sizes[0] != sizes[1]:
        x, y = (e if n > 1 else _spread(e, max(sizes)) for e, n in zip((x, y), sizes, strict=True))
    edges = sorted({0, *np.cumsum([p.size for p in x]).tolist(), *np.cumsum([p.size for p in y]).tolist()})
    return [(part(x, low, high - low)[0], part(y, low, high - low)[0]) for low, high in itertools.pairwise(edges)]


def _spread(x: Expression, size: int) -> Expression:
    if any(x[0].terms.keys() - {()}):
        raise Unknown("a single feature beside many")
    return [Piece(size, {k: np.broadcast_to(c, (size,)) for k, c in x[0].terms.items()})]


def added(x: Expression, y: Expression, sign: float = 1.0) -> Expression:
    """``x + sign * y``."""
    out = []
    for p, q in aligned(x, y):
        terms = dict(p.terms)
        for key, c in q.terms.items():
            terms[key] = terms[key] + sign * c if key in terms else sign * c
        out.append(Piece(p.size, {k: c for k, c in terms.items() if np.any(c)}))
    return out


def multiplied(x: Expression, y: Expression) -> Expression:
    """``x * y``, all products written out.

    Raises:
        Unknown: they are more than any cell has.
    """
    out = []
    for p, q in aligned(x, y):
        if len(p.terms) * len(q.terms) > _MOST_TERMS:
            raise Unknown("a product of long sums")
        terms: Sum = {}
        for k, c in p.terms.items():
            for m, d in q.terms.items():
                key = tuple(sorted((*k, *m)))
                terms[key] = terms[key] + c * d if key in terms else c * d
        out.append(Piece(p.size, {k: c for k, c in terms.items() if np.any(c)}))
    return out


def scaled(x: Expression, scale: Any, shift: Any) -> Expression:
    """``x * scale + shift``."""
    size = sum(p.size for p in x)
    scale, shift = (np.broadcast_to(np.asarray(a, np.float64), (size,)) for a in (scale, shift))
    constant = [Piece(size, {(): shift} if np.any(shift) else {})]
    return added(multiplied(x, [Piece(size, {(): scale})]), constant)


# -- nodes ----------------------------------------------------------------------------------------------------


def _inputs(node: Node) -> list[int]:
    return [i for i in node.inputs if i is not None]


def _dense(a: Algebra, node: Node) -> Expression:
    weight, bias, source = node.weights["weight"].astype(np.float64), node.weights.get("bias"), _inputs(node)[0]
    x = a.of(source)
    fed_in = not a.is_inner(source)  # however it is made
    if fed_in and (len(x) > _MOST_PIECES or any(single(p) is None for p in x)):
        x = [a.atom(Given(source), weight.shape[1])]
    product = Product(weight, np.zeros(len(weight)) if bias is None else bias.astype(np.float64), x)
    return a.activated([a.atom(product, len(weight))], node.attrs["activation"])


def _conv(a: Algebra, node: Node) -> Expression:
    x = a.of(_inputs(node)[0])
    if len(x) != 1:
        raise Unknown("a convolution of several pieces")
    return [a.atom(Convolved(node, x[0]), a.size(node))]


def _scale(a: Algebra, node: Node) -> Expression:
    found = scale_and_shift(node)
    assert found is not None
    return a.scaled(a.of(_inputs(node)[0]), *found)


def _slice(a: Algebra, node: Node) -> Expression:
    return part(a.of(_inputs(node)[0]), node.attrs["start"], node.attrs["size"])


def _gather(a: Algebra, node: Node) -> Expression:
    x, index = a.of(_inputs(node)[0]), node.weights["index"]
    runs = np.split(index, np.flatnonzero(np.diff(index) != 1) + 1)
    return [p for run in runs for p in part(x, int(run[0]), len(run))]


def _binary(make: Callable[[Expression, Expression], Expression]) -> Callable[[Algebra, Node], Expression]:
    def rule(a: Algebra, node: Node) -> Expression:
        x, y = (a.of(i) for i in _inputs(node))
        return make(x, y)

    return rule


def _activation(a: Algebra, node: Node) -> Expression:
    """Whole powers are products."""
    x, act = a.of(_inputs(node)[0]), node.attrs["activation"]
    power = {"square": 2, "power": act.alpha}.get(act.name, 0)
    if power not in (2, 3):
        return a.activated(x, act)
    square = multiplied(x, x)
    return square if power == 2 else multiplied(square, x)


def _quotient(a: Algebra, node: Node) -> Expression:
    x, y = (a.of(i) for i in _inputs(node))
    return multiplied(x, a.activated(y, Activation("reciprocal")))


def _constant(a: Algebra, node: Node) -> Expression:
    value = node.weights["value"].astype(np.float64)
    return [Piece(len(value), {(): value} if np.any(value) else {})]


def _concat(a: Algebra, node: Node) -> Expression:
    return [p for i in _inputs(node) for p in a.of(i)]


_RULES: dict[str, Callable[[Algebra, Node], Expression]] = {
    "dense": _dense,
    "conv": _conv,
    "batchnorm": _scale,
    "activation": _activation,
    "slice": _slice,
    "gather": _gather,
    "concat": _concat,
    "constant": _constant,
    "add": _binary(added),
    "sub": _binary(lambda x, y: added(x, y, -1.0)),
    "mul": _binary(multiplied),
    "div": _quotient,
}


def _is_transparent(node: Node) -> bool:
    """Is it looked into even where it does not depend on the cell's states? The input's part of its products is."""
    if node.op == "dense":
        return bool(node.attrs["activation"].name == "linear")
    if node.op == "activation":
        return bool(node.attrs["activation"].name == "affine")
    return node.op in ("slice", "gather", "concat", "add", "batchnorm", "constant")


def single(p: Piece) -> tuple[Factor, ...] | None:
    """The factors of a piece that is one product."""
    if len(p.terms) != 1:
        return None
    ((key, c),) = p.terms.items()
    return key if np.all(c == 1) else None
