"""``lstm-rt quantize``: a model with integer weights, what that costs in accuracy and what it gains."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import lstm_rt
from lstm_rt._names import node_title
from lstm_rt.errors import GraphError
from lstm_rt.format import dumps
from lstm_rt.graph import Graph
from lstm_rt.quantised import has_integers
from lstm_rt.text import shown

from .. import __version__
from ..integers import measure
from ..integers.calibrate import Moments, moments
from ..integers.choose import choose
from ..integers.graphs import Change, Choices, Done, quantize_with_report
from . import describe
from .common import MISMATCH, OK, ModelFile, as_json, warn
from .output import Output
from .progress import Progress
from .run import model_inputs
from .timing import time_calls

Arrays: TypeAlias = Sequence[NDArray[Any]]

_SECONDS = 0.3  #: of each measurement
_TURN, _TURNS = 0.03, 7  #: of one that compares: seconds, and how often


def quantize(args: argparse.Namespace) -> int:
    """``lstm-rt quantize``"""
    output = Output(args.output, [args.model, *(args.calibrate or [])])
    with Progress() as progress:
        progress.step(f"reading {args.model.name}")
        file = ModelFile(args.model).whole()
        if has_integers(file.graph):
            raise GraphError(f"{args.model}: has integer weights already; quantize the model of float32 before it")
        inputs = _inputs(args, file)
        progress.step("computing with float32")
        exact = measure.outputs_of(file.graph, inputs)
        known = None if args.calibrate is None else moments(file.graph, inputs)
        progress.step("rounding the weights")
        done: Done = {}
        bits: int | Choices = args.bits
        if args.auto:
            speed = _speed(file.graph, inputs)
            bits = choose(file.graph, inputs, exact, args.activations, args.max_error, known, done, speed)
        graph, changes = with_integers(file.graph, bits, args.activations, known, done)
        progress.step("comparing with float32")
        errors = measure.errors(graph, exact, inputs)
        worst = max(e.max_abs for e in errors)
        if args.max_error is not None and not worst <= args.max_error:
            allowed = f"--max-error {args.max_error:g}"
            warn(f"error: the largest error is {worst:.2e}, more than {allowed}; nothing was written")
            return MISMATCH
        nearest = _errors_of_nearest(file.graph, bits, args.activations, exact, inputs) if known else []
        layers = _layers(file.graph, graph, changes, exact, inputs)
        progress.step("measuring")
        before, after = (_microseconds(g, inputs) for g in (file.graph, graph))
        data = dumps(graph)
        output.write(data)
    facts = {
        "file": output.name,
        "bytes": {"before": len(file.blob), "after": len(data)},
        "weights": "auto" if args.auto else args.bits,
        "activations": args.activations,
        "compared_on": _compared_on(args, inputs),
        "outputs": [asdict(e) for e in errors],
        "rounded_to_nearest": [asdict(e) for e in nearest],
        "layers": layers,
        "microseconds": {"before": before, "after": after},
        "selftest": graph.selftest is not None,
    }
    for line in [as_json(facts)] if args.json else _lines(facts):
        output.say(line)
    return OK


def with_integers(
    source: Graph, bits: int | Choices, activations: int, known: Moments | None = None, done: Done | None = None
) -> tuple[Graph, list[Change]]:
    """The graph with integer weights, its own self-test and where it comes from in it."""
    graph, changes = quantize_with_report(source, bits, activations, known, done)
    if not any(c.bits for c in changes):
        raise GraphError(f"no weights of this model become integers{_reasons(changes)}")
    if source.selftest is not None:
        graph.selftest = measure.selftest(graph)
        graph.meta["selftest"] = "the outputs of this model with integer weights, for random inputs"
    graph.meta["tool"] = f"lstm-rt {__version__}"
    return graph, changes


def integers_line(changes: Sequence[Change], args: argparse.Namespace) -> str:
    """What became of the matrices, in one line."""
    made, kept = sum(c.bits > 0 for c in changes), [c for c in changes if not c.bits]
    rest = f", {len(kept)} stay float32" if kept else ""
    return f"integers: {made} matrices of int{args.bits}{rest}, activations of {args.activations} bits"


def _reasons(changes: Sequence[Change]) -> str:
    return f": {', '.join(sorted({f'{c.weight}: {c.why}' for c in changes}))}" if changes else ""


def _inputs(args: argparse.Namespace, file: ModelFile) -> list[NDArray[Any]]:
    if args.calibrate is None:
        return measure.made_up(file.graph)
    return model_inputs(file.model(), args.calibrate)


def _errors_of_nearest(
    source: Graph, bits: int | Choices, activations: int, exact: Arrays, inputs: Arrays
) -> list[measure.Error]:
    """What errors are where each number becomes the nearest integer."""
    return measure.errors(quantize_with_report(source, bits, activations)[0], exact, inputs)


def _compared_on(args: argparse.Namespace, inputs: Sequence[NDArray[Any]]) -> str:
    shapes = ", ".join("x".join(map(str, a.shape)) for a in inputs)
    return f"{'made-up data' if args.calibrate is None else 'the calibration data'} ({shapes})"


def _layers(
    source: Graph, graph: Graph, changes: Sequence[Change], exact: Arrays, inputs: Arrays
) -> list[dict[str, Any]]:
    """Of each node with matrices: bytes, the error of the outputs where it alone has integers, what stays as it was."""
    found = []
    for node in dict.fromkeys(c.node for c in changes):
        mine = [c for c in changes if c.node == node]
        alone = measure.errors(measure.only_node(source, graph, node), exact, inputs)
        found.append({
            "layer": node_title(source, node),
            "bytes": {"before": sum(c.before for c in mine), "after": sum(c.after for c in mine)},
            "max_abs": max(e.max_abs for e in alone),
            "mean_abs": max(e.mean_abs for e in alone),
            "float32": {c.weight: c.why for c in mine if not c.bits},
            "integers": {c.weight: {"bits": c.bits, "why": c.why} for c in mine if c.bits},
        })  # fmt: skip
    return found


def _microseconds(graph: Graph, inputs: Sequence[NDArray[Any]]) -> float:
    """Of a call with one row and one thread."""
    return median(time_calls(_call_of(graph, inputs), _SECONDS))


def _speed(source: Graph, inputs: Sequence[NDArray[Any]]) -> Callable[[Graph], float]:
    """Measures how many times as fast as this graph another is: both in turns, as a computer is not always alike."""
    before = _call_of(source, inputs)

    def times_as_fast(graph: Graph) -> float:
        after = _call_of(graph, inputs)
        pairs = [(median(time_calls(before, _TURN)), median(time_calls(after, _TURN))) for _ in range(_TURNS)]
        return median(a / b for a, b in pairs)

    return times_as_fast


def _call_of(graph: Graph, inputs: Sequence[NDArray[Any]]) -> Callable[[], Any]:
    """A call with one row and one thread."""
    model = lstm_rt.Model(dumps(graph), threads=1)
    rows = [_first_row(a, p.shape) for a, p in zip(inputs, model.inputs, strict=True)]
    return lambda: model(*rows)


def _first_row(array: NDArray[Any], shape: Sequence[str | int]) -> NDArray[Any]:
    """Of an array that has a batch, which those of one row may lack."""
    if "N" not in shape or array.ndim < len(shape):
        return array
    return np.ascontiguousarray(np.take(array, [0], shape.index("N")))


def _lines(facts: dict[str, Any]) -> list[str]:
    size, time = facts["bytes"], facts["microseconds"]
    share = f"{size['after'] / size['before']:.2f} of {describe.bytes_text(size['before'])}"
    lines = [
        f"{shown(str(facts['file']), 200)}: {describe.bytes_text(size['after'])}, {share}; "
        f"{_weights_text(facts)} weights, activations of {facts['activations']} bits",
        f"compared with float32 on {facts['compared_on']}:",
    ]
    for e in facts["outputs"]:
        lines.append(f"  output {shown(e['name'])}: {_error(e)}, of numbers up to {e['largest']:.2g}")
    for plain in facts["rounded_to_nearest"]:
        lines.append(f"  output {shown(plain['name'])} with weights rounded to the nearest instead: {_error(plain)}")
    for layer in facts["layers"]:
        kept = "".join(f"; {name} stays float32: {why}" for name, why in layer["float32"].items())
        if facts["weights"] == "auto":
            kept += "".join(_chosen_text(name, m) for name, m in layer["integers"].items())
        matrices = f"{layer['bytes']['before']:,} to {layer['bytes']['after']:,} bytes of matrices"
        lines.append(f"  {shown(layer['layer'])} alone: {matrices}, {_error(layer)}{kept}")
    gain = f"({time['before'] / time['after']:.2f} times as fast)"
    lines.append(
        f"one row, one thread, on this computer: {time['before']:.1f} us before, {time['after']:.1f} us after {gain}"
    )
    lines.append("self-test: " + ("this model's own outputs" if facts["selftest"] else "none"))
    return lines


def _weights_text(facts: dict[str, Any]) -> str:
    if facts["weights"] != "auto":
        return f"int{facts['weights']}"
    found = sorted({m["bits"] for layer in facts["layers"] for m in layer["integers"].values()})
    return " and ".join(f"int{bits}" for bits in found)


def _chosen_text(name: str, matrix: dict[str, Any]) -> str:
    return f"; {name} is int{matrix['bits']}" + (f": {matrix['why']}" if matrix["why"] else "")


def _error(e: dict[str, Any]) -> str:
    return f"max abs error {e['max_abs']:.1e}, mean {e['mean_abs']:.1e}"
