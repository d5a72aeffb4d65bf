"""A graph as the files of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from lstm_rt import __version__
from lstm_rt.graph import Graph

from . import floats
from .arrays import LANES
from .core import headers
from .fixed import plan as fixed
from .libraries import libraries
from .plan import ExportError, Plan
from .readme import readme
from .selftest import selftest
from .source import functions, header, weights
from .testing import make_test


def float_plan(graph: Graph, model: Any, steps: int | None, lanes: int = LANES) -> Plan:
    """The plan of a model in float32, with its test.

    Args:
        model: the same, opened by the runtime.
        steps: the most steps of a run, of models that do not stream; others stream without.
        lanes: units side by side.

    Raises:
        ExportError: something in it has no C.
    """
    check_steps(graph, model, steps)
    plan = floats.make_plan(graph, steps, lanes)
    plan.test = make_test(graph, model, steps)
    return plan


def check_steps(graph: Graph, model: Any, steps: int | None) -> None:
    """ExportError where a model with steps neither streams nor has a limit of them."""
    timed = any(graph.values[i].timed for i in [*graph.inputs, *graph.outputs])
    if steps is None and timed and not model.can_stream:
        raise ExportError("the model does not stream: how many steps a run may have is to be given (--steps)")


def fixed_plan(
    graph: Graph, model: Any, steps: int | None, bits: int, calibrate: Sequence[NDArray[Any]] | None = None
) -> Plan:
    """The plan of a model in integers alone, with its test; other arguments as of :func:`float_plan`.

    Args:
        bits: of a weight, 8 or 16.
        calibrate: inputs as the model meets them, in the graph's order.

    Raises:
        InputError: the calibration data do not fit the graph.
    """
    check_steps(graph, model, steps)
    return fixed.make_plan(graph, steps, bits, calibrate)


def files_of(prefix: str, plan: Plan) -> dict[str, str]:
    """All files of the folder, by path."""
    return {
        "README.md": readme(prefix, plan, __version__),
        "selftest.c": selftest(prefix, plan),
        f"src/{prefix}.h": header(prefix, plan, __version__),
        f"src/{prefix}.c": functions(prefix, plan),
        f"src/{prefix}_weights.h": weights(prefix, plan),
        **{f"src/{name}": text for name, text in headers(plan.headers).items()},
        **libraries(prefix, plan, __version__),
    }
