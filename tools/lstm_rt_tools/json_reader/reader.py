"""JSON of whole models for the table of readers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError, GraphError
from lstm_rt.graph import Graph

from ..judges import reference
from ..judges.compare import CHECK_TOLERANCE
from ..judges.torch_replay import second_reading
from ..row import Options, Rerun
from ..weights.state_json import json_array
from ..weights.tensors import noting_not_finite
from . import nam, rtneural, segmenter
from .tables import Described, read_table

_MOST_STEPS = 4096  #: of a check
_MOST_FACTS = 20
_LONGEST_FACT = 200


def read(path: Path, options: Options) -> Graph:
    """The graph of a file."""
    file = read_table(path)
    framework, build = _kind(file)
    try:
        with noting_not_finite(file.notes):
            graph = build(file)
        graph.check()
    except GraphError as e:
        raise ConvertError(f"{file.what}: {e}") from None
    file.budget.graph(graph)
    if checked := _compared(file, graph):
        graph.meta["checked"] = checked
    source = {"framework": framework, "file": file.what, "sha256": hashlib.sha256(file.data).hexdigest()}
    graph.meta["source"] = source | _facts(file.tree)
    if file.notes:
        graph.meta["notes"] = file.notes
    return graph


def rerun(path: Path, graph: Graph, options: Options) -> Rerun:
    """A reading of its own, run layer by layer with ``torch.nn``."""
    return Rerun(*second_reading(path, read(path, options), graph))


def _kind(file: Described) -> tuple[str, Callable[[Described], Graph]]:
    if "architecture" in file.tree:
        return "nam", nam.build
    if "layers" in file.tree:
        return "rtneural", rtneural.build
    if "mat1" in file.tree:
        return "icu", segmenter.build
    raise ConvertError(
        f"{file.what}: neither layers, nor an architecture, nor mat1; expected JSON of RTNeural, AIDA-X, Neural Amp "
        "Modeler or an ICU word segmenter"
    )


def _compared(file: Described, graph: Graph) -> str:
    """The outputs that AIDA-X puts into its files beside their inputs, where both are there."""
    x, y = (file.tree.get(name) for name in ("input_batch", "output_batch"))
    v = graph.values[graph.inputs[0]]
    if not isinstance(x, list) or not isinstance(y, list) or not x or v.kind != "seq" or v.size != 1:
        return ""
    given, want = (
        json_array(name, a, file.what).ravel()[:_MOST_STEPS] for name, a in (("input_batch", x), ("output_batch", y))
    )
    (got,) = reference.run(graph, [given.reshape(1, -1, 1)])
    if got.size != want.size:
        raise ConvertError(f"{file.what}: input_batch has {given.size} numbers, output_batch {want.size}")
    away = float(np.max(np.abs(got.ravel() - want)))
    if away > CHECK_TOLERANCE * max(1.0, float(np.max(np.abs(want)))):
        file.notes.append(
            f"the output_batch in the file differs from the model's outputs by up to {away:.2g}: it was computed "
            "otherwise, as from another state"
        )
        return ""
    return f"the output_batch in the file: {given.size:,} steps, max abs difference {away:.1e}"


def _facts(tree: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says of itself, as far as that is short."""
    metadata = tree.get("metadata")
    given = {**metadata} if isinstance(metadata, Mapping) else {}
    given |= {k: tree[k] for k in ("version", "samplerate", "sample_rate", "author", "model") if k in tree}
    short = {k: v for k, v in given.items() if isinstance(v, str | int | float | bool) and len(str(v)) <= _LONGEST_FACT}
    return {"metadata": dict(list(short.items())[:_MOST_FACTS])} if short else {}
