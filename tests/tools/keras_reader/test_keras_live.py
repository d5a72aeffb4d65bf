"""Living Keras models: only Keras's own code is converted, and the graph is compared with the model.

Runs on the backend that KERAS_BACKEND names.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.keras_models import BACKEND, F, L, functional, keras, seq
from lstm_rt_tools import from_keras
from lstm_rt_tools.keras_reader import live as keras_live

import lstm_rt
from lstm_rt.errors import ConvertError

# -- models of the user's, called like Keras's own --------------------------------------------------


def relu(x: Any) -> Any:
    return x * 0 + 7.0


class Dense(keras.layers.Dense):
    def call(self, inputs: Any, training: Any = None) -> Any:
        return super().call(inputs) * 3


class Dropout(keras.layers.Dropout):
    def call(self, inputs: Any, training: Any = False) -> Any:
        return inputs * 2


class LSTMCell(keras.layers.LSTMCell):
    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        h, states = super().call(inputs, states, training)
        return h * 2, states


class LSTM(keras.layers.LSTM):
    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False) -> Any:
        return super().call(sequences, initial_state, mask, training) * 2


class Sequential(keras.Sequential):
    def call(self, inputs: Any, training: Any = None, mask: Any = None, **kwargs: Any) -> Any:
        return super().call(inputs) * 2


class Functional(keras.Model):
    def call(self, inputs: Any, training: Any = None, mask: Any = None, **kwargs: Any) -> Any:
        return super().call(inputs) * 2


class Masking(keras.layers.Masking):
    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return keras.ops.any(keras.ops.not_equal(inputs, 5.0), axis=-1)


def with_attribute(layer: Any, name: str, value: Any) -> Any:
    setattr(layer, name, value)
    return layer


def both_ways(layer: Any) -> Any:
    with keras.saving.custom_object_scope({type(layer).__name__: type(layer)}):  # Bidirectional makes copies
        return L.Bidirectional(layer)


OWN: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "relu": (lambda: seq(L.Dense(2, activation=relu, name="d")), ["'d'", "activation", "relu", "keras.activations"]),
    "relu in a cell": (lambda: seq(L.LSTM(2, activation=relu, name="l")), ["'l'", "activation", "relu"]),
    "relu in a gate": (
        lambda: seq(L.RNN(L.GRUCell(2, recurrent_activation=relu, name="c"))),
        ["'c'", "recurrent_activation", "relu"],
    ),
    "Activation(relu)": (lambda: seq(L.Activation(relu, name="a")), ["'a'", "activation", "relu"]),
    "Activation(lambda)": (lambda: seq(L.Activation(lambda x: x * 3, name="a")), ["'a'", "<lambda>"]),
    "Lambda": (lambda: seq(L.Lambda(lambda x: x * 3, name="a")), ["'a'", "Lambda", "never run"]),
    "Dense": (lambda: seq(Dense(2, name="d")), ["'d'", "own class", "Dense"]),
    "Dropout": (lambda: seq(L.LSTM(2), Dropout(0.3, name="d")), ["'d'", "own class", "Dropout"]),
    "LSTM": (lambda: seq(LSTM(2, name="l")), ["'l'", "own class", "LSTM"]),
    "LSTMCell": (lambda: seq(L.RNN(LSTMCell(2, name="c"))), ["'c'", "own class", "LSTMCell"]),
    "stacked cells": (
        lambda: seq(L.RNN(L.StackedRNNCells([L.GRUCell(2), LSTMCell(2, name="c")]))),
        ["'c'", "own class"],
    ),
    "in Bidirectional": (lambda: seq(both_ways(LSTM(2))), ["own class", "LSTM"]),
    "in TimeDistributed": (lambda: seq(L.TimeDistributed(Dense(2, name="d"))), ["'d'", "own class"]),
    "Sequential": (lambda: seq(L.Dense(2), cls=Sequential), ["own class", "Sequential", "model.layers"]),
    "Functional": (lambda: functional(L.Dense(2), Functional), ["own class", "Functional", "model.inputs"]),
    "nested": (lambda: seq(Sequential([L.Input((None, F)), L.Dense(2)], name="n")), ["'n'", "own class"]),
    "Masking": (lambda: seq(Masking(name="m"), L.LSTM(2)), ["'m'", "own class", "Masking"]),
    "call of an instance": (
        lambda: seq(with_attribute(L.Dropout(0.1, name="d"), "call", lambda x, **kw: x * 5)),
        ["'d'", "call", "replaced"],
    ),
    "activation of an instance": (
        lambda: seq(with_attribute(L.Dense(2, name="d"), "activation", relu)),
        ["'d'", "activation", "relu"],
    ),
    "activation of a cell": (
        lambda: seq(L.RNN(with_attribute(L.LSTMCell(2, name="c"), "activation", relu))),
        ["'c'", "activation", "relu"],
    ),
}


@pytest.mark.parametrize("case", OWN)
def test_own_code_is_refused(case: str) -> None:
    build, words = OWN[case]
    with pytest.raises(ConvertError) as caught:
        from_keras(build())
    for word in words:
        assert word in str(caught.value), str(caught.value)


#: What archives tell as well: the classes. An instance's attributes and the code of functions they do not.
IN_ARCHIVES = [
    "Activation(lambda)",
    "Dense",
    "Dropout",
    "LSTM",
    "LSTMCell",
    "stacked cells",
    "in Bidirectional",
    "in TimeDistributed",
    "Sequential",
    "Functional",
    "nested",
    "Masking",
]


@pytest.mark.parametrize("case", IN_ARCHIVES)
def test_own_classes_in_archives_are_refused(case: str, tmp_path: Path) -> None:
    OWN[case][0]().save(tmp_path / "m.keras")
    with pytest.raises(ConvertError, match="user's own"):
        from_keras(tmp_path / "m.keras")


@keras.saving.register_keras_serializable(package="mine", name="Dense")
class Registered(Dense):
    pass


@keras.saving.register_keras_serializable(package="mine", name="relu")
def registered_relu(x: Any) -> Any:
    return relu(x)


@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_registered_names_are_seen_in_every_file(file: str, tmp_path: Path) -> None:
    for i, layer in enumerate((Registered(2, name="d"), L.Dense(2, name="d", activation=registered_relu))):
        path = tmp_path / f"{i}{file}"
        seq(layer).save(path)
        with pytest.raises(ConvertError, match=r"'d'.*user's own.*mine>"):
            from_keras(path)


# -- functions of the frameworks --------------------------------------------------------------------


def test_the_same_function_of_a_framework_is_taken() -> None:
    graph = from_keras(seq(L.LSTM(2, activation=keras.ops.tanh, recurrent_activation=keras.ops.sigmoid)))
    assert [str(a) for a in graph.nodes[0].attrs["activations"]] == ["sigmoid", "tanh", "tanh"]


def test_another_function_of_the_same_name_is_not() -> None:
    """keras.ops.gelu is the approximation by tanh, keras.activations.gelu is not."""
    with pytest.raises(ConvertError, match=r"'d'.*activation is the function .*gelu"):
        from_keras(seq(L.Dense(2, activation=keras.ops.gelu, name="d")))


# -- the comparison ---------------------------------------------------------------------------------


def test_a_difference_names_the_outputs() -> None:
    """A method replaced on Keras's own class is found by the numbers alone."""
    x = L.Input((None, F), name="x")
    model = keras.Model(x, [L.Dense(2, name="right")(x), L.LeakyReLU(name="wrong")(x)])
    graph = from_keras(model)
    original = L.LeakyReLU.call
    try:
        L.LeakyReLU.call = lambda self, inputs: inputs * 2
        with pytest.raises(ConvertError, match=r"differs from the living one: 'wrong' by \d") as caught:
            keras_live.compare(model, graph)
        assert "'right'" not in str(caught.value)
    finally:
        L.LeakyReLU.call = original


