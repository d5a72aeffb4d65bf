"""Keras files that are damaged, or whose weights do not fit: one error, never a foreign exception."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.keras_files import edit_config, edit_weights, h5py, refuse, rewrite, save
from helpers.keras_models import CASES, F, L, cells, ids, masked, seq
from lstm_rt_tools import from_keras

from lstm_rt.errors import ConvertError


def test_not_keras_files(tmp_path: Path) -> None:
    (tmp_path / "a.keras").write_bytes(b"hello, world")
    refuse(tmp_path / "a.keras", "a.keras", "expected a .keras archive")
    (tmp_path / "empty.h5").write_bytes(b"")
    refuse(tmp_path / "empty.h5", "expected a .keras archive")
    refuse(tmp_path, "folder without saved_model.pb", "SavedModel")
    refuse(3.5, "float", "expected a path")
    with pytest.raises(FileNotFoundError):
        from_keras(tmp_path / "none.keras")
    with h5py.File(tmp_path / "b.h5", "w") as h5:
        h5["x"] = np.zeros(3)
    refuse(tmp_path / "b.h5", "model_config")


def test_weights_without_architecture(tmp_path: Path) -> None:
    model = seq(L.LSTM(3))
    model.save_weights(tmp_path / "m.weights.h5")
    refuse(tmp_path / "m.weights.h5", "no architecture", "model.save")


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_truncated_files(name: str, tmp_path: Path) -> None:
    data = save(ids(L.LSTM(3)), tmp_path, name).read_bytes()
    for part in (9, 100, 600, len(data) // 2, len(data) - 10):
        (tmp_path / name).write_bytes(data[:part])
        refuse(tmp_path / name, name, "expected")


def test_damaged_bytes_never_give_foreign_exceptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_rt_tools.weights.hdf5_files._BASE_SECONDS", 1)  # some make HDF5 loop for ever
    rng = np.random.default_rng(3)
    for name in ("m.keras", "m.h5"):
        path = save(ids(L.Bidirectional(L.LSTM(2))), tmp_path, name)
        data = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(60):
            broken = data.copy()
            where = rng.integers(0, len(data), 20)
            broken[where] = rng.integers(0, 256, 20)
            path.write_bytes(broken.tobytes())
            with contextlib.suppress(ConvertError):
                from_keras(path)


def test_damaged_configurations_never_give_foreign_exceptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any part of the configuration may be anything."""
    monkeypatch.setattr(sys, "executable", "")  # the HDF5 file is sound; without processes it is faster
    rng = np.random.default_rng(4)
    junk = [None, -1, 0.5, "x", [], {}, [[]], ["x", 0, 0], {"class_name": "LSTM"}, True, 1 << 40]

    def spots(value: Any) -> list[tuple[Any, Any]]:
        keys = (
            list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
        )
        return [spot for k in keys for spot in [(value, k), *spots(value[k])]]

    for build in (
        CASES["merges"],
        CASES["masked-merges"],
        lambda: masked(L.Bidirectional(L.RNN(cells(L.GRUCell(2)))), L.Dense(1)),
    ):
        path = save(build(), tmp_path)
        original = path.read_bytes()
        for _ in range(150):

            def change(config: Any) -> None:
                places = spots(config)
                owner, key = places[rng.integers(len(places))]
                owner[key] = junk[rng.integers(len(junk))]

            path.write_bytes(original)
            with contextlib.suppress(ConvertError):
                from_keras(edit_config(path, change))


