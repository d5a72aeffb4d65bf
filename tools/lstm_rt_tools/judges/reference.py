"""A plain interpreter of a graph in NumPy: the arbiter of the equations.

It is written to be read and checked, not to be fast: one loop over the nodes, one over the
steps, float64 unless told otherwise. The C core and every reader are tested against it, and it is
itself tested against PyTorch and against cases computed by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from lstm_rt.errors import GraphError, InputError, did_you_mean
from lstm_rt.graph import GATES, Graph, Node, Value
from lstm_rt.quantised import Quantised

from . import reference_steps, reference_windows
from .reference_activations import activate
from .reference_cells import LARGE, Direction, Watch, keeps_state, run_direction, times

FloatArray: TypeAlias = NDArray[Any]
IntArray: TypeAlias = NDArray[np.int64]
#: State of one node: ``h (D, N, R)``, or for an lstm the pair with ``c (D, N, H)``; of others ``(1, N, ...)``.
LayerState: TypeAlias = "FloatArray | tuple[FloatArray, FloatArray]"



# -- the interpreter --------------------------------------------------------------------------------


@dataclass
class _Run:
    """Everything one run knows: values by id, lengths by time axis, states by recurrent node."""

    graph: Graph
    dtype: np.dtype[Any]
    batch: int
    steps: dict[int, int]  #: T of each time axis
    lengths: dict[int, IntArray]  #: of each time axis; full where none were given
    values: dict[int, NDArray[Any]]
    initial: list[LayerState] | None
    watch: Watch | None = None
    final: list[LayerState] = field(default_factory=list)

    def kind(self, value: int) -> Value:
        return self.graph.values[value]


def run(
    graph: Graph,
    inputs: Sequence[ArrayLike] | Mapping[str, ArrayLike],
    lengths: ArrayLike | Mapping[int, ArrayLike] | None = None,
    state: Sequence[Any] | None = None,
    return_state: bool = False,
    dtype: DTypeLike = np.float64,
    watch: Watch | None = None,
) -> Any:
    """Compute the outputs of ``graph``.

    Args:
        inputs: arrays in the order of ``graph.inputs``, or by name; shapes and orders of axes as in
            :mod:`lstm_rt.values`.
        lengths: valid steps per row: ``(N,)`` for time axis 0, or a dict from time axis to
            ``(N,)``. Axes whose lengths are a graph input take them from there.
        state: one entry per node of :func:`stateful_nodes`, in node order: ``h (D, N, R)``, or for an lstm
            ``(h, c)`` with ``c (D, N, H)``, of a recurrent node without ``h0`` and ``c0``; what a reduce or cumsum
            has summed up or a conv or pool has kept, ``(1, N, ...)``; ``None`` starts from zero.
        return_state: also return the final states, in the same form.
        dtype: float type to compute in.
        watch: is told what weights of nodes are multiplied with, rows ``(..., k)``; of a conv ``(..., groups, k)``.

    Returns:
        The list of outputs in the order of ``graph.outputs``; with ``return_state`` the pair
        ``(outputs, states)``.

    Raises:
        InputError: an array is missing or does not have the shape, dtype or range expected.
    """
    graph.check()
    job = _prepare(graph, _in_order(graph, inputs), lengths, np.dtype(dtype))
    job.watch = watch
    if state is not None:
        job.initial = _checked_states(job, state)
    for node in graph.nodes:
        _run_node(job, node)
    outputs = [graph.values[o].from_batch_first(job.values[o]) for o in graph.outputs]
    return (outputs, job.final) if return_state else outputs


def stateful_nodes(graph: Graph) -> list[Node]:
    """The nodes whose initial state is the caller's, in the order of ``state``."""
    cells = (*GATES, "convlstm")
    return [n for n in graph.nodes if (keeps_state(n) if n.op in cells else _state_size(graph, n) > 0)]


def _state_size(graph: Graph, node: Node) -> int:
    """Numbers of a row that a node that is no cell keeps from call to call."""
    if node.op in reference_steps.SUMS:
        return reference_steps.SUMS[node.op](_size_of(graph, node))
    return reference_windows.state_size(graph, node)


def _size_of(graph: Graph, node: Node) -> int:
    output = node.outputs[0]
    assert output is not None
    return graph.values[output].size


