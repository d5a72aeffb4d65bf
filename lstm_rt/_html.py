"""What notebooks show of models, graphs, streams and traces: tables. All text out of files is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from .text import shown
from .trace import KINDS

if TYPE_CHECKING:
    from ._core import Model, Stream, StreamGroup
    from .graph import Graph
    from .trace import Trace

_NAME = 60  #: characters of a name
_ROWS = 100  #: of a table


def table(head: Sequence[str], rows: Sequence[Sequence[object]], numbers: Sequence[int] = ()) -> str:
    """An HTML table; ``numbers`` lists the columns flushed right. Of very many rows the first."""
    lines = ["<table>", "<thead><tr>" + "".join(f"<th>{_text(h)}</th>" for h in head) + "</tr></thead>", "<tbody>"]
    for row in rows[:_ROWS]:
        cells = [
            f'<td style="text-align: {"right" if k in numbers else "left"}">{_text(c)}</td>' for k, c in enumerate(row)
        ]
        lines.append("<tr>" + "".join(cells) + "</tr>")
    if len(rows) > _ROWS:
        lines.append(f'<tr><td colspan="{len(head)}">and {len(rows) - _ROWS} more</td></tr>')
    return "\n".join([*lines, "</tbody></table>"])


def _text(text: object) -> str:
    return escape(shown(text, _NAME), quote=True)


def _title(text: str) -> str:
    return f"<p><strong>{escape(text)}</strong></p>"


def graph_html(graph: Graph, title: str | None = None) -> str:
    """Inputs, outputs and nodes of a graph."""
    from ._names import value_name

    total = sum(counts := graph.node_parameters())
    title = f"lstm_rt.Graph of {len(graph.nodes)} nodes" if title is None else title
    ports = [
        [what, graph.values[i].name, graph.values[i].kind, _shape(graph, i)]
        for what, values in (("input", graph.inputs), ("output", graph.outputs))
        for i in values
    ]
    nodes = []
    for k, (n, count) in enumerate(zip(graph.nodes, counts, strict=True)):
        reads, writes = (" ".join(value_name(graph, i) for i in v if i is not None) for v in (n.inputs, n.outputs))
        size = next(graph.values[o].size for o in n.outputs if o is not None)
        nodes.append([k, n.op, n.name, reads, writes, size or "", f"{count:,}"])
    return "\n".join([
        _title(f"{title}, {total:,} parameters"),
        table(["", "name", "kind", "shape"], ports),
        table(["#", "op", "layer", "reads", "writes", "size", "parameters"], nodes, (0, 5, 6)),
    ])  # fmt: skip


def _shape(graph: Graph, value: int) -> str:
    v = graph.values[value]
    shape = v.shape("N", "T" if graph.n_axes < 2 else f"T{v.axis}")
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def model_html(model: Model) -> str:
    """A model's graph, and how it runs."""
    streams = "streams" if model.can_stream else "takes whole sequences"
    return graph_html(model._graph(), f"lstm_rt.Model, {model.nbytes:,} bytes, {model.kernels}, {streams}")


def stream_html(stream: Stream | StreamGroup, model: Model) -> str:
    """Of a stream what it is, and its model."""
    return _title(repr(stream).split(", <")[0].lstrip("<")) + "\n" + model_html(model)


def trace_html(trace: Trace) -> str:
    """The arrays of a trace."""
    rows = [
        [name, layer.op, kind, KINDS[kind], a.shape, f"{a.nbytes:,}"]
        for name, layer in trace.items()
        for kind, a in layer.items()
    ]
    head = ["layer", "op", "array", "what", "shape", "bytes"]
    title = _title(f"lstm_rt.trace.Trace of {len(trace)} layers, {trace.nbytes:,} bytes")
    return title + "\n" + table(head, rows, (5,))
