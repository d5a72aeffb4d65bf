"""docs/converting.md: the programs and commands of every section work as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from helpers.command_line import SUNSPOTS
from helpers.paths import DOCS
from helpers.stored import KERAS2
from lstm_rt_tools.cli.parser import main

_TEXT = (DOCS / "converting.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^##? (.*)\n((?:(?!^##? ).*\n?)*)", _TEXT, re.M))
#: Packages, and what in a section needs them.
_FRAMEWORKS = {"torch": r"^import torch", "keras": r"^import keras", "onnx": r"torch\.onnx|export-onnx"}


def blocks(section: str) -> list[tuple[str, str]]:
    """Its fenced blocks, with their languages."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, re.M | re.S)


def run(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, _, remark = line.partition("#")
    argv = shlex.split(command)
    assert argv[0] == "lstm-rt"
    into = argv.index(">") if ">" in argv else None
    wanted = int(found[1]) if (found := re.search(r"exit code (\d)", remark)) else 0
    capsys.readouterr()
    assert main(argv[1:into]) == wanted, capsys.readouterr().err
    if into is not None:
        Path(argv[into + 1]).write_text(capsys.readouterr().out)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for framework, used in _FRAMEWORKS.items():
        if re.search(used, SECTIONS[name], re.M):
            pytest.importorskip(framework)
    monkeypatch.chdir(tmp_path)
    shutil.copy(SUNSPOTS, tmp_path)
    with zipfile.ZipFile(KERAS2 / "bi_concat.saved.zip") as saved:
        saved.extractall(tmp_path / "saved")
    names: dict[str, Any] = {"__name__": "converting"}
    commands = 0
    for language, text in blocks(SECTIONS[name]):
        if language == "python":
            exec(compile(text, "converting.md", "exec"), names)
        elif language == "toml":
            Path("arch.toml").write_text(text)
        else:
            assert language == "sh"
            for line in text.splitlines():
                run(line, capsys)
                commands += 1
    assert commands >= 1
    assert list(tmp_path.glob("*.lrt"))


def test_the_draft_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What the section on weights says of it: it converts once it is completed, and names every layer."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    code = next(text for language, text in blocks(SECTIONS["PyTorch: weights"]) if language == "python")
    exec(compile(code, "converting.md", "exec"), {})
    run("lstm-rt convert weights.pt > draft.toml  # exit code 2", capsys)
    draft = Path("draft.toml").read_text()
    assert 'weights = "encoder"' in draft
    assert 'weights = "head"' in draft
    run("lstm-rt convert weights.pt --arch draft.toml", capsys)
