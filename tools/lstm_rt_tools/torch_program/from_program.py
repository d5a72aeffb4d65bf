"""``.pt2`` and TorchScript files -> graph, without torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError, GraphError
from lstm_rt.files import read_regular
from lstm_rt.graph import Graph

from ..judges import testdata
from ..names import listed, shown
from ..program.convert import to_graph
from ..program.machine import Exhausted, Machine, UnknownLoop
from ..program.settings import with_sizes
from ..row import Rerun, glance
from ..weights.budget import Budget
from ..weights.tensors import noting_not_finite
from ..weights.torch_files import is_exported_archive, is_script_archive
from ..weights.zip_archive import ZipArchive
from .exported import ExportedSource
from .exported_archive import ExportedArchive
from .fit import fit, fitted
from .script import ScriptSource
from .script_archive import ScriptArchive
from .script_places import told
from .script_states import Carrying, carrying, settle

Program: TypeAlias = "ExportedSource | ScriptSource"


def is_program(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an archive of PyTorch's that holds a graph, not weights alone.

    Raises:
        ConvertError: it begins like an archive, but is damaged.
        OSError: it is missing, cannot be read or is no regular file.
    """
    entries = glance(Path(path)).entries
    return is_exported_archive(entries) or is_script_archive(entries)


def from_program(path: str | os.PathLike[str], settings: Mapping[str, int] | None = None) -> Graph:
    """Convert a ``.pt2`` file (``torch.export.save``) or a TorchScript archive (``torch.jit.save``).

    Inputs keep their names, outputs are named as :func:`lstm_rt_tools.from_torch` names them, both keep their axes. The
    graph is compared with the program's own numbers. The code in the file is parsed, and never executed.

    Args:
        settings: values of whole numbers that the forward of a TorchScript module takes beside tensors, and sizes of
            inputs: ``x.2`` is that of dimension 2 of the input ``x``.

    Raises:
        ConvertError: damaged, or the program holds what cannot be converted, which is named.
        OSError: the file is missing, cannot be read or is no regular file.
    """
    what = os.path.basename(os.fspath(path))
    data = read_regular(Path(path))
    budget = Budget(len(data), what)
    beside: list[str] = []
    try:
        with noting_not_finite(beside):
            source = _source(data, what, budget, settings)
            graph = fitted(source, lambda: _graph(source)) if isinstance(source, ScriptSource) else _graph(source)
    except RecursionError:
        raise ConvertError(f"{what}: it is nested too deeply") from None
    except GraphError as e:
        raise ConvertError(f"{what}: {e}") from e
    except UnknownLoop as e:
        place = "" if e.place is None or not isinstance(source, ScriptSource) else told(source.archive.zip, *e.place)
        custom = f"{place} has a custom cell: " if place else ""
        setting = f"set the number (--set {shown(e.input)}.{e.dim}=...)"
        raise ConvertError(f"{what}: {custom}{e}; {setting}, or trace it") from e
    except ConvertError as e:
        raise ConvertError(f"{what}: {str(e).removeprefix(f'{what}: ')}") from e
    budget.graph(graph)
    graph.meta["source"] = {
        "framework": "pytorch",
        "version": source.torch_version,
        "file": what,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    if settings:
        graph.meta["settings"] = dict(settings)
    notes = [*source.notes, *beside, *graph.meta.get("notes", [])]
    if notes:
        graph.meta["notes"] = list(dict.fromkeys(notes))
    return graph


def _graph(source: Program) -> Graph:
    """The graph; what a scripted module keeps from call to call are inputs and outputs of it, where that can be."""
    found = carrying(source) if isinstance(source, ScriptSource) else None
    if found is not None:
        try:
            return settle(to_graph(found), found)
        except Exhausted:
            raise
        except ConvertError:
            pass
    return to_graph(source)


def _source(data: bytes, what: str, budget: Budget, settings: Mapping[str, int] | None = None) -> Program:
    if is_exported_archive(ZipArchive(data, what, budget).names):
        exported = ExportedSource(ExportedArchive(data, what, budget))
        if unknown := with_sizes(exported, settings or {}):
            raise ConvertError(f"{shown(min(unknown))} is no size of an input, such as x.2, which is what can be set")
        return exported
    return ScriptSource(ScriptArchive(data, what, budget), settings)


def rerun_program(path: Path, graph: Graph) -> Rerun:
    """The program of a file, run in NumPy on made-up inputs that fit ``graph``.

    Raises:
        ConvertError: it cannot be run, or has other inputs or outputs than ``graph``.
    """
    data = read_regular(path)
    values = {graph.values[v].name: graph.values[v] for v in graph.inputs}
    source: Program | Carrying = _source(data, path.name, Budget(len(data), path.name), graph.meta.get("settings"))
    if isinstance(source, ScriptSource):
        fit(source)
        if values.keys() - {a.name for a in source.inputs}:
            source = carrying(source) or source
    names = {a.name for a in source.inputs}
    if unknown := values.keys() - names:
        raise ConvertError(f"{path} has no inputs {listed(sorted(unknown), 5)}, which the model has")
    rows, steps = testdata.ROWS, testdata.usual_steps(graph)
    for a in source.inputs:
        value = values.get(a.name)
        for size, place in zip(a.dims, value.shape("N", "T") if value else (), strict=False):
            if isinstance(size, int) and place == "N":
                rows = size
            elif isinstance(size, int) and place == "T" and value:
                steps[value.axis] = size
    inputs = testdata.make_inputs(graph, rows, steps, seed=1, full_lengths=True)
    made = dict(zip(values, inputs, strict=True))
    machine = Machine()
    given = [machine.input(_array(a, made)) for a in source.inputs]
    outputs = source.run(machine, given)
    found = dict(zip(source.outputs, outputs, strict=True))
    wanted = [graph.values[o].name for o in graph.outputs]
    if missing := [n for n in wanted if n not in found]:
        raise ConvertError(f"{path} has no outputs {listed(missing, 5)}, which the model has")
    what = f"{path.name}: its own program, operation by operation in NumPy (no code in the file was executed)"
    return Rerun(what, inputs, [np.asarray(found[n].data, np.float32) for n in wanted])


def _array(argument: Any, made: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """An input of the program: of the graph's, or zeros where that has none of the name."""
    if argument.name in made:
        return made[argument.name].astype(argument.dtype)
    return np.zeros([d if isinstance(d, int) else 1 for d in argument.dims], argument.dtype)
