"""Builds one extension that holds the kernels of every instruction set of its architecture.

The core is compiled into an archive with the flags of src/cflags.txt; what an instruction set needs beside stands in
its source. The extension links it and chooses a table at run time. Environment: LSTM_RT_NO_OPENMP=1 builds without
OpenMP, LSTM_RT_SANITIZE=1 with ASan and UBSan, LSTM_RT_WERROR=1 makes warnings errors.

What a build needs is looked for before anything is compiled: what is missing ends it with one sentence.
"""

import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow"]
CFLAGS = [*Path("src/cflags.txt").read_text().split(), "-g0", *WARNINGS]
FOLDERS = [Path("src"), Path("src/ops"), Path("src/kernels"), Path("src/integers")]
HEADERS = ["src/cflags.txt", *sorted(str(p) for folder in FOLDERS for p in folder.glob("*.h"))]
SOURCES = sorted(str(p) for folder in FOLDERS for p in folder.glob("*.c"))


def flag(name):
    return os.environ.get(name, "") not in ("", "0")


def works(compiler, source, *flags):
    """Can the compiler build `source` with these flags?"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.c"
        path.write_text(source)
        command = [*compiler, str(path), *flags, "-o", str(Path(folder) / "probe")]
        try:
            return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
        except OSError:  # no such program
            return False


def c_compiler(include_dirs):
    """The compiler's command, empty where it is not one of Unix; ends the build with one sentence without one."""
    from distutils.ccompiler import new_compiler  # setuptools brings it where Python does not
    from distutils.sysconfig import customize_compiler

    compiler = new_compiler()
    if compiler.compiler_type != "unix":
        return []
    customize_compiler(compiler)
    command = list(compiler.compiler_so)
    name = os.environ.get("CC") or command[0]
    if not works(command, "int main(void) { return 0; }\n", "-c"):
        raise SystemExit(f"lstm-rt is not built: no C compiler works here (tried '{name}'). On Debian and Ubuntu: "
                         "apt-get install gcc python3-dev; elsewhere install GCC or Clang, or name one in CC.")
    if not works(command, "#include <Python.h>\n", "-c", *(f"-I{folder}" for folder in include_dirs)):
        version = ".".join(platform.python_version_tuple()[:2])
        raise SystemExit(f"lstm-rt is not built: the headers of Python {version} (Python.h) are not in "
                         f"{' or '.join(include_dirs)}. On Debian and Ubuntu: apt-get install python3-dev; on Fedora: "
                         "dnf install python3-devel.")
    return command


def build_packages():
    """cythonize and NumPy's headers: needed to build only, not to name or pack the sources."""
    try:
        import numpy
        from Cython.Build import cythonize
    except ImportError as e:
        raise SystemExit(f"lstm-rt is not built: {e.name or e} is missing. python -m pip install 'cython>=3.1' "
                         "'numpy>=2.0' 'setuptools>=77'; or leave that to pip: python -m pip install .") from None
    return cythonize, numpy.get_include()


class BuildClib(build_clib):
    """Compiles the archive's files on all cores: the kernels are most of a build."""

    def build_libraries(self, libraries):
        compile_all = self.compiler.compile

        def compile_each(sources, **options):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                objects = list(pool.map(lambda source: compile_all([source], **options), sources))
            return [name for names in objects for name in names]

        self.compiler.compile = compile_each
        super().build_libraries(libraries)


class BuildPy(build_py):
    """Takes along the headers that lstm-rt export-c copies into folders; in place they are read where they are."""

    HEADERS = ("lrt_mode.h", "kernels/*.h", "micro/*.h")

    def run(self):
        super().run()
        if self.editable_mode:
            return
        core = Path(self.build_lib) / "lstm_rt_tools/export_c/core"
        for header in (h for pattern in self.HEADERS for h in sorted(Path("src").glob(pattern))):
            target = core / header.relative_to("src")
            self.mkpath(str(target.parent))
            self.copy_file(str(header), str(target))


class BuildExt(build_ext):
    """Builds the archive first, also for in-place builds, and decides about OpenMP."""

    def run(self):
        compiler = c_compiler(self.include_dirs)
        cythonize, numpy_headers = build_packages()
        if flag("LSTM_RT_NO_OPENMP") or not self.has_openmp(compiler):
            asked = flag("LSTM_RT_NO_OPENMP")
            why = "LSTM_RT_NO_OPENMP is set." if asked else (
                "the C compiler does not take -fopenmp. GCC has it, Clang with its package libomp."
            )
            print(f"lstm-rt is built without OpenMP, for one thread per call: {why}", file=sys.stderr)
        self.run_command("build_clib")
        clib = self.get_finalized_command("build_clib")
        modules = cythonize(self.extensions, compiler_directives={"language_level": 3})
        for ext, module in zip(self.extensions, modules, strict=True):
            ext.sources = module.sources
            ext.include_dirs.append(numpy_headers)
            ext.library_dirs.append(clib.build_clib)
        super().run()

    def has_openmp(self, compiler):
        """Adds the flag for OpenMP where it works."""
        probe = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        if not compiler or not works(compiler, probe, "-fopenmp"):
            return False
        for ext in self.extensions:
            ext.extra_compile_args.append("-fopenmp")
            ext.extra_link_args.append("-fopenmp")
        return True


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
        include_dirs=["src", "lstm_rt"],
        libraries=["lrt_core", "m"],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=["-O2", "-g0", *extra],
        extra_link_args=link or strip,
        depends=[*sorted(map(str, Path("lstm_rt/_runtime").iterdir())), *HEADERS, *SOURCES],
    )
    commands = {"build_clib": BuildClib, "build_ext": BuildExt, "build_py": BuildPy}
    setup(libraries=[("lrt_core", core)], ext_modules=[extension], cmdclass=commands)


main()
