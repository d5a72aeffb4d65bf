"""The core with its loader on every device: error codes for what is wrong, float64's numbers for what is right."""

from __future__ import annotations

from pathlib import Path

import make_bad_blobs
import numpy as np
import pytest
from edge.run import run
from helpers.edge import EMULATED, built
from helpers.graphs import cell_weights, weights
from helpers.integers import integer_graph
from helpers.paths import ROOT, TESTS
from lstm_rt_tools.judges import reference

from lstm_rt.format import dumps
from lstm_rt.graph import Graph

SRC = ROOT / "src"
CORE = [SRC, SRC / "ops", SRC / "kernels", SRC / "integers"]
HERE = Path(__file__).parent
FLAGS = ["-std=gnu99", "-Os", "-fno-math-errno", "-fno-trapping-math", "-DLRT_SMALL"]
LEFT_OUT = ["-DLRT_WITH_ATTENTION=0", "-DLRT_WITH_CONVLSTM=0"]
#: Without fused multiply-adds in the CPU, fmaf is a slow routine of the C library.
NO_FMA = {"cortex-m0", "cortex-m3", "riscv32"}
STEPS = 3


def model(op: str, seed: int) -> Graph:
    """x (N, T, 2) -> a layer of 5 -> dense, tanh -> y (N, T, 3)."""
    rng = np.random.default_rng(seed)
    g = Graph()
    y = g.recurrent(op, g.input("x", "seq", 2), cell_weights(rng, op, 2, 5), hidden_size=5)[0]
    g.output(g.dense(y, weights(rng, 3, 5), weights(rng, 3), activation="tanh"), "y")
    return g


def models() -> dict[str, Graph]:
    graphs = {op: model(op, 2) for op in ("lstm", "gru", "rnn")}
    graphs["lstm_16"] = integer_graph(model("lstm", 3), 16, 32639)
    graphs["gru_8"] = integer_graph(model("gru", 4), 8, 32639)
    return graphs


def wrong() -> dict[str, tuple[bytes, int]]:
    """One blob for each way to be wrong, with its code."""
    found: dict[int, tuple[str, bytes]] = {}
    for path in sorted((TESTS / "blobs").glob("*.lrt")):
        if any(op in path.name for op in ("attention", "convlstm")):  # left out
            continue
        found.setdefault(make_bad_blobs.CODES[path.name.split("__")[0]], (path.stem, path.read_bytes()))
    return {name: (blob, code) for code, (name, blob) in found.items()}


def array(name: str, kind: str, values: str) -> str:
    return f"static const {kind} {name}[] __attribute__((aligned(64))) = {{{values}}};\n"


def write_cases(folder: Path, close: float) -> int:
    text, rows = "", []
    most = 0
    blobs = {name: (dumps(g), 0) for name, g in models().items()}
    left_out = {"attention": ((TESTS / "fuzz" / "corpus" / "attention.lrt").read_bytes(), 20)}
    for name, (blob, code) in {**blobs, **wrong(), **left_out}.items():
        text += array(f"blob_{name}", "unsigned char", ", ".join(map(str, blob)))
        given, steps, outputs = "NULL, NULL", 0, 0
        if code == 0:
            x = np.random.default_rng(3).uniform(-1, 1, (1, STEPS, 2)).astype(np.float32)
            (y, *_) = reference.run(models()[name], [x])
            y = np.asarray(y, np.float64).ravel()
            steps, outputs, given = STEPS, y.size, f"x_{name}, y_{name}"
            most = max(most, outputs)
            for letter, numbers in (("x", x.ravel()), ("y", y)):
                text += array(f"{letter}_{name}", "float", ", ".join(f"{float(v):.9e}f" for v in numbers))
        rows.append(f'    {{"{name}", blob_{name}, sizeof blob_{name}, {code}, {steps}, {given}, {outputs}}},\n')
    text += f"#define CLOSE {close:g}f\n#define MOST_OUTPUTS {most}\n#define MEMORY (1088 * sizeof(void *))\n"
    (folder / "cases.h").write_text(
        f"{text}static const blob_case cases[] = {{\n{''.join(rows)}}};\n", encoding="utf-8"
    )
    return len(rows)


SMALLEST = """#include "lstm_rt.h"
extern const void *volatile blob;
const void *volatile blob;
static lrt_model model;
static lrt_session *session;
int main(void)
{
    const lrt_limits limits = {0};
    const lrt_call_args call = {0};
    const lrt_kernels *kernels = lrt_kernels_best();
    return lrt_model_open(&model, blob, 64) != LRT_OK ||
           lrt_session_init(&session, &model, kernels, &limits, NULL, 0) != LRT_OK ||
           lrt_call(session, &call) != LRT_OK;
}
"""


@pytest.mark.parametrize("device", EMULATED)
def test_the_core_on_a_device(device: str, tmp_path: Path) -> None:
    count = write_cases(tmp_path, 2e-6)
    (tmp_path / "core.c").write_text((HERE / "core.c").read_text(encoding="utf-8"), encoding="utf-8")
    flags = [*FLAGS, *LEFT_OUT, f"-I{SRC}", *(["-DLRT_NO_FMA"] if device in NO_FMA else [])]
    result = run(built(device, [tmp_path / "core.c", *CORE], tmp_path, flags=flags))
    assert (result.code, result.output) == (0, f"{count} blobs, 0 failures\n"), result.output + result.fault


def test_how_much_flash_it_takes(tmp_path: Path) -> None:
    """On Cortex-M4F, with all ops: docs/c.md says how much."""
    source = tmp_path / "main.c"
    source.write_text(SMALLEST, encoding="utf-8")
    program = built("cortex-m4", [source, *CORE], tmp_path, flags=[*FLAGS, f"-I{SRC}"])
    assert program.flash() < 70_000
    assert program.ram() < 256
