"""Why the extension module cannot be imported, in plain words; imported only when it cannot."""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def reason(error: ImportError) -> str:
    """What is wrong and what helps; '' where ``error`` already says it."""
    if error.name == "numpy":
        return "lstm_rt needs NumPy, which is not installed here: python -m pip install numpy"
    if any((_HERE / f"_core{suffix}").exists() for suffix in EXTENSION_SUFFIXES):
        return ""  # it is there, and something in it failed
    version = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    others = sorted(p.name for p in _HERE.glob("_core.*") if p.suffix in (".so", ".pyd"))
    built = f"is built for another Python only ({', '.join(others)})" if others else "is not built"
    if (_HERE / "_core.pyx").exists():
        return (
            f"{_HERE} is the source of lstm_rt, and its extension {built}. An installed lstm_rt is not seen from here, "
            "because Python looks in the current folder first: leave this folder, or build the extension in place for "
            f"{version}: python setup.py build_ext --inplace"
        )
    return f"the extension of lstm_rt in {_HERE} {built}; this is {version}: install lstm-rt again"
