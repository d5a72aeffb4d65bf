"""The model's own files: a header, the constants, the functions."""

from __future__ import annotations

import re
from collections.abc import Callable

from .arrays import initialiser
from .folder import MARK
from .plan import Plan, Port

OK, E_NULL, E_ALIGNMENT, E_SIZE, E_STEPS, E_TOKEN = range(6)
ERRORS = {
    "OK": "all is well",
    "E_NULL": "a pointer is NULL",
    "E_ALIGNMENT": "the arena does not begin at a multiple of PREFIX_ARENA_ALIGN bytes",
    "E_SIZE": "the arena has fewer than PREFIX_ARENA_BYTES bytes",
    "E_STEPS": "more steps than PREFIX_STEPS, or none",
    "E_TOKEN": "an id is not one of the table's",
}


def _comment(text: str) -> str:
    return f"/* {text} Made by {MARK}. */"


def _parameters(plan: Plan, name: Callable[[Port], str]) -> list[str]:
    steps = ["uint32_t steps"] if plan.steps is not None else []
    inputs = [f"const {p.ctype} *{name(p)}" for p in plan.inputs]
    return [*inputs, *steps, *(f"{p.ctype} *{name(p)}" for p in plan.outputs)]


def signature(prefix: str, plan: Plan, name: Callable[[Port], str] = lambda p: p.name) -> str:
    """The function that computes, without its end."""
    parts = ["void *arena", *_parameters(plan, name)]
    return f"int {prefix}_{'run' if plan.steps is not None else 'step'}({', '.join(parts)})"


def _symbol(port: Port) -> str:
    return port.symbol


def _mentioned(name: str, plan: Plan) -> bool:
    return any(re.search(rf"\b{name}\b", call) for call in plan.calls)


def header(prefix: str, plan: Plan, version: str) -> str:
    """``PREFIX.h``"""
    up = prefix.upper()
    sizes = [f"#define {up}_{p.name.upper()}_SIZE {p.size}" for p in [*plan.inputs, *plan.outputs]]
    codes = [
        f"#define {up}_{name} {code} /* {text.replace('PREFIX', up)} */"
        for code, (name, text) in enumerate(ERRORS.items())
    ]
    sizes += [
        f"#define {up}_{p.name.upper()}_BITS {p.bits} /* {p.scale} */"
        for p in [*plan.inputs, *plan.outputs]
        if p.bits is not None
    ]
    most = [f"#define {up}_STEPS {plan.steps} /* most of a run */"] if plan.steps is not None else []
    return "\n".join(
        [
            _comment(f"A recurrent network: {plan.words}."),
            f"#ifndef LSTM_RT_MODEL_{up}_H",
            f"#define LSTM_RT_MODEL_{up}_H",
            "",
            "#include <stddef.h>",
            "#include <stdint.h>",
            "",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
            f'#define {up}_LSTM_RT_VERSION "{version}"',
            f"#define {up}_ARENA_BYTES {plan.arena_bytes} /* memory that the functions work in */",
            f"#define {up}_ARENA_ALIGN 4",
            f"#define {up}_STATE_BYTES {plan.state_bytes} /* its first bytes: all that is kept from call to call */",
            *most,
            "",
            "/* Numbers of each input and output, of one step where it has steps. */",
            *sizes,
            "",
            "/* What the functions return. */",
            *codes,
            "",
            "/* Makes an arena of so many bytes ready: all states zero. */",
            f"int {prefix}_init(void *arena, size_t bytes);",
            "",
            f"/* All states zero again: a new sequence. */\nint {prefix}_reset(void *arena);",
            "",
            _about(prefix, plan),
            f"{signature(prefix, plan)};",
            "",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "",
            "#endif",
            "",
        ]
    )


def _about(prefix: str, plan: Plan) -> str:
    if plan.steps is None:
        return "/* One step: from the inputs and the states, the outputs and the next states. Outputs are no inputs. */"
    return "/* A whole sequence of so many steps, from states of zero: [step][number]. Outputs are no inputs. */"


def weights(prefix: str, plan: Plan) -> str:
    """``PREFIX_weights.h``"""
    lines = [_comment("The constants of the model, in the order in which they are read.")]
    for a in plan.arrays:
        head = f"static const {a.ctype} {prefix}_{a.name}[{a.values.size}]"
        lines.append(f"{head} = {{\n{initialiser(a.values)}\n}};")
    return "\n".join([*lines, ""])


def functions(prefix: str, plan: Plan) -> str:
    """``PREFIX.c``"""
    up = prefix.upper()
    pointers = [p.symbol for p in [*plan.inputs, *plan.outputs]]
    steps = [f"    if (steps - 1u >= {up}_STEPS)", f"        return {up}_E_STEPS;"] if plan.steps is not None else []
    checks = [line for wrong, code in plan.checks for line in (f"    {wrong}", f"        return {up}_{code};")]
    words = plan.state_bytes // 4
    reset = [f"    for (uint32_t i = 0; i < {words}; i++)", "        ((uint32_t *)arena)[i] = 0;"] if words else []
    steps_there = ["steps"] if plan.steps is not None else []
    arguments = [*(p.symbol for p in plan.inputs), *steps_there, *(p.symbol for p in plan.outputs)]
    return "\n".join(
        [
            _comment("The functions of the model."),
            f'#include "{prefix}.h"',
            "",
            *(f"#define {name} {value}" for name, value in plan.defines.items()),
            *(f'#include "{h.rsplit("/", 1)[-1]}"' for h in plan.headers),
            f'#include "{prefix}_weights.h"',
            "",
            *(d.replace("$", prefix) for d in plan.declarations),
            "",
            "static int usable(const void *arena)",
            "{",
            "    if (arena == NULL)",
            f"        return {up}_E_NULL;",
            f"    return (uintptr_t)arena % {up}_ARENA_ALIGN == 0 ? {up}_OK : {up}_E_ALIGNMENT;",
            "}",
            "",
            f"int {prefix}_reset(void *arena)",
            "{",
            "    const int wrong = usable(arena);",
            "    if (wrong)",
            "        return wrong;",
            *reset,
            f"    return {up}_OK;",
            "}",
            "",
            f"int {prefix}_init(void *arena, size_t bytes)",
            "{",
            f"    return bytes < {up}_ARENA_BYTES ? {up}_E_SIZE : {prefix}_reset(arena);",
            "}",
            "",
            f"static LRT_NEVER_INLINE void compute({plan.unit} *a, {', '.join(_parameters(plan, _symbol))})",
            "{",
            *(f"    (void){name};" for name in ["a", *arguments] if not _mentioned(name, plan)),
            *(f"    {call.replace('$', prefix)}" for call in plan.calls),
            "}",
            "",
            signature(prefix, plan, _symbol),
            "{",
            *(["    const lrt_mode mode = lrt_get_mode();"] if plan.floats else []),
            "    const int wrong = usable(arena);",
            "    if (wrong)",
            "        return wrong;",
            f"    if ({' || '.join(f'{p} == NULL' for p in pointers)})",
            f"        return {up}_E_NULL;",
            *steps,
            *(line.replace("$", prefix) for line in checks),
            *(["    lrt_flush_denormals(mode);"] if plan.floats else []),
            f"    compute(({plan.unit} *)arena, {', '.join(arguments)});",
            *(["    lrt_restore_mode(mode);"] if plan.floats else []),
            f"    return {up}_OK;",
            "}",
            "",
        ]
    )
