"""RTNeural's JSON, and AIDA-X's, which adds a skip connection and gains: Keras layers in a row, with their weights.

RTNeural runs them sample by sample with a state that starts from zero, so convolutions are causal. It computes LSTM
and GRU with sigmoid and tanh, whatever activation the file says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Array, Graph

from ..names import shown
from ..weights.json_text import looks_like_json
from ..weights.state_json import json_array
from .tables import Described, known, number, text, whole

_TOP = ("in_shape", "layers", "in_skip", "in_gain", "out_gain", "metadata", "samplerate", "sample_rate", "input_batch",
        "output_batch", "esr")  # fmt: skip
_LAYER = ("type", "activation", "shape", "weights", "kernel_size", "dilation", "groups", "strides", "epsilon",
          "padding", "units")  # fmt: skip
_ACTIVATIONS = {"": "linear", "linear": "linear", "tanh": "tanh", "relu": "relu", "sigmoid": "sigmoid",
                "softmax": "softmax", "elu": "elu"}  # fmt: skip
_SILENT = -90.0  #: gain in dB at which AIDA-X mutes
_GATES = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}  #: Keras' i f c o and z r h, as i f g o and r z n


def looks_like_rtneural(head: bytes) -> bool:
    """Whether a file that begins with ``head`` may be RTNeural's."""
    return looks_like_json(head) and (b'"in_shape"' in head or (b'"layers"' in head and b'"weights"' in head))


def build(file: Described) -> Graph:
    """The graph that a file describes.

    Raises:
        ConvertError: a layer or an option is unknown, or weights do not fit.
    """
    numbers = {k: v for k, v in file.tree.items() if not isinstance(v, str)}  # text is who made it, and how
    known(file.what, numbers, _TOP)
    layers = file.tree.get("layers")
    if not isinstance(layers, list) or not layers or not all(isinstance(layer, dict) for layer in layers):
        raise ConvertError(f"{file.what}: layers is not a list of tables")
    return _Layers(file).build(layers)


