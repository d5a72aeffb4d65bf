"""Models that were trained decide with weights of integers what they decide without, and signals stay what they are."""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import EXAMPLES, ROOT
from helpers.stored import published
from lstm_rt_tools.torch_reader.from_torch import from_torch

from lstm_rt import Model
from lstm_rt.graph import Graph

sys.path.insert(0, str(ROOT / "benchmarks"))

import real_models

THAI, GUITAR = "unicode_thai_segmenter_bilstm", "guitar_ts9_lstm8_neuralseed"


def judged(name: str, folder: Path | None = None) -> dict[str, str]:
    """What became of the outputs of the model, by kind of weights; integers make its file smaller."""
    where, trained = next(row for row in real_models.models(folder, None) if row[1].name == name)
    found = real_models.judged(where, trained)
    sizes = [size for size, _ in found.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[1] > sizes[2]
    return {kind: verdict for kind, (_, verdict) in found.items()}


def test_digits() -> None:
    assert set(judged("digits").values()) == {"0 of 450 images"}


def test_sunspots() -> None:
    pytest.importorskip("h5py")
    ratios = {kind: float(verdict) for kind, verdict in judged("sunspots").items()}
    assert ratios["float32"] < 1e-12 < ratios["int16"] < 1e-7 < ratios["int8"] < 3e-4
    assert ratios["int8/8"] < 6e-4


@pytest.mark.parametrize("kind", real_models.KINDS)
def test_romaji(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that reads what it has written goes wrong for good when one letter is another."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from romaji import run as romaji

    folder = EXAMPLES / "romaji"
    encoder, decoder = (
        Model(real_models.of_kind(from_torch(folder / "romaji.pt", arch=folder / "arch.toml", part=part), kind))
        for part in ("encoder", "decoder")
    )
    reference = np.load(folder / "reference.npz")
    state = encoder(reference["kana"], reference["lengths"])
    assert romaji.write(decoder, state) == reference["romaji"].tolist()


def test_thai_words() -> None:
    assert set(judged("segmenter", published(THAI).folder.parent).values()) == {"0 of 1603 boundaries"}


def test_guitar_pedal() -> None:
    ratios = {kind: float(v) for kind, v in judged("guitar pedal", published(GUITAR).folder.parent).items()}
    assert ratios["float32"] < 1e-12 < ratios["int16"] < 1e-4
    assert ratios["int16"] < ratios["int8"] < 2e-3


def test_steps_carry_their_states() -> None:
    """As one call of all steps would: the same layer with its states as inputs, step by step."""
    rng = np.random.default_rng(0)
    w = {name: rng.uniform(-0.5, 0.5, shape).astype(np.float32) for name, shape in
         (("w_ih", (20, 3)), ("w_hh", (20, 5)), ("b_ih", (20,)))}  # fmt: skip
    x = rng.standard_normal((7, 1, 1, 3)).astype(np.float32)
    zeros = np.zeros((1, 1, 5), np.float32)

    def model(carried: bool) -> Model:
        g = Graph()
        seq = g.input("x", "seq", 3)
        states = {name: g.input(name, "vec", 5) for name in ("h0", "c0")} if carried else {}
        y, h, c = g.recurrent("lstm", seq, w, hidden_size=5, **states)
        g.output(y, "y")
        if carried:
            g.output(h, "h1")
            g.output(c, "c1")
        return Model(g)

    whole = model(False)(np.ascontiguousarray(x[:, 0].swapaxes(0, 1)))
    trained = real_models.Trained(
        "", "", "", lambda folder: iter(()), real_models.signal_ratio, states=(("h0", "h1"), ("c0", "c1"))
    )
    steps = real_models.results(model(True), {"x": x, "h0": zeros[0], "c0": zeros[0]}, trained)
    np.testing.assert_array_equal(steps[:, 0, 0], whole[0])


def test_what_judges() -> None:
    want = np.array([[[0.1, 0.9], [0.8, 0.2]]])
    got = np.array([[[0.1, 0.9], [0.4, 0.6]]])
    assert real_models.moved(real_models.likeliest, "letters")([(want, got), (want, want)]) == "1 of 4 letters"
    assert real_models.signal_ratio([(np.array([3.0, 4.0]), np.array([3.0, 4.5]))]) == "1.0e-02"


def sound_file(path: Path, rate: int, channels: int = 1) -> np.ndarray:
    sound = np.round(np.sin(np.arange(rate) * (2 * np.pi * 50 / rate)) * 16384).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(sound.tobytes())
    return sound / 32768


@pytest.mark.parametrize("rate", [8000, 16000])
def test_frames_of_speech(rate: int, tmp_path: Path) -> None:
    sound_file(tmp_path / "a.wav", rate)
    frames = real_models.frames_of_speech(tmp_path / "a.wav")
    assert frames.shape == (31, 1, 576)
    assert frames.dtype == np.float32
    assert not frames[0, 0, :64].any()
    np.testing.assert_array_equal(frames[1, 0, :64], frames[0, 0, -64:])
    time = np.arange(512) / 16000
    np.testing.assert_allclose(frames[0, 0, 64:], np.sin(2 * np.pi * 50 * time) / 2, atol=2e-4)


def test_sound_of_another_kind(tmp_path: Path) -> None:
    sound_file(tmp_path / "a.wav", 8000, channels=2)
    with pytest.raises(ValueError, match=r"a\.wav: 2 channels of 16 bits, expected one of 16"):
        real_models.frames_of_speech(tmp_path / "a.wav")


def test_the_table_tells_of_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row for row in real_models.models(tmp_path, None) if row[1].name in ("digits", "voice activity")]
    head, body = real_models.table(rows)
    assert [row[0].split(":")[0] for row in body] == ["digits"]
    assert len(body[0]) == len(head)
    assert capsys.readouterr().err == f"left out: voice activity: no {real_models.SILERO} in {tmp_path}\n"
