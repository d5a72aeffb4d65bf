"""Keras's layers beside the recurrent ones, and the functions between layers, against living Keras.

Converting a living model compares the graph's numbers with Keras's at two sizes; here files are compared
with the graph of the living model, and batches of 1 and 5 of other lengths with Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.keras_files import edit_weights, save
from helpers.keras_layers import check_layers, check_numbers, fixed, ids_model, image, of
from helpers.keras_models import F, L, V, assert_same, functional, keras, randomise, seq
from lstm_rt_tools import from_keras

from lstm_rt.errors import ConvertError

ops = keras.ops


def masked(make: Callable[[Any], Any]) -> Any:
    ids = L.Input((None,), dtype="int32", name="ids")
    return keras.Model(ids, make(L.Embedding(V, F, mask_zero=True)(ids)))


def _weighted_by_flat_scores(x: Any) -> Any:
    """Attention as tutorials write it."""
    h = L.LSTM(4, return_sequences=True)(x)
    a = L.Activation("softmax")(L.Flatten()(L.Dense(1, activation="tanh")(h)))
    return L.Dense(2)(ops.sum(L.Multiply()([h, L.Permute((2, 1))(L.RepeatVector(4)(a))]), axis=1))


def _cells(x: Any) -> list[Any]:
    a, (h, c) = L.LSTMCell(F)(x[:, 0], [x[:, 1], x[:, 2]])
    b, state = L.GRUCell(F, reset_after=False)(a, c)
    d, _ = L.SimpleRNNCell(F)(b, h)
    return [a, h, c, b, d, *(state if isinstance(state, list) else [state])]


def _choices(x: Any) -> list[Any]:
    mean = ops.mean(x, axis=-1, keepdims=True)
    inside = ops.logical_and(ops.less_equal(x, 1.0), ops.greater_equal(x, -1.0))
    other = ops.logical_or(ops.logical_not(x < mean), ops.equal(x, mean))
    return [
        ops.where(x > 0, x, x * 0.1),
        ops.where(inside, x, 0.0),
        ops.where(other, 1.0, x),
        ops.cast(ops.not_equal(x, mean), "float32") * x,
    ]


def _scored_words(table: Any) -> Callable[[Any], Any]:
    return lambda ids: table(L.LSTM(F, return_sequences=True)(table(ids)), reverse=True)


def _greedy(state: Any) -> list[Any]:
    """A decoder that reads the likeliest of what it said before."""
    table, cell, scores, said = L.Embedding(V, 3), L.GRUCell(F), L.Dense(V, activation="softmax"), []
    for _ in range(3):
        said.append(scores(state))
        place = ops.argmax(said[-1], axis=-1)
        _, state = cell(table(place) + ops.one_hot(place, V)[:, :3], state)
    return said


def _mean_of_words(ids: Any) -> Any:
    words = L.Embedding(V, F)(ids)
    there = ops.expand_dims(ops.cast(ops.not_equal(ids, 0), "float32"), -1)
    return ops.sum(words * there, axis=1) / ops.sum(there, axis=1)


def _products(x: Any) -> list[Any]:
    w = np.random.default_rng(0).normal(size=(F, 3)).astype(np.float32)
    return [ops.matmul(x, w), x @ w, ops.dot(x, w), ops.tensordot(x, w, axes=1), ops.einsum("btf,fg->btg", x, w)]


def _sentence() -> Any:
    words = L.Input((4,), dtype="int32")
    return keras.Model(words, L.GRU(3)(L.Embedding(V, F, mask_zero=True)(words)))


def _called_with_names() -> Any:
    b, a = L.Input((None, F), name="b"), L.Input((3,), name="a")
    inner = keras.Model({"b": b, "a": a}, {"z": L.GRU(3)(b, initial_state=a), "h": L.Dense(2)(a)})
    x, y = L.Input((None, F), name="x"), L.Input((3,), name="y")
    found = inner({"a": y, "b": x})
    return keras.Model([x, y], [found["h"], found["z"]])


def _shared_by_two_models() -> Any:
    a, b, c = (L.Input((None, F)) for _ in range(3))
    block = keras.Model(a, L.Dense(F)(L.GRU(F, return_sequences=True)(a)), name="block")
    encoder = keras.Model(b, L.LSTM(3)(block(block(b))), name="encoder")
    return keras.Model(c, [encoder(c), block(c)])


CASES: dict[str, Callable[[], Any]] = {
    # convolutions over steps
    "conv": lambda: seq(L.Conv1D(5, 3)),
    "conv same": lambda: seq(L.Conv1D(5, 4, padding="same", activation="relu")),
    "conv causal": lambda: seq(L.Conv1D(5, 3, padding="causal", dilation_rate=2, use_bias=False)),
    "conv strides": lambda: seq(L.Conv1D(5, 3, strides=2), L.LSTM(3)),
    "conv groups": lambda: seq(L.Conv1D(6, 2, groups=2)),
    "conv causal strides": lambda: seq(L.Conv1D(5, 3, padding="causal", strides=3)),
    "conv same strides": lambda: fixed(L.Conv1D(5, 3, padding="same", strides=2), L.LSTM(3), steps=7),
    "conv same strides, free steps": lambda: seq(
        L.Conv1D(5, 3, padding="same", strides=2), L.MaxPooling1D(3, 2, padding="same"), L.LSTM(3)
    ),
    "conv same strides beside each other": lambda: of(
        lambda x: L.Add()([L.Conv1D(5, n, padding="same", strides=2)(x) for n in (1, 3, 4)]), None, F
    ),
    "transposed": lambda: seq(L.Conv1DTranspose(5, 4, strides=2, padding="same", activation="relu"), L.LSTM(3)),
    "transposed valid": lambda: seq(L.Conv1DTranspose(5, 5, strides=2), L.Conv1DTranspose(2, 3, use_bias=False)),
    "transposed with gaps": lambda: seq(
        L.Conv1DTranspose(5, 2, strides=3), L.Conv1DTranspose(2, 2, strides=3, padding="same")
    ),
    "transposed beside what it reads": lambda: of(
        lambda x: L.Add()([x, L.Conv1DTranspose(F, 3, padding="same")(x)]), None, F
    ),
    "transposed dilated": lambda: fixed(L.Conv1DTranspose(5, 3, dilation_rate=2)),
    "conv softmax": lambda: seq(L.Conv1D(5, 3, activation="softmax")),
    "conv of one": lambda: fixed(L.Conv1D(5, 6), L.Flatten()),
    "depthwise": lambda: seq(L.DepthwiseConv1D(3, depth_multiplier=2, padding="same")),
    "separable": lambda: seq(L.SeparableConv1D(5, 3, depth_multiplier=2, activation="tanh")),
    # pooling
    "max pooling": lambda: seq(L.MaxPooling1D(2), L.LSTM(3)),
    "max pooling same": lambda: seq(L.MaxPooling1D(2, padding="same")),
    "average pooling": lambda: seq(L.AveragePooling1D(3, strides=1)),
    "average pooling same": lambda: fixed(L.AveragePooling1D(3, strides=1, padding="same")),
    "global average": lambda: seq(L.GlobalAveragePooling1D()),
    "global average keep": lambda: seq(L.GlobalAveragePooling1D(keepdims=True)),
    "global max": lambda: seq(L.LSTM(3, return_sequences=True), L.GlobalMaxPooling1D(), L.Dense(2)),
    "global average masked": lambda: masked(lambda e: L.GlobalAveragePooling1D()(e)),
    "global max masked": lambda: masked(lambda e: L.GlobalMaxPooling1D()(e)),
    # shapes
    "flatten": lambda: fixed(L.LSTM(3, return_sequences=True), L.Flatten(), L.Dense(2)),
    "steps around free ones": lambda: keras.Model(
        around := [L.Input((None, F), name="x"), L.Input((2, F), name="y"), L.Input((F,), name="z")],
        L.LSTM(2, return_sequences=True)(L.Concatenate(axis=1)([around[1], around[0], L.RepeatVector(1)(around[2])])),
    ),
    "convlstm both ways": lambda: image(
        L.Bidirectional(L.ConvLSTM1D(2, 3, padding="same", return_sequences=True), merge_mode="sum"),
        L.Bidirectional(L.ConvLSTM1D(2, 3)),
        shape=(None, 6, 2),
    ),
    "flatten of one feature": lambda: of(_weighted_by_flat_scores, None, F),
    "flatten vec": lambda: image(L.Flatten(), L.Dense(2), shape=(5,)),
    "reshape to steps": lambda: image(L.Reshape((6, 2)), L.LSTM(3), shape=(12,)),
    "reshape from steps": lambda: fixed(L.Reshape((3, 2 * F)), L.LSTM(3)),
    "reshape more steps": lambda: seq(L.Reshape((-1, 2)), L.LSTM(3)),
    "reshape one": lambda: image(L.Reshape((7, 1)), L.GRU(3), shape=(7,)),
    "permute": lambda: fixed(L.Permute((2, 1)), L.LSTM(3)),
    "permute out": lambda: fixed(L.Permute((2, 1))),
    "permute twice": lambda: seq(L.Permute((2, 1)), L.Permute((2, 1)), L.LSTM(3)),
    "repeat": lambda: seq(
        L.LSTM(3), L.RepeatVector(4), L.LSTM(2, return_sequences=True), L.TimeDistributed(L.Dense(2))
    ),
    "crop": lambda: seq(L.Cropping1D((1, 2)), L.LSTM(3)),
    "crop front": lambda: seq(L.Cropping1D((2, 0))),
    "pad": lambda: seq(L.ZeroPadding1D((2, 1)), L.LSTM(3, return_sequences=True)),
    "up": lambda: seq(L.UpSampling1D(3), L.LSTM(3)),
    "down and up": lambda: fixed(L.MaxPooling1D(2), L.UpSampling1D(2)),
    # activations
    "prelu": lambda: fixed(L.PReLU()),
    "prelu shared": lambda: seq(L.PReLU(shared_axes=[1])),
    "relu limits": lambda: seq(L.ReLU(max_value=0.7), L.Dense(3), L.ReLU(threshold=0.3), L.Dense(3)),
    "relu slope": lambda: seq(
        L.ReLU(max_value=0.7, negative_slope=0.1), L.Dense(3), L.ReLU(threshold=0.3, max_value=1.0)
    ),
    "elu": lambda: seq(L.ELU(0.7), L.LeakyReLU(negative_slope=0.2)),
    "softmax steps": lambda: seq(L.Softmax(axis=1)),
    "softmax both": lambda: fixed(L.Softmax(axis=(1, 2))),
    **{
        f"activation {name}": lambda name=name: seq(L.Dense(3, activation=name), L.Activation(name))
        for name in ("mish", "celu", "relu6", "hard_silu", "exponential", "hard_tanh")
    },
    "cell activation": lambda: seq(L.LSTM(2, activation="mish", recurrent_activation="relu6")),
    # norms
    "unit": lambda: seq(L.UnitNormalization()),
    "unit steps": lambda: seq(L.UnitNormalization(axis=1)),
    "normalization": lambda: seq(L.Normalization(), L.LSTM(3)),
    "normalization given": lambda: seq(L.Normalization(mean=[1.0, 2, 3, 4], variance=[2.0, 1, 0.5, 3])),
    "normalization one": lambda: seq(L.Normalization(axis=None, mean=0.3, variance=2.0)),
    "normalization invert": lambda: seq(L.Normalization(mean=[1.0, 2, 3, 4], variance=[2.0, 1, 0.5, 3], invert=True)),
    "rescaling": lambda: seq(L.Rescaling(0.5, offset=1.0), L.LSTM(3)),
    "rescaling list": lambda: seq(L.Rescaling([0.5, 1.0, 2.0, 3.0])),
    "group": lambda: image(L.GroupNormalization(2), shape=(8,)),
    "group steps": lambda: fixed(L.GroupNormalization(2)),
    "layer norm both": lambda: fixed(L.LayerNormalization(axis=[1, 2])),
    "batch norm steps": lambda: fixed(L.BatchNormalization(axis=1), L.LSTM(3)),
    "rms": lambda: seq(L.RMSNormalization()),
    # several inputs
    "subtract": lambda: functional(lambda x: L.Subtract()([L.Dense(F)(x), x])),
    "minimum": lambda: functional(lambda x: L.Minimum()([L.Dense(F)(x), x, L.Dense(F)(x)])),
    "maximum": lambda: functional(lambda x: L.Maximum()([L.Dense(F)(x), x])),
    "broadcast": lambda: functional(lambda x: L.Add()([L.Dense(1)(x), x])),
    "broadcast steps": lambda: functional(lambda x: L.Multiply()([L.GlobalMaxPooling1D(keepdims=True)(x), x])),
    "broadcast ranks": lambda: functional(lambda x: L.Add()([L.LSTM(F)(x), x])),
    "concat steps": lambda: of(lambda x: L.LSTM(2)(L.Concatenate(axis=1)([x, L.Dense(F)(x)])), 5, F),
    "concat repeated": lambda: of(lambda x: L.LSTM(2)(L.Concatenate()([x, L.RepeatVector(5)(L.LSTM(3)(x))])), 5, F),
    "dot features": lambda: of(lambda x: L.Dot(axes=1)([L.LSTM(3)(x), L.GRU(3)(x)]), None, F),
    "dot normalized": lambda: of(lambda x: L.Dot(axes=1, normalize=True)([L.LSTM(3)(x), L.GRU(3)(x)]), None, F),
    "dot steps": lambda: of(lambda x: L.Dot(axes=1)([L.Dense(1, activation="softmax")(x), x]), None, F),
    "dot scores": lambda: of(lambda x: L.Dot(axes=2)([x, L.Dense(F)(x)]), 5, F),
    "dot vec": lambda: of(lambda x: L.Dot(axes=(2, 1))([x, L.LSTM(F)(x)]), None, F),
    # attention
    "attention": lambda: functional(lambda x: L.Attention()([L.LSTM(3, return_sequences=True)(x), L.Dense(3)(x)])),
    "attention scale": lambda: functional(lambda x: L.Attention(use_scale=True)([x, x, L.Dense(F)(x)])),
    "attention causal": lambda: functional(lambda x: L.Attention()([x, x], use_causal_mask=True)),
    "attention concat": lambda: functional(lambda x: L.Attention(score_mode="concat")([x, x])),
    "attention masked": lambda: masked(lambda e: L.LSTM(3)(L.Attention()([e, e]))),
    "additive": lambda: functional(lambda x: L.AdditiveAttention()([L.Dense(F)(x), x])),
    "additive plain": lambda: functional(lambda x: L.AdditiveAttention(use_scale=False)([L.Dense(F)(x), x])),
    "multi head": lambda: functional(lambda x: L.MultiHeadAttention(2, 3)(x, x)),
    "multi head keys": lambda: functional(
        lambda x: L.MultiHeadAttention(2, 3, value_dim=2, output_shape=5, use_bias=False)(
            x, L.Dense(3)(x), L.Dense(2)(x)
        )
    ),
    "multi head causal": lambda: functional(lambda x: L.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)),
    "multi head masked": lambda: masked(lambda e: L.GlobalAveragePooling1D()(L.MultiHeadAttention(2, 3)(e, e))),
    "multi head masked steps": lambda: masked(lambda e: L.MultiHeadAttention(2, 3)(e, e)),
    "multi head masked values": lambda: masked(
        lambda e: L.MultiHeadAttention(2, 3)(L.RepeatVector(2)(L.LSTM(3)(e)), e)
    ),
    "grouped heads masked": lambda: masked(lambda e: L.GroupQueryAttention(3, 4, 2)(e, e)),
    "attention masked steps": lambda: masked(lambda e: L.Attention()([e, e])),
    "attention of one step": lambda: _scores(),
    "attention scores": lambda: of(lambda x: list(L.Attention()([x, x], return_attention_scores=True)), 4, F),
    "multi head scores": lambda: of(
        lambda x: list(L.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True)), 4, F
    ),
    "attention concat scale": lambda: functional(lambda x: L.Attention(True, "concat")([x, x])),
    "grouped heads": lambda: functional(lambda x: L.GroupQueryAttention(3, 4, 2)(x, x)),
    "attention by hand": lambda: of(_attention_by_hand, 6, F),
    "attention over lstm": lambda: of(_attention_over_lstm, None, F),
    "encoder decoder": lambda: _encoder_decoder(5, 4),
    "encoder decoder, free steps": lambda: _encoder_decoder(None, None),
    "matrices of attention": lambda: of(_matrices, None, F),
    "scores as they are": lambda: of(lambda x: L.LSTM(2)(L.Dense(3)(L.Dot(axes=2)([x, x]))), 5, F),
    "scores as an output": lambda: of(_matrices_too, 5, F),
    # images
    "image": lambda: image(L.Conv2D(4, 3, activation="relu"), L.MaxPooling2D(2), L.Flatten(), L.Dense(2)),
    "image same": lambda: image(L.Conv2D(4, (3, 2), padding="same", strides=2), L.MaxPooling2D((2, 3), padding="same")),
    "image groups": lambda: image(L.Conv2D(6, 3, groups=3, dilation_rate=(2, 1)), L.BatchNormalization(), L.ReLU()),
    "image depthwise": lambda: image(L.DepthwiseConv2D(3, depth_multiplier=2), L.SeparableConv2D(3, 2)),
    "image transposed": lambda: image(
        L.Conv2DTranspose(4, 3, strides=2, padding="same"), L.Conv2DTranspose(2, (3, 2), (2, 1))
    ),
    "image up between": lambda: image(L.UpSampling2D((2, 3), interpolation="bilinear"), L.Conv2D(2, 2)),
    "image decoded at every step": lambda: of(
        lambda x: L.Conv2DTranspose(2, (1, 3), strides=(1, 2), padding="same")(
            L.Conv2D(4, (2, 3), strides=(1, 2), padding="same")(x)
        ),
        None,
        8,
        2,
    ),
    "einsum": lambda: seq(
        L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"),
        L.EinsumDense("abde,def->abf", (None, 4), bias_axes="f", activation="relu"),
    ),
    "einsum over steps": lambda: fixed(
        L.EinsumDense("abc,bd->adc", (5, F)), L.EinsumDense("abc,bcd->ad", (3,), bias_axes="d")
    ),
    "einsum of each": lambda: seq(
        L.EinsumDense("...x,xy->...y", 4, bias_axes="y"), L.EinsumDense("abc,c->abc", (None, 4))
    ),
    "einsum of axes with a bias each": lambda: image(L.EinsumDense("abcd,de->aebc", (2, 6, 8), bias_axes="eb")),
    "image shapes": lambda: image(
        L.ZeroPadding2D(((1, 2), (3, 0))),
        L.Cropping2D(((0, 1), (2, 1))),
        L.UpSampling2D((2, 3)),
        L.GlobalAveragePooling2D(),
    ),
    "image norm": lambda: image(
        L.LayerNormalization(), L.PReLU(shared_axes=[1, 2]), L.GlobalMaxPooling2D(keepdims=True)
    ),
    "crnn": lambda: image(
        L.Conv2D(4, 3, padding="same", activation="relu"),
        L.MaxPooling2D((2, 1)),
        L.BatchNormalization(),
        L.Permute((2, 1, 3)),
        L.Reshape((8, 12)),
        L.Bidirectional(L.LSTM(3, return_sequences=True)),
        L.Dense(5, activation="softmax"),
    ),
    "crnn width first": lambda: image(
        L.Conv2D(4, 3, padding="same"), L.MaxPooling2D(2), L.Reshape((3, 16)), L.Dense(5, activation="relu"), L.GRU(4)
    ),
    "crnn free width": lambda: image(
        L.Conv2D(4, 3, padding="same"),
        L.MaxPooling2D((2, 1)),
        L.Permute((2, 1, 3)),
        L.TimeDistributed(L.Flatten()),
        L.LSTM(3),
        shape=(6, None, 3),
    ),
    "video": lambda: image(
        L.TimeDistributed(L.Conv2D(4, 3, activation="relu")),
        L.TimeDistributed(L.MaxPooling2D(2)),
        L.TimeDistributed(L.Flatten()),
        L.LSTM(3),
        shape=(None, 6, 6, 2),
    ),
    "video model": lambda: image(
        L.TimeDistributed(keras.Sequential([L.Input((6, 6, 2)), L.Conv2D(3, 3), L.GlobalAveragePooling2D()])),
        L.LSTM(3),
        shape=(4, 6, 6, 2),
    ),
    "windows of steps": lambda: image(
        L.TimeDistributed(L.Conv1D(4, 3, activation="relu")),
        L.TimeDistributed(L.MaxPooling1D(2)),
        L.TimeDistributed(L.Flatten()),
        L.LSTM(3),
        shape=(4, 8, 1),
    ),
    "distributed lstm": lambda: image(L.TimeDistributed(L.LSTM(3)), L.GRU(2), shape=(3, 5, 2)),
    "distributed lstm, free steps": lambda: image(
        L.TimeDistributed(L.Bidirectional(L.LSTM(3, return_sequences=True))), L.Permute((2, 1, 3)), shape=(3, None, 2)
    ),
    "distributed model": lambda: image(
        L.TimeDistributed(keras.Sequential([L.Input((5, 2)), L.Dense(3), L.LSTM(3)])), L.LSTM(2), shape=(3, 5, 2)
    ),
    "conv3d": lambda: image(L.Conv3D(3, 2), L.MaxPooling3D((1, 2, 2)), L.GlobalAveragePooling3D(), shape=(4, 6, 6, 2)),
    "conv lstm 1d": lambda: image(L.ConvLSTM1D(3, 3, padding="same", return_sequences=True), shape=(None, 6, 2)),
    "conv lstm 2d": lambda: image(L.ConvLSTM2D(3, (2, 3), strides=(1, 2)), L.Flatten(), L.Dense(2), shape=(4, 6, 7, 2)),
    "conv lstm back": lambda: image(
        L.ConvLSTM2D(2, 3, go_backwards=True, recurrent_activation="hard_sigmoid", return_sequences=True),
        L.ConvLSTM2D(2, 2, use_bias=False),
        shape=(4, 6, 6, 1),
    ),
}


def _attention_by_hand(x: Any) -> Any:
    """Weights of steps by a dense layer over them, as many models on the web have it."""
    y = L.LSTM(5, return_sequences=True)(x)
    weights = L.Permute((2, 1))(L.Dense(6, activation="softmax")(L.Permute((2, 1))(y)))
    return L.Flatten()(L.Multiply()([y, weights]))


def _attention_over_lstm(x: Any) -> Any:
    y = L.Bidirectional(L.LSTM(3, return_sequences=True))(x)
    weights = L.Softmax(axis=1)(L.Dense(1, activation="tanh")(y))
    return L.Dense(2)(ops.sum(y * weights, axis=1))


def _matrices(x: Any) -> Any:
    q, k, v = L.Dense(3)(x), L.Dense(3)(x), L.Dense(2)(x)
    weights = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1))) / np.sqrt(3.0))
    return ops.matmul(L.Dropout(0.1)(weights), v)


def _matrices_too(x: Any) -> Any:
    weights = L.Softmax()(L.Dot(axes=2)([x, L.Dense(F)(x)]) * 0.5)
    return [L.Dot(axes=(2, 1))([weights, x]), weights]


def _encoder_decoder(steps: int | None, others: int | None) -> Any:
    a, b = L.Input((steps, F), name="a"), L.Input((others, 3), name="b")
    y, h, c = L.LSTM(3, return_sequences=True, return_state=True)(a)
    z = L.LSTM(3, return_sequences=True)(b, initial_state=[h, c])
    scores = L.Activation("softmax")(L.Dot(axes=[2, 2])([z, y]))
    return keras.Model([a, b], L.Dense(2)(L.Concatenate()([L.Dot(axes=[2, 1])([scores, y]), z])))


def _scores() -> Any:
    x = L.Input((None, F), name="x")
    query = L.RepeatVector(1)(L.LSTM(F)(x))
    out, scores = L.AdditiveAttention()([query, x], return_attention_scores=True)
    return keras.Model(x, [L.Flatten()(out), scores])


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "last": lambda x: x[:, -1, :],
    "first": lambda x: x[:, 0],
    "third": lambda x: x[:, 2],
    "third last": lambda x: x[:, -3],
    "some steps": lambda x: x[:, 1:4],
    "but last": lambda x: x[:, :-1],
    "last ones": lambda x: x[:, -3:],
    "last ones but one": lambda x: x[:, -3:-1],
    "every second": lambda x: x[:, ::2, 1:3],
    "features": lambda x: x[..., 1:3],
    "feature": lambda x: x[..., 2],
    "new axis": lambda x: x[:, -1][:, None, :] + x,
    "times": lambda x: x * 2,
    "one minus": lambda x: 1 - x,
    "two over": lambda x: 2 / (x * x + 1),
    "over": lambda x: x / 3.0,
    "power": lambda x: x**2 + (x * x + 1) ** 0.5 + (x * x + 1) ** 1.7 + 2.0**x,
    "negative": lambda x: abs(-x),
    "array": lambda x: x * np.array([1.0, 2, 3, 4], np.float32) + np.array([0.5, 0, 0, 1], np.float32),
    "array of steps": lambda x: x + np.arange(6, dtype=np.float32)[:, None],
    "limits": lambda x: ops.maximum(ops.minimum(x, 0.5), -0.25),
    "limits of arrays": lambda x: ops.maximum(x, np.array([0.0, 1, 2, 3], np.float32)),
    "clip": lambda x: ops.clip(x, -0.5, 0.5),
    "two": lambda x: x * ops.tanh(x) - x / (ops.exp(x) + 1),
    "mean": lambda x: ops.mean(x, axis=1),
    "mean keep": lambda x: x - ops.mean(x, axis=1, keepdims=True),
    "mean features": lambda x: ops.mean(x, axis=-1, keepdims=True) * x,
    "sum both": lambda x: ops.sum(x, axis=(1, 2), keepdims=True) + x,
    "max": lambda x: ops.max(x, axis=1) + ops.min(x, axis=1),
    "std": lambda x: ops.std(x, axis=1),
    "var": lambda x: ops.var(x, axis=-1),
    "concat": lambda x: ops.concatenate([x, x * 2], axis=-1),
    "concat steps": lambda x: ops.concatenate([x, x * 2], axis=1),
    "stack": lambda x: ops.stack([x[:, 0], x[:, 1]], axis=1),
    "split": lambda x: ops.split(x, 2, axis=-1)[1],
    "unstack": lambda x: ops.unstack(x, axis=1)[1],
    "expand": lambda x: ops.expand_dims(x[:, 0], 1) * x,
    "squeeze": lambda x: ops.squeeze(x[:, :1], 1),
    "reshape": lambda x: ops.reshape(x, (-1, 24)),
    "transpose": lambda x: ops.transpose(x, (0, 2, 1)),
    "swap": lambda x: ops.swapaxes(x, 1, 2) * 2,
    "tile": lambda x: ops.tile(x[:, 0], (1, 3)),
    "repeat": lambda x: ops.repeat(x, 2, axis=1),
    "flip": lambda x: ops.flip(x, axis=1) + ops.flip(x, axis=-1),
    "pad": lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1))),
    "take": lambda x: ops.take(x, [0, 2], axis=-1),
    "softmax": lambda x: ops.softmax(x, axis=1) + ops.softmax(x),
    "log softmax": lambda x: ops.log_softmax(x, axis=1),
    "normalize": lambda x: ops.normalize(x, axis=-1) + ops.normalize(x, axis=1),
    "matmul": lambda x: ops.matmul(ops.softmax(ops.matmul(x, ops.transpose(x, (0, 2, 1)))), x),
    "einsum": lambda x: ops.einsum("btf,bsf->bts", x, x),
    "cumsum": lambda x: ops.cumsum(x, axis=1),
    "activations": lambda x: (
        ops.gelu(x) + ops.leaky_relu(x) + ops.silu(x) + ops.elu(x) + ops.relu6(x * 4) + ops.hard_sigmoid(x)
    ),
    "functions": lambda x: (
        ops.sqrt(ops.square(x) + 1) + ops.log(x * x + 1) + ops.rsqrt(x * x + 1) + ops.sin(x) + ops.cos(x)
    ),
    "more functions": lambda x: (
        ops.log_sigmoid(x) + ops.erf(x) + ops.floor(x) + ops.sign(x) + ops.reciprocal(x * x + 1)
    ),
}
CASES |= {
    "cells as layers": lambda: of(_cells, 6, F),
    "choices": lambda: of(_choices, None, F),
    "reversible": lambda: ids_model(_scored_words(L.ReversibleEmbedding(V, F))),
    "reversible, untied": lambda: ids_model(
        _scored_words(L.ReversibleEmbedding(V, F, tie_weights=False, logit_soft_cap=3.0, mask_zero=True))
    ),
    "places": lambda: of(
        lambda x: [ops.argmax(x, axis=-1), ops.argmin(x, axis=1, keepdims=True), ops.argmax(x * 0, axis=2)], 6, F
    ),
    "places looked up": lambda: of(_greedy, F),
    "roll": lambda: of(lambda x: [ops.roll(x, 2, axis=1), ops.roll(x, -1, axis=-1)], 6, F),
    "rounded up": lambda: of(lambda x: [ops.ceil(x), ops.log2(ops.exp(x)), ops.log10(ops.exp(x))], None, F),
    "truths": lambda: of(
        lambda x: [ops.cast(f(ops.expand_dims(x, 2) > 0.1, axis=-1), "float32") for f in (ops.any, ops.all)], None, F
    ),
    "spectral": lambda: seq(L.SpectralNormalization(L.Dense(3)), L.LSTM(2)),
    "augmented": lambda: image(L.RandomFlip(), L.RandomContrast(0.1), L.Conv2D(2, 3), L.Reshape((4, 12)), L.GRU(2)),
    "one_hot": lambda: ids_model(lambda ids: L.GRU(3)(ops.one_hot(ids, V))),
    "mask as numbers": lambda: ids_model(_mean_of_words),
    "constant matrices": lambda: of(_products, None, F),
    "moveaxis": lambda: of(lambda x: L.GRU(3)(ops.moveaxis(x, -1, 1)), 6, F),
    "sums of logarithms": lambda: of(
        lambda x: [ops.logsumexp(x, axis=-1), ops.norm(x, axis=-1), ops.log1p(ops.relu(x)), ops.expm1(x)], None, F
    ),
    "ids of characters": lambda: ids_model(
        lambda ids: L.GRU(3)(L.TimeDistributed(L.Embedding(V, 2))(ids)[:, :, -1]), 4
    ),
    "ids of sentences": lambda: ids_model(lambda ids: L.LSTM(3)(L.TimeDistributed(_sentence())(ids)), 4, steps=3),
    "ids of two axes": lambda: ids_model(lambda ids: L.Embedding(V, 3)(ids), 4),
    "called with names": lambda: _called_with_names(),
    "shared by two models": lambda: _shared_by_two_models(),
}
CASES |= {f"function {name}": lambda f=f: of(f, 6, F) for name, f in FUNCTIONS.items()}
FREE = [
    "last",
    "first",
    "but last",
    "last ones",
    "last ones but one",
    "every second",
    "features",
    "one minus",
    "new axis",
    "mean",
    "mean keep",
    "sum both",
    "std",
    "softmax",
    "repeat",
    "flip",
    "pad",
    "cumsum",
    "array",
    "normalize",
]
CASES |= {f"function {name}, free steps": lambda f=FUNCTIONS[name]: of(f, None, F) for name in FREE}


def test_shared_layers_in_a_pair(tmp_path: Path) -> None:
    """A file of weights has them once, where Keras meets them first; other names than the file's lead nowhere."""
    model = _shared_by_two_models()
    randomise(model, np.random.default_rng(7))
    model.save_weights(tmp_path / "m.weights.h5")
    text = model.to_json()
    assert_same(from_keras(model), from_keras(tmp_path / "m.weights.h5", text))
    with pytest.raises(ConvertError, match="holds 0 weights, expected 3"):
        from_keras(tmp_path / "m.weights.h5", text.replace('"encoder"', '"other"'))


