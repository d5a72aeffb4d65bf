"""Starting another Python for what cannot be trusted, or stopped, in this process."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def can_start() -> bool:
    """Whether there is a Python that can be started: not in WebAssembly, nor in frozen programs."""
    return bool(sys.executable) and sys.platform not in ("emscripten", "wasi") and not hasattr(sys, "frozen")


def command(code: str, packages: Sequence[str], *arguments: str) -> list[str]:
    """The command line of a Python that runs ``code``, alone with what it is given.

    In the child's ``sys.argv`` are ``arguments``, and behind them what its ``sys.path`` has to be: the paths of this
    process, and those of the packages wherever they were found.
    """
    specs = filter(None, map(importlib.util.find_spec, packages))
    found = [str(Path(spec.origin).parent.parent) for spec in specs if spec.origin]
    paths = [os.path.abspath(path) for path in sys.path if isinstance(path, str)]
    return [sys.executable, "-I", "-B", "-c", code, *arguments, *paths, *(p for p in found if p not in paths)]
