"""Models exported to C, compiled for this computer and called from Python."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lstm_rt_tools.export_c.export import files_of, float_plan
from lstm_rt_tools.export_c.folder import write_folder
from lstm_rt_tools.export_c.plan import Plan

import lstm_rt
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

COMPILER = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc") or ""
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
_FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
#: Does this CPU multiply and add with one rounding? Only then are the bits those of the runtime's.
FUSED = " fma " in _FLAGS or os.uname().machine == "aarch64"
NATIVE = ["-mfma"] if " fma " in _FLAGS else []


class Exported:
    """One folder, compiled as a library: ``step`` or ``run`` as the model's."""

    def __init__(
        self,
        folder: Path,
        graph: Graph,
        steps: int | None = None,
        *,
        name: str = "net",
        lanes: int = 4,
        flags: Sequence[str] = ("-O1",),
    ) -> None:
        self.graph, self.prefix = lstm_rt.format.loads_graph(dumps(graph)), name
        self.model = lstm_rt.Model(dumps(graph))
        self.folder = folder / name
        self.plan: Plan = float_plan(self.graph, self.model, steps, lanes)
        write_folder(self.folder, files_of(name, self.plan), force=False)
        self.library = self.folder.with_suffix(".so")
        compile_c(["-shared", "-fPIC", f"{self.folder}/src/{name}.c"], self.folder, self.library, flags)
        self._dll = ctypes.CDLL(str(self.library))
        self.arena = np.zeros(self.plan.arena_bytes // 4 + 1, np.uint32)
        assert self.init() == 0

    def init(self, size: int | None = None, offset: int = 0) -> int:
        function = getattr(self._dll, f"{self.prefix}_init")
        address = ctypes.c_void_p(self.arena.ctypes.data + offset)
        return int(function(address, ctypes.c_size_t(self.plan.arena_bytes if size is None else size)))

    def reset(self) -> int:
        return int(getattr(self._dll, f"{self.prefix}_reset")(ctypes.c_void_p(self.arena.ctypes.data)))

    def call(self, *inputs: Any, steps: int = 1, offset: int = 0) -> tuple[int, list[np.ndarray[Any, Any]]]:
        """The function's code, and its outputs, ``(steps, size)`` or ``(size,)``."""
        dtypes = {"float": np.float32, "int32_t": np.int32}
        given = [np.ascontiguousarray(x, dtypes[p.ctype]) for x, p in zip(inputs, self.plan.inputs, strict=True)]
        whole = self.plan.steps is not None
        # One number more at the end of each must stay as it is.
        outs = [
            np.full(p.size * (steps if whole and p.timed else 1) + 1, 77, dtypes[p.ctype]) for p in self.plan.outputs
        ]
        parts: list[Any] = [ctypes.c_void_p(self.arena.ctypes.data + offset)]
        parts += [ctypes.c_void_p(x.ctypes.data) for x in given]
        parts += [ctypes.c_uint32(steps)] * whole
        parts += [ctypes.c_void_p(y.ctypes.data) for y in outs]
        code = int(getattr(self._dll, f"{self.prefix}_{'run' if whole else 'step'}")(*parts))
        assert all(y[-1] == 77 for y in outs)
        return code, [
            y[:-1].reshape(steps, p.size) if whole and p.timed else y[:-1]
            for y, p in zip(outs, self.plan.outputs, strict=True)
        ]

    def stream(self, *inputs: Any) -> list[np.ndarray[Any, Any]]:
        """All steps of inputs ``(T, size)``, one after the other; of each output ``(T, size)``."""
        found: list[list[Any]] = [[] for _ in self.plan.outputs]
        for t in range(len(inputs[0])):
            code, outs = self.call(*(x[t] if p.timed else x for x, p in zip(inputs, self.plan.inputs, strict=True)))
            assert code == 0
            for f, y in zip(found, outs, strict=True):
                f.append(y)
        return [np.stack(f) for f in found]


def compile_c(arguments: Sequence[str], folder: Path, out: Path, flags: Sequence[str] = ("-O1",)) -> None:
    """Compile and link with warnings as errors."""
    command = [COMPILER, "-std=c99", *WARNINGS, *NATIVE, *flags, f"-I{folder}/src", *arguments, "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def same(got: Any, expected: Any) -> None:
    """To the bit, or where the CPU has no fused multiply-add within the stated tolerance."""
    got, expected = np.asarray(got), np.asarray(expected)
    if FUSED:
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_allclose(got, expected, atol=1e-5 * max(1.0, float(np.abs(expected).max())))
