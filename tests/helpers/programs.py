"""Programs that tests start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def environment(**more: str) -> dict[str, str]:
    """That of this process, with what it imports from: a program finds the same packages in whatever folder it runs."""
    path = os.pathsep.join(str(Path(p).resolve()) for p in sys.path if p)
    return {**os.environ, **more, "PYTHONPATH": path}


def python(*args: object, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python as a program of its own, with ``env`` in its environment; what it prints is caught."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "check": False, **options}
    return subprocess.run([sys.executable, *map(str, args)], env=environment(**(env or {})), **options)


def lstm_rt(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command as a program of its own."""
    return python("-m", "lstm_rt_tools", *args, **options)