@pytest.mark.parametrize("node", ["mask_ids", "mask_values"])
def test_masked_steps_are_part_of_it(node: str) -> None:
    """A graph that forgot its mask is found out."""
    if node == "mask_ids":
        layers = [L.Input((None,), dtype="int32"), L.Embedding(1000, F, mask_zero=True)]
    else:
        layers = [L.Input((None, F)), L.Masking(-3.0)]
    model = keras.Sequential([*layers, L.LSTM(2)])
    graph = from_keras(model)
    (mask,) = (n for n in graph.nodes if n.op == node)
    (x,) = keras_live.make_inputs(model, graph, 8, 9, 0)
    hidden = x == mask.attrs["value"] if x.ndim == 2 else np.all(x == mask.attrs["value"], axis=-1)
    assert 0.1 < hidden.mean() < 0.5
    assert not hidden.all(axis=1).any()
    (recurrent,) = (n for n in graph.nodes if n.op == "lstm")
    recurrent.inputs = tuple(None if i in mask.outputs else i for i in recurrent.inputs)
    with pytest.raises(ConvertError, match="differs"):
        keras_live.compare(model, graph)


def test_sizes_that_the_model_fixes() -> None:
    model = keras.Sequential([L.Input((7, F), batch_size=4), L.LSTM(2)])
    (x,) = keras_live.make_inputs(model, from_keras(model), 3, 9, 0)
    assert x.shape == (4, 7, F)


