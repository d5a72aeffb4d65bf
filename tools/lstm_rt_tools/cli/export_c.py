"""``lstm-rt export-c``: a ``.lrt`` file as a folder of plain C for microcontrollers."""

from __future__ import annotations

import argparse
from typing import Any

from lstm_rt.errors import InputError
from lstm_rt.graph import Graph
from lstm_rt.text import shown

from ..export_c.export import files_of, fixed_plan, float_plan
from ..export_c.folder import check_target, write_folder
from ..export_c.names import check_prefix, prefix_of
from ..export_c.plan import Plan
from . import describe
from .common import OK, ModelFile
from .progress import Progress
from .run import model_inputs


def _plan(args: argparse.Namespace, graph: Graph, model: Any) -> Plan:
    if not args.integer:
        if args.bits is not None or args.calibrate is not None:
            raise InputError(f"{'--bits' if args.bits is not None else '--calibrate'} is of --integer")
        return float_plan(graph, model, args.steps, args.lanes)
    if args.lanes != 4:
        raise InputError(f"--lanes {args.lanes} does not go with --integer")
    data = None if args.calibrate is None else model_inputs(model, args.calibrate)
    return fixed_plan(graph, model, args.steps, args.bits or 8, data)


def export_c(args: argparse.Namespace) -> int:
    """``lstm-rt export-c``"""
    prefix = check_prefix(args.name) if args.name is not None else prefix_of(args.model.stem)
    check_target(args.output, args.force)
    with Progress() as progress:
        progress.step(f"reading {args.model.name}")
        file = ModelFile(args.model).whole()
        progress.step("writing C")
        plan = _plan(args, file.graph, file.model())
        write_folder(args.output, files_of(prefix, plan), args.force)
    constants = sum(a.values.nbytes for a in plan.arrays)
    print(f"{shown(args.output, 200)}: {prefix}.h, {plan.words}, {describe.bytes_text(constants)} of constants")
    print(f"memory: {plan.arena_bytes} bytes, of which {plan.state_bytes} are the state")
    for line in plan.facts:
        print(line)
    return OK
