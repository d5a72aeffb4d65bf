"""Each example converts, gives what the framework gave, and is as good as its page says."""

from __future__ import annotations

import re
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import EXAMPLES

import lstm_rt

#: What the run of an example has to say: a pattern, and the least and the most of the number in it.
SAYS = {
    "activity": [("people who were not trained on: ([\\d.]+)% of the samples right", 85, 100)],
    "amp": [("against the amplifier itself: ([\\d.]+)%", 0, 1), ("in blocks of 64: the (same) bits", None, None)],
    "anomaly": [("false alarms: (\\d+) in", 0, 10), ("slipping +(\\d+) of 16 found", 16, 16)],
    "forecast": [
        ("this model +median off by ([\\d.]+)", 2.0, 2.16),
        ("'like today' +median off by ([\\d.]+)", 2.2, 2.3),
    ],
    "keywords": [("heard: (3 1 4 1 5 9 2 6)\\n", None, None)],
    "spelling": [("words are (spoken) as by PyTorch", None, None), ("([\\d.]+)% of the sounds wrong", 10, 11)],
    "strokes": [("right after 1 to 8 points: .* ([\\d.]+)%", 97, 100)],
    "tagger": [("F1 of the spaces ([\\d.]+)%", 90, 100)],
    "text": [("held-out text: ([\\d.]+) bits a letter", 2.0, 2.1)],
    "video": [("mean square error ([\\d.]+);", 0, 0.022)],
}


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


def test_all_are_here() -> None:
    import demo

    assert sorted([*SAYS, *demo.IN_TEXT]) == demo.NAMES


@pytest.mark.parametrize("name", sorted(SAYS))
def test_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name in ("anomaly", "forecast", "video"):
        pytest.importorskip("h5py")
    import demo

    assert demo.run(name, tmp_path)
    said = capsys.readouterr().out
    assert " ok\n" in said
    assert "MISMATCH" not in said
    for pattern, least, most in SAYS[name]:
        found = re.search(pattern, said)
        assert found, said
        if least is not None:
            assert least <= float(found[1]) <= most, said


def converted(name: str, file: str, work: Path, *options: str) -> Any:
    import common

    return lstm_rt.load(str(common.convert(EXAMPLES / name / file, work, *options)))


def test_a_line_alone_is_tagged_as_among_others(tmp_path: Path) -> None:
    from tagger import run as tagger

    model = converted("tagger", "tagger.pt", tmp_path)
    reference: Any = np.load(EXAMPLES / "tagger" / "reference.npz")
    logits = model(reference["letters"], reference["lengths"])
    for row in (0, 31, 59):
        letters = reference["letters"][row, : reference["lengths"][row]]
        text = "".join(chr(96 + letter) for letter in letters)
        words = tagger.put_spaces(model, text)
        assert words == tagger.spaced(letters, logits[row])
        assert words.replace(" ", "") == text


def test_a_word_alone_is_spoken_as_among_others(tmp_path: Path) -> None:
    from spelling import run as spelling

    models = [converted("spelling", name, tmp_path) for name in ("encoder.pt", "decoder.pt2")]
    words = ["sea", "machinery", "thought"]
    said, looked = spelling.speak(*models, words)
    assert np.allclose(looked.sum(axis=2), 1, atol=1e-6)  # attention is shared out among the letters,
    assert not looked[0, :, 3:].any()  # none goes to what is behind a word
    for word, sounds in zip(words, said, strict=True):
        assert spelling.speak(*models, [word])[0] == [sounds]


def test_temperature(tmp_path: Path) -> None:
    """Next to nothing gives the likeliest letter each time; the same dice give the same text."""
    from text import run as text
    from text.letters import LETTERS

    folder = EXAMPLES / "text"
    model = converted("text", "text.pt", tmp_path, "--arch", str(folder / "arch.toml"))
    prompt = "The king"
    cold = text.write(model, prompt, 30, 1e-3, np.random.default_rng(1))
    stream, likeliest = model.stream(), prompt
    for number in text.numbers(prompt):
        logits = stream.step(number)
    for _ in range(30):
        number = int(logits.argmax())
        likeliest += LETTERS[number]
        logits = stream.step(number)
    assert cold == likeliest
    warm = [text.write(model, prompt, 30, 1.0, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert warm[0] == warm[1] != warm[2]


def test_the_microphone_hears_what_was_said(tmp_path: Path) -> None:
    """Silence in front of a recording changes when words are heard, not which."""
    from keywords import run as keywords
    from keywords.features import HOP, read

    microphone = keywords.Microphone(converted("keywords", "keyword.onnx", tmp_path))
    samples = np.concatenate([np.zeros(2 * HOP, np.float32), read(EXAMPLES / "keywords" / "speech.wav")])
    said = [microphone.callback(block) for block in samples[: len(samples) // HOP * HOP].reshape(-1, HOP)]
    assert [digit for digit in said if digit is not None] == [3, 1, 4, 1, 5, 9, 2, 6]


def test_a_file_that_is_no_speech(tmp_path: Path) -> None:
    from keywords.features import read

    with wave.open(str(tmp_path / "stereo.wav"), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(bytes(400))
    with pytest.raises(ValueError, match=r"stereo\.wav: expected one channel of 16 bits at 8000 Hz"):
        read(tmp_path / "stereo.wav")
