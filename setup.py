"""Builds one extension that holds the kernels of every instruction set of its architecture.

Each table is compiled into an archive of its own with its own flags; the extension links them all
and chooses at run time. Environment: LSTM_RT_NO_OPENMP=1 builds without OpenMP, LSTM_RT_SANITIZE=1
with ASan and UBSan, LSTM_RT_WERROR=1 makes warnings errors.
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow"]
# Contraction would change results from one compiler to the next. Errno and traps are not used.
CFLAGS = ["-std=gnu99", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-g0", *WARNINGS]
HEADERS = sorted(map(str, Path("src").glob("*.h")))
SOURCES = [*HEADERS, *sorted(map(str, Path("src").glob("*.c")))]


def flag(name):
    return os.environ.get(name, "") not in ("", "0")


def architecture():
    """Kernel sources and flags beside the portable ones, and the macro that announces them."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        kernels = {
            "avx512": ["-O3", "-mavx512f", "-mfma", "-mprefer-vector-width=512"],
            "avx2": ["-O3", "-mavx2", "-mfma"],
            "nofma": [],
        }
        return kernels, [("LRT_HAVE_X86_KERNELS", "1")]
    if machine in ("aarch64", "arm64"):
        return {"neon": ["-O3"]}, [("LRT_HAVE_NEON_KERNELS", "1")]
    return {}, []


def works(compiler, source, flags):
    """Can the compiler build and link `source` with these flags?"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.c"
        path.write_text(source)
        command = [*compiler, str(path), *flags, "-o", str(Path(folder) / "probe")]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


class BuildExt(build_ext):
    """Builds the archives first, also for in-place builds, and decides about OpenMP."""

    def run(self):
        self.run_command("build_clib")
        clib = self.get_finalized_command("build_clib")
        for ext in self.extensions:
            ext.library_dirs.append(clib.build_clib)
        super().run()

    def build_extensions(self):
        probe = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        compiler = list(getattr(self.compiler, "compiler_so", ["cc"]))[:1]
        if not flag("LSTM_RT_NO_OPENMP") and works(compiler, probe, ["-fopenmp"]):
            for ext in self.extensions:
                ext.extra_compile_args.append("-fopenmp")
                ext.extra_link_args.append("-fopenmp")
        super().build_extensions()


def main():
    kernels, macros = architecture()
    extra = ["-Werror"] if flag("LSTM_RT_WERROR") else []
    link = []
    if flag("LSTM_RT_SANITIZE"):
        sanitize = ["-DLRT_NO_UNROLL", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g"]
        extra += sanitize
        link += sanitize
    strip = ["-Wl,--strip-all"] if sys.platform.startswith("linux") else []
    common = ["src/lrt_model.c", "src/lrt_session.c", "src/lrt_run.c", "src/lrt_cpu.c", "src/lrt_dispatch.c"]

    def archive(sources, flags):
        return {"sources": sources, "cflags": [*CFLAGS, *flags, *extra], "obj_deps": {"": HEADERS},
                "include_dirs": ["src"], "macros": macros}

    # The linker resolves from left to right: what needs others comes first.
    libraries = [("lrt_core", archive(common, []))]
    for name, flags in kernels.items():
        libraries.append((f"lrt_{name}", archive([f"src/lrt_kernels_{name}.c"], flags)))
    libraries.append(("lrt_portable", archive(["src/lrt_kernels_portable.c"], [])))
    extension = Extension(
        "lstm_rt._core",
        ["lstm_rt/_core.pyx"],
        include_dirs=["src", "lstm_rt", numpy.get_include()],
        libraries=[name for name, _ in libraries] + ["lrt_core", "m"],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=["-O2", "-g0", *extra],
        extra_link_args=link or strip,
        depends=[*sorted(map(str, [*Path("lstm_rt").glob("*.pxi"), *Path("lstm_rt").glob("*.h")])), *SOURCES],
    )
    modules = cythonize([extension], compiler_directives={"language_level": 3})
    setup(libraries=libraries, ext_modules=modules, cmdclass={"build_ext": BuildExt})


main()
