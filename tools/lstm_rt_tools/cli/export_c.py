"""``lstm-rt export-c``: a ``.lrt`` file as a folder of plain C for microcontrollers."""

from __future__ import annotations

import argparse

from lstm_rt.text import shown

from ..export_c.export import files_of, float_plan
from ..export_c.folder import check_target, write_folder
from ..export_c.names import check_prefix, prefix_of
from . import describe
from .common import OK, ModelFile
from .progress import Progress


def export_c(args: argparse.Namespace) -> int:
    """``lstm-rt export-c``"""
    prefix = check_prefix(args.name) if args.name is not None else prefix_of(args.model.stem)
    check_target(args.output, args.force)
    with Progress() as progress:
        progress.step(f"reading {args.model.name}")
        file = ModelFile(args.model).whole()
        progress.step("writing C")
        plan = float_plan(file.graph, file.model(), args.steps, args.lanes)
        write_folder(args.output, files_of(prefix, plan), args.force)
    constants = sum(a.values.nbytes for a in plan.arrays)
    print(f"{shown(args.output, 200)}: {prefix}.h, {plan.words}, {describe.bytes_text(constants)} of constants")
    print(f"memory: {plan.arena_bytes} bytes, of which {plan.state_bytes} are the state")
    for line in plan.facts:
        print(line)
    return OK
