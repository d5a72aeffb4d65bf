"""``lstm-rt info``: what is in a ``.lrt`` file, or in a model file that can be converted to one."""

from __future__ import annotations

import argparse
from typing import Any

import lstm_rt
from lstm_rt.errors import ConvertError, InputError
from lstm_rt.files import open_regular
from lstm_rt.format import MAGIC
from lstm_rt.text import shown

from .. import archives, readers
from ..archives import Source
from . import describe
from .common import MISMATCH, OK, ModelFile, as_json, note_lines, source_options
from .graph_svg import graph_svg


def info(args: argparse.Namespace) -> int:
    """``lstm-rt info``"""
    if _is_source(args):
        return _source(args)
    if args.arch is not None or args.part is not None or args.framework is not None:
        raise InputError(f"{args.model}: --arch, --part and --from are for files that are not converted yet")
    file = ModelFile(args.model)
    checksum = f"FAILED: {file.problem}" if file.problem else "ok"
    facts = {"file": str(args.model), "bytes": len(file.blob), "checksum": checksum, **describe.describe(file.graph)}
    if args.svg:
        print(graph_svg(file.graph, facts, str(args.model)), end="")
        return MISMATCH if file.problem else OK
    if not file.problem:
        facts["call_bytes"] = lstm_rt.Model(file.blob, threads=1).session_nbytes(1, describe.CALL_STEPS)
    print(as_json(facts) if args.json else describe.as_text(facts))
    return MISMATCH if file.problem else OK


def _is_source(args: argparse.Namespace) -> bool:
    """Is it a file that a reader knows, by its content, or by its name where the content tells nothing?"""
    if args.model.is_dir():
        return readers.is_saved_model(args.model)
    with open_regular(args.model) as file:
        head = file.read(len(MAGIC))
    if head == MAGIC or not head:
        return False
    if args.framework is not None or readers.recognised(args.model) is not None:
        return True
    return args.model.suffix.lower() in (*(s for row in readers.READERS for s in row.suffixes), ".zip")


def _source(args: argparse.Namespace) -> int:
    """The graph that a file converts to; where it does not, its weights, and what is in the way."""
    options = source_options(args)
    with archives.opened(args.model, args.framework) as source:
        facts: dict[str, Any] = {"file": source.name, "kind": readers.find(source.path, args.framework).name}
        try:
            graph = readers.read(source.path, options, args.framework)
        except ConvertError as e:
            weights = readers.weights(source.path, args.framework)
            if not weights or args.svg:
                raise
            facts |= {"problem": str(e).removesuffix(e.draft).strip(), "draft": e.draft, "weights": weights}
        else:
            facts |= describe.describe(graph)
            if args.svg:
                print(graph_svg(graph, facts, source.name), end="")
                return OK
        print(as_json(facts) if args.json else _text(facts, source))
    return OK


def _text(facts: dict[str, Any], source: Source) -> str:
    head = f"{facts['kind']} file {shown(source.name, 200)}"
    if "nodes" in facts:
        text = describe.as_text({**facts, "meta": {}})
        lines = list(note_lines([shown(n, 400) for n in facts["meta"].get("notes", [])]))
        return "\n".join([f"{head}, as it would be converted", "", text, *lines])
    rows = [[shown(w["name"], 80), describe.shape_text(w["shape"]), w["dtype"]] for w in facts["weights"]]
    weights = describe.table(["weight", "shape", "dtype"], rows)
    return "\n".join([head, "", weights, "", f"to convert it: {facts['problem']}", "", facts["draft"]]).rstrip()
