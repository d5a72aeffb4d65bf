"""``lstm-rt run``: a model on arrays from files."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lstm_rt
from lstm_rt.errors import InputError
from lstm_rt.graph import DTYPES
from lstm_rt.text import shown

from . import arrays_io
from .common import OK, as_json, warn
from .output import Output

Named = list[tuple[str, Any]]  #: outputs in order; names need not be different


def run(args: argparse.Namespace) -> int:
    """``lstm-rt run``"""
    output = Output(args.output, [args.model, *args.inputs, *lengths_files(args.lengths)])
    kind = args.format or (arrays_io.format_of(args.output) if output.is_file else "csv")
    model = lstm_rt.load(str(args.model), threads=args.threads)
    inputs = model_inputs(model, args.inputs)
    lengths = read_lengths(args.lengths)
    start = time.perf_counter()
    outputs = call(model, inputs, lengths)
    seconds = time.perf_counter() - start
    output.write(arrays_io.to_bytes(outputs, kind), text=kind == "csv")
    _report(output, outputs, seconds, args.json)
    return OK


def lengths_files(options: Sequence[str] | None) -> list[Path | None]:
    """The files that ``--lengths`` names."""
    return [arrays_io.lengths_file(_split(option)[1]) for option in options or []]


def read_lengths(options: Sequence[str] | None) -> Any:
    """None, one array, or a dict from input name to array where names are given."""
    if not options:
        return None
    if len(options) == 1 and not _split(options[0])[0]:
        return arrays_io.read_lengths(options[0])
    by_name: dict[str, Any] = {}
    for option in options:
        name, text = _split(option)
        if not name:
            raise InputError(f"--lengths {shown(option)}: several are given, so each needs INPUT=")
        if name in by_name:
            raise InputError(f"--lengths: {shown(name)!r} is given twice")
        by_name[name] = arrays_io.read_lengths(text)
    return by_name


def _split(option: str) -> tuple[str, str]:
    """The name of the input ('' for none) and the rest of a ``--lengths`` option."""
    name, equals, text = option.partition("=")
    return (name, text) if equals else ("", option)


def model_inputs(model: Any, paths: Sequence[Path]) -> list[Any]:
    """The arrays of input files, as the model takes them; what had to be changed is told."""
    specs = list(model.inputs)
    arrays, unread = arrays_io.read_arrays(paths, [s.name for s in specs], "input")
    if unread:
        warn(f"note: not read: {unread}")
    files = paths if len(paths) == len(specs) else [paths[0]] * len(specs)
    result = []
    for spec, array, file in zip(specs, arrays, files, strict=True):
        try:
            converted, note = arrays_io.as_dtype(array, np.dtype(DTYPES[spec.kind]), shown(spec.name))
        except InputError as e:
            raise InputError(f"{file}: {e}") from None
        if note and _worth_telling(file, array, converted):
            warn(f"note: {note}")
        result.append(np.ascontiguousarray(converted))
    return result


def _worth_telling(file: Path, array: Any, converted: Any) -> bool:
    """float64 is just how numpy and CSV hold numbers; of an array it tells where digits are lost."""
    if array.dtype != np.float64:
        return True
    return arrays_io.format_of(file) != "csv" and not np.array_equal(array, converted, equal_nan=True)


def call(model: Any, inputs: Sequence[Any], lengths: Any = None) -> Named:
    """The outputs of the model with their names, in order."""
    options = {} if lengths is None else {"lengths": lengths}  # None could be meant for an input of that name
    result = model(*inputs, **options)
    arrays = result if isinstance(result, tuple) else (result,)
    return [(port.name, np.asarray(a)) for port, a in zip(model.outputs, arrays, strict=True)]


def _report(output: Output, outputs: Named, seconds: float, json: bool) -> None:
    facts = [
        {
            "name": name,
            "shape": list(a.shape),
            "dtype": a.dtype.name,
            "finite": bool(np.isfinite(a).all()),
        }
        for name, a in outputs
    ]
    if json:
        output.say(as_json({"file": output.name, "seconds": seconds, "outputs": facts}))
        return
    for name, a in outputs:
        extra = "" if np.isfinite(a).all() else "  NOT ALL FINITE"
        output.say(f"{shown(output.name, 200)}: {shown(name)} {a.shape} {a.dtype.name}{extra}")
    output.say(f"computed in {seconds * 1000:.3g} ms")
