"""Fuzzes the readers of model files with atheris: whatever a file holds, a command ends in words.

    python tests/fuzz/readers.py KIND [FOLDER] [options of libFuzzer]
    python tests/fuzz/readers.py KIND FILE...       # these alone, once

``FOLDER`` keeps the inputs that reach something new, for another run; seeds are made, and put there first. What breaks
a command is written into the current folder. ``lstm-rt convert --dry-run`` (of ``.lrt``
files ``info`` and ``verify``) runs in this process on each input. What counts as a finding: an exception that the
command line does not expect, more than one line of error, an exit code that is none of its own, memory beyond that
of ``tests/attacks/README.md`` and as much again for fragments, a minute of processor time.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import hashlib
import io
import json
import math
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import atheris

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent), str(TESTS.parent / "tools")]
os.environ["OMP_NUM_THREADS"] = "1"

with atheris.instrument_imports(include=["lstm_rt", "lstm_rt_tools"]):
    import lstm_rt_tools.json_reader.reader
    import lstm_rt_tools.keras_reader.reader
    import lstm_rt_tools.onnx_reader.reader
    import lstm_rt_tools.torch_reader.reader  # noqa: F401 - they load when they are used, and are to be instrumented
    from lstm_rt_tools.cli import main

from attacks import keras_models, onnx_models, texts  # noqa: E402
from attacks.build import DENSE, MB, SIX, entry, npy, safetensors, torch_legacy, torch_zip, zipped  # noqa: E402
from attacks.changes import change_file  # noqa: E402
from attacks.test_fuzz import NET, TREE  # noqa: E402

SECONDS = 60
MEMORY, MEMORY_PER_BYTE = 128 * MB, 32
DATA = TESTS / "data"


@dataclass(frozen=True)
class Kind:
    """A kind of files: how one is called, seeds, and what is done with it.

    Attributes:
        file: name of the file.
        seeds: some good ones.
        arch: an architecture file that may be given.
        apart: are they read in a process of their own, as libhdf5 needs it where the bytes are not sound?
        sound: ends of names of an archive's entries that are not changed.
        wrap: what makes a file of an input.
        commands: what is run, each with the file behind it.
    """

    file: str
    seeds: Callable[[], list[bytes]]
    arch: str = ""
    apart: bool = False
    sound: tuple[str, ...] = ()
    wrap: Callable[[bytes], bytes] = bytes
    commands: tuple[tuple[str, ...], ...] = (("convert", "--dry-run"), ("info",))


# -- seeds -------------------------------------------------------------------------------------------


def stored(*patterns: str) -> list[bytes]:
    """Small files of the tests."""
    paths = sorted(path for pattern in patterns for path in DATA.glob(pattern))
    read = [gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in paths]
    return [data for data in read if len(data) < 30_000]


def onnx_seeds() -> list[bytes]:
    m = onnx_models
    reshaping = m.model(m.graph(m.RESHAPING, [m.SEQ], ["y"], m.RESHAPING_STORED))
    return [m.LSTM, reshaping, m.model(m.RELU), *node_tests()]


def node_tests() -> list[bytes]:
    """Those of the onnx package whose models are of a kind with recurrent ones, where it is installed."""
    try:
        import onnx
    except ImportError:
        return []
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "node"
    ops = (
        "lstm", "gru", "rnn", "simple_rnn", "scan", "loop", "if", "attention_3d", "conv", "reshape", "slice", "gather",
        "quantizelinear", "dynamicquantizelinear", "matmul", "einsum", "resize", "pad", "cumsum", "layer_normalization",
    )  # fmt: skip
    paths = [p for op in ops for p in sorted(folder.glob(f"test_{op}*/model.onnx"))[:4]]
    return [p.read_bytes() for p in paths]


def torch_seeds() -> list[bytes]:
    zips = [torch_zip(TREE, {"0": SIX}), torch_zip(NET, {"0": SIX}, 8)]
    legacy = [torch_legacy(TREE, {"0": (6, SIX)}), torch_legacy(NET, {"0": (6, SIX)})]
    return [*zips, *legacy, *stored("cases/*/*.pt", "cases/*/*.pth", "cases/*/*.ckpt", "cases/*/*.pth.tar")]


def keras_seeds() -> list[bytes]:
    return stored("keras2/*.keras.gz", "cases/*/*.keras")


def h5_seeds() -> list[bytes]:
    return stored("keras2/*.h5.gz", "cases/*/*.h5")


def config_seeds() -> list[bytes]:
    """Architectures of Keras, as they stand in HDF5 files."""
    out = []
    for data in h5_seeds():
        with keras_models.h5py.File(io.BytesIO(data), "r") as file:
            if "model_config" in file.attrs:
                out.append(json.dumps(json.loads(file.attrs["model_config"])).encode())
    return out


def h5_of_config(text: bytes) -> bytes:
    """A file with this architecture, and weights of the names and shapes that most of the seeds ask for."""

    def fill(group: object) -> None:
        for layer in ("lstm", "gru", "dense"):
            weights = group.create_group(layer)  # type: ignore[attr-defined]
            names = []
            for name, shape in (("kernel", (3, 12)), ("recurrent_kernel", (3, 12)), ("bias", (12,))):
                weights[f"{layer}/{name}:0"] = keras_models.np.ones(shape, "f4")
                names.append(f"{layer}/{name}:0")
            keras_models.texts(weights, "weight_names", names)

    return keras_models.h5_bytes(text, fill, ("lstm", "gru", "dense"))


def saved_model_seeds() -> list[bytes]:
    """Folders of TensorFlow's, in archives."""
    return [path.read_bytes() for path in sorted(DATA.glob("keras2/*.saved.zip"))]


