"""What ``Trace.plot`` draws; imported when it is asked for, and matplotlib with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .text import shown
from .trace import KINDS, LayerTrace

if TYPE_CHECKING:
    from .trace import Trace

_UNITS, _STEPS = 256, 2000  #: of a heat map, drawn one by one; of lines the steps
_LINES = 8  #: of one picture
_LAYERS = 12
_GATES = frozenset("ifozr")  #: drawn from 0 to 1
_Array = NDArray[np.float64]


def plot(trace: Trace, *, row: int, layers: Sequence[str] | None, units: Sequence[int], figure: Any) -> Any:
    """See ``Trace.plot``."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise InputError("trace.plot() needs matplotlib: pip install matplotlib") from None
    if trace.form in ("step", "steps"):
        raise InputError("this is a trace of one step, which has no time to draw; trace a sequence")
    chosen = _chosen(trace, layers)
    pictures = [
        *(_Lines(trace, name, x, row) for name, x in trace.inputs.items()),
        *(p for layer in chosen for p in _of_layer(trace, layer, row, units)),
        *(_Lines(trace, name, y, row) for name, y in trace.outputs.items()),
    ]
    if figure is None:
        figure = pyplot.figure(figsize=(10, 1.7 * len(pictures) + 0.5), layout="constrained")
    axes = figure.subplots(len(pictures), 1, squeeze=False)[:, 0]
    for picture, ax in zip(pictures, axes, strict=True):
        picture.draw(figure, ax)
    left = len(trace) - len(chosen) if layers is None else 0
    axes[-1].set_xlabel("step" + (f"; {left} more layers are not drawn: name them in layers=" if left else ""))
    return figure


def _chosen(trace: Trace, layers: Sequence[str] | None) -> list[LayerTrace]:
    if layers is None:
        return list(trace.values())[:_LAYERS]
    if isinstance(layers, str):
        raise InputError(f"layers is {layers!r}, expected a list of names")
    for name in layers:
        if name not in trace:
            known = ", ".join(map(repr, trace)) or "none"
            raise InputError(f"layers has {shown(repr(name))}, which this trace has not; it has {known}")
    return [trace[name] for name in layers]


def _of_layer(trace: Trace, layer: LayerTrace, row: int, units: Sequence[int]) -> list[_HeatMap | _Lines]:
    pictures: list[_HeatMap | _Lines] = []
    for kind, a in layer.items():
        x, taken = _row(a, trace, row), _row(layer.valid, trace, row)
        if kind in "ch" and not taken.all():  # states stay at steps that a mask leaves out
            x = np.where(taken.reshape(taken.shape + (1,) * (x.ndim - taken.ndim)), x, 0)
        parts = x.shape[-2] if x.ndim > taken.ndim + 1 else 1
        for d in range(parts):
            part = x[..., d, :] if x.ndim > taken.ndim + 1 else x
            part = part.reshape(-1, part.shape[-1])  # the query may be a vec
            of = "" if parts == 1 else f", head {d}" if kind == "weights" else (", forward", ", backward")[d]
            title = f"{shown(layer.name, 40)}: {KINDS[kind]}{'' if kind == 'weights' else f' {kind}'}{of}"
            pictures.append(_HeatMap(title, part, taken.reshape(-1), kind))
            if kind in "ch" and len(units):
                pictures.append(_Lines.of_units(title, part, taken, units))
    return pictures


def _row(a: NDArray[Any], trace: Trace, row: int) -> NDArray[Any]:
    """One row of an array of a layer."""
    if trace.form == "row":
        if row != 0:
            raise InputError(f"row is {row}, expected 0: this trace is of one row")
        return a
    if not -len(a) <= row < len(a):
        raise InputError(f"row is {row}, expected 0 to {len(a) - 1}")
    found: NDArray[Any] = a[row]
    return found


