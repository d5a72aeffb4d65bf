"""Train a small PyTorch LSTM that sounds like a tube amplifier, on a guitar that ``guitar.py`` makes.

Writes ``amp.pt`` (a state dict) and ``reference.npz`` (a riff that was not trained on, and what PyTorch makes of it).
Needs PyTorch; takes about two minutes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from guitar import amplifier, practice, riff
from torch import nn

HERE = Path(__file__).resolve().parent
UNITS, SECONDS, BATCH, CHUNK, EPOCHS = 16, 80, 40, 1024, 50


class Amp(nn.Module):
    """Dry samples ``(N, T, 1)`` and a state -> wet ones, and the state."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, UNITS, batch_first=True)
        self.out = nn.Linear(UNITS, 1)

    def forward(
        self, dry: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        y, state = self.lstm(dry, state)
        return self.out(y) + dry, state


def error(wet: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
    """The energy of the difference over that of the signal."""
    return ((wet - want) ** 2).sum() / ((want**2).sum() + 1e-3)


def train(model: Amp, dry: torch.Tensor, want: torch.Tensor) -> None:
    """Adam with a falling learning rate; each row goes on where its last chunk ended."""
    steps = EPOCHS * (dry.shape[1] // CHUNK)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    for epoch in range(EPOCHS):
        state, total = None, 0.0
        for first in range(0, dry.shape[1] - CHUNK + 1, CHUNK):
            wet, (h, c) = model(dry[:, first : first + CHUNK], state)
            state = h.detach(), c.detach()
            loss = error(wet, want[:, first : first + CHUNK])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1:3d}  error to signal {total / (dry.shape[1] // CHUNK):.4f}", flush=True)


def main() -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)  # one summation order, so that a second run gives the same weights
    rng = np.random.default_rng(1)
    dry = np.stack([practice(SECONDS / BATCH, rng) for _ in range(BATCH)])
    want = np.stack([amplifier(row) for row in dry])
    model = Amp()
    train(model, torch.from_numpy(dry)[..., None], torch.from_numpy(want)[..., None])
    model.eval()
    unheard = riff(np.random.default_rng(2))
    truth = amplifier(unheard)
    with torch.no_grad():
        wet = model(torch.from_numpy(unheard)[None, :, None])[0][0, :, 0]
    ratio, bare = error(wet, torch.from_numpy(truth)), error(torch.from_numpy(unheard), torch.from_numpy(truth))
    print(f"a riff that was not trained on: error to signal {ratio:.2%}; {bare:.2%} without the model")
    torch.save(model.state_dict(), HERE / "amp.pt")
    np.savez_compressed(HERE / "reference.npz", y=wet[:8000].numpy())


if __name__ == "__main__":
    main()
