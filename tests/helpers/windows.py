"""Convolutions and pooling of every shape, for hypothesis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from lstm_rt.graph import Graph


@dataclass
class Case:
    """A graph of one node over ``x (N, T, F)``, and what it was made of."""

    graph: Graph
    x: Any
    lengths: list[int]
    options: dict[str, Any]
    kernel: tuple[int, int, int]
    weight: Any = None
    bias: Any = None
    kind: str = ""

    def fits(self, steps: int) -> bool:
        """Has a sequence of so many steps a window? (torch takes no other.)"""
        dilation = self.options["dilation"][0] if "dilation" in self.options else self.options["dilation_t"]
        return steps + sum(self.options["pad"][0]) > dilation * (self.kernel[0] - 1)


@st.composite
def _windows(draw: Any, causal: bool) -> tuple[Any, ...]:
    size = draw(st.sampled_from([(1, 1), (1, 1), (1, 5), (4, 3), (3, 1)]))
    triple = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(triple), draw(triple), draw(triple)
    pad = [draw(st.tuples(st.integers(0, 3), st.integers(0, 3))) for _ in range(3)]
    for d, n in ((1, size[0]), (2, size[1])):
        while dilation[d] * (kernel[d] - 1) >= n + sum(pad[d]):
            kernel = tuple(k - (k > 1 and i == d) for i, k in enumerate(kernel))
    if causal:
        stride, pad[0] = (1, *stride[1:]), (dilation[0] * (kernel[0] - 1), 0)
    return size, kernel, stride, dilation, tuple(pad)


def _steps(draw: Any, kernel: Any, dilation_t: int, pad: Any) -> tuple[int, list[int]]:
    least = max(1, dilation_t * (kernel[0] - 1) + 1 - sum(pad[0]))
    steps = draw(st.integers(least, least + 6))
    return steps, draw(st.lists(st.integers(0, steps), min_size=1, max_size=3))


@st.composite
def conv_cases(draw: Any, causal: bool = False, each: tuple[int, ...] = (1, 2, 5, 17)) -> Case:
    """Of so many outputs of each group; with one, depthwise too."""
    size, kernel, stride, dilation, pad = draw(_windows(causal))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inside, units = draw(st.integers(1, 3)), draw(st.sampled_from(each))
    if 1 in each and draw(st.booleans()) and groups > 1:
        inside = units = 1  # depthwise
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    weight = rng.normal(0, 0.5, (groups * units, inside, *kernel)).astype(np.float32)
    bias = rng.normal(0, 0.5, groups * units).astype(np.float32) if draw(st.booleans()) else None
    g = Graph()
    options = {"size": size, "stride": stride, "dilation": dilation, "pad": pad, "groups": groups}
    x = g.input("x", "seq", size[0] * size[1] * groups * inside)
    g.output(g.conv(x, weight, bias, **options), "y")
    steps, lengths = _steps(draw, kernel, dilation[0], pad)
    a = rng.normal(0, 1, (len(lengths), steps, g.values[x].size)).astype(np.float32)
    return Case(g, a, lengths, options, kernel, weight, bias)


@st.composite
def pool_cases(draw: Any, causal: bool = False) -> Case:
    size, kernel, stride, dilation, pad = draw(_windows(causal))
    channels, kind = draw(st.sampled_from([1, 2, 5, 18])), draw(st.sampled_from(["max", "avg", "avg_pad"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    g = Graph()
    options = {"kernel": kernel, "size": size, "stride": stride, "pad": pad, "dilation_t": dilation[0]}
    x = g.input("x", "seq", size[0] * size[1] * channels)
    g.output(g.pool(x, kind, **options), "y")
    steps, lengths = _steps(draw, kernel, dilation[0], pad)
    a = rng.normal(0, 1, (len(lengths), steps, g.values[x].size)).astype(np.float32)
    return Case(g, a, lengths, options, kernel, kind=kind)
