"""Word segmenters of ICU beside Keras, and what is wrong with others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lstm_rt_tools import readers
from lstm_rt_tools.row import Options

from lstm_rt import ConvertError, Model
from lstm_rt.graph import Graph

RNG = np.random.default_rng(0)
ROWS, SIZE, HIDDEN = 6, 3, 2


def arrays(rows: int = ROWS, size: int = SIZE, hidden: int = HIDDEN) -> list[np.ndarray]:
    lstm = [(size, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,)]
    shapes = [(rows, size), *lstm, *lstm, (2 * hidden, 4), (4,)]
    return [RNG.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]


def segmenter(weights: list[np.ndarray], **more: Any) -> dict[str, Any]:
    mats = {
        f"mat{k}": {"v": 1, "dim": list(a.shape), "data": a.ravel().tolist()} for k, a in enumerate(weights, start=1)
    }
    return {"model": "Toy_codepoints_model1_heavy", **more, **mats}


def dic(rows: int = ROWS) -> dict[str, int]:
    return {chr(0xE01 + k): k for k in range(rows - 1)}


def converted(tmp_path: Path, tree: Any) -> Graph:
    path = tmp_path / "weights.json"
    path.write_text(json.dumps(tree))
    return readers.read(path, Options())


@pytest.mark.parametrize("ids", [True, False])
def test_as_keras(ids: bool, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    k, weights = keras.layers, arrays()
    first = k.Embedding(ROWS, SIZE) if ids else k.TimeDistributed(k.Dense(SIZE, use_bias=False))
    lstm = k.Bidirectional(k.LSTM(HIDDEN, return_sequences=True))
    shape = (None,) if ids else (None, ROWS)
    model = keras.Sequential([k.Input(shape), first, lstm, k.TimeDistributed(k.Dense(4, activation="softmax"))])
    model.set_weights(weights)
    graph = converted(tmp_path, segmenter(weights, **({"dic": dic()} if ids else {})))
    x = RNG.integers(0, ROWS, (3, 9)).astype(np.int32) if ids else RNG.standard_normal((3, 9, ROWS)).astype(np.float32)
    want = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(Model(graph)(x), want, rtol=0, atol=1e-6)
    assert [n.name for n in graph.nodes] == ["embedding", "lstm", "dense"]
    assert graph.meta["source"]["framework"] == "icu"
    assert graph.meta["source"]["metadata"] == {"model": "Toy_codepoints_model1_heavy"}
    notes = ["ids are the numbers in the file's dic; 5 stands for what is not in it"]
    assert graph.meta.get("notes", []) == (notes if ids else [])


WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "top": (lambda t: t.update(mat10={}), "unknown 'mat10'; known: model"),
    "missing": (lambda t: t.pop("mat9"), "mat9 is None, expected a table with dim and data"),
    "option": (lambda t: t["mat2"].update(scale=1), "mat2: unknown 'scale'; known: v, dim, data"),
    "version": (lambda t: t["mat2"].update(v=2), "mat2 is of version 2, expected 1"),
    "dim": (lambda t: t["mat2"].update(dim=[1, 2, 3]), "mat2: dim is a list, expected one size or two"),
    "size": (lambda t: t["mat2"].update(dim=[3, -8]), "mat2: a size in dim is -8, expected a whole number"),
    "numbers": (lambda t: t["mat2"]["data"].pop(), r"mat2: 23 numbers in data, expected 24: \(3, 8\)"),
    "absurd": (lambda t: t["mat1"].update(dim=[1 << 40, 1 << 40]), "mat1: 18 numbers in data, expected 1,208,925,8"),
    "text": (lambda t: t["mat1"].update(data=["a"] * 18), "weight mat1 is not a regular array of numbers"),
    "no data": (lambda t: t["mat1"].pop("data"), "weight mat1 is not a regular array of numbers"),
    "embedding": (lambda t: t["mat1"].update(dim=[18]), "mat1 has 1 dimensions, expected 2: an embedding"),
    "gates": (lambda t: t["mat2"].update(dim=[8, 3]), r"mat2 has shape \(8, 3\), expected \(3, 8\)"),
    "dic": (lambda t: t["dic"].popitem(), "dic is no table with the numbers 0 to 4; mat1 has 6 rows"),
    "twice": (lambda t: t["dic"].update({"x": 0}), "dic is no table with the numbers 0 to 4"),
    "list": (lambda t: t.update(dic=[0, 1, 2, 3, 4]), "dic is no table with the numbers 0 to 4"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files(name: str, tmp_path: Path) -> None:
    tree = segmenter(arrays(), dic=dic())
    damage, message = WRONG[name]
    damage(tree)
    with pytest.raises(ConvertError, match=rf"^weights\.json: {message}"):
        converted(tmp_path, tree)
