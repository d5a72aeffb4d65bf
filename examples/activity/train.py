"""Train a small PyTorch network, a convolution and an LSTM, that says which exercise somebody with a smartwatch does.

Writes ``activity.pt`` (TorchScript) and ``reference.npz`` (what PyTorch gives for a recording that was held out).
Needs PyTorch; takes about half a minute.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from watch import EXERCISES, HELD_OUT, load

HERE = Path(__file__).resolve().parent
UNITS, BATCH, WINDOW, STEPS = 40, 32, 80, 1200
SETTLED = 20  #: samples at the start of a window that are not counted


class Exercise(nn.Module):
    """Acceleration ``(N, T, 3)`` -> at each sample the logits of the exercises, ``(N, T, 7)``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 24, 5)
        self.lstm = nn.LSTM(24, UNITS, batch_first=True)
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(UNITS, len(EXERCISES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        past = nn.functional.pad(x.transpose(1, 2), (4, 0))  # looks back only, so that it can stream
        y = torch.relu(self.conv(past)).transpose(1, 2)
        return self.out(self.drop(self.lstm(y)[0]))


def train(model: Exercise, pieces: list[tuple[torch.Tensor, int]]) -> None:
    """Adam with a falling learning rate, on windows of the recordings. A watch does not sit the same on each wrist."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=STEPS)
    total = 0.0
    for step in range(1, STEPS + 1):
        rows = [pieces[k] for k in torch.randint(len(pieces), (BATCH,))]
        starts = [int(torch.randint(len(x) - WINDOW, ())) for x, _ in rows]
        x = torch.stack([x[s : s + WINDOW] for (x, _), s in zip(rows, starts, strict=True)])
        turn = torch.linalg.qr(torch.eye(3) + 0.15 * torch.randn(BATCH, 3, 3))[0]
        turn = turn * torch.sign(torch.diagonal(turn, dim1=1, dim2=2))[:, None]
        x = x @ turn * (1 + 0.1 * torch.randn(BATCH, 1, 1)) + 0.03 * torch.randn(x.shape)
        logits = model(x)[:, SETTLED:]
        want = torch.tensor([y for _, y in rows])[:, None].expand(-1, logits.shape[1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), want.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % 200 == 0:
            print(f"step {step}  loss {total / 200:.4f}", flush=True)
            total = 0.0


def main() -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)  # one summation order, so that a second run gives the same weights
    recordings = [(torch.from_numpy(x), exercise, subject) for x, exercise, subject in load()]
    model = Exercise()
    train(model, [(x, exercise) for x, exercise, subject in recordings if subject not in HELD_OUT])
    model.eval()
    unseen = [(x, exercise) for x, exercise, subject in recordings if subject in HELD_OUT]
    with torch.no_grad():
        logits = [model(x[None])[0] for x, _ in unseen]
        one = model(unseen[0][0][None])
    right = torch.cat([y[SETTLED:].argmax(1) == want for y, (_, want) in zip(logits, unseen, strict=True)])
    whole = sum(int(y[SETTLED:].mean(0).argmax()) == want for y, (_, want) in zip(logits, unseen, strict=True))
    print(f"people who were not trained on: {right.float().mean():.1%} of the samples, ", end="")
    print(f"{whole} of {len(unseen)} recordings right")
    torch.jit.trace(model, unseen[0][0][None]).save(HERE / "activity.pt")
    np.savez_compressed(HERE / "reference.npz", y=one.numpy())


if __name__ == "__main__":
    main()
