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
        "license": "MIT",
    }
    return {
        "library.properties": "".join(f"{key}={value}\n" for key, value in properties.items()),
        "library.json": json.dumps(described, indent=2) + "\n",
        "keywords.txt": f"# Made by {MARK}.\n"
        + "".join(f"{prefix}_{f}\tKEYWORD2\n" for f in ("init", "reset", "step" if plan.steps is None else "run")),
        f"examples/{prefix}_example/{prefix}_example.ino": _sketch(prefix, plan),
    }


def version_of(version: str) -> str:
    """Three numbers, as both want them."""
    parts = [p for p in version.split(".")[:3] if p.isdigit()]
    return ".".join([*parts, "0", "0", "0"][:3])


def _sketch(prefix: str, plan: Plan) -> str:
    up, whole = prefix.upper(), plan.steps is not None
    rooms: list[str] = []
    inputs: list[str] = []
    outputs: list[str] = []
    for names, ports in ((inputs, plan.inputs), (outputs, plan.outputs)):
        for p in ports:
            times = f" * {up}_STEPS" if whole and p.timed else ""
            rooms.append(f"static {p.ctype} {p.symbol}[{up}_{p.name.upper()}_SIZE{times}];")
            names.append(p.symbol)
    arguments = ", ".join(["arena", *inputs, *([f"{up}_STEPS"] if whole else []), *outputs])
    return f"""\
/* Runs the model once a second, on inputs that are zero: put yours there. Made by {MARK}. */
#include <{prefix}.h>

static uint32_t arena[({up}_ARENA_BYTES + 3) / 4];
{_lines(rooms)}

void setup()
{{
    Serial.begin(115200);
    {prefix}_init(arena, sizeof arena);
}}

void loop()
{{
    const unsigned long start = micros();
    const int code = {prefix}_{"run" if whole else "step"}({arguments});
    const unsigned long took = micros() - start;
    Serial.print("code ");
    Serial.print(code);
    Serial.print(", first output ");
    Serial.print({outputs[0]}[0]);
    Serial.print(", microseconds ");
    Serial.println(took);
    delay(1000);
}}
"""


def _lines(lines: list[str]) -> str:
    return "\n".join(lines)
