"""Architecture as JSON and weights in a file of their own; and files that hold one of the two."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import keras_files
from helpers.command_line import fails, json_of
from helpers.stored import case, unpack
from lstm_rt_tools import from_keras
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.judges import reference

h5py = pytest.importorskip("h5py")

CASE = case("keras_json_and_weights_pair")
PAIRS = {"k2": ("model_k2.json", "model_k2.h5"), "k3": ("model_k3.json", "model_k3.weights.h5")}


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, Path]:
    """The name of the pair, its JSON file and its weights."""
    return unpacked(request.param, tmp_path)


def unpacked(name: str, folder: Path) -> tuple[str, Path, Path]:
    arch, weights = PAIRS[name]
    shutil.copy(CASE.folder / arch, folder)
    return name, folder / arch, unpack(CASE.folder / f"{weights}.gz", folder)


def refuse(source: Any, arch: Any, *words: str) -> None:
    assert "\n" not in keras_files.refuse(source, *words, arch=arch)


def test_numbers(pair: tuple[str, Path, Path]) -> None:
    name, arch, weights = pair
    graph = from_keras(weights, arch)
    CASE.check(graph, name)
    source = graph.meta["source"]
    assert (source["file"], source["arch"]) == (weights.name, arch.name)
    assert source["version"].split(".")[0] == name[1]


def test_text_and_dictionary(pair: tuple[str, Path, Path]) -> None:
    name, arch, weights = pair
    text = arch.read_text()
    CASE.check(from_keras(weights, text), name)
    arch.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())  # as editors on Windows save it
    CASE.check(from_keras(weights, arch), name)
    CASE.check(from_keras(str(weights), arch=json.loads(text)), name)


def stored(data: Path) -> dict[str, tuple[list[int], str]]:
    """What h5py finds in a file."""
    found: dict[str, tuple[list[int], str]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = (list(item.shape), item.dtype.name)

    with h5py.File(data, "r") as file:
        file.visititems(visit)
    return found


def test_info_lists_weights_and_what_is_missing(
    pair: tuple[str, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, arch, weights = pair
    facts = json_of(capsys, "info", weights, "--json")
    assert {w["name"]: (w["shape"], w["dtype"]) for w in facts["weights"]} == stored(weights)
    assert "holds weights but no architecture" in facts["problem"]
    assert json_of(capsys, "info", weights, "--arch", arch, "--json")["nodes"]
    with h5py.File(weights, "a") as file:
        file["optimizer/vars/0"] = [1.0]
        file["note"] = "text"
    assert "holds weights but no architecture" in fails(capsys, "info", weights)  # what is no number is not listed
    with h5py.File(weights, "a") as file:
        del file["note"]
    assert json_of(capsys, "info", weights, "--json")["weights"] == facts["weights"]
    assert "is JSON: an architecture at most" in fails(capsys, "info", arch)


def test_command_line(pair: tuple[str, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, arch, weights = pair
    out = weights.with_name("m.lrt")
    assert main(["convert", str(weights), "--arch", str(arch), "-o", str(out)]) == 0
    assert out.is_file()
    assert main(["convert", str(weights), "-o", str(out)]) == 2
    assert f"lstm-rt convert {weights.name} --arch model.json" in capsys.readouterr().err


def test_verify_against_the_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("keras")
    _, arch, weights = unpacked("k3", tmp_path)
    out = tmp_path / "m.lrt"
    options = [str(weights), "--arch", str(arch)]
    assert main(["convert", *options, "-o", str(out)]) == 0
    assert main(["verify", str(out), "--against", *options]) == 0
    assert "run live by Keras" in capsys.readouterr().out


def test_one_of_the_two(pair: tuple[str, Path, Path]) -> None:
    _, arch, weights = pair
    refuse(weights, None, "no architecture", f"lstm-rt convert {weights.name} --arch", "model.save")
    refuse(arch, None, "no weights", f"lstm-rt convert {weights.name} --arch {arch.name}")  # which lies beside it
    with pytest.raises(FileNotFoundError):
        from_keras(weights, arch.with_name("none.json"))
    weights.unlink()
    refuse(arch, None, "no weights", f"--arch {arch.name}")
    with pytest.raises(FileNotFoundError):
        from_keras(weights, arch)


def test_the_wrong_way_round(pair: tuple[str, Path, Path]) -> None:
    _, arch, weights = pair
    refuse(weights, weights, weights.name, "not the architecture")
    refuse(arch, arch, arch.name, "no Keras weights")


def test_not_an_architecture(pair: tuple[str, Path, Path]) -> None:
    name, arch, weights = pair
    arch.write_text("[model]\n")  # an arch file for PyTorch
    refuse(weights, arch, arch.name, "to_json()")
    arch.write_text('{"model_data": {}}')
    refuse(weights, arch, arch.name, "class_name and config")
    arch.write_text('{"class_name": "Sequential"')
    refuse(weights, arch, arch.name, "not valid JSON")
    config = {"class_name": "Sequential", "config": {"layers": []}, "keras_version": f"{name[1]}.9"}
    refuse(weights, config, "layers" if name == "k3" else "does not know")


def test_whole_models_need_no_architecture(tmp_path: Path) -> None:
    _, arch, _ = unpacked("k2", tmp_path)
    whole = unpack(case("keras2_nested_models").folder / "siamese_k2.h5.gz", tmp_path)
    refuse(whole, arch, "siamese_k2.h5", "architecture of its own")


def test_weights_of_another_model(tmp_path: Path) -> None:
    _, arch2, weights2 = unpacked("k2", tmp_path)
    config = json.loads(arch2.read_text())
    config["config"]["layers"][-1]["config"]["name"] = "other"
    refuse(weights2, config, "'dense_16'", "'other'", "save both from one model")
    config["config"]["layers"][-1]["config"]["name"] = "dense_16"
    refuse(weights2, {**config, "keras_version": "3.1.0"}, "3.1.0", "2.21.0")
    del config["keras_version"]
    CASE.check(from_keras(weights2, config), "k2")  # the weights tell the version


def test_archives_know_layers_by_their_order(tmp_path: Path) -> None:
    """As in Keras: a model made again has other names, and takes the weights all the same."""
    _, arch, weights = unpacked("k3", tmp_path)
    text = arch.read_text().replace("bidirectional_1", "bidirectional_7").replace("dense_13", "dense_2")
    CASE.check(from_keras(weights, text), "k3")


def test_neither_architecture_nor_weights(tmp_path: Path) -> None:
    _, arch, _ = unpacked("k3", tmp_path)
    with h5py.File(tmp_path / "other.h5", "w") as h5:
        h5["x"] = np.zeros(3)
    refuse(tmp_path / "other.h5", arch, "other.h5", "no Keras weights")


def test_live(tmp_path: Path) -> None:
    """What to_json() and save_weights() of the Keras installed give."""
    keras = pytest.importorskip("keras")
    x = keras.layers.Input((None, 3), name="x")
    inner = keras.Sequential([keras.layers.Input((None, 3)), keras.layers.GRU(4, return_sequences=True)], name="inner")
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.SpatialDropout1D(0.1)(inner(x))))
    model.save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "m.json").write_text(model.to_json())
    expected, actual = from_keras(model), from_keras(tmp_path / "m.weights.h5", tmp_path / "m.json")
    assert expected.selftest is not None
    (y,) = reference.run(actual, expected.selftest.inputs)
    np.testing.assert_allclose(y, expected.selftest.outputs[0], rtol=0, atol=1e-5)


def test_unknown_minor_version_is_noted_where_it_matters(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    x = keras.layers.Input((None, 3), name="x")
    masked = keras.layers.Masking()(x)
    model = keras.Model(x, keras.layers.LSTM(2)(keras.layers.Multiply(name="product")([masked, masked])))
    model.save_weights(tmp_path / "m.weights.h5")
    graph = from_keras(tmp_path / "m.weights.h5", model.to_json())
    (note,) = graph.meta["notes"]
    assert "'product'" in note
    expected = from_keras(model)
    assert expected.selftest is not None
    (y,) = reference.run(graph, expected.selftest.inputs)
    np.testing.assert_allclose(y, expected.selftest.outputs[0], rtol=0, atol=1e-5)


def test_a_large_architecture_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(b'{"class_name"')
    os.truncate(tmp_path / "m.json", 1 << 34)
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(OSError, match="an architecture file is small"):
        from_keras(tmp_path / "m.h5", tmp_path / "m.json")
