"""A model with integer weights: rounded, compared with float32, with its own self-test and what it was made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import GraphError
from lstm_rt.format import contents
from lstm_rt.format.blocks import stored
from lstm_rt.graph import Graph

from .. import __version__
from .calibrate import checked, moments
from .choose import choose
from .graphs import BITS, Change, Choices, Done, quantize_with_report, refuse_integers
from .measure import Error, errors, made_up, outputs_of, selftest
from .prune import Pruned, pruned
from .speed import speed_against

Arrays: TypeAlias = Sequence[NDArray[Any]]
Bits: TypeAlias = int | Literal["auto"]

ACTIVATIONS = 16  #: bits, where nothing else is asked for
FLOATS = 32  #: bits of weights that stay float32 and are but pruned


class TooFarError(GraphError):
    """An output is further from float32's than was allowed."""

    def __init__(self, worst: float, allowed: float) -> None:
        super().__init__(f"quantize: the largest error is {worst:.2e}, more than {allowed:g}")
        self.worst = worst


class NoIntegersError(GraphError):
    """No matrix becomes integers: none can, or for "auto" none should."""


@dataclass(frozen=True)
class Options:
    """What is asked for; see :func:`quantize`."""

    bits: Bits = 8
    activations: int = ACTIVATIONS
    max_error: float | None = None
    prune: float | None = None


@dataclass(frozen=True)
class Made:
    """A graph with integer weights, and how it compares with that of float32."""

    graph: Graph
    changes: list[Change]
    inputs: Arrays  #: that they are compared on
    exact: Arrays  #: the outputs of float32
    errors: list[Error]
    nearest: list[Error]  #: with calibration data: what errors are where each number becomes the nearest integer
    pruned: list[Pruned]  #: what became of each matrix, where some were pruned


def quantize(
    graph: Graph,
    bits: Bits = 8,
    activations: int = ACTIVATIONS,
    calibrate: Sequence[NDArray[Any]] | None = None,
    max_error: float | None = None,
    prune: float | None = None,
) -> Graph:
    """The graph with int8 or int16 weights, and a scale for each of their rows; the given one stays what it is.

    Input, recurrent and projection matrices of recurrent layers, weights of dense layers and convolutions, and tables
    of embeddings become integers. What they are multiplied with is rounded too while the model runs, each row, step
    and window with a scale of its own. Biases, states, gates and normalisations stay float32, as do matrices of at most
    4 inputs, those that are not finite, and convolutions in groups whose outputs are no multiple of 16. Where the graph
    has a self-test, the new one has a test of its own outputs.
    ``meta["quantised"]`` says what it was made from, and how.

    Args:
        graph: without integer weights.
        bits: 8 or 16; or "auto": for each matrix the fewest with which the outputs are near enough, and with which
            the model is not slower on this computer, or float32. 32: all stay float32, where they are pruned.
        activations: 16, or 8 for speed with int8 weights.
        calibrate: inputs as the model meets them, in the order of ``graph.inputs``: weights are then rounded such
            that their errors make up for each other on such data.
        max_error: how far each number of each output may be from that of float32, on the calibration data or else on
            data that are made up. Without it "auto" takes a thousandth of the largest number of each output.
        prune: of each matrix this share of its blocks becomes 0 first, those of the least magnitude: for experiments,
            as a model has to be trained with that to stay good.

    Raises:
        GraphError: bits, activations, max_error or prune are others, the graph has integer weights already, no matrix
            of it can have, or an output is further from float32's than ``max_error``.
        InputError: the calibration data do not fit, are empty, or not finite.
    """
    return make(graph, Options(bits, activations, max_error, prune), calibrate).graph


