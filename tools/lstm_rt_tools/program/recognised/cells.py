"""Recurrent cells that a program has written out as products and activations, recognised in the algebra of a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation, Graph

from . import convolved
from .algebra import Activated, Algebra, Factor, Given, Piece, Product, Sum, Unknown, same, single

A = NDArray[np.float64]


@dataclass
class Cell:
    """A cell of a step.

    Attributes:
        op: lstm, gru or rnn; or convlstm, whose ``x`` is for each gate what comes of its input.
        h, c: numbers of its states among the step's; the same where an lstm has one state, which is both.
        x: what it reads: features ``start`` to ``start + size`` of values of the step, side by side.
    """

    op: str
    h: int
    c: int | None
    x: list[tuple[int, int, int]]
    weights: dict[str, NDArray[Any]]
    hidden_size: int
    options: dict[str, Any] = field(default_factory=dict)


class _Gate:
    """What acts before the activation of a gate: products with the input and with h, a bias, and what is left."""

    def __init__(self, a: Algebra, p: Piece, h: int) -> None:
        self.size, self.rest = p.size, dict(p.terms)
        self.bias: A = self.rest.pop((), np.zeros(p.size))
        self.x: list[tuple[int, int, A]] = []  #: value, first feature, weight
        self.h: list[tuple[int, A]] = []  #: first feature of h, weight
        self.bias_on_h: A = np.zeros(p.size)  #: beside products with h alone
        for key in list(self.rest):
            if len(key) == 1 and isinstance(a.atoms[key[0][0]], Product):
                self._product(a, key[0], self.rest.pop(key), h)
        for key in list(self.rest):
            given = a.atoms[key[0][0]] if len(key) == 1 else None
            if isinstance(given, Given) and given.value == h:
                self.h.append((key[0][1], np.diag(self.rest.pop(key))))
            elif isinstance(given, Given) and not a.is_inner(given.value):  # multiplied ahead of the loop
                self.x.append((given.value, key[0][1], np.diag(self.rest.pop(key))))

    def _product(self, a: Algebra, factor: tuple[int, int], scale: A, h: int) -> None:
        product = a.atoms[factor[0]]
        assert isinstance(product, Product)
        rows = slice(factor[1], factor[1] + self.size)
        at, others = 0, len(self.x)
        for p in product.x:
            weight = scale[:, None] * product.weight[rows, at : at + p.size]
            at += p.size
            factors = single(p)
            if factors is None or len(factors) != 1 or not isinstance(a.atoms[factors[0][0]], Given):
                raise Unknown("a product of more than values")
            given = a.atoms[factors[0][0]]
            assert isinstance(given, Given)
            if given.value == h:
                self.h.append((factors[0][1], weight))
            else:
                self.x.append((given.value, factors[0][1], weight))
        if len(self.x) == others:
            self.bias_on_h = self.bias_on_h + scale * product.bias[rows]
        else:
            self.bias = self.bias + scale * product.bias[rows]

    def recurrent(self, size: int) -> A:
        """The weight of all of h."""
        full = np.zeros((self.size, size))
        for start, w in self.h:
            full[:, start : start + w.shape[1]] += w
        return full


def find(graph: Graph, depends: Mapping[int, frozenset[int]], old: Sequence[int], new: Sequence[int]) -> list[Cell]:
    """The cells of a step: its states' values before (``old``) and after (``new``) it.

    Raises:
        Unknown: a state is not that of a cell.
    """
    cells: list[Cell] = []
    left = [k for k in range(len(old)) if new[k] != old[k]]
    while left:
        found = next(
            (c for group in _groups(left, depends, old, new) if (c := _cell(graph, depends, old, new, group))), None
        ) or next((c for k in left if (c := _plain(graph, depends, old, new, k))), None)
        if found is None:
            raise Unknown("a state that no known cell has")
        cells.append(found)
        left = [k for k in left if k not in (found.h, found.c)]
    return cells


def _groups(
    left: Sequence[int], depends: Mapping[int, frozenset[int]], old: Sequence[int], new: Sequence[int]
) -> list[tuple[int, ...]]:
    """States that may be those of one cell: alone, or two that depend on each other."""
    pairs = [(h, c) for h in left for c in left if h != c and old[c] in depends[new[h]] and old[h] in depends[new[c]]]
    alone: list[tuple[int, ...]] = [(k,) for k in left]
    return alone + pairs


def _cell(
    graph: Graph, depends: Mapping[int, frozenset[int]], old: Sequence[int], new: Sequence[int], group: tuple[int, ...]
) -> Cell | None:
    a = Algebra(graph, depends, [old[k] for k in group])
    try:
        if len(group) == 2:
            gates = _lstm_gates(a, group, old, new)
            if gates is None:
                return None
            return convolved.found(a, gates.found, gates.output, group, old) or _lstm(a, gates, group, old)
        return _gru(a, group[0], old, new) or _rnn(a, group[0], old, new)
    except Unknown:
        return None


def gated(graph: Graph, depends: Mapping[int, frozenset[int]], old: Sequence[int], new: Sequence[int]) -> Cell | None:
    """An lstm of the states h and c, or a gru of h; None if these are no such states."""
    a = Algebra(graph, depends, old)
    try:
        if len(old) == 1:
            return _gru(a, 0, old, new)
        gates = _lstm_gates(a, (0, 1), old, new)
        return None if gates is None else _lstm(a, gates, (0, 1), old)
    except Unknown:
        return None


def _plain(
    graph: Graph, depends: Mapping[int, frozenset[int]], old: Sequence[int], new: Sequence[int], k: int
) -> Cell | None:
    a = Algebra(graph, depends, [old[k]])
    try:
        return _linear(a, k, old, new)
    except Unknown:
        return None


def ungated(graph: Graph, depends: Mapping[int, frozenset[int]], old: int, new: int) -> Cell | None:
    """A cell of one state whose gates, if it has any, do not read the state; None if it is no such state."""
    a = Algebra(graph, depends, [old])
    try:
        return _rnn(a, 0, [old], [new]) or _linear(a, 0, [old], [new])
    except Unknown:
        return None


def _one_piece(a: Algebra, value: int) -> Piece:
    pieces = a.of(value)
    if len(pieces) != 1:
        raise Unknown("a state of several pieces")
    return pieces[0]


def _activated(a: Algebra, factor: tuple[int, int], size: int) -> Activated | None:
    atom = a.atoms[factor[0]]
    return atom if isinstance(atom, Activated) and factor[1] == 0 and atom.x.size == size else None


def _is(a: Algebra, factor: tuple[int, int], value: int) -> bool:
    return a.atoms[factor[0]] == Given(value) and factor[1] == 0


@dataclass
class _Gates:
    """The gates of an lstm, by their letters, its new cell state, the activation of that, and what projects ``h``."""

    found: dict[str, Activated]
    cell: Piece
    output: Activation
    projection: A | None = None


def _lstm_gates(a: Algebra, group: tuple[int, ...], old: Sequence[int], new: Sequence[int]) -> _Gates | None:
    """``c' = f c + i g``, ``h' = o t(c')`` (Gers et al. 2000), or a product with that, whatever the gates read."""
    h, c = group
    cell = _one_piece(a, new[c])
    hidden, projection = _unprojected(a, _one_piece(a, new[h]))
    gates = _remembering(a, cell, old[c])
    leaving = _leaving(a, hidden, cell)
    if gates is None or leaving is None:
        return None
    f, entering = gates
    (i, g), (o, output) = entering, leaving
    if any(gate.activation != f.activation for gate in (i, o)):
        return None
    return _Gates({"i": i, "f": f, "g": g, "o": o}, cell, output, projection)


def _remembering(a: Algebra, cell: Piece, c: int) -> tuple[Activated, tuple[Activated, Activated]] | None:
    """The forget gate, the input gate and what that lets in; one of the gates may be what the other leaves of 1."""
    forget = [k for k in cell.terms if any(_is(a, f, c) for f in k)]
    inputs = Piece(cell.size, {k: v for k, v in cell.terms.items() if k not in forget})
    factors = sorted(forget, key=len)[-1] if forget else ()
    gate = next((f for f in factors if not _is(a, f, c)), None)
    f = None if gate is None or len(factors) != 2 else _activated(a, gate, cell.size)
    if f is None or gate is None:
        return None
    coefficients = [cell.terms[k] for k in sorted(forget, key=len)]
    if len(forget) == 1 and np.all(coefficients[0] == 1):
        entering = _entering(a, inputs, f.activation) or _what_is_left(a, inputs, gate, f)
        return None if entering is None else (f, entering)
    if [[float(n) for n in np.unique(m)] for m in coefficients] != [[1.0], [-1.0]] or f.activation.name != "sigmoid":
        return None
    entering = _entering(a, inputs, f.activation)  # c - i c + i g
    return None if entering is None or entering[0] is not f else (_negative(f), entering)


def _what_is_left(a: Algebra, inputs: Piece, gate: Factor, f: Activated) -> tuple[Activated, Activated] | None:
    """``g - f g`` as ``(1 - f) g``: the input gate and what it lets in."""
    if f.activation.name != "sigmoid":
        return None
    let_in = {k: v for k, v in inputs.terms.items() if gate not in k}
    taken = {tuple(x for x in k if x != gate): -v for k, v in inputs.terms.items() if gate in k}
    if not same(Piece(inputs.size, let_in), Piece(inputs.size, taken)):
        return None
    factors = single(Piece(inputs.size, let_in)) or ()
    g = _activated(a, factors[0], inputs.size) if len(factors) == 1 else None
    return _negative(f), g or Activated(Activation("linear"), Piece(inputs.size, let_in))


def _negative(gate: Activated) -> Activated:
    """``1 - sigmoid(x)`` is ``sigmoid(-x)``."""
    return Activated(gate.activation, Piece(gate.x.size, {k: -v for k, v in gate.x.terms.items()}))


def _entering(a: Algebra, inputs: Piece, act: Activation) -> tuple[Activated, Activated] | None:
    """The input gate, whose activation is known, and what it lets in."""
    factors = single(inputs) or ()
    both = [found for f in factors if (found := _activated(a, f, inputs.size)) is not None]
    if len(both) == len(factors) == 2:
        i, g = sorted(both, key=lambda t: t.activation != act)
        return i, g
    for gate, rest in _with_a_gate(a, inputs):
        if gate.activation == act:
            return gate, Activated(Activation("linear"), rest)
    return None


def _leaving(a: Algebra, hidden: Piece, cell: Piece) -> tuple[Activated, Activation] | None:
    """The output gate, and the activation of the cell state that it lets out."""
    for gate, rest in _with_a_gate(a, hidden):
        factors = single(rest)
        outer = _activated(a, factors[0], cell.size) if factors is not None and len(factors) == 1 else None
        if same(rest, cell):
            return gate, Activation("linear")
        if outer is not None and same(outer.x, cell):
            return gate, outer.activation
    return None


def _with_a_gate(a: Algebra, p: Piece) -> Iterator[tuple[Activated, Piece]]:
    """Activations that all of a sum is multiplied with, and what it is without."""
    for factor in next(iter(p.terms), ()):
        gate = _activated(a, factor, p.size)
        if gate is not None and all(factor in key for key in p.terms):
            rest = {key[: (k := key.index(factor))] + key[k + 1 :]: c for key, c in p.terms.items()}
            yield gate, Piece(p.size, rest)


def _unprojected(a: Algebra, hidden: Piece) -> tuple[Piece, A | None]:
    """What a state is a product with, and its weight; the state itself and None if it is no such."""
    factors = single(hidden)
    atom = a.atoms[factors[0][0]] if factors is not None and len(factors) == 1 and not factors[0][1] else None
    if not isinstance(atom, Product) or len(atom.x) != 1 or len(atom.weight) != hidden.size or np.any(atom.bias):
        return hidden, None
    return atom.x[0], atom.weight


def _lstm(a: Algebra, gates: _Gates, group: tuple[int, ...], old: Sequence[int]) -> Cell | None:
    """The cell with these gates, if they read products with h and the input."""
    h, c = group
    found, acts = gates.found, (gates.found["f"].activation, gates.found["g"].activation, gates.output)
    pieces, clip = _unclipped(a, [found[g].x for g in "ifgo"])
    parts = [_Gate(a, p, old[h]) for p in pieces]
    peephole = _peepholes(a, parts, old[c], gates.cell)
    if peephole is None:
        return None
    width = None if gates.projection is None else len(gates.projection)
    made = _made("lstm", parts, gates.cell.size, h, c, acts, width)
    made.options |= clip
    if gates.projection is not None:
        made.weights["w_hr"] = gates.projection.astype(np.float32)
    if np.any(peephole):
        made.weights["peephole"] = peephole.astype(np.float32)
    return made


def _peepholes(a: Algebra, parts: Sequence[_Gate], old_c: int, new_c: Piece) -> A | None:
    """Weights of the cell state on i, f and o; None if anything else is left before a gate."""
    rows = []
    for gate in (parts[0], parts[1], parts[3]):
        row = np.zeros(gate.size)
        if gate is parts[3] and gate.rest and gate.rest.keys() == new_c.terms.keys():
            ratios = [gate.rest[k] / new_c.terms[k] for k in gate.rest]
            row, gate.rest = ratios[0], {} if all(np.array_equal(r, ratios[0]) for r in ratios) else gate.rest
        for key in list(gate.rest):
            if gate is not parts[3] and len(key) == 1 and _is(a, key[0], old_c):
                row = gate.rest.pop(key)
        rows.append(row)
    return None if any(g.rest for g in parts) else np.stack(rows)


def _gru(a: Algebra, k: int, old: Sequence[int], new: Sequence[int]) -> Cell | None:
    """``h' = (1 - z) n + z h`` (Cho et al. 2014), or with z and 1 - z exchanged."""
    p, h = _one_piece(a, new[k]), old[k]
    with_h = [key for key in p.terms if any(_is(a, f, h) for f in key)]
    mixed = next((key for key in with_h if len(key) == 2), None)
    if mixed is None or len(p.terms) != 3:
        return None
    z = next(f for f in mixed if not _is(a, f, h))
    update = _activated(a, z, p.size)
    n = next((f for key in p.terms if key not in with_h for f in key if f != z), None)
    state = next(f for f in mixed if _is(a, f, h))
    if update is None or n is None or (candidate := _activated(a, n, p.size)) is None:
        return None
    (update_x, candidate_x), clip = _unclipped(a, [update.x, candidate.x])
    candidate = Activated(candidate.activation, candidate_x)
    plain = {(n,): 1.0, tuple(sorted((z, n))): -1.0, tuple(sorted((z, state))): 1.0}
    swapped = {(state,): 1.0, tuple(sorted((z, state))): -1.0, tuple(sorted((z, n))): 1.0}
    signs = {key: float(c[0]) for key, c in p.terms.items() if np.all(c == c[0])}
    if signs not in (plain, swapped):
        return None
    gate_z = _Gate(a, update_x, h)
    if signs == swapped:
        if update.activation.name != "sigmoid":
            return None
        gate_z = _negated(gate_z)
    return _with_reset(a, k, h, p.size, gate_z, update.activation, candidate, clip)


def _negated(gate: _Gate) -> _Gate:
    """``1 - sigmoid(x)`` is ``sigmoid(-x)``."""
    gate.bias, gate.bias_on_h = -gate.bias, -gate.bias_on_h
    gate.x = [(v, s, -w) for v, s, w in gate.x]
    gate.h = [(s, -w) for s, w in gate.h]
    return gate


def _with_reset(
    a: Algebra,
    k: int,
    h: int,
    size: int,
    gate_z: _Gate,
    act: Activation,
    candidate: Activated,
    clip: Mapping[str, float],
) -> Cell | None:
    """The reset gate: it acts on ``U h + b`` (reset_after), or on h before the product."""
    terms = dict(candidate.x.terms)
    after = [key for key in terms if any(_is_gate(a, f, size, act) for f in key)]
    if after:
        reset = next(f for f in after[0] if _is_gate(a, f, size, act))
        inner: dict[Any, A] = {}
        for key in after:
            if reset not in key:
                return None
            inner[tuple(f for f in key if f != reset)] = terms.pop(key)
        gate_n, on_h = _Gate(a, Piece(size, terms), h), _Gate(a, Piece(size, inner), h)
        if on_h.x or on_h.rest or gate_n.h:
            return None
        gate_n.h, gate_n.bias_on_h = on_h.h, on_h.bias + on_h.bias_on_h
        resets, reset_after = _activated(a, reset, size), True
    else:
        found = _reset_before(a, candidate.x, h, size, act)
        if found is None:
            return None
        gate_n, resets = found
        reset_after = False
    assert resets is not None
    (reset_x,), same_clip = _unclipped(a, [resets.x])
    gates = [_Gate(a, reset_x, h), gate_z, gate_n]
    if any(g.rest for g in gates) or same_clip != clip:
        return None
    made = _made("gru", gates, size, k, None, (act, candidate.activation))
    made.options |= {"reset_after": reset_after, **clip}
    return made


def _is_gate(a: Algebra, factor: tuple[int, int], size: int, act: Activation) -> bool:
    found = _activated(a, factor, size)
    return found is not None and found.activation == act


def _reset_before(a: Algebra, x: Piece, h: int, size: int, act: Activation) -> tuple[_Gate, Activated] | None:
    """``U (r h)``: the product whose input is that is read as one with h."""
    for key in x.terms:
        product = a.atoms[key[0][0]] if len(key) == 1 else None
        if not isinstance(product, Product):
            continue
        for i, p in enumerate(product.x):
            factors = single(p)
            if factors is None or len(factors) != 2 or not any(_is(a, f, h) for f in factors):
                continue
            reset = _activated(a, next(f for f in factors if not _is(a, f, h)), size)
            if reset is None or reset.activation != act:
                return None
            plain = [a.atom(Given(h), size) if j == i else q for j, q in enumerate(product.x)]
            on_h = a.atom(Product(product.weight, product.bias, plain), len(product.weight))
            ((number, _),) = next(iter(on_h.terms))
            terms = {((number, key[0][1]),) if k == key else k: c for k, c in x.terms.items()}
            return _Gate(a, Piece(size, terms), h), reset
    return None


def _rnn(a: Algebra, k: int, old: Sequence[int], new: Sequence[int]) -> Cell | None:
    """``h' = s(W x + U h + b)`` (Elman 1990)."""
    p = _one_piece(a, new[k])
    factors = single(p)
    found = _activated(a, factors[0], p.size) if factors is not None and len(factors) == 1 else None
    if found is None:
        return None
    (x,), clip = _unclipped(a, [found.x])
    gate = _Gate(a, x, old[k])
    if gate.rest:
        return None
    made = _made("rnn", [gate], p.size, k, None, (found.activation,))
    made.options |= clip
    return made


def _linear(a: Algebra, k: int, old: Sequence[int], new: Sequence[int]) -> Cell | None:
    """``h' = f h + g``, where f and g do not read the state: an lstm with linear activations; or ``h' = U h + g``."""
    p, h, linear = _one_piece(a, new[k]), old[k], Activation("linear")
    gate = _Gate(a, p, h)
    if not gate.rest:
        return _made("rnn", [gate], p.size, k, None, (linear,)) if gate.h else None
    forget: Sum = {}
    inputs: Sum = {}
    for key, c in p.terms.items():
        others = tuple(f for f in key if not _is(a, f, h))
        (inputs if len(others) == len(key) else forget)[others] = c
    one = _Gate(a, Piece(p.size, {(): np.ones(p.size)}), h)
    gates = [one, *(_Gate(a, Piece(p.size, terms), h) for terms in (forget, inputs)), one]
    if not forget or any(g.rest or g.h for g in gates):
        return None
    return _made("lstm", gates, p.size, k, k, (linear, linear, linear))


def _unclipped(a: Algebra, pieces: Sequence[Piece]) -> tuple[list[Piece], dict[str, float]]:
    """What is before the activations of all gates without the limits that they have in common, and these."""
    inner = []
    for p in pieces:
        factors = single(p)
        atom = _activated(a, factors[0], p.size) if factors is not None and len(factors) == 1 else None
        inner.append(atom if atom is not None and atom.activation.name == "clip" else None)
    found = [(atom.activation.alpha or 0.0, atom.activation.beta or 0.0, atom.x) for atom in inner if atom is not None]
    limits = {(low, high) for low, high, _ in found}
    low, high = next(iter(limits), (0.0, 0.0))
    if len(found) < len(pieces) or len(limits) != 1 or low != -high or high <= 0:
        return list(pieces), {}
    return [x for _, _, x in found], {"clip": high}


def _made(
    op: str,
    gates: Sequence[_Gate],
    size: int,
    h: int,
    c: int | None,
    acts: tuple[Activation, ...],
    width: int | None = None,
) -> Cell:
    """A cell of gates in the order of the runtime's; ``width``: of h, where that is projected."""
    places: dict[tuple[int, int, int], None] = {}
    for g in gates:
        for value, start, w in g.x:
            places.setdefault((value, start, w.shape[1]))
    x = list(places)
    w_ih = np.zeros((len(gates) * size, max(1, sum(n for _, _, n in x))))
    for k, g in enumerate(gates):
        for value, start, w in g.x:
            at = sum(n for _, _, n in x[: x.index((value, start, w.shape[1]))])
            w_ih[k * size : (k + 1) * size, at : at + w.shape[1]] += w
    arrays = {
        "w_ih": w_ih,
        "w_hh": np.concatenate([g.recurrent(width or size) for g in gates]),
        "b_ih": np.concatenate([g.bias for g in gates]),
        "b_hh": np.concatenate([g.bias_on_h for g in gates]),
    }
    weights = {name: a.astype(np.float32) for name, a in arrays.items() if name != "b_hh" or np.any(a)}
    return Cell(op, h, c, x, weights, size, {"activations": acts})
