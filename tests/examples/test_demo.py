"""The examples run, and give what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import EXAMPLES, ROOT
from lstm_rt_tools.torch_reader.from_torch import from_torch

from lstm_rt import Model
from lstm_rt.format import dumps


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_demo(encoding: str) -> None:
    pytest.importorskip("h5py")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": encoding, "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py")], env=environment, capture_output=True, check=False, timeout=300
    )
    said = done.stdout.decode(encoding)
    assert done.returncode == 0, said + done.stderr.decode()
    assert said.count(" ok\n") == 3
    assert "433 of 450 right" in said
    assert "29 of 29 right" in said
    assert ("さくら sakura" in said) == (encoding == "utf-8")


def test_the_decoder_goes_on_from_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the batch: a word alone is written as it is among others."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from romaji import run as romaji

    folder = EXAMPLES / "romaji"
    encoder, decoder = (
        Model(dumps(from_torch(folder / "romaji.pt", arch=folder / "arch.toml", part=part)))
        for part in ("encoder", "decoder")
    )
    reference: Any = np.load(folder / "reference.npz")
    kana, lengths = reference["kana"], reference["lengths"]
    assert romaji.write(decoder, encoder(kana, lengths)) == reference["romaji"].tolist()
    for row in (0, 7, 28):
        n = lengths[row]
        alone = encoder(np.ascontiguousarray(kana[row : row + 1, :n]), lengths[row : row + 1])
        assert romaji.write(decoder, alone) == [reference["romaji"][row]]


def test_an_example_that_is_not_there() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py"), "digits", "crystal_ball"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "there is no example 'crystal_ball'; there are activity, " in done.stderr


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    import common

    common.picture(tmp_path / "none.png", (1, 1), lambda figure: None)
    assert capsys.readouterr().out == "  no picture: matplotlib is not installed\n"
    assert not (tmp_path / "none.png").exists()
