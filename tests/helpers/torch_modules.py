"""Modules of PyTorch with forwards of every kind, and how a graph is held to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from lstm_rt_tools.judges import reference

from lstm_rt import Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph


def user_module(torch: Any, forward: Callable[..., Any], kind: str = "LSTM", head: int = 7, **kw: Any) -> Any:
    """A module with an own forward around one recurrent layer."""
    nn = torch.nn

    class User(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.rec = getattr(nn, kind)(5, 7, **{"batch_first": True, **kw})
            self.emb = nn.Embedding(11, 5, padding_idx=0)
            self.fc = nn.Linear(head, 3)
            self.ln = nn.LayerNorm(3)
            self.bn = nn.BatchNorm1d(5)
            self.bn.running_mean += 0.3
            self.bn.running_var *= 2
            self.scale = nn.Parameter(torch.rand(3))
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Any, *rest: Any) -> Any:
            return forward(self, x, *rest)

    return User()


def module_of(torch: Any, forward: Callable[..., Any], prepare: Callable[[Any], None] = lambda s: None) -> Any:
    """A module in eval mode: ``forward`` around an LSTM from 5 to 7 and a Linear from 7 to 3."""
    module = user_module(torch, forward).eval()
    prepare(module)
    return module


def plain(s: Any, x: Any) -> Any:
    return s.fc(s.rec(x)[0])


def example(torch: Any) -> Any:
    return torch.randn(20, 30, 5)


def compiled(graph: Graph, inputs: Any, **kw: Any) -> tuple[np.ndarray, ...]:
    """The outputs of the compiled runtime."""
    result = Model(dumps(graph))(*(np.ascontiguousarray(a) for a in inputs), **kw)
    return result if isinstance(result, tuple) else (result,)


def check_selftest(graph: Graph) -> None:
    """The self test comes from torch, so it judges the graph, and the runtime too."""
    assert graph.selftest is not None
    inputs, outputs = graph.selftest.inputs, graph.selftest.outputs
    for results in (reference.run(graph, inputs), compiled(graph, inputs)):
        for mine, theirs in zip(results, outputs, strict=True):
            assert mine.shape == theirs.shape
            np.testing.assert_allclose(mine, theirs, atol=1e-5, rtol=1e-5)


def same_as_module(torch: Any, graph: Graph, module: Any) -> None:
    """On inputs that the conversion has not seen."""
    x = torch.randn(3, 11, 5)
    with torch.no_grad():
        theirs = module(x)
    np.testing.assert_allclose(compiled(graph, [x.numpy()])[0], theirs.float().numpy(), atol=1e-5, rtol=1e-5)


class Namespace:
    def __init__(self, value: int) -> None:
        self.value = value


def without_test(graph: Graph) -> bytes:
    """The file but for what torch has computed, which depends on where its tensors lie."""
    graph.selftest = None
    return dumps(graph)


def packed(s: Any, x: Any, n: Any) -> Any:
    import torch

    rnn = torch.nn.utils.rnn
    out, (h, _) = s.rec(rnn.pack_padded_sequence(x, n.cpu(), batch_first=True, enforce_sorted=False))
    out, _ = rnn.pad_packed_sequence(out, batch_first=True)
    return s.fc(out), torch.tanh(s.fc(torch.cat([h[-2], h[-1]], dim=1)))


def zero_states(s: Any, x: Any) -> Any:
    import torch

    h0 = torch.zeros(1, x.size(0), 7)
    out, _ = s.rec(x, (h0, torch.zeros_like(h0)))
    return s.fc(s.drop(out[:, -1, :]))


def with_state(s: Any, x: Any, hc: Any) -> Any:
    out, hc = s.rec(x, hc)
    return s.fc(out), hc


def functional(s: Any, x: Any) -> Any:
    import torch
    import torch.nn.functional as F

    y = F.gelu(s.fc(s.rec(x)[0]), approximate="tanh")
    y = F.leaky_relu(y, 0.2) + F.softplus(y) * F.hardsigmoid(y) - F.elu(y, 0.5)
    y = F.silu(y) + F.selu(y) + F.softsign(y) + y.sigmoid() + torch.tanh(y) + y.relu()
    return F.log_softmax(y, dim=2), F.softmax(y[:, 0], 1)


FORWARDS: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "last step": (lambda s, x: s.fc(s.rec(x)[0][:, -1]), {}, "x"),
    "first step": (lambda s, x: s.fc(s.rec(x)[0][:, 0, :]), {}, "x"),
    "zero states": (zero_states, {}, "x"),
    "final h": (lambda s, x: s.fc(s.rec(x)[1][0][-1]), {"num_layers": 2}, "x"),
    "final h of layer 0": (lambda s, x: s.fc(s.rec(x)[1][0][0]), {"num_layers": 2}, "x"),
    "final h squeezed": (lambda s, x: s.fc(s.rec(x)[1].squeeze(0)), {"kind": "GRU"}, "x"),
    "final h joined": (
        lambda s, x: s.fc(s.rec(x)[1].permute(1, 0, 2).reshape(x.size(0), -1)),
        {"kind": "GRU", "bidirectional": True, "head": 14},
        "x",
    ),
    "skip": (lambda s, x: s.fc(s.rec(x)[0]) + x[:, :, 0:3], {}, "x"),
    "skip of one": (lambda s, x: s.fc(s.rec(x)[0]) + x[..., :1], {}, "x"),
    "in place": (lambda s, x: s.fc(s.rec(x)[0]).relu_().add_(1.5), {}, "x"),
    "scaled": (lambda s, x: s.ln((s.fc(s.rec((x - 0.5) / 2)[0]) * s.scale + 1) / s.scale), {}, "x"),
    "batchnorm": (lambda s, x: s.rec(s.bn(x.transpose(1, 2)).transpose(1, 2))[0], {}, "x"),
    "joined N and T": (lambda s, x: s.fc(s.rec(x)[0].reshape(-1, 7)).view(x.size(0), x.size(1), 3), {}, "x"),
    "permuted": (lambda s, x: s.fc(s.rec(x.permute(1, 0, 2))[0][-1]), {"batch_first": False}, "x"),
    "time-major": (lambda s, x: s.fc(s.rec(x)[0][-1]), {"batch_first": False}, "x"),
    "ids": (lambda s, i: s.fc(s.rec(s.emb(i))[0]).softmax(-1), {}, "ids"),
    "ids time-major": (lambda s, i: s.rec(s.emb(i))[0], {"batch_first": False}, "ids"),
    "functional": (functional, {}, "x"),
    "chunk": (
        lambda s, x: (lambda a, b: a * b.sigmoid())(*s.rec(x)[0].chunk(2, -1)),
        {"bidirectional": True},
        "x",
    ),
    "flip": (lambda s, x: s.rec(x.flip(1))[0].flip(1), {"kind": "GRU"}, "x"),
    "lengths": (packed, {"bidirectional": True, "head": 14}, "x n"),
    "last by index": (lambda s, x, n: s.rec(x)[0][list(range(len(x))), n - 1], {}, "x n"),
    "last by gather": (
        lambda s, x, n: s.rec(x)[0].gather(1, (n - 1).view(-1, 1, 1).expand(-1, 1, 7)).squeeze(1),
        {},
        "x n",
    ),
    "encoder, decoder": (lambda s, x, y: s.fc(s.rec(y, s.rec(x)[1])[0]), {}, "x y"),
    "encoder, decoder, joined N and T": (
        lambda s, x, y: s.fc(s.rec(y, s.rec(x)[1])[0].reshape(-1, 7)).view(y.size(0), -1, 3)[
            :, y.size(1) - 1
        ],
        {},
        "x y",
    ),
    "carried state, joined N and T": (
        lambda s, x, hc: s.fc(s.rec(x, hc)[0].reshape(-1, 14)).view(x.size(0), -1, 3),
        {"num_layers": 2, "bidirectional": True, "head": 14},
        "x hc",
    ),
    "two inputs joined": (lambda s, x, y: s.rec((x + y) * x)[0], {}, "x x"),
    "output with N and T joined": (lambda s, x: s.fc(s.rec(x)[0]).view(-1, 3), {}, "x"),
    "the same, time-major": (lambda s, x: s.fc(s.rec(x)[0].reshape(-1, 7)), {"batch_first": False}, "x"),
    "output without F": (lambda s, x: (s.rec(x)[0][:, :, 0], s.rec(x)[0][:, -1, 1]), {}, "x"),
    "carried state": (with_state, {"num_layers": 2, "bidirectional": True, "head": 14}, "x hc"),
}
