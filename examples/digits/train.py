"""Train a small PyTorch LSTM that reads a handwritten digit row by row and says which one it is.

Writes ``digits.pt`` (a state dict, as most PyTorch users save their models) and ``reference.npz``
(the held-out images and PyTorch's own logits for them). Needs PyTorch; takes about 10 seconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
N_TRAIN = 1347  # three quarters, not shuffled: neighbours in the file often share a writer
HIDDEN = 32


class RowReader(nn.Module):
    """8 rows of 8 pixels -> LSTM -> the last step -> 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(input_size=8, hidden_size=HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seq, _ = self.rnn(x)
        return self.head(seq[:, -1])


def load() -> tuple[np.ndarray, np.ndarray]:
    """Images ``(N, 8, 8)`` with pixels from 0 to 1, and their digits ``(N,)``."""
    table = np.loadtxt(HERE / "digits.csv", delimiter=",", skiprows=1, dtype=np.float32)
    return table[:, 1:].reshape(-1, 8, 8) / 16, table[:, 0].astype(np.int64)


def train(model: RowReader, x: torch.Tensor, y: torch.Tensor, epochs: int = 60) -> None:
    """Adam with a falling learning rate; images are shifted and noised a little to keep it honest."""
    batch = 32
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(x)).split(batch):
            shift = int(torch.randint(-1, 2, ()))
            images = torch.roll(x[rows], shift, dims=2) + 0.05 * torch.randn(len(rows), 8, 8)
            loss = nn.functional.cross_entropy(model(images), y[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3d}  loss {total / len(x):.4f}")


def main() -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)  # one summation order, so that a second run gives the same weights
    images, digits = load()
    x, y = torch.from_numpy(images), torch.from_numpy(digits)
    model = RowReader()
    train(model, x[:N_TRAIN], y[:N_TRAIN])
    model.eval()
    with torch.no_grad():
        logits = model(x[N_TRAIN:])
        right_in_training = float((model(x[:N_TRAIN]).argmax(1) == y[:N_TRAIN]).float().mean())
    right = int((logits.argmax(1) == y[N_TRAIN:]).sum())
    print(f"training images: {right_in_training:.1%} right")
    print(f"held-out images: {right} of {len(logits)} right ({right / len(logits):.1%})")
    torch.save(model.state_dict(), HERE / "digits.pt")
    np.savez_compressed(
        HERE / "reference.npz", x=images[N_TRAIN:], digit=digits[N_TRAIN:].astype(np.uint8), y=logits.numpy()
    )


if __name__ == "__main__":
    main()
