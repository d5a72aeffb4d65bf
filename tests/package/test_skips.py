"""The list of skips: a run that skips more than it says fails, and names what is new."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import skips
from helpers.paths import TESTS
from helpers.programs import python
from helpers.skips import Entry, judge

ALWAYS = Entry("no such CPU", "always", {"plain": 2})
MODULE = Entry("could not import '(numpy|no_such_module)'", "without no_such_module", {"plain": 2, "live": 1})
HERE = Entry("could not import 'numpy'", "without numpy", {"sdist": 1})


@pytest.mark.parametrize(
    ("environment", "reasons", "wrong"),
    [
        ("plain", [], []),
        ("plain", ["no such CPU here"] * 2, []),
        ("plain", ["no such CPU here"] * 3, ["c: no such CPU: 3 tests skipped in plain, at most 2 may be"]),
        ("live", ["no such CPU"], ["a: no such CPU: no entry for live has this reason"]),
        ("plain", ["a new reason"], ["a: a new reason: no entry for plain has this reason"]),
        ("live", ["could not import 'no_such_module'"], []),
        ("sdist", [HERE.reason], [f"a: {HERE.reason}: allowed when 'without numpy', which is not so here"]),
    ],
)
def test_what_is_wrong(environment: str, reasons: list[str], wrong: list[str]) -> None:
    assert judge([ALWAYS, MODULE, HERE], environment, list(zip("abc", reasons, strict=False))) == wrong


def test_the_list() -> None:
    """Its patterns and conditions can be read; no reason is listed without a number, none twice.
    Where all devices are at hand, nothing is skipped."""
    entries = skips.read(TESTS / "skips.toml")
    assert all(e.most and min(e.most.values()) > 0 for e in entries)
    assert len({e.reason for e in entries}) == len(entries)
    assert {name for e in entries for name in e.most} == set(skips.ENVIRONMENTS) - {"edge"}
    for e in entries:
        skips.holds(e.when)


@pytest.mark.parametrize(
    "entry", ["when = 'full moon'\nmost = {plain = 1}", "when = 'always'\nmost = {plian = 1}"], ids=["when", "most"]
)
def test_a_list_that_is_wrong(entry: str, tmp_path: Path) -> None:
    (tmp_path / "list.toml").write_text(f"[[skip]]\nreason = 'x'\n{entry}\n")
    with pytest.raises(ValueError, match="unknown"):
        skips.read(tmp_path / "list.toml")


SKIPPING = """
import pytest
def test_one():
    pytest.skip("this CPU cannot flush denormals")
"""


MARKED = """
import pytest
@pytest.mark.skipif(True, reason="why")
def test_two(): ...
"""
WHOLE = "import pytest; pytest.importorskip('no_such_module')"
PARTS = """
import pytest
@pytest.mark.parametrize("x", ["a b", "c"])
def test_x(x): pytest.importorskip("no_such_" + x[0])
"""


def run(folder: Path, *options: str, **files: str) -> tuple[int, str]:
    """A run of these files, and of one with a test that passes: its exit code and what it says."""
    for name, text in {"test_passes": "def test_that_passes(): ...", **files}.items():
        (folder / f"{name}.py").write_text(text)
    plain = ["-q", "-p", "helpers.skips", "-p", "no:cacheprovider", "--rootdir", folder, folder]
    done = python("-m", "pytest", *options, *plain, cwd=folder, env={"LSTM_RT_SKIPS": "live"})
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        ({"test_a": SKIPPING}, 0, "1 tests skipped in the environment 'live', all as listed"),
        ({"test_a": SKIPPING, "test_b": SKIPPING}, 1, "2 tests skipped in live, at most 1 may be"),
        (
            {"test_a": SKIPPING.replace("this CPU", "this new CPU")},
            1,
            "test_a.py::test_one: this new CPU cannot flush denormals: no entry for live has this reason",
        ),
        ({"test_a": WHOLE}, 1, "test_a.py: could not import 'no_such_module': No module named 'no_such_module': no e"),
        ({"test_a": MARKED}, 1, "test_a.py::test_two: why: no entry for live has this reason"),
        ({"test_a": f"{SKIPPING}\ndef test_three(): assert 0"}, 1, "1 tests skipped in the environment 'live'"),
    ],
    ids=["as listed", "more often", "new reason", "whole file", "mark", "failure"],
)
def test_a_run(files: dict[str, str], code: int, said: str, tmp_path: Path) -> None:
    ended, text = run(tmp_path, **files)
    assert ended == code, text
    assert said in text


def test_a_run_in_several_processes(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    ended, text = run(tmp_path, "-n", "2", test_a=SKIPPING, test_b=SKIPPING, test_c=WHOLE)
    assert ended == 1, text
    assert "2 tests skipped in live, at most 1 may be" in text
    assert text.count("test_c.py: could not import 'no_such_module'") == 1


def test_what_wants_a_module_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it can be run where the module is."""
    monkeypatch.setenv("LSTM_RT_SKIPPED", str(tmp_path / "skipped"))
    run(tmp_path, test_a=SKIPPING, test_b=WHOLE, test_c=PARTS)
    assert (tmp_path / "skipped").read_text() == "test_b.py\ntest_c.py::test_x[a b]\ntest_c.py::test_x[c]\n"
    monkeypatch.delenv("LSTM_RT_SKIPPED")
    done = python("-m", "pytest", "-p", "no:cacheprovider", "@skipped", "--collect-only", "-q", cwd=tmp_path)
    assert done.stdout.startswith("test_c.py::test_x[a b]\ntest_c.py::test_x[c]\n"), done.stdout


def test_an_unknown_environment(tmp_path: Path) -> None:
    done = python("-m", "pytest", "-p", "helpers.skips", tmp_path, cwd=tmp_path, env={"LSTM_RT_SKIPS": "moon"})
    assert done.returncode == 4
    assert "LSTM_RT_SKIPS is 'moon', expected one of plain, live, no-openmp, sdist" in done.stderr
