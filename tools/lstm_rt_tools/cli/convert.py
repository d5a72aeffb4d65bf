"""``lstm-rt convert``: a trained model into a ``.lrt`` file."""

from __future__ import annotations

import argparse
from pathlib import Path

from lstm_rt.errors import FormatError
from lstm_rt.files import record_reads
from lstm_rt.format import Contents, contents, dumps, load_graph
from lstm_rt.graph import Graph
from lstm_rt.quantised import has_integers
from lstm_rt.text import shown

from .. import __version__, archives, readers
from ..integers.quantize import Made, NoIntegersError, TooFarError
from ..judges import testdata
from . import describe, memory
from .common import OK, facts, note_lines, notes, source_options
from .output import Output
from .progress import Progress
from .quantize import facts_of, lines, say_too_far, wants_integers, with_integers


def convert(args: argparse.Namespace) -> int:
    """``lstm-rt convert``"""
    memory.give_back()
    integers = wants_integers(args)
    output = Output(args.output or _default_output(args.source), [args.source, args.arch, *(args.calibrate or [])])
    costs: list[str] = []
    with (
        archives.opened(args.source, args.framework) as source,
        record_reads() as reads,
        Progress(_size(source)) as progress,
    ):
        progress.step(f"reading {args.source.name}")
        graph = readers.read(source.path, source_options(args), args.framework)
        memory.let_go(graph)
        test_from = "left out"
        if args.no_selftest:
            graph.selftest = None
        else:
            progress.step("computing the self-test")
            test_from = _ensure_selftest(graph)
        graph.meta.setdefault("tool", f"lstm-rt {__version__}")
        if integers:
            try:
                made = with_integers(args, graph, dumps(graph), None, progress)
            except TooFarError as e:
                return say_too_far(args, e)
            except NoIntegersError as e:
                if not args.auto:  # to choose float32 for every matrix is a choice, too
                    raise
                costs = [f"weights: float32, as {e}"]
            else:
                costs = lines(facts_of(args, graph, made, progress))
                if graph.selftest is not None:
                    test_from = _test_of_made(made)
                graph = made.graph
        progress.step(f"writing {output.name}")
        data = contents(graph)
        sources = list(reads)  # what follows looks at the output
        for read in sources:  # readers may have opened more than the command names
            output.refuse(read)
        written = _write(output, data, args, graph)
        kind = readers.recognised(source.path)
        names = list(dict.fromkeys(source.shown(read.name) for read in sources))
    size = f"{describe.bytes_text(len(data))}{written}"
    nodes = f"{len(graph.nodes)} node{'s' * (len(graph.nodes) != 1)}"
    output.say(f"{shown(output.name, 200)}: {size}, {nodes}, {graph.parameters():,} parameters")
    output.say(f"read: {', '.join(shown(name, 200) for name in names)}")
    _report(output, graph, f"{kind.name}: " if kind else "", test_from)
    for line in [*describe.sparse_lines(data.shares), *costs]:
        output.say(line)
    return OK


def _test_of_made(made: Made) -> str:
    if made.graph.selftest is None:
        return "left out, because outputs for random inputs would prove nothing"
    return f"the outputs of the {'model with integer weights' if has_integers(made.graph) else 'pruned model'}"


def _size(source: archives.Source) -> int:
    return source.path.stat().st_size if source.path.is_file() else 0


def _default_output(source: Path) -> Path:
    """``model.pt`` -> ``model.lrt`` in the current folder, where compilers put what they make, too."""
    suffix = source.suffix.lower()
    known = suffix == ".zip" or any(suffix in row.suffixes for row in readers.READERS)
    return Path(f"{source.stem if known else source.name}.lrt")


def _write(output: Output, data: Contents, args: argparse.Namespace, graph: Graph) -> str:
    """Write the file; returns a remark."""
    if args.dry_run:
        output.check_unnamed(data, args.force or args.output is not None, lambda path: _comes_from_same(path, graph))
        return ", not written (--dry-run)"
    if args.output is None:
        return output.write_unnamed(data, args.force, lambda path: _comes_from_same(path, graph))
    output.write(data)
    return ""


def _comes_from_same(path: Path, graph: Graph) -> bool:
    """Is that file an .lrt file that was converted from a file of the same name, as before the last training?"""
    try:
        before = load_graph(path).meta.get("source")
    except (FormatError, OSError):
        return False
    now = graph.meta.get("source", {})
    names = [source.get("file") for source in (before, now) if isinstance(source, dict)]
    return len(names) == 2 and names[0] == names[1] is not None


def _report(output: Output, graph: Graph, kind: str, test_from: str) -> None:
    """What was found, put together and compared, and what the user should know."""
    output.say(f"found: {kind}{describe.in_short(graph)}")
    for what in ("folded", "checked"):
        for fact in facts(graph, what):
            output.say(f"{what}: {fact}")
    output.say(f"self-test: {test_from}")
    for line in note_lines(notes(graph)):
        output.say(line)


def _ensure_selftest(graph: Graph) -> str:
    """Give the graph a self-test vector if it has none; returns where it comes from."""
    if graph.selftest is not None:
        return "from the source"
    graph.selftest = testdata.make_selftest(graph)
    if graph.selftest is None and describe.nonfinite(graph):
        return "left out, because weights of the model are not finite"
    if graph.selftest is None:
        return "left out, because float32 does not give the model's outputs for random inputs"
    graph.meta["selftest"] = "computed from the converted graph by the reference interpreter in float64"
    return "random inputs, outputs computed in float64 by the reference interpreter"
