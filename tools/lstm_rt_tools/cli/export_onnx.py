"""``lstm-rt export-onnx``: a ``.lrt`` file as an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from lstm_rt.graph import Graph
from lstm_rt.text import shown

from ..export.to_onnx import notes_of, to_onnx
from ..judges import compare, testdata
from ..judges.onnx_run import run_onnx
from . import describe
from .common import MISMATCH, OK, ModelFile, note_lines, warn
from .output import Output
from .progress import Progress
from .run import call

_ATOL, _RTOL = 1e-5, 1e-4
_SIZES = ((1, 5), (3, 9))  #: rows, and steps at the least, at which both are run


def export_onnx(args: argparse.Namespace) -> int:
    """``lstm-rt export-onnx``"""
    output = Output(args.output or Path(f"{args.model.stem}.onnx"), [args.model])
    with Progress() as progress:
        progress.step(f"reading {args.model.name}")
        file = ModelFile(args.model).whole()
        progress.step("writing operators")
        model = to_onnx(file.graph, states=args.states)
        data = model.SerializeToString()
        progress.step("running it with onnxruntime")
        checked, problem = _check(file, model, data)
        if problem:
            warn(f"error: {problem}; nothing was written")
            return MISMATCH
        remark = _write(output, data, args)
    operators = sorted({n.op_type for n in model.graph.node})
    output.say(
        f"{shown(output.name, 200)}: {describe.bytes_text(len(data))}{remark}, opset {model.opset_import[0].version}"
    )
    output.say(f"operators: {', '.join(operators)}")
    output.say(f"checked: {checked}")
    for line in note_lines(notes_of(model)):
        output.say(line)
    return OK


def _write(output: Output, data: bytes, args: argparse.Namespace) -> str:
    if args.output is None:
        return output.write_unnamed(data, args.force)
    output.write(data)
    return ""


def _check(file: ModelFile, model: Any, data: bytes) -> tuple[str, str]:
    """What was compared, and what is wrong ('' if nothing)."""
    worst = 0.0
    for rows, steps in _SIZES:
        enough = testdata.enough_steps(file.graph, steps) | testdata.fixed_steps(file.graph)
        inputs = testdata.make_inputs(file.graph, rows, enough, seed=rows, full_lengths=False)
        names = [i.name for i in model.graph.input]
        given = dict(zip(names, inputs, strict=False)) | _zero_states(file.graph, model, inputs, rows)
        try:
            what, got = run_onnx(data, given)
        except ImportError:
            return "valid by onnx.checker; not run, because onnxruntime is not installed", ""
        want = call(file.model(), inputs)
        for d in compare.differences([n for n, _ in want], got[: len(want)], [w for _, w in want], _ATOL, _RTOL):
            if not d.ok:
                return "", f"{what} gives other numbers: output {shown(d.name)} differs by {d.max_abs:.2e}"
            worst = max(worst, d.max_abs)
    return f"{what} gives the same at {len(_SIZES)} sizes, max abs difference {worst:.1e}", ""


def _zero_states(graph: Graph, model: Any, inputs: Any, rows: int) -> dict[str, Any]:
    """Zeros for the initial states behind the graph's inputs."""
    if not all(graph.values[i].has_batch for i in graph.inputs):
        rows = 1
    zeros = {}
    for port in list(model.graph.input)[len(inputs) :]:
        dims = [d.dim_value or rows for d in port.type.tensor_type.shape.dim]
        zeros[port.name] = np.zeros(dims, np.float32)
    return zeros
