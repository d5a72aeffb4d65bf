"""SavedModel folders of TensorFlow's graphs for the table of readers: made ONNX by tf2onnx, where that is.

Nothing of a graph is run in this process, and TensorFlow is not imported here: a second Python loads the folder and
writes ONNX, which is read as any other file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

from ..names import shown
from ..onnx_reader import reader as onnx
from ..onnx_reader.from_onnx import from_onnx
from ..row import SAVED_MODEL, Options, Rerun
from ..weights.budget import Budget
from ..weights.mapped import feed
from ..weights.python_process import can_start, command
from .graphs import signature

_PACKAGES = ("tensorflow", "tf2onnx")
_CHILD = (
    "import sys; given = sys.argv[1]; sys.path[:] = sys.argv[2:]; "
    "from lstm_rt_tools.tensorflow_reader.child import main; main(given)"
)
_SECONDS, _SECONDS_PER_MB = 120, 2  #: of processor time; TensorFlow alone takes several to start
_CLOCK = 5  #: seconds by the clock for one of the processor
_MEMORY, _TIMES = 6 << 30, 20  #: bytes of memory, and so many times the size of the folder
_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}


def read(path: Path, options: Options) -> Graph:
    """The graph of a SavedModel's signature; inputs and outputs have the names that it gives them."""
    folder = _folder(path)
    with _as_onnx(folder) as (made, digest):
        graph = from_onnx(made, options.settings)
    about = {"framework": "tensorflow", "file": folder.resolve().name, "sha256": digest}
    graph.meta["source"] = {**graph.meta["source"], **about}
    return graph


def rerun(path: Path, graph: Graph, options: Options) -> Rerun:
    """The folder made ONNX again, and run by onnxruntime."""
    folder = _folder(path)
    with _as_onnx(folder) as (made, _):
        found = onnx.rerun(made, graph, options)
    return Rerun(f"{folder.resolve().name} by way of {found.what}", found.inputs, found.outputs)


def _folder(path: Path) -> Path:
    folder = path.parent if path.name == SAVED_MODEL else path
    if (folder / SAVED_MODEL).is_file():
        return folder
    raise ConvertError(f"{path.name} is no SavedModel; expected a folder with {SAVED_MODEL} in it")


@contextmanager
def _as_onnx(folder: Path) -> Iterator[tuple[Path, str]]:
    """The ONNX file of a folder, while it is needed, and the hash of the folder's files."""
    name = folder.resolve().name
    files = [folder / SAVED_MODEL, *sorted((folder / "variables").glob("variables.*"))]
    size = sum(f.stat().st_size for f in files)
    chosen = signature(folder, Budget(size, name))
    missing = [p for p in _PACKAGES if importlib.util.find_spec(p) is None]
    if missing:
        raise ConvertError(
            f"{name} is a SavedModel without a model of Keras 2, a graph of TensorFlow's alone, which only TensorFlow "
            f"reads: pip install {' '.join(missing)}; or where TensorFlow is, save the model from Keras itself, "
            "model.save('model.keras'), or make ONNX of the graph (python -m tf2onnx.convert), and convert that"
        )
    if not can_start():
        raise ConvertError(f"{name}: TensorFlow reads a SavedModel in a process of its own, none can be started here")
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / f"{name}.onnx"
        _convert(folder.resolve(), chosen, made, size)
        yield made, _digest(files)


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        feed(digest, path)
    return digest.hexdigest()


def _convert(folder: Path, chosen: str, made: Path, size: int) -> None:
    seconds = _SECONDS + _SECONDS_PER_MB * (size >> 20)
    options = {"saved-model": str(folder), "signature_def": chosen, "output": str(made)}
    arguments = [text for name, value in options.items() for text in ("--" + name, value)]
    given = json.dumps({"arguments": arguments, "seconds": seconds, "memory": _MEMORY + _TIMES * size})
    try:
        ended = subprocess.run(
            command(_CHILD, ("lstm_rt_tools", "lstm_rt", *_PACKAGES), given),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=made.parent,
            env={**os.environ, **_ENVIRONMENT},
            timeout=_CLOCK * seconds,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired as e:
        raise ConvertError(f"{folder.name}: TensorFlow takes more than {_CLOCK * seconds} seconds to read it") from e
    except OSError as e:
        raise ConvertError(f"reading a SavedModel needs a process of its own, which does not start: {e}") from e
    if ended.returncode or not made.is_file():
        raise ConvertError(f"{folder.name}: {_why(ended.returncode, ended.stderr, seconds)}")


def _why(status: int, said: bytes, seconds: int) -> str:
    if sys.platform != "win32" and status == -signal.SIGXCPU:
        return f"TensorFlow takes more than {seconds} seconds of processor time to read it"
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return f"tf2onnx cannot make ONNX of it: {shown(lines[-1], 300) if lines else f'it ended with status {status}'}"
