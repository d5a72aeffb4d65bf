"""``lstm-rt verify --against``: the converted model beside the model it came from."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

from ..keras_reader import live as keras_live
from ..readers import detect
from . import testdata

_BATCH, _STEPS = 3, 9


@dataclass(frozen=True)
class Difference:
    """How far one output is from the other side's."""

    name: str
    max_abs: float
    largest: float  #: largest magnitude among the values wanted
    ok: bool


def differences(
    names: Sequence[str], got: Sequence[NDArray[Any]], want: Sequence[NDArray[Any]], atol: float, rtol: float
) -> list[Difference]:
    """Compare output by output; NaN on one side only is a mismatch.

    Raises:
        ConvertError: another number of outputs, or other shapes.
    """
    if len(got) != len(want):
        raise ConvertError(f"the model has {len(got)} outputs, its source {len(want)}")
    result = []
    for name, g, w in zip(names, got, want, strict=True):
        g, w = g.astype(np.float64), w.astype(np.float64)
        if g.shape != w.shape:
            raise ConvertError(f"output {name!r} has shape {g.shape}, that of the source {w.shape}")
        ok = bool(np.allclose(g, w, rtol=rtol, atol=atol, equal_nan=True))
        with np.errstate(invalid="ignore"):  # two infinities
            gap = np.where((g == w) | (np.isnan(g) & np.isnan(w)), 0, np.abs(g - w))
        largest = float(np.max(np.abs(w), initial=0))
        result.append(Difference(name, float(np.max(gap, initial=0)), largest, ok))
    return result


def run_source(
    source: Path, graph: Graph, arch: Path | None, framework: str | None
) -> tuple[str, list[NDArray[Any]], list[NDArray[Any]]]:
    """Run the source model on made-up inputs that fit ``graph``.

    Returns:
        What was run, in words; the inputs; the outputs.

    Raises:
        ConvertError: the source cannot be read or run.
        ImportError: the framework that must run it is not installed.
    """
    run = {"keras": _run_keras, "torch": _run_torch}[framework or detect(source)]
    return run(source, graph, arch)


def _run_torch(source: Path, graph: Graph, arch: Path | None) -> tuple[str, list[NDArray[Any]], list[NDArray[Any]]]:
    torch = importlib.import_module("torch")

    from ..torch_reader.from_torch import from_torch
    from .torch_replay import replay

    # A reading of its own, so that a .lrt made from other weights or options is found out.
    own = from_torch(source, arch=arch)
    if _signature(own) != _signature(graph):
        raise ConvertError(f"{source} gives {_signature(own)}, the model has {_signature(graph)}")
    inputs = testdata.make_inputs(own, _BATCH, _STEPS, seed=1, full_lengths=False)
    what = (
        f"torch {torch.__version__}: {source.name} read again and run layer by layer with torch.nn in float64 "
        "(the module's own Python code is not in the file and was not run)"
    )
    return what, inputs, list(replay(own, inputs))


def _signature(graph: Graph) -> list[tuple[str, str, int]]:
    values = [graph.values[i] for i in (*graph.inputs, *graph.outputs)]
    return [(v.name, v.kind, v.size) for v in values]


def _run_keras(source: Path, graph: Graph, arch: Path | None) -> tuple[str, list[NDArray[Any]], list[NDArray[Any]]]:
    keras = importlib.import_module("keras")

    try:
        model = _load_keras(keras, source, arch)
    except Exception as e:  # Keras raises whatever its layers raise
        first = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise ConvertError(f"Keras {keras.__version__} cannot load {source}: {first}") from e
    inputs = keras_live.make_inputs(model, graph, _BATCH, _STEPS, seed=1)
    backend = keras.config.backend()
    what = f"{source.name} run live by Keras {keras.__version__} ({backend} backend)"
    return what, inputs, keras_live.run(model, inputs)


def _load_keras(keras: Any, source: Path, arch: Path | None) -> Any:
    if arch is None:
        return keras.models.load_model(source, compile=False)
    model = keras.models.model_from_json(arch.read_text(encoding="utf-8"))
    model.load_weights(source)
    return model
