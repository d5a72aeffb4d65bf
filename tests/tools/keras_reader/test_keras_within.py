"""Layers with steps of their own within TimeDistributed, of any number of steps, against living Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.keras_layers import check_layers, check_numbers, ids_model, image
from helpers.keras_models import F, L, V, keras, randomise
from lstm_rt_tools import from_keras

from lstm_rt.errors import ConvertError

T = L.TimeDistributed


def _words(layer: Any, mask_zero: bool = True) -> Any:
    """A tagger of words of four characters."""

    def tagger(ids: Any) -> Any:
        characters = L.Embedding(V, 3, mask_zero=mask_zero)(ids)
        return L.GRU(2, return_sequences=True)(L.Concatenate()([T(layer)(characters), characters[:, :, 0]]), mask=None)

    return ids_model(tagger, 4)


def _word(*layers: Any) -> Any:
    return keras.Sequential([L.Input((4,), dtype="int32"), L.Embedding(V, F, mask_zero=True), *layers])


def _of_model(inner: Any) -> Any:
    return ids_model(lambda ids: L.LSTM(3)(T(inner)(ids)), 4)


def _steps(*layers: Any) -> Any:
    return image(*(T(layer) for layer in layers), shape=(None, 4, F))


CASES: dict[str, Callable[[], Any]] = {
    "lstm": lambda: _steps(L.LSTM(3)),
    "lstm, hard gates": lambda: _steps(L.LSTM(3, recurrent_activation="hard_sigmoid", activation="relu")),
    "gru": lambda: _steps(L.GRU(3)),
    "gru before": lambda: _steps(L.GRU(3, reset_after=False, go_backwards=True)),
    "gru without bias": lambda: _steps(L.GRU(3, use_bias=False)),
    "simple": lambda: _steps(L.SimpleRNN(3), L.Dense(2)),
    "simple, no bias": lambda: _steps(L.SimpleRNN(3, activation="sigmoid", use_bias=False)),
    "sequences": lambda: _steps(L.GRU(3, return_sequences=True), L.LSTM(2, return_sequences=True, go_backwards=True)),
    "stacked cells": lambda: _steps(L.RNN(L.StackedRNNCells([L.LSTMCell(3), L.GRUCell(2), L.SimpleRNNCell(2)]))),
    "bidirectional": lambda: _steps(L.Bidirectional(L.LSTM(3)), L.Dense(2)),
    "bidirectional sequences": lambda: _steps(L.Bidirectional(L.GRU(3, return_sequences=True), merge_mode="sum")),
    "masked characters": lambda: _words(L.Bidirectional(L.LSTM(3))),
    "masked sequences": lambda: _words(keras.Sequential([L.Input((4, 3)), L.GRU(3, return_sequences=True), L.LSTM(2)])),
    "characters": lambda: _words(L.GRU(3), mask_zero=False),
    "model": lambda: _of_model(_word(L.Bidirectional(L.GRU(3, return_sequences=True)), L.LSTM(2))),
    "Masking": lambda: _steps(keras.Sequential([L.Input((4, F)), L.Masking(0.0), L.LSTM(3)])),
    "Masking of layers": lambda: _steps(
        keras.Sequential([L.Input((4, F)), L.ReLU(), L.Dense(F, "relu", use_bias=False), L.Masking(), L.GRU(3)])
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_within(case: str) -> None:
    model = CASES[case]()
    randomise(model, np.random.default_rng(7))
    check_numbers(model, from_keras(model), 2, 5)


def test_as_files(tmp_path: Path) -> None:
    check_layers(CASES["masked characters"](), tmp_path)


def test_one_node_for_all_steps() -> None:
    graph = from_keras(_steps(L.LSTM(3)))
    assert [n.op for n in graph.nodes].count("lstm") == 1


WRONG: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "gates": (lambda: _steps(L.LSTM(3, recurrent_activation="tanh")), ["LSTM", "activations tanh", "TimeDistributed"]),
    "candidate": (lambda: _steps(L.GRU(3, activation="sigmoid")), ["GRU", "sigmoid, sigmoid", "not supported"]),
    "long": (
        lambda: image(T(L.GRU(3, return_sequences=True)), shape=(None, 300, 2)),
        ["return_sequences", "up to 256 steps", "300"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case: str) -> None:
    make, texts = WRONG[case]
    with pytest.raises(ConvertError) as e:
        from_keras(make())
    assert all(text in str(e.value) for text in texts), e.value
