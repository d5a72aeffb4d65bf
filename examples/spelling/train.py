"""Train a small PyTorch encoder and a decoder with attention that say how an English word is spoken.

Writes ``encoder.pt`` (TorchScript), ``decoder.pt2`` (torch.export: one step of the decoder) and ``reference.npz``
(words that were not trained on, and what PyTorch computed for them). Needs PyTorch; takes about two minutes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sounds import EDGE, LETTERS, SOUNDS, distance, split
from torch import nn

HERE = Path(__file__).resolve().parent
UNITS, STEPS, BATCH = 64, 3500, 64
Rows = list[tuple[str, list[str]]]


class Encoder(nn.Module):
    """Letters ``(N, T)`` and lengths -> what was read at each letter ``(N, T, UNITS)``, and a state ``(N, UNITS)``."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), 24)
        self.gru = nn.GRU(24, UNITS // 2, batch_first=True, bidirectional=True)

    def forward(self, letters: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(letters), lengths, batch_first=True, enforce_sorted=False
        )
        y, h = self.gru(packed)
        memory, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
        return memory, torch.cat([h[0], h[1]], 1)


class Decoder(nn.Module):
    """One sound at a time. It looks at the letters by additive attention, then says what comes next."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(SOUNDS), 16)
        self.query = nn.Linear(UNITS, 32)
        self.key = nn.Linear(UNITS, 32, bias=False)
        self.score = nn.Linear(32, 1, bias=False)
        self.cell = nn.GRUCell(16 + UNITS, UNITS)
        self.out = nn.Linear(2 * UNITS, len(SOUNDS))

    def forward(
        self, sound: torch.Tensor, state: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The last sound ``(N,)``, state, memory, 1 where there is a letter ``(N, T)`` -> logits, state, weights."""
        scores = self.score(torch.tanh(self.query(state)[:, None] + self.key(memory)))[:, :, 0]
        weights = torch.softmax(scores - 1e4 * (1 - mask), 1)
        context = (weights[:, None] @ memory)[:, 0]
        state = self.cell(torch.cat([self.embedding(sound), context], 1), state)
        return self.out(torch.cat([state, context], 1)), state, weights


def batch(rows: Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Letters, their lengths, and the sounds between two edges (-1 behind the end)."""
    letters = [torch.tensor([LETTERS.index(c) for c in word]) for word, _ in rows]
    sounds = [torch.tensor([EDGE, *(SOUNDS.index(s) for s in spoken), EDGE]) for _, spoken in rows]
    pad = nn.utils.rnn.pad_sequence
    return pad(letters, True), torch.tensor([len(r) for r in letters]), pad(sounds, True, -1)


def mask_of(lengths: torch.Tensor) -> torch.Tensor:
    return (torch.arange(int(lengths.max())) < lengths[:, None]).float()


def teach(encoder: Encoder, decoder: Decoder, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits at each step where the decoder reads the right sounds, and the sounds that come next."""
    letters, lengths, sounds = batch(rows)
    memory, state = encoder(letters, lengths)
    mask, logits = mask_of(lengths), []
    for sound in sounds[:, :-1].clamp(min=0).T:
        step, state, _ = decoder(sound, state, memory, mask)
        logits.append(step)
    return torch.stack(logits, 1), sounds[:, 1:]


def speak(encoder: Encoder, decoder: Decoder, rows: Rows) -> list[list[str]]:
    """The likeliest sound at each step is what the decoder reads at the next one."""
    letters, lengths, _ = batch(rows)
    memory, state = encoder(letters, lengths)
    mask, sound, said = mask_of(lengths), torch.full((len(rows),), EDGE), []
    for _ in range(16):
        logits, state, _ = decoder(sound, state, memory, mask)
        sound = logits.argmax(1)
        said.append(sound)
    return [[SOUNDS[s] for s in row[: row.index(EDGE)]] if EDGE in row else [] for row in torch.stack(said, 1).tolist()]


def train(encoder: Encoder, decoder: Decoder, rows: Rows) -> None:
    """Adam with a falling learning rate."""
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=8e-3, total_steps=STEPS)
    total = 0.0
    for step in range(1, STEPS + 1):
        logits, following = teach(encoder, decoder, [rows[k] for k in torch.randint(len(rows), (BATCH,))])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), following.flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % 500 == 0:
            print(f"step {step}  loss {total / 500:.4f}", flush=True)
            total = 0.0


def save(encoder: Encoder, decoder: Decoder, rows: Rows) -> None:
    """Both models, and what they give for ``rows``: the first step of the decoder, and the words as they are spoken."""
    torch.jit.script(encoder).save(HERE / "encoder.pt")
    letters, lengths, _ = batch(rows)
    memory, state = encoder(letters, lengths)
    example = (torch.full((len(rows),), SOUNDS.index("K")), state, memory, mask_of(lengths))
    n, t = torch.export.Dim("n"), torch.export.Dim("t")
    shapes = ({0: n}, {0: n}, {0: n, 1: t}, {0: n, 1: t})
    small = tuple(x[:2].clone() for x in example)  # the file holds its example
    torch.export.save(torch.export.export(decoder, small, dynamic_shapes=shapes), HERE / "decoder.pt2")
    logits, after, weights = decoder(*example)
    np.savez_compressed(
        HERE / "reference.npz",
        letters=letters.int().numpy(),
        lengths=lengths.int().numpy(),
        memory=memory.numpy(),
        state=state.numpy(),
        sound=example[0].int().numpy(),
        logits=logits.numpy(),
        after=after.numpy(),
        weights=weights.numpy(),
        words=np.array([word for word, _ in rows]),
        said=np.array([" ".join(s) for s in speak(encoder, decoder, rows)]),
    )


def main() -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)  # one summation order, so that a second run gives the same weights
    seen, held_out = split()
    encoder, decoder = Encoder(), Decoder()
    train(encoder, decoder, seen)
    encoder.eval(), decoder.eval()
    with torch.no_grad():
        said = speak(encoder, decoder, held_out)
        wrong = sum(distance(s, truth) for s, (_, truth) in zip(said, held_out, strict=True))
        right = sum(s == truth for s, (_, truth) in zip(said, held_out, strict=True))
        print(f"held-out words: {right / len(held_out):.1%} of {len(held_out)} right, ", end="")
        print(f"{wrong / sum(len(truth) for _, truth in held_out):.1%} of the sounds wrong")
        save(encoder, decoder, held_out[:: len(held_out) // 12])


if __name__ == "__main__":
    main()
