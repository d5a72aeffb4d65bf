"""Spaces for text that has lost them: a tag for each letter (PyTorch bidirectional LSTM, TorchScript)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compare, convert, microseconds, picture

import lstm_rt

HERE = Path(__file__).resolve().parent


def run(work: Path, out: Path) -> bool:
    """Lines of several lengths in one call; none of them was trained on."""
    model = lstm_rt.load(str(convert(HERE / "tagger.pt", work)))
    reference = np.load(HERE / "reference.npz")
    letters, lengths, begins = reference["letters"], reference["lengths"], reference["begins"]
    logits = model(letters, lengths)  # (N, T), above 0 where a word begins
    inside = np.arange(letters.shape[1]) < lengths[:, None]
    ok = compare("PyTorch", np.where(inside, logits, 0), np.where(inside, reference["y"], 0))

    inside[:, 0] = False  # every line begins with a word
    found, there = (logits > 0) & inside, begins & inside
    f1 = 2 * (found & there).sum() / (found.sum() + there.sum())
    print(f"  {len(letters)} lines: F1 of the spaces {f1:.1%}")
    for k in range(5):
        print("    " + spaced(letters[k, : lengths[k]], logits[k]))
    print("  and one of ours:")
    ours = "tobeornottobethatisthequestion"
    print("    " + ours + "  ->  " + put_spaces(model, ours))
    line, n = letters[:1, : lengths[0]], lengths[:1]
    print(f"  a line of {n[0]} letters: {microseconds(lambda: model(line, n)):.0f} us")
    picture(out / "tagger.png", (9, 2.6), lambda figure: draw(figure, letters, lengths, logits, begins))
    return ok


def put_spaces(model: Any, text: str) -> str:
    """Lower-case letters in, words out."""
    letters = np.array([ord(c) - ord("a") + 1 for c in text], np.int32)
    return spaced(letters, model(letters[None], [len(text)])[0])


def spaced(letters: np.ndarray, logits: np.ndarray) -> str:
    pairs = enumerate(zip(letters, logits, strict=False))
    return "".join((" " if k and logit > 0 else "") + chr(letter + ord("a") - 1) for k, (letter, logit) in pairs)


def draw(figure: Any, letters: np.ndarray, lengths: np.ndarray, logits: np.ndarray, begins: np.ndarray) -> None:
    """Some lines; the darker a letter's ground, the surer the model is that a word begins there."""
    axes = figure.subplots()
    rows, width = 7, 60
    odds = 1 / (1 + np.exp(-logits[:rows, :width]))
    odds[np.arange(width) >= lengths[:rows, None]] = np.nan
    axes.imshow(odds, cmap="Oranges", vmin=0, vmax=1.4, aspect="auto")
    for row in range(rows):
        for k in range(min(width, lengths[row])):
            style = {"weight": "bold"} if begins[row, k] else {"color": "0.4"}
            axes.text(k, row, chr(letters[row, k] + 96), ha="center", va="center", fontsize=9, **style)
    axes.set(xticks=[], yticks=[], title="ground: the model says that a word begins here; bold: one does")
