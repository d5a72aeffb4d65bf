"""``lstm-rt info``: what is in a ``.lrt`` file."""

from __future__ import annotations

import argparse

from . import describe
from .common import MISMATCH, OK, ModelFile, as_json


def info(args: argparse.Namespace) -> int:
    """``lstm-rt info``"""
    file = ModelFile(args.model)
    checksum = f"FAILED: {file.problem}" if file.problem else "ok"
    facts = {"file": str(args.model), "bytes": len(file.blob), "checksum": checksum, **describe.describe(file.graph)}
    print(as_json(facts) if args.json else describe.as_text(facts))
    return MISMATCH if file.problem else OK