def test_low_rank_adaptation(tmp_path: Path) -> None:
    """Archives have it added to the kernels, other files have both."""
    adapted = [L.Embedding(V, F), L.Dense(5), L.Conv1D(4, 2), L.EinsumDense("abc,cd->abd", (None, 3))]
    model = keras.Sequential([L.Input((None,), dtype="int32"), *adapted])
    for layer in adapted:
        layer.enable_lora(2, lora_alpha=3)
    randomise(model, np.random.default_rng(7))
    check_numbers(model, from_keras(model), 2, 5)
    for file in ("m.keras", "m.h5"):
        model.save(tmp_path / file)
        check_numbers(model, from_keras(tmp_path / file), 2, 5)


def _without_names(h5: Any) -> None:
    groups: list[Any] = []
    h5.visititems(lambda _, group: groups.append(group))
    for group in groups:
        group.attrs.pop("name", None)


def test_shared_layers_in_files_without_names(tmp_path: Path) -> None:
    """Archives of Keras 2 do not tell the names of layers, the architecture does."""
    model = _shared_by_two_models()
    randomise(model, np.random.default_rng(7))
    file = edit_weights(save(model, tmp_path), _without_names)
    assert_same(from_keras(model), from_keras(file))


@pytest.mark.parametrize("case", CASES)
def test_layers(case: str, tmp_path: Path) -> None:
    model = CASES[case]()
    check_layers(model, tmp_path)
