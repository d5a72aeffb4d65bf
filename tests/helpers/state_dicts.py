"""State dicts of small models, as PyTorch names and shapes their weights."""

from __future__ import annotations

from typing import Any

import numpy as np

RNG = np.random.default_rng(5)

Weights = dict[str, np.ndarray]


def array(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.4, shape).astype(np.float32)


def weights(*shapes: tuple[str, tuple[int, ...]]) -> Weights:
    return {name: array(*shape) for name, shape in shapes}


def dense(prefix: str, reads: int, writes: int) -> Weights:
    return {f"{prefix}.weight": array(writes, reads), f"{prefix}.bias": array(writes)}


def embedding(prefix: str, rows: int, size: int) -> Weights:
    return {f"{prefix}.weight": array(rows, size)}


def rec(
    prefix: str, reads: int, hidden: int, gates: int = 4, layers: int = 1, both: bool = False, bias: bool = False
) -> Weights:
    out: Weights = {}
    dot = f"{prefix}." if prefix else ""
    for k in range(layers):
        wide = reads if k == 0 else hidden * (2 if both else 1)
        for s in ("", "_reverse") if both else ("",):
            out[f"{dot}weight_ih_l{k}{s}"] = array(gates * hidden, wide)
            out[f"{dot}weight_hh_l{k}{s}"] = array(gates * hidden, hidden)
            if bias:
                out |= {f"{dot}bias_{way}_l{k}{s}": array(gates * hidden) for way in ("ih", "hh")}
    return out


def small_state() -> Weights:
    """Of :data:`SMALL`: 3 features in, 2 out."""
    return {**rec("rec", 3, 5, bias=True), **dense("lin", 5, 2)}


SMALL: dict[str, Any] = {
    "layer": [{"op": "lstm", "name": "rec", "weights": "rec"}, {"op": "dense", "weights": "lin"}]
}