def zero_state(graph: Graph, node: Node, batch: int) -> LayerState:
    """What such a node starts from where no state is given."""
    if node.op == "convlstm":
        output = node.outputs[1]
        assert output is not None
        h = np.zeros((1, batch, graph.values[output].size))
        return h, h
    if node.op not in GATES:
        return np.zeros((1, batch, _state_size(graph, node)))
    n_dir, r, hidden = _sizes(node)
    h = np.zeros((n_dir, batch, r))
    return (h, np.zeros((n_dir, batch, hidden))) if node.op == "lstm" else h


def _in_order(graph: Graph, inputs: Sequence[ArrayLike] | Mapping[str, ArrayLike]) -> list[NDArray[Any]]:
    names = [graph.values[i].name for i in graph.inputs]
    if isinstance(inputs, Mapping):
        unknown, missing = sorted(set(inputs) - set(names)), [n for n in names if n not in inputs]
        if unknown or missing:
            near = did_you_mean(unknown[0], missing) if unknown else ""
            raise InputError(f"inputs: unknown {unknown}, missing {missing}; expected {names}{near}")
        inputs = [inputs[n] for n in names]
    if len(inputs) != len(names):
        raise InputError(f"{len(inputs)} inputs given, expected {len(names)}: {', '.join(names)}")
    return [np.asarray(a) for a in inputs]


def _prepare(
    graph: Graph,
    arrays: list[NDArray[Any]],
    lengths: ArrayLike | Mapping[int, ArrayLike] | None,
    dtype: np.dtype[Any],
) -> _Run:
    arrays = [_batch_first(graph.values[i], a) for i, a in zip(graph.inputs, arrays, strict=True)]
    job = _Run(graph, dtype, arrays[0].shape[0], {}, {}, {}, None)
    for value, array in zip(graph.inputs, arrays, strict=True):
        job.values[value] = _checked_input(job, graph.values[value], array)
    if lengths is not None and not isinstance(lengths, Mapping):
        lengths = {0: lengths}
    for axis, given in (lengths or {}).items():
        if axis not in job.steps:
            raise InputError(f"lengths: no input is on time axis {axis}")
        job.lengths[axis] = _checked_lengths(job, "lengths", np.asarray(given), axis)
    for value in graph.inputs:
        v = graph.values[value]
        if v.kind == "lengths":
            if v.axis in job.lengths:
                raise InputError(f"lengths of time axis {v.axis} are the graph input {v.name!r}; do not give both")
            job.lengths[v.axis] = _checked_lengths(job, v.name, job.values[value], v.axis)
    graph.complete_steps(job.steps)
    graph.complete_lengths(job.lengths)
    for axis, steps in job.steps.items():
        job.lengths.setdefault(axis, np.full(job.batch, steps, dtype=np.int64))
    return job


def _batch_first(v: Value, array: NDArray[Any]) -> NDArray[Any]:
    """An input of the graph's order with its batch first, as the nodes read it."""
    expected = v.shape("N", "T")
    fits = len(expected) == array.ndim
    if not fits or any(isinstance(n, int) and n != m for n, m in zip(expected, array.shape, strict=True)):
        text = ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "")
        raise InputError(f"input {v.name!r} has shape {array.shape}, expected ({text})")
    return v.to_batch_first(array)


def _checked_input(job: _Run, v: Value, array: NDArray[Any]) -> NDArray[Any]:
    if array.shape[0] != job.batch:
        raise InputError(f"input {v.name!r} has a batch of {array.shape[0]}, expected {job.batch}")
    if v.timed and job.steps.setdefault(v.axis, array.shape[1]) != array.shape[1]:
        raise InputError(f"input {v.name!r} has {array.shape[1]} steps, expected {job.steps[v.axis]}")
    if v.kind in ("seq", "vec"):
        if array.dtype.kind not in "fiu":
            raise InputError(f"input {v.name!r} has dtype {array.dtype}, expected numbers")
        return array.astype(job.dtype)
    if array.dtype.kind not in "iu":
        raise InputError(f"input {v.name!r} has dtype {array.dtype}, expected integers")
    return array.astype(np.int64)