def _binned(x: NDArray[Any], counts: NDArray[Any], most: int) -> tuple[_Array, int]:
    """Means of so many neighbours along the first axis that at most ``most`` are left, and how many.

    Of those that count, the others being 0; where none does, or one is NaN, NaN.
    """
    many = max(-(-len(x) // most), 1)
    if not len(x):
        return np.zeros(x.shape), 1
    starts = np.arange(0, len(x), many)
    sums = np.add.reduceat(x, starts, axis=0, dtype=np.float64)
    there = np.add.reduceat(counts.astype(np.float64), starts)[:, None]
    return np.divide(sums, there, out=np.full(sums.shape, np.nan), where=there > 0), many


def _note(steps: int, units: int) -> str:
    said = [f"{n} {what}" for n, what in ((steps, "steps"), (units, "units")) if n > 1]
    return f" (means of {' and '.join(said)})" if said else ""


def _limit(sizes: _Array) -> float:
    """Where colours end: at the largest number, unless a few units would wash out all others."""
    if not sizes.any():
        return 1.0
    largest, usual = float(sizes.max()), 4 * float(np.percentile(sizes, 75))
    return min(largest, usual) or largest


class _HeatMap:
    """Units by time."""

    def __init__(self, title: str, x: NDArray[Any], taken: NDArray[np.bool_], kind: str) -> None:
        self.steps, self.units = x.shape
        means, by_steps = _binned(x, taken, _STEPS)
        means, by_units = _binned(means.T, np.ones(self.units), _UNITS)
        self.x = means  # units by time
        self.kind, self.title = kind, title + _note(by_steps, by_units)

    def draw(self, figure: Any, ax: Any) -> None:
        finite = self.x[np.isfinite(self.x)]
        if self.kind in _GATES or self.kind == "weights":
            colours, low, high = "viridis", min(0.0, finite.min(initial=0.0)), 1.0
        else:
            colours, high = "PuOr_r", _limit(np.abs(finite))
            low = -high
        extent = (-0.5, self.steps - 0.5, self.units - 0.5, -0.5)
        if self.x.size:
            limits = {"cmap": colours, "vmin": low, "vmax": high, "extent": extent}
            image = ax.imshow(np.ma.masked_invalid(self.x), aspect="auto", interpolation="nearest", **limits)
            figure.colorbar(image, ax=ax, extend="both" if colours != "viridis" else "neither")
        ax.set_facecolor("0.85")
        ax.set_title(self.title, fontsize="small", loc="left", parse_math=False)
        ax.set_ylabel("key" if self.kind == "weights" else "unit")


class _Lines:
    """Features over time; of a vec its features as bars."""

    def __init__(self, trace: Trace, name: str, x: Any, row: int) -> None:
        port = trace._ports[name]
        shape = [dim for dim in port.shape if dim != "N" or trace.form != "row"]
        a = np.asarray(x)
        if "N" in shape and a.ndim == len(shape):
            a = np.moveaxis(a, shape.index("N"), 0)
            shape.remove("N")
            a = _row(a, trace, row)
        times = [k for k, dim in enumerate(shape) if isinstance(dim, str) and dim.startswith("T")]
        self.is_timed = bool(times) and a.ndim == len(shape)
        steps = a.shape[times[0]] if self.is_timed else 1
        features = math.prod(n for k, n in enumerate(a.shape) if not self.is_timed or k != times[0])
        a = (np.moveaxis(a, times[0], 0) if self.is_timed else a).reshape(steps, features)
        self._take(shown(name, 40), a, np.ones(len(a)), list(range(a.shape[1])))

    @classmethod
    def of_units(cls, title: str, x: NDArray[Any], taken: NDArray[Any], units: Sequence[int]) -> _Lines:
        lines = cls.__new__(cls)
        for u in units:
            if isinstance(u, bool) or not isinstance(u, (int, np.integer)) or not 0 <= u < x.shape[1]:
                raise InputError(f"units has {shown(repr(u))}, expected integers from 0 to {x.shape[1] - 1}")
        lines.is_timed = True
        lines._take(title, x[:, list(units)], taken, [int(u) for u in units])
        return lines

    def _take(self, title: str, a: NDArray[Any], counts: NDArray[Any], numbers: list[int]) -> None:
        if not self.is_timed:
            self.title, self.a, self.numbers = title, a, numbers
            return
        more = f"; {_LINES} of {a.shape[1]}" if a.shape[1] > _LINES else ""
        self.steps = len(a)
        self.a, by_steps = _binned(a[:, :_LINES], counts, _STEPS)
        self.many, self.numbers, self.title = by_steps, numbers[:_LINES], title + more + _note(by_steps, 1)

    def draw(self, figure: Any, ax: Any) -> None:
        ax.set_title(self.title, fontsize="small", loc="left", parse_math=False)
        if not self.is_timed:
            ax.bar(self.numbers, self.a[0])
            ax.set_ylabel("value")
            return
        at = np.arange(len(self.a)) * self.many + (self.many - 1) / 2
        for k, number in enumerate(self.numbers):
            ax.plot(at, self.a[:, k], label=str(number), linewidth=1)
        ax.set_xlim(-0.5, max(self.steps, 1) - 0.5)
        if len(self.numbers) > 1:
            ax.legend(fontsize="x-small", ncols=4, loc="upper right")
