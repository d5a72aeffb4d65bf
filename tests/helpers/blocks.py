"""Matrices pruned in blocks, with strips that have none."""

from __future__ import annotations

import numpy as np

from lstm_rt.graph import GATES


def pruned_matrix(rng, w, gates, share, inputs=1):
    """Of each gate and 16 units, only about that share of the inputs; some not at all. ``inputs`` go together."""
    out = w.copy()
    units, k = len(w) // gates, w.shape[1]
    for gate in range(gates):
        for start in range(0, units, 16):
            there = rng.random(-(-k // inputs)) < (0 if rng.random() < 0.1 else share)
            rows = slice(gate * units + start, gate * units + min(start + 16, units))
            out[rows, ~np.repeat(there, inputs)[:k]] = 0
    return out


def pruned(rng, graph, share, inputs=1, only=("w_ih", "w_hh", "w_hr", "weight")):
    """The graph itself, the matrices of its cells and dense layers pruned."""
    for node in graph.nodes:
        for name in node.weights if node.op in (*GATES, "dense") else ():
            stem = name.removesuffix("_reverse")
            if stem in only:
                gates = GATES[node.op] if stem in ("w_ih", "w_hh") else 1
                node.weights[name] = pruned_matrix(rng, node.weights[name], gates, share, inputs)
    return graph
