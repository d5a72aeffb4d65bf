"""The page of the examples, and what has to be in each folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.paths import EXAMPLES

PAGE = (EXAMPLES / "README.md").read_text(encoding="utf-8")
FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/run.py"))


def test_links() -> None:
    headings = {line[3:] for line in PAGE.splitlines() if line.startswith("## ")}
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert link[1:] in headings if link.startswith("#") else (EXAMPLES / link).exists(), link
    for picture in EXAMPLES.glob("pictures/*"):
        assert f"(pictures/{picture.name})" in PAGE


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_folder(folder: Path) -> None:
    """Licence, training and reference are there; weights are small."""
    assert f"| [{folder.name}](#{folder.name}) |" in PAGE
    data = (folder / "DATA.md").read_text(encoding="utf-8")
    assert re.search(r"[Ll]icence", data)
    for named in re.findall(r"`(LICENSE-[\w.-]+)`", data):
        assert (folder / named).exists()
    assert {"train.py", "reference.npz"} <= {path.name for path in folder.iterdir()}
    weights = [path for path in folder.iterdir() if path.suffix in (".pt", ".pt2", ".keras", ".onnx")]
    assert weights
    assert max(path.stat().st_size for path in weights) < 200_000
