"""Which exercise it is, from the acceleration of a smartwatch (PyTorch convolution and LSTM)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compare, convert, microseconds, picture

import lstm_rt

from .watch import EXERCISES, HELD_OUT, RATE, load

HERE = Path(__file__).resolve().parent
SETTLED = 20  #: samples at the start of a recording that are not counted


def run(work: Path, out: Path) -> bool:
    """Recordings of two people who were not trained on."""
    model = lstm_rt.load(str(convert(HERE / "activity.pt", work)))
    unseen = [(x, exercise) for x, exercise, subject in load() if subject in HELD_OUT]
    ok = compare("PyTorch", model(unseen[0][0][None]), np.load(HERE / "reference.npz")["y"])

    stream, guesses = model.stream(), []
    for x, _ in unseen:
        stream.reset()
        guesses.append(np.array([stream.step(sample).argmax() for sample in x]))  # as they come from the watch
    right = np.concatenate([g[SETTLED:] == exercise for g, (_, exercise) in zip(guesses, unseen, strict=True)])
    print(f"  people who were not trained on: {right.mean():.1%} of the samples right, each when it comes")
    print(f"  one sample: {microseconds(lambda: stream.step(unseen[0][0][0])):.2f} us")
    picture(out / "activity.png", (9, 4), lambda figure: draw(figure, guesses, unseen))
    return ok


def draw(figure: Any, guesses: list[np.ndarray], unseen: list[tuple[np.ndarray, int]]) -> None:
    """Left: one recording and what the model says of it. Right: how often each exercise is taken for which."""
    left, right = figure.subfigures(1, 2, width_ratios=[3, 2])
    k = 3
    sensor, said = left.subplots(2, 1, sharex=True)
    seconds = np.arange(len(unseen[k][0])) / RATE
    sensor.plot(seconds, unseen[k][0], lw=0.7)
    sensor.set(ylabel="acceleration, g", title=EXERCISES[unseen[k][1]])
    said.plot(seconds, guesses[k], ".", ms=3)
    said.set(yticks=range(len(EXERCISES)), yticklabels=EXERCISES, xlabel="seconds", ylim=(-0.5, 6.5))
    table = np.zeros((len(EXERCISES), len(EXERCISES)))
    for guess, (_, exercise) in zip(guesses, unseen, strict=True):
        table[exercise] += np.bincount(guess[SETTLED:], minlength=len(EXERCISES))
    table /= table.sum(axis=1, keepdims=True)
    axes = right.subplots()
    axes.imshow(table, cmap="Blues", vmin=0, vmax=1)
    for row, line in enumerate(table):
        for column, share in enumerate(line):
            if share >= 0.01:
                colour = "white" if share > 0.5 else "black"
                axes.text(column, row, f"{share:.0%}", ha="center", va="center", fontsize=7, color=colour)
    axes.set(xlabel="said", xticks=range(7), yticks=range(7), yticklabels=EXERCISES, title="two people, all samples")
