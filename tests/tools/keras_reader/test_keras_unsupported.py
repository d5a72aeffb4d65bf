"""Layers, options and own classes that the Keras reader does not know are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.keras_files import edit_config, layer, refuse, save, set_option
from helpers.keras_models import F, L, V, functional, keras, seq


@keras.saving.register_keras_serializable(package="mine")
class OwnLayer(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x


@keras.saving.register_keras_serializable(package="mine")
def own_function(x: Any) -> Any:
    return x * x


def _different_masks(merge: Any) -> Any:
    x, tokens = L.Input((None, F), name="x"), L.Input((None,), dtype="int32", name="ids")
    a, b = L.Masking(0.0)(x), L.Embedding(V, F, mask_zero=True)(tokens)
    return keras.Model([x, tokens], L.LSTM(2)(merge([a, b])))


def _self_attention() -> Any:
    x = L.Input((5, F))
    return keras.Model(x, L.Attention()([x, x]))


UNSUPPORTED: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "lambda": (lambda: seq(L.Lambda(lambda x: x + 1, name="trick")), ["'trick'", "Lambda"]),
    "up sampling of steps between": (
        lambda: keras.Sequential([L.Input((4, None, 2)), L.UpSampling2D(2, interpolation="bilinear", name="u")]),
        ["'u'", "must be fixed"],
    ),
    "conv same strides": (
        lambda: seq(L.Conv1D(3, 4, strides=3, padding="same", name="c")),
        ["'c'", "padding='same'", "a number of steps instead of None"],
    ),
    "flatten": (lambda: seq(L.Flatten(name="f")), ["'f'", "must be fixed"]),
    "up sampling": (
        lambda: keras.Sequential([L.Input((4, 4, 2)), L.UpSampling2D(2, interpolation="bicubic", name="u")]),
        ["'u'", "interpolation='bicubic'"],
    ),
    "attention scores": (
        lambda: functional(lambda x: L.Attention(name="a")([x, x], return_attention_scores=True)[1]),
        ["'a'", "scores", "fixed number of steps"],
    ),
    "attention mask": (
        lambda: functional(lambda x: L.MultiHeadAttention(1, 2, name="a")(x, x, attention_mask=x)),
        ["'a'", "mask of pairs", "fixed number of steps"],
    ),
    "reshape of free steps": (lambda: seq(L.Reshape((-1, 3), name="r")), ["'r'", "another number of elements"]),
    "own layer": (lambda: seq(OwnLayer(name="o")), ["'o'", "OwnLayer", "own class"]),
    "own function": (
        lambda: seq(L.Dense(2, activation=own_function, name="d")),
        ["'d'", "activation", "own_function"],
    ),
    "activation": (lambda: seq(L.LSTM(2, activation="sparse_plus", name="l")), ["'l'", "LSTM", "sparse_plus"]),
    "softmax in a gate": (lambda: seq(L.LSTM(2, activation="softmax", name="l")), ["'l'", "softmax"]),
    "relu threshold": (
        lambda: seq(L.ReLU(threshold=1.0, negative_slope=0.1, name="r")),
        ["'r'", "negative_slope=0.1", "threshold=1.0"],
    ),
    "relu in a gate": (
        lambda: seq(L.LSTM(2, activation=L.ReLU(threshold=1.0), name="l")),
        ["'l'", "threshold=1.0"],
    ),
    "softmax axis": (lambda: seq(L.Softmax(axis=3, name="s")), ["'s'", "axis 3"]),
    "softmax mask": (
        lambda: keras.Sequential([L.Input((F, F)), L.Masking(), L.Softmax(name="s")]),
        ["'s'", "mask"],
    ),
    "flatten of images": (
        lambda: keras.Sequential([L.Input((None, 5, F)), L.LayerNormalization(axis=-1), L.Flatten(name="n")]),
        ["'n'", "must be fixed"],
    ),
    "distributed attention": (
        lambda: keras.Sequential([L.Input((None, 5, F)), L.TimeDistributed(_self_attention())]),
        ["TimeDistributed", "1 to 64 fixed steps", "any", "Input a number of steps"],
    ),
    "distributed": (lambda: seq(L.TimeDistributed(L.Lambda(abs), name="t")), ["'t'", "Lambda"]),
    "concat axis": (lambda: functional(lambda x: L.Concatenate(axis=1)([x, x])), ["Concatenate", "must be fixed"]),
    "no width": (
        lambda: keras.Sequential([L.Input((None, None)), L.Activation("tanh")]),
        ["InputLayer", "shape"],
    ),
    "training": (
        lambda: functional(lambda x: L.Dropout(0.5, name="d")(x, training=True)),
        ["'d'", "training"],
    ),
    "constant": (lambda: functional(lambda x: (-2.0) ** x), ["Power", "powers of -2.0", "not supported"]),
    "function": (lambda: functional(keras.ops.sort), ["Sort", "not supported"]),
    "option of a function": (
        lambda: functional(lambda x: keras.ops.max(x, axis=1, initial=0.5)), ["Max", "initial=0.5"],
    ),
    "slice from behind": (lambda: functional(lambda x: x[:, -4::2]), ["GetItem", "-4:None:2", "must be fixed"]),
    "mean of all": (lambda: functional(lambda x: keras.ops.mean(x)), ["Mean", "all of a batch"]),
    "other ranks": (lambda: functional(lambda x: x + x[:, 0]), ["Add", "3 and 2 axes"]),
    "einsum": (lambda: functional(lambda x: keras.ops.einsum("btf,btf->bt", x, x)), ["Einsum", "btf,btf->bt"]),
    "maxima of two masks": (lambda: _different_masks(L.Maximum()), ["Maximum", "only some are masked"]),
    "embedding of numbers": (
        lambda: seq(L.Dense(2), L.Embedding(V, 2, name="e")),
        ["'e'", "what other layers compute"],
    ),
    "masks of several ids": (
        lambda: keras.Sequential(
            [L.Input((None, 3)), L.Embedding(V, 2, mask_zero=True), L.TimeDistributed(L.Flatten()), L.LSTM(2)]
        ),
        ["LSTM", "mask", "several elements of a step"],
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported_models(case: str, tmp_path: Path) -> None:
    build, words = UNSUPPORTED[case]
    model = build()
    refuse(model, *words)
    refuse(save(model, tmp_path), *words)


def test_own_model_classes() -> None:
    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    refuse(Own(), "Own")


def test_unbuilt_model() -> None:
    refuse(keras.Sequential([L.LSTM(3)]), "build the model")


OPTIONS: dict[str, tuple[Callable[[Any], None], list[str]]] = {
    "unknown": (set_option("LSTM", peephole=True), ["'l'", "LSTM", "unknown option peephole=True"]),
    "time_major": (set_option("LSTM", time_major=True), ["'l'", "time_major"]),
    "units": (set_option("LSTM", units=-3), ["units is -3"]),
    "flag": (set_option("LSTM", return_sequences="yes"), ["return_sequences", "'yes'"]),
    "no activation": (lambda c: layer(c, "LSTM").pop("activation"), ["'l'", "activation", "missing"]),
    "int8": (set_option("LSTM", dtype="int8"), ["dtype 'int8'"]),
    "quantized": (
        set_option(
            "Dense", dtype={"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float32"}}
        ),
        ["Dense", "QuantizedDTypePolicy"],
    ),
    "rms": (set_option("LayerNormalization", rms_scaling=True), ["LayerNormalization", "rms_scaling"]),
    "epsilon": (set_option("LayerNormalization", epsilon="tiny"), ["epsilon", "'tiny'"]),
    "negative epsilon": (set_option("LayerNormalization", epsilon=-1.0), ["LayerNormalization", "eps"]),
    "same name": (set_option("Dense", name="l"), ["'l'", "same name"]),
    "module": (lambda c: c["config"]["layers"][1].update(module="mypackage.layers"), ["'l'", "mypackage"]),
    "class": (lambda c: c.update(class_name="Mine"), ["Mine"]),
    "no layers": (lambda c: c["config"].update(layers=[]), ["no layers"]),
    "both forward": (
        lambda c: layer(c, "Bidirectional")["backward_layer"]["config"].update(go_backwards=False),
        ["go_backwards"],
    ),
    "merge_mode": (set_option("Bidirectional", merge_mode="max"), ["Bidirectional", "merge_mode='max'"]),
    "different sequences": (
        lambda c: layer(c, "Bidirectional")["backward_layer"]["config"].update(return_sequences=True),
        ["return_sequences"],
    ),
    "not recurrent": (
        lambda c: layer(c, "Bidirectional")["layer"].update(class_name="Dense"),
        ["Dense", "recurrent layer"],
    ),
    "reset_after": (
        lambda c: layer(c, "Bidirectional")["layer"]["config"].update(reset_after=False),
        ["GRU", "bias has shape (2, 6)"],
    ),
    "ragged": (set_option("InputLayer", ragged=True), ["InputLayer", "ragged"]),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options(case: str, tmp_path: Path) -> None:
    change, words = OPTIONS[case]
    layers = [
        L.LSTM(3, return_sequences=True, name="l"),
        L.LayerNormalization(),
        L.Bidirectional(L.GRU(2)),
        L.Dense(2),
    ]
    refuse(edit_config(save(seq(*layers), tmp_path), change), *words)