def test_archive_members(tmp_path: Path) -> None:
    path = save(seq(L.LSTM(3)), tmp_path)
    original = path.read_bytes()
    cases: list[tuple[dict[str, bytes | None], list[str]]] = [
        ({"config.json": None}, ["config.json"]),
        ({"model.weights.h5": None}, ["model.weights.h5"]),
        ({"model.weights.h5": b"nothing"}, ["model.weights.h5", "HDF5"]),
        ({"config.json": b"{"}, ["config.json", "JSON"]),
        ({"config.json": b"[" * 100000}, ["config.json", "JSON"]),
        ({"config.json": b"[]"}, ["expected a JSON object"]),
        ({"metadata.json": b"{}"}, ["keras_version is missing"]),
        ({"metadata.json": b'{"keras_version": "1.2.2"}'}, ["1.2.2", "expected Keras 2 or 3"]),
        ({"metadata.json": b'{"keras_version": 3}'}, ["expected a text"]),
    ]
    for changes, words in cases:
        path.write_bytes(original)
        refuse(rewrite(path, changes), *words)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = save(seq(L.LSTM(3), L.Dense(2)), tmp_path)
    original = path.read_bytes()
    lstm = "layers/lstm/cell/vars"

    def replace_kernel(value: np.ndarray) -> Callable[[Any], None]:
        def change(h5: Any) -> None:
            del h5[f"{lstm}/0"]
            h5[f"{lstm}/0"] = value

        return change

    def soft_link(h5: Any) -> None:
        del h5[f"{lstm}/0"]
        h5[f"{lstm}/0"] = h5py.SoftLink("/layers/dense/vars/0")

    def external_link(h5: Any) -> None:
        del h5["layers/lstm"]
        h5["layers/lstm"] = h5py.ExternalLink("other.h5", "/x")

    def circle(h5: Any) -> None:
        h5["layers/lstm/cell/again"] = h5["layers"]

    cases: list[tuple[Callable[[Any], Any], list[str]]] = [
        (lambda h5: h5.__delitem__(f"{lstm}/2"), ["LSTM", "2 weights", "expected 3"]),
        (lambda h5: h5.__delitem__("layers/lstm"), ["LSTM", "0 weights"]),
        (lambda h5: h5.__setitem__("layers/extra/vars/0", np.zeros(3)), ["no layer", "layers/extra/vars/0"]),
        (lambda h5: h5.__setitem__(f"{lstm}/3", np.zeros(3)), ["4 weights"]),
        (replace_kernel(np.zeros((F, 11), np.float32)), ["LSTM", "kernel", "(4, 11)", "12"]),
        (replace_kernel(np.zeros((F + 1, 12), np.float32)), ["LSTM", "w_ih", "(12, 5)"]),
        (replace_kernel(np.zeros((F, 12), np.int32)), ["LSTM", "int32", "expected floats"]),
        (soft_link, ["link"]),
        (external_link, ["link"]),
        (circle, ["nested more than 100 deep"]),
    ]
    for change, words in cases:
        path.write_bytes(original)
        refuse(edit_weights(path, change), *words)


def test_legacy_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = save(seq(L.LSTM(3, name="rec")), tmp_path, "m.h5")
    original = path.read_bytes()

    def rename(h5: Any) -> None:
        attrs = h5["model_weights/rec"].attrs
        attrs["weight_names"] = [str(n).replace("bias", "bios") for n in attrs["weight_names"]]

    def move(h5: Any) -> None:
        (old,) = (n for n in h5["model_weights/rec"].attrs["weight_names"] if str(n).endswith("bias"))
        rename(h5)
        h5["model_weights/rec"].move(old, old.replace("bias", "bios"))

    def extra(h5: Any) -> None:
        h5["model_weights/top_level_model_weights/more"] = np.zeros(2)
        h5["model_weights/top_level_model_weights"].attrs["weight_names"] = ["more"]

    cases: list[tuple[Callable[[Any], Any], list[str]]] = [
        (rename, ["bios", "missing"]),
        (move, ["rec", "'bias'", "bios"]),
        (extra, ["no layer", "more"]),
        (lambda h5: h5.__delitem__("model_weights"), ["model_weights"]),
        (lambda h5: h5["model_weights/rec"].attrs.__delitem__("weight_names"), ["weight_names"]),
        (lambda h5: h5.attrs.__setitem__("model_config", "{"), ["JSON"]),
    ]
    for change, words in cases:
        path.write_bytes(original)
        with h5py.File(path, "a") as h5:
            change(h5)
        refuse(path, *words)


def test_h5py_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(seq(L.LSTM(3)), tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    refuse(path, "pip install 'lstm-rt[convert]'")
