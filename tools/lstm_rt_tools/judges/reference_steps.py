"""The ops that look along time, in NumPy: a part of :mod:`lstm_rt_tools.judges.reference`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Node

if TYPE_CHECKING:
    from .reference import _Run as Run

FloatArray: TypeAlias = NDArray[Any]

#: Ops that sum up over calls, with the numbers that they keep of F features: the sums, what rounding has taken from
#: them (here always 0), and how many steps counted as two numbers, c % 2^24 and c // 2^24.
SUMS: dict[str, Callable[[int], int]] = {"reduce": lambda f: 2 * f + 2, "cumsum": lambda f: 2 * f}


def _counting(job: Run, node: Node, value: int, mask: int | None) -> NDArray[np.bool_]:
    """Which steps of a value count, ``(N, T)``: valid ones, or all with ``whole``, that are not masked."""
    steps = job.values[value].shape[1]
    lengths = np.full(job.batch, steps) if node.attrs["whole"] else job.lengths[job.kind(value).axis]
    counts: NDArray[np.bool_] = np.arange(steps) < lengths[:, None]
    return counts if mask is None else counts & (job.values[mask] != 0)


def _reduced(kind: str, x: FloatArray, before: FloatArray, there: float) -> FloatArray:
    """The steps ``x (T, F)`` of a row that count, joined to what came before, if ``there`` are any."""
    if kind in ("max", "min", "prod"):
        x = np.concatenate([before[None], x]) if there else x
        join: dict[str, np.ufunc] = {"max": np.maximum, "min": np.minimum, "prod": np.multiply}
        return np.asarray(join[kind].reduce(x, axis=0)) if len(x) else np.zeros_like(before)
    total: FloatArray = before + (x**2 if kind == "l2" else x).sum(axis=0)
    return total


def _initial_sums(job: Run, node: Node, size: int) -> FloatArray:
    if job.initial is None:
        return np.zeros((1, job.batch, size), job.dtype)
    given = job.initial[len(job.final)]
    assert not isinstance(given, tuple)
    return np.array(given)


def reduce(job: Run, node: Node, args: list[int]) -> NDArray[Any]:
    x, kind = job.values[args[0]], node.attrs["kind"]
    counts, features = _counting(job, node, args[0], node.inputs[1]), x.shape[2]
    state = _initial_sums(job, node, 2 * features + 2)
    y = np.zeros((job.batch, features), x.dtype)
    for row, kept in enumerate(state[0]):
        before, n = kept[:features] + kept[features : 2 * features], kept[-2] + kept[-1] * 2**24
        total = _reduced(kind, x[row][counts[row]], before, n)
        n += counts[row].sum()
        kept[:] = [*total, *np.zeros(features), n % 2**24, n // 2**24]
        y[row] = total / n if kind == "mean" and n else np.sqrt(total) if kind == "l2" else total
    job.final.append(state)
    return y


def cumsum(job: Run, node: Node, args: list[int]) -> NDArray[Any]:
    x, lengths = job.values[args[0]], job.lengths[job.kind(args[0]).axis]
    state, features = _initial_sums(job, node, 2 * x.shape[2]), x.shape[2]
    there = np.where((np.arange(x.shape[1]) < lengths[:, None])[..., None], x, 0)
    y: FloatArray = (state[0, :, :features] + state[0, :, features:])[:, None] + np.cumsum(there, axis=1)
    state[0, :, features:] = 0
    if x.shape[1]:
        state[0, :, :features] = y[:, -1]
    job.final.append(state)
    return y


def _softmax_where(x: FloatArray, counts: NDArray[np.bool_], axis: int) -> FloatArray:
    """Softmax over what counts; what does not gets 0, also where nothing does."""
    if x.shape[axis] == 0:
        return x
    counts = np.broadcast_to(counts, x.shape)
    top = np.max(np.where(counts, x, -np.inf), axis=axis, keepdims=True)
    e = np.where(counts, np.exp(np.where(counts, x - np.where(np.any(counts, axis, keepdims=True), top, 0), 0)), 0)
    total = e.sum(axis=axis, keepdims=True)
    result: FloatArray = e / np.where(np.any(counts, axis, keepdims=True), total, 1)
    return result


def softmax_steps(job: Run, node: Node, args: list[int]) -> NDArray[Any]:
    counts = _counting(job, node, args[0], node.inputs[1])
    return _softmax_where(job.values[args[0]], counts[..., None], axis=1)


def attention(job: Run, node: Node, args: list[int]) -> tuple[NDArray[Any], ...]:
    """Heads side by side: ``q (N, Tq, H, E)``, ``k (N, Tk, H, E)``, ``v (N, Tk, H, D)``."""
    heads, groups = node.attrs["heads"], node.attrs["kv_heads"] or node.attrs["heads"]
    q, k, v = (job.values[i] for i in args[:3])
    flat = q.ndim == 2
    q = q.reshape(job.batch, 1 if flat else q.shape[1], heads, q.shape[-1] // heads)
    k, v = (a.reshape(*a.shape[:2], groups, a.shape[2] // groups).repeat(heads // groups, axis=2) for a in (k, v))
    scores = _fits(job, node, q, k) * node.attrs["scale"]
    counts = _counting(job, node, args[1], node.inputs[3])[:, None, None, :]
    if node.attrs["causal"]:
        counts = counts & (np.arange(k.shape[1]) <= np.arange(q.shape[1])[:, None])
    weights = _softmax_where(scores, counts, axis=3)
    used = np.where(counts[..., None], v.transpose(0, 2, 1, 3)[:, :, None], 0)  # what does not count may be NaN
    y = (weights[..., None, :] @ used)[..., 0, :].transpose(0, 2, 1, 3)
    y = y.reshape(job.batch, q.shape[1], heads * v.shape[3])
    return (y[:, 0], weights[:, :, 0].transpose(0, 2, 1)) if flat else (y,)


def _fits(job: Run, node: Node, q: FloatArray, k: FloatArray) -> FloatArray:
    """How well each key fits each query: ``(N, H, Tq, Tk)``."""
    if node.attrs["kind"] == "dot":
        return np.asarray(np.einsum("nqhe,nkhe->nhqk", q, k))
    ones = np.ones(q.shape[2] * q.shape[3], job.dtype)
    w = node.weights.get("weight", ones).astype(job.dtype).reshape(q.shape[2:])
    return np.asarray(np.einsum("nqkhe,he->nhqk", np.tanh(q[:, :, None] + k[:, None]), w))
