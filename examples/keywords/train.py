"""Train a small PyTorch GRU that hears ten words, the digits, in running sound.

    git clone https://github.com/Jakobovski/free-spoken-digit-dataset
    python train.py free-spoken-digit-dataset/recordings

Writes ``keyword.onnx``, ``speech.wav`` (digits by the speaker who was held out, with noise) and ``reference.npz`` (what
PyTorch hears in it). Needs PyTorch and onnx; takes about a minute.
"""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
import torch
from features import HOP, RATE, frames, read
from listen import heard
from torch import nn

HERE = Path(__file__).resolve().parent
HELD_OUT = "theo"
UNITS, BATCH, STEPS = 64, 16, 800
IGNORED = -1
Recordings = list[tuple[int, np.ndarray]]


class Ear(nn.Module):
    """Frames ``(N, T, 20)`` -> at each the logits of no word and of the ten digits, ``(N, T, 11)``."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(20, UNITS, batch_first=True)
        self.out = nn.Linear(UNITS, 11)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.gru(x)[0])


def load(folder: Path) -> tuple[Recordings, Recordings]:
    """The recordings for training, and those of the speaker who is held out: digits and samples."""
    seen, unseen = [], []
    for path in sorted(folder.glob("*.wav")):
        digit, speaker, _ = path.stem.split("_")
        samples = read(path)
        (unseen if speaker == HELD_OUT else seen).append((int(digit), 0.5 * samples / np.abs(samples).max()))
    return seen, unseen


def noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """Between white and brown, very soft to somewhat loud."""
    white = np.fft.rfft(rng.standard_normal(1 << n.bit_length()))
    shaped = np.fft.irfft(white / np.maximum(np.arange(len(white)), 20) ** rng.uniform(0, 1))[:n]
    return shaped / shaped.std() * 10 ** rng.uniform(-3.5, -1.7)


def scene(recordings: Recordings, words: int, rng: np.random.Generator, vary: bool) -> tuple[np.ndarray, np.ndarray]:
    """Some words with pauses and noise; samples, and for each its digit + 1 in the second half of a word, else 0.

    What a first half is, nobody can know yet; it is not counted.
    """
    pieces, labels = [], []
    for k in rng.integers(len(recordings), size=words):
        digit, word = recordings[k]
        if vary:  # slower and lower, or faster and higher; softer or louder
            places = np.arange(0, len(word) - 1, rng.uniform(0.8, 1.2))
            word = np.interp(places, np.arange(len(word)), word) * 10 ** rng.uniform(-0.7, 0.3)
        pause, half = int(rng.uniform(0.1, 0.6) * RATE), len(word) // 2
        pieces += [np.zeros(pause), word]
        labels += [np.zeros(pause), np.full(half, IGNORED), np.full(len(word) - half, digit + 1)]
    samples = np.concatenate([*pieces, np.zeros(RATE // 2)])
    return samples + noise(len(samples), rng), np.concatenate([*labels, np.zeros(RATE // 2)])


def batch(recordings: Recordings, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pieces of scenes, as frames, and their labels."""
    x, y = [], []
    for _ in range(BATCH):
        samples, labels = scene(recordings, 3, rng, vary=True)
        x.append(frames(samples)[:120])
        y.append(labels[128::HOP][: len(x[-1])])
    n = min(map(len, x))
    return torch.from_numpy(np.stack([r[:n] for r in x])), torch.from_numpy(np.stack([r[:n] for r in y])).long()


def train(model: Ear, recordings: Recordings, rng: np.random.Generator) -> None:
    """Adam with a falling learning rate."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=STEPS)
    total = 0.0
    for step in range(1, STEPS + 1):
        x, y = batch(recordings, rng)
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % 100 == 0:
            print(f"step {step}  loss {total / 100:.4f}", flush=True)
            total = 0.0


def report(model: Ear, recordings: Recordings, rng: np.random.Generator) -> None:
    """Of words in running sound: how many are heard, as what they are, and how often one is heard that is not there."""
    right = false = 0
    words, seconds = 300, 0.0
    for _ in range(words // 5):
        samples, labels = scene(recordings, 5, rng, vary=False)
        labels = labels[128::HOP]
        left = {int(k): int(labels[k]) for k in np.flatnonzero((labels[1:] > 0) & (labels[:-1] <= 0)) + 1}
        with torch.no_grad():
            logits = model(torch.from_numpy(frames(samples))[None])[0].numpy()
        for frame, digit in heard(logits):
            near = [k for k in left if -15 <= frame - k <= 35 and left[k] == digit + 1]
            right += bool(near)
            false += not near
            if near:
                del left[near[0]]
        seconds += len(samples) / RATE
    print(f"a speaker who was not trained on: {right / words:.1%} of {words} words heard right, ", end="")
    print(f"{false} wrong ones in {seconds / 60:.1f} minutes")


def main() -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)  # one summation order, so that a second run gives the same weights
    rng = np.random.default_rng(1)
    seen, unseen = load(Path(sys.argv[1]))
    model = Ear()
    train(model, seen, rng)
    model.eval()
    report(model, unseen, rng)

    one_of_each = [next(r for r in unseen if r[0] == digit) for digit in (3, 1, 4, 1, 5, 9, 2, 6)]
    samples = np.concatenate([scene([r], 1, rng, vary=False)[0] for r in one_of_each])
    with wave.open(str(HERE / "speech.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    x = torch.from_numpy(frames(read(HERE / "speech.wav")))[None]
    with torch.no_grad():
        logits = model(x)
    axes = {"frames": {0: "batch", 1: "time"}, "logits": {0: "batch", 1: "time"}}
    torch.onnx.export(
        model, (x[:, :10],), HERE / "keyword.onnx", dynamo=False,
        input_names=["frames"], output_names=["logits"], dynamic_axes=axes,
    )  # fmt: skip
    np.savez_compressed(HERE / "reference.npz", y=logits.numpy())


if __name__ == "__main__":
    main()
