"""Japanese in Latin letters, letter by letter (PyTorch encoder and decoder)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import SCREEN, compare, convert, microseconds

import lstm_rt

from .letters import EDGE, LETTERS

HERE = Path(__file__).resolve().parent
LONGEST = 30  #: letters of a word


def run(work: Path, out: Path) -> bool:
    """Japanese words in Latin letters: an encoder, and a decoder that reads what it has written."""
    arch = ("--arch", str(HERE / "arch.toml"), "--part")
    encoder, decoder = (
        lstm_rt.load(str(convert(HERE / "romaji.pt", work, *arch, part, name=part))) for part in ("encoder", "decoder")
    )
    reference = np.load(HERE / "reference.npz")
    state = encoder(reference["kana"], reference["lengths"])
    written = write(decoder, state)

    rows = [f"{word} {text}" for word, text in zip(reference["words"], written, strict=True)]
    print()
    for k in range(0, len(rows), 5):
        print(SCREEN.text("  " + "   ".join(rows[k : k + 5])))
    right = int(sum(a == b for a, b in zip(written, reference["romaji"], strict=True)))
    print(f"\n  words it was not trained on: {right} of {len(rows)} right")
    logits = decoder(reference["letters"], state=state[None])
    stream = decoder.stream()
    first = np.zeros(1, np.int32)
    ok = compare("PyTorch", logits, reference["logits"])
    print(f"  one letter: {microseconds(lambda: stream.step(first)):.2f} us")
    return ok and right == len(rows)


def write(decoder: Any, state: np.ndarray) -> list[str]:
    """The likeliest letter at each step is what the decoder reads at the next one, until a word ends."""
    stream = decoder.stream(batch=len(state))
    stream.state = state[None]  # (layers, N, H)
    letter = np.full(len(state), EDGE, np.int32)
    texts, going = [""] * len(state), np.ones(len(state), bool)
    for _ in range(LONGEST):
        letter = stream.step(letter).argmax(axis=1).astype(np.int32)
        going &= letter != EDGE
        texts = [t + LETTERS[n] if g else t for t, n, g in zip(texts, letter, going, strict=True)]
        if not going.any():
            break
    return texts