def safetensors_seeds() -> list[bytes]:
    header = {"w.weight": entry((2, 3), (0, 24)), "b": entry((2,), (24, 32)), "__metadata__": {"c": "b"}}
    return [safetensors(header, SIX + bytes(8))]


def npz_seeds() -> list[bytes]:
    return [zipped({"w.weight.npy": npy(SIX, (2, 3)), "b.npy": npy(SIX[:8], (2,))})]


def state_seeds() -> list[bytes]:
    state = {"rec.weight_ih_l0": [[0.5]] * 4, "rec.weight_hh_l0": [[0.5]] * 4, "rec.bias_ih_l0": [0.0] * 4,
             "rec.bias_hh_l0": [0.0] * 4, "lin.weight": [[0.5]], "lin.bias": [0.0]}  # fmt: skip
    tree = {"w": {"weight": [[0.5, 1.0, 2.0]] * 2, "bias": [0.5, 1.5]}, "mean": [0.5, 1], "options": {"n": ["x"]}}
    return [texts.guitarml(state), json.dumps(tree).encode(), json.dumps({"w.weight": [[1, 2, 3]]}).encode()]


def whole_seeds() -> list[bytes]:
    def layer(kind: str, size: int, *weights: object, **more: object) -> dict[str, object]:
        return {"type": kind, "activation": "tanh", "shape": [None, None, size], "weights": list(weights), **more}

    def w(*shape: int) -> object:
        return [w(*shape[1:]) for _ in range(shape[0])] if shape else 0.5

    dense = layer("dense", 1, w(3, 1), w(1))
    conv = layer("conv1d", 3, w(3, 1, 3), w(3), kernel_size=[3], dilation=[2])
    trees: list[object] = [
        {"in_shape": [None, None, 1], "in_skip": 1, "layers": [layer("lstm", 3, w(1, 12), w(3, 12), w(12)), dense]},
        {"in_shape": [None, None, 1], "layers": [layer("gru", 3, w(1, 9), w(3, 9), w(2, 9)), dense]},
        {"in_shape": [None, None, 1], "layers": [conv, dense]},
    ]
    for layers in (1, 2):
        count = 16 * 5 + 16 + 8 + (layers - 1) * (16 * 8 + 16 + 8) + 5
        config = {"input_size": 1, "hidden_size": 4, "num_layers": layers}
        trees.append({"version": "0.5.4", "architecture": "LSTM", "config": config, "weights": w(count)})
    shapes = [(3, 4), (4, 8), (2, 8), (8,), (4, 8), (2, 8), (8,), (4, 4), (4,)]
    mats = {f"mat{k}": {"v": 1, "dim": s, "data": w(math.prod(s))} for k, s in enumerate(shapes, start=1)}
    trees += [{"model": "Toy", "dic": {"a": 0, "b": 1}, **mats}, {"model": "Toy", **mats}]
    return [json.dumps(tree).encode() for tree in trees]


