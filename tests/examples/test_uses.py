"""Each example converts, gives what the framework gave, and is as good as its page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.paths import EXAMPLES

#: What the run of an example has to say: a pattern, and the least and the most of the number in it.
SAYS = {
    "activity": [("people who were not trained on: ([\\d.]+)% of the samples right", 85, 100)],
    "amp": [("against the amplifier itself: ([\\d.]+)%", 0, 5), ("in blocks of 64: the (same) bits", None, None)],
    "strokes": [("right after 1 to 8 points: .* ([\\d.]+)%", 97, 100)],
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
