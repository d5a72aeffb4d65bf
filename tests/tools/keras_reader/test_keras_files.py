"""Keras files that need no Keras to be read: fixtures of Keras 2, and real models."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import DATA
from helpers.programs import python
from lstm_rt_tools import from_keras
from lstm_rt_tools.judges import reference

from lstm_rt.errors import ConvertError

pytest.importorskip("h5py")

#: Made by make_keras2_fixtures.py.
KERAS2_FILES = DATA / "keras2"
KERAS2 = sorted(p.name.removesuffix(".h5.gz") for p in KERAS2_FILES.glob("*.h5.gz"))


def unpack(name: str, folder: Path) -> Path:
    path = folder / f"{name}.h5"
    path.write_bytes(gzip.decompress((KERAS2_FILES / f"{name}.h5.gz").read_bytes()))
    return path


@pytest.mark.parametrize("name", KERAS2)
def test_keras2_file(name: str, tmp_path: Path) -> None:
    graph = from_keras(unpack(name, tmp_path))
    assert graph.meta["source"]["version"].startswith("2.")
    with np.load(KERAS2_FILES / f"{name}.npz") as data:
        expected = [data[f"y{i}"] for i in range(len(data.files) - 1)]
        actual = reference.run(graph, [data["x"]])
    assert [a.shape for a in actual] == [e.shape for e in expected]
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=0, atol=1e-5)


def test_stateful_is_noted(tmp_path: Path) -> None:
    (note,) = from_keras(unpack("stateful", tmp_path)).meta["notes"]
    assert "'lstm'" in note
    assert "stateful" in note


def test_import_needs_no_framework() -> None:
    heavy = ("h5py", "keras", "tensorflow", "torch")
    code = f"import sys, lstm_rt_tools.keras_reader.from_keras; print([n for n in {heavy} if n in sys.modules])"
    done = python("-c", code, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("file", ["model.keras", "model_tfkeras.h5"])
def test_unicode_thai_segmenter(file: str) -> None:
    folder = os.environ.get("LSTM_RT_MODELS")
    if not folder:
        pytest.skip("LSTM_RT_MODELS is not set: the folder of real models")
    case = Path(folder) / "unicode_thai_segmenter_bilstm"
    if not case.is_dir():
        pytest.skip(f"LSTM_RT_MODELS has no {case.name}")
    tolerance = json.loads((case / "case.json").read_text())["tolerance"]
    graph = from_keras(case / file)
    assert graph.parameters() == 17868
    with np.load(case / "io.npz") as data:
        tags = {key.split("__")[0] for key in data.files}
        for tag in tags:
            (y,) = reference.run(graph, [data[f"{tag}__in__ids"]])
            np.testing.assert_allclose(y, data[f"{tag}__out__probs"], **tolerance)


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
