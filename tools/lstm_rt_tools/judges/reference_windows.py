"""Windows over time and images, and steps padded, in NumPy: a part of :mod:`lstm_rt_tools.judges.reference`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt._window import Window
from lstm_rt.graph import Graph, Node
from lstm_rt.quantised import Quantised

from .reference_activations import activate
from .reference_cells import times

if TYPE_CHECKING:
    from .reference import _Run as Run

FloatArray: TypeAlias = NDArray[Any]

_PATCHES = 1 << 22  #: numbers of windows that are copied together


def window_of(node: Node) -> Window:
    """The windows of a conv, a pool, or of the input of a convlstm."""
    if node.op == "pool":
        t, h, w = (node.attrs[f"kernel_{d}"] for d in "thw")
    else:
        t, h, w = (1, *node.weights["w_ih" if node.op == "convlstm" else "weight"].shape[2:])[-3:]
    return Window.of(node.attrs, (t, h, w))


def state_size(graph: Graph, node: Node) -> int:
    """Numbers of a row that such a node keeps from call to call: the last steps, and of a pool how many there are."""
    if node.op not in ("conv", "pool"):
        return 0
    source = node.inputs[0]
    assert source is not None
    kept = window_of(node).depth * graph.values[source].size
    return kept + 1 if node.op == "pool" and kept else kept


# -- conv and pool --------------------------------------------------------------------------------------------------


def _images(job: Run, node: Node, window: Window) -> tuple[FloatArray, NDArray[np.bool_]]:
    """All that windows read, padding included: images ``(N, L, h, w, C)``, and which of their places are inside."""
    (source,) = node.inputs
    assert source is not None
    x = job.values[source]
    x = x if x.ndim == 3 else x[:, None]
    n, steps, features = x.shape
    ends = np.full(n, steps)
    if job.values[source].ndim == 3 and not node.attrs["whole"]:
        ends = job.lengths[job.kind(source).axis]
    there = np.arange(steps) < ends[:, None]
    x = np.where(there[..., None], x, 0)
    (before, after), height, width = window.pad
    past, seen = np.zeros((n, before, features), x.dtype), np.zeros((n, before), bool)
    if window.depth:
        past, seen = _kept(job, node, window, x, ends, features)
    steps_in = np.concatenate([past, x, np.zeros((n, after, features), x.dtype)], axis=1)
    inside = np.concatenate([seen, there, np.zeros((n, after), bool)], axis=1)
    h, w = window.size
    images = np.pad(steps_in.reshape(*inside.shape, h, w, features // (h * w)), ((0, 0), (0, 0), height, width, (0, 0)))
    places = np.broadcast_to(inside[..., None, None], (*inside.shape, h, w))
    return images, np.pad(places, ((0, 0), (0, 0), height, width))


def _kept(
    job: Run, node: Node, window: Window, x: FloatArray, ends: NDArray[Any], features: int
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The steps before the call's own, and which have been; hands on those that the next call begins with."""
    n, depth = len(x), window.depth
    state = np.zeros((1, n, state_size(job.graph, node)), job.dtype)
    if job.initial is not None:
        given = job.initial[len(job.final)]
        assert not isinstance(given, tuple)
        state = np.array(given)
    past = state[0, :, : depth * features].reshape(n, depth, features).copy()
    count = state[0, :, depth * features :] if node.op == "pool" else np.full((n, 1), float(depth))
    seen: NDArray[np.bool_] = np.arange(depth) >= depth - count
    for row, end in enumerate(ends):
        state[0, row, : depth * features] = np.concatenate([past[row], x[row, :end]])[-depth:].ravel()
        if node.op == "pool":
            state[0, row, -1] = min(count[row, 0] + end, depth)
    job.final.append(state)
    return past, seen


def _slices(window: Window, steps: int) -> list[tuple[Any, ...]]:
    """For each place of the kernel, in order: where in the images it lies for all windows."""
    counts = (steps, *window.out_size)

    def along(d: int, i: int) -> slice:
        start = i * window.dilation[d]
        return slice(start, start + (counts[d] - 1) * window.stride[d] + 1 if counts[d] else start, window.stride[d])

    offsets = itertools.product(*map(range, window.kernel))
    return [(slice(None), *(along(d, i) for d, i in enumerate(place))) for place in offsets]


