"""Tomorrow's temperature, and how sure that is (Keras GRU)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compare, convert, microseconds, picture

import lstm_rt

from .weather import FIRST_TEST_YEAR, QUANTILES, features, load, to_celsius

HERE = Path(__file__).resolve().parent


def run(work: Path, out: Path) -> bool:
    """Four years of weather; the last one was not trained on."""
    model = lstm_rt.load(str(convert(HERE / "forecast.keras", work)))
    days, table = load()
    x = features(days, table)[None]
    y = model(x)  # (1, T, 5): after each day, five quantiles of the next one's highest temperature
    ok = compare("Keras", y, np.load(HERE / "reference.npz")["y"])
    report(days, table[:, 1], to_celsius(y[0]))

    stream = model.stream()
    for day in x[0]:  # as the days come
        tomorrow = to_celsius(stream.step(day))
    print(f"  after {days[-1]}: {tomorrow[2]:.1f} degrees C, 9 times of 10 from {tomorrow[0]:.1f} to {tomorrow[4]:.1f}")
    print(f"  one day: {microseconds(lambda: stream.step(x[0, 0])):.2f} us")

    year = slice(len(days) - 366, len(days) - 1)
    picture(
        out / "forecast.png",
        (9, 3.2),
        lambda figure: draw(figure, days[1:][year], table[1:, 1][year], to_celsius(y[0][:-1][year])),
    )
    return ok


def pinball(truth: np.ndarray, forecast: np.ndarray) -> float:
    """How bad quantiles are, in degrees."""
    q = np.array(QUANTILES)
    short = truth[:, None] - forecast
    return float(np.maximum(q * short, (q - 1) * short).mean())


def report(days: np.ndarray, high: np.ndarray, forecast: np.ndarray) -> None:
    """On the held-out year, beside a forecast that spreads as day-to-day changes did in the years before."""
    first = int(np.searchsorted(days, np.datetime64(f"{FIRST_TEST_YEAR}-01-01")))
    truth, ours = high[first:], forecast[first - 1 : -1]
    simple = high[first - 1 : -1, None] + np.quantile(np.diff(high[:first]), QUANTILES)
    print(f"  {FIRST_TEST_YEAR}, which was not trained on:")
    for name, y in (("this model", ours), ("'like today'", simple)):
        inside = ((truth >= y[:, 0]) & (truth <= y[:, 4])).mean()
        print(f"    {name:12}  median off by {np.abs(y[:, 2] - truth).mean():.2f} degrees, pinball loss ", end="")
        print(f"{pinball(truth, y):.3f}, {inside:.1%} of the days in the 90 % band")


def draw(figure: Any, days: np.ndarray, truth: np.ndarray, forecast: np.ndarray) -> None:
    """The bands of each day's forecast, and what came."""
    axes = figure.subplots()
    low, mid_low, middle, mid_high, high = forecast.T
    axes.fill_between(days, low, high, color="tab:blue", alpha=0.2, lw=0, label="90 % of the days")
    axes.fill_between(days, mid_low, mid_high, color="tab:blue", alpha=0.35, lw=0, label="half of the days")
    axes.plot(days, middle, color="tab:blue", lw=1, label="forecast a day before")
    axes.plot(days, truth, ".", color="black", ms=3, label="what came")
    axes.set(ylabel="highest temperature, °C", xlim=(days[0], days[-1]), title="Seattle, a day ahead")
    axes.legend(fontsize=8, ncols=2)
