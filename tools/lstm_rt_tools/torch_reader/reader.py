"""PyTorch's files for the table of readers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

from ..judges.torch_replay import second_reading
from ..row import Options, Rerun
from ..torch_program.from_program import is_program, rerun_program
from ..weights.checkpoints import read_checkpoint
from ..weights.find import SeveralSets
from ..weights.tensors import Tensor
from .from_torch import MOST_SETS, from_torch


def read(path: Path, options: Options) -> Graph:
    """The graph of a program, of a file of weights, or of a pickled module."""
    return from_torch(path, arch=options.arch, part=options.part, settings=options.settings)


def weights(path: Path) -> list[dict[str, Any]]:
    """The tree of weights in a file, as layers use them; of several sets each behind its place in the file."""
    try:
        tensors = _all_sets(path)
    except ConvertError:
        return []
    return [{"name": name, "shape": list(t.shape), "dtype": t.dtype} for name, t in tensors.items()]


def _all_sets(path: Path) -> Mapping[str, Tensor]:
    try:
        return read_checkpoint(path).tensors
    except SeveralSets as e:
        return read_checkpoint(path, e.keys[:MOST_SETS]).tensors


def rerun(path: Path, graph: Graph, options: Options) -> Rerun:
    """The program of a file that holds one; of weights a reading of its own, run layer by layer with ``torch.nn``."""
    if options.arch is None and options.part is None and is_program(path):
        return rerun_program(path, graph)
    what, inputs, outputs = second_reading(path, read(path, options), graph)
    return Rerun(f"{what} (the module's own Python code is not in the file and was not run)", inputs, outputs)
