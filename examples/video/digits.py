"""Films of handwritten digits that fly about and bounce off the walls."""

from __future__ import annotations

from pathlib import Path

import numpy as np

TABLE = Path(__file__).resolve().parents[1] / "digits" / "digits.csv"
SIZE, N_TRAIN = 16, 1347


def load() -> np.ndarray:
    """Images ``(1797, 8, 8)`` with pixels from 0 to 1."""
    return np.loadtxt(TABLE, delimiter=",", skiprows=1, dtype=np.float32)[:, 1:].reshape(-1, 8, 8) / 16


def films(images: np.ndarray, n: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Each with one digit, that moves by up to two pixels a frame: float32 ``(n, frames, SIZE, SIZE, 1)``."""
    out = np.zeros((n, frames, SIZE, SIZE, 1), np.float32)
    for film in out:
        image = images[rng.integers(len(images))]
        place, speed = rng.integers(0, SIZE - 7, 2), rng.choice([-2, -1, 1, 2], 2)
        for frame in film:
            frame[place[0] : place[0] + 8, place[1] : place[1] + 8, 0] = image
            speed = np.where((place + speed < 0) | (place + speed > SIZE - 8), -speed, speed)
            place = place + speed
    return out
