"""What the Arduino IDE and PlatformIO want of a library beside `src/`."""

from __future__ import annotations

import json

from .folder import MARK
from .plan import Plan


def libraries(prefix: str, plan: Plan, version: str) -> dict[str, str]:
    """Their files, by path."""
    name = f"{prefix}_model"
    about = f"The recurrent network {prefix} in C, written by {MARK}."
    properties = {
        "name": name,
        "version": version_of(version),
        "author": "lstm-rt",
        "maintainer": "lstm-rt",
        "sentence": about,
        "paragraph": f"It computes in {plan.words}, in {plan.arena_bytes} bytes of RAM.",
        "category": "Data Processing",
        "url": "https://github.com/lstm-rt/lstm-rt",
        "architectures": "*",
        "includes": f"{prefix}.h",
    }
    described = {
        "name": name,
        "version": version_of(version),
        "description": about,
        "frameworks": "*",
        "platforms": "*",
        "headers": f"{prefix}.h",
    }
    return {
        "library.properties": "".join(f"{key}={value}\n" for key, value in properties.items()),
        "library.json": json.dumps(described, indent=2) + "\n",
        "keywords.txt": f"# Made by {MARK}.\n"
        + "".join(f"{prefix}_{f}\tKEYWORD2\n" for f in ("init", "reset", "step" if plan.steps is None else "run")),
        f"examples/{prefix}_selftest/{prefix}_selftest.ino": _sketch(prefix),
    }


def version_of(version: str) -> str:
    """Three numbers, as both want them."""
    parts = [p for p in version.split(".")[:3] if p.isdigit()]
    return ".".join([*parts, "0", "0", "0"][:3])


def _sketch(prefix: str) -> str:
    return f"""\
/* Runs the model on zeros, and prints how long a call takes. Made by {MARK}. */
#include <{prefix}.h>
"""
