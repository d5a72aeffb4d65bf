"""The next frame of a film (Keras ConvLSTM)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compare, convert, microseconds, picture

import lstm_rt

from .digits import N_TRAIN, films, load

HERE = Path(__file__).resolve().parent


def run(work: Path, out: Path) -> bool:
    """Films of digits that were not trained on, and how one goes on by itself."""
    model = lstm_rt.load(str(convert(HERE / "video.keras", work)))
    reference = np.load(HERE / "reference.npz")
    ok = compare("Keras", model(reference["x"][:, :-1]), reference["y"])

    x = films(load()[N_TRAIN:], 100, 11, np.random.default_rng(5))
    y = model(x[:, :-1])  # (N, T, 16, 16, 1): after each frame, the next one
    ours, still = (float(np.mean((guess - x[:, 1:])[:, 3:] ** 2)) for guess in (y, x[:, :-1]))
    print(f"  from the 4th frame on, mean square error {ours:.4f}; 'the same frame again' gives {still:.4f}")

    stream = model.stream()
    frame = x[0, 0]
    print(f"  one frame: {microseconds(lambda: stream.step(frame)):.0f} us")
    picture(out / "video.png", (9, 3.2), lambda figure: draw(figure, x[0, 1:], y[0], dream(model, x[0, :7], 4)))
    return ok


def dream(model: Any, film: np.ndarray, frames: int) -> np.ndarray:
    """The film goes on: the model sees what it has drawn itself."""
    stream = model.stream()
    for frame in film:
        after = np.array(stream.step(frame))
    drawn = []
    for _ in range(frames):
        drawn.append(after)
        after = np.array(stream.step(after))
    return np.stack(drawn)


def draw(figure: Any, truth: np.ndarray, forecast: np.ndarray, dreamt: np.ndarray) -> None:
    """Row by row: the film, each frame as it was forecast from those before, and the last four from no later ones."""
    blank = np.full_like(truth[: len(truth) - len(dreamt)], np.nan)
    rows = {"film": truth, "one ahead": forecast, "by itself": np.concatenate([blank, dreamt])}
    for line, (name, frames) in zip(figure.subplots(3, len(truth)), rows.items(), strict=True):
        line[0].set_ylabel(name)
        for k, (axes, frame) in enumerate(zip(line, frames, strict=True)):
            axes.imshow(frame[..., 0], cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[], title=f"{k + 2}" if frames is truth else "")
