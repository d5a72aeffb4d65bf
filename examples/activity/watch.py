"""The recordings of a smartwatch, and what the model is told of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
RATE = 10  #: samples in a second
EXERCISES = (
    "pendulum",
    "abduction",
    "forward elevation",
    "internal rotation",
    "external rotation",
    "trapezius extension",
    "upright row",
)
HELD_OUT = (9, 10)  #: subjects


def load() -> list[tuple[np.ndarray, int, int]]:
    """Acceleration ``(T, 3)`` in units of gravity, which exercise it is, and whose."""
    data = np.load(HERE / "watch.npz")
    ends = np.cumsum(data["length"].astype(int))
    pieces = np.split(data["acceleration"].astype(np.float32) / 40, ends[:-1])
    return list(zip(pieces, data["exercise"].tolist(), data["subject"].tolist(), strict=True))
