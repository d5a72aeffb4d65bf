"""Sound as the model hears it: how loud each of 20 bands is, 62.5 times a second."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

RATE, WINDOW, HOP, BANDS = 8000, 256, 128, 20


def _mel() -> np.ndarray:
    """Triangles that are as far apart as the ear finds them, over the bins of the spectrum ``(129, BANDS)``."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    bins = np.arange(WINDOW // 2 + 1)[:, None] * RATE / WINDOW
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    return np.clip(np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)), 0, None)


_MEL, _SHAPE = _mel(), np.hanning(WINDOW)


def frame(samples: np.ndarray) -> np.ndarray:
    """The last WINDOW samples ``(..., WINDOW)`` -> what the model reads of them ``(..., BANDS)``, float32."""
    power = np.abs(np.fft.rfft(samples * _SHAPE)) ** 2
    return (np.log(power @ _MEL + 1e-4) / 4).astype(np.float32)


def frames(samples: np.ndarray) -> np.ndarray:
    """All of them, ``(T, BANDS)``."""
    return frame(np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP])


def read(path: Path) -> np.ndarray:
    """Samples of a WAV file, from -1 to 1."""
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
            raise ValueError(f"{path}: expected one channel of 16 bits at {RATE} Hz")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)
