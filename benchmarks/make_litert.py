"""Writes the workloads as LiteRT files for the engine ``litert``: ``python benchmarks/make_litert.py``.

Needs TensorFlow and Keras 2 (``pip install tensorflow tf_keras``): from its layers the converter makes the fused
LSTM operator, which it does not recognise in those of Keras 3. Only NumPy and this folder are needed besides, so that
a virtual environment of its own will do.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from engines import litert_file
from workloads import WORKLOADS, Array, Workload, reorder_gates

#: PyTorch's rows (i f g o, r z n) in Keras's order (i f c o, z r h).
GATE_ORDER = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}
STATES = {"lstm": ("h", "c"), "gru": ("h",)}


def keras_weights(w: Workload, layer: int, suffix: str) -> list[Array]:
    """Kernel, recurrent kernel and bias of one direction; an LSTM has one bias, the sum of PyTorch's two."""
    given = w.weights()

    def rows(kind: str) -> Array:
        return reorder_gates(given[f"{kind}_l{layer}{suffix}"], GATE_ORDER[w.cell])

    biases = [rows("bias_ih"), rows("bias_hh")]
    bias = biases[0] + biases[1] if w.cell == "lstm" else np.stack(biases)
    return [rows("weight_ih").T, rows("weight_hh").T, bias]


def sequence_model(w: Workload) -> Any:
    """``x`` to ``y``, whole sequences from zero state.

    The form that LiteRT is fastest with: for batches steps laid out one by one, whose products XNNPACK computes (3
    and 7 times faster for server_b32 and server_b64); otherwise the fused operator, or for GRUs a loop.
    """
    make = keras.layers.LSTM if w.cell == "lstm" else keras.layers.GRU
    x = value = keras.Input((w.steps, w.inputs), batch_size=w.batch)
    for layer in range(w.layers):
        built = make(w.hidden, return_sequences=True, unroll=w.batch > 1)
        built = keras.layers.Bidirectional(built) if w.bidirectional else built
        value = built(value)
        built.set_weights([a for at, suffix in w.parts() if at == layer for a in keras_weights(w, layer, suffix)])
    return keras.Model(x, value)


def sequence_function(w: Workload) -> tuple[Any, Any]:
    """The function to convert and the model that owns its weights."""
    model = sequence_model(w)
    run = tf.function(lambda x: {"y": model(x)})
    return run.get_concrete_function(tf.TensorSpec((w.batch, w.steps, w.inputs), tf.float32, name="x")), model


def step_function(w: Workload) -> tuple[Any, Any]:
    """One step: states ``h0``, ``c0``, ... go in, ``h0_out``, ``c0_out``, ... come out."""
    make = keras.layers.LSTMCell if w.cell == "lstm" else keras.layers.GRUCell
    owner = tf.Module()
    owner.cells = [make(w.hidden) for _ in range(w.layers)]
    for layer, cell in enumerate(owner.cells):
        cell.build((w.batch, w.layer_inputs(layer)))
        cell.set_weights(keras_weights(w, layer, ""))

    def run(x: Any, **states: Any) -> dict[str, Any]:
        value, out = x[:, 0], {}
        for layer, cell in enumerate(owner.cells):
            names = [f"{s}{layer}" for s in STATES[w.cell]]
            value, new = cell(value, [states[n] for n in names])
            out |= {f"{n}_out": s for n, s in zip(names, new, strict=True)}
        return out | {"y": value[:, None]}

    names = [f"{s}{layer}" for layer in range(w.layers) for s in STATES[w.cell]]
    states = {n: tf.TensorSpec((w.batch, w.hidden), tf.float32, name=n) for n in names}
    x = tf.TensorSpec((w.batch, 1, w.inputs), tf.float32, name="x")
    return tf.function(run).get_concrete_function(x, **states), owner


def convert(w: Workload) -> bytes:
    """The file's content."""
    function, owner = step_function(w) if w.stateful else sequence_function(w)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], owner)
    if w.dtype == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]  # without data: weights alone, the dynamic range
    return bytes(converter.convert())


def main(argv: Sequence[str] | None = None) -> int:
    """Write a file for each workload."""
    p = argparse.ArgumentParser(description="Writes the workloads as LiteRT files.")
    p.add_argument("workloads", nargs="*", choices=[[], *WORKLOADS], default=[], help="default: all")
    names = p.parse_args(argv).workloads or list(WORKLOADS)
    for w in [replace(WORKLOADS[name], dtype=dtype) for name in names for dtype in ("float32", "int8")]:
        path = litert_file(w)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(convert(w))
        size = path.stat().st_size
        if w.dtype == "int8" and size > 0.7 * litert_file(WORKLOADS[w.name]).stat().st_size:
            path.unlink()
            print(f"{path}: the converter leaves it in float32, not kept")
            continue
        print(f"{path}: {size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
