"""Small clean-ups of a graph that a program left: fewer nodes, the same function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import NOT_ELEMENTWISE, Activation, Graph, Node

_LINEAR = Activation("linear")
_PRODUCTS = ("dense", "conv")


def tidy(graph: Graph) -> list[str]:
    """Drop nodes that no output needs, put what scales a product, or acts on it, into the product, renumber values.

    Inputs stay, also those that nothing reads any more.

    Returns:
        What was put together, for the user: a line each.
    """
    _turn_once(graph)
    drop_dead(graph)
    folded = _fold(graph, _scale_into_product, "scales, shifts and normalisations put into the product before")
    folded += _fold(graph, _dense_into_windows, "products put into the windows of steps before")
    folded += _fold(graph, _activation_into_dense, "activations put into the dense layer before")
    _renumber(graph)
    return folded


def _turn_once(graph: Graph) -> None:
    """What is turned around twice is what it was, where rows have no lengths: behind these would be zeros."""
    uneven = {v.axis for v in graph.values if v.kind == "lengths"}
    before: dict[int, int] = {}  # of values that are turned around
    same: dict[int, int] = {}
    for node in graph.nodes:
        node.inputs = tuple(None if i is None else same.get(i, i) for i in node.inputs)
        source, value = node.inputs[0] if node.inputs else None, node.outputs[0]
        if node.op == "reverse" and source is not None and value is not None:
            before[value] = source
            if source in before and graph.values[value].axis not in uneven:
                same[value] = before[source]
    for k, output in enumerate(graph.outputs):
        value = same.get(output, output)
        if value not in (*graph.inputs, *graph.outputs):  # every output is a value of its own
            graph.values[value], graph.outputs[k] = graph.values[output], value


def drop_dead(graph: Graph, made_of: Mapping[int, int] | None = None) -> None:
    """Drop nodes that no output needs; ``made_of``: values that no node makes yet, and what they will be made of."""
    made_of = made_of or {}
    needed = {made_of.get(o, o) for o in graph.outputs}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(o for o in node.outputs if o is not None):
            needed.update(made_of.get(i, i) for i in node.inputs if i is not None)
            kept.append(node)
    graph.nodes[:] = kept[::-1]


def _fold(graph: Graph, into: Callable[[Node, Node], bool], what: str) -> list[str]:
    """Let nodes that alone read another's result be put into that one, as far as ``into`` can."""
    readers = Counter([*graph.outputs, *(i for node in graph.nodes for i in node.inputs if i is not None)])
    makers: dict[int, Node] = {}
    kept, count = [], 0
    for node in graph.nodes:
        source = node.inputs[0] if node.inputs else None
        maker = makers.get(source) if source is not None and readers[source] == 1 else None
        if maker is not None and len(node.inputs) == 1 and into(maker, node):
            maker.outputs, count = node.outputs, count + 1
            node = maker
        else:
            kept.append(node)
        if node.outputs[0] is not None and len(node.outputs) == 1:
            makers[node.outputs[0]] = node
    graph.nodes[:] = kept
    return [f"{count} {what}"] if count else []


def _activation_into_dense(maker: Node, node: Node) -> bool:
    if node.op != "activation" or maker.op != "dense" or maker.attrs["activation"] != _LINEAR:
        return False
    if node.attrs["activation"].name in NOT_ELEMENTWISE:
        return False
    maker.attrs["activation"] = node.attrs["activation"]
    return True


