"""The words and their sounds, and what the models' numbers stand for."""

from __future__ import annotations

import gzip
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: Number 0 is no letter: it fills up a batch behind short words.
LETTERS = "\0abcdefghijklmnopqrstuvwxyz"
#: Number 0 begins a word and ends it. CMUdict's names of sounds, without stress.
_NAMES = "- AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
SOUNDS = _NAMES.split()
EDGE = 0
HELD_OUT = 20  #: every 20th word is not trained on


def load() -> list[tuple[str, list[str]]]:
    """Words with their sounds."""
    with gzip.open(HERE / "words.txt.gz", "rt", encoding="ascii") as file:
        return [(word, sounds) for word, *sounds in map(str.split, file)]


def split() -> tuple[list[tuple[str, list[str]]], list[tuple[str, list[str]]]]:
    """The words for training, and those that are held out."""
    rows = load()
    return [row for k, row in enumerate(rows) if k % HELD_OUT], rows[::HELD_OUT]


def distance(a: list[str], b: list[str]) -> int:
    """How many sounds to change, add or leave out."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]