def _checked_lengths(job: _Run, name: str, array: NDArray[Any], axis: int) -> IntArray:
    if axis not in job.steps:
        raise InputError(f"{name}: no input is on time axis {axis}")
    steps = job.steps[axis]
    if array.shape != (job.batch,) or array.dtype.kind not in "iu":
        raise InputError(f"{name}: {array.dtype} of shape {array.shape}, expected integers of shape ({job.batch},)")
    if np.any(array < 0) or np.any(array > steps):
        raise InputError(f"{name}: lengths are {array.min()} to {array.max()}, expected 0 to {steps}")
    return array.astype(np.int64)


def _checked_states(job: _Run, state: Sequence[Any]) -> list[LayerState]:
    nodes = stateful_nodes(job.graph)
    if len(state) != len(nodes):
        raise InputError(f"state has {len(state)} entries, expected {len(nodes)}, one per layer with state")
    result: list[LayerState] = []
    for k, (node, given) in enumerate(zip(nodes, state, strict=True)):
        zero = zero_state(job.graph, node, job.batch)
        if isinstance(zero, tuple):
            if not isinstance(given, tuple | list) or len(given) != 2:
                raise InputError(f"state[{k}] of an lstm must be the pair (h, c)")
            h, c = given
            result.append((_checked_state(job, k, h, zero[0].shape), _checked_state(job, k, c, zero[1].shape)))
        else:
            result.append(_checked_state(job, k, given, zero.shape))
    return result


def _checked_state(job: _Run, k: int, given: ArrayLike, want: tuple[int, ...]) -> FloatArray:
    array = np.asarray(given, dtype=job.dtype)
    if array.shape != want:
        raise InputError(f"state[{k}] has shape {array.shape}, expected {want}")
    return array


# -- nodes ------------------------------------------------------------------------------------------


def _run_node(job: _Run, node: Node) -> None:
    if node.op in GATES:
        _run_recurrent(job, node)
        return
    if node.op == "convlstm":
        reference_windows.convlstm(job, node)
        return
    if node.op not in _OPS:
        raise GraphError(f"unknown op {node.op!r}")
    arguments = [i for i in node.inputs if i is not None]
    results = _OPS[node.op](job, node, arguments)
    for output, array in zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=True):
        assert output is not None  # only recurrent nodes have outputs that may be absent
        job.values[output] = array


def _sizes(node: Node) -> tuple[int, int, int]:
    """Directions, size of h, size of c."""
    hidden: int = node.attrs["hidden_size"]
    r: int = node.attrs["proj_size"] or hidden
    return (2 if node.attrs["direction"] == "bidirectional" else 1), r, hidden


def _directions(job: _Run, node: Node) -> list[Direction]:
    direction = node.attrs["direction"]
    weights = {
        k: w if w.size > LARGE or isinstance(w, Quantised) else w.astype(job.dtype) for k, w in node.weights.items()
    }
    backward = {k.removesuffix("_reverse"): w for k, w in weights.items() if k.endswith("_reverse")}
    forward = {k: w for k, w in weights.items() if not k.endswith("_reverse")}
    first = Direction(node, forward, direction == "reverse", watch=job.watch)
    return [first, Direction(node, backward, True, "_reverse", job.watch)] if direction == "bidirectional" else [first]


def _initial_state(job: _Run, node: Node) -> tuple[FloatArray, FloatArray]:
    """``h (D, N, R)`` and ``c (D, N, H)``; c stays 0 where the cell has none."""
    n_dir, r, hidden = _sizes(node)
    h = np.zeros((n_dir, job.batch, r), dtype=job.dtype)
    c = np.zeros((n_dir, job.batch, hidden), dtype=job.dtype)
    if keeps_state(node) and job.initial is not None:
        given = job.initial[len(job.final)]
        h, c = given if isinstance(given, tuple) else (given, c)
    if node.inputs[1] is not None:
        h = np.stack(np.split(job.values[node.inputs[1]], n_dir, axis=1))
    if node.inputs[2] is not None:
        c = np.stack(np.split(job.values[node.inputs[2]], n_dir, axis=1))
    return h, c


