"""Holds a run to the list of what may be skipped (``tests/skips.toml``): a pytest plugin, loaded by ``conftest.py``.

With ``LSTM_RT_SKIPS=plain`` in its environment a run is one of the environment *plain*: it fails where a test is
skipped for a reason that the list does not have there, for one whose condition does not hold on this machine, or
more often than the list says. With ``LSTM_RT_SKIPPED=FILE`` it writes what it skipped for want of a module into that
file, for pytest to run elsewhere (``pytest @FILE``).
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from edge.run import devices, missing

import lstm_rt

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

from .paths import TESTS

_WANTS_A_MODULE = re.compile("could not import '|No module named '")
ENVIRONMENTS = ("plain", "live", "no-openmp", "sdist", "edge")


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


#: What may be true of a machine, beside ``without <module>``.
CONDITIONS: dict[str, Callable[[], bool]] = {
    "always": lambda: True,
    "root": lambda: getattr(os, "geteuid", lambda: 1)() == 0,
    "not root": lambda: getattr(os, "geteuid", lambda: 1)() != 0,
    "not linux": lambda: not sys.platform.startswith("linux"),
    "not posix": lambda: os.name != "posix",
    "no C compiler": lambda: shutil.which("cc") is None,
    "no git checkout": lambda: shutil.which("git") is None or not (TESTS.parent / ".git").exists(),
    "no OpenMP": lambda: not lstm_rt.build_info()["openmp"],
    "no published models": lambda: not os.environ.get("LSTM_RT_MODELS"),
    "one processor": lambda: _cpus() < 2,
    "no device": lambda: any(missing(device) for device in devices().values()),
}


def holds(condition: str) -> bool:
    """Is it so, here?"""
    if condition.startswith("without "):
        return not _importable(condition.removeprefix("without "))
    return CONDITIONS[condition]()


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its package is not there
        return False


@dataclass(frozen=True, eq=False)
class Entry:
    """One reason: a pattern, when it may be given, and how often at the most in each environment."""

    reason: str
    when: str
    most: dict[str, int]


def read(path: Path) -> list[Entry]:
    """The list; what is wrong in it is a ``ValueError``."""
    entries = [Entry(**e) for e in tomllib.loads(path.read_text(encoding="utf-8"))["skip"]]
    for e in entries:
        re.compile(e.reason)
        if not e.when.startswith("without ") and e.when not in CONDITIONS:
            raise ValueError(f"{path.name}: {e.reason!r}: unknown condition {e.when!r}; known: {', '.join(CONDITIONS)}")
        if unknown := set(e.most) - set(ENVIRONMENTS):
            raise ValueError(f"{path.name}: {e.reason!r}: unknown environments {sorted(unknown)}")
    return entries


def judge(entries: list[Entry], environment: str, skipped: list[tuple[str, str]]) -> list[str]:
    """What is wrong with the skips of a run, each a place and a reason; a line for each."""
    wrong: list[str] = []
    counts, last = Counter[Entry](), dict[Entry, str]()
    for place, reason in skipped:
        entry = next((e for e in entries if environment in e.most and re.search(e.reason, reason)), None)
        if entry is None:
            wrong.append(f"{place}: {reason}: no entry for {environment} has this reason")
        elif not holds(entry.when):
            wrong.append(f"{place}: {reason}: allowed when {entry.when!r}, which is not so here")
        else:
            counts[entry] += 1
            last[entry] = place
    return wrong + [
        f"{last[e]}: {e.reason}: {n} tests skipped in {environment}, at most {e.most[environment]} may be"
        for e, n in counts.items()
        if n > e.most[environment]
    ]


@dataclass(eq=False)  # pytest hashes its plugins
class Run:
    """Of one process, the one that sees all reports."""

    environment: str
    entries: list[Entry]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.note(report)

    def pytest_collectreport(self, report: Any) -> None:
        if report.skipped:  # of a whole file
            self.note(report)

    def note(self, report: Any) -> None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        self.skipped.append((report.nodeid, reason.removeprefix("Skipped: ")))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if path := os.environ.get("LSTM_RT_SKIPPED"):
            places = [place for place, reason in self.skipped if _WANTS_A_MODULE.search(reason)]
            Path(path).write_text("".join(f"{place}\n" for place in sorted(places)), encoding="utf-8")
        self.wrong = judge(self.entries, self.environment, self.skipped)
        if self.wrong and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.wrong:
            terminalreporter.section("skipped, and not in tests/skips.toml", red=True)
            for line in self.wrong:
                terminalreporter.write_line(line)
        else:
            n = len(self.skipped)
            terminalreporter.write_line(f"{n} tests skipped in the environment {self.environment!r}, all as listed")


def pytest_configure(config: pytest.Config) -> None:
    environment = os.environ.get("LSTM_RT_SKIPS", "")
    if not environment or hasattr(config, "workerinput"):  # workers of xdist tell their parent
        return
    if environment not in ENVIRONMENTS:
        raise pytest.UsageError(f"LSTM_RT_SKIPS is {environment!r}, expected one of {', '.join(ENVIRONMENTS)}")
    config.pluginmanager.register(Run(environment, read(TESTS / "skips.toml")), "lstm-rt-skips")