def make(
    graph: Graph,
    options: Options,
    calibrate: Arrays | None = None,
    origin: dict[str, str] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Made:
    """The same, and how it compares.

    Args:
        origin: the file and the checksum of the float32 model; without, the checksum of the file that the graph makes.
        tell: is told what is being done.

    Raises:
        TooFarError: an output is further from float32's than ``max_error``.
    """
    _check(graph, options)
    inputs = made_up(graph) if calibrate is None else checked(graph, calibrate)
    tell("computing with float32")
    exact = near = outputs_of(graph, inputs)
    left, cut = graph, list[Pruned]()
    if options.prune is not None:
        left, cut = pruned(graph, options.prune, FLOATS // (min(BITS) if options.bits == "auto" else options.bits))
        if all(p.why for p in cut):
            if options.bits == FLOATS:
                raise GraphError(f"no matrix of this model is pruned{_reasons(cut)}")
            options = replace(options, prune=None)
        near = outputs_of(left, inputs)
    known = None if calibrate is None or options.bits == FLOATS else moments(left, inputs, tell, shrink=True)
    done: Done = {}
    bits: int | Choices
    if options.bits == "auto":
        speed = speed_against(left, inputs)
        measured_from = near if options.max_error is None else exact  # what is allowed is of the model as it came
        bits = choose(left, inputs, measured_from, options.activations, options.max_error, known, done, speed, tell)
    else:
        bits = {} if options.bits == FLOATS else options.bits
    made, changes = quantize_with_report(left, bits, options.activations, known, done, tell)
    if cut:  # of which the bytes before are not those of the model
        changes = [replace(c, before=_bytes_of(graph, c), blocks_lost=None) for c in changes]
    if options.bits == FLOATS:
        changes = [replace(c, why="") for c in changes]
    if options.prune is None and not any(c.bits for c in changes):
        raise NoIntegersError(f"no weights of this model become integers{_reasons(changes)}")
    tell("comparing with float32")
    found = errors(made, exact, inputs)
    worst = max(e.max_abs for e in found)
    if options.max_error is not None and not worst <= options.max_error:
        raise TooFarError(worst, options.max_error)
    nearest = []
    if known is not None:
        nearest = errors(quantize_with_report(left, bits, options.activations)[0], exact, inputs)
    made.meta["quantised"] = _record(graph, options, None if calibrate is None else inputs, origin)
    if graph.selftest is not None:
        tell("computing the self-test")
        made.selftest = selftest(made)
        how = "with integer weights" if options.prune is None else "pruned"
        made.meta["selftest"] = f"the outputs of this model {how}, for random inputs"
        if made.selftest is None:
            del made.meta["selftest"]
    return Made(made, changes, inputs, exact, found, nearest, cut)


def _check(graph: Graph, options: Options) -> None:
    known = (*BITS, "auto", *([] if options.prune is None else [FLOATS]))
    if options.bits not in known:
        *first, last = map(json.dumps, known)
        raise GraphError(f"quantize: bits is {options.bits!r}, expected {', '.join(first)} or {last}")
    for name, value in (("max_error", options.max_error), ("prune", options.prune)):
        if value is not None and not isinstance(value, Real):
            raise GraphError(f"quantize: {name} is {value!r}, expected a number")
    allowed = options.max_error
    if allowed is not None and not (np.isfinite(allowed) and allowed >= 0):
        raise GraphError(f"quantize: max_error is {allowed!r}, expected a number of 0 or more")
    refuse_integers(graph, "quantize: the model")


def _bytes_of(graph: Graph, change: Change) -> int:
    node = graph.nodes[change.node]
    return stored(node, change.weight, node.weights[change.weight])[0]


def _reasons(changes: Sequence[Change | Pruned]) -> str:
    return f": {', '.join(sorted({f'{c.weight}: {c.why}' for c in changes}))}" if changes else ""


def _record(graph: Graph, options: Options, calibrate: Arrays | None, origin: dict[str, str] | None) -> dict[str, Any]:
    """What the model was made from, and how: for its metadata."""
    found: dict[str, Any] = {
        "from": origin or {"checksum": checksum_of(bytes(next(iter(contents(graph)))))},
        "tool": f"lstm-rt {__version__}",
        "weights": options.bits if options.bits == "auto" else int(options.bits),
    }
    if options.bits != FLOATS:
        found["activations"] = int(options.activations)
    if options.max_error is not None:
        found["max_error"] = float(options.max_error)
    if options.prune is not None:
        found["pruned"] = float(options.prune)
    if calibrate is not None:
        found["calibration"] = [shape_text(a) for a in calibrate]
    return found


def checksum_of(blob: bytes) -> str:
    """The checksum that the header of a file has, as eight digits."""
    return f"{int.from_bytes(blob[12:16], 'little'):08x}"


def shape_text(array: NDArray[Any]) -> str:
    return "x".join(map(str, array.shape))
