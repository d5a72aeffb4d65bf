"""The ``lstm-rt`` command.

Exit codes: 0 all is well, 1 a mismatch or a failed check, 2 wrong usage or bad input.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lstm_rt.errors import ConvertError, FormatError, LstmRtError
from lstm_rt.text import shown

from .. import __version__
from ..readers import FRAMEWORKS, recognised
from . import arrays_io
from .bench import bench
from .common import ERROR, OK, one_line, warn
from .convert import convert
from .export_c import export_c
from .export_onnx import export_onnx
from .info import info
from .quantize import quantize
from .run import run
from .verify import verify

_ATOL, _RTOL = 1e-5, 1e-4
_MAX_INT = 2**31 - 1


class _Parser(argparse.ArgumentParser):
    """Usage errors as one line, like all other errors."""

    def error(self, message: str) -> NoReturn:
        self.exit(ERROR, f"lstm-rt: error: {one_line(message)} (try: {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Raises:
        KeyboardInterrupt: on Ctrl-C; :func:`lstm_rt_tools.cli.main` makes an exit code of it.
        SystemExit: on ``--help``, ``--version`` and usage errors, as argparse does.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal need not know every character of a name
            stream.reconfigure(errors="backslashreplace")
    code = OK
    try:
        args = _parser().parse_args(argv)
        code = _run_command(args)
    finally:
        problem = _flush()
    if problem and code != ERROR:
        warn(f"error: standard output: {problem}")
        return ERROR
    return code


def _run_command(args: argparse.Namespace) -> int:
    command: Callable[[argparse.Namespace], int] = args.command
    if sys.stdout is None and command in (info, verify, bench):  # what they print is all that they do
        warn("error: standard output: is closed")
        return ERROR
    try:
        return command(args)
    except Exception as e:  # a user gets one line, whatever went wrong
        if _is_enough(e):
            return OK
        if args.traceback:
            traceback.print_exc()
        warn(f"error: {_message(e)}{_advice(e, args)}")
        if isinstance(e, ConvertError) and e.draft:  # on stdout, so that `> arch.toml` catches it
            with contextlib.suppress(OSError):
                print(e.draft)
        return ERROR


def _advice(e: Exception, args: argparse.Namespace) -> str:
    """For somebody who gives a trained model where a converted one is expected."""
    row = recognised(args.model) if isinstance(e, FormatError) and "model" in args else None
    if row is None:
        return ""
    article = "an" if row.name[0] in "IO" else "a"  # ICU, ONNX
    return f"; this is {article} {row.name} file: lstm-rt convert {shown(args.model, 200)} makes an .lrt file of it"


def _is_enough(e: Exception) -> bool:
    """Has the reader of what is printed, such as `head`, gone? A broken pipe of ``-o`` has a name."""
    return isinstance(e, BrokenPipeError) and e.filename is None


def _flush() -> str:
    """Write what has been printed; returns what went wrong, which Python would tell of when it exits."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as e:
        with contextlib.suppress(OSError, ValueError):  # the rest goes nowhere, rather than fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "" if _is_enough(e) else e.strerror or str(e)
    return ""


def _message(e: Exception) -> str:
    if isinstance(e, OSError) and e.strerror:
        return f"{os.fsdecode(e.filename)}: {e.strerror}" if e.filename else e.strerror
    if isinstance(e, ImportError) and e.name and not e.name.startswith("lstm_rt"):
        return f"this needs {e.name}, which is not installed (pip install {e.name.partition('.')[0]})"
    text = str(e)
    if isinstance(e, ConvertError) and e.draft:
        text = text.removesuffix(e.draft)
    if isinstance(e, LstmRtError):
        return text
    if isinstance(e, MemoryError):
        return f"not enough memory ({text})" if text else "not enough memory"
    if isinstance(e, RecursionError):
        return "the file is nested too deeply"
    if isinstance(e, OverflowError):
        return f"a number in the file is too large ({text})"
    return f"{type(e).__name__}: {text} (unexpected; --traceback shows where)"


# -- arguments --------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lstm-rt", description="Convert, inspect, run and measure recurrent networks.")
    parser.add_argument("--version", action="version", version=f"lstm-rt {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for add in (
        _add_convert,
        _add_info,
        _add_run,
        _add_verify,
        _add_bench,
        _add_quantize,
        _add_export_onnx,
        _add_export_c,
    ):
        sub = add(commands)
        sub.add_argument("--traceback", action="store_true", help="show where an error was raised")
    return parser


def _command(commands: Any, name: str, function: Callable[[argparse.Namespace], int], text: str) -> _Parser:
    sub: _Parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    sub.set_defaults(command=function)
    return sub


_OUT = "the .lrt file to write, - for standard output (default: the source's name in the current folder)"


