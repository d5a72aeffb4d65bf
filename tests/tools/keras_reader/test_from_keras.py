"""The Keras reader against living Keras models, on any backend.

Each model is converted alive, from .keras and from .h5; the three graphs must be the same, and the
reference interpreter must give the numbers that Keras gives.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import names
from helpers.keras_files import edit_config, edit_weights, h5py, layer, save
from helpers.keras_models import CASES, KINDS, F, L, assert_same, check, keras, randomise, seq
from lstm_rt_tools import from_keras


@pytest.mark.parametrize("case", CASES)
def test_against_keras(case: str, tmp_path: Path) -> None:
    model = CASES[case]()
    randomise(model, np.random.default_rng(7))
    graph = from_keras(model)
    model.save(tmp_path / "model.keras")
    model.save(tmp_path / "model.h5")
    assert_same(graph, from_keras(tmp_path / "model.keras"))
    assert_same(graph, from_keras(str(tmp_path / "model.h5")))
    sizes = [(5, 17)] if case == "fixed-batch" else [(5, 17), (1, 17), (1, 1), (5, 1)]
    for n, t in sizes:
        check(model, graph, n, t)


LONG = [f"bi-{kind}-{mode}" for kind in KINDS for mode in ("concat-True", "sum-False")]


@pytest.mark.parametrize("case", [*LONG, "stacked-lstm", "rnn-stacked", "initial-state", "explicit-mask"])
def test_long_sequences(case: str) -> None:
    model = CASES[case]()
    randomise(model, np.random.default_rng(8))
    graph = from_keras(model)
    for n in (1, 5):
        check(model, graph, n, 200)


# -- names and facts -------------------------------------------------------------------------------


def test_names_and_meta(tmp_path: Path) -> None:
    graph = from_keras(CASES["merges"]())
    assert names(graph) == (["left", "right"], ["y", "z", "w"])
    graph = from_keras(CASES["return-state"]())
    assert names(graph)[1] == [
        "enc",
        "enc_output_1",
        "enc_output_2",
        "last",
        "last_output_1",
        "last_output_2",
    ]
    assert names(from_keras(CASES["two-encoders"]())) == (["a", "ids"], ["answer"])
    path = save(seq(L.LSTM(3, name="only")), tmp_path)
    graph = from_keras(path)
    assert names(graph) == (["x"], ["only"])
    source = graph.meta["source"]
    assert (source["framework"], source["version"], source["file"]) == ("keras", keras.__version__, path.name)
    assert source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_float_types_are_noted(tmp_path: Path) -> None:
    def change(config: Any) -> None:
        layer(config, "LSTM")["dtype"]["config"]["name"] = "mixed_float16"

    path = edit_config(save(seq(L.LSTM(3)), tmp_path), change)
    (note,) = from_keras(path).meta["notes"]
    assert "LSTM" in note
    assert "mixed_float16" in note


def test_bidirectional_is_one_node() -> None:
    (node,) = from_keras(seq(L.Bidirectional(L.LSTM(3, return_sequences=True)))).nodes
    assert (node.op, node.attrs["direction"]) == ("lstm", "bidirectional")


def test_optimizer_and_foreign_groups_do_not_matter(tmp_path: Path) -> None:
    model = seq(L.LSTM(3), L.Dense(1))
    model.compile("adam", "mse")
    model.fit(np.zeros((2, 3, F), np.float32), np.zeros((2, 1), np.float32), verbose=0)
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as h5:
        h5["notes/of/somebody"] = np.zeros(3)
    assert_same(from_keras(tmp_path / "m.keras"), from_keras(tmp_path / "m.h5"))


@pytest.mark.parametrize(
    "case", ["bi-two-kinds", "rnn-stacked", "stacked-lstm", "norm-options", "masked-merges"]
)
def test_archives_of_older_keras(case: str, tmp_path: Path) -> None:
    """Before 3.6 the groups did not keep the names of their layers, and once they were called otherwise."""
    path = save(CASES[case](), tmp_path)
    expected = from_keras(path)

    def forget(h5: Any) -> None:
        h5.visititems(lambda name, item: item.attrs.pop("name", None) and None)
        h5.move("layers", "_layer_checkpoint_dependencies")

    assert_same(expected, from_keras(edit_weights(path, forget)))


def test_weight_names_in_chunks(tmp_path: Path) -> None:
    """Keras splits long lists of names into several attributes."""
    path = save(seq(L.LSTM(3)), tmp_path, "m.h5")
    expected = from_keras(path)
    with h5py.File(path, "a") as h5:
        (attrs,) = (g.attrs for g in h5["model_weights"].values() if len(g.attrs["weight_names"]))
        listed = attrs["weight_names"]
        del attrs["weight_names"]
        attrs["weight_names0"], attrs["weight_names1"] = listed[:2], listed[2:]
    assert_same(expected, from_keras(path))
