"""Windows over time and images in ONNX's terms: convolutions, pooling, and cells of convolutions.

ONNX has channels behind the rows and then the dimensions, ``(N, C, T, h, w)``; ours lie in the features, ``(h, w, C)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstm_rt._window import Window
from lstm_rt.graph import Node

from ..judges.reference_windows import window_of
from .onnx_activations import activate
from .onnx_build import dtype_code
from .onnx_scan import scan
from .onnx_state import Export, Handler

_DILATED_AVERAGE = 19  #: the operator set that has it


class _Images:
    """The images of a value, and the dimensions that a window really has: of time, height and width."""

    def __init__(self, e: Export, node: Node, window: Window) -> None:
        self.e, self.window = e, window
        self.timed = e.graph.values[node.inputs[0] or 0].kind == "seq"
        flat = [d for d in (1, 2) if window.size[d - 1] == 1 and window.kernel[d] == 1 and window.pad[d] == (0, 0)]
        self.dimensions = [0] * self.timed + [d for d in (1, 2) if d not in flat or (not self.timed and d == 1)]
        self.channels = e.size(node.inputs[0] or 0) // math.prod(window.size)

    def attributes(self, pads: bool = True) -> dict[str, Any]:
        """Strides and padding as all of these operators have them."""
        w, ds = self.window, self.dimensions
        attrs: dict[str, Any] = {"strides": [w.stride[d] for d in ds]}
        if pads:
            attrs["pads"] = [w.pad[d][side] for side in (0, 1) for d in ds]
        return attrs

    def sizes(self, size: Sequence[int]) -> list[int]:
        """Height and width, as far as they are dimensions."""
        return [size[d - 1] for d in self.dimensions if d]

    def apart(self, x: str) -> str:
        """``(T, N, F)`` as ``(N, C, T, h, w)``, or a vec ``(N, F)`` as ``(N, C, h, w)``."""
        b, sizes, rows = self.e.b, self.sizes(self.window.size), [0, 0] if self.timed else [0]
        if sizes:
            x = b.add("Reshape", x, b.ints(*rows, *sizes, self.channels))
        count = len(rows) + len(sizes)
        places = list(range(2, count)) if self.timed else list(range(1, count))
        return b.add("Transpose", x, perm=[1, count, 0, *places] if self.timed else [0, count, *places])

    def together(self, y: str, channels: int) -> str:
        """The inverse, of what windows give."""
        b, sizes = self.e.b, self.sizes(self.window.out_size)
        count = len(sizes)
        perm = [2, 0, *range(3, 3 + count), 1] if self.timed else [0, *range(2, 2 + count), 1]
        y = b.add("Transpose", y, perm=perm)
        if not sizes:
            return y
        return b.add("Reshape", y, b.ints(*([0, 0] if self.timed else [0]), math.prod(sizes) * channels))


def _inside(e: Export, node: Node) -> str:
    """Which steps are inside: bool ``(T, N, 1)``; "" for all."""
    value = node.inputs[0] or 0
    return e.counting(value, None, node.attrs["whole"]) if e.graph.values[value].kind == "seq" else ""


def _conv(e: Export, node: Node, x: list[str]) -> str:
    b, window = e.b, window_of(node)
    images, inside = _Images(e, node, window), _inside(e, node)
    there = (
        b.add("Where", inside, x[0], b.number(0.0)) if inside and not e.zero_after_end(node.inputs[0] or 0) else x[0]
    )
    weight = node.weights["weight"]
    kernel = [window.kernel[d] for d in images.dimensions]
    parts = [b.constant(weight.reshape(*weight.shape[:2], *kernel), "weight")]
    if "bias" in node.weights:
        parts.append(b.constant(node.weights["bias"], "bias"))
    dilations = [window.dilation[d] for d in images.dimensions]
    attrs = {"kernel_shape": kernel, "dilations": dilations, "group": node.attrs["groups"], **images.attributes()}
    return images.together(b.add("Conv", images.apart(there), *parts, **attrs), len(weight))


# -- pooling ----------------------------------------------------------------------------------------


def _pool(e: Export, node: Node, x: list[str]) -> str:
    """One operator where every window has something inside; else padding is written out, and what is inside counted."""
    window, kind = window_of(node), node.attrs["kind"]
    images, inside = _Images(e, node, window), _inside(e, node)
    first = images.apart(x[0])
    if not inside and all(max(window.pad[d]) < window.kernel[d] for d in images.dimensions):
        y = _pooled(e, images, first, kind, images.attributes())
    elif kind == "max":
        y = _largest_inside(e, images, first, _channels_first(e, images, inside))
    else:
        y = _mean_inside(e, images, first, _channels_first(e, images, inside), kind)
    return images.together(y, images.channels)


def _pooled(e: Export, images: _Images, x: str, kind: str, attrs: dict[str, Any]) -> str:
    window, ds = images.window, images.dimensions
    attrs["kernel_shape"] = [window.kernel[d] for d in ds]
    dilations = [window.dilation[d] for d in ds]
    if max(dilations) > 1:
        attrs["dilations"] = dilations
        e.b.needs_opset(e.b.opset if kind == "max" else _DILATED_AVERAGE)
    if kind != "max":
        attrs["count_include_pad"] = int(kind == "avg_pad")
    return e.b.add("MaxPool" if kind == "max" else "AveragePool", x, **attrs)


def _channels_first(e: Export, images: _Images, inside: str) -> str:
    """Which steps are inside, in the dimensions of the images; "" for all."""
    if not inside:
        return ""
    b, places = e.b, len(images.dimensions) - 1
    found = b.add("Transpose", inside, perm=[1, 2, 0])
    return b.add("Unsqueeze", found, b.ints(*range(3, 3 + places))) if places else found


def _padded(e: Export, images: _Images, x: str, value: float) -> str:
    b, pads = e.b, images.attributes()["pads"]
    half = len(pads) // 2
    return b.add("Pad", x, b.ints(0, 0, *pads[:half], 0, 0, *pads[half:]), b.number(value))


def _counts(e: Export, images: _Images, x: str, inside: str) -> str:
    """1 where a place is inside and 0 where it is not, padded: float32, as large as x."""
    b = e.b
    shape = b.add("Shape", x)
    ones = b.add("Expand", b.add("Cast", inside, to=dtype_code(np.float32)) if inside else b.number(1.0), shape)
    return _padded(e, images, ones, 0.0)


def _largest_inside(e: Export, images: _Images, x: str, inside: str) -> str:
    b, attrs = e.b, images.attributes(pads=False)
    some = _pooled(e, images, _counts(e, images, x, inside), "max", dict(attrs))
    there = b.add("Where", inside, x, b.number(-np.inf)) if inside else x
    y = _pooled(e, images, _padded(e, images, there, -np.inf), "max", dict(attrs))
    return b.add("Where", b.add("Greater", some, b.number(0.0)), y, b.number(0.0))


def _mean_inside(e: Export, images: _Images, x: str, inside: str, kind: str) -> str:
    b, attrs = e.b, images.attributes(pads=False)
    there = b.add("Where", inside, x, b.number(0.0)) if inside else x
    y = _pooled(e, images, _padded(e, images, there, 0.0), kind, dict(attrs))
    if kind == "avg_pad":
        return y
    share = _pooled(e, images, _counts(e, images, x, inside), kind, dict(attrs))
    some = b.add("Greater", share, b.number(0.0))
    return b.add("Div", y, b.add("Where", some, share, b.number(1.0)))


# -- cells of convolutions --------------------------------------------------------------------------


def _convlstm(e: Export, node: Node, x: list[str]) -> list[str]:
    """A Scan over images ``(N, C, h, w)``."""
    b, window, value = e.b, window_of(node), node.inputs[0] or 0
    h, w = window.size
    channels, hidden = e.size(value) // (h * w), node.weights["w_hh"].shape[1]
    shape = (*window.out_size, hidden)
    images = b.add("Transpose", b.add("Reshape", x[0], b.ints(0, 0, h, w, channels)), perm=[0, 1, 4, 2, 3])
    initial = [_state_image(e, i, shape) for i in node.inputs[1:]]
    counts = e.counting(value, None, whole=False)
    if counts:
        counts = b.add("Unsqueeze", counts, b.ints(3, 4))
    seq, *states = scan(e, lambda *args: _convlstm_step(e, node, window, *args), images, initial, False, counts)
    if counts:
        seq = b.add("Where", counts, seq, b.number(0.0))
    e.note_zero_after_end(node)
    size = math.prod(shape)
    last = b.add("Transpose", seq, perm=[0, 1, 3, 4, 2])
    finals = [b.add("Transpose", state, perm=[0, 2, 3, 1]) for state in states]
    return [b.add("Reshape", last, b.ints(0, 0, size)), *(b.add("Reshape", f, b.ints(0, size)) for f in finals)]


def _state_image(e: Export, value: int | None, shape: tuple[int, ...]) -> str:
    """A state ``(h, w, H)`` as ``(N, H, h, w)``."""
    h, w, hidden = shape
    if value is None:
        return e.zeros(e.rows(), hidden, h, w)
    return e.b.add("Transpose", e.b.add("Reshape", e.values[value], e.b.ints(0, h, w, hidden)), perm=[0, 3, 1, 2])


def _convlstm_step(e: Export, node: Node, window: Window, x: str, h: str, c: str) -> list[str]:
    b, a, rows = e.b, node.attrs, node.weights["w_hh"].shape[2:]
    weights = [b.constant(node.weights["w_ih"], "w_ih")]
    if "bias" in node.weights:
        weights.append(b.constant(node.weights["bias"], "bias"))
    pads = [window.pad[d][side] for side in (0, 1) for d in (1, 2)]
    z_x = b.add("Conv", x, *weights, strides=list(window.stride[1:]), dilations=list(window.dilation[1:]), pads=pads)
    same = [(n - 1) // 2 for n in rows] + [n - 1 - (n - 1) // 2 for n in rows]
    z = b.add("Add", z_x, b.add("Conv", h, b.constant(node.weights["w_hh"], "w_hh"), pads=same))
    i, f, g, o = b.add_many("Split", [z], 4, axis=1, num_outputs=4)
    i, f, o = (activate(b, gate, a["gate"]) for gate in (i, f, o))
    c = b.add("Add", b.add("Mul", f, c), b.add("Mul", i, activate(b, g, a["cell"])))
    return [b.add("Mul", o, activate(b, c, a["output"])), c]


WINDOW_HANDLERS: dict[str, Handler] = {"conv": _conv, "pool": _pool, "convlstm": _convlstm}