def _add_convert(commands: Any) -> _Parser:
    sub = _command(commands, "convert", convert, "turn a trained Keras or PyTorch model into a .lrt file")
    sub.add_argument("source", type=_path, help="the model file")
    sub.add_argument("-o", "--output", type=_output, metavar="OUT", help=_OUT)
    _add_source_options(sub)
    _add_force(sub)
    _add_integers(sub, "store weights as int{}, which is smaller and faster; lstm-rt quantize tells what it costs")
    sub.add_argument("--dry-run", action="store_true", help="do everything but write the file")
    sub.add_argument("--no-selftest", action="store_true", help="leave the self-test vector out")
    return sub


def _add_integers(sub: _Parser, text: str) -> None:
    """The options of integer weights."""
    bits = sub.add_mutually_exclusive_group()
    for name, n in (("--int8", 8), ("--int16", 16)):
        bits.add_argument(name, dest="bits", action="store_const", const=n, default=0, help=text.format(n))
    sub.add_argument(
        "--activations",
        type=int,
        choices=(8, 16),
        help="bits of what integer weights are multiplied with: 16 (default), or 8 for speed with int8",
    )
    auto = "of each matrix the fewest bits that keep the outputs near float32's, and that are not slower here"
    bits.add_argument("--auto", action="store_true", help=auto)
    files = (
        ".npy or .csv, one per input, or one .npz with all: data to compare integers on, and to round the weights for"
    )
    sub.add_argument("--calibrate", type=_path, nargs="+", metavar="X", help=files)
    most = "write nothing, and end with 1, if an output is further than this from float32's; --auto keeps to it"
    sub.add_argument("--max-error", type=_tolerance, metavar="E", help=most)
    prune = "first make this share of the blocks of each matrix 0, those of the least magnitude: for experiments"
    sub.add_argument("--prune", type=_share, metavar="P", help=prune)


def _add_quantize(commands: Any) -> _Parser:
    sub = _command(commands, "quantize", quantize, "make the weights of a .lrt file integers, and tell what that costs")
    sub.add_argument("model", type=_path)
    sub.add_argument("-o", "--output", type=_output, required=True, metavar="OUT", help="the .lrt file to write")
    text = "weights of int{}: int16 is nearly as good as float32, int8 smaller (default int8; float32 with --prune)"
    _add_integers(sub, text)
    sub.add_argument("--json", action="store_true", help="as JSON")
    return sub


def _add_force(sub: _Parser) -> None:
    sub.add_argument("--force", action="store_true", help="without -o, replace whatever file has the default name")


def _add_source_options(sub: _Parser) -> None:
    sub.add_argument(
        "--arch",
        type=_path,
        metavar="FILE",
        help="what a file of weights does not tell: TOML for PyTorch (docs/arch.md), the JSON of to_json() for Keras",
    )
    sub.add_argument("--part", metavar="NAME", help="which part, where the file of --arch describes several")
    sub.add_argument("--from", dest="framework", choices=FRAMEWORKS, help="do not guess the file type")
    sub.add_argument(
        "--set",
        dest="settings",
        action=_Settings,
        metavar="NAME=N",
        help="an input of a single whole number, which decides what the model does; or a size of an input: x.2=40 is "
        "that of dimension 2 of x; as often as needed",
    )


