"""Builds one extension that holds the kernels of every instruction set of its architecture.

The core is compiled into an archive with the flags of src/cflags.txt; what an instruction set needs beside stands in
its source. The extension links it and chooses a table at run time. Environment: LSTM_RT_NO_OPENMP=1 builds without
OpenMP, LSTM_RT_SANITIZE=1 with ASan and UBSan, LSTM_RT_WERROR=1 makes warnings errors.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow"]
CFLAGS = [*Path("src/cflags.txt").read_text().split(), "-g0", *WARNINGS]
FOLDERS = [Path("src"), Path("src/ops"), Path("src/kernels")]
HEADERS = ["src/cflags.txt", *sorted(str(p) for folder in FOLDERS for p in folder.glob("*.h"))]
SOURCES = sorted(str(p) for folder in FOLDERS for p in folder.glob("*.c"))


def flag(name):
    return os.environ.get(name, "") not in ("", "0")


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
    extra = ["-Werror"] if flag("LSTM_RT_WERROR") else []
    link = []
    if flag("LSTM_RT_SANITIZE"):
        sanitize = ["-DLRT_INSTRUMENTED", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g"]
        extra += sanitize
        link += sanitize
    strip = ["-Wl,--strip-all"] if sys.platform.startswith("linux") else []
    core = {"sources": SOURCES, "cflags": [*CFLAGS, *extra], "obj_deps": {"": HEADERS}, "include_dirs": ["src"]}
    extension = Extension(
        "lstm_rt._core",
        ["lstm_rt/_core.pyx"],
        include_dirs=["src", "lstm_rt", numpy.get_include()],
        libraries=["lrt_core", "m"],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=["-O2", "-g0", *extra],
        extra_link_args=link or strip,
        depends=["lstm_rt/_streams.pxi", "lstm_rt/_team.h", *HEADERS, *SOURCES],
    )
    modules = cythonize([extension], compiler_directives={"language_level": 3})
    setup(libraries=[("lrt_core", core)], ext_modules=modules, cmdclass={"build_ext": BuildExt})


main()
