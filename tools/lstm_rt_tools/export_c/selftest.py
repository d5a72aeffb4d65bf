"""``selftest.c``: proves that a device computes the model."""

from __future__ import annotations

from .arrays import float_text, initialiser
from .folder import MARK
from .plan import Plan, Port, Test


def selftest(prefix: str, plan: Plan) -> str:
    """A program that returns 0 where the outputs are what they have to be, with what it found printed."""
    test, up = plan.test, prefix.upper()
    assert test is not None
    arrays = []
    for ports, values, what in ((plan.inputs, test.inputs, "given"), (plan.outputs, test.outputs, "expected")):
        for port, array in zip(ports, values, strict=True):
            arrays.append(f"static const {port.ctype} {what}_{port.name}[] = {{\n{initialiser(array)}\n}};")
    room = [f"static {p.ctype} got_{p.name}[{_room(p.size, p.timed, plan, test)}];" for p in plan.outputs]
    compares = "\n".join(_compare(p, f"{up}_{p.name.upper()}_SIZE", plan) for p in plan.outputs)
    return _TEXT.format(
        mark=MARK,
        prefix=prefix,
        up=up,
        arrays="\n".join(arrays),
        room="\n".join(room),
        ctype=plan.outputs[0].ctype,
        atol=float_text(test.atol),
        rtol=float_text(test.rtol),
        call=_call(prefix, plan, test, compares),
    )


def _compare(port: Port, size: str, plan: Plan) -> str:
    """The line that compares an output, of a step or of the whole run."""
    got, expected = f"got_{port.name}", f"expected_{port.name}"
    if plan.steps is not None:
        return f"    worst = further(worst, {got}, {expected}, sizeof {expected} / sizeof *{expected});"
    return f"        worst = further(worst, {got}, {expected} + t * {size}, {size});"


def _room(size: int, timed: bool, plan: Plan, test: Test) -> int:
    return size * (_steps(plan, test) if timed and plan.steps is not None else 1)


def _steps(plan: Plan, test: Test) -> int:
    """Steps of the test."""
    counts = [
        len(a) for p, a in zip([*plan.inputs, *plan.outputs], [*test.inputs, *test.outputs], strict=True) if p.timed
    ]
    return max(counts, default=1)


def _call(prefix: str, plan: Plan, test: Test, compares: str) -> str:
    n, up = _steps(plan, test), prefix.upper()
    if plan.steps is not None:
        parts = ["arena", *(f"given_{p.name}" for p in plan.inputs), f"{n}u", *(f"got_{p.name}" for p in plan.outputs)]
        check = f'    if (code != {up}_OK)\n        return failed("run", code);'
        return f"    code = {prefix}_run({', '.join(parts)});\n{check}\n{compares}"
    given = [f"given_{p.name} + t * {up}_{p.name.upper()}_SIZE" if p.timed else f"given_{p.name}" for p in plan.inputs]
    parts = ["arena", *given, *(f"got_{p.name}" for p in plan.outputs)]
    return (
        f"    for (unsigned t = 0; t < {n}; t++) {{\n        code = {prefix}_step({', '.join(parts)});\n"
        f'        if (code != {up}_OK)\n            return failed("step", code);\n{compares}\n    }}'
    )


_TEXT = """\
/* A test of the model on a device: returns 0 where it computes what it has to. Made by {mark}. */
#include <stdio.h>

#include "{prefix}.h"

#ifdef LSTM_RT_EXACT /* the very bits: of CPUs whose multiply-add rounds once */
#define ATOL 0.0f
#define RTOL 0.0f
#else
#define ATOL {atol}
#define RTOL {rtol}
#endif

{arrays}
{room}
static union {{
    uint32_t align;
    unsigned char bytes[{up}_ARENA_BYTES + {up}_ARENA_ALIGN];
}} memory;

static int failed(const char *what, int code)
{{
    printf("{prefix}: %s returned %d\\n", what, code);
    return 2;
}}

/* The largest difference, in parts of what is allowed; NaN where something is NaN that should not be. */
static float further(float worst, const {ctype} *got, const {ctype} *expected, size_t n)
{{
    for (size_t i = 0; i < n; i++) {{
        const float e = (float)expected[i], size = e < 0.0f ? -e : e;
        float away = (float)got[i] - e;
        away = away < 0.0f ? -away : away;
        if ((float)got[i] == e || ((float)got[i] != (float)got[i] && e != e))
            continue;
        if (!(away <= ATOL + RTOL * size)) {{
            printf("{prefix}: got %.9g, expected %.9g\\n", (double)got[i], (double)e);
            return away >= 0.0f ? 1e30f : away;
        }}
        worst = away > worst ? away : worst;
    }}
    return worst;
}}

int main(void)
{{
    void *const arena = memory.bytes;
    float worst = 0.0f;
    int code = {prefix}_init(arena, {up}_ARENA_BYTES - 1);
    if (code != {up}_E_SIZE)
        return failed("init of too small an arena", code);
    code = {prefix}_init(memory.bytes + 1, {up}_ARENA_BYTES);
    if (code != {up}_E_ALIGNMENT)
        return failed("init of a misaligned arena", code);
    code = {prefix}_init(NULL, {up}_ARENA_BYTES);
    if (code != {up}_E_NULL)
        return failed("init without an arena", code);
    code = {prefix}_init(arena, {up}_ARENA_BYTES);
    if (code != {up}_OK)
        return failed("init", code);
{call}
    if (!(worst < 1e30f))
        return 1;
    printf("{prefix}: passed, largest difference %g\\n", (double)worst);
    return 0;
}}
"""
