"""What ``lstm-rt info`` tells about a graph, as plain data and as text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstm_rt._names import node_title, value_name
from lstm_rt.graph import DTYPES, Activation, Graph, Node, Value
from lstm_rt.ops import OPS, cell_of
from lstm_rt.quantised import Quantised
from lstm_rt.text import shown

from ..weights.tensors import count_not_finite

_LAYERS = 12  #: of a line
_NAME, _LINE, _LINES, _DEPTH = 40, 200, 50, 6  #: how much of a name and of metadata is shown


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns aligned with spaces; ``right`` lists the columns flushed right."""
    lines = [list(head), *[list(r) for r in rows]]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    lines.insert(1, ["-" * w for w in widths])
    return "\n".join(
        "  ".join(
            c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


CALL_STEPS = 100  #: of the call whose working memory is told


def bytes_text(n: int) -> str:
    """``1536`` -> ``1.5 KiB``."""
    return f"{n} bytes" if n < 1024 else f"{n / 1024:.1f} KiB" if n < 1 << 20 else f"{n / (1 << 20):.1f} MiB"


def shape_of(graph: Graph, v: Value) -> list[str | int]:
    """``['N', 'T', 8]``; the time axes are T0, T1, ... where there are several."""
    steps = "T" if graph.n_axes < 2 else f"T{v.axis}"
    return list(v.shape("N", steps))


def describe(graph: Graph) -> dict[str, Any]:
    """Everything about a graph that JSON can hold; weights only by their shapes."""
    counts = graph.node_parameters()
    return {
        "inputs": [_describe_value(graph, i) for i in graph.inputs],
        "outputs": [_describe_value(graph, o) for o in graph.outputs],
        "nodes": [{**_describe_node(graph, k), "parameters": n} for k, n in enumerate(counts)],
        "parameters": sum(counts),
        "weight_bytes_float32": 4 * sum(counts),
        "state_bytes_per_row": sum(_state_floats(graph, n) for n in graph.nodes) * 4,
        "nonfinite_weights": nonfinite(graph),
        "has_selftest": graph.selftest is not None,
        "meta": graph.meta,
    }


def in_short(graph: Graph) -> str:
    """The layers of a graph in one line: ``embedding 11 x 3, 2 gru 3 -> 4, dense 4 -> 2``."""
    parts: list[str] = []
    for name, run in itertools.groupby(f"{n.op} {_sizes(graph, n)}" for n in graph.nodes if n.weights):
        count = len(list(run))
        parts.append(f"{count} times {name}" if count > 1 else name)
    others = sum(not n.weights for n in graph.nodes)
    if len(parts) > _LAYERS:
        parts[_LAYERS:] = [f"and {len(parts) - _LAYERS} more"]
    if others:
        parts.append(f"{others} node{'s' * (others > 1)} without weights")
    return ", ".join(parts)


def nonfinite(graph: Graph) -> list[str]:
    """Names of weights that hold NaN or infinity, with how many."""
    found = []
    for k, node in enumerate(graph.nodes):
        for name, w in node.weights.items():
            if bad := count_not_finite(w):
                found.append(f"{node_title(graph, k)} {name}: {bad} of {w.size}")
    return found


def _describe_value(graph: Graph, index: int) -> dict[str, Any]:
    v = graph.values[index]
    dtype = np.dtype(DTYPES[v.kind]).name
    return {"name": v.name, "kind": v.kind, "shape": shape_of(graph, v), "order": v.order, "dtype": dtype}


def _state_floats(graph: Graph, node: Node) -> int:
    """Floats of state that one row carries through a node."""
    if node.op in ("reduce", "cumsum"):  # sums, what rounding takes from them; how many steps
        return 2 * sum(graph.values[o].size for o in node.outputs if o is not None) + 2 * (node.op == "reduce")
    if "hidden_size" not in node.attrs or any(i is not None for i in node.inputs[1:3]):
        return 0
    hidden: int = node.attrs["hidden_size"]
    r: int = node.attrs["proj_size"] or hidden
    n_dir = 2 if node.attrs["direction"] == "bidirectional" else 1
    return n_dir * (r + (hidden if node.op == "lstm" else 0))


def _describe_node(graph: Graph, k: int) -> dict[str, Any]:
    node = graph.nodes[k]
    return {
        "index": k,
        "op": node.op,
        "name": node.name,
        "inputs": [None if i is None else value_name(graph, i) for i in node.inputs],
        "outputs": [None if i is None else value_name(graph, i) for i in node.outputs],
        "sizes": _sizes(graph, node),
        "options": ", ".join(filter(None, [_options(node), *_integers(node), *_sparse(node)])),
        "attrs": {a: _plain(v) for a, v in node.attrs.items()},
        "weights": {name: list(w.shape) for name, w in node.weights.items()},
        "integers": {name: str(q.stored) for name, q in _quantised(node).items()},
        "blocks": dict(node.blocks),
    }


def _quantised(node: Node) -> dict[str, Quantised]:
    weights: dict[str, Any] = dict(node.weights)
    return {name: w for name, w in weights.items() if isinstance(w, Quantised)}


def _integers(node: Node) -> list[str]:
    """Which of its weights are integers of what dtype."""
    names: dict[str, list[str]] = {}
    for name, q in _quantised(node).items():
        names.setdefault(str(q.stored), []).append(name.removesuffix("_reverse"))
    return [f"{dtype} {' '.join(dict.fromkeys(found))}" for dtype, found in names.items()]


def _sparse(node: Node) -> list[str]:
    """Which of its weights are stored as blocks, and how many of these are there."""
    return [f"{name} {share_text(share)} of its blocks" for name, share in node.blocks.items()]


def sparse_lines(shares: Sequence[float]) -> list[str]:
    """What is to be said of matrices of a file that are stored as blocks."""
    if not shares:
        return []
    low, high = share_text(min(shares)), share_text(max(shares))
    count = f"{len(shares)} matri{'ces are' if len(shares) > 1 else 'x is'} stored as blocks"
    return [f"sparse: {count}, of which {low if low == high else f'{low} to {high}'} are not zero"]


def share_text(share: float) -> str:
    """As a percentage."""
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"


def _plain(value: Any) -> Any:
    if isinstance(value, Activation):
        return str(value)
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _sizes(graph: Graph, node: Node) -> str:
    if node.op == "embedding":
        rows, features = node.weights["table"].shape
        return f"{rows} x {features}"
    if "hidden_size" in node.attrs:
        return f"{node.attrs['input_size']} -> {node.attrs['hidden_size']}"
    sources = [graph.values[i].size for i in node.inputs if i is not None and graph.values[i].size]
    target = next(graph.values[o].size for o in node.outputs if o is not None)
    parts = [" + ".join(map(str, sources)), str(target) if target and sources != [target] else ""]
    return " -> ".join(filter(None, parts))


def _options(node: Node) -> str:
    if "hidden_size" in node.attrs:
        return ", ".join(_recurrent_options(node))
    entry = OPS[node.op]
    options = [str(node.attrs[a.name]) for a in entry.attrs if a.type == "activation"]
    for a in entry.attrs:
        value = node.attrs[a.name]
        if a.type != "activation" and (a.default is None or value != a.default):
            text = value if isinstance(value, str) else f"{value:g}"
            options.append(a.name if value is True else f"{a.name} {text}")
    if any(i.name == "mask" and v is not None for i, v in zip(entry.inputs, node.inputs, strict=False) if i.optional):
        options.append("masked")
    if node.op == "dense" and "bias" not in node.weights:
        options.append("no bias")
    return ", ".join(options)


def _recurrent_options(node: Node) -> list[str]:
    a, options = node.attrs, []
    if a["direction"] != "forward":
        options.append(a["direction"])
    if a["proj_size"]:
        options.append(f"projection {a['proj_size']}")
    gates = " ".join(str(v) for v in a["activations"])
    if gates != " ".join(cell_of(node.op).activations):
        options.append(gates)
    if a["clip"]:
        options.append(f"clip {a['clip']:g}")
    if not a.get("reset_after", True):
        options.append("reset before")
    if "peephole" in node.weights:
        options.append("peephole")
    if "b_ih" not in node.weights and "b_hh" not in node.weights:
        options.append("no bias")
    inputs = dict(zip(("h0", "c0", "mask"), node.inputs[1:], strict=False))
    options += [f"{name} from the graph" for name in ("h0", "c0") if inputs.get(name) is not None]
    if inputs.get("mask") is not None:
        options.append("masked, zero output" if a["zero_masked"] else "masked")
    return options


def as_text(facts: dict[str, Any]) -> str:
    """The facts of :func:`describe` for a person to read."""
    parts = []
    for what in ("inputs", "outputs"):
        rows = [[shown(v["name"], _NAME), v["kind"], shape_text(v["shape"]), v["dtype"]] for v in facts[what]]
        parts.append(table([what[:-1], "kind", "shape", "dtype"], rows))
    head = ["#", "op", "reads", "writes", "sizes", "options", "parameters"]
    rows = [_node_row(n) for n in facts["nodes"]]
    if any(n["name"] for n in facts["nodes"]):
        head.append("layer")
        rows = [[*row, shown(n["name"], _NAME)] for row, n in zip(rows, facts["nodes"], strict=True)]
    parts.append(table(head, rows, right=(0, 6)))
    parts.append("\n".join(_totals(facts)))
    if facts["meta"]:
        parts.append("metadata\n" + "\n".join(_meta_lines(facts["meta"], "  ")))
    return "\n\n".join(parts)


def shape_text(shape: Sequence[str | int]) -> str:
    """``(N, T, 8)``."""
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def _node_row(n: dict[str, Any]) -> list[str]:
    reads, writes = (" ".join(shown(v, _NAME) for v in n[k] if v is not None) for k in ("inputs", "outputs"))
    return [str(n["index"]), n["op"], reads, writes, n["sizes"], n["options"], f"{n['parameters']:,}"]


def _totals(facts: dict[str, Any]) -> list[str]:
    lines = [
        f"parameters   {facts['parameters']:,} ({bytes_text(facts['weight_bytes_float32'])} as float32)",
        f"state        {bytes_text(facts['state_bytes_per_row'])} per row",
        f"self-test    {'yes' if facts['has_selftest'] else 'none in the file'}",
    ]
    if "bytes" in facts:
        lines.insert(0, f"file         {shown(facts['file'], _LINE)}, {bytes_text(facts['bytes'])}")
        lines.append(f"checksum     {facts['checksum']}")
    if facts.get("call_bytes"):
        working = bytes_text(facts["call_bytes"])
        lines.insert(2, f"a call       {working} of working memory, of 1 row and {CALL_STEPS} steps")
    bad = facts["nonfinite_weights"]
    lines.append("weights      " + ("all finite" if not bad else "NOT FINITE: " + "; ".join(bad)))
    return lines


def _meta_lines(meta: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in meta.items():
        if len(lines) >= _LINES:
            return [*lines, f"{indent}..."]
        if isinstance(value, dict) and len(indent) < 2 * _DEPTH:
            lines += [f"{indent}{shown(key, _NAME)}", *_meta_lines(value, indent + "  ")]
        elif isinstance(value, dict):
            lines.append(f"{indent}{shown(key, _NAME)}: ...")
        else:
            lines.append(f"{indent}{shown(key, _NAME)}: {_meta_text(value)}")
    return lines


def _meta_text(value: Any) -> str:
    try:
        return shown(value, _LINE)
    except RecursionError:  # lists in lists
        return "..."