class _Layers:
    def __init__(self, file: Described) -> None:
        self.file, self.graph = file, Graph()

    def build(self, layers: Sequence[Mapping[str, Any]]) -> Graph:
        g, tree = self.graph, self.file.tree
        x = g.input("x", *self._input())
        dry = y = self._gain(x, "in_gain")
        for i, layer in enumerate(layers):
            kind = layer.get("type")
            kind = kind if isinstance(kind, str) else text(kind)
            with g.layer(f"{i}.{kind}"):
                y = self._layer(f"{self.file.what}: layer {i} ({shown(kind)})", layer, y)
        skip = whole(self.file.what, "in_skip", tree.get("in_skip", 0), 0)
        if skip:
            with g.layer("in_skip"):
                y = self._skip(dry, y, skip)
        g.output(self._gain(y, "out_gain"), "output")
        return g

    def _input(self) -> tuple[str, int]:
        """Kind and size."""
        shape = self.file.tree.get("in_shape")
        if not isinstance(shape, list) or len(shape) not in (2, 3):
            found = f"has {len(shape)} sizes" if isinstance(shape, list) else f"is {text(shape)}"
            raise ConvertError(
                f"{self.file.what}: in_shape {found}, expected (batch, steps, features) or (batch, features)"
            )
        return ("seq" if len(shape) == 3 else "vec"), whole(self.file.what, "the last of in_shape", shape[-1])

    def _gain(self, x: int, name: str) -> int:
        """A gain in decibels, as a normalisation that only scales."""
        given = self.file.tree.get(name)
        if given is None:
            return x
        decibels = number(self.file.what, name, given)
        factor = 10 ** (decibels / 20) if decibels > _SILENT else 0.0
        if factor == 1:
            return x
        self.file.notes.append(f"{name} of {decibels:g} dB is part of the model: a factor of {factor:.6g}")
        if not math.isfinite(factor) or factor > float(np.finfo(np.float32).max):
            raise ConvertError(f"{self.file.what}: {name} is {decibels:g} dB, which is beyond float32")
        ones = np.ones(self.graph.values[x].size, np.float32)
        with self.graph.layer(name):
            return self.graph.batchnorm(x, ones * 0, ones, ones * np.float32(factor), None, 0.0)

    def _skip(self, dry: int, wet: int, skip: int) -> int:
        sizes = self.graph.values[dry].size, self.graph.values[wet].size
        if skip != 1 or sizes[1] != 1:
            raise ConvertError(
                f"{self.file.what}: in_skip is {skip} with {sizes[1]} outputs, expected 1 with one output: "
                "the first input is added to it"
            )
        first = self.graph.slice(dry, 0, 1) if sizes[0] > 1 else dry
        return self.graph.binary("add", wet, first)

    def _layer(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        known(what, layer, _LAYER)
        builders = {
            "dense": self._dense,
            "time-distributed-dense": self._dense,
            "conv1d": self._conv,
            "gru": self._recurrent,
            "lstm": self._recurrent,
            "prelu": self._prelu,
            "batchnorm": self._batchnorm,
            "activation": self._activation,
        }
        kind = layer.get("type")
        if not isinstance(kind, str) or kind not in builders:
            raise ConvertError(f"{what}: a layer of this type is not supported; known: {', '.join(builders)}")
        y = builders[kind](what, layer, x)
        shape, size = layer.get("shape"), self.graph.values[y].size
        if isinstance(shape, list) and shape and shape[-1] not in (None, size):
            raise ConvertError(f"{what}: its shape ends with {text(shape[-1])}, but its weights give {size} features")
        return y

    def _weights(self, what: str, layer: Mapping[str, Any], names: Sequence[str], optional: int = 0) -> list[Array]:
        """So many arrays; the last ``optional`` of them may be missing."""
        given = layer.get("weights")
        least = len(names) - optional
        if not isinstance(given, list) or not least <= len(given) <= len(names):
            found = f"{len(given)} weights" if isinstance(given, list) else "no list of weights"
            raise ConvertError(f"{what}: {found}, expected {', '.join(names)}")
        return [json_array(f"{what} {name}", w, self.file.what) for name, w in zip(names, given, strict=False)]

    def _activate(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        name = self._activation_of(what, layer)
        return x if name == "linear" else self.graph.activation(x, name)

    def _activation_of(self, what: str, layer: Mapping[str, Any]) -> str:
        name = layer.get("activation", "")
        if not isinstance(name, str) or name not in _ACTIVATIONS:
            raise ConvertError(
                f"{what}: activation {text(name)} is unknown; known: {', '.join(filter(None, _ACTIVATIONS))}"
            )
        return _ACTIVATIONS[name]

    def _activation(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        return self.graph.activation(x, self._activation_of(what, layer))

    def _dense(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        kernel, *bias = self._weights(what, layer, ("kernel", "bias"), optional=1)
        return self.graph.dense(x, kernel.T, bias[0] if bias else None, self._activation_of(what, layer))

    def _conv(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        """Causal: the kernel's last step is the newest."""
        kernel, *bias = self._weights(what, layer, ("kernel", "bias"), optional=1)
        dilation = whole(what, "dilation", layer.get("dilation", 1))
        groups = whole(what, "groups", layer.get("groups", 1))
        if kernel.ndim != 3 or whole(what, "strides", layer.get("strides", 1)) != 1:
            raise ConvertError(f"{what}: expected a kernel (steps, inputs, outputs) and strides of 1")
        if whole(what, "kernel_size", layer.get("kernel_size")) != kernel.shape[0]:
            raise ConvertError(f"{what}: kernel_size is {layer['kernel_size']}, its kernel has {kernel.shape[0]} steps")
        weight = kernel.transpose(2, 1, 0)[..., None, None]
        before = ((kernel.shape[0] - 1) * dilation, 0), (0, 0), (0, 0)
        y = self.graph.conv(x, weight, bias[0] if bias else None, dilation=(dilation, 1, 1), pad=before, groups=groups)
        return self._activate(what, layer, y)

    def _recurrent(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        kind = str(layer["type"])
        if layer.get("activation", "") not in ("", "tanh"):
            raise ConvertError(
                f"{what}: activation {text(layer['activation'])} is not supported: RTNeural computes tanh instead, "
                "Keras what the file says"
            )
        kernel, recurrent, bias = self._weights(what, layer, ("kernel", "recurrent kernel", "bias"))
        hidden = (*recurrent.shape, 0)[0]
        gates = len(_GATES[kind])
        shapes = {"kernel": (kernel, (self.graph.values[x].size, gates * hidden)),
                  "recurrent kernel": (recurrent, (hidden, gates * hidden)),
                  "bias": (bias, (gates * hidden,) if kind == "lstm" else (2, gates * hidden))}  # fmt: skip
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise ConvertError(f"{what}: its {name} has shape {array.shape}, expected {shape}")

        def ordered(a: Array) -> Array:
            """Rows of gates in our order, of the last axis of Keras' arrays."""
            return np.concatenate([a[..., k * hidden : (k + 1) * hidden].T for k in _GATES[kind]])

        weights = {"w_ih": ordered(kernel), "w_hh": ordered(recurrent)}
        if kind == "lstm":
            weights["b_ih"] = ordered(bias)
        else:
            weights["b_ih"], weights["b_hh"] = ordered(bias[0]), ordered(bias[1])
        return self.graph.recurrent(kind, x, weights, hidden_size=hidden)[0]

    def _prelu(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        (alpha,) = self._weights(what, layer, ("alpha",))
        size = self.graph.values[x].size
        if alpha.size not in (1, size) or alpha.shape[-1:] != (alpha.size,):
            raise ConvertError(f"{what}: alpha has shape {alpha.shape}, expected ({size},) or one for all")
        return self.graph.prelu(x, np.broadcast_to(alpha.ravel(), (size,)))

    def _batchnorm(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        given = layer.get("weights")
        scaled = not isinstance(given, list) or len(given) != 2
        names = ("gamma", "beta", "mean", "variance") if scaled else ("mean", "variance")
        *affine, mean, variance = self._weights(what, layer, names)
        size = self.graph.values[x].size
        gamma, beta = affine or (np.ones_like(mean), np.zeros_like(mean))
        if any(a.shape != (size,) for a in (gamma, beta, mean, variance)):
            raise ConvertError(f"{what}: its weights are not one number for each of {size} features")
        spread = variance.astype(np.float64) + number(what, "epsilon", layer.get("epsilon"))
        if not (spread > 0).all():
            raise ConvertError(f"{what}: variance and epsilon add up to {spread.min():g}, expected a positive number")
        scale = (gamma / np.sqrt(spread)).astype(np.float32)
        return self.graph.batchnorm(x, mean, np.ones_like(mean), scale, beta, 0.0)
