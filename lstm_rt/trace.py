"""What recurrent layers and attention compute on the way: ``Model.trace`` and ``Stream.trace_step`` give it.

    >>> trace = model.trace(x)
    >>> trace.y                             # model(x), to the bit
    >>> trace["lstm"].f                     # the forget gate: float32 (N, T, units)
    >>> trace.plot()                        # needs matplotlib
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, did_you_mean
from .text import shown

if TYPE_CHECKING:
    from ._core import Model
    from .graph import Graph, Node

__all__ = ["KINDS", "LayerTrace", "Trace"]

_Floats = NDArray[np.float32]

#: What can be traced, in the order of the core's codes (lrt_traced_kind).
KINDS = {
    "i": "input gate",
    "f": "forget gate",
    "g": "candidate",
    "o": "output gate",
    "r": "reset gate",
    "z": "update gate",
    "n": "candidate",
    "c": "cell state",
    "h": "hidden state",
    "weights": "attention weights",
}
_OF_OP = {"lstm": "ifgoch", "convlstm": "ifgoch", "gru": "rznh", "rnn": "h"}


@dataclass(frozen=True)
class Traceable:
    """A layer of a model that can be traced."""

    name: str  #: the source's, or its op's; with a number behind it where several are called so
    op: str
    node: int
    kinds: tuple[tuple[str, int], ...]  #: the names of its arrays, with the core's codes
    axis: int  #: the time axis of its steps; -1: it has one
    directions: int  #: of attention the heads
    units: tuple[int, ...]  #: of each array; of attention empty, and
    keys: int = -1  #: the time axis of the keys

    def shapes(self, batch: int, steps: Sequence[int]) -> list[tuple[int, int, int, int]]:
        """(rows, steps, directions, units) of each array, for a call of so many steps on each axis."""
        t = steps[self.axis] if self.axis >= 0 else 1
        units = self.units or (steps[self.keys],)
        return [(batch, t, self.directions, n) for n in units]


def traceable(graph: Graph) -> tuple[Traceable, ...]:
    """The layers of a graph that can be traced, in the order of its nodes."""
    nodes = [(k, n) for k, n in enumerate(graph.nodes) if n.op in _OF_OP or n.op == "attention"]
    names = _unique([shown(n.name or n.op, 200) for _, n in nodes])
    return tuple(_traceable(graph, k, n, name) for (k, n), name in zip(nodes, names, strict=True))


def _traceable(graph: Graph, k: int, node: Node, name: str) -> Traceable:
    codes = {kind: code for code, kind in enumerate(KINDS)}
    first = graph.values[_there(node.inputs[0])]
    if node.op == "attention":
        keys = graph.values[_there(node.inputs[1])]
        kinds = (("weights", codes["weights"]),)
        return Traceable(name, node.op, k, kinds, first.axis, node.attrs["heads"], (), keys.axis)
    directions = 2 if node.attrs.get("direction") == "bidirectional" else 1
    h = graph.values[_there(node.outputs[0] if node.outputs[0] is not None else node.outputs[1])].size // directions
    hidden: int = node.attrs.get("hidden_size", h)
    of = tuple((kind, codes[kind]) for kind in _OF_OP[node.op])
    units = tuple(h if kind == "h" else hidden for kind, _ in of)
    return Traceable(name, node.op, k, of, first.axis, directions, units)


def _there(value: int | None) -> int:
    assert value is not None
    return value


def _unique(names: Sequence[str]) -> list[str]:
    """The names, those that occur more than once with numbers: ``lstm.0``, ``lstm.1``."""
    counts, taken, out = Counter(names), set(names), []
    seen: Counter[str] = Counter()
    for name in names:
        unique = name
        while counts[name] > 1 and (unique == name or unique in taken):
            unique = f"{name}.{seen[name]}"
            seen[name] += 1
        taken.add(unique)
        out.append(unique)
    return out


def choose(layers: Sequence[Traceable], wanted: object) -> tuple[Traceable, ...]:
    """Those of the layers that are wanted, by name; None: all.

    Raises:
        InputError: no layer is called so.
    """
    if wanted is None:
        return tuple(layers)
    if isinstance(wanted, str) or not isinstance(wanted, (list, tuple, set, frozenset)):
        raise InputError(f"layers is {shown(repr(wanted))}, expected a list of names")
    by_name = {layer.name: layer for layer in layers}
    for name in wanted:
        if not layers:
            nothing = "but this model has neither recurrent layers nor attention"
            raise InputError(f"layers has {shown(repr(name))}, {nothing}")
        if not isinstance(name, str) or name not in by_name:
            known = ", ".join(list(by_name)[:20]) + (", ..." if len(by_name) > 20 else "")
            near = did_you_mean(name, list(by_name)) if isinstance(name, str) else ""
            raise InputError(f"layers has {shown(repr(name))}, which no layer is called; they are: {known}{near}")
    return tuple(layer for layer in layers if layer.name in wanted)


class LayerTrace(Mapping[str, _Floats]):
    """The arrays of one layer, by name and as attributes: ``layer["f"]`` is ``layer.f``.

    Of an lstm and a convlstm ``i f g o c h``, of a gru ``r z n h``, of a rnn ``h``: float32 ``(N, T, units)``, and
    ``(N, T, 2, units)`` in both directions, the forward one first. Of attention ``weights``, ``(N, T, heads, steps of
    the keys)``. Axes that the call has not are not there: of rows, of the steps of a step or of a query that is a vec.
    """

    def __init__(self, layer: Traceable, arrays: Mapping[str, _Floats], valid: NDArray[np.bool_]) -> None:
        self.name, self.op, self.node = layer.name, layer.op, layer.node
        self.directions = 1 if layer.op == "attention" else layer.directions
        self._arrays = dict(arrays)
        self.valid = valid  #: bool (N, T): does the row take the step? Gates of others are 0

    def __getitem__(self, kind: str) -> _Floats:
        return self._arrays[kind]

    def __getattr__(self, kind: str) -> _Floats:
        try:
            return self.__dict__["_arrays"][kind]  # type: ignore[no-any-return]
        except KeyError:
            has = ", ".join(self.__dict__.get("_arrays", ()))
            raise AttributeError(f"{kind!r}: this layer's trace has {has}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        kinds = ", ".join(f"{kind} {a.shape}" for kind, a in self._arrays.items())
        return f"<lstm_rt.trace.LayerTrace {self.name!r} ({self.op}): {kinds}>"


class Trace(Mapping[str, LayerTrace]):
    """What a call computed: a mapping from the names of layers to their :class:`LayerTrace`."""

    def __init__(
        self,
        model: Model,
        layers: Sequence[Traceable],
        arrays: Sequence[tuple[Mapping[str, _Floats], NDArray[np.bool_]]],
        inputs: Sequence[Any],
        y: Any,
        state: Any,
        form: str,
    ) -> None:
        """``form``: of a ``"call"``, of one of a single ``"row"``, of ``"steps"`` of streams, of one ``"step"``."""
        outputs = y if isinstance(y, tuple) else (y,)
        self.y = y  #: what the call returns
        self.state = state  #: the final state, in the form of ``Model.__call__``: the next piece's ``state``
        self.inputs: dict[str, Any] = {p.name: x for p, x in zip(model.inputs, inputs, strict=True)}
        self.outputs: dict[str, _Floats] = {p.name: a for p, a in zip(model.outputs, outputs, strict=True)}
        self._ports = {p.name: p for p in (*model.inputs, *model.outputs)}
        self.form = form
        self._layers: dict[str, LayerTrace] = {}
        for layer, (found, valid) in zip(layers, arrays, strict=True):
            shaped = {kind: a[_axes(layer, form)] for kind, a in found.items()}
            self._layers[layer.name] = LayerTrace(layer, shaped, valid[_axes(layer, form)[:2]])

    def __getitem__(self, name: str) -> LayerTrace:
        try:
            return self._layers[name]
        except KeyError:
            known = ", ".join(map(repr, self._layers)) or "no layer"
            raise KeyError(f"{name!r}; this trace has {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays of layers."""
        return sum(a.nbytes for layer in self._layers.values() for a in layer.values())

    def __repr__(self) -> str:
        layers = ", ".join(f"{name!r} ({' '.join(layer)})" for name, layer in self._layers.items())
        return f"<lstm_rt.trace.Trace of {layers or 'no layers'}, {self.nbytes:,} bytes>"

    def _repr_html_(self) -> str:
        from ._html import trace_html

        return trace_html(self)

    def plot(
        self, *, row: int = 0, layers: Sequence[str] | None = None, units: Sequence[int] = (), figure: Any = None
    ) -> Any:
        """Draw one row of the trace: inputs, outputs, and of every layer heat maps of units by time.

        Args:
            row: of the batch.
            layers: names of layers to draw; by default all, at most 12.
            units: units to draw as lines too, of each layer's states.
            figure: a matplotlib figure to draw into; by default a new one.

        Returns:
            The matplotlib figure. More units or steps than a picture can show are drawn as means of several, which
            the titles say; steps that a row does not take stay blank.

        Raises:
            InputError: matplotlib is missing, there is no such row, layer or unit, or this is a trace of one step.
        """
        from ._plot import plot

        return plot(self, row=row, layers=layers, units=units, figure=figure)


def _axes(layer: Traceable, form: str) -> tuple[Any, ...]:
    """An index that leaves out the axes that a call of this form has not."""
    whole = slice(None)
    has_steps = form in ("call", "row") and layer.axis >= 0
    direction = whole if layer.directions > 1 or layer.op == "attention" else 0
    return (0 if form in ("row", "step") else whole, whole if has_steps else 0, direction)
