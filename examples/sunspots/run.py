"""Sunspots, one year ahead (Keras GRU)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import SCREEN, compare, convert, microseconds

import lstm_rt

HERE = Path(__file__).resolve().parent
FIRST_TEST_YEAR = 1921


def run(work: Path, out: Path) -> bool:
    """Sunspot numbers through a GRU trained with Keras: whole series at once, then year by year."""
    model = lstm_rt.load(str(convert(HERE / "sunspots.keras", work)))
    reference = np.load(HERE / "reference.npz")
    table = np.loadtxt(HERE / "sunspots.csv", delimiter=",", skiprows=1)
    years, actual = table[:, 0].astype(int), table[:, 1]

    x = reference["x"]
    forecast = model(x)
    after = forecast[0, :, 0] * 100  # after[k] is the forecast for the year that follows years[k]
    chart(years[1:], actual[1:], after[:-1])

    test = years[1:] >= FIRST_TEST_YEAR
    rmse = float(np.sqrt(np.mean((after[:-1] - actual[1:])[test] ** 2)))
    naive = float(np.sqrt(np.mean((actual[:-1] - actual[1:])[test] ** 2)))
    print(f"\n  years the model never saw ({FIRST_TEST_YEAR}-{years[-1]}), root mean square error:", end=" ")
    print(f"{rmse:.1f}; 'same as last year' gives {naive:.1f}")
    ok = compare("Keras", forecast, reference["y"])
    call = microseconds(lambda: model(x))
    print(f"  {len(years)} years: {call:.0f} us, {call / len(years):.2f} us per year")
    return stream_years(model, x[0], forecast[0], int(years[-1])) and ok


def stream_years(model: Any, x: np.ndarray, whole: np.ndarray, last_year: int) -> bool:
    """The same years one at a time, and then some that the model makes up from its own forecasts."""
    stream = model.stream()
    steps = np.array([np.array(stream.step(year)).ravel() for year in x])
    same = np.array_equal(steps, whole)
    verdict = SCREEN.paint("the same bits", "32") if same else SCREEN.paint("DIFFERENT", "31")
    print(f"  streamed year by year: {verdict}; one step {microseconds(lambda: stream.step(x[0])):.2f} us")

    stream.reset()
    for year in x:
        y = np.array(stream.step(year)).reshape(1)
    dream = []
    for _ in range(11):
        dream.append(max(float(y[0]) * 100, 0.0))
        y = np.array(stream.step(y)).reshape(1)
    print(f"  left to itself after {last_year}: " + " ".join(f"{v:.0f}" for v in dream))
    return same


def chart(years: np.ndarray, actual: np.ndarray, forecast: np.ndarray, height: int = 12) -> None:
    """Bars are what was counted, dots are the forecasts; the last years that fit 80 columns."""
    width = min(72, len(years))
    years, actual, forecast = years[-width:], actual[-width:], forecast[-width:]
    step = 200 / height
    print()
    for row in reversed(range(height)):
        low = row * step
        cells = []
        for a, f in zip(actual, forecast, strict=True):
            inside = low <= max(f, 0.0) < low + step
            cells.append(SCREEN.paint(SCREEN.dot, "33") if inside else SCREEN.shades[2] if a > low else " ")
        axis = f"{low:4.0f} " if row % 3 == 0 else "     "
        print("  " + axis + "".join(cells).rstrip())
    marks = "".join(f"{y:<10d}" if y % 10 == 0 else "" for y in years)
    print("  " + " " * (5 + int(-years[0] % 10)) + marks.rstrip())
    print(f"       {SCREEN.shades[2]} counted   {SCREEN.dot} forecast a year before")
