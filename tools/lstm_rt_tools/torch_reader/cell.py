"""A module that is a cell alone: a layer over a sequence, compared with the cell step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Array, Graph

from ..arch.layers import add_stack
from ..judges import reference, testdata
from ..judges.compare import CHECK_TOLERANCE, differences
from .modules import CELLS, class_name, own_weights, recurrent_activations
from .run import Runner

_FROM_MODULE = "the module's own outputs for random inputs"
_FROM_GRAPH = "computed from the converted graph by the reference interpreter in float64"


def convert_cell(runner: Runner) -> Graph:
    """A single LSTMCell, GRUCell or RNNCell: a layer over a sequence, one step per call."""
    graph, module = Graph(), runner.module
    op, what = CELLS[class_name(module)], type(module).__name__
    x = graph.input("x", "seq", int(module.input_size))
    acts = recurrent_activations(op, lambda k: getattr(module, k, None), what)
    stack = add_stack(graph, op, x, own_weights(module, what), "", activations=acts)
    graph.output(stack.seq, "output")
    graph.meta["source"] = {}
    _Checks(runner, graph).make_selftest()
    return graph


class _Checks:
    """An LSTMCell, GRUCell or RNNCell, stepped over a sequence, beside its graph."""

    def __init__(self, runner: Runner, graph: Graph) -> None:
        self._runner, self._graph = runner, graph

    def make_selftest(self) -> None:
        """Compare on random inputs, and keep them."""
        _add_selftest(self._graph, self._stepped)

    def _stepped(self, arrays: list[NDArray[Any]]) -> Sequence[Array]:
        torch, module = self._runner.torch, self._runner.module
        x = torch.from_numpy(arrays[0]).to(module.weight_ih)
        state, steps = None, []
        for t in range(x.shape[1]):
            state = self._runner.run((x[:, t], state), again=t > 0)
            steps.append(state[0] if isinstance(state, tuple) else state)
        theirs = torch.stack(steps, 1).resolve_neg().cpu().float().numpy()
        exact = reference.run(self._graph, arrays)
        single = reference.run(self._graph, arrays, dtype=np.float32)
        problem = _first_difference(["output"], exact, [theirs], lambda: single)
        if problem:
            raise ConvertError(f"{problem}; does it have hooks or a forward of its own?")
        return [theirs]


def _add_selftest(graph: Graph, theirs: Callable[[list[NDArray[Any]]], Sequence[Array]]) -> None:
    made = _FROM_MODULE
    try:
        graph.selftest = testdata.make_selftest(graph, theirs)
    except ConvertError:
        raise
    except Exception:  # the module takes no inputs of this size, which has been noted
        made, graph.selftest = _FROM_GRAPH, testdata.make_selftest(graph)
    graph.meta["selftest"] = made if graph.selftest else "left out, because the outputs are not finite"


def _first_difference(
    names: Sequence[str],
    exact: Sequence[NDArray[Any]],
    theirs: Sequence[NDArray[Any]],
    single: Callable[[], Sequence[NDArray[Any]]],
) -> str:
    """The first output that differs too much; empty if none does.

    ``single`` gives the outputs in float32, which tell how far its arithmetic is from exact: far, where
    large numbers cancel out.
    """
    for k, d in enumerate(differences(names, exact, theirs, 0.0, 0.0)):
        room = CHECK_TOLERANCE * float(np.max(np.abs(theirs[k]), initial=0, where=~np.isnan(theirs[k])))
        if d.max_abs <= room:
            continue
        rounding = float(np.nan_to_num(np.max(np.abs(single()[k] - exact[k]), initial=0)))
        if not d.max_abs <= room + 16 * rounding:
            return f"{d.name} of the converted graph differs from the module's by {d.max_abs:.3g}"
    return ""
