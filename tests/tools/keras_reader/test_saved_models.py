"""SavedModel folders, as Keras 2 wrote them (tests/make_keras2_fixtures.py): read without TensorFlow."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.keras_files import refuse
from helpers.stored import KERAS2, check_keras2
from helpers.tensor_bundles import field, write
from lstm_rt_tools import from_keras
from lstm_rt_tools.cli.parser import main

import lstm_rt.format
from lstm_rt.errors import ConvertError

NAMES = sorted(p.name.removesuffix(".saved.zip") for p in KERAS2.glob("*.saved.zip"))


def saved(name: str, folder: Path) -> Path:
    with zipfile.ZipFile(KERAS2 / f"{name}.saved.zip") as archive:
        archive.extractall(folder / name)
    return folder / name


@pytest.mark.parametrize("name", NAMES)
def test_saved_model(name: str, tmp_path: Path) -> None:
    graph = from_keras(saved(name, tmp_path))
    assert graph.meta["source"]["version"].startswith("2.")
    assert graph.meta["source"]["file"] == name
    check_keras2(graph, name)


def test_both_layouts_are_there(tmp_path: Path) -> None:
    """What Keras says of objects is in a file of its own since Keras 2.5."""
    beside = {name: (saved(name, tmp_path) / "keras_metadata.pb").is_file() for name in NAMES}
    assert set(beside.values()) == {True, False}


@pytest.mark.parametrize("given", ["folder", "file", "archive"])
def test_the_command_line_takes_it(given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = saved("bi_concat", tmp_path), tmp_path / "m.lrt"
    source = {"folder": folder, "file": folder / "saved_model.pb", "archive": KERAS2 / "bi_concat.saved.zip"}[given]
    assert main(["convert", str(source), "-o", str(out)]) == 0
    assert "found: Keras: lstm" in capsys.readouterr().out
    graph = lstm_rt.format.load_graph(out)
    check_keras2(graph, "bi_concat")
    assert graph.meta["source"]["file"] == ("bi_concat.saved" if given == "archive" else "bi_concat")
    assert main(["info", str(source)]) == 0
    assert "lstm" in capsys.readouterr().out


def changed(change: Callable[[Path], object], tmp_path: Path) -> Path:
    folder = saved("bi_concat", tmp_path)
    change(folder)
    return folder


def test_a_graph_of_tensorflows_alone(tmp_path: Path) -> None:
    folder = changed(lambda f: (f / "keras_metadata.pb").unlink(), tmp_path)
    refuse(folder, "without a model of Keras 2", "model.save('model.keras')", "python -m tf2onnx.convert")
    (folder / "saved_model.pb").write_bytes(b"")
    refuse(folder, "without a model of Keras 2")


def metadata(kind: str, text: str) -> Callable[[Path], object]:
    described = field(4, kind.encode()) + field(5, text.encode())
    return lambda f: (f / "keras_metadata.pb").write_bytes(field(1, described))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (metadata("_tf_keras_layer", "{}"), "without a model of Keras 2"),
        (metadata("_tf_keras_model", "[]"), "expected a JSON object"),
        (metadata("_tf_keras_model", "{"), "JSON"),
        (metadata("_tf_keras_model", "{}"), "no class_name"),
        (metadata("_tf_keras_model", '{"class_name": "Mine", "is_graph_network": false}'), "the user's own class Mine"),
        (metadata("_tf_keras_model", '{"class_name": "Mine", "keras_version": "2.9.0", "config": {}}'), "Mine"),
        (metadata("_tf_keras_model", '{"class_name": "Functional", "config": {}}'), "keras_version is missing"),
        (metadata("_tf_keras_model", '{"class_name": "Functional", "keras_version": "2.9.0"}'), "expected an object"),
        (lambda f: write(f / "variables", {}), "there is no tensor _CHECKPOINTABLE_OBJECT_GRAPH"),
        (lambda f: (f / "keras_metadata.pb").write_bytes(b"\x0a\xff"), "damaged"),
    ],
)
def test_what_cannot_be_read(change: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    refuse(changed(change, tmp_path), message)


def test_layers_without_numbers(tmp_path: Path) -> None:
    """The checkpoint of another model."""
    other = saved("stateful", tmp_path)
    folder = changed(lambda f: [p.unlink() for p in (f / "variables").iterdir()], tmp_path)
    for file in (other / "variables").iterdir():
        (folder / "variables" / file.name).write_bytes(file.read_bytes())
    refuse(folder, "the checkpoint has no numbers of")


def test_missing_files(tmp_path: Path) -> None:
    for file in ("variables/variables.index", "variables/variables.data-00000-of-00001"):
        folder = saved("bi_concat", tmp_path)
        (folder / file).unlink()
        with pytest.raises(FileNotFoundError, match=Path(file).name):
            from_keras(folder)


@pytest.mark.parametrize("file", ["saved_model.pb", "keras_metadata.pb", "variables/variables.index",
                                  "variables/variables.data-00000-of-00001"])  # fmt: skip
def test_damage(file: str, tmp_path: Path) -> None:
    """One error or, where nothing reads what is damaged, the same numbers."""
    folder = saved("bi_concat", tmp_path)
    data = (folder / file).read_bytes()
    rng = np.random.default_rng(len(data))
    versions = [data[: len(data) * i // 8] for i in range(8)]
    for _ in range(40):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), 4):
            broken[at] = int(rng.integers(0, 256))
        versions.append(bytes(broken))
    for version in versions:
        (folder / file).write_bytes(version)
        with contextlib.suppress(ConvertError):
            graph = from_keras(folder)
            if file.startswith("variables"):
                check_keras2(graph, "bi_concat")
