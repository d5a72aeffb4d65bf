"""ONNX models run by onnxruntime beside what they were exported from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from lstm_rt_tools import to_onnx
from lstm_rt_tools.judges import reference
from lstm_rt_tools.judges.onnx_run import run_onnx

from lstm_rt import Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph


def runs(model: Any, inputs: Sequence[Any]) -> list[Any]:
    pytest.importorskip("onnxruntime")
    names = [i.name for i in model.graph.input]
    return run_onnx(model.SerializeToString(), dict(zip(names, inputs, strict=True)))[1]


def outputs_of(graph: Graph, inputs: Sequence[Any]) -> list[Any]:
    """What the runtime gives."""
    y = Model(dumps(graph))(*inputs)
    return list(y) if isinstance(y, tuple) else [y]


def close(graph: Graph, inputs: Sequence[Any], model: Any, want: Sequence[Any]) -> None:
    """onnxruntime gives what is wanted, within 1e-6 on the scale of each output.

    Where float32 itself is further away than that from float64, as with gates without bounds, it is allowed 8 times
    as much.
    """
    exact, single = (reference.run(graph, inputs, dtype=dtype) for dtype in (np.float64, np.float32))
    got = runs(to_onnx(graph) if model is None else model, inputs)
    for y, w, a, b in zip(got, want, exact, single, strict=True):
        assert (y.shape, y.dtype) == (w.shape, np.float32)
        scale = max(1.0, float(np.max(np.abs(w[np.isfinite(w)]), initial=0)))
        with np.errstate(invalid="ignore"):
            rounding = float(np.nanmax(np.abs(a - b), initial=0))
        np.testing.assert_allclose(y, w, rtol=0, atol=max(1e-6 * scale, 8 * rounding))


def same(graph: Graph, inputs: Sequence[Any], model: Any = None) -> None:
    """onnxruntime gives what the runtime gives."""
    close(graph, inputs, model, outputs_of(graph, inputs))


def same_as_reference(graph: Graph, inputs: Sequence[Any], model: Any = None) -> None:
    """onnxruntime gives what the equations give in float64."""
    close(graph, inputs, model, reference.run(graph, inputs))
