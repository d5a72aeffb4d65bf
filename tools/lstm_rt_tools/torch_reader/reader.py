"""PyTorch's files for the table of readers."""

from __future__ import annotations

import importlib
from pathlib import Path

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

from ..judges import testdata
from ..judges.torch_replay import replay
from ..row import Options, Rerun
from ..torch_program.from_program import is_program, rerun_program
from .from_torch import from_torch


def read(path: Path, options: Options) -> Graph:
    """The graph of a program, of a file of weights, or of a pickled module."""
    return from_torch(path, arch=options.arch, part=options.part)


def rerun(path: Path, graph: Graph, options: Options) -> Rerun:
    """The program of a file that holds one; of weights a reading of its own, run layer by layer with ``torch.nn``."""
    if options.arch is None and options.part is None and is_program(path):
        return rerun_program(path, graph)
    own = read(path, options)  # so that a .lrt made from other weights or options is found out
    torch = importlib.import_module("torch")
    if _signature(own) != _signature(graph):
        raise ConvertError(f"{path} gives {_signature(own)}, the model has {_signature(graph)}")
    inputs = testdata.make_inputs(own, testdata.ROWS, testdata.STEPS, seed=1, full_lengths=False)
    what = (
        f"torch {torch.__version__}: {path.name} read again and run layer by layer with torch.nn in float64 "
        "(the module's own Python code is not in the file and was not run)"
    )
    return Rerun(what, inputs, list(replay(own, inputs)))


def _signature(graph: Graph) -> list[tuple[str, str, int]]:
    values = [graph.values[i] for i in (*graph.inputs, *graph.outputs)]
    return [(v.name, v.kind, v.size) for v in values]
