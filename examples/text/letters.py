"""The text, and what the model's numbers stand for: number k is the k-th letter of LETTERS."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

LETTERS = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NUMBER = {letter: number for number, letter in enumerate(LETTERS)}


def load() -> str:
    """The text; its last tenth is held out."""
    with gzip.open(Path(__file__).resolve().parent / "shakespeare.txt.gz", "rt", encoding="ascii") as file:
        return file.read()


def numbers(text: str) -> np.ndarray:
    """Letters as int32 ``(T,)``."""
    return np.array([_NUMBER[letter] for letter in text], np.int32)
