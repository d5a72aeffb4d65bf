"""The headers of the core that a folder takes along."""

from __future__ import annotations

import re
from pathlib import Path

from .folder import MARK

_INCLUDE = re.compile(r'#include "([^"]+)"')
#: Beside this module where the package is installed, in the sources where it is not.
_INSTALLED = Path(__file__).with_name("core")
SOURCES = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[3] / "src"


def flat_name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def headers(wanted: list[str]) -> dict[str, str]:
    """These and all that they include, by their names in a folder without folders."""
    found: dict[str, str] = {}
    queue = list(wanted)
    while queue:
        path = queue.pop(0)
        if flat_name(path) in found:
            continue
        text = (SOURCES / path).read_text(encoding="utf-8")
        queue += _INCLUDE.findall(text)
        flat = _INCLUDE.sub(lambda m: f'#include "{flat_name(m[1])}"', text)
        found[flat_name(path)] = f"/* Part of lstm-rt, copied by {MARK}. MIT licence. */\n{flat}"
    return found
