"""The table of the weather, and what the model is told of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
FIRST_TEST_YEAR = 2015
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def load() -> tuple[np.ndarray, np.ndarray]:
    """The days, and for each its rain (mm), highest and lowest temperature (degrees C) and wind (m/s)."""
    table = np.genfromtxt(HERE / "weather.csv", delimiter=",", skip_header=1, dtype=None, encoding="ascii")
    days = table["f0"].astype("datetime64[D]")
    return days, np.array([list(row)[1:] for row in table], np.float32)


def features(days: np.ndarray, table: np.ndarray) -> np.ndarray:
    """What the model reads of each day ``(T, 6)``: the weather, scaled, and the season."""
    season = 2 * np.pi * (days - days.astype("datetime64[Y]")).astype(float) / 365.25
    rain, high, low, wind = table.T
    columns = [to_model(high), to_model(low), np.log1p(rain) - 1, wind / 3 - 1, np.sin(season), np.cos(season)]
    return np.stack(columns, axis=1).astype(np.float32)


def to_model(celsius: np.ndarray) -> np.ndarray:
    return (celsius - 15) / 10


def to_celsius(y: np.ndarray) -> np.ndarray:
    return y * 10 + 15
