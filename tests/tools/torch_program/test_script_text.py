"""The parser of TorchScript's code: what it writes is read, all else is refused with its line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.torch_program.script_text import parse
from lstm_rt_tools.torch_program.script_tree import Attr, Call, Class, Const, Def, Index, Name, Return, Seq
from lstm_rt_tools.weights.budget import Budget

from lstm_rt.errors import ConvertError


def read(text: str) -> Any:
    return parse(text, "m.py", Budget(1 << 20))


def expression(text: str) -> Any:
    (statement,) = read(f"def f(x: Tensor) -> Tensor:\n  return {text}\n")["f"].body
    assert isinstance(statement, Return)
    return statement.value


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1", Const(1)),
        ("-9223372036854775807", Const(-9223372036854775807)),
        ("1.0000000000000001e-05", Const(1e-5)),
        ("0.", Const(0.0)),
        ("-inf", Const(float("-inf"))),
        ('"a\\n\\"\\\\\\141\\x62"', Const('a\n"\\ab')),
        ("None", Const(None)),
        ("(1,)", Seq((Const(1),), False)),
        ("(1)", Const(1)),
        ("[1, 2, ]", Seq((Const(1), Const(2)), True)),
        ("(x).forward(1, )", Call(Attr(Name("x"), "forward"), (Const(1),), ())),
        ("torch.f(x, dim=1)", Call(Attr(Name("torch"), "f"), (Name("x"),), (("dim", Const(1)),))),
        ("x[0]", Index(Name("x"), Const(0))),
        ("Dict[str, int]", Index(Name("Dict"), Seq((Name("str"), Name("int")), False))),
    ],
)
def test_expressions(text: str, tree: Any) -> None:
    assert expression(text) == tree


def test_a_class() -> None:
    found = read(
        "op_version_set = 1\nimport __torch__.a\nclass M(Module):\n  __parameters__ = ['w', ]\n  w : Tensor\n"
        '  size : Final[int] = 3\n  __annotations__["0"] = __torch__.L\n'
        "  def forward(self: __torch__.M,\n    x: Tensor,\n    n: Optional[int]=None) -> Tensor:  # a remark\n"
        "    if torch.__is__(n, None):\n      y = x\n    else:\n      pass\n\n"
        "    for i in range(3):\n      z : Tensor = torch.neg(x)\n    while True:\n      pass\n"
        "    a, b, = x\n    c, d = a, b\n    self.w = a\n    with x:\n      pass\n    return (a, b)\n"
    )
    made = found["M"]
    assert isinstance(made, Class)
    assert list(made.fields) == ["w", "size", "0"]
    forward = made.methods["forward"]
    assert isinstance(forward, Def)
    assert [p.name for p in forward.params] == ["self", "x", "n"]
    assert [type(s).__name__ for s in forward.body] == [
        "If",
        "For",
        "While",
        "Assign",
        "Assign",
        "Assign",
        "Block",
        "Return",
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("import os", "line 2: not TorchScript"),
        ("y = x + 1", "line 2: .* is not TorchScript"),
        ("y = lambda: 1", "line 2: not TorchScript"),
        ("y = [i for i in x]", "line 2: not TorchScript"),
        ("del x", "line 2: not TorchScript"),
        ("f(x)[0] = 1", "line 2: not TorchScript: an assignment to what is no name"),
        ("y = 1j", "a number of another kind"),
        ("y = " + "9" * 30, "a number of another kind"),
        ("y = 'abc", "line 2: .* is not TorchScript"),
        ("y = " + "[" * 100, "brackets are nested too deeply"),
        ("y = x" + ".a" * 100, "an expression of too many calls"),
        ("y = --1", "line 2: not TorchScript: expected a number"),
        ("   y = 1\n  z = 2", "indent"),
        ("try:", "not TorchScript"),
        ("@x", "is not TorchScript"),
    ],
)
def test_what_it_does_not_write_is_refused(line: str, why: str) -> None:
    with pytest.raises(ConvertError, match=why):
        read(f"def f(x: Tensor) -> Tensor:\n  {line}\n  return x\n")


@given(st.text(alphabet="abdefx =()[]{}:.,-1\n\"'#\t", max_size=60))
@settings(max_examples=300)
def test_any_text_is_read_or_refused(text: str) -> None:
    for whole in (text, f"def f(x: Tensor) -> Tensor:\n  {text}\n"):
        try:
            read(whole)
        except ConvertError:
            pass


def test_what_trees_take_is_charged() -> None:
    with pytest.raises(ConvertError, match="its code would take far more memory"):
        parse("def f(x: Tensor) -> Tensor:\n  return [" + "1, " * (1 << 20) + "]\n", "m.py", Budget(1000))
