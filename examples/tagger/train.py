"""Train a small PyTorch bidirectional LSTM that puts the spaces back into text that has lost them.

Each letter gets a tag: does a word begin here? Writes ``tagger.pt`` (TorchScript, which holds the graph as well as
the weights) and ``reference.npz`` (lines that were held out, and PyTorch's logits for them). Needs PyTorch; takes
about two minutes.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
TEXT = HERE.parent / "text" / "shakespeare.txt.gz"
HIDDEN, BATCH, STEPS = 48, 32, 1000
HELD_OUT = 0.1  #: the end of the text


class Tagger(nn.Module):
    """Letters ``(N, T)``, 0 behind the end of a line, and lengths ``(N,)`` -> logits ``(N, T)``."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(27, 24)
        self.lstm = nn.LSTM(24, HIDDEN, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * HIDDEN, 1)

    def forward(self, letters: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(letters), lengths, batch_first=True, enforce_sorted=False
        )
        y, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.out(y).squeeze(2)


def lines() -> list[list[str]]:
    """Runs of about 4 to 20 words of the text, in lower case, without what is not a letter."""
    words = re.sub(
        "[^a-z ]", "", re.sub(r"\s+", " ", gzip.decompress(TEXT.read_bytes()).decode("ascii").lower())
    ).split()
    sizes = iter(np.random.default_rng(1).integers(4, 21, len(words)).tolist())
    out = []
    while words:
        n = next(sizes)
        out.append(words[:n])
        words = words[n:]
    return out


def batch(rows: list[list[str]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Letters (a = 1), their lengths, and 1 where a word begins."""
    letters = [torch.tensor([ord(c) - 96 for c in "".join(words)]) for words in rows]
    begins = [torch.tensor([float(k == 0) for w in words for k in range(len(w))]) for words in rows]
    pad = nn.utils.rnn.pad_sequence
    return pad(letters, True), torch.tensor([len(r) for r in letters]), pad(begins, True)


def f1(logits: torch.Tensor, begins: torch.Tensor, lengths: torch.Tensor) -> float:
    """Of the spaces: the harmonic mean of how many were found and how many of those found are right."""
    inside = torch.arange(begins.shape[1]) < lengths[:, None]
    inside[:, 0] = False  # every line begins with a word
    guess, truth = (logits > 0)[inside], begins[inside] > 0
    return float(2 * (guess & truth).sum() / (guess.sum() + truth.sum()))


def train(model: Tagger, rows: list[list[str]]) -> None:
    """Adam with a falling learning rate."""
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=STEPS)
    total = 0.0
    for step in range(1, STEPS + 1):
        letters, lengths, begins = batch([rows[k] for k in torch.randint(len(rows), (BATCH,))])
        inside = torch.arange(begins.shape[1]) < lengths[:, None]
        loss = nn.functional.binary_cross_entropy_with_logits(model(letters, lengths)[inside], begins[inside])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % 100 == 0:
            print(f"step {step}  loss {total / 100:.4f}", flush=True)
            total = 0.0


def main() -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)  # one summation order, so that a second run gives the same weights
    rows = lines()
    seen = rows[: int(len(rows) * (1 - HELD_OUT))]
    model = Tagger()
    train(model, seen)
    model.eval()
    letters, lengths, begins = batch(rows[len(seen) :])
    with torch.no_grad():
        logits = model(letters, lengths)
    print(f"held-out lines: {len(lengths)}, F1 of the spaces {f1(logits, begins, lengths):.1%}")
    torch.jit.script(model).save(HERE / "tagger.pt")
    first = 60
    np.savez_compressed(
        HERE / "reference.npz",
        letters=letters[:first].int().numpy(),
        lengths=lengths[:first].int().numpy(),
        begins=begins[:first].bool().numpy(),
        y=logits[:first].numpy(),
    )


if __name__ == "__main__":
    main()
