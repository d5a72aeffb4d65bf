"""Initial states that are inputs of a graph, given back to the caller, so that the model can stream."""

from __future__ import annotations

from lstm_rt.graph import Graph, Node

from .tidy import tidy

_LAYERS = ("lstm", "gru", "rnn")
_STATES = (1, 2)  #: places of the initial states among the inputs of a layer


def free_states(graph: Graph) -> list[str]:
    """Take away inputs that are nothing but initial states of recurrent layers; returns their names.

    A layer without initial states has those of the caller: zero, or ``state=``, or what a stream keeps.
    """
    makers = {o: node for node in graph.nodes for o in node.outputs if o is not None}
    readers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        for i in node.inputs:
            if i is not None:
                readers.setdefault(i, []).append(node)
    given: dict[int, set[int]] = {}  # by the layer: the inputs that its states come from, -1 for anything else
    for at, node in enumerate(graph.nodes):
        states = [i for i in _states(node) if i is not None]
        if states:
            given[at] = {_source(graph, makers, i) for i in states} | ({-1} if None in _states(node) else set())
    wanted = {i for sources in given.values() for i in sources if i >= 0}
    while True:
        kept = {i for sources in given.values() if sources - wanted for i in sources}
        kept |= {i for i in wanted if not _states_alone(i, readers) or i in graph.outputs}
        if not wanted & kept:
            break
        wanted -= kept
    if not wanted:
        return []
    for at, sources in given.items():
        if sources <= wanted:
            node = graph.nodes[at]
            node.inputs = tuple(None if k in _STATES else i for k, i in enumerate(node.inputs))
    names = [graph.values[i].name for i in graph.inputs if i in wanted]
    graph.inputs[:] = [i for i in graph.inputs if i not in wanted]
    tidy(graph)
    return names


def _states(node: Node) -> list[int | None]:
    if node.op not in _LAYERS:
        return []
    return [node.inputs[k] for k in _STATES[: 2 if node.op == "lstm" else 1]]


def _source(graph: Graph, makers: dict[int, Node], value: int) -> int:
    """The input that a state is, or is a part of; -1 if it is computed."""
    maker = makers.get(value)
    while maker is not None and maker.op == "slice":
        value = maker.inputs[0]  # type: ignore[assignment]
        maker = makers.get(value)
    return value if value in graph.inputs else -1


def _states_alone(value: int, readers: dict[int, list[Node]]) -> bool:
    """Is a value read as initial states alone?"""
    for node in readers.get(value, []):
        if node.op == "slice":
            if not all(_states_alone(o, readers) for o in node.outputs if o is not None):
                return False
        elif value not in _states(node):
            return False
    return True
