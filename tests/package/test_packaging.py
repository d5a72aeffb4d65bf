"""What users meet before the first import works: the sdist, the build, the folder of the sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from helpers.paths import ROOT

import lstm_rt

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

#: Tracked, but not part of a release.
OWN = {".gitignore", ".ci"}


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python in ``folder``, without the paths of this run."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


# -- the sources ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def sources(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files: nothing is built in it."""
    folder = tmp_path_factory.mktemp("sources")
    for name in tracked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def test_an_sdist_holds_what_is_tracked(tracked: list[str], sources: Path, tmp_path: Path) -> None:
    pytest.importorskip("setuptools", "77")
    done = run(sources, "setup.py", "-q", "sdist", "--dist-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        held = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}
        files = {m.name.split("/", 1)[1] for m in tar.getmembers() if m.isfile()}
    wanted = {name for name in tracked if name.split("/")[0] not in OWN}
    assert sorted(wanted - held) == []
    made = {"PKG-INFO", "setup.cfg"}
    assert sorted(f for f in files - wanted - made if ".egg-info/" not in f) == []


# -- the folder of the sources ----------------------------------------------------------------------

#: An editable install finds the extension from anywhere.
NOT_EDITABLE = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'Editable' not in repr(f)]; "


def test_every_package_is_installed() -> None:
    """An installation in place, as tests run on, has them all anyhow."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    found = [
        ".".join(file.parent.relative_to(base).parts)
        for base, name in ((ROOT, "lstm_rt"), (ROOT / "tools", "lstm_rt_tools"))
        for file in (base / name).rglob("__init__.py")
    ]
    assert sorted(listed) == sorted(found)


def test_importing_from_a_folder_that_is_not_built(sources: Path) -> None:
    for code in ("import lstm_rt", "import lstm_rt.graph", "from lstm_rt import load"):
        done = run(sources, "-c", NOT_EDITABLE + code)
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("ImportError: ")
        for words in (str(sources / "lstm_rt"), "is not built", "leave this folder", "setup.py build_ext --inplace"):
            assert words in last
        assert "circular" not in done.stderr


def test_importing_an_extension_for_another_python(sources: Path, tmp_path: Path) -> None:
    shutil.copytree(sources / "lstm_rt", tmp_path / "lstm_rt")
    (tmp_path / "lstm_rt" / "_core.cpython-27-other.so").write_bytes(b"")
    last = run(tmp_path, "-c", NOT_EDITABLE + "import lstm_rt").stderr.strip().splitlines()[-1]
    assert "built for another Python only (_core.cpython-27-other.so)" in last
    (tmp_path / "lstm_rt" / "_core.pyx").unlink()  # as installed
    last = run(tmp_path, "-c", NOT_EDITABLE + "import lstm_rt").stderr.strip().splitlines()[-1]
    assert last.endswith("install lstm-rt again")


def test_importing_without_numpy(tmp_path: Path) -> None:
    package = Path(lstm_rt.__file__).parent
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise ModuleNotFoundError('No module named numpy', name='numpy')")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(package.parent)!r}]; import lstm_rt"
    done = run(tmp_path, "-c", code)
    assert done.stderr.strip().splitlines()[-1] == (
        "ImportError: lstm_rt needs NumPy, which is not installed here: python -m pip install numpy"
    )


# -- the build --------------------------------------------------------------------------------------


def build(sources: Path, before: str = "", **environment: str) -> tuple[int, str]:
    """Exit code and last line of a build that runs ``before`` first."""
    code = f"import runpy, sys, setuptools\n{before}\nsys.argv = ['setup.py', 'build_ext']\n"
    done = run(sources, "-c", code + "runpy.run_path('setup.py', run_name='__main__')", **environment)
    return done.returncode, done.stderr.strip().splitlines()[-1]


def test_a_build_without_a_compiler(sources: Path) -> None:
    pytest.importorskip("setuptools")
    code, last = build(sources, CC="/nonexistent/cc -m64")
    assert code == 1
    assert last.startswith("lstm-rt is not built: no C compiler works here (tried '/nonexistent/cc -m64').")
    assert "apt-get install gcc python3-dev" in last


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_build_without_headers(sources: Path, tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    patch = f"import distutils.sysconfig as s; s.get_python_inc = lambda *a, **k: {str(tmp_path)!r}"
    code, last = build(sources, patch)
    assert code == 1
    assert last.startswith("lstm-rt is not built: the headers of Python 3.")
    assert f"(Python.h) are not in {tmp_path}" in last or f" or {tmp_path}" in last
    assert "apt-get install python3-dev" in last


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("name", ["numpy", "Cython"])
def test_a_build_without_packages(name: str, sources: Path) -> None:
    pytest.importorskip("setuptools")
    code, last = build(sources, f"sys.modules[{name!r}] = None")
    assert code == 1
    assert re.match(rf"lstm-rt is not built: {name}\S* is missing\. python -m pip install ", last)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_build_without_openmp_says_so(sources: Path, tmp_path: Path) -> None:
    pytest.importorskip("Cython")
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\ncase " $* " in *" -fopenmp "*) exit 1;; esac\nexec cc "$@"\n')
    compiler.chmod(0o755)
    stop = "from setuptools.command.build_clib import build_clib; build_clib.run = lambda self: sys.exit(3)"
    code, last = build(sources, stop, CC=str(compiler))
    assert code == 3
    assert last.startswith("lstm-rt is built without OpenMP, for one thread per call")
    assert "OpenMP" not in run(sources, "setup.py", "--version").stderr
