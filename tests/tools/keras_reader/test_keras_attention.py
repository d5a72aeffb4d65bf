"""Masks of attention, given and made, and its scores as outputs; masks that are computed: against living Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.keras_layers import check_layers, check_numbers, ids_model, of
from helpers.keras_models import F, L, V, keras, randomise
from lstm_rt_tools import from_keras
from lstm_rt_tools.judges import reference
from lstm_rt_tools.keras_reader import live

from lstm_rt.errors import ConvertError

ops = keras.ops


def _heads(**options: Any) -> Any:
    return L.MultiHeadAttention(2, 3, **options)


def _masked(make: Callable[[Any], Any], steps: int | None = None) -> Any:
    return ids_model(lambda ids: make(L.Embedding(V, F, mask_zero=True)(ids)), steps=steps)


def _pairs(ids: Any) -> Any:
    there = ops.cast(ops.not_equal(ids, 0), "float32")
    return there[:, :, None] * there[:, None, :]


def _words(make: Callable[[Any, Any], Any], steps: int | None = None) -> Any:
    return ids_model(lambda ids: make(L.Embedding(V, F)(ids), ids), steps=steps)


def _with_input(make: Callable[[Any, Any], Any], *shape: Any, steps: int | None = 6) -> Any:
    x, mask = L.Input((steps, F), name="x"), L.Input(shape, dtype="bool", name="mask")
    return keras.Model([x, mask], make(x, mask))


def _two(make: Callable[[Any, Any], Any], *steps: int | None) -> Any:
    a, b = (L.Input((n,), dtype="int32", name=name) for n, name in zip(steps, "ab", strict=True))
    return keras.Model([a, b], make(*(L.Embedding(V, F, mask_zero=True)(i) for i in (a, b))))


def _within(layer: Any) -> Any:
    x = L.Input((None, F), name="x")
    return keras.Model(x, layer(x, mask=ops.any(ops.not_equal(x, 0.0), axis=-1)))


def _by_length() -> Any:
    x, n = L.Input((7, F), name="x"), L.Input((1,), name="n")
    places = ops.convert_to_tensor(np.arange(7, dtype=np.float32)[None])
    return keras.Model([x, n], L.LSTM(3)(x, mask=ops.less(places, n)))


def _softmax() -> Any:
    return _with_input(lambda x, mask: L.Softmax()(L.Dense(5)(x), mask=mask), 6, 5)


CASES: dict[str, Callable[[], Any]] = {
    "pairs as input": lambda: _with_input(lambda x, mask: _heads()(x, x, attention_mask=mask), 6, 6),
    "pairs of words": lambda: _words(lambda x, i: _heads()(x, x, attention_mask=_pairs(i)), 7),
    "pairs of words, zeros": lambda: _words(lambda x, i: _heads(dropout=0.1)(x, x, attention_mask=_pairs(i)), 7),
    "pairs and scores": lambda: _words(
        lambda x, i: _heads()(x, x, attention_mask=_pairs(i), return_attention_scores=True), 7
    ),
    "pairs as constant": lambda: of(lambda x: _heads()(x, x, attention_mask=np.tril(np.ones((1, 6, 6)))), 6, F),
    "keys": lambda: _words(lambda x, i: _heads()(x, x, attention_mask=ops.not_equal(i, 0)[:, None, :])),
    "keys of heads": lambda: _words(lambda x, i: _heads()(x, x, attention_mask=ops.not_equal(i, 0)[:, None, None, :])),
    "causal and masked": lambda: _masked(lambda x: _heads()(x, x, use_causal_mask=True)),
    "causal and masked, zeros": lambda: _masked(lambda x: _heads(dropout=0.1)(x, x, use_causal_mask=True)),
    "other values": lambda: _two(lambda a, b: _heads()(a, b), None, None),
    "other values, zeros": lambda: _two(lambda a, b: _heads(dropout=0.1)(a, b), None, None),
    "values given": lambda: _with_input(lambda x, mask: _heads()(x, x, value_mask=mask), None, steps=None),
    "masks given": lambda: _with_input(lambda x, mask: L.Attention()([x, x], mask=[mask, mask]), None, steps=None),
    "one mask given": lambda: _with_input(lambda x, mask: L.Attention()([x, x], mask=[None, mask]), None, steps=None),
    "scores": lambda: of(lambda x: _heads()(x, x, return_attention_scores=True), 70, F),
    "causal scores": lambda: of(
        lambda x: L.Attention()([x, x], return_attention_scores=True, use_causal_mask=True), 7, F
    ),
    "masked scores": lambda: _masked(lambda x: L.AdditiveAttention()([x, x], return_attention_scores=True), 7),
    "masked scores of heads": lambda: _masked(lambda x: _heads()(x, x, return_attention_scores=True), 7),
    "softmax": _softmax,
    # of other layers
    "added": lambda: _two(lambda a, b: L.LSTM(3)(L.Add()([a, b])), None, None),
    "joined": lambda: _two(lambda a, b: L.LSTM(3)(L.Concatenate()([a, b])), None, None),
    "one behind the other": lambda: _two(lambda a, b: L.LSTM(3)(L.Concatenate(axis=1)([a, b])), 5, 4),
    "multiplied": lambda: _two(lambda a, b: L.LSTM(3)(L.Multiply()([a, b])), None, None),
    "computed": lambda: _within(L.GRU(3)),
    "by length": _by_length,
}


@pytest.mark.parametrize("case", CASES)
def test_masks(case: str) -> None:
    model = CASES[case]()
    randomise(model, np.random.default_rng(7))
    check_numbers(model, from_keras(model), 2, 7)


@pytest.mark.parametrize("case", ["pairs as constant", "one mask given", "one behind the other"])
def test_masks_in_files(case: str, tmp_path: Path) -> None:
    check_layers(CASES[case](), tmp_path)


@pytest.mark.parametrize("causal", [False, True])
def test_rows_without_any_step(causal: bool) -> None:
    """Nothing fits better than anything else for a query that no step counts for."""
    x, y = (L.Input((None, F), name=name) for name in "xy")
    mask = L.Input((None,), dtype="bool", name="mask")
    options = {"use_causal_mask": causal}
    outs = [L.Attention()([x, y], mask=[None, mask], **options), _heads()(x, y, value_mask=mask, **options)]
    model = keras.Model([x, y, mask], outs) if not causal else None
    if causal:  # of its own steps
        outs = [L.Attention()([x, x], mask=[None, mask], **options), _heads()(x, x, value_mask=mask, **options)]
        model = keras.Model([x, mask], outs)
    randomise(model, np.random.default_rng(7))
    rng = np.random.default_rng(1)
    there = np.array([[0, 0, 0, 0], [0, 0, 1, 1]])
    inputs = [rng.normal(size=(2, 4, F)).astype(np.float32) for _ in model.inputs[:-1]] + [there]
    for mine, theirs in zip(reference.run(from_keras(model), inputs), live.run(model, inputs), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


WRONG: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "free pairs": (
        lambda: _words(lambda x, i: _heads()(x, x, attention_mask=_pairs(i))),
        ["must be fixed"],
    ),
    "free scores": (
        lambda: of(lambda x: L.Attention()([x, x], return_attention_scores=True), None, F),
        ["Attention", "scores", "fixed number of steps"],
    ),
    "query": (
        lambda: _with_input(lambda x, mask: _heads()(x, x, query_mask=mask), None, steps=None),
        ["MultiHeadAttention", "query_mask"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case: str) -> None:
    make, texts = WRONG[case]
    with pytest.raises(ConvertError) as e:
        from_keras(make())
    assert all(text in str(e.value) for text in texts), e.value
