"""The converted graph beside the live module: on the example, at other sizes, call after call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Array, Graph

from ..judges import reference, testdata
from ..judges.compare import CHECK_TOLERANCE, differences
from ..names import listed
from .example import Args, canonical, canonical_output, from_canonical, leaves
from .run import Results, Runner, brief
from .symbols import Dims
from .trace import Recorder

#: A check with many rows or steps takes no more elements of an input, and no more products, than this.
_MOST_ELEMENTS, _MOST_PRODUCTS = 1 << 20, 1 << 31
_MOST_STEPS, _MOST_ROWS = 512, 64
#: Steps of one row on which branches on the length show, and how many products they may take.
_LONG, _LONG_PRODUCTS = 128, 1 << 30
_LONGEST_NOTE = 500
_FROM_MODULE = "the module's own outputs for random inputs"
_FROM_GRAPH = "computed from the converted graph by the reference interpreter in float64"


class Checks:
    """Compares a recorded graph with the module that it was recorded from.

    Args:
        args: the arguments that were recorded.
        outputs: for each output of the graph, where it lies in the module's result, and its dimensions there.
        record: records the module on other tensors in the same way.
    """

    def __init__(
        self,
        runner: Runner,
        recorder: Recorder,
        args: Args,
        outputs: Sequence[tuple[tuple[Any, ...], Dims]],
        record: Callable[[Sequence[Any]], Recorder],
    ) -> None:
        self._runner, self._recorder, self._graph = runner, recorder, recorder.graph
        self._inputs, self._args, self._outputs, self._record = recorder.inputs, args, outputs, record
        self._example = list(leaves(args))
        self._read = [i for i in self._inputs if i.kind != "state"]  #: in the order of the graph's inputs
        first = self._read[0]
        self._rows = int(self._example[first.index].shape[first.dims.index("N")])
        self._axes = {v.axis for v in (self._graph.values[i] for i in self._graph.inputs) if v.axis >= 0}
        self._steps = {axis: recorder.steps_of(axis) for axis in self._axes}
        self._takes_random = True
        #: Sentences for the user.
        self.notes: list[str] = []

    # -- the checks -----------------------------------------------------------------------------

    def deterministic(self, one: Results, other: Results) -> None:
        """Two runs of the module on the same input, from the same state."""
        for path, a in one.items():
            b = other.get(path)
            if b is None or a.shape != b.shape:
                raise ConvertError("two runs of the module on the same input give results of different shapes")
            gap = float((a - b).abs().nan_to_num().max())
            if gap > CHECK_TOLERANCE * float(a.abs().nan_to_num().max()):
                called = self._recorder.random
                cause = f"it calls {called}" if called else "random numbers, or something outside of the module?"
                raise ConvertError(
                    f"two runs of the module in eval mode on the same input differ by {gap:.3g}: {cause}"
                )

    def on_example(self, results: Results) -> None:
        """The example, as far as it was kept."""
        self._compare(self._example, results, "on the example")

    def other_sizes(self, example: Args) -> None:
        """N and T are free in a graph: what the recording froze must not pass unseen.

        The module itself may be made for one size. Then it fails with others, and that is noted.
        """
        n, t = self._rows, self._steps
        failed: list[str] = []

        def runs(when: str, rows: int, steps: Mapping[int, int]) -> bool:
            failure = self._at(when, rows, steps)
            if failure is not None:
                failed.append(f"{_size_text(rows, steps)} ({brief(failure)})")
            return failure is None

        any_steps = runs("with another number of steps", n, {a: k + 3 for a, k in t.items()})
        any_rows = runs("with another batch size", n + 1, t)
        made_for_one_size = not (any_steps and any_rows)

        def free(rows: int, steps: int) -> tuple[int, Mapping[int, int]]:
            return (rows if any_rows else n), (dict.fromkeys(t, steps) if any_steps else t)

        self._takes_random = not made_for_one_size or runs("with other numbers", n, t)
        runs("with a single row and step", *free(1, 1))
        many = self._many("T", example, 40, _MOST_STEPS)
        runs("with many steps", *free(2, many))
        if any_steps and many < _LONG <= _LONG_PRODUCTS // self._parameters():
            runs("on a long sequence", *free(1, _LONG))
        runs("with many rows", *free(self._many("N", example, 12, _MOST_ROWS), 2))
        if failed:
            checked = f"compared with {_size_text(n, t)}; the module itself fails with {'; '.join(failed)}"
            self._graph.meta["checked"] = checked[:_LONGEST_NOTE]
            if made_for_one_size:
                self.notes.append(checked[:_LONGEST_NOTE])

    def second_call(self) -> None:
        """Two calls without a reset between: a module with a memory must have that of the recurrent layers."""
        second = self._made(self._rows, self._steps, seed=11) if self._takes_random else self._example
        try:
            self._runner.results(self._args)
            results = self._runner.results(self._args, second, again=True)
        except Exception as e:  # whatever the user's forward may raise
            raise ConvertError(
                f"the module's forward works once only, then it fails: {brief(e)}{self._runner.where(e)}"
            ) from e
        counters = self._runner.snapshot.counters()
        changed = ", ".join(self._runner.restore()[:5])
        if not self._difference(second, results):
            if counters:
                self.notes.append(
                    f"the module's forward changes {listed(counters, 5)}; the converted model gives in every call what "
                    "the module gives in its first two, so if later ones depend on that, they differ"
                )
            return
        carried = self._run_graph(self._example)[1]
        if self._difference(second, results, carried):
            by = f"its forward changes {changed}" if changed else "what its forward changes cannot be seen"
            raise ConvertError(
                f"the module's outputs depend on its earlier calls ({by}), not only by the states of its recurrent "
                "layers; a graph cannot hold that. Return what is carried on, and take it as an argument"
            )
        names = f" ({changed})" if changed else ""
        self.notes.append(
            f"the module carries the states of its recurrent layers from call to call{names}; "
            "calls of the converted model start from zero, unless it is given a state (state=...) or is a stream"
        )

    def make_selftest(self) -> None:
        """The module's own outputs for small random inputs, or the graph's if it takes none of that size."""

        def theirs(arrays: list[NDArray[Any]]) -> Sequence[Array]:
            arrays = self._batch_first(arrays)
            steps = next((a.shape[1] for a, i in zip(arrays, self._read, strict=True) if "T" in i.dims), 0)
            values = [self._graph.values[o] for o in self._graph.outputs]
            shapes = [(len(arrays[0]), *([steps] if v.kind == "seq" else []), v.size) for v in values]
            tensors = self._tensors(arrays, zero_state=True)
            outputs = self._canonical(self._runner.results(self._args, tensors), shapes)
            return [v.from_batch_first(y.astype(np.float32)) for v, y in zip(values, outputs, strict=True)]

        _add_selftest(self._graph, theirs)

    # -- runs of both ---------------------------------------------------------------------------

    def _at(self, when: str, rows: int, steps: Mapping[int, int]) -> Exception | None:
        """Compare at one size; returns what the module raises if it does not run there."""
        failure: Exception | None = None
        for in_order in (False, True):  # a forward may want the longest row first
            tensors = self._made(rows, steps, seed=rows, in_order=in_order)
            try:
                results = self._runner.results(self._args, tensors)
            except Exception as e:  # whatever the user's forward may raise
                failure = e
                continue
            self._compare(tensors, results, when)
            return None
        return failure

    def _compare(self, tensors: Sequence[Any], results: Results, when: str) -> None:
        problem = self._difference(tensors, results)
        if problem:
            raise ConvertError(f"{when}, {problem}: {self._other_way(tensors)}")

    def _other_way(self, tensors: Sequence[Any]) -> str:
        """Where the forward does for ``tensors`` something else than what was recorded."""
        try:
            other = self._record(tensors)
        except ConvertError as e:
            return str(e)
        for mine, theirs in zip_longest(self._recorder.noted, other.noted):
            if mine is None or theirs is None or not mine.same(theirs):
                return f"the forward does something else there{(theirs or mine).line}"
        return (
            "the forward does something that the conversion does not follow (such as changes in place, choices that "
            "depend on the data, or hooks on all modules)"
        )

    def _difference(self, tensors: Sequence[Any], results: Results, state: Any = None) -> str:
        """How the graph's outputs for ``tensors`` differ from the module's; empty if they do not."""
        exact = self._run_graph(tensors, state)[0]
        try:
            theirs = self._canonical(results, [y.shape for y in exact])
        except (ValueError, KeyError) as e:
            return f"the module's result has another form ({e})"
        names = [self._graph.values[o].name for o in self._graph.outputs]
        return _first_difference(names, exact, theirs, lambda: self._run_graph(tensors, state, np.float32)[0])

    def _run_graph(self, tensors: Sequence[Any], state: Any = None, dtype: Any = np.float64) -> Any:
        """Outputs, rows first, and final states of the graph; ``state`` goes before the states among ``tensors``."""
        graph = self._graph
        feeds = [canonical(tensors[i.index], i.dims) for i in self._read]
        if state is None:
            state = self._given_state(tensors, feeds[0].shape[0])
        feeds = [graph.values[i].from_batch_first(x) for i, x in zip(graph.inputs, feeds, strict=True)]
        with np.errstate(all="ignore"):
            outputs, final = reference.run(graph, feeds, state=state, return_state=True, dtype=dtype)
        return [graph.values[o].to_batch_first(y) for o, y in zip(graph.outputs, outputs, strict=True)], final

    def _batch_first(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Inputs of the graph with their rows first."""
        return [self._graph.values[i].to_batch_first(a) for i, a in zip(self._graph.inputs, arrays, strict=True)]

    def _given_state(self, tensors: Sequence[Any], n: int) -> list[Any]:
        given: dict[tuple[int, str], NDArray[Any]] = {}
        for use in self._recorder.state_uses:
            state = tensors[use.source.index].detach().resolve_neg().cpu().double().numpy()
            for k, node in enumerate(use.nodes):
                given[id(node), use.letter] = state[k * use.directions : (k + 1) * use.directions]
        out: list[Any] = []
        for node in reference.stateful_nodes(self._graph):
            zero = reference.zero_state(self._graph, node, n)
            h, *c = zero if isinstance(zero, tuple) else (zero,)
            h = given.get((id(node), "h"), h)
            out.append((h, given.get((id(node), "c"), c[0])) if c else h)
        return out

    def _canonical(self, results: Results, shapes: Sequence[tuple[int, ...]]) -> list[NDArray[Any]]:
        """The module's outputs as the graph gives them."""
        return [
            canonical_output(results[path], dims, shape)
            for (path, dims), shape in zip(self._outputs, shapes, strict=True)
        ]

    # -- inputs made up -------------------------------------------------------------------------

    def _made(self, rows: int, steps: Mapping[int, int], seed: int, in_order: bool = True) -> list[Any]:
        """Random tensors for the module; floats with the mean and the spread of the example's."""
        arrays = self._batch_first(testdata.make_inputs(self._graph, rows, steps, seed, full_lengths=False))
        for k, (item, array) in enumerate(zip(self._read, arrays, strict=True)):
            if item.kind == "lengths" and in_order:
                arrays[k] = np.sort(array)[::-1]
            elif item.kind in ("seq", "vec"):
                like = canonical(self._example[item.index], item.dims)
                like = like[np.isfinite(like)] if np.isfinite(like).any() else np.zeros(1)
                arrays[k] = (array * (float(like.std()) or 1.0) + float(like.mean())).astype(np.float32)
        return self._tensors(arrays, seed=seed)

    def _tensors(self, arrays: Sequence[NDArray[Any]], seed: int = 0, zero_state: bool = False) -> list[Any]:
        """Inputs of the graph as the module's arguments; states are zero or random."""
        left, rng = iter(arrays), np.random.default_rng(seed)
        out = []
        for item, like in zip(self._inputs, self._example, strict=True):
            if item.kind == "state":
                shape = (like.shape[0], len(arrays[0]), like.shape[2])
                array = np.zeros(shape) if zero_state else rng.standard_normal(shape)
                out.append(self._runner.torch.from_numpy(array).to(like))
            else:
                out.append(from_canonical(self._runner.torch, next(left), item.dims, like))
        return out

    def _many(self, label: str, example: Args, usual: int, most: int) -> int:
        """As many rows (N) or steps (T) as the whole example has, at least the usual number, within reason."""
        shapes = [tuple(t.shape) for t in leaves(example)]
        sizes = [int(shapes[i.index][i.dims.index(label)]) for i in self._read if label in i.dims]
        most = min(most, _MOST_ELEMENTS // (2 * self._width()), _MOST_PRODUCTS // (2 * self._parameters()))
        return max(min(max([*sizes, usual]), most), 1)

    def _width(self) -> int:
        return max([v.size for v in self._graph.values] + [1])

    def _parameters(self) -> int:
        return max(1, int(self._graph.parameters()))


class CellChecks:
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


def _size_text(rows: int, steps: Mapping[int, int]) -> str:
    counts = "/".join(str(t) for t in dict.fromkeys(steps.values()))
    text = f"{rows} row{'s' * (rows != 1)}"
    return f"{text} of {counts} step{'s' * (counts != '1')}" if counts else text
