"""Errors of the graph that readers build, and where their control flow may not look."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from lstm_rt_tools import readers

from lstm_rt.errors import AxesError
from lstm_rt.graph import MAX_AXES, Graph

TOOLS = sorted(Path(readers.__file__).parent.rglob("*.py"))


def test_axes_that_differ_have_an_error_of_their_own() -> None:
    graph = Graph()
    a, b = graph.input("a", "seq", 2), graph.input("b", "seq", 2)
    with pytest.raises(AxesError, match="different time axes"):
        graph.binary("add", a, b)
    for k in range(MAX_AXES - 2):
        graph.input(f"x{k}", "seq", 2)
    with pytest.raises(AxesError, match="time axes are more than"):
        graph.input("one too many", "seq", 2)


def test_more_inputs_than_axes() -> None:
    """Inputs of one length are taken for unrelated sequences at first; there is room for so many of these."""
    torch = pytest.importorskip("torch")
    from lstm_rt_tools import from_torch

    class Sum(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(3, 2) for _ in range(MAX_AXES + 1))

        def forward(self, *given: object) -> object:
            return tuple(layer(x) for layer, x in zip(self.layers, given, strict=True))

    torch.manual_seed(0)
    graph = from_torch(Sum(), tuple(torch.randn(2, 5, 3) for _ in range(MAX_AXES + 1)))
    assert len(graph.inputs) == MAX_AXES + 1
    assert graph.n_axes == 1
    assert graph.selftest is not None
    assert all(np.isfinite(y).all() for y in graph.selftest.outputs)


def reads_an_error(node: ast.expr, name: str) -> bool:
    """Whether an expression looks into the text of the exception called ``name``."""
    return re.search(rf"\b{name}\.args\b|\b(str|repr)\({name}\)", ast.unparse(node)) is not None


def decisions_by_text(source: str) -> list[int]:
    """Lines on which an ``except`` decides by the text of what it caught."""
    lines = []
    for handler in ast.walk(ast.parse(source)):
        if isinstance(handler, ast.ExceptHandler) and handler.name:
            for node in ast.walk(handler):
                tests = [node.test] if isinstance(node, ast.If | ast.IfExp | ast.While) else []
                tests += [node] if isinstance(node, ast.Compare) else []
                lines += [node.lineno for t in tests if reads_an_error(t, handler.name)]
    return lines


@pytest.mark.parametrize("path", TOOLS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_no_control_flow_reads_the_text_of_an_error(path: Path) -> None:
    assert decisions_by_text(path.read_text(encoding="utf-8")) == []


def test_the_check_notices() -> None:
    assert decisions_by_text("try:\n    f()\nexcept E as e:\n    if 'axes' in str(e):\n        g()\n") == [4, 4]
    assert decisions_by_text("try:\n    f()\nexcept E as e:\n    x = 1 if e.args[0] else 2\n") == [4]
    assert decisions_by_text("try:\n    f()\nexcept E as e:\n    raise F(str(e))\n") == []
