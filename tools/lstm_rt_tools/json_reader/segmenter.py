"""``weights.json`` of ICU's word segmenters: embedding, bidirectional LSTM, softmax over four tags.

The arrays are Keras', called mat1 to mat9. With a dictionary the text is numbers of it, or the number behind the last;
without one it is vectors, and the embedding is a product.
"""

from __future__ import annotations

import math

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Array, Graph

from ..weights.json_text import looks_like_json
from ..weights.state_json import json_array
from .tables import Described, known, text, whole

_ARRAYS = tuple(f"mat{k}" for k in range(1, 10))
_TOP = ("model", "type", "dic", *_ARRAYS)
_ARRAY = ("v", "dim", "data")
_VERSION = 1


def looks_like_segmenter(head: bytes) -> bool:
    """Whether a file that begins with ``head`` may be a segmenter's."""
    return looks_like_json(head) and b'"mat1"' in head


def build(file: Described) -> Graph:
    """The graph of a segmenter.

    Raises:
        ConvertError: an array is missing or unknown, or of a shape that does not fit the others.
    """
    known(file.what, file.tree, _TOP)
    table = _array(file, "mat1")
    if table.ndim != 2:
        raise ConvertError(f"{file.what}: mat1 has {table.ndim} dimensions, expected 2: an embedding")
    rows, size = table.shape
    hidden = whole(file.what, "the first size of mat3", (*_array(file, "mat3").shape, 0)[0])
    shapes = [(size, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,)] * 2 + [(2 * hidden, 4), (4,)]
    arrays = [_array(file, name, shape) for name, shape in zip(_ARRAYS[1:], shapes, strict=True)]
    cells: dict[str, Array] = {}
    for suffix, (kernel, recurrent, bias) in (("", arrays[:3]), ("_reverse", arrays[3:6])):
        # Keras' gates are in PyTorch's order: i f c o.
        cells |= {f"w_ih{suffix}": kernel.T, f"w_hh{suffix}": recurrent.T, f"b_ih{suffix}": bias}
    g = Graph()
    if "dic" in file.tree:
        y = _embedded(file, g, table)
    else:
        y = g.input("x", "seq", rows)
        with g.layer("embedding"):
            y = g.dense(y, table.T)
    with g.layer("lstm"):
        y = g.recurrent("lstm", y, cells, hidden_size=hidden, direction="bidirectional")[0]
    with g.layer("dense"):
        y = g.dense(y, arrays[6].T, arrays[7], "softmax")
    g.output(y, "output")
    return g


def _embedded(file: Described, g: Graph, table: Array) -> int:
    dic, rows = file.tree["dic"], len(table)
    if not isinstance(dic, dict) or sorted(map(repr, dic.values())) != sorted(map(repr, range(rows - 1))):
        raise ConvertError(f"{file.what}: dic is no table with the numbers 0 to {rows - 2}; mat1 has {rows} rows")
    file.notes.append(f"ids are the numbers in the file's dic; {rows - 1} stands for what is not in it")
    ids = g.input("ids", "ids")
    with g.layer("embedding"):
        return g.embedding(ids, table)


def _array(file: Described, name: str, shape: tuple[int, ...] | None = None) -> Array:
    """An array of the file, of this shape if one is given."""
    what, given = f"{file.what}: {name}", file.tree.get(name)
    if not isinstance(given, dict):
        raise ConvertError(f"{what} is {text(given)}, expected a table with dim and data")
    known(what, given, _ARRAY)
    if given.get("v") != _VERSION:
        raise ConvertError(f"{what} is of version {text(given.get('v'))}, expected {_VERSION}")
    dim = given.get("dim")
    if not isinstance(dim, list) or not 1 <= len(dim) <= 2:
        raise ConvertError(f"{what}: dim is {text(dim)}, expected one size or two")
    sizes = tuple(whole(what, "a size in dim", n) for n in dim)
    if shape is not None and sizes != shape:
        raise ConvertError(f"{what} has shape {sizes}, expected {shape}")
    numbers = json_array(name, given.get("data"), file.what)
    if numbers.shape != (math.prod(sizes),):
        raise ConvertError(f"{what}: {numbers.size:,} numbers in data, expected {math.prod(sizes):,}: {sizes}")
    return numbers.reshape(sizes)
