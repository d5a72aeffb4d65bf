"""Spoken digits in running sound, as it comes from a microphone (PyTorch GRU, ONNX)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compare, convert, microseconds, picture

import lstm_rt

from .features import HOP, RATE, WINDOW, frame, frames, read
from .listen import Words, heard

HERE = Path(__file__).resolve().parent


class Microphone:
    """What a sound card calls with each HOP samples."""

    def __init__(self, model: Any) -> None:
        self.stream, self.words = model.stream(), Words()
        self.last = np.zeros(WINDOW, np.float32)

    def callback(self, samples: np.ndarray) -> int | None:
        """The digit that was said, when one was."""
        self.last = np.concatenate([self.last[HOP:], samples])
        return self.words.next(self.stream.step(frame(self.last)))


def run(work: Path, out: Path) -> bool:
    """Digits by a speaker who was not trained on."""
    model = lstm_rt.load(str(convert(HERE / "keyword.onnx", work)))
    samples = read(HERE / "speech.wav")
    x = frames(samples)
    logits = model(x[None])
    ok = compare("PyTorch", logits, np.load(HERE / "reference.npz")["y"])

    microphone = Microphone(model)
    said = [microphone.callback(block) for block in samples[: len(samples) // HOP * HOP].reshape(-1, HOP)]
    print("  said: 3 1 4 1 5 9 2 6")
    print("  heard: " + " ".join(str(digit) for digit in said if digit is not None))
    took = microseconds(lambda: microphone.callback(samples[:HOP]))
    print(f"  one block, with its spectrum: {took:.1f} us, {took / 1e6 / (HOP / RATE):.2%} of the time that it lasts")
    picture(out / "keywords.png", (9, 4), lambda figure: draw(figure, samples, x, logits[0]))
    return ok


def draw(figure: Any, samples: np.ndarray, x: np.ndarray, logits: np.ndarray) -> None:
    """The sound, what the model reads, what it gives, and where a word is heard."""
    wave, bands, given = figure.subplots(3, 1, sharex=True)
    seconds = len(samples) / RATE
    wave.plot(np.arange(len(samples)) / RATE, samples, color="0.3", lw=0.4)
    wave.set(yticks=[], xlim=(0, seconds), ylabel="sound")
    bands.imshow(x.T, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, x.shape[1]))
    bands.set(yticks=[], ylabel="bands")
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    given.imshow(odds[:, 1:].T, origin="lower", aspect="auto", cmap="Blues", extent=(0, seconds, -0.5, 9.5))
    given.set(yticks=range(0, 10, 3), ylabel="digit", xlabel="seconds")
    for k, digit in heard(logits):
        wave.text(k * HOP / RATE, 0.25, str(digit), color="tab:blue", fontsize=14, clip_on=True)
