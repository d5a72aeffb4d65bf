"""Commands, options, files and Python names that messages, docstrings and documents name: all of them exist."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.paths import ROOT
from lstm_rt_tools.cli import parser as command_line

TOOLS = ROOT / "tools"
MODULES = sorted(TOOLS.rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_COMMAND = re.compile(r"lstm-rt ([a-z]+(?:-[a-z]+)*)\b([^`\n#;]*)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
#: With what comes behind: names with ``<family>`` or ``*`` in them are patterns.
_PATH = re.compile(r"\b((?:docs|tests|tools|src|benchmarks|examples|lstm_rt)/[\w./-]+)(.?)")
_REFERENCE = re.compile(r":(?:mod|class|func|meth|data|attr):`~?([^`]+)`")


def options_of() -> dict[str, set[str]]:
    """The options of each command."""
    (commands,) = (
        a for a in command_line._parser()._actions if isinstance(a, argparse._SubParsersAction)
    )
    return {name: set(sub._option_string_actions) for name, sub in commands.choices.items()}


OPTIONS = options_of()
ANY = {"--version"}.union(*OPTIONS.values())


def wrong_commands(text: str) -> Iterator[str]:
    """The commands in ``text`` that do not exist, and their options that they do not have."""
    for verb, rest in _COMMAND.findall(text):
        if verb not in OPTIONS:
            yield f"lstm-rt {verb}"
        else:
            yield from (f"lstm-rt {verb} {o}" for o in _OPTION.findall(rest) if o not in OPTIONS[verb])


def wrong_options(text: str) -> Iterator[str]:
    yield from (o for o in _OPTION.findall(text) if o not in ANY)


def strings(path: Path) -> Iterator[str]:
    """Every string in a module, the parts of an f-string as one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(v) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for v in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "X" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def code_of(document: str) -> Iterator[str]:
    """Inline code and the lines of blocks of code."""
    for k, part in enumerate(document.split("```")):
        yield from part.splitlines() if k % 2 else re.findall(r"`([^`\n]+)`", part)


def wrong_in_document(document: str) -> Iterator[str]:
    for code in code_of(document):
        yield from wrong_commands(code)
        words = code.split()
        if words and words[0] in OPTIONS and any(w.startswith("--") for w in words):  # `verify m.lrt --against X`
            yield from (f"{words[0]} {o}" for o in _OPTION.findall(code) if o not in OPTIONS[words[0]])
        elif words and words[0].startswith("--"):
            yield from wrong_options(code)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(TOOLS)))
def test_strings_of_the_tools(path: Path) -> None:
    for text in strings(path):
        assert not [*wrong_commands(text), *wrong_options(text)], text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_documents(path: Path) -> None:
    assert not list(wrong_in_document(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", [*MODULES, *DOCUMENTS], ids=lambda p: p.name)
def test_files_that_are_named_exist(path: Path) -> None:
    found = _PATH.findall(path.read_text(encoding="utf-8"))
    names = [name.rstrip(".") for name, end in found if end not in ("<", "*", "{")]
    assert not [name for name in names if not (ROOT / name).exists()]


def resolves(name: str, module: Any) -> bool:
    """Whether a reference leads somewhere: from a package above, from the module itself, or from one of its classes."""
    package = module.__name__
    if name.startswith(("lstm_rt.", "lstm_rt_tools.")):
        return _reached(name)
    while name.startswith(".") and "." in package:
        package = package.rpartition(".")[0]
        if _reached(package + name):
            return True
    if name.startswith("."):
        return False
    first, *rest = name.split(".")
    owners = [module, *(v for v in vars(module).values() if isinstance(v, type))]
    for owner in owners:
        found = getattr(owner, first, getattr(owner, "__annotations__", {}).get(first))
        if found is not None and all(hasattr(found, part) for part in rest[:1]):
            return True
    return False


def _reached(name: str) -> bool:
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            found = getattr(found, part, None)
        return found is not None
    return False


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(TOOLS)))
def test_references_lead_somewhere(path: Path) -> None:
    parts = path.relative_to(TOOLS).with_suffix("").parts
    module = importlib.import_module(".".join(p for p in parts if p != "__init__"))
    text = path.read_text(encoding="utf-8")
    assert not [name for name in _REFERENCE.findall(text) if not resolves(name, module)]


def test_the_checks_notice() -> None:
    """Each of them finds what is wrong."""
    assert list(wrong_commands("try lstm-rt learn m.pt, or `lstm-rt info m.lrt --sort x`")) == [
        "lstm-rt learn",
        "lstm-rt info --sort",
    ]
    assert list(wrong_options("with --form torch, not --from or --version")) == ["--form"]
    assert list(wrong_in_document("see `verify --agains X`, `--lenghts`\n```\nlstm-rt run m x --out y\n```\n")) == [
        "verify --agains",
        "--lenghts",
        "lstm-rt run --out",
    ]
    assert not resolves(".arch_guess.guess_arch", command_line)
    assert not resolves("nobody", command_line)
    assert resolves(".common.ModelFile", command_line)
