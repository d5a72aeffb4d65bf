"""Ids of a single step, as decoders are given, and several at a step, as the characters of words are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.onnx_models import same
from helpers.torch_programs import exported, leaves, traced
from lstm_rt_tools import from_onnx, from_torch, to_onnx

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

pytestmark = pytest.mark.usefixtures("quiet")
torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
SIZES = ((5, 8), (1, 13), (2, 30))


class CharCnn(nn.Module):  # type: ignore[misc, name-defined]
    """Words of seven characters: a convolution over these, its largest features, a tagger."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.conv = nn.Embedding(30, 5), nn.Conv1d(5, 6, 3, padding=1)
        self.rnn, self.out = nn.LSTM(6, 4, batch_first=True, bidirectional=True), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        e = self.table(x.view(n * t, c)).transpose(1, 2)
        words = F.relu(self.conv(e)).max(dim=2)[0].view(n, t, -1)
        return self.out(self.rnn(words)[0])


class CellStep(nn.Module):  # type: ignore[misc, name-defined]
    """A step of a decoder: one id of each row, and the states."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.cell, self.out = nn.Embedding(20, 6), nn.LSTMCell(6, 5), nn.Linear(5, 20)

    def forward(self, token: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> Any:
        h, c = self.cell(self.table(token), (h, c))
        return self.out(h).log_softmax(-1), h, c


class AttentionStep(nn.Module):  # type: ignore[misc, name-defined]
    """A step that looks at all states of an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.query, self.key = nn.Embedding(20, 6), nn.Linear(5, 7), nn.Linear(4, 7)
        self.score = nn.Linear(7, 1)
        self.gru, self.out = nn.GRU(10, 5, batch_first=True), nn.Linear(5, 20)

    def forward(self, token: torch.Tensor, h: torch.Tensor, states: torch.Tensor) -> Any:
        s = self.score(torch.tanh(self.query(h.permute(1, 0, 2)) + self.key(states))).transpose(1, 2)
        context = torch.bmm(s.softmax(-1), states)
        y, h = self.gru(torch.cat((self.table(token).unsqueeze(1), context), 2), h)
        return self.out(y.squeeze(1)), h


class Columns(nn.Module):  # type: ignore[misc, name-defined]
    """A table for each of the columns, of which the third is read through the first's."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Embedding(12, 3), nn.Embedding(40, 2)
        self.rnn = nn.GRU(8, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        e = torch.cat([self.b(x[..., 1]), self.a(x[..., 0]), self.a(x[..., 2])], -1)
        return self.rnn(e)[0]


class Speaker(nn.Module):  # type: ignore[misc, name-defined]
    """Who speaks, beside what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.rnn = nn.Embedding(9, 3), nn.LSTM(7, 4, batch_first=True)

    def forward(self, x: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        s = self.table(speaker).unsqueeze(1).expand(-1, x.shape[1], -1)
        return self.rnn(torch.cat([x, s], -1))[0]


class Tags(nn.Module):  # type: ignore[misc, name-defined]
    """Four ids of a row, without steps, beside a sequence: a layer begins with what is made of them."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.first, self.rnn = nn.Embedding(9, 2), nn.Linear(8, 4), nn.GRU(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        return self.rnn(x, self.first(self.table(tags).flatten(1)).unsqueeze(0))[0]


def ids(most: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, most, shape)


def columns(n: int, t: int) -> torch.Tensor:
    return torch.stack([ids(12, n, t), ids(40, n, t), ids(12, n, t)], -1)


PROGRAMS = {
    "characters": (CharCnn, lambda n, t: (ids(30, n, t, 7),), [("N", "T", 7)]),
    "cell": (CellStep, lambda n, t: (ids(20, n), torch.randn(n, 5), torch.randn(n, 5)), [("N",), ("N", 5), ("N", 5)]),
    "attention": (AttentionStep, lambda n, t: (ids(20, n), torch.randn(1, n, 5), torch.randn(n, t, 4)),
                  [("N",), (1, "N", 5), ("N", "T0", 4)]),
    "columns": (Columns, lambda n, t: (columns(n, t),), [("N", "T", 3)]),
    "speaker": (Speaker, lambda n, t: (torch.randn(n, t, 4), ids(9, n)), [("N", "T", 4), ("N",)]),
    "tags": (Tags, lambda n, t: (torch.randn(n, t, 3), ids(9, n, 4)), [("N", "T", 3), ("N", 4)]),
}  # fmt: skip


def agrees(model: Model, module: Any, args: Any) -> None:
    with torch.no_grad():
        want = list(leaves(module(*args)))
    got = model(*(a.numpy() for a in args))
    for y, w in zip(got if isinstance(got, tuple) else [got], want, strict=True):
        assert y.shape == tuple(w.shape)
        np.testing.assert_allclose(y, w.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PROGRAMS)
def test_traced_and_live(name: str, tmp_path: Path) -> None:
    make, inputs, shapes = PROGRAMS[name]
    module = make().eval()
    (tmp_path / "m.pt").write_bytes(traced(torch, module, inputs(4, 9)))
    graphs = [from_torch(tmp_path / "m.pt")]
    graphs += [from_torch(module, inputs(4, 9))] if name != "cell" else []  # whose states are the caller's then
    for graph in graphs:
        model = Model(dumps(graph))
        assert [p.shape for p in model.inputs] == shapes
        for n, t in SIZES:
            agrees(model, module, inputs(n, t))


@pytest.mark.parametrize("name", ["characters", "cell"])
def test_exported(name: str, tmp_path: Path) -> None:
    make, inputs, _ = PROGRAMS[name]
    module = make().eval()
    rows = torch.export.Dim("rows", min=1, max=64)
    args = inputs(3, 9)
    free = [next((i for i, d in enumerate(a.shape) if d == 3), None) for a in args]
    dims = tuple({} if i is None else {i: rows} for i in free)
    (tmp_path / "m.pt2").write_bytes(exported(torch, module, args, dims))
    model = Model(dumps(from_torch(tmp_path / "m.pt2")))
    for n in (1, 5):
        agrees(model, module, inputs(n, 9))


@pytest.mark.parametrize("name", PROGRAMS)
def test_out_to_onnx_and_back(name: str, tmp_path: Path) -> None:
    make, inputs, _ = PROGRAMS[name]
    (tmp_path / "m.pt").write_bytes(traced(torch, make(), inputs(4, 9)))
    graph = from_torch(tmp_path / "m.pt")
    arrays = [a.numpy().astype(np.int32) if a.dtype == torch.int64 else a.numpy() for a in inputs(2, 11)]
    made = to_onnx(graph)
    same(graph, arrays, made)  # onnxruntime
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    again = Model(dumps(from_onnx(tmp_path / "m.onnx")))
    ours, theirs = Model(dumps(graph))(*arrays), again(*arrays)
    for a, b in zip(*(y if isinstance(y, tuple) else (y,) for y in (ours, theirs)), strict=True):
        assert a.tobytes() == b.tobytes()


def test_ids_that_are_computed_with_are_refused() -> None:
    class Sum(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(30, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.table(x[..., 0] + 3 * x[..., 1])

    with pytest.raises(ConvertError, match="of token ids or lengths is not supported"):
        from_torch(Sum().eval(), (ids(5, 3, 9, 2),))
