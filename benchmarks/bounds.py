"""The least time that a call can take on a machine whose roofline is known; README.md has the definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from roofline import Roofline
from workloads import GATES, AnyWorkload, EngineName, Workload

WEIGHT_BYTES = {"float32": 4, "float16": 2, "int16": 2, "int8": 1, "int8/8": 1}
#: Weights whose products are made in float32, the arithmetic that the roofline's peak is of.
FLOAT32_ARITHMETIC = ("float32", "float16")
#: Kernel tables of lstm_rt that have no instruction set of the roofline to their name.
ISA_OF_TABLE = {
    "nofma": "portable",
    "avx2vnni": "avx2",
    "avx512vnni": "avx512",
    "avx512amx": "avx512",
    "neondot": "neon",
}


@dataclass(frozen=True)
class Phase:
    """Matrix products that wait for those of the phase before."""

    resident: int  #: bytes of the weights among which those read stay, in the nearest cache that holds them
    read: int  #: bytes of weights to read
    flop: int  #: a multiply-add counts two


def phases(w: AnyWorkload, threads: int) -> list[Phase]:
    """A single step is one phase; otherwise each layer has two: products with its input, then its steps. Whole models
    say it themselves."""
    if not isinstance(w, Workload):
        return list(w.phases())
    item = WEIGHT_BYTES[w.dtype]
    rows = GATES[w.cell] * w.hidden
    both = rows * w.directions
    layers = [(both * w.layer_inputs(layer), both * w.hidden) for layer in range(w.layers)]
    model = sum(map(sum, layers))
    runs = w.batch * w.steps
    if w.steps == 1:
        return [Phase(item * model, item * model, 2 * model * runs)]
    resident = item * rows * w.hidden * min(w.directions, threads)  # one thread runs one direction at a time
    out = []
    for ih, hh in layers:
        out.append(Phase(item * model, item * ih, 2 * ih * runs))
        out.append(Phase(resident, item * hh * w.steps, 2 * hh * runs))
    return out


def weight_bytes(w: AnyWorkload) -> int:
    """Weights and both biases, these in float32 whatever the weights are."""
    if not isinstance(w, Workload):
        return w.weight_bytes
    entries = sum(GATES[w.cell] * w.hidden * (w.layer_inputs(layer) + w.hidden) for layer, _ in w.parts())
    return WEIGHT_BYTES[w.dtype] * entries + 4 * 2 * GATES[w.cell] * w.hidden * len(w.parts())


def flop(w: AnyWorkload) -> int:
    """Matrix products of a call."""
    return sum(phase.flop for phase in phases(w, 1))


def bound_us(w: AnyWorkload, roofline: Roofline) -> float | None:
    """Microseconds of a call whose products do nothing but read weights or multiply, whichever takes longer.

    None if the roofline has no peak for the arithmetic of the workload's type.
    """
    if w.dtype not in FLOAT32_ARITHMETIC:
        return None
    # A byte at 1 GB/s takes a nanosecond, and so does a FLOP at 1 GFLOP/s.
    each = [
        max(p.read / roofline.bandwidth(p.resident), p.flop / roofline.peak) for p in phases(w, roofline.threads)
    ]
    return sum(each) / 1e3


def roofline_for(engine: str, rooflines: Mapping[str, Roofline]) -> Roofline | None:
    """Of the instruction set that the engine is forced to, as in ``lstm_rt:avx2``; otherwise the first, the best."""
    table = EngineName.of(engine).table
    best = next(iter(rooflines.values()), None)
    return rooflines.get(ISA_OF_TABLE.get(table, table)) if table else best
