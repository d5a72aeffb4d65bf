"""Convolutions of a step taken apart: by the values whose channels they read, and by the channels that are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Graph, Node


def take_apart(graph: Graph) -> None:
    """A convolution of several values' channels becomes the sum of one for each; where some channels are taken of what
    convolutions make, or of their sum, these make no others.
    """
    makers = {o: n for n in graph.nodes for o in n.outputs if o is not None}
    nodes, made = list(graph.nodes), graph.nodes
    made.clear()
    for node in nodes:
        before = len(made)
        if _split(graph, makers, node) or _narrowed(graph, makers, node):
            made[-1].outputs = node.outputs
        else:
            made.append(node)
        makers.update({o: n for n in made[before:] for o in n.outputs if o is not None})


def _split(graph: Graph, makers: Mapping[int, Node], node: Node) -> bool:
    """Whether it is a convolution of several values side by side, which has become a sum."""
    if node.op != "conv" or node.attrs["groups"] != 1 or node.inputs[0] is None:
        return False
    weight = node.weights["weight"]
    values, features = (a.reshape(-1, weight.shape[1]) for a in _origin(graph, makers, node.inputs[0]))
    if len(np.unique(values)) == 1 or (values != values[0]).any():
        return False
    total = None
    for value in dict.fromkeys(values[0].tolist()):
        own = values[0] == value
        index = features[:, own].ravel()
        is_whole = np.array_equal(index, np.arange(graph.values[value].size))
        x = value if is_whole else graph.gather(value, index.astype(np.int32))
        options: dict[str, Any] = {**node.attrs, **(node.weights if total is None else {}), "weight": weight[:, own]}
        one = graph.node("conv", x, **options)
        total = one if total is None else graph.binary("add", total, one)
    return True


def _origin(graph: Graph, makers: Mapping[int, Node], value: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each feature of a value, the value that it is taken of, and which feature of that."""
    node = makers.get(value)
    inputs = [] if node is None else [i for i in node.inputs if i is not None]
    if node is None or node.op not in ("gather", "slice", "concat"):
        size = graph.values[value].size
        return np.full(size, value), np.arange(size)
    parts = [_origin(graph, makers, i) for i in inputs]
    values, features = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
    if node.op == "concat":
        return values, features
    start = node.attrs.get("start", 0)
    index = node.weights["index"] if node.op == "gather" else np.arange(start, start + node.attrs["size"])
    return values[index], features[index]


def _narrowed(graph: Graph, makers: Mapping[int, Node], node: Node) -> bool:
    """Whether it takes some channels, which are made alone now."""
    if node.op not in ("gather", "slice", "concat") or node.outputs[0] is None:
        return False
    values, index = _origin(graph, makers, node.outputs[0])
    source = int(values[0])
    channels = _channels(graph, makers, source, index) if (values == source).all() else None
    if channels is None:
        return False
    _narrow(graph, makers, source, channels)
    return True


def _channels(graph: Graph, makers: Mapping[int, Node], value: int, index: NDArray[Any]) -> NDArray[Any] | None:
    """Which channels these features are, those at each place of an image that convolutions make; None of others."""
    nodes = _summed(makers, value)
    counts = {len(n.weights["weight"]) for n in nodes if n.attrs["groups"] == 1}
    if len(counts) != 1 or any(n.attrs["groups"] != 1 for n in nodes):
        return None
    (channels,) = counts
    places = graph.values[value].size // channels
    if index.size % places or index.size == graph.values[value].size:
        return None
    each = index.reshape(places, -1) - channels * np.arange(places)[:, None]
    return each[0] if (each == each[0]).all() and each[0].min() >= 0 and each[0].max() < channels else None


def _summed(makers: Mapping[int, Node], value: int | None) -> list[Node]:
    """The convolutions that a value is the sum of; none, if anything else is in it."""
    node = makers.get(value) if value is not None else None
    if node is not None and node.op == "add":
        sides = [_summed(makers, i) for i in node.inputs]
        return [n for side in sides for n in side] if all(sides) else []
    return [node] if node is not None and node.op == "conv" else []


def _narrow(graph: Graph, makers: Mapping[int, Node], value: int | None, channels: NDArray[Any]) -> int:
    """The same of these channels alone."""
    assert value is not None
    node = makers[value]
    if node.op == "add":
        return graph.binary("add", *(_narrow(graph, makers, i, channels) for i in node.inputs))
    weights = {name: array[channels] for name, array in node.weights.items()}
    return graph.node("conv", *node.inputs, **node.attrs, **weights)