class _Settings(argparse.Action):
    """Collects NAME=N."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        name, _, number = values.rpartition("=")
        if not name or not number.removeprefix("-").isdecimal():
            raise argparse.ArgumentError(self, f"{values!r} is not NAME=N with a whole number N")
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), name: int(number)})


def _add_info(commands: Any) -> _Parser:
    sub = _command(commands, "info", info, "show what is in a .lrt file, or in a model file that can be converted")
    sub.add_argument("model", type=_path)
    _add_source_options(sub)
    sub.add_argument("--json", action="store_true", help="as JSON")
    return sub


def _add_run(commands: Any) -> _Parser:
    sub = _command(commands, "run", run, "run a model on arrays from files")
    sub.add_argument("model", type=_path)
    sub.add_argument(
        "inputs", type=_path, nargs="+", metavar="X", help=".npy or .csv, one per input, or one .npz with all"
    )
    sub.add_argument(
        "-o", "--output", type=_output, required=True, metavar="OUT", help=".npy, .npz or .csv, - for standard output"
    )
    sub.add_argument(
        "--format", choices=arrays_io.FORMATS, help="whatever the output's name says; standard output is csv without"
    )
    _add_lengths(sub)
    sub.add_argument("--threads", type=_threads, default=1, metavar="N", help="a number or auto (default 1)")
    sub.add_argument("--json", action="store_true", help="print what was written as JSON")
    return sub


def _add_lengths(sub: _Parser) -> None:
    sub.add_argument(
        "--lengths",
        action="append",
        metavar="[INPUT=]N,N,...",
        help="valid steps per row, or an array file with them; INPUT= where inputs have time axes of their own",
    )


def _add_verify(commands: Any) -> _Parser:
    sub = _command(commands, "verify", verify, "check a model with its self-test, known outputs or its source")
    sub.add_argument("model", type=_path)
    sub.add_argument("--against", type=_path, metavar="SOURCE", help="the file the model was converted from")
    _add_source_options(sub)
    files = ".npy or .csv, one per {}, or one .npz with all"
    sub.add_argument("--inputs", type=_path, nargs="+", metavar="X", help=files.format("input"))
    sub.add_argument("--expect", type=_path, nargs="+", metavar="Y", help=f"their outputs: {files.format('output')}")
    _add_lengths(sub)
    sub.add_argument("--atol", type=_tolerance, default=_ATOL, help=f"for comparisons (default {_ATOL:g})")
    sub.add_argument("--rtol", type=_tolerance, default=_RTOL, help=f"for comparisons (default {_RTOL:g})")
    sub.add_argument("--json", action="store_true", help="as JSON")
    return sub


def _add_bench(commands: Any) -> _Parser:
    sub = _command(commands, "bench", bench, "measure how long a model takes on this computer")
    sub.add_argument("model", type=_path)
    sub.add_argument("--batch", type=_positive, default=1, metavar="N", help="rows (default 1)")
    sub.add_argument("--steps", type=_positive, default=100, metavar="T", help="time steps (default 100)")
    sub.add_argument("--threads", type=_thread_list, default=[1], metavar="N,N,...", help="default 1")
    sub.add_argument("--seconds", type=_seconds, default=1.0, metavar="S", help="per measurement (default 1)")
    sub.add_argument("--stream", action="store_true", help="also measure stream.step")
    sub.add_argument("--nodes", action="store_true", help="also show where the time goes, by the source's layers")
    sub.add_argument("--json", action="store_true", help="as JSON")
    return sub


def _add_export_onnx(commands: Any) -> _Parser:
    sub = _command(commands, "export-onnx", export_onnx, "write a model as an ONNX file of standard operators")
    sub.add_argument("model", type=_path)
    out = "the .onnx file to write, - for standard output (default: the model's name in the current folder)"
    sub.add_argument("-o", "--output", type=_output, metavar="OUT", help=out)
    _add_force(sub)
    states = "make the states of layers inputs and outputs; without, they begin with zero"
    sub.add_argument("--states", action="store_true", help=states)
    return sub


def _add_export_c(commands: Any) -> _Parser:
    sub = _command(commands, "export-c", export_c, "write a model as a folder of plain C for microcontrollers")
    sub.add_argument("model", type=_path)
    sub.add_argument("-o", "--output", type=_path, required=True, metavar="DIR", help="the folder to write")
    name = "what the names in C begin with (default: made of the model's name)"
    sub.add_argument("--name", metavar="PREFIX", help=name)
    steps = "write a function for whole sequences of at most N steps, as models that do not stream need it"
    sub.add_argument("--steps", type=_positive, metavar="N", help=steps)
    lanes = "units of a layer side by side: 4 (default) for microcontrollers, 8 for AVX2 and 16 for AVX-512"
    sub.add_argument("--lanes", type=int, choices=(4, 8, 16), default=4, help=lanes)
    integer = "compute with integers alone, for devices without a floating-point unit"
    sub.add_argument("--integer", action="store_true", help=integer)
    bits = "of a weight, with --integer: 8 or 16 (default: 8)"
    sub.add_argument("--bits", type=int, choices=(8, 16), help=bits)
    calibrate = "with --integer: inputs as the model meets them, from which ranges are taken; as of run"
    sub.add_argument("--calibrate", nargs="+", type=_path, metavar="X", help=calibrate)
    sub.add_argument("--force", action="store_true", help="replace a folder that this command has written before")
    return sub


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the name of the file is empty")
    return Path(text)


def _output(text: str) -> Path:
    """A file to write: pathlib would take ``new/`` for ``new``."""
    if os.path.basename(text) in ("", ".", "..") and text and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{shown(text, 200)} is the name of a folder, and there is none")
    return _path(text)


def _positive(text: str) -> int:
    digits = text.lstrip("0") if text.isascii() and text.isdecimal() else ""
    if not digits or len(digits) > 10 or int(digits) > _MAX_INT:
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is not a whole number from 1 to {_MAX_INT}")
    return int(digits)


def _threads(text: str) -> int | str:
    return text if text == "auto" else _positive(text)


def _thread_list(text: str) -> list[int | str]:
    return [_threads(part) for part in text.split(",")]


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is not a number above 0 and below 1")
    return value


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is not a number of 0 or more")
    return value


def _seconds(text: str) -> float:
    value = _tolerance(text)
    if value > 3600:
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is more than an hour")
    return value