def _windows(job: Run, node: Node, window: Window) -> int:
    (output,) = node.outputs
    assert output is not None
    v = job.kind(output)
    return job.steps[v.axis] if v.kind == "seq" else 1


def _as_value(job: Run, node: Node, y: FloatArray) -> FloatArray:
    """Images of all steps as the node's output."""
    (output,) = node.outputs
    assert output is not None
    return y.reshape(*y.shape[: 1 if job.kind(output).kind == "vec" else 2], job.kind(output).size)


def conv(job: Run, node: Node, args: list[int]) -> NDArray[Any]:
    window, groups = window_of(node), node.attrs["groups"]
    images, _ = _images(job, node, window)
    y = _convolved(job, node, "weight", images, _slices(window, _windows(job, node, window)), groups)
    if "bias" in node.weights:
        y = y + node.weights["bias"].astype(job.dtype)
    return _as_value(job, node, y)


def _convolved(
    job: Run, node: Node, name: str, images: FloatArray, slices: Sequence[Any], groups: int = 1
) -> FloatArray:
    """Images ``(N, L, h, w, C)`` by a weight ``(O, C / groups, ...)`` of the node, at the places of its kernel."""
    whole = node.weights[name]
    if job.watch is not None:
        for _, rows in _patches(images, slices, groups):
            job.watch(node, name, rows)
    if isinstance(whole, Quantised):
        return _integers_convolved(whole, images, slices, groups)
    weight = whole.astype(job.dtype).reshape(groups, len(whole) // groups, whole.shape[1], -1)
    y: Any = 0.0
    for k, at in enumerate(slices):
        part = images[at]
        part = part.reshape(*part.shape[:4], groups, weight.shape[2])
        y = y + np.einsum("nthwgc,goc->nthwgo", part, weight[..., k])
    return np.asarray(y.reshape(*y.shape[:4], groups * weight.shape[1]))


def _patches(images: FloatArray, slices: Sequence[Any], groups: int) -> Iterator[tuple[Any, FloatArray]]:
    """What the weights of each group are multiplied with, some windows at a time: which, and ``(..., groups, K)`` with
    channels, then places, as weights have them."""
    shape = images[slices[0]].shape
    each = max(1, _PATCHES // max(1, math.prod(shape[2:]) * len(slices)))
    for n, t in itertools.product(range(shape[0]), range(0, shape[1], each)):
        some = (slice(n, n + 1), slice(t, t + each))
        parts = np.stack([images[at][some] for at in slices], axis=-1)
        yield some, parts.reshape(*parts.shape[:4], groups, -1)


def _integers_convolved(w: Quantised, images: FloatArray, slices: Sequence[Any], groups: int) -> FloatArray:
    shape, each = images[slices[0]].shape, len(w) // groups
    y = np.empty((*shape[:4], len(w)), images.dtype)
    for some, rows in _patches(images, slices, groups):
        for g in range(groups):
            units = slice(g * each, (g + 1) * each)
            y[some][..., units] = times(rows[..., g, :], w[units])
    return y


def pool(job: Run, node: Node, args: list[int]) -> NDArray[Any]:
    window, kind = window_of(node), node.attrs["kind"]
    images, inside = _images(job, node, window)
    slices = _slices(window, _windows(job, node, window))
    parts = np.stack([images[at] for at in slices])
    counts = np.stack([inside[at] for at in slices])[..., None]
    if kind == "max":
        top = np.where(counts, parts, -np.inf).max(axis=0)
        return _as_value(job, node, np.where(counts.any(axis=0), top, 0))
    total = np.where(counts, parts, 0).sum(axis=0)
    divisor = np.maximum(counts.sum(axis=0), 1) if kind == "avg" else len(slices)
    return _as_value(job, node, total / divisor)


# -- convlstm --------------------------------------------------------------------------------------------------------


def _gates(job: Run, node: Node, name: str, images: FloatArray, window: Window) -> FloatArray:
    """``(N, h, w, C)`` by a weight ``(4 H, C, kh, kw)`` of the node."""
    padded = np.pad(images, ((0, 0), *window.pad[1:], (0, 0)))[:, None]
    return _convolved(job, node, name, padded, _slices(window, 1))[:, 0]


def convlstm(job: Run, node: Node) -> None:
    """As an lstm whose rows are places."""
    source, h0, c0 = node.inputs
    assert source is not None
    x, lengths = job.values[source], job.lengths[job.kind(source).axis]
    window, hidden, r = window_of(node), node.weights["w_hh"].shape[1], node.weights["w_hh"].shape[2:]
    same = tuple(((k - 1) // 2, k - 1 - (k - 1) // 2) for k in r)
    own = Window(window.out_size, (1, *r), (1, 1, 1), (1, 1, 1), ((0, 0), *same))  # type: ignore[arg-type]
    shape = (job.batch, *window.out_size, hidden)
    h, c = (a[0].reshape(shape) for a in _initial(job, node, h0, c0, int(np.prod(shape[1:]))))
    y = np.zeros((job.batch, x.shape[1], *shape[1:]), job.dtype)
    for t in range(x.shape[1]):
        step = x[:, t].reshape(job.batch, *window.size, -1)
        z = _gates(job, node, "w_ih", step, window) + _gates(job, node, "w_hh", h, own)
        z = z + node.weights["bias"].astype(job.dtype) if "bias" in node.weights else z
        i, f, g, o = np.split(z, 4, axis=-1)
        i, f, o = (activate(gate, node.attrs["gate"]) for gate in (i, f, o))
        c_new = f * c + i * activate(g, node.attrs["cell"])
        h_new = o * activate(c_new, node.attrs["output"])
        valid = (t < lengths)[:, None, None, None]
        h, c = np.where(valid, h_new, h), np.where(valid, c_new, c)
        y[:, t] = np.where(valid, h, 0)
    flat = [h.reshape(job.batch, -1), c.reshape(job.batch, -1)]
    if h0 is None and c0 is None:
        job.final.append((flat[0][None], flat[1][None]))
    for output, value in zip(node.outputs, [y.reshape(*y.shape[:2], flat[0].shape[1]), *flat], strict=True):
        assert output is not None
        job.values[output] = value


def _initial(job: Run, node: Node, h0: int | None, c0: int | None, size: int) -> tuple[FloatArray, FloatArray]:
    zero = np.zeros((1, job.batch, size), job.dtype)
    if h0 is None and c0 is None and job.initial is not None:
        given = job.initial[len(job.final)]
        assert isinstance(given, tuple)
        return given
    h, c = (zero if value is None else job.values[value][None] for value in (h0, c0))
    return h, c


# -- steps padded and regrouped ---------------------------------------------------------------------------------------


def pad(job: Run, node: Node, args: list[int]) -> NDArray[Any]:
    x, a = job.values[args[0]], node.attrs
    y = np.zeros((len(x), x.shape[1] + a["before"] + a["after"], x.shape[2]), x.dtype)
    for row, length in enumerate(job.lengths[job.kind(args[0]).axis]):
        if length == 0 and a["mode"] != "constant":
            continue
        mode: Any = {"constant_values": a["value"]} if a["mode"] == "constant" else {}
        padded = np.pad(x[row, :length], ((a["before"], a["after"]), (0, 0)), mode=a["mode"], **mode)
        y[row, : len(padded)] = padded
    return y


def flatten(job: Run, node: Node, args: list[int]) -> NDArray[Any]:
    x = job.values[args[0]]
    return x.reshape(len(x), node.attrs["steps"] * x.shape[2])


def unflatten(job: Run, node: Node, args: list[int]) -> NDArray[Any]:
    x, times = job.values[args[0]], node.attrs["times"]
    return x.reshape(len(x), (x.shape[1] if x.ndim == 3 else 1) * times, x.shape[-1] // times)