def lrt_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted((TESTS / "fuzz" / "corpus").glob("*.lrt"))]


def archive_seeds() -> list[bytes]:
    return [zipped({"a folder/m.npz": npz_seeds()[0], "README.txt": b"Hello"}), zipped({"m.json": whole_seeds()[0]})]


KINDS = {
    "onnx": Kind("m.onnx", onnx_seeds),
    "torch": Kind("m.pt", torch_seeds, DENSE),
    "script": Kind("m.pt", lambda: stored("torch_programs/*.pt")),
    "pt2": Kind("m.pt2", lambda: stored("torch_programs/*.pt2")),
    "keras": Kind("m.keras", keras_seeds, sound=(".h5",)),
    "keras-config": Kind("m.h5", config_seeds, wrap=h5_of_config),
    "saved-model": Kind("m.zip", saved_model_seeds),
    "hdf5": Kind("m.h5", h5_seeds, apart=True),
    "safetensors": Kind("m.safetensors", safetensors_seeds, DENSE),
    "npz": Kind("m.npz", npz_seeds, DENSE),
    "state-json": Kind("m.json", state_seeds, DENSE),
    "json": Kind("m.json", whole_seeds),
    "archive": Kind("m.zip", archive_seeds, DENSE),
    "lrt": Kind("m.lrt", lrt_seeds, commands=(("info",), ("verify",))),
}


# -- one input ---------------------------------------------------------------------------------------


class Fuzzer:
    """Runs the commands of a kind on inputs, in a folder of their own."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind = kind
        self.path, self.arch = folder / kind.file, folder / "arch.toml"
        self.arch.write_text(kind.arch)
        self.runs = 0

    def one(self, data: bytes) -> None:
        """Every command on this input."""
        try:
            made = self.kind.wrap(data)
        except (ValueError, RuntimeError):  # that is no text that HDF5 could hold
            return
        self.path.write_bytes(made)
        self.runs += 1
        if self.runs % 256 == 0:  # arrays in cycles: few objects, so Python would wait, but much memory
            gc.collect()
        for command in self.kind.commands:
            arch = ["--arch", str(self.arch)] if self.kind.arch and "convert" in command else []
            self.run([*command, str(self.path), *arch], len(made))

    def run(self, command: list[str], size: int) -> None:
        out, err, start = io.StringIO(), io.StringIO(), time.process_time()
        limit = pages() * resource.getpagesize() + MEMORY_PER_BYTE * size + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                code = main(command)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        seconds, said = time.process_time() - start, err.getvalue()
        if seconds > SECONDS:
            raise AssertionError(f"{seconds:.0f} seconds")
        if code not in (0, 1, 2) or (code == 1 and command[0] == "convert"):
            raise AssertionError(f"exit code {code}")
        lines = said.splitlines()
        if len(lines) != (code == 2) or not said.removesuffix("\n").isprintable():
            raise AssertionError(f"not one line: {said!r}")
        if "(unexpected; " in said or "not enough memory" in said:
            raise AssertionError(said)


def pages() -> int:
    """Of memory that this process has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[0])


def main_fuzz() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in KINDS:
        raise SystemExit(f"{__doc__}\nKIND is one of: {', '.join(KINDS)}")
    kind, options = KINDS[sys.argv[1]], [a for a in sys.argv[2:] if a.startswith("-")]
    files = [a for a in sys.argv[2:] if Path(a).is_file()]
    folders = [a for a in sys.argv[2:] if a not in (*options, *files)]
    if not kind.apart:
        sys.executable = ""  # what HDF5 reads is sound; without processes it is faster

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        changed = change_file(bytes(data), rng, kind.sound) if rng.random() < 0.8 else atheris.Mutate(data, most)
        return bytes(changed)[:most]

    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        seeds = Path(folders[0]) if folders else Path(temporary) / "inputs"
        seeds.mkdir(parents=True, exist_ok=True)
        for data in kind.seeds():
            (seeds / hashlib.sha1(data).hexdigest()).write_bytes(data)
        fuzzer = Fuzzer(kind, Path(temporary))
        for data in kind.seeds()[:3]:
            fuzzer.one(data)
        limits = ("-max_len=65536", "-timeout=300", "-rss_limit_mb=2048")
        atheris.Setup([sys.argv[0], *limits, *options, *(files or [str(seeds)])], fuzzer.one, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main_fuzz()