def _run_recurrent(job: _Run, node: Node) -> None:
    value, _, _, mask_value = node.inputs
    assert value is not None
    x, lengths = job.values[value], job.lengths[job.kind(value).axis]
    mask = np.ones(x.shape[:2], dtype=bool) if mask_value is None else job.values[mask_value]
    h, c = _initial_state(job, node)
    runs = [run_direction(d, x, h[k], c[k], lengths, mask) for k, d in enumerate(_directions(job, node))]
    sequences, hs, cs = zip(*runs, strict=True)
    if keeps_state(node):
        job.final.append((np.stack(hs), np.stack(cs)) if node.op == "lstm" else np.stack(hs))
    parts: tuple[tuple[FloatArray, ...], ...] = (sequences, hs, cs)
    for output, arrays in zip(node.outputs, parts, strict=True):
        if output is not None:
            job.values[output] = np.concatenate(arrays, axis=-1)


def ids_read(graph: Graph, node: Node, ids: Any) -> Any:
    """Of the ids at a step, those that an embedding looks up."""
    source = node.inputs[0]
    assert source is not None
    start, count = node.attrs["start"], node.attrs["count"]
    return ids[..., start : start + count if count else None] if graph.values[source].size else ids


def _embedding(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    ids, table = ids_read(job.graph, node, job.values[args[0]]), node.weights["table"]
    if ids.size and (ids.min() < 0 or ids.max() >= len(table)):
        raise InputError(f"token ids are {ids.min()} to {ids.max()}, expected 0 to {len(table) - 1}")
    rows: NDArray[Any] = table[ids].astype(job.dtype)
    return rows.reshape(*ids.shape[:-1], -1) if job.kind(args[0]).size else rows


def _dense(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    x = job.values[args[0]]
    if job.watch is not None:
        job.watch(node, "weight", x)
    y = times(x, node.weights["weight"])
    if "bias" in node.weights:
        y = y + node.weights["bias"].astype(job.dtype)
    return activate(y, node.attrs["activation"])


def _normalise(job: _Run, node: Node, x: FloatArray, mean: FloatArray, var: FloatArray) -> FloatArray:
    y: FloatArray = (x - mean) / np.sqrt(var + node.attrs["eps"])
    if "gamma" in node.weights:
        y = y * node.weights["gamma"].astype(job.dtype)
    if "beta" in node.weights:
        y = y + node.weights["beta"].astype(job.dtype)
    return y


def _layernorm(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    x = job.values[args[0]]
    return _normalise(job, node, x, x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True))


def _batchnorm(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    mean, var = (node.weights[k].astype(job.dtype) for k in ("mean", "var"))
    return _normalise(job, node, job.values[args[0]], mean, var)


def _slice(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    start, size = node.attrs["start"], node.attrs["size"]
    return job.values[args[0]][..., start : start + size]


def _select(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    x, lengths = job.values[args[0]], job.lengths[job.kind(args[0]).axis]
    y = np.zeros((x.shape[0], x.shape[2]), dtype=x.dtype)  # a row without steps gives 0
    for row, length in enumerate(lengths):
        if length > 0:
            y[row] = x[row, 0 if node.attrs["index"] == 0 else length - 1]
    return y


def _reverse(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    x, lengths = job.values[args[0]], job.lengths[job.kind(args[0]).axis]
    y = np.zeros_like(x)  # steps beyond a row's length give 0
    for row, length in enumerate(lengths):
        y[row, :length] = x[row, :length][::-1]
    return y


def _take(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    (output,) = node.outputs
    steps = job.steps[job.kind(output).axis] if output is not None else 0
    taken = job.values[args[0]][:, node.attrs["start"] :: node.attrs["stride"]]
    return taken[:, :steps]


def _align(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    (output,) = node.outputs
    assert output is not None
    got, wanted = (job.steps[job.kind(i).axis] for i in (args[0], output))
    if got != wanted:
        raise InputError(f"align takes exactly {wanted} steps, got {got}")
    return job.values[args[0]]


def _cut(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    (output,) = node.outputs
    assert output is not None
    got, wanted = (job.steps[job.kind(i).axis] for i in (args[0], output))
    if got < wanted:
        raise InputError(f"cut takes at least {wanted} steps, got {got}")
    return job.values[args[0]][:, :wanted]


def _repeat(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    (output,) = node.outputs
    x = job.values[args[0]]
    if x.ndim == 3:
        return np.repeat(x, node.attrs["times"], axis=1)
    steps = job.steps[job.kind(output).axis] if output is not None else 0
    return np.repeat(x[:, None], steps, axis=1)


def _elementwise(f: Callable[[FloatArray, FloatArray], FloatArray]) -> Callable[[_Run, Node, list[int]], FloatArray]:
    def run(job: _Run, node: Node, args: list[int]) -> FloatArray:
        a, b = (job.values[i] for i in args)
        a, b = (x[:, None] if x.ndim < max(a.ndim, b.ndim) else x for x in (a, b))  # a vec at every step of a seq
        return f(a, b)

    return run


def _prelu(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    x = job.values[args[0]]
    return np.where(x < 0, node.weights["alpha"].astype(job.dtype) * x, x)


def _parts(x: FloatArray, node: Node) -> FloatArray:
    """The features in groups, which all that is done within a group is done along the last axis of."""
    return x.reshape(*x.shape[:-1], node.attrs["groups"], -1)


def _l2norm(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    x = job.values[args[0]]
    parts = _parts(x, node)
    length = np.sqrt((parts * parts).sum(axis=-1, keepdims=True))
    result: FloatArray = (parts / np.maximum(length, node.attrs["eps"])).reshape(x.shape)
    return result


def _groupnorm(job: _Run, node: Node, args: list[int]) -> NDArray[Any]:
    x = job.values[args[0]]
    parts = _parts(x, node)
    mean = np.broadcast_to(parts.mean(axis=-1, keepdims=True), parts.shape).reshape(x.shape)
    var = np.broadcast_to(parts.var(axis=-1, keepdims=True), parts.shape).reshape(x.shape)
    return _normalise(job, node, x, mean, var)


def reduce(kind: str, x: FloatArray, axis: int) -> FloatArray:
    """One axis to a number, by the name of how."""
    f: Callable[..., FloatArray] = np.linalg.norm if kind == "l2" else getattr(np, kind)
    return f(x, axis=axis)


_OPS: dict[str, Callable[[_Run, Node, list[int]], NDArray[Any] | tuple[NDArray[Any], ...]]] = {
    "embedding": _embedding,
    "mask_ids": lambda job, node, a: job.values[a[0]] != node.attrs["value"],
    "mask_values": lambda job, node, a: np.any(job.values[a[0]] != node.attrs["value"], axis=-1),
    "apply_mask": lambda job, node, a: np.where(job.values[a[1]][..., None], job.values[a[0]], 0),
    "dense": _dense,
    "activation": lambda job, node, a: activate(job.values[a[0]], node.attrs["activation"]),
    "layernorm": _layernorm,
    "batchnorm": _batchnorm,
    "add": _elementwise(np.add),
    "mul": _elementwise(np.multiply),
    "sub": _elementwise(np.subtract),
    "div": _elementwise(np.divide),
    "maximum": _elementwise(np.maximum),
    "minimum": _elementwise(np.minimum),
    "pow": _elementwise(np.power),
    "average": lambda job, node, a: (job.values[a[0]] + job.values[a[1]]) / 2,
    "concat": lambda job, node, a: np.concatenate([job.values[i] for i in a], axis=-1),
    "slice": _slice,
    "select": _select,
    "reverse": _reverse,
    "take": _take,
    "repeat": _repeat,
    "align": _align,
    "cut": _cut,
    "gather": lambda job, node, a: job.values[a[0]][..., node.weights["index"]],
    "prelu": _prelu,
    "constant": lambda job, node, a: np.tile(node.weights["value"].astype(job.dtype), (job.batch, 1)),
    "l2norm": _l2norm,
    "groupnorm": _groupnorm,
    "reduce_features": lambda job, node, a: reduce(node.attrs["kind"], _parts(job.values[a[0]], node), -1),
    "reduce": reference_steps.reduce,
    "softmax_steps": reference_steps.softmax_steps,
    "cumsum": reference_steps.cumsum,
    "attention": reference_steps.attention,
    "conv": reference_windows.conv,
    "pool": reference_windows.pool,
    "pad": reference_windows.pad,
    "flatten": reference_windows.flatten,
    "unflatten": reference_windows.unflatten,
}