def test_inputs_in_dicts_and_lists() -> None:
    a, b = L.Input((None, F), name="a"), L.Input((None, F), name="b")
    y, z = L.LSTM(2, name="y")(a), L.GRU(3, name="z")(b)
    for inputs, outputs in (
        ({"b": b, "a": a}, {"z": z, "y": y}),
        ([b, a], [z, y]),
        ([[b], a], {"y": y, "z": z}),
    ):
        assert from_keras(keras.Model(inputs, outputs)).selftest is not None


def test_bool_masks_as_inputs() -> None:
    x, m = L.Input((None, F), name="x"), L.Input((None,), dtype="bool", name="m")
    graph = from_keras(keras.Model([x, m], L.LSTM(2)(x, mask=m)))
    assert graph.selftest is not None
    assert 0 in graph.selftest.inputs[1]


def test_no_finite_number() -> None:
    model = seq(L.Dense(2))
    model.layers[0].set_weights([np.full((F, 2), np.nan), np.zeros(2)])
    graph = from_keras(model)
    assert any("not finite" in note for note in graph.meta["notes"])
    (named,) = (note for note in graph.meta["notes"] if note.startswith("NaN or infinity in the weights: "))
    assert "kernel" in named
    assert f"({2 * F} numbers)" in named
    assert "bias" not in named
    assert graph.selftest is None


def test_finite_numbers_beyond_float32(tmp_path: Path) -> None:
    model = seq(L.Dense(2, dtype="float64"))
    model.layers[0].set_weights([np.full((F, 2), 1e300), np.zeros(2)])
    model.save(tmp_path / "m.keras")
    for source in (model, tmp_path / "m.keras"):
        with pytest.raises(ConvertError, match=r"weight .*: holds 1e\+300, which is beyond float32"):
            from_keras(source)


def test_numbers_that_grow_are_compared_as_float32_allows() -> None:
    model = seq(L.SimpleRNN(8, activation="relu", return_sequences=True))
    kernel, recurrent, bias = model.layers[0].get_weights()
    model.layers[0].set_weights([kernel * 9, recurrent * 60, bias])
    assert from_keras(model).selftest is not None
    model.layers[0].set_weights([kernel * 1e10, recurrent * 1e10, bias])
    assert any("not finite" in note for note in from_keras(model).meta["notes"])


@pytest.mark.skipif(BACKEND != "torch", reason="the one backend where it runs everywhere")
def test_coarse_floats_are_compared_coarsely() -> None:
    model = seq(L.Dense(4, dtype="bfloat16"), L.LSTM(3, dtype="mixed_bfloat16"))
    graph = from_keras(model)
    assert any("bfloat16" in note for note in graph.meta["notes"])
    assert graph.selftest is None


def test_a_model_that_cannot_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("no such device")

    model = seq(L.Dense(2))
    monkeypatch.setattr(L.Dense, "call", fail)
    with pytest.raises(ConvertError, match=r"cannot be run.*no such device"):
        from_keras(model)


# -- the self-test ----------------------------------------------------------------------------------


