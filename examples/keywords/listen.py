"""From what the model gives at each frame to words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class Words:
    """Says a word once it has been likely for a while, and then nothing until it has passed."""

    def __init__(self, sure: float = 0.6, rest: int = 20) -> None:
        self.sure, self.rest = sure, rest
        self.average, self.wait = np.zeros(11), 0

    def next(self, logits: np.ndarray) -> int | None:
        """The digit that is heard at this frame, if one is."""
        odds = np.exp(logits - logits.max())
        self.average += 0.25 * (odds / odds.sum() - self.average)
        self.wait -= 1
        best = int(self.average[1:].argmax())
        if self.wait > 0 or self.average[best + 1] < self.sure:
            return None
        self.wait = self.rest
        return best


def heard(logits: np.ndarray) -> Iterator[tuple[int, int]]:
    """The frames and digits of ``(T, 11)``."""
    words = Words()
    for k, row in enumerate(logits):
        digit = words.next(row)
        if digit is not None:
            yield k, digit
