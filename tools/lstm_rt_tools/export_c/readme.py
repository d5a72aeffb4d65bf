"""``README.md`` of a folder."""

from __future__ import annotations

from .folder import MARK
from .plan import Plan, Port
from .source import signature


def readme(prefix: str, plan: Plan, version: str) -> str:
    """What is in the folder, and the lines to build it."""
    up = prefix.upper()
    flash = sum(a.values.nbytes for a in plan.arrays)
    facts = "".join(f"- {line}\n" for line in plan.facts)
    call = (
        "`step` takes one step: call it for each, in order."
        if plan.steps is None
        else f"`run` takes a whole sequence of 1 to `{up}_STEPS` ({plan.steps}) steps, from states of zero each time."
    )
    return f"""\
# {prefix}

A recurrent network in C99, written by {MARK} (lstm-rt {version}): {plan.words}.

| | bytes |
|---|---|
| constants, in flash | {flash} |
| `{up}_ARENA_BYTES`, RAM | {plan.arena_bytes} |
| of these `{up}_STATE_BYTES`, kept from call to call | {plan.state_bytes} |

{facts}
## Use it

```c
#include "{prefix}.h"

static uint32_t arena[({up}_ARENA_BYTES + 3) / 4];

{prefix}_init(arena, sizeof arena);
{_example(prefix, plan)}
```

{call} The functions return 0, or an error of `{prefix}.h`. They allocate nothing, call nothing of a C library but
`memcpy`-like helpers that a compiler puts in by itself, and keep all state in the arena: one arena for each stream.
The first `{up}_STATE_BYTES` bytes of it are that state, to copy and to put back.

| | numbers{"" if plan.steps is None else " (of each step)"} | type |
|---|---|---|
{_table(plan.inputs, "input")}{_table(plan.outputs, "output")}
## Build it

Everything is in `src/`; add it to your project, or:

```
cc -std=c99 -O2 -Isrc src/{prefix}.c selftest.c -o selftest && ./selftest
arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -O2 -Isrc -c src/{prefix}.c
```

No `-ffast-math`: it would change the numbers. `selftest.c` returns 0 where the device computes what it has to.
The folder is also a library of the Arduino IDE (Sketch, Include Library, Add .ZIP Library, or into `libraries/`) and of
PlatformIO (into `lib/`). Several such folders go into one firmware, each with a prefix of its own.
"""


def _example(prefix: str, plan: Plan) -> str:
    return f"{signature(prefix, plan)};"


def _table(ports: list[Port], what: str) -> str:
    return "".join(
        f"| {what} `{p.name}`{f', {p.scale}' if p.scale else ''} | {p.size} | `{p.ctype}` |\n" for p in ports
    )
