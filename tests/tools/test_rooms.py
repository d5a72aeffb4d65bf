"""The rooms of the tools: each imports only from those below it (CONTRIBUTING.md has the table)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import lstm_rt_tools
import pytest

TOOLS = Path(lstm_rt_tools.__file__).parent
#: From top to bottom; rooms of one line do not import each other.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("archives",),
    ("readers",),
    ("export_c",),
    ("export", "integers"),
    ("tensorflow_reader",),
    ("torch_reader", "keras_reader", "onnx_reader", "json_reader"),
    ("torch_program",),
    ("row",),
    ("program",),
    ("arch",),
    ("weights",),
    ("judges",),
    ("names", "timing"),
)
FLOOR = {room: k for k, rooms in enumerate(FLOORS) for room in rooms}
#: The package itself: what it exports is loaded when it is asked for.
DOORS = ("", "__init__")


def room_of(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py") if parts else ""


def imports(path: Path) -> Iterator[str]:
    """The rooms that a module imports from, inside functions too."""
    here = path.relative_to(TOOLS).parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [a.name.split(".") for a in node.names]
            yield from (room_of(tuple(n[1:])) for n in names if n[0] == "lstm_rt_tools")
        elif isinstance(node, ast.ImportFrom) and node.level:
            above = here[: len(here) - node.level]
            target = (*above, *(node.module or "").split(".")) if node.module else above
            yield from [room_of(target)] if target else [room_of((a.name,)) for a in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lstm_rt_tools":
            target = tuple((node.module or "").split(".")[1:])
            yield from [room_of(target)] if target else [room_of((a.name,)) for a in node.names]


def wrong(path: Path) -> list[str]:
    mine = room_of(path.relative_to(TOOLS).parts)
    return [
        f"{mine} -> {theirs}"
        for theirs in imports(path)
        if theirs in FLOOR and theirs != mine and FLOOR[theirs] <= FLOOR[mine]
    ]


@pytest.mark.parametrize("path", sorted(TOOLS.rglob("*.py")), ids=lambda p: str(p.relative_to(TOOLS)))
def test_arrows_lead_down(path: Path) -> None:
    room = room_of(path.relative_to(TOOLS).parts)
    if room in DOORS:
        return
    assert room in FLOOR, "a room that FLOORS and CONTRIBUTING.md do not know"
    assert wrong(path) == []


def test_the_check_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "TOOLS", tmp_path)
    (tmp_path / "weights").mkdir()
    module = tmp_path / "weights" / "m.py"
    module.write_text(
        "from .. import readers\nfrom ..cli import run\ndef f():\n    from lstm_rt_tools.arch import build\n"
        "from . import tensors\nfrom ..names import shown\nimport lstm_rt_tools.judges.reference\n"
    )
    assert wrong(module) == ["weights -> readers", "weights -> cli", "weights -> arch"]
