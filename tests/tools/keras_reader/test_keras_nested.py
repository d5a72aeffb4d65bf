"""Models called inside models, in files of Keras 2 and 3 and living: every call finds its inputs and weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.keras_files import edit_h5_config
from helpers.stored import KERAS2, case, check_keras2, unpack
from lstm_rt_tools import from_keras
from lstm_rt_tools.keras_reader import live as keras_live

from lstm_rt.errors import ConvertError

F = 3


NESTED = case("keras2_nested_models")


@pytest.mark.parametrize("kind", ["k2.h5", "k2.keras", "k3.h5", "k3.keras"])
@pytest.mark.parametrize("name", ["siamese", "autoencoder", "ensemble"])
def test_published_kinds(name: str, kind: str, tmp_path: Path) -> None:
    graph = from_keras(unpack(NESTED.folder / f"{name}_{kind}.gz", tmp_path))
    tag = f"{name}-{kind[:2]}"
    NESTED.check(graph, f"{tag}-1", f"{tag}-3")


def test_archive_written_on_windows(tmp_path: Path) -> None:
    r"""The paths of its groups are names: ``layers\lstm\cell``."""
    windows = case("keras_file_saved_on_windows")
    windows.check(from_keras(unpack(windows.folder / "small_windows.keras.gz", tmp_path)), "small1", "small3")


@pytest.mark.parametrize("name", sorted(p.name.removesuffix(".keras.gz") for p in KERAS2.glob("*.keras.gz")))
def test_keras2_archives(name: str, tmp_path: Path) -> None:
    """The same models as .h5 are in test_keras_files.py."""
    check_keras2(from_keras(unpack(KERAS2 / f"{name}.keras.gz", tmp_path)), name)


def test_sequential_of_old_keras_2_has_no_input_layer(tmp_path: Path) -> None:
    """Before 2.4 the first layer knows the shape; calls are counted from 1 all the same."""

    def change(config: Any) -> None:
        (encoder,) = (e for e in config["config"]["layers"] if e["name"] == "enc")
        first, *rest = encoder["config"]["layers"]
        rest[0]["config"]["batch_input_shape"] = first["config"]["batch_input_shape"]
        encoder["config"] = rest  # before 2.2.3 a list

    path = edit_h5_config(unpack(NESTED.folder / "siamese_k2.h5.gz", tmp_path), change)
    NESTED.check(from_keras(path), "siamese-k2-3")


def test_calls_that_do_not_exist_and_circles_are_told_apart(tmp_path: Path) -> None:
    packed = NESTED.folder / "siamese_k2.h5.gz"

    def entry(config: Any, name: str) -> Any:
        return next(e for e in config["config"]["layers"] if e["name"] == name)

    def lost(config: Any) -> None:
        entry(config, "concatenate")["inbound_nodes"] = [[["enc", 1, 0, {}], ["enc", 7, 0, {}]]]

    def circle(config: Any) -> None:
        entry(config, "concatenate")["inbound_nodes"] = [[["enc", 1, 0, {}], ["dense_3", 0, 0, {}]]]

    with pytest.raises(ConvertError, match=r"'concatenate'.*output 0 of call 6 of 'enc', which does not exist"):
        from_keras(edit_h5_config(unpack(packed, tmp_path), lost))
    with pytest.raises(ConvertError, match="circle"):
        from_keras(edit_h5_config(unpack(packed, tmp_path), circle))


# -- Keras 3, living and saved ----------------------------------------------------------------------


def _models(keras: Any) -> dict[str, Callable[[], Any]]:
    layers = keras.layers

    def given(size: int = F) -> Any:
        return layers.Input((5, size))

    def encoder(units: int = 4, name: str = "enc") -> Any:
        x = given()
        return keras.Model(x, layers.LSTM(units, return_sequences=True)(x), name=name)

    def decoder() -> Any:
        x = given(4)
        return keras.Model(x, layers.TimeDistributed(layers.Dense(2))(layers.GRU(3, return_sequences=True)(x)))

    def sequential() -> Any:
        return keras.Sequential([given(), layers.LSTM(4, return_sequences=True), layers.Dense(4)], name="seq")

    def deferred() -> Any:
        return keras.Sequential([layers.LSTM(4, return_sequences=True), layers.Dense(4)], name="later")

    def both_called(make: Callable[[], Any], ends: bool) -> Any:
        a, b, inner = given(), given(), make()
        if ends:
            return keras.Model([a, b], [inner(b), inner(a)])
        return keras.Model([a, b], layers.Dense(2)(layers.Concatenate()([inner(a), inner(b)])))

    def on_itself() -> Any:
        x, inner = given(), encoder(F)
        return keras.Model(x, inner(inner(x)))

    def three_deep() -> Any:
        b, x, inner = given(), given(), encoder(name="inner")
        middle = keras.Model(b, layers.Dense(3, name="dense")(inner(b)), name="middle")
        return keras.Model(x, layers.Dense(2, name="dense_1")(middle(x)))

    def only_models() -> Any:
        b, x, inner = given(), given(), encoder(name="inner")
        return keras.Model(x, keras.Model(b, inner(b), name="middle")(x))

    def same_names() -> Any:
        """Of layers in two models: only the models tell them apart."""
        a, b, x = given(), given(), given()
        one = keras.Model(a, layers.LSTM(4, return_sequences=True, name="lstm")(a), name="one")
        two = keras.Model(b, layers.LSTM(4, return_sequences=True, name="lstm")(b), name="two")
        return keras.Model(x, layers.Add(name="lstm")([one(x), two(x)]))

    def several_outputs() -> Any:
        a, x, z = given(), given(), given()
        inner = keras.Model(a, layers.LSTM(4, return_sequences=True, return_state=True)(a)[:2], name="two")
        (y, h), (v, k) = inner(x), inner(z)
        return keras.Model([x, z], [v, h, layers.Concatenate()([y, v]), k])

    def used_elsewhere() -> Any:
        """A call that belongs to another model is not counted."""
        inner, x = encoder(), given()
        inner(given())
        return keras.Model(x, decoder()(inner(x)))

    def token_model() -> Any:
        i, x = layers.Input((5,), dtype="int32"), layers.Input((5,), dtype="int32")
        inner = keras.Model(i, layers.Embedding(7, 4, mask_zero=True)(i), name="embed")
        return keras.Model(x, layers.LSTM(3)(inner(x)))

    return {
        "functional": lambda: both_called(encoder, False),
        "functional ends": lambda: both_called(encoder, True),
        "sequential": lambda: both_called(sequential, False),
        "sequential ends": lambda: both_called(sequential, True),
        "deferred": lambda: both_called(deferred, False),
        "deferred ends": lambda: both_called(deferred, True),
        "on itself": on_itself,
        "three deep": three_deep,
        "only models": only_models,
        "same names": same_names,
        "several outputs": several_outputs,
        "used elsewhere": used_elsewhere,
        "tokens": token_model,
        "in a sequence": lambda: keras.Sequential([given(), sequential(), decoder()]),
        "a sequence of them": lambda: keras.Sequential([encoder(), decoder()]),
    }


NAMES = list(_models(type("Named", (), {"layers": None})))


@pytest.mark.parametrize("name", NAMES)
def test_keras3(name: str, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    model = _models(keras)[name]()
    rng = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape).astype(np.float32))
    graph = from_keras(model)  # compares the numbers
    for file in ("m.keras", "m.h5"):
        model.save(tmp_path / file)
        saved = from_keras(tmp_path / file)
        keras_live.compare(model, saved)
        assert [saved.values[i].name for i in saved.outputs] == [graph.values[i].name for i in graph.outputs]
