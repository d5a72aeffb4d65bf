"""Models of a few layers, and how a conversion of one is held to living Keras: in numbers, and as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lstm_rt_tools import from_keras
from lstm_rt_tools.judges import reference
from lstm_rt_tools.keras_reader import live

import lstm_rt.format
from lstm_rt.graph import Graph

from .keras_models import F, L, V, assert_same, keras, randomise


def fixed(*layers: Any, steps: int = 6, size: int = F) -> Any:
    return keras.Sequential([L.Input((steps, size), name="x"), *layers])


def image(*layers: Any, shape: tuple[Any, ...] = (6, 8, 3)) -> Any:
    return keras.Sequential([L.Input(shape, name="x"), *layers])


def of(make: Callable[[Any], Any], *shape: Any) -> Any:
    x = L.Input(shape, name="x")
    return keras.Model(x, make(x))


def ids_model(make: Callable[[Any], Any], *more: int, steps: int | None = None) -> Any:
    ids = L.Input((steps, *more), dtype="int32", name="ids")
    return keras.Model(ids, make(ids))


def inputs_of(model: Any, batch: int, steps: int) -> list[np.ndarray]:
    rng = np.random.default_rng(batch * 100 + steps)
    arrays = []
    for tensor in model.inputs:
        shape = [batch, *(steps if n is None else n for n in tensor.shape[1:])]
        ids = "int" in str(tensor.dtype)
        if str(tensor.dtype) == "bool":
            arrays.append(rng.random(shape) < 0.7)
            arrays[-1][:, 0] = True
            continue
        x = rng.integers(0, V, shape).astype(np.int32) if ids else rng.normal(0, 1, shape).astype(np.float32)
        if ids:
            x[:, 0] = 1  # a step left in each row
        arrays.append(x)
    return arrays


def check_numbers(model: Any, graph: Graph, batch: int, steps: int) -> None:
    inputs = inputs_of(model, batch, steps)
    expected = live.run(model, inputs)
    kinds = [graph.values[i].kind for i in graph.inputs]
    inputs = [x.astype(np.int32 if kind == "ids" else np.float32) for kind, x in zip(kinds, inputs, strict=True)]
    compiled = lstm_rt.Model(lstm_rt.format.dumps(graph))(*inputs)
    for actual in (reference.run(graph, inputs), compiled if isinstance(compiled, tuple) else (compiled,)):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert a.shape == e.shape
            np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5)


def check_layers(model: Any, folder: Path) -> None:
    """A living model and its files convert to one graph, which gives the model's numbers at two sizes."""
    randomise(model, np.random.default_rng(7))
    graph = from_keras(model)
    for file in ("m.keras", "m.h5"):
        model.save(folder / file)
        assert_same(graph, from_keras(folder / file))
    for batch, steps in ((1, 7), (5, 12)):
        check_numbers(model, graph, batch, steps)
