"""Builds a wheel for another architecture, with a cross compiler: `python packaging/wheel.py armv7l --python FOLDER`.

FOLDER is a Python of that architecture and of the version that runs this, unpacked by foreign_python.sh. What it needs
beside is what building needs (numpy, cython, setuptools) and the compiler: Debian's cross gcc, whose wheels want the
glibc of that Debian or a newer one and libgomp on the device. docs/building.md says how the wheels are tried.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Target:
    """An architecture: GNU's name of it, and the sizes in bytes of C types there."""

    triplet: str
    sizes: dict[str, int]


WIDE = {"LONG": 8, "LONGDOUBLE": 16, "COMPLEX_LONGDOUBLE": 32, "PY_INTPTR_T": 8, "INTP": 8, "UINTP": 8}
NARROW = {"LONG": 4, "LONGDOUBLE": 8, "COMPLEX_LONGDOUBLE": 16, "PY_INTPTR_T": 4, "INTP": 4, "UINTP": 4}
TARGETS = {
    "aarch64": Target("aarch64-linux-gnu", WIDE),
    "armv7l": Target("arm-linux-gnueabihf", NARROW),
}


def fail(text: str) -> None:
    raise SystemExit(f"wheel.py: {text}")


def python_headers(root: Path, target: Target, to: Path) -> list[Path]:
    """The folders with the headers of the unpacked Python: Debian keeps those of an architecture apart."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    include, own = root / "usr/include" / version, root / "usr/include" / target.triplet / version
    if not (include / "Python.h").exists() or not (own / "pyconfig.h").exists():
        there = sorted(p.name for p in (root / "usr/include").glob("python*"))
        fail(f"{root} has no headers of {version} for {target.triplet} (it has {', '.join(there) or 'none'}): run this "
             "with the Python of that version, on a folder of packaging/foreign_python.sh")
    shutil.copytree(own, to / target.triplet / version)
    return [include, to]


def numpy_headers(target: Target, to: Path) -> Path:
    """NumPy's headers with the sizes of the target's types: all that differs between architectures."""
    import numpy

    shutil.copytree(numpy.get_include(), to)
    config = to / "numpy/_numpyconfig.h"
    text = config.read_text()
    for name, size in target.sizes.items():
        text = re.sub(rf"(#define NPY_SIZEOF_{name}) \d+", rf"\1 {size}", text)
    config.write_text(text)
    return to


def unpacked_sources(to: Path) -> Path:
    """The sources of a release, so that nothing of builds for this machine gets in."""
    command = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(to)]
    subprocess.run(command, cwd=ROOT, check=True)
    (archive,) = to.glob("*.tar.gz")
    shutil.unpack_archive(archive, to, filter="data")
    return to / archive.name.removesuffix(".tar.gz")


def c_compiler(target: Target) -> str:
    compiler = f"{target.triplet}-gcc"
    if not shutil.which(compiler):
        fail(f"there is no {compiler}: on Debian and Ubuntu, apt-get install gcc-{target.triplet}")
    return compiler


def environment(arch: str, target: Target, root: Path, headers: list[Path], cc: str, work: Path) -> dict[str, str]:
    """What makes setuptools build for the target: its Python's own account of how it was built, and the compiler."""
    name = f"_sysconfigdata__{target.triplet}"
    config = work / "sysconfig"
    config.mkdir()
    shutil.copy(next(root.glob(f"usr/lib/python3*/{name}.py")), config)
    return {
        **os.environ,
        "_PYTHON_HOST_PLATFORM": f"linux-{arch}",
        "_PYTHON_SYSCONFIGDATA_NAME": name,
        "PYTHONPATH": str(config),
        "CC": cc,
        "LDSHARED": f"{cc} -shared",
        "CFLAGS": " ".join(f"-I{folder}" for folder in headers),
        "LDFLAGS": "",
    }


def build(arch: str, root: Path, out: Path) -> Path:
    target = TARGETS[arch]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        compiler = c_compiler(target)
        headers = [*python_headers(root, target, work / "python"), numpy_headers(target, work / "numpy")]
        command = [sys.executable, "setup.py", "-q", "bdist_wheel", "--plat-name", f"linux_{arch}"]
        command += ["-d", str(work / "dist")]
        env = environment(arch, target, root, headers, compiler, work)
        subprocess.run(command, cwd=unpacked_sources(work / "sources"), env=env, check=True)
        (wheel,) = (work / "dist").glob("*.whl")
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(wheel, out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arch", choices=TARGETS)
    parser.add_argument("--python", type=Path, required=True, metavar="FOLDER", help="made by foreign_python.sh")
    parser.add_argument("-o", "--out", type=Path, default=Path("dist"), metavar="FOLDER")
    options = parser.parse_args()
    print(build(options.arch, options.python.resolve(), options.out))


if __name__ == "__main__":
    main()
