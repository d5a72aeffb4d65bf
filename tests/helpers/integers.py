"""Graphs with integer weights: those of other tests, their matrices made integers, however small."""

from __future__ import annotations

import numpy as np
from lstm_rt_tools.integers.matrices import quantised

from helpers.denormals import flushed
from lstm_rt.quantised import Quantised

#: Bits of the weights and of what they are multiplied with.
WAYS = [(8, 16), (8, 8), (16, 16), (16, 8)]


def integer_weights(node, bits, activations, only=("w_ih", "w_hh", "w_hr", "weight", "table")):
    """Makes the matrices of a node integers, those of a conv if its groups may have them."""
    if node.op == "conv" and node.attrs["groups"] > 1 and len(node.weights["weight"]) // node.attrs["groups"] % 16:
        return
    if node.op in ("lstm", "gru", "rnn", "dense", "embedding", "conv", "convlstm"):
        for name, w in node.weights.items():
            if name.removesuffix("_reverse") in only:
                node.weights[name] = quantised(w, bits, activations)


def integer_graph(graph, bits, activations, **only):
    """The graph itself, its matrices integers."""
    for node in graph.nodes:
        integer_weights(node, bits, activations, **only)
    return graph


def expected(x, w, bias):
    """docs/format.md, section 3.4, row by row in NumPy: float32 operations by themselves, sums in int64."""
    y = np.empty((*x.shape[:-1], len(w.values)), np.float32)
    for at in np.ndindex(x.shape[:-1]):
        row, limit = x[at], np.float32(w.limit)
        m = np.abs(row).max()
        a, r = np.float32(np.nan), np.zeros(row.size, np.int64)
        if np.isfinite(m):
            a = m / limit if m >= np.float32(2.0**-100) else np.float32(0)
            r = np.rint(row * (limit / m)).astype(np.int64) if a else r
        sums = w.values.astype(np.int64) @ r
        assert np.abs(sums).max() < 1 << 31
        y[at] = (0 if bias is None else bias) + sums.astype(np.float32) * flushed(w.scale * a)
    return y


def scales(x):
    """The next larger numbers of eight bits: what a file can have for scales."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.ceil(mantissa * 256), exponent - 8).astype(np.float32)


def random_integers(rng, rows, k, bits, limit):
    """Numbers all over the range that the limit leaves, and a row at its end."""
    top = min((1 << (bits - 1)) - 1, ((1 << 31) - 1) // limit // k)
    values = rng.integers(-top, top + 1, (rows, k))
    values[0] = top * rng.choice([-1, 1], k)
    dtype = np.int8 if bits == 8 else np.int16
    return Quantised(values.astype(dtype), scales(rng.uniform(1e-4, 1e-2, rows)), limit)
