"""The table of ops and docs/format.md say the same."""

from __future__ import annotations

import re

import numpy as np
import pytest
from helpers.paths import ROOT
from lstm_rt_tools.judges import reference

from lstm_rt import GraphError
from lstm_rt.graph import ACTIVATIONS, Graph
from lstm_rt.ops import KINDS, OPS, Attr, Op, Weight
from lstm_rt.values import ORDERS

TEXT = (ROOT / "docs" / "format.md").read_text()


def table(after, columns):
    """The rows of the first table below a heading, as lists of cells."""
    lines = TEXT[TEXT.index(after) :].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| " + columns))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def kinds_text(kinds):
    return "features" if kinds == ("seq", "vec") else " or ".join(kinds)


def inputs_text(op: Op) -> str:
    if op.alike:
        return "two alike"
    if op.broadcasts:
        return "two"
    if op.many:
        return "2 to 6, of one kind and axis"
    if not op.inputs:
        return "nothing"
    first, *others = op.inputs
    text = kinds_text(first.kinds) + (f" of size {first.size}" if first.size else "")
    return "; ".join([text, *(f"{kinds_text(i.kinds)} on its axis" + " or `NONE`" * i.optional for i in others)])


def output_text(op: Op) -> str:
    kind, size = op.output.kind, op.output.size
    if op.gives:
        return op.gives
    if op.axis is not None:
        return f"{kind or 'seq'}, same size, derived axis"
    if op.broadcasts:
        return "broadcast"
    if size == "+":
        return "sum of the sizes, same kind and axis"
    if not kind:
        attr = next((a for a in op.attrs if a.name == size), None)
        size = f"as attribute {attr.at}" if attr else size
        return f"size {size}, same kind and axis" if size else "same"
    if kind == "vec":
        return "vec, same size" if op.inputs else f"vec of size {size}"
    return f"seq of size {size}, same axis" if kind == "seq" else f"{kind}, same axis"


def weight_text(i: int, w: Weight) -> str:
    letters = [*w.shape, "1"][:2]
    shape = {"vector": f"vector {w.shape}", "plain": f"plain {' × '.join(letters)}", "index": f"integers {w.shape}"}
    text = shape.get(w.layout, f"panels 1 × {' × '.join(letters)}")
    return f"{i}: {w.name}, {text}" + (" or `NONE`" if w.optional else "") + (f"; {w.note}" if w.note else "")


def attr_text(a: Attr) -> str:
    if a.type == "activation":
        return f"{a.at} to {a.at + 2}: activation"
    return f"{a.at}: {a.name}, {a.type}" + (f", {a.note}" if a.note else "")


def test_the_table_of_the_text():
    rows = table("## 5. Ops", "op | name")
    assert [(int(row[0]), row[1]) for row in rows] == [(op.code, op.name) for op in OPS.values()]
    for row, op in zip(rows, OPS.values(), strict=True):
        if op.cell is not None or op.section:
            assert row[2] == f"section {op.section or '5.1'}"
            continue
        weights = "; ".join(weight_text(i, w) for i, w in enumerate(op.stored or op.weights))
        attrs = "; ".join(attr_text(a) for a in op.attrs if a.at >= 0)
        assert row[2:] == [inputs_text(op), output_text(op), weights, attrs], op.name


@pytest.mark.parametrize("name", ["conv", "pool", "convlstm"])
def test_the_tables_of_windows(name):
    start = "**convlstm** (Shi" if name == "convlstm" else "### 5.3 Windows"
    rows = table(start, "attr | type | name")
    told = [(int(row[0].split()[0]), row[1].split(",")[0], names) for row in rows for names in row[2:3]]
    for attr in OPS[name].attrs:
        assert any(at == attr.at and kind == attr.type and attr.name in names for at, kind, names in told), attr


def test_every_op_is_told_of():
    section = TEXT[TEXT.index("## 5. Ops") : TEXT.index("## 6. Lengths")]
    told = set(re.findall(r"\*\*(\w+)\*\*", section))
    assert set(OPS) - {"activation"} <= told


def test_versions_say_which_ops_they_add():
    rows = {int(row[0]): row[1] for row in table("## 9. Versions", "version | what it adds")}
    for op in OPS.values():
        told = "the ops from 21 to 42" if 21 <= op.code <= 42 else f"**{op.name}**"
        assert op.since == 1 or told in rows[op.since]


def test_kinds_orders_and_activations_have_the_codes_of_the_text():
    kinds = [(int(row[0]), row[1]) for row in table("## 2. Values", "kind | name")]
    assert kinds == list(enumerate(KINDS, 1))
    orders = [(int(row[0]), row[1]) for row in table("### 2.1 Orders", "order | name")]
    assert orders == list(enumerate(ORDERS))
    acts = [(int(row[0]), row[1]) for row in table("### 4.1 Activations", "code | name")]
    assert acts == list(enumerate(ACTIVATIONS))


def test_the_reference_knows_every_op():
    assert set(reference._OPS) | {"convlstm"} == {name for name, op in OPS.items() if op.cell is None}


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.cell is None])
def test_what_an_entry_asks_for_is_checked(name):
    """A node without inputs, of a value of another kind, and without what it needs."""
    op, g = OPS[name], Graph()
    values = {"seq": g.input("seq", "seq", 2), "ids": g.input("ids", "ids", axis=0), "vec": g.input("vec", "vec", 2)}
    values["mask"] = g.mask_ids(values["ids"])
    other = next((v for kind, v in values.items() if op.inputs and kind not in op.inputs[0].kinds), None)
    with pytest.raises(GraphError, match=f"{name}: (got a value of kind|. inputs|1 inputs)"):
        g.node(name, *[other] * (2 if op.many else len(op.inputs) or 1))
    if op.inputs:
        with pytest.raises(GraphError, match=f"{name}: 0 (inputs|parts), expected"):
            g.node(name)
    needed = [a.name for a in op.attrs if a.default is None] + [w.name for w in op.weights if not w.optional]
    read = [values[i.kinds[0]] for i in op.inputs if not i.optional] * (2 if op.many else 1)
    if needed:
        with pytest.raises(GraphError, match=f"{name}: {needed[0]} is missing"):
            g.node(name, *read)
    for w in op.weights:
        options = {a.name: None if a.type == "activation" else 1 for a in op.attrs if a.default is None}
        options |= {v.name: np.ones((2,) * len(v.shape), np.float32) for v in op.weights}
        options[w.name] = np.ones((3,) * (len(w.shape) + 1), np.int32 if w.layout == "index" else np.float32)
        with pytest.raises(GraphError, match=rf"{name}: {w.name} has shape .*, expected \("):
            g.node(name, *read, **options)
