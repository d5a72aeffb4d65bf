"""What a module carries from one call to the next: nothing, states of its recurrent layers, or what no graph holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

from ..judges import reference
from ..judges.compare import CHECK_TOLERANCE
from ..names import listed
from .example import Args, leaves
from .run import Results, Runner, brief

if TYPE_CHECKING:
    from .source import LiveSource


class Calls:
    """Two calls of a module without a reset between.

    Args:
        args: the arguments of the first, which has given ``results``.
        random: names a random function that the module calls.

    Raises:
        ConvertError: its results for one input differ, though it starts from the same; or it runs once only.
    """

    def __init__(self, runner: Runner, args: Args, results: Results, random: Callable[[], str]) -> None:
        self.notes: list[str] = []
        self._second = [_other(t) for t in leaves(args)]
        if _furthest(runner.results(args), results) > CHECK_TOLERANCE:
            called = random()
            cause = f"it calls {called}" if called else (
                "random numbers, or something that is carried on outside of the module, such as in a global or a "
                "closure? Keep it in an attribute of the module, or take it as an argument"
            )  # fmt: skip
            raise ConvertError(
                f"two runs of the module in eval mode on the same input differ from call to call: {cause}"
            )
        fresh = runner.results(args, self._second)
        runner.results(args)
        try:
            self._results = runner.results(args, self._second, again=True)
        except Exception as e:  # whatever the user's forward may raise
            raise ConvertError(
                f"the module's forward works once only, then it fails: {brief(e)}{runner.where(e)}"
            ) from e
        counters = runner.snapshot.counters()
        self._changed = listed(runner.restore(), 5)
        self.carries = _furthest(self._results, fresh) > CHECK_TOLERANCE
        if counters and not self.carries:
            self.notes.append(
                f"the module's forward changes {listed(counters, 5)}; the converted model gives in every call what "
                "the module gives in its first two, so if later ones depend on that, they differ"
            )

    def by_states(self, graph: Graph, source: LiveSource) -> str:
        """A note on the states that the module carries.

        Raises:
            ConvertError: it carries more than the states of its recurrent layers.
        """
        with np.errstate(all="ignore"):
            _, state = reference.run(graph, source.feeds(graph, source.like), return_state=True)
            got = reference.run(graph, source.feeds(graph, self._second), state=state)
        wanted = dict(zip(source.outputs, self._results.values(), strict=True))
        for o, mine in zip(graph.outputs, got, strict=True):
            theirs = wanted[graph.values[o].name].double().cpu().numpy().reshape(mine.shape)
            if not np.abs(mine - theirs).max() <= CHECK_TOLERANCE * max(1e-3, float(np.abs(theirs).max())):
                by = f"its forward changes {self._changed}" if self._changed else "what it changes cannot be seen"
                raise ConvertError(
                    f"the module's outputs depend on its earlier calls ({by}), not only by the states of its recurrent "
                    "layers; a graph cannot hold that. Return what is carried on, and take it as an argument"
                )
        return (
            f"the module carries the states of its recurrent layers from call to call ({self._changed}); calls of the "
            "converted model start from zero, unless it is given a state (state=...) or is a stream"
        )


def _other(tensor: Any) -> Any:
    """Other numbers of the same kind."""
    return tensor.flip(0) * 0.75 + 0.1 if tensor.is_floating_point() else tensor


def _furthest(one: Results, other: Results) -> float:
    """The largest difference, relative to the largest number of its output."""
    far = 0.0
    for path, a in one.items():
        b = other.get(path)
        if b is None or a.shape != b.shape:
            return float("inf")
        a, b = a.double().nan_to_num(), b.double().nan_to_num()
        if a.numel():
            far = max(far, float((a - b).abs().max()) / max(float(b.abs().max()), 1e-30))
    return far
