"""Faults of a pump, found by an autoencoder that knows only healthy ones (Keras LSTM)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compare, convert, microseconds, picture

import lstm_rt

from .pump import CHANNELS, FAULTS, WINDOW, windows, with_faults

HERE = Path(__file__).resolve().parent


def run(work: Path, out: Path) -> bool:
    """A stream with faults, window by window."""
    model = lstm_rt.load(str(convert(HERE / "anomaly.keras", work)))
    reference = np.load(HERE / "reference.npz")
    ok = compare("Keras", model(reference["x"]), reference["y"])

    x, events = with_faults(40_000, np.random.default_rng(7))
    alarm = float((HERE / "alarm.txt").read_text(encoding="ascii"))
    errors = scores(model, x)
    report(errors > alarm, events)
    one = windows(x[:WINDOW])
    print(f"  one window of {WINDOW} samples: {microseconds(lambda: model(one)):.1f} us")
    picture(out / "anomaly.png", (9, 4), lambda figure: draw(figure, x, errors, alarm, events))
    return ok


def scores(model: Any, x: np.ndarray) -> np.ndarray:
    """For each sample, how badly the model repeats the window that ends there; 0 before the first."""
    parts = windows(x)
    errors = [np.mean((model(p) - p) ** 2, axis=(1, 2)) for p in np.array_split(parts, len(parts) // 500)]
    return np.concatenate([np.zeros(WINDOW - 1), *errors])


def report(alarms: np.ndarray, events: list[tuple[int, int, str]]) -> None:
    """How many faults of each kind set off an alarm before they ended, how soon, and how often there was none."""
    quiet = np.ones(len(alarms), bool)
    for start, end, _ in events:
        quiet[start : end + WINDOW] = False  # windows that hold samples of a fault
    for kind in FAULTS:
        delays = [np.flatnonzero(alarms[start:end]) for start, end, name in events if name == kind]
        found = [int(d[0]) for d in delays if len(d)]
        late = f", after {np.median(found) / 10:.1f} seconds" if found else ""
        print(f"  {kind:14} {len(found)} of {len(delays)} found{late}")
    false = int((np.diff((alarms & quiet).astype(int)) == 1).sum())
    print(f"  false alarms: {false} in {quiet.sum() / 600:.0f} minutes without a fault")


def draw(figure: Any, x: np.ndarray, errors: np.ndarray, alarm: float, events: list[tuple[int, int, str]]) -> None:
    """Two minutes of the sensors; the error below; faults shaded."""
    part = slice(200, 2600)
    seconds = np.arange(len(x))[part] / 10
    sensors, score = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    for k, name in enumerate(CHANNELS):
        sensors.plot(seconds, x[part, k] - 1.6 * k, lw=0.6, label=name)
    sensors.set(yticks=[], xlim=(seconds[0], seconds[-1]), ylim=(-4.2, 2.2))
    sensors.legend(loc="lower right", fontsize=8, ncols=3)
    score.semilogy(seconds, errors[part], color="black", lw=0.8)
    score.axhline(alarm, color="tab:red", lw=1)
    score.set(xlabel="seconds", ylabel="error")
    for start, end, name in events:
        if end < part.stop:
            for axes in (sensors, score):
                axes.axvspan(start / 10, end / 10, color="tab:red", alpha=0.12, lw=0)
            sensors.text(start / 10, 1.75, name, fontsize=8)
