"""ONNX files -> graph, without onnx or onnxruntime installed."""

from __future__ import annotations

import os
from collections.abc import Mapping

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

from ..program.convert import to_graph
from ..weights.mapped import copy_out
from ..weights.tensors import noting_not_finite
from .model import open_model
from .source import OnnxSource


def from_onnx(source: str | os.PathLike[str], settings: Mapping[str, int] | None = None) -> Graph:
    """Convert an ONNX model.

    Inputs and outputs keep their names, order and axes. The graph is compared with the model's own numbers, at several
    sizes, where the file leaves sizes free. ``graph.meta["notes"]`` lists what a user of the model should know.

    Args:
        source: path of the file; numbers in files beside it are read from its folder alone.
        settings: values of inputs that are single whole numbers, which decide what the model does; one of those that
            the model compares them with is chosen for the others, and noted.

    Raises:
        ConvertError: the file is broken, or the model has an operator, an option or a shape that is not supported; what
            it is is named.
        FileNotFoundError: there is no such file.
    """
    model = open_model(source)
    program = OnnxSource(model)
    beside: list[str] = []
    try:
        with noting_not_finite(beside):
            graph = to_graph(program, settings)
    except ConvertError as e:
        name = model.what
        raise ConvertError(f"{name}: {str(e).removeprefix(f'{name}: ')}") from e
    except RecursionError as e:
        raise ConvertError(f"{model.what}: its graphs are nested too deeply") from e
    model.budget.graph(graph)
    copy_out(graph, model.tensors.files.values())
    graph.meta["source"] = program.about
    notes = [*program.notes, *beside, *graph.meta.get("notes", [])]
    if notes:
        graph.meta["notes"] = notes
    return graph
