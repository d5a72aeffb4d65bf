"""Handwritten digits, read row by row (PyTorch LSTM)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common import SCREEN, compare, convert, microseconds

import lstm_rt

HERE = Path(__file__).resolve().parent


def run(work: Path, out: Path) -> bool:
    """Held-out handwritten digits through an LSTM trained with PyTorch."""
    model = lstm_rt.load(str(convert(HERE / "digits.pt", work, "--arch", str(HERE / "arch.toml"))))
    reference = np.load(HERE / "reference.npz")
    images, truth = reference["x"], reference["digit"]

    logits = model(images)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    guess = odds.argmax(axis=1)
    draw_digits(images, truth, guess, odds.max(axis=1))

    right = int((guess == truth).sum())
    print(f"\n  held-out images: {right} of {len(truth)} right ({right / len(truth):.1%})")
    ok = compare("PyTorch", logits, reference["y"])
    one, batch = images[:1], len(images)
    print(f"  one image: {microseconds(lambda: model(one)):.1f} us;", end=" ")
    print(f"in a batch of {batch}: {microseconds(lambda: model(images), 30) / batch:.2f} us each")
    return ok


def draw_digits(images: np.ndarray, truth: np.ndarray, guess: np.ndarray, odds: np.ndarray) -> None:
    """Three digits that were recognised, and the mistake the model was surest of, if it made one."""
    shown = [int(np.flatnonzero((truth == d) & (guess == d))[0]) for d in (0, 3, 8)]
    wrong = np.flatnonzero(guess != truth)
    if len(wrong):
        shown.append(int(wrong[odds[wrong].argmax()]))
    print()
    for row in range(8):
        shades = (images[shown, row] * (len(SCREEN.shades) - 1)).round().astype(int)
        print(("  " + "   ".join("".join(SCREEN.shades[s] * 2 for s in line) for line in shades)).rstrip())
    labels, bars = [], []
    for i in shown:
        good = guess[i] == truth[i]
        text = f"{guess[i]}  {odds[i]:.0%}" + ("" if good else f" (is a {truth[i]})")
        labels.append(SCREEN.paint(text.ljust(16), "32" if good else "31"))
        bars.append(SCREEN.bar(float(odds[i]), 16))
    print("  " + "   ".join(bars))
    print("  " + "   ".join(labels).rstrip())
