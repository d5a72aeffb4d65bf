"""``lstm-rt verify``: a model beside its self-test, its source, or known outputs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lstm_rt.errors import InputError
from lstm_rt.graph import Graph, Value
from lstm_rt.quantised import has_integers
from lstm_rt.text import shown

from .. import archives, readers
from ..judges import compare
from . import arrays_io
from .common import MISMATCH, OK, ModelFile, as_json, note_lines, source_options
from .run import Named, call, model_inputs, read_lengths

_PROVES = (
    "the self-test shows that this computer computes what the converter stored in the file, not that the "
    "conversion is right; for that, compare with known outputs (--inputs, --expect) or the source (--against)"
)


def verify(args: argparse.Namespace) -> int:
    """``lstm-rt verify``"""
    given = args.inputs is not None, args.expect is not None
    if any(given) and not all(given):
        raise InputError("--inputs and --expect go together")
    if any(given) and args.against is not None:
        raise InputError("--expect and --against are two ways to compare; give one of them")
    if args.lengths is not None and not any(given):
        raise InputError("--lengths goes with --inputs and --expect")
    if args.against is None and (args.arch is not None or args.framework is not None):
        raise InputError("--arch and --from go with --against")
    if any(given):
        return _verify_expected(args)
    return _verify_selftest(args) if args.against is None else _verify_against(args)


def _verify_selftest(args: argparse.Namespace) -> int:
    file = ModelFile(args.model)
    if file.problem:
        facts = {"file": str(args.model), "ok": False, "problem": file.problem}
        print(as_json(facts) if args.json else f"FAILED: {file.problem}")
        return MISMATCH
    test = file.graph.selftest
    error, ok, atol, rtol = None, True, None, None
    if test is not None:
        result = file.model().verify()
        error, ok, atol, rtol = float(result["max_abs_err"]), bool(result["ok"]), test.atol, test.rtol
    if args.json:
        facts = {
            "file": str(args.model),
            "compared": None if test is None else "self-test vector in the file",
            "max_abs_err": error,
            "atol": atol,
            "rtol": rtol,
            "ok": ok,
            "notes": file.notes(),
        }
        print(as_json(facts))
        return OK if ok else MISMATCH
    if test is None:
        print("ok: checksum good; the file holds no self-test, so no numbers were compared")
    else:
        allowed = f"{atol:.2g} + {rtol:.2g} of the value"
        verdict = "ok" if ok else "MISMATCH"
        print(f"{verdict}: checksum good, self-test max abs difference {error:.2e} (allowed: {allowed})")
        print(_PROVES)
    for line in note_lines(file.notes()):
        print(line)
    return OK if ok else MISMATCH


def _verify_against(args: argparse.Namespace) -> int:
    file = ModelFile(args.model).whole()
    with archives.opened(args.against, args.framework) as opened:
        source = readers.rerun(opened.path, file.graph, source_options(args), args.framework)
    return _compare(args, file.graph, source.what, call(file.model(), source.inputs), source.outputs)


def _verify_expected(args: argparse.Namespace) -> int:
    file = ModelFile(args.model).whole()
    model = file.model()
    inputs = model_inputs(model, args.inputs)
    lengths = read_lengths(args.lengths)
    names = [port.name for port in model.outputs]
    expected, unread = arrays_io.read_arrays(args.expect, names, "output")
    if unread:
        raise InputError(f"--expect {unread}")
    got = call(model, inputs, lengths)
    valid = _valid_steps(file.graph, inputs, lengths)
    pairs = []
    for o, (_, g), w in zip(file.graph.outputs, got, expected, strict=True):
        v = file.graph.values[o]
        w, _ = arrays_io.as_dtype(w, np.dtype(np.float64), f"expected {shown(v.name)}")
        pairs.append(_comparable(v, g, w, valid.get(v.axis)))
    what = ", ".join(str(path) for path in args.expect)
    if valid:
        what += " (steps beyond the lengths aside)"
    return _compare(args, file.graph, what, list(zip(names, (g for g, _ in pairs), strict=True)), [w for _, w in pairs])


def _valid_steps(graph: Graph, inputs: Sequence[Any], lengths: Any) -> dict[int, Any]:
    """The lengths of time axes that have some, from ``--lengths`` or from inputs."""
    values = [graph.values[i] for i in graph.inputs]
    found = {v.axis: x for v, x in zip(values, inputs, strict=True) if v.kind == "lengths"}
    if isinstance(lengths, dict):
        found |= {v.axis: lengths[v.name] for v in values if v.name in lengths}
    elif lengths is not None:
        found |= {v.axis: lengths for v in values if v.axis >= 0}
    valid = {axis: np.atleast_1d(n) for axis, n in found.items()}
    graph.complete_lengths(valid)
    return valid


def _comparable(v: Value, got: Any, want: Any, lengths: Any) -> tuple[Any, Any]:
    """Both arrays in one shape, without the steps that do not count.

    Axes of size 1 may be missing or more on one side: they do not change the order of the numbers.
    """
    if np.squeeze(got).shape != np.squeeze(want).shape:
        raise InputError(f"output {shown(v.name)!r} has shape {got.shape}, expected is {want.shape}")
    want = want.reshape(got.shape)
    if lengths is None:
        return got, want
    dims = v.shape("N", "T")
    if "*" in v.dims:
        got, want = (v.apart(a, len(lengths)) for a in (got, want))
    elif got.ndim < len(dims):  # the batch was left out
        got, want = (np.expand_dims(a, dims.index("N")) for a in (got, want))
    got, want = v.to_batch_first(got), v.to_batch_first(want)
    steps = (1, *got.shape)[-2]
    counts = np.arange(steps) < lengths[:, None]
    shape = (*counts.shape, got.shape[-1])
    return got.reshape(shape)[counts], want.reshape(shape)[counts]


def _check_proves(name: str, want: Any) -> None:
    """As for self-tests: an output without a finite number proves nothing."""
    if not want.size:
        raise InputError(f"nothing was compared: output {shown(name)!r} has no numbers, or none within the lengths")
    if not np.isfinite(want).any():
        raise InputError(f"nothing was compared: none of the expected numbers of output {shown(name)!r} is finite")


def _compare(args: argparse.Namespace, graph: Graph, what: str, got: Named, want: Sequence[Any]) -> int:
    names, arrays = [name for name, _ in got], [array for _, array in got]
    for name, w in zip(names, want, strict=False):
        _check_proves(name, w)
    diffs = compare.differences(names, arrays, want, args.atol, args.rtol)
    ok = all(d.ok for d in diffs)
    if args.json:
        facts = {"file": str(args.model), "compared": what, "ok": ok, "atol": args.atol, "rtol": args.rtol}
        print(as_json({**facts, "outputs": [asdict(d) for d in diffs]}))
        return OK if ok else MISMATCH
    print(f"compared with {shown(what, 400)}")
    for d in diffs:
        verdict = "ok" if d.ok else "MISMATCH"
        print(f"{verdict}: {shown(d.name)}: max abs difference {d.max_abs:.2e}, largest {d.largest:.3g}")
    if not ok and has_integers(graph):
        print("note: the model has integer weights, which give other numbers; --atol says how far these may be off")
    return OK if ok else MISMATCH
