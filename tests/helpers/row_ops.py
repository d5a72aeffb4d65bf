"""Random nodes over rows of features, for tests of all that computes them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lstm_rt.graph import Graph
from lstm_rt.ops import OPS, REDUCTIONS

BINARIES = [name for name, op in OPS.items() if op.broadcasts]
KINDS = st.sampled_from(["seq", "vec"])
EPS = st.sampled_from([0.0, 1e-5, 1e-3, 2.0])


@st.composite
def binary_graphs(draw):
    """Two inputs of kinds and sizes that go together, and what an op makes of them."""
    g, size = Graph(), draw(st.integers(1, 70))
    sizes = draw(st.sampled_from([(size, size), (1, size), (size, 1)]))
    axis, inputs = None, []
    for name, n in zip("ab", sizes, strict=True):
        kind = draw(KINDS)
        inputs.append(g.input(name, kind, n, axis=axis if kind == "seq" else None))
        axis = 0 if kind == "seq" else axis
    g.output(g.binary(draw(st.sampled_from(BINARIES)), *inputs), "y")
    return g


def _weights(draw, rng, size):
    return rng.normal(0, 1, size).astype(np.float32) if draw(st.booleans()) else None


@st.composite
def row_graphs(draw):
    """An input and one op that works within its rows."""
    g, groups, n = Graph(), draw(st.integers(1, 5)), draw(st.integers(1, 40))
    size, rng = groups * n, np.random.default_rng(draw(st.integers(0, 99)))
    x = g.input("x", draw(KINDS), size)
    makers = {
        "gather": lambda: g.gather(x, rng.integers(0, size, draw(st.integers(1, 50)))),
        "prelu": lambda: g.prelu(x, rng.normal(0, 1, size)),
        "l2norm": lambda: g.l2norm(x, max(draw(EPS), 1e-9), groups),
        "groupnorm": lambda: g.groupnorm(x, _weights(draw, rng, size), _weights(draw, rng, size),
                                         max(draw(EPS), 1e-5), groups),
        "reduce_features": lambda: g.reduce_features(x, draw(st.sampled_from(list(REDUCTIONS))), groups),
    }  # fmt: skip
    g.output(makers[draw(st.sampled_from(list(makers)))](), "y")
    return g


def inputs_of(rng, graph, batch, steps):
    """Arrays that every op gives numbers for: positive where it is the base of a power."""
    arrays = []
    for i in graph.inputs:
        v = graph.values[i]
        x = rng.normal(0, 1, (batch, v.size) if v.kind == "vec" else (batch, steps, v.size)).astype(np.float32)
        arrays.append(np.abs(x) + np.float32(0.1) if graph.nodes[0].op == "pow" and v.name == "a" else x)
    return arrays
