"""How English words are spoken, with attention to their letters (PyTorch encoder and decoder)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compare, convert, microseconds, picture

import lstm_rt

from .sounds import EDGE, HELD_OUT, LETTERS, SOUNDS, distance, load

HERE = Path(__file__).resolve().parent
LONGEST = 16  #: sounds of a word


def run(work: Path, out: Path) -> bool:
    """Words that were not trained on; all of them in one batch, whatever their lengths."""
    encoder, decoder = (lstm_rt.load(str(convert(HERE / name, work))) for name in ("encoder.pt", "decoder.pt2"))
    reference = np.load(HERE / "reference.npz")
    mask = (np.arange(reference["letters"].shape[1]) < reference["lengths"][:, None]).astype(np.float32)
    memory, state = encoder(reference["letters"], reference["lengths"])
    ok = compare("PyTorch", memory, reference["memory"]) & compare("PyTorch", state, reference["state"])
    step = decoder(reference["sound"], reference["state"], reference["memory"], mask)
    for got, name in zip(step, ("logits", "after", "weights"), strict=True):
        ok &= compare("PyTorch", got, reference[name])
    said, _ = speak(encoder, decoder, reference["words"].tolist())
    same = [" ".join(s) for s in said] == reference["said"].tolist()
    print(f"  {len(said)} words are spoken {'as by PyTorch' if same else 'DIFFERENTLY'}")

    words, truth = zip(*load()[::HELD_OUT], strict=True)
    said, _ = speak(encoder, decoder, list(words))
    right = sum(a == b for a, b in zip(said, truth, strict=True))
    wrong = sum(distance(a, b) for a, b in zip(said, truth, strict=True))
    print(f"  words that were not trained on: {right / len(words):.1%} of {len(words)} right, ", end="")
    print(f"{wrong / sum(map(len, truth)):.1%} of the sounds wrong")
    for k in range(0, 60, 10):
        correction = "" if said[k] == truth[k] else f"   (is {' '.join(truth[k])})"
        print(f"    {words[k]:10} {' '.join(said[k])}{correction}")
    one = [array[:1] for array in (reference["sound"], state, memory, mask)]
    print(f"  one sound: {microseconds(lambda: decoder(*one)):.1f} us")
    shown = ["brusque", "phagocyte", "squealing"]
    picture(out / "spelling.png", (9, 3.4), lambda figure: draw(figure, shown, *speak(encoder, decoder, shown)))
    return ok and same


def speak(encoder: Any, decoder: Any, words: list[str]) -> tuple[list[list[str]], np.ndarray]:
    """The likeliest sound at each step is what the decoder reads at the next one, until every word has ended.

    Also where it looked: ``(N, sounds, letters)``.
    """
    lengths = np.array([len(word) for word in words], np.int32)
    letters = np.zeros((len(words), lengths.max()), np.int32)
    for row, word in zip(letters, words, strict=True):
        row[: len(word)] = [LETTERS.index(c) for c in word]
    mask = (np.arange(letters.shape[1]) < lengths[:, None]).astype(np.float32)
    memory, state = encoder(letters, lengths)
    sound, going = np.full(len(words), EDGE, np.int32), np.ones(len(words), bool)
    said: list[list[str]] = [[] for _ in words]
    looked = []
    for _ in range(LONGEST):
        logits, state, weights = decoder(sound, state, memory, mask)
        looked.append(weights)
        sound = logits.argmax(axis=1).astype(np.int32)
        going &= sound != EDGE
        if not going.any():
            break
        for row in np.flatnonzero(going):
            said[row].append(SOUNDS[sound[row]])
    return said, np.stack(looked, axis=1)


def draw(figure: Any, words: list[str], said: list[list[str]], looked: np.ndarray) -> None:
    """Where the decoder looked when it said each sound."""
    for axes, word, sounds, weights in zip(figure.subplots(1, len(words)), words, said, looked, strict=True):
        axes.imshow(weights[: len(sounds), : len(word)], cmap="Greens", vmin=0, vmax=1, aspect="auto")
        axes.set(xticks=range(len(word)), xticklabels=list(word), yticks=range(len(sounds)), yticklabels=sounds)
        axes.xaxis.tick_top()
