"""Cells of PyTorch written out in loops become recurrent layers with PyTorch's numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from helpers.function_programs import Program, converted
from lstm_rt_tools.program.machine import Machine, Tensor

import lstm_rt
from lstm_rt.format import dumps

INPUTS, H, T = 4, 5, 11


class _Cell:
    """A cell of PyTorch and the same in words of the vocabulary."""

    def __init__(self, torch: Any, name: str) -> None:
        torch.manual_seed(0)
        self.module = {"lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell, "rnn": torch.nn.RNNCell}[name](INPUTS, H)
        self.name, self.states = name, 2 if name == "lstm" else 1
        self.w = {k: v.detach().numpy() for k, v in self.module.named_parameters()}

    def parts(self, m: Machine, x: Tensor, h: Tensor, gates: int) -> list[tuple[Tensor, Tensor]]:
        sides = []
        for value, side in ((x, "ih"), (h, "hh")):
            product = m.apply("matmul", value, m.constant(self.w[f"weight_{side}"].T))
            sides.append(m.apply("add", product, m.constant(self.w[f"bias_{side}"])))
        cut = [
            [m.apply("slice", s, axis=-1, start=k * H, stop=(k + 1) * H, step=1) for k in range(gates)] for s in sides
        ]
        return list(zip(*cut, strict=True))

    def step(self, m: Machine, states: Sequence[Tensor], x: Tensor) -> list[Tensor]:
        h = states[0]
        a = m.apply
        if self.name == "rnn":
            ((p, q),) = self.parts(m, x, h, 1)
            return [a("tanh", a("add", p, q))]
        if self.name == "gru":
            r, z, n = self.parts(m, x, h, 3)
            reset, keep = a("sigmoid", a("add", *r)), a("sigmoid", a("add", *z))
            new = a("tanh", a("add", n[0], a("mul", reset, n[1])))
            return [a("add", new, a("mul", keep, a("sub", h, new)))]
        i, f, g, o = (
            a("tanh" if k == 2 else "sigmoid", a("add", p, q)) for k, (p, q) in enumerate(self.parts(m, x, h, 4))
        )
        c = a("add", a("mul", f, states[1]), a("mul", i, g))
        return [a("mul", o, a("tanh", c)), c]

    def wanted(self, torch: Any, x: Any, backward: bool) -> Any:
        states = [torch.zeros(len(x), H)] * self.states
        out: list[Any] = []
        for t in range(x.shape[1])[:: -1 if backward else 1]:
            new = self.module(torch.from_numpy(x[:, t]), tuple(states) if self.states > 1 else states[0])
            states = list(new) if self.states > 1 else [new]
            out.append(states[0])
        return torch.stack(out, 1).detach().numpy(), states[0].detach().numpy()


def _zeros(m: Machine, x: Tensor, n: int) -> list[Tensor]:
    return [m.constant(np.zeros((x.shape[0], H), np.float32)) for _ in range(n)]


def _scanned(cell: _Cell, backward: bool) -> Callable[..., Any]:
    def function(m: Machine, x: Tensor) -> Any:
        def body(states: Sequence[Tensor], xs: Sequence[Tensor]) -> Any:
            new = cell.step(m, states, xs[0])
            return new, [new[0]]

        states, outs = m.scan(body, _zeros(m, x, cell.states), [x], [1], [backward])
        return m.apply("permute", outs[0], axes=(1, 0, 2)), states[0]

    return function


def _looped(cell: _Cell) -> Callable[..., Any]:
    def function(m: Machine, x: Tensor) -> Any:
        def body(turn: Tensor, states: Sequence[Tensor]) -> Any:
            new = cell.step(m, states[1:], m.apply("index_select", x, states[0], axis=1))
            at = m.apply("add", states[0], m.constant(np.int64(1)))
            return m.constant(True), [at, *new], [new[0]]

        start = [m.constant(np.int64(0)), *_zeros(m, x, cell.states)]
        states, outs = m.loop(body, x.shape[1], True, start)
        return m.apply("permute", outs[0], axes=(1, 0, 2)), states[1]

    return function


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("how", ["scan", "backward", "loop"])
def test_cells(name: str, how: str) -> None:
    torch = pytest.importorskip("torch")
    cell = _Cell(torch, name)
    function = _looped(cell) if how == "loop" else _scanned(cell, how == "backward")
    graph = converted(Program(function, 2, x=("b", "t", INPUTS)))
    assert [n.op for n in graph.nodes if n.op != "reverse"] == [name]
    x = np.random.default_rng(0).standard_normal((3, T, INPUTS)).astype(np.float32)
    for got, want in zip(lstm_rt.Model(dumps(graph))(x), cell.wanted(torch, x, how == "backward"), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    (node,) = (n for n in graph.nodes if n.op == name)
    for side in ("ih", "hh"):  # each bias stays beside its product
        np.testing.assert_array_equal(node.weights[f"w_{side}"], cell.w[f"weight_{side}"])
        np.testing.assert_array_equal(node.weights[f"b_{side}"], cell.w[f"bias_{side}"])


def test_a_projected_lstm() -> None:
    """A cell, and a product that makes its state smaller."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    module = torch.nn.LSTM(INPUTS, H, proj_size=3, batch_first=True)
    w = {k.removesuffix("_l0"): v.detach().numpy() for k, v in module.named_parameters()}

    def function(m: Machine, x: Tensor) -> Any:
        a = m.apply

        def body(states: Sequence[Tensor], xs: Sequence[Tensor]) -> Any:
            sides = [a("matmul", v, m.constant(w[f"weight_{s}"].T)) for v, s in ((xs[0], "ih"), (states[0], "hh"))]
            biases = [m.constant(w[f"bias_{s}"]) for s in ("ih", "hh")]
            both = a("add", *(a("add", p, bias) for p, bias in zip(sides, biases, strict=True)))
            cut = [a("slice", both, axis=-1, start=k * H, stop=(k + 1) * H, step=1) for k in range(4)]
            i, f, g, o = (a("tanh" if k == 2 else "sigmoid", gate) for k, gate in enumerate(cut))
            c = a("add", a("mul", f, states[1]), a("mul", i, g))
            h = a("matmul", a("mul", o, a("tanh", c)), m.constant(w["weight_hr"].T))
            return [h, c], [h]

        zeros = [m.constant(np.zeros((x.shape[0], n), np.float32)) for n in (3, H)]
        _, outs = m.scan(body, zeros, [x], [1], [False])
        return a("permute", outs[0], axes=(1, 0, 2))

    graph = converted(Program(function, 1, x=("b", "t", INPUTS)))
    assert [(n.op, n.attrs["proj_size"]) for n in graph.nodes] == [("lstm", 3)]
    x = np.random.default_rng(0).standard_normal((3, T, INPUTS)).astype(np.float32)
    want = module(torch.from_numpy(x))[0].detach().numpy()
    np.testing.assert_allclose(lstm_rt.Model(dumps(graph))(x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("x_first", [True, False])
def test_an_lstm_of_convolutions(x_first: bool) -> None:
    """One convolution over the channels of the input and of the state, side by side, whose result is cut into gates."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(2)
    channels, hidden, places = 2, 3, (4, 5)
    conv = torch.nn.Conv2d(channels + hidden, 4 * hidden, 3, padding=1)
    weight, bias = (p.detach().numpy() for p in (conv.weight, conv.bias))

    def function(m: Machine, x: Tensor) -> Any:
        def body(states: Sequence[Tensor], xs: Sequence[Tensor]) -> Any:
            sides = (xs[0], states[0]) if x_first else (states[0], xs[0])
            both = m.apply("concat", *sides, axis=1)
            z = m.apply("conv", both, m.constant(weight), m.constant(bias), pads=[(1, 1), (1, 1)])
            cut = [m.apply("slice", z, axis=1, start=k * hidden, stop=(k + 1) * hidden, step=1) for k in range(4)]
            i, f, o, g = (m.apply("tanh" if k == 3 else "sigmoid", gate) for k, gate in enumerate(cut))
            c = m.apply("add", m.apply("mul", f, states[1]), m.apply("mul", i, g))
            h = m.apply("mul", o, m.apply("tanh", c))
            return [h, c], [h]

        zeros = [m.constant(np.zeros((x.shape[0], hidden, *places), np.float32)) for _ in range(2)]
        _, outs = m.scan(body, zeros, [x], [1], [False])
        return m.apply("permute", outs[0], axes=(1, 0, 2, 3, 4))

    graph = converted(Program(function, 1, x=("b", "t", channels, *places)))
    assert [n.op for n in graph.nodes if n.op != "gather"] == ["convlstm"]
    x = np.random.default_rng(0).standard_normal((2, 6, channels, *places)).astype(np.float32)
    h = c = torch.zeros(2, hidden, *places)
    wanted = []
    for t in range(6):
        sides = (torch.from_numpy(x[:, t]), h)
        i, f, o, g = conv(torch.cat(sides if x_first else sides[::-1], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        wanted.append(h)
    want = torch.stack(wanted, 1).detach().numpy()
    np.testing.assert_allclose(lstm_rt.Model(dumps(graph))(x), want, rtol=1e-4, atol=1e-5)
