"""Windows over time, height and width: what convolutions, pooling and convolutional cells look through.

Features of one step are an image (height, width, channels), row-major; time is a third dimension before these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import GraphError

DIMENSIONS = ("t", "h", "w")  #: time, height, width: the order of all triples
MAX_TIME = 1 << 28  #: stride and padding over time
MAX_PLACE = 0xFFFF  #: kernel, stride, dilation and padding over height and width

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Window:
    """The windows of one node; triples are of time, height and width."""

    size: tuple[int, int]  #: height and width of the image
    kernel: Triple
    stride: Triple
    dilation: Triple
    pad: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  #: before and after, of each

    @classmethod
    def of(cls, attrs: Mapping[str, Any], kernel: Triple) -> Window:
        """From a node's attributes; those of time may be missing, where a window is of one step."""

        def triple(name: str, usual: int) -> Triple:
            t, h, w = (attrs.get(f"{name}_{d}", usual) for d in DIMENSIONS)
            return t, h, w

        pairs = zip(triple("before", 0), triple("after", 0), strict=True)
        (t, h, w) = pairs
        return cls((attrs["height"], attrs["width"]), kernel, triple("stride", 1), triple("dilation", 1), (t, h, w))

    @property
    def span(self) -> int:
        """Steps between the first and the last that a window reads."""
        return self.dilation[0] * (self.kernel[0] - 1)

    @property
    def step_rule(self) -> tuple[int, int]:
        """(add, div): of n steps there are (n + add) // div windows."""
        return sum(self.pad[0]) - self.span - 1 + self.stride[0], self.stride[0]

    @property
    def keeps_steps(self) -> bool:
        """Is there a window for each step?"""
        return self.step_rule == (0, 1)

    @property
    def depth(self) -> int:
        """Steps that a stream keeps: those before a step that its window reads; 0 where it cannot stream."""
        return self.span if self.keeps_steps and self.pad[0][1] == 0 else 0

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of what they give; not positive: no window fits."""
        h, w = (
            (self.size[i - 1] + sum(self.pad[i]) - self.dilation[i] * (self.kernel[i] - 1) - 1) // self.stride[i] + 1
            for i in (1, 2)
        )
        return h, w

    def channels(self, op: str, features: int) -> int:
        """Channels of an image of so many features; GraphError where it is no such image, or no window fits."""
        height, width = self.size
        if features % (height * width):
            raise GraphError(f"{op}: {features} features are no image of size ({height}, {width})")
        if min(self.out_size) < 1:
            raise GraphError(
                f"{op}: a kernel of {self.kernel[1:]} with dilation {self.dilation[1:]} and padding {self.pad[1:]} "
                f"does not fit an image of size ({height}, {width})"
            )
        return features // (height * width)


def triple_options(op: str, name: str, given: Any) -> dict[str, Any]:
    """(time, height, width) as the attributes ``name_t``, ``name_h`` and ``name_w``."""
    return dict(zip((f"{name}_{d}" for d in DIMENSIONS), _items(op, name, given, 3), strict=True))


def size_options(op: str, given: Any) -> dict[str, Any]:
    return dict(zip(("height", "width"), _items(op, "size", given, 2), strict=True))


def pad_options(op: str, given: Any, dimensions: str = "thw") -> dict[str, Any]:
    """Pairs (before, after), one of each dimension, as attributes."""
    options: dict[str, Any] = {}
    for d, pair in zip(dimensions, _items(op, "pad", given, len(dimensions)), strict=True):
        options[f"before_{d}"], options[f"after_{d}"] = _items(op, "pad", pair, 2)
    return options


def pair_options(op: str, name: str, given: Any) -> dict[str, Any]:
    """(height, width) as the attributes ``name_h`` and ``name_w``."""
    return dict(zip((f"{name}_h", f"{name}_w"), _items(op, name, given, 2), strict=True))


def _items(op: str, name: str, given: Any, count: int) -> tuple[Any, ...]:
    try:
        items = tuple(given)
    except TypeError:
        items = ()
    if len(items) != count:
        raise GraphError(f"{op}: {name} is {given!r}, expected {count} numbers" if name != "pad" else
                         f"{op}: pad is {given!r}, expected pairs (before, after)")  # fmt: skip
    return items
