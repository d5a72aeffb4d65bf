"""What the Keras reader says about models that it cannot convert: what, where, and what to do meanwhile."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.keras_files import edit_h5_config, refuse, rewrite, save
from helpers.keras_models import F, L, keras
from helpers.stored import case, unpack
from lstm_rt_tools import from_keras
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.weights.budget import Budget

from lstm_rt.errors import ConvertError, GraphError


def of_five(make: Callable[[Any], Any]) -> Any:
    x = L.Input((5, F), name="x")
    return keras.Model(x, make(x))


def nested(*layers: Any) -> Any:
    return keras.Sequential([L.Input((5, F)), L.Dense(F), *layers], name="inner")


def volumes() -> list[Any]:
    """A layer that is not supported, and what fits it to features."""
    return [L.Reshape((5, 1, 1, 1, F)), L.ConvLSTM3D(2, 1, name="a"), L.Flatten()]


def refuse_all(model: Any, folder: Path, *words: str) -> None:
    """Alive and from both kinds of files."""
    for source in (model, save(model, folder), save(model, folder, "m.h5")):
        refuse(source, *words)


MEANWHILE = ("not supported", "meanwhile", "keras.Model(inputs, outputs)")
UNSUPPORTED: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "ConvLSTM3D": (lambda: keras.Sequential([L.Input((5, F)), *volumes(), L.Dense(2)]), MEANWHILE),
    "Discretization": (
        lambda: keras.Sequential([L.Input((5, F)), L.Discretization([0.0, 1.0], name="a"), L.LSTM(2)]),
        ("not supported", "before the model"),
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported_layers(case: str, tmp_path: Path) -> None:
    build, words = UNSUPPORTED[case]
    refuse_all(build(), tmp_path, "'a'", case, *words)


def test_where_in_nested_models(tmp_path: Path) -> None:
    model = of_five(nested(*volumes()))
    refuse_all(model, tmp_path, "layer 'a' (ConvLSTM3D) in model 'inner' (Sequential)", *MEANWHILE)
    model = of_five(L.Bidirectional(L.LSTM(2, activation="sparse_plus"), name="both"))
    refuse_all(model, tmp_path, "(LSTM) in layer 'both' (Bidirectional)", "sparse_plus")


def test_a_layer_of_keras_2_in_a_nested_model(tmp_path: Path) -> None:
    """The layer is named, not a circle of layers."""

    def change(config: Any) -> None:
        config["config"]["layers"][2]["config"]["layers"][1]["class_name"] = "LocallyConnected1D"

    path = edit_h5_config(unpack(case("keras2_nested_models").folder / "autoencoder_k2.h5.gz", tmp_path), change)
    what = r"\(LocallyConnected1D\) in model 'decoder' \(Functional\): .*not supported"
    with pytest.raises(ConvertError, match=what):
        from_keras(path)


def test_training_false_is_inference(tmp_path: Path) -> None:
    """SpatialDropout1D tells less about itself than other layers, so that it looked like a function."""

    def make(x: Any) -> Any:
        y = L.SpatialDropout1D(0.2, name="s")(x, training=False)
        return L.LSTM(2)(L.Dropout(0.3)(L.GRU(3, return_sequences=True)(y, training=False), training=False))

    model = of_five(make)
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    ops = [[n.op for n in from_keras(source).nodes] for source in (model, tmp_path / "m.keras", tmp_path / "m.h5")]
    assert ops == [["gru", "lstm"]] * 3
    refuse_all(of_five(lambda x: L.SpatialDropout1D(0.2, name="s")(x, training=True)), tmp_path, "'s'", "training=True")


def archive(folder: Path, config: str) -> Path:
    """A .keras archive of any configuration, with the weights of a small model."""
    return rewrite(save(of_five(L.Dense(2, name="dense_name")), folder), {"config.json": config.encode()})


HALF = "\\ud800"


@pytest.mark.parametrize("what", ["layer", "model", "class", "module", "input", "activation", "option"])
def test_half_characters_in_names(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = of_five(L.Dense(2, name="dense_name"))
    text = model.to_json()
    replaced = {
        "layer": text.replace("dense_name", f"d{HALF}"),
        "model": text.replace(f'"{model.name}"', f'"{HALF}"'),
        "class": text.replace('"Dense"', f'"Dense{HALF}"'),
        "module": text.replace('"keras.layers"', f'"{HALF}"'),
        "input": text.replace('"x"', f'"{HALF}"'),
        "activation": text.replace('"linear"', f'"{HALF}"'),
        "option": text.replace('"units"', f'"{HALF}"'),
    }[what]
    assert replaced != text
    path = archive(tmp_path, replaced)
    assert main(["convert", str(path), "-o", str(tmp_path / "m.lrt")]) == 2
    line = capsys.readouterr().err
    assert "unexpected" not in line
    assert "\\ud800" in line
    assert line.count("\n") == 1


def test_half_characters_in_the_names_of_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = L.Input((5, F), name="x")
    text = keras.Model(x, {"y_name": L.Dense(2)(x)}).to_json().replace("y_name", HALF)
    assert main(["convert", str(archive(tmp_path, text)), "-o", str(tmp_path / "m.lrt")]) == 2
    assert "half of a character" in capsys.readouterr().err


def test_configurations_cut_and_mixed_up_give_errors_that_name_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands where in the configuration of a nested model: a ConvertError, or a model."""
    monkeypatch.setattr(sys, "executable", "")  # the HDF5 file is sound; without processes it is faster
    model = of_five(lambda x: nested(L.LSTM(2, return_sequences=True))(x))
    weights = tmp_path / "m.weights.h5"
    model.save_weights(weights)
    rng = np.random.default_rng(0)
    junk: list[Any] = [None, [], {}, -1, 2.5, "x", True, [[]], [["inner", 0, 0]], {"class_name": "Dense", "config": {}}]
    for _ in range(400):
        config = json.loads(model.to_json())
        places = list(_containers(config))
        where, key = places[rng.integers(len(places))]
        where[key] = junk[rng.integers(len(junk))]
        with contextlib.suppress(ConvertError):
            from_keras(weights, config)


