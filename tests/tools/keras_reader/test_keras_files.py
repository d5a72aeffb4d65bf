"""Keras files that need no Keras to be read: fixtures of Keras 2, and real models."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import keras_files
from helpers.programs import python
from helpers.stored import KERAS2, check_keras2, published, unpack
from lstm_rt_tools import from_keras
from lstm_rt_tools.keras_reader.layers.cells import snake_case
from lstm_rt_tools.keras_reader.layers.table import LAYERS

from lstm_rt.errors import ConvertError

pytest.importorskip("h5py")

@pytest.mark.parametrize("name", sorted(p.name.removesuffix(".h5.gz") for p in KERAS2.glob("*.h5.gz")))
def test_keras2_file(name: str, tmp_path: Path) -> None:
    graph = from_keras(unpack(KERAS2 / f"{name}.h5.gz", tmp_path))
    assert graph.meta["source"]["version"].startswith("2.")
    check_keras2(graph, name)


def test_stateful_is_noted(tmp_path: Path) -> None:
    (note,) = from_keras(unpack(KERAS2 / "stateful.h5.gz", tmp_path)).meta["notes"]
    assert "'lstm'" in note
    assert "stateful" in note


def test_groups_have_the_names_that_keras_gives_them() -> None:
    pytest.importorskip("keras")
    naming = importlib.import_module("keras.src.utils.naming")
    for name in (*LAYERS, "LSTMCell", "GRUCell", "Functional", "Sequential", "InputLayer"):
        assert snake_case(name) == naming.to_snake_case(name)


def test_depthwise_layers_of_keras_2_have_one_group(tmp_path: Path) -> None:
    """Which is all that they can have."""
    models = pytest.importorskip("helpers.keras_models")
    layers = [models.L.DepthwiseConv1D(2, name="d"), models.L.SeparableConv1D(3, 2, name="s")]
    path = keras_files.save(models.seq(*layers), tmp_path, "m.h5")
    keras_files.edit_h5_config(path, lambda c: [e["config"].update(groups=1) for e in c["config"]["layers"][1:]])
    assert from_keras(path).parameters() > 0
    keras_files.edit_h5_config(path, lambda config: config["config"]["layers"][1]["config"].update(groups=2))
    keras_files.refuse(path, "'d'", "groups=2")


def test_import_needs_no_framework() -> None:
    heavy = ("h5py", "keras", "tensorflow", "torch")
    code = f"import sys, lstm_rt_tools.keras_reader.from_keras; print([n for n in {heavy} if n in sys.modules])"
    done = python("-c", code, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("file", ["model.keras", "model_tfkeras.h5"])
def test_unicode_thai_segmenter(file: str) -> None:
    case = published("unicode_thai_segmenter_bilstm")
    graph = from_keras(case.folder / file)
    assert graph.parameters() == 17868
    case.check(graph)


# -- HDF5 as others write it -------------------------------------------------------------------------


def dense_file(path: Path, names: Any, **how: Any) -> np.ndarray:
    """A Keras 2 file of one Dense layer, its weight stored in the way that ``how`` says."""
    import h5py

    config = {
        "class_name": "Sequential",
        "config": {
            "name": "m",
            "layers": [
                {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, 64]}},
                {"class_name": "Dense", "config": {"name": "d", "units": 32, "activation": None, "use_bias": False}},
            ],
        },
    }
    kernel = np.random.default_rng(0).standard_normal((64, 32)).astype("f4")
    with h5py.File(path, "w") as f:
        f.attrs["model_config"], f.attrs["keras_version"] = json.dumps(config), "2.15.0"
        group = f.create_group("model_weights")
        group.attrs["layer_names"] = names(["x", "d"])
        group.create_group("x").attrs["weight_names"] = names([])
        layer = group.create_group("d")
        layer.attrs["weight_names"] = names(["d/kernel:0"])
        layer.create_dataset("d/kernel:0", data=kernel, **how)
    return kernel


def fixed(names: list[str]) -> Any:
    return np.array([n.encode() for n in names])


def variable(names: list[str]) -> Any:
    import h5py

    return np.array(names, dtype=h5py.string_dtype())


@pytest.mark.parametrize("names", [fixed, variable])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"chunks": (10, 7)},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (10, 7)},
        {"fletcher32": True, "chunks": (64, 32), "maxshape": (None, None)},
    ],
)
def test_weights_stored_in_other_ways(tmp_path: Path, names: Any, how: dict[str, Any]) -> None:
    kernel = dense_file(tmp_path / "m.h5", names, **how)
    (node,) = from_keras(tmp_path / "m.h5").nodes
    np.testing.assert_array_equal(node.weights["weight"], kernel.T)


def test_other_compression_is_refused_by_name(tmp_path: Path) -> None:
    dense_file(tmp_path / "m.h5", fixed, compression="lzf")
    with pytest.raises(ConvertError, match=r"d/kernel:0 is compressed by HDF5 filters \[32000\], only gzip"):
        from_keras(tmp_path / "m.h5")
