"""SavedModels that are a graph of TensorFlow's alone: what is let through, and how another process makes ONNX of it."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.tensor_bundles import field
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.readers import find, read
from lstm_rt_tools.row import Options
from lstm_rt_tools.tensorflow_reader import reader
from lstm_rt_tools.tensorflow_reader.graphs import signature
from lstm_rt_tools.weights.budget import Budget

import lstm_rt
from lstm_rt.errors import ConvertError

DATA = Path(__file__).parents[2] / "data" / "tensorflow"


def saved(tmp_path: Path) -> Path:
    with zipfile.ZipFile(DATA / "tagger.saved.zip") as archive:
        archive.extractall(tmp_path / "tagger")
    return tmp_path / "tagger"


def check(path: Path) -> None:
    """A converted model against the numbers that Keras gave."""
    stored, model = np.load(DATA / "tagger.npz"), lstm_rt.load(path)
    assert [v.name for v in model.inputs] == ["x"]
    assert [v.name for v in model.outputs] == ["output_0"]
    for batch in (1, 5):
        np.testing.assert_allclose(model(stored[f"x{batch}"]), stored[f"y{batch}"], rtol=1e-5, atol=1e-6)


@pytest.fixture
def tf2onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for tf2onnx and TensorFlow; returns the module that is run."""
    for name in ("tensorflow", "tf2onnx"):
        (tmp_path / "packages" / name).mkdir(parents=True)
        (tmp_path / "packages" / name / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    return tmp_path / "packages" / "tf2onnx" / "convert.py"


COPIES = f"""
import pathlib, sys
assert sys.argv[1::2] == ["--saved-model", "--signature_def", "--output"], sys.argv
assert pathlib.Path(sys.argv[2], "saved_model.pb").is_file() and sys.argv[4] == "serving_default"
print("on standard output")
pathlib.Path(sys.argv[6]).write_bytes(pathlib.Path({str(DATA / "tagger.onnx")!r}).read_bytes())
"""


def test_another_process_makes_onnx(tf2onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tf2onnx.write_text(COPIES)
    folder, out = saved(tmp_path), tmp_path / "m.lrt"
    assert main(["convert", str(folder), "-o", str(out)]) == 0
    assert "found: TensorFlow: lstm" in capsys.readouterr().out
    check(out)
    source = lstm_rt.format.load_graph(out).meta["source"]
    assert (source["framework"], source["file"]) == ("tensorflow", "tagger")
    assert find(folder / "saved_model.pb").name == "TensorFlow"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "raise ValueError('no such \\x1b[1m op')",
            r"tagger: tf2onnx cannot make ONNX of it: .*ValueError: no such \\x1b",
        ),
        ("import os; os._exit(3)", "tagger: tf2onnx cannot make ONNX of it: it ended with status 3"),
        ("", "it ended with status 0"),
        ("import sys; open(sys.argv[6], 'wb').write(b'no ONNX')", r"tagger\.onnx: .*"),
    ],
)
def test_what_fails_there(code: str, message: str, tf2onnx: Path, tmp_path: Path) -> None:
    tf2onnx.write_text(code)
    with pytest.raises(ConvertError, match=message):
        read(saved(tmp_path), Options())


