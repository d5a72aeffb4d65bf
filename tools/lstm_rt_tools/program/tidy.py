"""Small clean-ups of a graph that a tracer wrote: fewer nodes, the same numbers."""

from __future__ import annotations

from lstm_rt.graph import NOT_ELEMENTWISE, Activation, Graph, Node


def tidy(graph: Graph) -> None:
    """Drop nodes that no output needs, put activations into the dense layer before, renumber values.

    Inputs stay, also those that nothing reads any more.
    """
    _drop_dead(graph)
    _fold_activations(graph)
    _renumber(graph)


def _drop_dead(graph: Graph) -> None:
    needed = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(o for o in node.outputs if o is not None):
            needed.update(i for i in node.inputs if i is not None)
            kept.append(node)
    graph.nodes[:] = kept[::-1]


def _fold_activations(graph: Graph) -> None:
    readers: dict[int, int] = dict.fromkeys(graph.outputs, 1)
    for node in graph.nodes:
        for i in node.inputs:
            if i is not None:
                readers[i] = readers.get(i, 0) + 1
    dense = {
        n.outputs[0]: n
        for n in graph.nodes
        if n.op == "dense" and n.attrs["activation"] == Activation("linear") and readers.get(n.outputs[0] or 0) == 1
    }
    kept = []
    for node in graph.nodes:
        producer = dense.get(node.inputs[0]) if node.op == "activation" else None
        if producer is None or node.attrs["activation"].name in NOT_ELEMENTWISE:
            kept.append(node)
        else:
            producer.attrs["activation"] = node.attrs["activation"]
            producer.outputs = node.outputs
            dense.pop(node.inputs[0])
    graph.nodes[:] = kept


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
