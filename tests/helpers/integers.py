"""Graphs with integer weights: those of other tests, their matrices made integers, however small."""

from __future__ import annotations

import numpy as np
from lstm_rt_tools.integers.matrices import quantised

from lstm_rt.quantised import Quantised

#: Bits of the weights and of what they are multiplied with.
WAYS = [(8, 16), (8, 8), (16, 16), (16, 8)]


def integer_weights(node, bits, activations, only=("w_ih", "w_hh", "w_hr", "weight", "table")):
    """Makes the matrices of a node integers."""
    if node.op in ("lstm", "gru", "rnn", "dense", "embedding"):
        for name, w in node.weights.items():
            if name.removesuffix("_reverse") in only:
                node.weights[name] = quantised(w, bits, activations)


def integer_graph(graph, bits, activations, **only):
    """The graph itself, its matrices integers."""
    for node in graph.nodes:
        integer_weights(node, bits, activations, **only)
    return graph


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