def test_it_has_limits(tf2onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tf2onnx.write_text("import time\nwhile True: time.sleep(9)")
    monkeypatch.setattr(reader, "_SECONDS", 1)
    with pytest.raises(ConvertError, match="tagger: TensorFlow takes more than 5 seconds to read it"):
        read(saved(tmp_path), Options())


def test_without_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PACKAGES", ("no_such_tensorflow", "no_such_tf2onnx"))
    with pytest.raises(ConvertError, match=r"pip install no_such_tensorflow no_such_tf2onnx; or .*model\.save"):
        read(saved(tmp_path), Options())
    monkeypatch.setattr(reader, "_PACKAGES", ())
    monkeypatch.setattr(reader, "can_start", lambda: False)
    with pytest.raises(ConvertError, match="none can be started here"):
        read(saved(tmp_path), Options())


@pytest.mark.parametrize("name", ["", "m.keras", "saved_model.pb"])
def test_what_is_no_saved_model(name: str, tmp_path: Path) -> None:
    if name == "m.keras":
        (tmp_path / name).write_bytes(b"x")
        (tmp_path / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ConvertError, match="is no SavedModel; expected a folder with saved_model"):
        reader.read(tmp_path / name, Options())


def test_with_tensorflow(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("tf2onnx")
    assert main(["convert", str(saved(tmp_path)), "-o", str(tmp_path / "m.lrt")]) == 0
    check(tmp_path / "m.lrt")


# -- what is let through ----------------------------------------------------------------------------


def node(name: str, op: str, *inputs: str, calls: str = "", listed: bool = False) -> bytes:
    function = field(1, calls.encode())
    value = field(1, field(9, function)) if listed else field(10, function)
    attribute = field(5, field(1, b"f") + field(2, value)) if calls else b""
    return field(1, name.encode()) + field(2, op.encode()) + b"".join(field(3, i.encode()) for i in inputs) + attribute


def function(name: str, *nodes: bytes) -> bytes:
    return field(1, field(1, name.encode())) + b"".join(field(3, n) for n in nodes)


NODES = (node("x", "Placeholder"), node("y", "PartitionedCall", "x", calls="f"), node("saver", "SaveV2", "y", "x"))
FUNCTIONS = (function("f", node("a", "Tanh", "x")), function("unused", node("w", "WriteFile", "x")))


def meta(
    nodes: tuple[bytes, ...] = NODES,
    functions: tuple[bytes, ...] = FUNCTIONS,
    names: tuple[str, ...] = ("serving_default", "__saved_model_init_op"),
    object_: bytes | None = b"",
) -> bytes:
    graph = b"".join(field(1, n) for n in nodes) + field(2, b"".join(field(1, f) for f in functions))
    ports = field(2, field(1, b"y") + field(2, field(1, b"y:0")))
    signatures = b"".join(field(5, field(1, n.encode()) + field(2, ports)) for n in names)
    objects = b"" if object_ is None else field(7, field(1, object_))
    return field(2, field(2, graph) + signatures + objects)


def look(tmp_path: Path, data: bytes) -> str:
    (tmp_path / "saved_model.pb").write_bytes(data)
    return signature(tmp_path, Budget(len(data), "m"))


def test_what_a_signature_does_not_reach_is_left_alone(tmp_path: Path) -> None:
    assert look(tmp_path, meta()) == "serving_default"
    assert look(tmp_path, meta(names=("mine",))) == "mine"


WRITES = function("f", node("a", "WriteFile", "x"))
CALLED_IN_A_LIST = function("f", node("a", "Case", "x", calls="unused", listed=True))
TWO_CALLS = (function("f", node("a", "If", "x", calls="g")), function("g", node("b", "EagerPyFunc")))
BEHIND = (node("x", "ReadFile"), node("y", "Tanh", "^x"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (meta(functions=(WRITES,)), "operation WriteFile is not supported"),
        (meta(functions=TWO_CALLS), "operation EagerPyFunc"),
        (meta(functions=(CALLED_IN_A_LIST, FUNCTIONS[1])), "operation Case"),
        (meta(functions=(function("f", node("a", "If", "x", calls="unused", listed=True)), FUNCTIONS[1])), "WriteFile"),
        (meta(nodes=BEHIND), "operation ReadFile"),
        (meta(object_=field(5, b"")), "a file beside it, and loading it runs code"),
        (meta(object_=field(10, b"")), "a table, and loading it runs code"),
        (meta(object_=field(11, b"")), "a saver of its own, and loading it runs code"),
        (meta(object_=field(16, b"mine")), "a saver of its own, and loading it runs code"),
        (meta(object_=None), "SavedModel of TensorFlow 1"),
        (meta() + meta(), "a SavedModel of 2 graphs"),
        (b"", "a SavedModel of 0 graphs"),
        (meta(names=()), "has 0 signatures"),
        (meta(names=("a", "b")), r"has 2 signatures \(a, b\), expected one"),
        (meta()[:-3], "damaged"),
    ],
)  # fmt: skip
def test_what_is_not_let_through(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=message):
        look(tmp_path, data)


def test_damage(tmp_path: Path) -> None:
    """An error of the reader, or none."""
    data = (saved(tmp_path) / "saved_model.pb").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), 6):
            broken[at] = int(rng.integers(0, 256))
        with contextlib.suppress(ConvertError):
            look(tmp_path, bytes(broken))
