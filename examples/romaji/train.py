"""Train a small PyTorch encoder and decoder that write Japanese words in Latin letters (Hepburn romanisation).

Writes ``romaji.pt`` (a checkpoint with a state dict for each of the two, in half precision) and ``reference.npz``
(words that were not trained on, and PyTorch's logits for them). Needs PyTorch; takes about five minutes.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import torch
from letters import EDGE, KANA, LETTERS
from torch import nn

HERE = Path(__file__).resolve().parent
HIDDEN, STEPS, BATCH = 96, 6000, 256
#: Held out: words that people say.
WORDS = (HERE / "words.txt").read_text(encoding="utf-8").split()

#: Consonants, and the kana that write them before a i u e o; "-" where there is none.
ROWS = {
    "": "あいうえお", "k": "かきくけこ", "s": "さ-すせそ", "t": "た--てと", "n": "なにぬねの", "h": "はひ-へほ",
    "m": "まみむめも", "y": "や-ゆ-よ", "r": "らりるれろ", "w": "わ----", "g": "がぎぐげご", "z": "ざ-ずぜぞ",
    "d": "だ--でど", "b": "ばびぶべぼ", "p": "ぱぴぷぺぽ",
}  # fmt: skip
OTHERS = {"し": "shi", "ち": "chi", "つ": "tsu", "ふ": "fu", "じ": "ji", "ぢ": "ji", "づ": "zu", "を": "o", "ん": "n"}
SOUNDS = {k: c + v for c, row in ROWS.items() for k, v in zip(row, "aiueo", strict=True) if k != "-"} | OTHERS
for first, small in itertools.product("きしちにひみりぎじびぴ", "ゃゅょ"):  # kya, sha, cho
    start, vowel = SOUNDS[first][:-1], "auo"["ゃゅょ".index(small)]
    SOUNDS[first + small] = (start if first in "しちじ" else start + "y") + vowel


def romaji(sounds: list[str]) -> str:
    """The letters of a word in sounds; a small っ doubles the consonant behind it."""
    text = "".join(SOUNDS.get(s, s) for s in sounds)
    for start in "kstpcgzdbfj":
        text = text.replace("っ" + start, ("t" if start == "c" else start) + start)
    return text


def split(word: str) -> list[str]:
    """A word's sounds."""
    return [a + b if b in "ゃゅょ" else a for a, b in itertools.pairwise(word + " ") if a not in "ゃゅょ"]


def a_word() -> list[str]:
    """Any sounds, with っ where it can stand."""
    out: list[str] = []
    for _ in range(random.randint(1, 6)):
        sound = random.choice(list(SOUNDS))
        if out and SOUNDS[sound][0] in "kstpc" and random.random() < 0.15:
            out.append("っ")
        out.append(sound)
    return out


class Encoder(nn.Module):
    """Kana ``(N, T)`` -> the GRU's state behind the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(KANA), 24, padding_idx=0)
        self.gru = nn.GRU(24, HIDDEN, batch_first=True)

    def forward(self, kana: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(kana), lengths, batch_first=True, enforce_sorted=False
        )
        return self.gru(packed)[1]


class Decoder(nn.Module):
    """The letters so far ``(N, T)``, and the state -> logits of the next letter at each step, and the state."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), 16)
        self.gru = nn.GRU(16, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, len(LETTERS))

    def forward(self, letters: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, state = self.gru(self.embedding(letters), state)
        return self.out(y), state


def batch(words: list[list[str]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Kana and their lengths; letters so far, and those that come next (-1 behind the end)."""
    kana = [[KANA.index(k) for k in "".join(w)] for w in words]
    letters = [[LETTERS.index(c) for c in romaji(w)] for w in words]
    n, m = max(map(len, kana)), max(map(len, letters)) + 1
    return (
        torch.tensor([k + [0] * (n - len(k)) for k in kana]),
        torch.tensor([len(k) for k in kana]),
        torch.tensor([[EDGE, *c] + [EDGE] * (m - 1 - len(c)) for c in letters]),
        torch.tensor([[*c, EDGE] + [-1] * (m - 1 - len(c)) for c in letters]),
    )


def train(encoder: Encoder, decoder: Decoder) -> None:
    """Adam with a falling learning rate, on words that are made up as it goes."""
    held_out = {tuple(split(w)) for w in WORDS}
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=STEPS)
    total = 0.0
    for step in range(1, STEPS + 1):
        words = [w for w in (a_word() for _ in range(BATCH)) if tuple(w) not in held_out]
        kana, lengths, letters, following = batch(words)
        logits, _ = decoder(letters, encoder(kana, lengths))
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


def main() -> None:
    random.seed(1)
    torch.manual_seed(1)
    torch.set_num_threads(1)  # one summation order, so that a second run gives the same weights
    encoder, decoder = Encoder(), Decoder()
    train(encoder, decoder)
    parts = {
        "encoder_state_dict": encoder.eval().half().state_dict(),
        "decoder_state_dict": decoder.eval().half().state_dict(),
    }
    torch.save(parts, HERE / "romaji.pt")
    encoder.float(), decoder.float()  # the numbers that the file holds
    kana, lengths, letters, _ = batch([split(w) for w in WORDS])
    with torch.no_grad():
        logits, _ = decoder(letters, encoder(kana, lengths))
    truth = [romaji(split(w)) for w in WORDS]
    right = sum(
        "".join(LETTERS[i] for i in row[: len(t) + 1]) == t + LETTERS[EDGE]
        for row, t in zip(logits.argmax(2).tolist(), truth, strict=True)
    )
    print(f"held-out words: {right} of {len(WORDS)} right")
    np.savez_compressed(
        HERE / "reference.npz",
        kana=kana.numpy().astype(np.int32),
        lengths=lengths.numpy().astype(np.int32),
        letters=letters.numpy().astype(np.int32),
        logits=logits.numpy(),
        words=np.array(WORDS),
        romaji=np.array(truth),
    )


if __name__ == "__main__":
    main()
