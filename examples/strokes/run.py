"""Handwriting, recognised while the pen still moves (PyTorch LSTM)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compare, convert, microseconds, picture

import lstm_rt

HERE = Path(__file__).resolve().parent
N_TRAIN = 7494  # the rest is by other writers


def run(work: Path, out: Path) -> bool:
    """Digits by writers who were not trained on: all at once, then one of them point by point."""
    model = lstm_rt.load(str(convert(HERE / "strokes.pt2", work)))
    data = np.load(HERE / "pendigits.npz")
    points = (data["points"][N_TRAIN:] / np.float32(50) - 1).astype(np.float32)
    truth = data["digit"][N_TRAIN:]

    logits = model(points)  # (N, 8, 10): after each point, how likely each digit is
    right = (logits.argmax(axis=2) == truth[:, None]).mean(axis=0)
    print("  right after 1 to 8 points: " + " ".join(f"{r:.1%}" for r in right))
    reference = np.load(HERE / "reference.npz")["y"]
    ok = compare("PyTorch", logits[: len(reference)], reference)

    stream = model.stream()
    seen = []
    for point in points[0]:  # as they come from the pen
        odds = softmax(stream.step(point))
        seen.append(f"{odds.argmax()} {odds.max():.0%}")
    print(f"  a {truth[0]}, point by point: " + ", ".join(seen))
    print(f"  one point: {microseconds(lambda: stream.step(points[0, 0])):.2f} us")

    picture(out / "strokes.png", (9, 3.6), lambda figure: draw(figure, points, softmax(logits), truth))
    return ok


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def draw(figure: Any, points: np.ndarray, odds: np.ndarray, truth: np.ndarray) -> None:
    """One of each of eight digits; below, how likely each digit is after every point."""
    shown = [int(np.flatnonzero(truth == digit)[0]) for digit in (0, 2, 3, 4, 5, 6, 8, 9)]
    for (line, map_), k in zip(figure.subplots(2, len(shown)).T, shown, strict=True):
        line.plot(*points[k].T, "-o", color="0.6", markersize=3)
        line.plot(*points[k, 0], "o", color="tab:orange")
        line.set(aspect="equal", xticks=[], yticks=[], title=f"a {truth[k]}", xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
        map_.imshow(odds[k].T, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        map_.set(xlabel="point", xticks=[0, 7], xticklabels=[1, 8], yticks=range(10) if k == shown[0] else [])
    figure.suptitle("which digit, after each point")
