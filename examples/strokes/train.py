"""Train a small PyTorch LSTM that follows a pen, point by point, and says at each which digit is being written.

Writes ``strokes.pt2`` (torch.export) and ``reference.npz`` (digits by other writers than those of the training, and
PyTorch's logits for them). Needs PyTorch; takes about half a minute.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
N_TRAIN = 7494  # by 30 writers; the rest is by 14 others
UNITS, BATCH, EPOCHS = 48, 64, 25


class Pen(nn.Module):
    """Points ``(N, T, 2)`` from -1 to 1 -> logits of the ten digits after each, ``(N, T, 10)``."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, UNITS, batch_first=True)
        self.out = nn.Linear(UNITS, 10)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(points)[0])


def load() -> tuple[torch.Tensor, torch.Tensor]:
    """Eight points of each digit ``(N, 8, 2)``, and which digit it is."""
    data = np.load(HERE / "pendigits.npz")
    return torch.from_numpy(data["points"]).float() / 50 - 1, torch.from_numpy(data["digit"]).long()


def train(model: Pen, points: torch.Tensor, digits: torch.Tensor) -> None:
    """Adam with a falling learning rate; every point counts, the last ones most. Points are shifted a little."""
    steps = EPOCHS * -(-len(points) // BATCH)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    weight = torch.arange(1, 9) / 36
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in torch.randperm(len(points)).split(BATCH):
            x = points[rows] + 0.03 * torch.randn(len(rows), 8, 2)
            logits = model(x).transpose(1, 2)
            losses = nn.functional.cross_entropy(logits, digits[rows, None].expand(-1, 8), reduction="none")
            loss = (losses * weight).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1:3d}  loss {total / len(points):.4f}", flush=True)


def main() -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)  # one summation order, so that a second run gives the same weights
    points, digits = load()
    model = Pen()
    train(model, points[:N_TRAIN], digits[:N_TRAIN])
    model.eval()
    with torch.no_grad():
        logits = model(points[N_TRAIN:])
    right = (logits.argmax(2) == digits[N_TRAIN:, None]).float().mean(0)
    print("digits by other writers, right after 1 to 8 points:", " ".join(f"{r:.1%}" for r in right))
    # The file holds the example. Its number of steps is fixed for an LSTM; the converter frees it again.
    free_rows = ({0: torch.export.Dim("n")},)
    torch.export.save(torch.export.export(model, (points[:2].clone(),), dynamic_shapes=free_rows), HERE / "strokes.pt2")
    np.savez_compressed(HERE / "reference.npz", y=logits[:100].numpy())


if __name__ == "__main__":
    main()
