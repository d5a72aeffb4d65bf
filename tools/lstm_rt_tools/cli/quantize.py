"""``lstm-rt quantize``: the same model with integer weights, what that costs in accuracy and what it gains."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lstm_rt
from lstm_rt._names import node_title
from lstm_rt.errors import InputError
from lstm_rt.format import dumps
from lstm_rt.graph import Graph
from lstm_rt.text import shown

from ..integers import measure
from ..integers.graphs import refuse_integers
from ..integers.quantize import ACTIVATIONS, FLOATS, Bits, Made, Options, TooFarError, checksum_of, make, shape_text
from ..integers.speed import call_of, first_row
from ..timing import time_calls
from . import describe
from .bench_nodes import own_times
from .common import MISMATCH, OK, ModelFile, as_json, warn
from .output import Output
from .progress import Progress
from .run import model_inputs

_SECONDS, _LAYER_SECONDS, _CALLS = 0.3, 0.1, 5  #: of measuring a model and one of its layers, and calls at least
_LEAST_MICROSECONDS = 0.1  #: of layers whose times are compared: what is less is that of measuring


def quantize(args: argparse.Namespace) -> int:
    """``lstm-rt quantize``"""
    output = Output(args.output, [args.model, *(args.calibrate or [])])
    with Progress(args.model.stat().st_size if args.model.is_file() else 0) as progress:
        progress.step(f"reading {args.model.name}")
        file = ModelFile(args.model).whole()
        refuse_integers(file.graph, f"{args.model}:")
        origin = {"file": args.model.name, "checksum": checksum_of(file.blob)}
        try:
            made = with_integers(args, file.graph, file.blob, origin, progress)
        except TooFarError as e:
            return say_too_far(args, e)
        found = facts_of(args, file.graph, made, progress)
        data = dumps(made.graph)
        output.write(data)
    sizes = {"before": len(file.blob), "after": len(data)}
    facts = {"file": output.name, "from": origin, "bytes": sizes, **found, "selftest": made.graph.selftest is not None}
    if args.json:
        output.say(as_json(facts))
        return OK
    for line in [_size_line(facts), *lines(facts)]:
        output.say(line)
    output.say("self-test: " + ("this model's own outputs" if facts["selftest"] else "none"))
    return OK


def wants_integers(args: argparse.Namespace) -> bool:
    """Does the command line ask for them? InputError where it has options that are for them alone."""
    if args.bits or args.auto or args.prune:
        return True
    for name, value in (
        ("activations", args.activations),
        ("calibrate", args.calibrate),
        ("max-error", args.max_error),
    ):
        if value is not None:
            raise InputError(f"--{name} is about integer weights: give --int8, --int16 or --auto with it")
    return False


def with_integers(
    args: argparse.Namespace, source: Graph, blob: Any, origin: dict[str, str] | None, progress: Progress
) -> Made:
    """The graph with integer weights, as the command line asks for it; ``blob`` is the file of the float32 graph."""
    options = Options(_bits(args), args.activations or ACTIVATIONS, args.max_error, args.prune)
    calibrate = None if args.calibrate is None else model_inputs(lstm_rt.Model(blob), args.calibrate)
    return make(source, options, calibrate, origin, progress.step)


def _bits(args: argparse.Namespace) -> Bits:
    """Of the weights, as asked for: without, int8, or float32 where they are pruned."""
    return "auto" if args.auto else args.bits or (8 if args.prune is None else FLOATS)


def say_too_far(args: argparse.Namespace, error: TooFarError) -> int:
    """Why nothing was written; returns the exit code."""
    allowed = f"--max-error {args.max_error:g}"
    warn(f"error: the largest error is {error.worst:.2e}, more than {allowed}; nothing was written")
    return MISMATCH


def facts_of(args: argparse.Namespace, source: Graph, made: Made, progress: Progress) -> dict[str, Any]:
    """What integer weights cost and gain, of the model and of each layer: for JSON, and for :func:`lines`."""
    progress.step("measuring")
    before, after = (median(time_calls(call_of(g, made.inputs), _SECONDS, _CALLS)) for g in (source, made.graph))
    return {
        "weights": _bits(args),
        "activations": args.activations or ACTIVATIONS,
        "pruned": args.prune,
        "compared_on": _compared_on(args.calibrate, made.inputs),
        "outputs": [asdict(e) for e in made.errors],
        "rounded_to_nearest": [asdict(e) for e in made.nearest],
        "layers": _layers(source, made, progress),
        "microseconds": {"before": before, "after": after},
    }


def _compared_on(calibrate: Sequence[Path] | None, inputs: Sequence[NDArray[Any]]) -> str:
    shapes = ", ".join(map(shape_text, inputs))
    return f"{'made-up data' if calibrate is None else 'the calibration data'} ({shapes})"


def _layers(source: Graph, made: Made, progress: Progress) -> list[dict[str, Any]]:
    """Of each node with matrices: bytes, the error of the outputs where it alone has integers, its own time, and what
    became of each matrix and why."""
    found = []
    nodes = list(dict.fromkeys(c.node for c in made.changes))
    times = _times_of(source, made, nodes)
    for node, before, after in zip(nodes, *times, strict=True):
        title = node_title(source, node)
        progress.step(f"comparing {title} alone")
        mine = [c for c in made.changes if c.node == node]
        alone = measure.errors(measure.only_node(source, made.graph, node), made.exact, made.inputs)
        found.append({
            "layer": title,
            "bytes": {"before": sum(c.before for c in mine), "after": sum(c.after for c in mine)},
            "max_abs": max(e.max_abs for e in alone),
            "mean_abs": max(e.mean_abs for e in alone),
            "microseconds": {"before": before, "after": after},
            "float32": {c.weight: c.why for c in mine if not c.bits and c.why},
            "integers": {
                c.weight: {"bits": c.bits, "why": c.why, "rows_lost": c.rows_lost} for c in mine if c.bits
            },
            "blocks": {c.weight: c.blocks for c in mine if c.blocks is not None},
            "blocks_lost": {c.weight: c.blocks_lost for c in mine if c.blocks_lost is not None},
            "pruned": {p.weight: {"left": p.left, "why": p.why} for p in made.pruned if p.node == node},
        })  # fmt: skip
    return found


def _times_of(source: Graph, made: Made, nodes: Sequence[int]) -> list[list[float]]:
    """Microseconds of these nodes before and after, in a call of one row on one thread."""
    ports = lstm_rt.Model(dumps(source)).inputs
    rows = [first_row(np.asarray(a), port.shape) for a, port in zip(made.inputs, ports, strict=True)]
    return own_times([source, made.graph], rows, nodes, _LAYER_SECONDS * len(nodes), _CALLS)


# -- text -------------------------------------------------------------------------------------------------------------


def _size_line(facts: dict[str, Any]) -> str:
    size = facts["bytes"]
    share = f"{size['after'] / size['before']:.2f} of {describe.bytes_text(size['before'])}"
    return f"{shown(str(facts['file']), 200)}: {describe.bytes_text(size['after'])}, {share}"


def lines(facts: dict[str, Any]) -> list[str]:
    """The facts for a person to read."""
    activations = "" if facts["weights"] == FLOATS else f", activations of {facts['activations']} bits"
    pruned = "" if facts["pruned"] is None else f", {_pruned_text(facts)} of the blocks made 0"
    found = [
        f"weights: {_weights_text(facts)}{activations}{pruned}",
        f"compared with float32 on {facts['compared_on']}:",
    ]
    for e in facts["outputs"]:
        found.append(f"  output {shown(e['name'])}: {_error(e)}, of numbers up to {e['largest']:.2g}{_not_finite(e)}")
    for plain in facts["rounded_to_nearest"]:
        found.append(f"  output {shown(plain['name'])} with weights rounded to the nearest instead: {_error(plain)}")
    for layer in facts["layers"]:
        matrices = f"{layer['bytes']['before']:,} to {layer['bytes']['after']:,} bytes of matrices"
        found.append(f"  {shown(layer['layer'])} alone: {matrices}, {_error(layer)}, {_gain(layer)}")
        found += [f"    {text}" for text in _remarks(layer, facts["weights"] == "auto")]
    found.append(f"one row, one thread, on this computer: {_gain(facts)}")
    return found


def _weights_text(facts: dict[str, Any]) -> str:
    if facts["weights"] != "auto":
        return "float32" if facts["weights"] == FLOATS else f"int{facts['weights']}"
    found = sorted({m["bits"] for layer in facts["layers"] for m in layer["integers"].values()})
    return " and ".join(f"int{bits}" for bits in found)


def _pruned_text(facts: dict[str, Any]) -> str:
    cuts = [cut for layer in facts["layers"] for cut in layer["pruned"].values()]
    return "none" if all(cut["why"] for cut in cuts) else describe.share_text(facts["pruned"])


def _remarks(layer: dict[str, Any], auto: bool) -> list[str]:
    """What is to be said of single matrices."""
    found = [f"{name} stays float32: {why}" for name, why in layer["float32"].items()]
    for name, cut in layer["pruned"].items():
        if cut["why"]:
            found.append(f"{name} is not pruned: {cut['why']}")
        elif name not in layer["blocks"]:
            left = describe.share_text(cut["left"])
            found.append(f"{name} is stored whole: with {left} of its blocks, their products would not be faster")
    for name, share in layer["blocks"].items():
        found.append(f"{name} is stored as blocks, of which {describe.share_text(share)} are not zero")
    for name, share in layer["blocks_lost"].items():
        kind, left = f"int{layer['integers'][name]['bits']}", describe.share_text(share)
        found.append(f"{name} was stored as blocks, and is whole now: of blocks of {kind} {left} are not zero")
    for name, m in layer["integers"].items():
        if auto:
            found.append(f"{name} is int{m['bits']}" + (f": {m['why']}" if m["why"] else ""))
        if m["rows_lost"]:
            rows = f"{m['rows_lost']} row{'s' * (m['rows_lost'] > 1)}"
            found.append(f"{name} has {rows} of which most weights became 0, as beside a huge one")
    return found


def _gain(facts: dict[str, Any]) -> str:
    time = facts["microseconds"]
    tell = min(time.values()) >= _LEAST_MICROSECONDS
    ratio = f" ({time['before'] / time['after']:.2f} times as fast)" if tell else ""
    return f"{time['before']:.1f} us before, {time['after']:.1f} us after{ratio}"


def _not_finite(e: dict[str, Any]) -> str:
    return f" and {e['not_finite']:,} that are not finite" if e["not_finite"] else ""


def _error(e: dict[str, Any]) -> str:
    return f"max abs error {e['max_abs']:.1e}, mean {e['mean_abs']:.1e}"
