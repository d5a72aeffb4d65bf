"""Activations that programs write out as formulas are the activations again, with PyTorch's numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.function_programs import Program, converted
from lstm_rt_tools.program.machine import Machine, Tensor

import lstm_rt
from lstm_rt.format import dumps

X = ("b", "t", 3)


class Words:
    """Arithmetic in words of the vocabulary."""

    def __init__(self, m: Machine) -> None:
        self._m = m

    def __getattr__(self, word: str) -> Callable[..., Tensor]:
        def apply(*args: Tensor | float, **options: Any) -> Tensor:
            given = [a if isinstance(a, Tensor) else self._m.constant(np.float32(a)) for a in args]
            return self._m.apply(word, *given, **options)  # type: ignore[no-any-return]

        return apply


def gelu(w: Any, x: Any) -> Any:
    return w.mul(w.mul(x, w.add(w.erf(w.div(x, math.sqrt(2))), 1)), 0.5)


def halved_gelu(w: Any, x: Any) -> Any:
    return w.mul(w.mul(x, 0.5), w.add(1, w.erf(w.mul(x, math.sqrt(0.5)))))


def gelu_tanh(w: Any, x: Any, factor: float = 0.044715) -> Any:
    cubic = w.mul(w.mul(w.mul(x, x), x), factor)
    inner = w.mul(w.add(x, cubic), math.sqrt(2 / math.pi))
    return w.mul(w.mul(x, 0.5), w.add(w.tanh(inner), 1))


def gelu_by_power(w: Any, x: Any) -> Any:
    inner = w.mul(math.sqrt(2 / math.pi), w.add(x, w.mul(0.044715, w.pow(x, 3))))
    return w.mul(0.5, w.mul(x, w.add(1, w.tanh(inner))))


def limited(w: Any, x: Any) -> Any:
    return w.clip(w.add(x, 3), low=0.0, high=6.0)


FORMULAS: dict[str, tuple[str, str, Callable[[Any, Any], Any]]] = {
    "swish": ("swish", "silu", lambda w, x: w.mul(w.sigmoid(x), x)),
    "gelu": ("gelu", "gelu", gelu),
    "halved_gelu": ("gelu", "gelu", halved_gelu),
    "gelu_tanh": ("gelu_tanh", "gelu", gelu_tanh),
    "gelu_by_power": ("gelu_tanh", "gelu", gelu_by_power),
    "softsign": ("softsign", "softsign", lambda w, x: w.div(x, w.add(1, w.abs(x)))),
    "mish": ("mish", "mish", lambda w, x: w.mul(x, w.tanh(w.softplus(x)))),
    "sigmoid": ("sigmoid", "sigmoid", lambda w, x: w.div(1, w.add(1, w.exp(w.neg(x))))),
    "hard_swish": ("hard_swish", "hardswish", lambda w, x: w.mul(x, w.div(limited(w, x), 6))),
    "hard_swish_last": ("hard_swish", "hardswish", lambda w, x: w.div(w.mul(x, limited(w, x)), 6)),
    "hard_swish_of_one": ("hard_swish", "hardswish", lambda w, x: w.mul(x, w.hard_sigmoid(x, alpha=1 / 6, beta=0.5))),
}  # fmt: skip


def _x() -> Any:
    return (np.random.default_rng(0).standard_normal((2, 50, 3)) * 4).astype(np.float32)


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name: str) -> None:
    torch = pytest.importorskip("torch")
    wanted, function, formula = FORMULAS[name]
    graph = converted(Program(lambda m, x: formula(Words(m), x), 1, x=X))
    assert [n.attrs["activation"].name for n in graph.nodes] == [wanted]
    options = {"approximate": "tanh"} if wanted == "gelu_tanh" else {}
    want = getattr(torch.nn.functional, function)(torch.from_numpy(_x()), **options)
    np.testing.assert_allclose(lstm_rt.Model(dumps(graph))(_x()), want.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "formula",
    [
        lambda w, x: gelu_tanh(w, x, 0.0448),
        lambda w, x: w.mul(x, w.sigmoid(w.mul(x, 1.702))),
        lambda w, x: w.mul(x, w.sigmoid(w.tanh(x))),
        lambda w, x: w.div(x, w.add(2, w.abs(x))),
    ],
)
def test_what_is_nearly_one_stays(formula: Callable[[Any, Any], Any]) -> None:
    program = Program(lambda m, x: formula(Words(m), x), 1, x=X)
    graph = converted(program)
    assert len(graph.nodes) > 1
    np.testing.assert_allclose(lstm_rt.Model(dumps(graph))(_x()), program.numbers([_x()])["y0"], rtol=1e-5, atol=1e-6)


def test_what_others_read_of_a_formula_stays() -> None:
    def both(m: Machine, x: Tensor) -> Any:
        gate = m.apply("sigmoid", x)
        return m.apply("mul", x, gate), gate

    program = Program(both, 2, x=X)
    graph = converted(program)
    assert [n.attrs["activation"].name for n in graph.nodes] == ["sigmoid", "swish"]
    for y, want in zip(lstm_rt.Model(dumps(graph))(_x()), program.numbers([_x()]).values(), strict=True):
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)
