"""A guitar by Karplus and Strong, and the amplifier that the model learns."""

from __future__ import annotations

import numpy as np

RATE = 22050


def pluck(frequency: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """One string: a burst of noise that runs around a delay line, a little duller on each round."""
    period = RATE / frequency
    n = int(period)
    line = rng.uniform(-1, 1, n)
    line = np.convolve(np.concatenate([line[-2:], line]), [0.25, 0.5, 0.25], "valid")  # a soft pick
    rounds = []
    for _ in range(int(seconds * RATE / n) + 1):
        rounds.append(line)
        line = 0.996 * 0.5 * (line + np.roll(line, 1))
    return np.concatenate(rounds)[: int(seconds * RATE)]


def play(notes: list[tuple[float, float, float]], seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Notes of (start, semitones above the low E, loudness), as float32 samples ``(T,)``."""
    out = np.zeros(int(seconds * RATE))
    for start, semitones, loudness in notes:
        first = int(start * RATE)
        sound = loudness * pluck(82.41 * 2 ** (semitones / 12), min(2.0, seconds - start), rng)
        out[first : first + len(sound)] += sound[: len(out) - first]
    return (0.5 * out).astype(np.float32)


def riff(rng: np.random.Generator) -> np.ndarray:
    """Four seconds that no training has heard: a walk up, then a chord."""
    walk = [(0.25 * k, semitones, 0.8) for k, semitones in enumerate([0, 3, 5, 0, 3, 6, 5, 12])]
    chord = [(2.0 + 0.02 * k, semitones, 0.5) for k, semitones in enumerate([0, 7, 12, 16, 19])]
    return play(walk + chord, 4.0, rng)


def practice(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Random notes and chords, soft and loud."""
    notes, now = [], 0.0
    while now < seconds - 0.1:
        loudness = rng.uniform(0.1, 1.0)
        for semitones in rng.choice(30, rng.choice([1, 1, 2, 3]), replace=False):
            notes.append((now, float(semitones), loudness))
        now += rng.uniform(0.1, 0.7)
    return play(notes, seconds, rng)


def amplifier(dry: np.ndarray) -> np.ndarray:
    """What a tube does: less bass, a bend that differs up and down and sags while it is loud, then less treble."""
    low, envelope, smooth = 0.0, 0.0, 0.0
    bass, attack, treble = (1 - np.exp(-2 * np.pi * f / RATE) for f in (120, 8, 4000))
    out = np.empty(len(dry))
    for k, x in enumerate(dry.astype(float)):
        low += bass * (x - low)
        envelope += attack * (abs(x) - envelope)
        v = 6 * (x - low) / (1 + 4 * envelope) + 0.2
        v = np.tanh(v) if v < 0 else v / (1 + v**2) ** 0.5
        smooth += treble * (v - 0.196 - smooth)
        out[k] = smooth
    return (0.6 * out).astype(np.float32)
