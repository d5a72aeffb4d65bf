"""What the commands share: exit codes, opening a model, and how things are printed."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lstm_rt
from lstm_rt import format as lrt_format
from lstm_rt.errors import FormatError
from lstm_rt.graph import Graph
from lstm_rt.text import shown

from ..row import Options

OK, MISMATCH, ERROR = 0, 1, 2
MAX_LINE = 800  #: characters of an error or a note: room for names, paths and what is known instead
_MAX_NOTES = 50
_MAX_FACTS = 20
_LONG_NUMBER = re.compile(r"[0-9]{41,}")


def source_options(args: argparse.Namespace) -> Options:
    """What the command line tells about a source beside its name."""
    return Options(arch=args.arch, part=args.part, settings=args.settings)


class ModelFile:
    """A ``.lrt`` file, read once: its bytes, its graph, and what is wrong with its checksum ('' if nothing).

    Raises:
        FormatError: the file is no ``.lrt`` file or is too broken to show anything of it.
        OSError: it cannot be read, or is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blob = lrt_format.read_file(path)
        try:
            self.graph: Graph = lrt_format.loads_graph(self.blob)
        except FormatError as e:
            raise FormatError(f"{path}: {e}", e.code) from e
        self.problem = ""
        try:
            lrt_format.check_bytes(self.blob)
        except FormatError as e:
            self.problem = str(e)

    def whole(self) -> ModelFile:
        """Itself; FormatError where the checksum is wrong."""
        if self.problem:
            raise FormatError(f"{self.path}: {self.problem}")
        return self

    def model(self) -> Any:
        """The model, ready to run."""
        return lstm_rt.Model(self.blob)

    def notes(self) -> list[str]:
        """What the converter had to say."""
        return notes(self.graph)


def notes(graph: Graph) -> list[str]:
    """The notes in a graph's metadata, fit to be printed; a file may hold anything in their place."""
    found = graph.meta.get("notes", [])
    return [shown(note, MAX_LINE) for note in found] if isinstance(found, list) else []


def facts(graph: Graph, what: str) -> list[str]:
    """What the converter has left in a graph's metadata under this name: one text, or several; fit to be printed."""
    found = graph.meta.get(what, [])
    texts = found if isinstance(found, list) else [found]
    return [shown(text, MAX_LINE) for text in texts[:_MAX_FACTS]]


def note_lines(notes: Sequence[str]) -> Iterator[str]:
    """The notes as they are printed: as many as somebody may read."""
    for note in notes[:_MAX_NOTES]:
        yield f"note: {note}"
    if len(notes) > _MAX_NOTES:
        yield f"note: ... and {len(notes) - _MAX_NOTES:,} more (info --json shows all)"


def as_json(facts: Any) -> str:
    """JSON, in which numbers that are not finite are null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(facts), indent=1)


def warn(text: str) -> None:
    """One line on standard error, whatever is in the text."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(f"lstm-rt: {one_line(text)}", file=sys.stderr)


def one_line(text: str) -> str:
    """A message as one line of bearable length; numbers of hundreds of digits lose their middle."""
    return shown(_LONG_NUMBER.sub(lambda m: shown(m[0], 40), " ".join(text.split())), MAX_LINE)
