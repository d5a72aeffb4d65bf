"""Activations that a program writes out as a formula, each put together to one again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from lstm_rt.graph import Activation, Graph, Node

from .algebra import Activated, Algebra, Factor, Given, Piece, Unknown

#: A factor: None is x itself, else an activation of a sum. A sum: what each product in it is multiplied with.
_Factor: TypeAlias = "tuple[Activation, _Sum] | None"
_Sum: TypeAlias = "Sequence[tuple[float, Sequence[_Factor]]]"

_X: _Sum = [(1.0, [None])]


def _of(name: str, x: _Sum = _X, alpha: float | None = None, beta: float | None = None) -> _Factor:
    return Activation(name, alpha, beta), x


_INNER: _Sum = [(math.sqrt(2 / math.pi), [None]), (0.044715 * math.sqrt(2 / math.pi), [None] * 3)]
#: Formulas by what they are; some can be written in several ways that the algebra does not make one.
_FORMULAS: Sequence[tuple[str, _Sum]] = [
    ("swish", [(1.0, [None, _of("sigmoid")])]),
    ("gelu", [(0.5, [None]), (0.5, [None, _of("erf", [(math.sqrt(0.5), [None])])])]),
    ("gelu_tanh", [(0.5, [None]), (0.5, [None, _of("tanh", _INNER)])]),
    ("softsign", [(1.0, [None, _of("reciprocal", [(1.0, []), (1.0, [_of("abs")])])])]),
    ("mish", [(1.0, [None, _of("tanh", [(1.0, [_of("softplus")])])])]),
    ("sigmoid", [(1.0, [_of("reciprocal", [(1.0, []), (1.0, [_of("exp", [(-1.0, [None])])])])])]),
    ("hard_swish", [(1.0, [None, _of("hard_sigmoid")])]),
    ("hard_swish", [(1 / 6, [None, _of("clip", [(1.0, [None]), (3.0, [])], 0.0, 6.0)])]),
    ("hard_swish", [(1.0, [None, _of("clip", [(1 / 6, [None]), (0.5, [])], 0.0, 1.0)])]),
]
_POINTWISE = frozenset({"activation", "add", "sub", "mul", "div", "constant"})
_PRODUCTS = frozenset({"mul", "div"})
_MOST_NODES = 16  #: of a formula
_NEAR = 1e-6  #: relative: numbers of a formula are rounded to float32


def put_together(graph: Graph) -> list[str]:
    """Let nodes that end a formula be the activation; what else it is made of stays, for others to read.

    Returns:
        What was put together, for the user: a line each.
    """
    makers = {o: n for n in graph.nodes for o in n.outputs if o is not None}
    count = 0
    for node in graph.nodes:
        found = next((f for x in dict.fromkeys(_may_be_x(makers, node)) if (f := _known(graph, makers, node, x))), None)
        if found is not None:
            node.op, node.inputs, node.weights = "activation", (found[1],), {}
            node.attrs = {"activation": Activation(found[0])}
            count += 1
    return [f"{count} activations put together that are written out as formulas"] if count else []


def _scaled(makers: Mapping[int, Node], value: int | None) -> int | None:
    """What a value is a multiple of, and a shift; None if it is nothing such."""
    node = makers.get(value) if value is not None else None
    is_affine = node is not None and node.op == "activation" and node.attrs["activation"].name == "affine"
    return node.inputs[0] if node is not None and is_affine else None


def _may_be_x(makers: Mapping[int, Node], node: Node) -> Iterator[int]:
    """Values that a node, as the end of a formula, may be one of."""
    end: Node | None = node
    if node.op == "activation" and node.attrs["activation"].name == "reciprocal":
        exp = makers.get(inner) if (inner := _scaled(makers, node.inputs[0])) is not None else None
        candidates = [] if exp is None else [_scaled(makers, i) for i in exp.inputs]
    else:
        if (inner := _scaled(makers, node.outputs[0])) is not None:
            end = makers.get(inner)
        inputs = end.inputs if end is not None and end.op in _PRODUCTS else ()
        candidates = [*inputs, *(_scaled(makers, i) for i in inputs)]
    yield from (c for c in candidates if c is not None)


def _known(graph: Graph, makers: Mapping[int, Node], node: Node, x: int) -> tuple[str, int] | None:
    """The activation that a node is of x, and x; None if it is none that is known."""
    out, nodes = node.outputs[0], _between(makers, node, x)
    if out is None or nodes is None or graph.values[out].size != graph.values[x].size:
        return None
    part = Graph()
    part.nodes, part.values = nodes, graph.values
    inner = {o: frozenset({x}) if n.inputs else frozenset[int]() for n in nodes for o in n.outputs if o is not None}
    a = Algebra(part, {**inner, x: frozenset({x})}, [x])
    try:
        made = a.of(out)
    except Unknown:
        return None
    return next(((name, x) for name, form in _FORMULAS if len(made) == 1 and _is_sum(a, made[0], form)), None)


def _between(makers: Mapping[int, Node], end: Node, x: int) -> list[Node] | None:
    """What a node is made of, down to x; None if that is anything else than operations on each number of x."""
    found, left = {id(end): end}, [end]
    while left:
        for i in left.pop().inputs:
            node = makers.get(i) if i is not None else None
            if i == x or (node is not None and id(node) in found):
                continue
            if node is None or node.op not in _POINTWISE or len(found) == _MOST_NODES:
                return None
            found[id(node)] = node
            left.append(node)
    return [*found.values()]


def _is_sum(a: Algebra, p: Piece, form: _Sum) -> bool:
    left = dict(p.terms)
    for c, factors in form:
        key = next((k for k, n in left.items() if np.all(np.abs(n - c) <= _NEAR * abs(c)) and _is(a, k, factors)), None)
        if key is None:
            return False
        del left[key]
    return not left


def _is(a: Algebra, key: Sequence[Factor], factors: Sequence[_Factor]) -> bool:
    orders = itertools.permutations(factors) if len(key) == len(factors) else ()
    return any(all(_is_factor(a, k, f) for k, f in zip(key, order, strict=True)) for order in orders)


def _is_factor(a: Algebra, factor: Factor, wanted: _Factor) -> bool:
    atom = a.atoms[factor[0]]
    if factor[1] or wanted is None:
        return not factor[1] and isinstance(atom, Given)
    return isinstance(atom, Activated) and _alike(atom.activation, wanted[0]) and _is_sum(a, atom.x, wanted[1])


def _alike(a: Activation, b: Activation) -> bool:
    parameters = ((a.alpha, b.alpha), (a.beta, b.beta))
    return a.name == b.name and all(math.isclose(p or 0.0, q or 0.0, rel_tol=_NEAR) for p, q in parameters)
