"""The ``lstm-rt`` command.

Exit codes: 0 all is well, 1 a mismatch or a failed check, 2 wrong usage or bad input.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from lstm_rt.errors import FormatError, InputError, LstmRtError
from lstm_rt.graph import DTYPES, Graph

from . import __version__, arrays_io, describe, detect, testdata

OK, MISMATCH, ERROR = 0, 1, 2
_ATOL, _RTOL = 1e-5, 1e-4


class _Parser(argparse.ArgumentParser):
    """Usage errors as one line, like all other errors."""

    def error(self, message: str) -> NoReturn:
        self.exit(ERROR, f"lstm-rt: error: {message} (try: {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Raises:
        SystemExit: on ``--help``, ``--version`` and usage errors, as argparse does.
    """
    args = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output, e.g. `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as e:  # a user gets one line, whatever went wrong
        if args.traceback:
            traceback.print_exc()
        line, _, draft = _message(e).partition("\n\n")
        print(f"lstm-rt: error: {' '.join(line.split())}", file=sys.stderr)
        if draft:  # an arch file to start from: on stdout, so that `> arch.toml` catches it
            print(draft)
        return ERROR


def _message(e: Exception) -> str:
    if isinstance(e, OSError) and e.strerror:
        return f"{e.filename}: {e.strerror}" if e.filename else e.strerror
    if isinstance(e, ImportError) and e.name and not e.name.startswith("lstm_rt"):
        return f"this needs {e.name}, which is not installed (pip install {e.name.partition('.')[0]})"
    text = str(e)
    if isinstance(e, LstmRtError):
        return text
    text = " ".join(text.split())
    return f"{type(e).__name__}: {text} (unexpected; --traceback shows where)"


# -- arguments --------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lstm-rt", description="Convert, inspect, run and measure recurrent networks.")
    parser.add_argument("--version", action="version", version=f"lstm-rt {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for add in (_add_convert, _add_info, _add_run, _add_verify, _add_bench):
        sub = add(commands)
        sub.add_argument("--traceback", action="store_true", help="show where an error was raised")
    return parser


def _command(commands: Any, name: str, function: Callable[[argparse.Namespace], int], text: str) -> _Parser:
    sub: _Parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    sub.set_defaults(command=function)
    return sub


def _add_convert(commands: Any) -> _Parser:
    sub = _command(commands, "convert", convert, "turn a trained Keras or PyTorch model into a .lrt file")
    sub.add_argument("source", type=Path, help="the model file")
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the .lrt file to write")
    _add_source_options(sub)
    sub.add_argument("--no-selftest", action="store_true", help="leave the self-test vector out")
    return sub


def _add_source_options(sub: _Parser) -> None:
    sub.add_argument(
        "--arch",
        type=Path,
        metavar="FILE",
        help="what a file of weights does not tell: TOML for PyTorch (docs/arch.md), the JSON of to_json() for Keras",
    )
    sub.add_argument("--from", dest="framework", choices=detect.KNOWN, help="do not guess the file type")


def _add_info(commands: Any) -> _Parser:
    sub = _command(commands, "info", info, "show what is in a .lrt file")
    sub.add_argument("model", type=Path)
    sub.add_argument("--json", action="store_true", help="as JSON")
    return sub


def _add_run(commands: Any) -> _Parser:
    sub = _command(commands, "run", run, "run a model on arrays from files")
    sub.add_argument("model", type=Path)
    sub.add_argument(
        "inputs", type=Path, nargs="+", metavar="X", help=".npy or .csv, one per input, or one .npz with all"
    )
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help=".npy, .npz or .csv")
    sub.add_argument(
        "--lengths",
        action="append",
        metavar="[INPUT=]N,N,...",
        help="valid steps per row, or an array file with them; INPUT= where inputs have time axes of their own",
    )
    sub.add_argument("--threads", type=_threads, default=1, metavar="N", help="a number or auto (default 1)")
    sub.add_argument("--json", action="store_true", help="print what was written as JSON")
    return sub


def _add_verify(commands: Any) -> _Parser:
    sub = _command(commands, "verify", verify, "check a model with its self-test, or against its source")
    sub.add_argument("model", type=Path)
    sub.add_argument("--against", type=Path, metavar="SOURCE", help="the file the model was converted from")
    _add_source_options(sub)
    sub.add_argument("--atol", type=_tolerance, default=_ATOL, help=f"for --against (default {_ATOL:g})")
    sub.add_argument("--rtol", type=_tolerance, default=_RTOL, help=f"for --against (default {_RTOL:g})")
    sub.add_argument("--json", action="store_true", help="as JSON")
    return sub


def _add_bench(commands: Any) -> _Parser:
    sub = _command(commands, "bench", bench, "measure how long a model takes on this computer")
    sub.add_argument("model", type=Path)
    sub.add_argument("--batch", type=_positive, default=1, metavar="N", help="rows (default 1)")
    sub.add_argument("--steps", type=_positive, default=100, metavar="T", help="time steps (default 100)")
    sub.add_argument("--threads", type=_thread_list, default=[1], metavar="N,N,...", help="default 1")
    sub.add_argument("--seconds", type=_seconds, default=1.0, metavar="S", help="per measurement (default 1)")
    sub.add_argument("--stream", action="store_true", help="also measure stream.step")
    sub.add_argument("--json", action="store_true", help="as JSON")
    return sub


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _threads(text: str) -> int | str:
    return text if text == "auto" else _positive(text)


def _thread_list(text: str) -> list[int | str]:
    return [_threads(part) for part in text.split(",")]


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return value


def _seconds(text: str) -> float:
    value = _tolerance(text)
    if value > 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is more than an hour")
    return value


# -- convert ----------------------------------------------------------------------------------------


def convert(args: argparse.Namespace) -> int:
    """``lstm-rt convert``"""
    graph = _read_source(args.source, args.arch, args.framework)
    graph.check()
    test_from = "left out"
    if args.no_selftest:
        graph.selftest = None
    else:
        test_from = _ensure_selftest(graph)
    graph.meta.setdefault("tool", f"lstm-rt {__version__}")
    _writable(args.output)
    graph.save(str(args.output))
    size = args.output.stat().st_size
    print(f"{args.output}: {describe.bytes_text(size)}, {len(graph.nodes)} nodes, {graph.parameters():,} parameters")
    print(f"self-test: {test_from}")
    for note in graph.meta.get("notes", []):
        print(f"note: {note}")
    return OK


def _writable(path: Path) -> None:
    """Say so early, and in plain words, when a file cannot be written."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file to write")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")


def _read_source(source: Path, arch: Path | None, framework: str | None) -> Graph:
    framework = framework or detect.detect(source)
    if framework == "keras":
        from .from_keras import from_keras

        return from_keras(source, arch)
    from .from_torch import from_torch

    return from_torch(source, arch=arch)


def _ensure_selftest(graph: Graph) -> str:
    """Give the graph a self-test vector if it has none; returns where it comes from."""
    if graph.selftest is not None:
        return "from the source"
    graph.selftest = testdata.make_selftest(graph)
    if graph.selftest is None:
        return "left out, because the model's outputs for random inputs are not finite"
    graph.meta["selftest"] = "computed from the converted graph by the reference interpreter in float64"
    return "random inputs, outputs computed in float64 by the reference interpreter"


# -- info -------------------------------------------------------------------------------------------


def info(args: argparse.Namespace) -> int:
    """``lstm-rt info``"""
    graph, problem = _open(args.model)
    checksum = f"FAILED: {problem}" if problem else "ok"
    size = args.model.stat().st_size
    facts = {"file": str(args.model), "bytes": size, "checksum": checksum, **describe.describe(graph)}
    print(json.dumps(facts, indent=1) if args.json else describe.as_text(facts))
    return MISMATCH if problem else OK


def _open(path: Path) -> tuple[Graph, str]:
    """The graph in a file, and what is wrong with its checksum ('' if nothing).

    Raises:
        FormatError: the file is no .lrt file or is too broken to show anything of it.
    """
    from lstm_rt import format as lrt_format

    problem = ""
    try:
        lrt_format.check(str(path))
    except FormatError as e:
        problem = str(e)
    try:
        return lrt_format.load_graph(str(path)), problem
    except FormatError as e:
        raise FormatError(f"{path}: {e}") from e


# -- run --------------------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> int:
    """``lstm-rt run``"""
    _writable(args.output)
    model = _load(args.model)
    inputs = _model_inputs(model, args.inputs)
    options: dict[str, Any] = {"threads": args.threads}
    if args.lengths is not None:
        options["lengths"] = _lengths(args.lengths)
    start = time.perf_counter()
    outputs = _named_outputs(model, model(*inputs, **options))
    seconds = time.perf_counter() - start
    arrays_io.write_outputs(args.output, outputs)
    _report_run(args, outputs, seconds)
    return OK


def _lengths(options: Sequence[str]) -> Any:
    """One array, or a dict from input name to array where names are given."""
    if len(options) == 1 and "=" not in options[0]:
        return arrays_io.read_lengths(options[0])
    by_name: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise InputError(f"--lengths {option}: several are given, so each needs INPUT=")
        if name in by_name:
            raise InputError(f"--lengths: {name!r} is given twice")
        by_name[name] = arrays_io.read_lengths(text)
    return by_name


def _load(path: Path) -> Any:
    import lstm_rt

    return lstm_rt.load(str(path))


def _model_inputs(model: Any, paths: Sequence[Path]) -> list[Any]:
    specs = list(model.inputs)
    arrays = arrays_io.read_inputs(paths, [s.name for s in specs])
    result = []
    for spec, array in zip(specs, arrays, strict=True):
        converted, note = arrays_io.as_dtype(array, np.dtype(DTYPES[spec.kind]), spec.name)
        if note and array.dtype != np.float64:  # float64 is just how numpy and CSV hold numbers
            print(f"lstm-rt: note: {note}", file=sys.stderr)
        result.append(np.ascontiguousarray(converted))
    return result


def _named_outputs(model: Any, result: Any) -> dict[str, Any]:
    arrays = result if isinstance(result, tuple) else (result,)
    return {spec.name: np.asarray(a) for spec, a in zip(model.outputs, arrays, strict=True)}


def _report_run(args: argparse.Namespace, outputs: dict[str, Any], seconds: float) -> None:
    facts = [
        {
            "name": name,
            "shape": list(a.shape),
            "dtype": a.dtype.name,
            "finite": bool(np.isfinite(a).all()),
        }
        for name, a in outputs.items()
    ]
    if args.json:
        print(json.dumps({"file": str(args.output), "seconds": seconds, "outputs": facts}, indent=1))
        return
    for f in facts:
        extra = "" if f["finite"] else "  NOT ALL FINITE"
        print(f"{args.output}: {f['name']} {tuple(f['shape'])} {f['dtype']}{extra}")
    print(f"computed in {seconds * 1000:.3g} ms")


# -- verify -----------------------------------------------------------------------------------------


def verify(args: argparse.Namespace) -> int:
    """``lstm-rt verify``"""
    if args.against is None:
        if args.arch is not None or args.framework is not None:
            raise InputError("--arch and --from go with --against")
        return _verify_selftest(args)
    return _verify_against(args)


def _verify_selftest(args: argparse.Namespace) -> int:
    graph, problem = _open(args.model)
    if problem:
        print(f"FAILED: {problem}")
        return MISMATCH
    if graph.selftest is None:
        raise InputError(f"{args.model}: holds no self-test vector; use --against SOURCE")
    result = _load(args.model).verify()
    facts = {
        "file": str(args.model),
        "compared": "self-test vector in the file",
        "max_abs_err": float(result["max_abs_err"]),
        "atol": graph.selftest.atol,
        "rtol": graph.selftest.rtol,
        "ok": bool(result["ok"]),
    }
    if args.json:
        print(json.dumps(facts, indent=1))
    else:
        verdict = "ok" if facts["ok"] else "MISMATCH"
        print(f"{verdict}: checksum good, self-test max abs difference {facts['max_abs_err']:.2e}")
    return OK if facts["ok"] else MISMATCH


def _verify_against(args: argparse.Namespace) -> int:
    from . import compare

    graph, problem = _open(args.model)
    if problem:
        raise FormatError(f"{args.model}: {problem}")
    what, inputs, want = compare.run_source(args.against, graph, args.arch, args.framework)
    got = _named_outputs(model := _load(args.model), model(*inputs))
    diffs = compare.differences(list(got), list(got.values()), want, args.atol, args.rtol)
    ok = all(d.ok for d in diffs)
    if args.json:
        facts = {"file": str(args.model), "compared": what, "ok": ok, "atol": args.atol, "rtol": args.rtol}
        print(json.dumps({**facts, "outputs": [asdict(d) for d in diffs]}, indent=1))
        return OK if ok else MISMATCH
    print(f"compared with {what}")
    for d in diffs:
        print(f"{'ok' if d.ok else 'MISMATCH'}: {d.name}: max abs difference {d.max_abs:.2e}, largest {d.largest:.3g}")
    return OK if ok else MISMATCH


# -- bench ------------------------------------------------------------------------------------------


def bench(args: argparse.Namespace) -> int:
    """``lstm-rt bench``"""
    from . import bench as measure

    graph, _ = _open(args.model)
    model = _load(args.model)
    inputs = testdata.make_inputs(graph, args.batch, args.steps)
    rows = list(measure.bench_calls(model, inputs, args.steps, args.threads, args.seconds))
    if args.stream:
        rows.append(measure.bench_stream(model, args.batch, _one_step(graph, inputs), args.seconds))
    if args.json:
        facts = {"file": str(args.model), "batch": args.batch, "steps": args.steps}
        print(json.dumps({**facts, "kernels": model.kernels, "timings": [asdict(r) for r in rows]}, indent=1))
        return OK
    print(f"{args.model}, {args.batch} x {args.steps} steps, {model.kernels} kernels, microseconds\n")
    head = ["mode", "threads", "median", "p10..p90", "per step", "calls"]
    cells = [
        [
            r.mode,
            r.threads,
            f"{r.median_us:.1f}",
            f"{r.p10_us:.1f}..{r.p90_us:.1f}",
            f"{r.median_us_per_step:.2f}",
            str(r.calls),
        ]
        for r in rows
    ]
    print(describe.table(head, cells, right=(1, 2, 3, 4, 5)))
    return OK


def _one_step(graph: Graph, inputs: Sequence[Any]) -> Any:
    if len(inputs) != 1 or graph.values[graph.inputs[0]].kind not in ("seq", "ids"):
        raise InputError("--stream needs a model with one sequence as its input")
    return np.ascontiguousarray(inputs[0][:, 0])


if __name__ == "__main__":
    sys.exit(main())