def test_selftest_is_the_models_own(tmp_path: Path) -> None:
    model = seq(L.LSTM(4, return_sequences=True), L.Dense(2))
    graph = from_keras(model)
    test = graph.selftest
    assert test is not None
    expected = keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(test.inputs[0]), training=False))
    np.testing.assert_allclose(test.outputs[0], expected, atol=1e-6)
    assert "living model" in graph.meta["selftest"]
    graph.save(str(tmp_path / "m.lrt"))
    assert lstm_rt.load(str(tmp_path / "m.lrt")).verify()["ok"]


def test_selftest_is_small() -> None:
    graph = from_keras(keras.Sequential([L.Input((400, 64)), L.LSTM(2)]))
    assert graph.selftest is None or sum(a.nbytes for a in graph.selftest.inputs) <= 1 << 16


# -- the model is left as it was --------------------------------------------------------------------


def _state(model: Any) -> list[np.ndarray]:
    parts = [model, *model._flatten_layers(include_self=False)]
    kept = {id(v): v for p in parts for v in p.variables}
    for part in parts:
        kept |= {id(v): v for v in keras.tree.flatten(getattr(part, "states", None)) if hasattr(v, "assign")}
        seed = getattr(part, "seed_generator", None)
        kept |= {} if seed is None else {id(seed.state): seed.state}
    return [np.array(keras.ops.convert_to_numpy(v)) for v in kept.values()]


def _draw() -> tuple[float, float, float]:
    return random.random(), np.random.random(), float(keras.ops.convert_to_numpy(keras.random.normal((1,)))[0])


def test_the_model_is_left_as_it_was() -> None:
    model = keras.Sequential(
        [
            L.Input((5, F), batch_size=2),
            L.GaussianNoise(0.3),
            L.LSTM(4, stateful=True, return_sequences=True, dropout=0.2, recurrent_dropout=0.2),
            L.RNN(L.StackedRNNCells([L.GRUCell(2), L.LSTMCell(2)]), stateful=True, return_sequences=True),
            L.BatchNormalization(),
            L.Dropout(0.4),
            L.ActivityRegularization(0.1),
        ]
    )
    rng = np.random.default_rng(0)
    x = keras.ops.convert_to_tensor(rng.normal(size=(2, 5, F)).astype("float32"))
    for _ in range(2):
        model(x, training=True)  # states, statistics and seeds that are not as they were made
    losses = [float(keras.ops.convert_to_numpy(v)) for v in model.losses]
    before = _state(model)
    keras.utils.set_random_seed(5)  # of Python, NumPy and the backend
    from_keras(model)
    drawn = _draw()
    keras.utils.set_random_seed(5)
    assert drawn == _draw()
    assert len(before) == len(_state(model))
    for old, new in zip(before, _state(model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert [float(keras.ops.convert_to_numpy(v)) for v in model.losses] == losses


def test_stateful_models_are_compared_from_zero() -> None:
    model = keras.Sequential([L.Input((5, F), batch_size=2), L.GRU(4, stateful=True)])
    model(keras.ops.ones((2, 5, F)))
    assert from_keras(model).selftest is not None


@pytest.mark.skipif(BACKEND != "torch", reason="about torch's modules")
def test_torch_modules_stay_in_training_mode() -> None:
    model = seq(L.LSTM(2), L.Dropout(0.5), L.Dense(2))
    model.train()
    from_keras(model)
    assert all(m.training for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_what_only_looks_like_a_model() -> None:
    class Impostor:
        layers = weights = ()

        def get_config(self) -> None: ...

    with pytest.raises(ConvertError, match=r"Impostor is no model of keras"):
        from_keras(Impostor())


def test_only_for_files() -> None:
    with pytest.raises(ConvertError, match="arch is for files"):
        from_keras(seq(L.Dense(2)), arch="model.json")


def test_several_sizes_are_compared() -> None:
    """What a graph does for one length only is not enough."""
    model = seq(L.LSTM(2))
    graph = from_keras(model)
    sizes = {tuple(keras_live.make_inputs(model, graph, n, t, 0)[0].shape) for n, t in keras_live._SIZES}
    assert len({s[0] for s in sizes}) > 1
    assert len({s[1] for s in sizes}) > 1

