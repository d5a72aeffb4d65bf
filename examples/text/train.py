"""Train a small PyTorch GRU that says which letter comes next in a text by Shakespeare.

Writes ``text.pt`` (a state dict in half precision) and ``reference.npz`` (the beginning of the text that was held
out, and PyTorch's logits for it). Needs PyTorch; takes about three minutes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from letters import LETTERS, load, numbers
from torch import nn

HERE = Path(__file__).resolve().parent
HIDDEN, BATCH, WINDOW, STEPS = 128, 32, 100, 2500
HELD_OUT = 0.1  #: the end of the text


class Writer(nn.Module):
    """The letters so far ``(N, T)`` and a state -> logits of the next letter at each step, and the state."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), 32)
        self.gru = nn.GRU(32, HIDDEN, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(HIDDEN, len(LETTERS))

    def forward(self, letters: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        y, state = self.gru(self.embedding(letters), state)
        return self.out(self.drop(y)), state


def train(model: Writer, text: torch.Tensor) -> None:
    """Adam with a falling learning rate, on windows of the text. Most go on from where the one before ended."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=8e-3, total_steps=STEPS)
    state, starts, total = None, torch.zeros(0), 0.0
    for step in range(1, STEPS + 1):
        if step % 10 == 1:
            starts, state = torch.randint(len(text) - 10 * WINDOW - 1, (BATCH,)), None
        windows = text[starts[:, None] + torch.arange(WINDOW + 1)]
        starts = starts + WINDOW
        logits, state = model(windows[:, :-1], state)
        state = state.detach()
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % 300 == 0:
            print(f"step {step}  {total / 300 / np.log(2):.3f} bits a letter", flush=True)
            total = 0.0


def main() -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)  # one summation order, so that a second run gives the same weights
    text = torch.from_numpy(numbers(load())).long()
    seen, held_out = text.split([int(len(text) * (1 - HELD_OUT)), len(text) - int(len(text) * (1 - HELD_OUT))])
    model = Writer()
    train(model, seen)
    torch.save(model.eval().half().state_dict(), HERE / "text.pt")
    model.float()  # the numbers that the file holds
    with torch.no_grad():
        logits, _ = model(held_out[None, :-1])
        bits = nn.functional.cross_entropy(logits[0], held_out[1:]) / np.log(2)
    print(f"held-out text: {bits:.3f} bits a letter")
    letters, y = held_out[None, :100].int(), logits[:, :100]
    np.savez_compressed(HERE / "reference.npz", letters=letters.numpy(), y=y.numpy())


if __name__ == "__main__":
    main()