def _containers(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _containers(inner)


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*at, key)
        yield from _places(item, (*at, key))


def _changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    copied = copy.copy(value)
    copied[at[0]] = _changed(value[at[0]], at[1:], new)
    return copied


_OTHERS: list[Any] = [{}, [], [[]], "x", {"class_name": {}, "config": {}}]


def test_every_value_of_a_configuration_may_be_of_another_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands where, the answer is a graph or an error that names the file's fault."""
    x = keras.Input((4, 3))
    _, h, c = keras.layers.LSTM(3, return_state=True)(x)
    seq = keras.layers.GRU(3, return_sequences=True)(keras.layers.Masking()(x))
    y = keras.layers.Dense(3, activation="relu")(keras.layers.Add()([h, c]))
    z = keras.layers.LSTM(3)(seq, initial_state=[h, c])
    keras.Model(x, [keras.layers.ReLU()(y), z]).save(tmp_path / "m.keras")
    module = importlib.import_module("lstm_rt_tools.keras_reader.from_keras")
    model = module.open_model(tmp_path / "m.keras")
    count = 0
    for at in _places(model.config):
        for other in _OTHERS:
            changed = dataclasses.replace(model, config=_changed(model.config, at, other), budget=Budget(1 << 20))
            changed.weights.reset()
            monkeypatch.setattr(module, "open_model", lambda *_, changed=changed: changed)
            count += 1
            try:
                from_keras(tmp_path / "m.keras")
            except (ConvertError, GraphError):
                continue
            except Exception as e:
                pytest.fail(f"{at} is {other!r}: {e!r}")
    assert count > 800
