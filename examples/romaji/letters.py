"""What the models' numbers stand for: kana that go in, letters that come out."""

from __future__ import annotations

#: Number 0 is no kana: it fills up a batch behind short words.
KANA = (
    "\0あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん"
    "がぎぐげござじずぜぞだぢづでどばびぶべぼぱぴぷぺぽゃゅょっ"
)
#: Number 0 begins a word and ends it.
LETTERS = "\0abcdefghijkmnoprstuwyz"
EDGE = 0