def _dense_into_windows(maker: Node, node: Node) -> bool:
    """A convolution that puts steps side by side, scaled at most, and a product over these: one of both."""
    if maker.op != "conv" or node.op != "dense" or node.attrs["activation"] != _LINEAR:
        return False
    moves, product = maker.weights["weight"], node.weights["weight"]
    outputs = len(moves)
    if (np.count_nonzero(moves.reshape(outputs, -1), 1) > 1).any() or product.shape[1] != outputs:
        return False
    if maker.weights.get("bias", np.zeros(1)).any():
        return False
    groups = maker.attrs["groups"]
    each = moves.reshape(groups, outputs // groups, *moves.shape[1:])
    parts = product.reshape(len(product), groups, -1)
    made = np.einsum("pgo,goc...->pgc...", parts, each).reshape(len(product), -1, *moves.shape[2:])
    maker.weights = {**node.weights, "weight": made}
    maker.attrs["groups"] = 1
    return True


def _scale_into_product(maker: Node, node: Node) -> bool:
    if maker.op not in _PRODUCTS or maker.attrs.get("activation", _LINEAR) != _LINEAR:
        return False
    found = scale_and_shift(node)
    if found is None:
        return False
    outputs = len(maker.weights["weight"])
    columns = [_per_output(a, outputs) for a in found]
    if columns[0] is None or columns[1] is None:
        return False
    scale, shift = (np.asarray(c, np.float64) for c in columns)
    weight: NDArray[Any] = maker.weights["weight"]
    bias = maker.weights.get("bias", np.zeros(outputs))
    if (scale != 1).any():  # else there may be much of it, that need not be copied
        weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    made_bias = bias * scale + shift
    with np.errstate(over="ignore"):
        arrays = {"weight": weight.astype(np.float32, copy=False), "bias": made_bias.astype(np.float32)}
    if not all(np.isfinite(a).all() for a in arrays.values()):
        return False
    maker.weights.update(arrays)
    return True


def before_zeros(graph: Graph, value: int) -> tuple[int, tuple[int, int]]:
    """What steps of 0 were put around, and how many before and after; the value itself where none were.

    A convolution pads by itself, and can then stream.
    """
    before = after = 0
    makers = {o: node for node in graph.nodes for o in node.outputs if o is not None}
    while (node := makers.get(value)) is not None and node.op == "pad" and node.inputs[0] is not None:
        if node.attrs["mode"] != "constant" or node.attrs["value"] != 0:
            break
        value, before, after = node.inputs[0], before + node.attrs["before"], after + node.attrs["after"]
    return value, (before, after)


def maker(graph: Graph, value: int | None) -> Node | None:
    """The node that makes a value; None of an input, or of none."""
    return next((n for n in graph.nodes if value is not None and value in n.outputs), None)


def less_padded(graph: Graph, value: int, start: int, drop: int) -> int | None:
    """A value without its first ``start`` and last ``drop`` steps, by padding less; None where these are no padding.

    A convolution that pads on both sides, and drops what looks ahead, can then stream.
    """
    node = maker(graph, value)
    names = {"conv": ("before_t", "after_t"), "pad": ("before", "after")}.get(node.op if node else "")
    if node is None or names is None or (node.op == "conv" and node.attrs["stride_t"] != 1):
        return None
    before, after = node.attrs[names[0]] - start, node.attrs[names[1]] - drop
    if before < 0 or after < 0 or (node.op == "pad" and node.attrs["mode"] != "constant"):
        return None
    if node.op == "pad" and not before and not after:
        return node.inputs[0]
    options: dict[str, Any] = {**node.attrs, **node.weights, names[0]: before, names[1]: after}
    return graph.node(node.op, *node.inputs, **options)


def scale_and_shift(node: Node) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """``y = scale x + shift`` of a node that is that, in double precision."""
    if node.op == "activation" and node.attrs["activation"].name == "affine":
        act = node.attrs["activation"]
        return np.array([act.alpha]), np.array([act.beta])
    if node.op != "batchnorm":
        return None
    w = {name: np.asarray(array, np.float64) for name, array in node.weights.items()}
    scale = w.get("gamma", np.ones_like(w["mean"])) / np.sqrt(w["var"] + node.attrs["eps"])
    return scale, w.get("beta", np.zeros_like(scale)) - w["mean"] * scale


def as_product(node: Node) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """``y = weight @ x + shift`` of a node over features that is that, in double precision."""
    if node.op == "dense" and node.attrs["activation"] == _LINEAR:
        weight = node.weights["weight"].astype(np.float64)
        return weight, np.asarray(node.weights.get("bias", np.zeros(len(weight))), np.float64)
    found = scale_and_shift(node) if node.op == "batchnorm" else None
    return None if found is None else (np.diag(found[0]), found[1])


def _per_output(numbers: NDArray[Any], outputs: int) -> NDArray[Any] | None:
    """One number for each output of a product whose results may stand at several places; None if these differ."""
    if numbers.size == 1:
        return np.broadcast_to(numbers, (outputs,))
    places = numbers.reshape(-1, outputs)
    return places[0] if (places == places[0]).all() else None


def _renumber(graph: Graph) -> None:
    used = set(graph.inputs)
    for node in graph.nodes:
        used.update(o for o in node.outputs if o is not None)
    new = {old: i for i, old in enumerate(sorted(used))}
    for node in graph.nodes:
        node.inputs = tuple(None if i is None else new[i] for i in node.inputs)
        node.outputs = tuple(None if o is None else new[o] for o in node.outputs)
    graph.values[:] = [graph.values[old] for old in sorted(used)]
    graph.inputs[:] = [new[i] for i in graph.inputs]
    graph.outputs[:] = [new[o] for o in graph.outputs]
    _drop_axes(graph)


def _drop_axes(graph: Graph) -> None:
    """Drop derived time axes on which nothing is left: they would hinder streams."""
    needed = {v.axis for v in graph.values} | {a for a, rule in enumerate(graph.axes) if rule.is_input}
    for a, rule in reversed([*enumerate(graph.axes)]):  # parents stand before what is derived from them
        if a in needed and rule.parent is not None:
            needed.add(rule.parent)
    kept = [a for a in range(len(graph.axes)) if a in needed]
    new = {old: i for i, old in enumerate(kept)}
    rules = [graph.axes[a] for a in kept]
    graph.axes[:] = [r if r.parent is None else replace(r, parent=new[r.parent]) for r in rules]
    graph.values[:] = [replace(v, axis=new.get(v.axis, v.axis)) for v in graph.values]
