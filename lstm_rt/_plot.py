"""What ``Trace.plot`` draws; imported when it is asked for, and matplotlib with it."""

from __future__ import annotations

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
        x = _row(a, trace, row).astype(np.float64)
        taken = _row(layer.valid, trace, row)
        if kind not in "ch":
            x = np.where(taken.reshape(taken.shape + (1,) * (x.ndim - taken.ndim)), x, np.nan)
        parts = x.shape[-2] if x.ndim > taken.ndim + 1 else 1
        for d in range(parts):
            part = x[..., d, :] if x.ndim > taken.ndim + 1 else x
            part = part[None] if part.ndim == 1 else part  # the query is a vec
            of = "" if parts == 1 else f", head {d}" if kind == "weights" else (", forward", ", backward")[d]
            title = f"{shown(layer.name, 40)}: {KINDS[kind]} {kind if kind != 'weights' else ''}{of}"
            pictures.append(_HeatMap(title, part, kind))
            if kind in "ch" and len(units):
                pictures.append(_Lines.of_units(title, part, units))
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


def _binned(x: _Array, most: int, axis: int) -> tuple[_Array, int]:
    """Means of so many neighbours that at most ``most`` are left, and how many; a mean of a NaN is one."""
    n = x.shape[axis]
    many = -(-n // most) if n else 1
    if many == 1:
        return x, 1
    starts = np.arange(0, n, many)
    sums = np.add.reduceat(x, starts, axis=axis)
    counts = np.diff(np.append(starts, n))
    return sums / counts.reshape([-1 if k == axis else 1 for k in range(x.ndim)]), many


def _note(steps: int, units: int) -> str:
    said = [f"{n} {what}" for n, what in ((steps, "steps"), (units, "units")) if n > 1]
    return f" (means of {' and '.join(said)})" if said else ""


class _HeatMap:
    """Units by time."""

    def __init__(self, title: str, x: _Array, kind: str) -> None:
        self.steps, self.units = x.shape
        x, by_steps = _binned(x, _STEPS, 0)
        self.x, by_units = _binned(x, _UNITS, 1)
        self.kind, self.title = kind, title + _note(by_steps, by_units)

    def draw(self, figure: Any, ax: Any) -> None:
        finite = self.x[np.isfinite(self.x)]
        if self.kind in _GATES or self.kind == "weights":
            colours, low, high = "viridis", min(0.0, finite.min(initial=0.0)), 1.0
        else:  # single outliers must not wash out the others
            high = float(np.percentile(np.abs(finite), 99.5)) if finite.size else 0.0
            colours, high = "PuOr_r", high or 1.0
            low = -high
        extent = (-0.5, self.steps - 0.5, self.units - 0.5, -0.5)
        masked = np.ma.masked_invalid(self.x.T)
        if self.x.size:
            image = ax.imshow(masked, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high, extent=extent)
            figure.colorbar(image, ax=ax, extend="both" if colours != "viridis" else "neither")
        ax.set_facecolor("0.85")
        ax.set_title(self.title, fontsize="small", loc="left", parse_math=False)
        ax.set_ylabel("key" if self.kind == "weights" else "unit")


class _Lines:
    """Features over time; of a vec its features as bars."""

    def __init__(self, trace: Trace, name: str, x: Any, row: int) -> None:
        port = trace._ports[name]
        shape = [dim for dim in port.shape if dim != "N" or trace.form != "row"]
        a = np.asarray(x, np.float64)
        if "N" in shape and a.ndim == len(shape):
            a = np.moveaxis(a, shape.index("N"), 0)
            shape.remove("N")
            a = _row(a, trace, row)
        times = [k for k, dim in enumerate(shape) if isinstance(dim, str) and dim.startswith("T")]
        self.is_timed = bool(times) and a.ndim == len(shape)
        a = np.moveaxis(a, times[0], 0).reshape(a.shape[times[0]], -1) if self.is_timed else a.reshape(1, -1)
        self._take(shown(name, 40), a, list(range(a.shape[1])))

    @classmethod
    def of_units(cls, title: str, x: _Array, units: Sequence[int]) -> _Lines:
        lines = cls.__new__(cls)
        for u in units:
            if isinstance(u, bool) or not isinstance(u, (int, np.integer)) or not 0 <= u < x.shape[1]:
                raise InputError(f"units has {shown(repr(u))}, expected integers from 0 to {x.shape[1] - 1}")
        lines.is_timed = True
        lines._take(title, x[:, list(units)], [int(u) for u in units])
        return lines

    def _take(self, title: str, a: _Array, numbers: list[int]) -> None:
        if not self.is_timed:
            self.title, self.a, self.numbers = title, a, numbers
            return
        more = f"; {_LINES} of {a.shape[1]}" if a.shape[1] > _LINES else ""
        self.steps = len(a)
        self.a, by_steps = _binned(a[:, :_LINES], _STEPS, 0)
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
