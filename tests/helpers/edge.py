"""Emulated devices, for tests: programs are built and run by ``tests/edge/run.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from edge.run import Program, Result, build, devices, missing, run

DEVICES = tuple(devices())
EMULATED = tuple(name for name, device in devices().items() if device.emulator)
CORTEX_M = tuple(name for name in DEVICES if name.startswith("cortex-m"))


def built(
    device: str, paths: Iterable[Path], folder: Path, *, flags: Sequence[str] = (), strict: bool = True
) -> Program:
    """``edge.run.build``; skips the test where this machine has not what it takes."""
    if lacks := missing(devices()[device]):
        pytest.skip(f"not on this machine, for {device}: {', '.join(lacks)}")
    return build(devices()[device], paths, folder / device, flags=flags, strict=strict)


def ran(device: str, paths: Iterable[Path], folder: Path, *, flags: Sequence[str] = (), **options: Any) -> Result:
    """Build it and run it; skips as ``built`` does."""
    return run(built(device, paths, folder, flags=flags), **options)
