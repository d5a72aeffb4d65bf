"""A guitar amplifier, block by block as sound comes from the card (PyTorch LSTM)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compare, convert, microseconds, picture, sound

import lstm_rt

from .guitar import RATE, amplifier, riff

HERE = Path(__file__).resolve().parent
BLOCK = 64  #: samples; 2.9 ms


class Effect:
    """What a sound card calls with each block. Nothing is allocated."""

    def __init__(self, model: Any) -> None:
        self.stream = model.stream()
        self.wet = np.empty((BLOCK, 1), np.float32)

    def callback(self, dry: np.ndarray) -> np.ndarray:
        """``(BLOCK, 1)`` samples in, as many out, until the next call."""
        return self.stream.feed(dry, out=self.wet)


def run(work: Path, out: Path) -> bool:
    """A riff that was not trained on."""
    model = lstm_rt.load(str(convert(HERE / "amp.pt", work, "--arch", str(HERE / "arch.toml"))))
    dry = riff(np.random.default_rng(2))
    dry = dry[: len(dry) // BLOCK * BLOCK, None]

    effect = Effect(model)
    wet = np.concatenate([effect.callback(block).copy() for block in dry.reshape(-1, BLOCK, 1)])
    want = amplifier(dry[:, 0])
    ratio = float(((wet[:, 0] - want) ** 2).sum() / (want**2).sum())
    print(f"  error to signal, against the amplifier itself: {ratio:.2%}")
    reference = np.load(HERE / "reference.npz")["y"]
    ok = compare("PyTorch", wet[: len(reference), 0], reference)
    same = np.array_equal(wet, model(dry))
    print(f"  in blocks of {BLOCK}: {'the same bits' if same else 'DIFFERENT'} as in one piece")
    took = microseconds(lambda: effect.callback(dry[:BLOCK]))
    print(f"  one block: {took:.1f} us, {took / 1e6 / (BLOCK / RATE):.2%} of the time that it lasts")

    sound(out / "amp-dry.wav", dry[:, 0], RATE)
    sound(out / "amp-wet.wav", wet[:, 0], RATE)
    picture(out / "amp.png", (9, 3.2), lambda figure: draw(figure, dry[:, 0], wet[:, 0], want))
    return ok and same


def draw(figure: Any, dry: np.ndarray, wet: np.ndarray, want: np.ndarray) -> None:
    """The whole riff, and a few milliseconds of it."""
    whole, close = figure.subplots(1, 2, width_ratios=[3, 2])
    seconds = np.arange(len(dry)) / RATE
    whole.plot(seconds, wet, color="tab:orange", lw=0.5, label="wet")
    whole.plot(seconds, dry, color="0.3", lw=0.5, label="dry")
    whole.set(xlabel="seconds", title="a riff", xlim=(0, seconds[-1]))
    part = slice(int(2.3 * RATE), int(2.33 * RATE))
    close.plot(seconds[part], dry[part], color="0.3", lw=1, label="dry")
    close.plot(seconds[part], want[part], color="black", lw=3, alpha=0.3, label="amplifier")
    close.plot(seconds[part], wet[part], color="tab:orange", lw=1, label="model")
    close.set(xlabel="seconds", title="30 ms of the chord")
    whole.legend(loc="upper right", fontsize=8)
    close.legend(loc="upper right", fontsize=8)
