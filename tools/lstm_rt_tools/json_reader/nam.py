"""Neural Amp Modeler's ``.nam`` files whose architecture is an LSTM: all weights in one list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Array, Graph

from ..weights.json_text import looks_like_json
from ..weights.state_json import json_array
from .tables import Described, known, text, whole

_TOP = ("version", "metadata", "architecture", "config", "weights", "sample_rate")
_CONFIG = ("input_size", "hidden_size", "num_layers")


def looks_like_nam(head: bytes) -> bool:
    """Whether a file that begins with ``head`` may be Neural Amp Modeler's."""
    return looks_like_json(head) and b'"architecture"' in head and b'"config"' in head


def build(file: Described) -> Graph:
    """The graph of an LSTM: its layers, then a product that gives one number a sample.

    Raises:
        ConvertError: another architecture, or weights that are not as many as the sizes say.
    """
    what, tree = file.what, file.tree
    if tree.get("architecture") != "LSTM":
        raise ConvertError(
            f"{what}: its architecture is {text(tree.get('architecture'))}; of .nam files only those of an LSTM can be "
            "converted"
        )
    known(what, tree, _TOP)
    config = tree.get("config")
    if not isinstance(config, Mapping):
        raise ConvertError(f"{what}: config is not a table")
    known(f"{what}: config", config, _CONFIG)
    inputs, hidden, layers = (whole(f"{what}: config", name, config.get(name)) for name in _CONFIG)
    weights = _Weights(file, inputs, hidden, layers)
    return _layers(file, weights, inputs, hidden, layers)


class _Weights:
    """The list, taken from its front."""

    def __init__(self, file: Described, inputs: int, hidden: int, layers: int) -> None:
        given: Any = file.tree.get("weights")
        numbers = json_array("weights", given, file.what) if isinstance(given, list) else np.zeros(0, np.float32)
        cell = 4 * hidden * (hidden + 1) + 2 * hidden  # and the inputs of each, which differ
        expected = layers * cell + 4 * hidden * (inputs + (layers - 1) * hidden) + hidden + 1
        if numbers.shape != (expected,):
            raise ConvertError(
                f"{file.what}: {numbers.size:,} weights, expected {expected:,}: input_size {inputs}, "
                f"hidden_size {hidden}, num_layers {layers}"
            )
        self._left: Array = numbers

    def take(self, *shape: int) -> Array:
        count = int(np.prod(shape))
        taken, self._left = self._left[:count], self._left[count:]
        return taken.reshape(shape)


def _layers(file: Described, weights: _Weights, inputs: int, hidden: int, layers: int) -> Graph:
    g = Graph()
    y = g.input("x", "seq", inputs)
    starts = False
    for k in range(layers):
        size = inputs if k == 0 else hidden
        both, bias, h0, c0 = weights.take(4 * hidden, size + hidden), *(weights.take(n * hidden) for n in (4, 1, 1))
        named = {"w_ih": both[:, :size], "w_hh": both[:, size:], "b_ih": bias}
        with g.layer(f"lstm.{k}"):
            given = bool(h0.any() or c0.any())
            h, c = (g.constant(state) if given else None for state in (h0, c0))
            y, _, _ = g.recurrent("lstm", y, named, hidden_size=hidden, h0=h, c0=c)
            starts = starts or given
    with g.layer("head"):
        y = g.dense(y, weights.take(1, hidden), weights.take(1))
    g.output(y, "output")
    if starts:
        file.notes.append(
            "the layers begin every call with the states that are in the file: the model gives what the plugin gives "
            "from its start on, and cannot stream"
        )
    return g
