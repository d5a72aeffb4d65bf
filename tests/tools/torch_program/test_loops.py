"""Loops of cells over single steps: what is one layer of any number of steps, and what is written out."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.torch_programs import scripted, traced
from lstm_rt_tools import from_torch

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

pytestmark = pytest.mark.usefixtures("quiet")
torch = pytest.importorskip("torch")
nn = torch.nn


class Coupled(nn.Module):  # type: ignore[misc, name-defined]
    """An LSTM with one gate for what is forgotten and what comes in, and what it reads added to its output."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.h = nn.Linear(4, 12), nn.Linear(4, 12, bias=False)

    def cell(self, f: torch.Tensor, g: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(f) * c + (1 - torch.sigmoid(f)) * torch.tanh(g)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, c, out = torch.zeros(x.shape[0], 4), torch.zeros(x.shape[0], 4), []
        for t in range(x.shape[1]):
            f, g, o = (self.x(x[:, t]) + self.h(h)).split(4, 1)
            c = self.cell(f, g, c)
            h = torch.sigmoid(o) * torch.tanh(c)
            out.append(h + x[:, t])
        return torch.stack(out, 1)


class InputGate(Coupled):
    def cell(self, f: torch.Tensor, g: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        i = torch.sigmoid(f)
        return (1 - i) * c + i * torch.tanh(g)


class Towards(Coupled):
    """The state is moved towards what comes in, which is no activation."""

    def cell(self, f: torch.Tensor, g: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return g + torch.sigmoid(f) * (c - g)


@pytest.mark.parametrize("form", ["traced", "scripted"])
@pytest.mark.parametrize("make", [Coupled, InputGate, Towards])
def test_one_gate_for_two(make: Callable[[], Any], form: str, tmp_path: Path) -> None:
    """A trace of six steps is a layer, too, and says that it was one of six."""
    module = make().eval()
    data = scripted(torch, module) if form == "scripted" else traced(torch, module, [torch.randn(3, 6, 4)])
    (tmp_path / "m.pt").write_bytes(data)
    graph = from_torch(tmp_path / "m.pt")
    assert [n.op for n in graph.nodes] == ["lstm", "add"]
    noted = any("is made for 6 steps; the converted model takes any number" in n for n in graph.meta.get("notes", ()))
    assert noted == (form == "traced")
    model = Model(dumps(graph))
    for n, t in ((1, 6), (5, 13)):
        x = torch.randn(n, t, 4)
        with torch.no_grad():
            np.testing.assert_allclose(model(x.numpy()), module(x).numpy(), rtol=1e-4, atol=1e-5)


class Episodes(nn.Module):  # type: ignore[misc, name-defined]
    """A policy whose state begins anew where an episode is done."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.rnn, self.out = nn.Linear(6, 8), nn.LSTM(8, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor, done: torch.Tensor) -> Any:
        x, out = torch.tanh(self.net(x)), []
        for t in range(x.shape[0]):
            go_on = (1.0 - done[t]).view(1, -1, 1)
            y, (h, c) = self.rnn(x[t : t + 1], (go_on * h, go_on * c))
            out.append(y)
        return self.out(torch.cat(out, 0)), h, c


def test_layers_over_single_steps_one_after_the_other(tmp_path: Path) -> None:
    """Written out, of the four steps that were traced."""

    def inputs(n: int) -> list[Any]:
        done = (torch.rand(4, n) > 0.5).float()
        return [torch.randn(4, n, 6), torch.randn(1, n, 5), torch.randn(1, n, 5), done]

    module = Episodes().eval()
    (tmp_path / "m.pt").write_bytes(traced(torch, module, inputs(2)))
    model = Model(dumps(from_torch(tmp_path / "m.pt")))
    given = inputs(7)
    with torch.no_grad():
        want = module(*given)
    got = model(*(g.numpy() for g in given))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-4, atol=1e-5)


class Decaying(nn.Module):  # type: ignore[misc, name-defined]
    """A cell that none of a graph's is: its state is normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.h, self.norm = nn.Linear(4, 5), nn.Linear(5, 5), nn.LayerNorm(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 5)
        for t in range(x.shape[1]):  # here
            h = self.norm(torch.tanh(self.x(x[:, t]) + self.h(h)))
        return h


class Around(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.first, self.rnn = nn.GRU(4, 4, batch_first=True), Decaying()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(self.first(x)[0])


def _refusal(path: Path) -> str:
    with pytest.raises(ConvertError) as e:
        from_torch(path)
    return str(e.value)


def test_a_custom_cell_is_named_with_its_place(tmp_path: Path) -> None:
    """By the line of the user's own source; without that, or where it is damaged, by the line in the archive."""
    line = 1 + next(k for k, text in enumerate(Path(__file__).read_text().splitlines()) if text.endswith("# here"))
    data = scripted(torch, Around().eval())
    (tmp_path / "m.pt").write_bytes(data)
    why = _refusal(tmp_path / "m.pt")
    assert f"Decaying (test_loops.py, line {line}) has a custom cell" in why
    assert "set the number (--set x.1=...), or trace it" in why
    many = ("FORMAT_WITH_STRING_TABLE", ["x" * 1000, "a.py"], [(0, ([[0] * 2000, 1, 1], 5, 6), 0)])
    for spoilt in (None, b"", pickle.dumps(many, protocol=2), b"\x80\x02N.", b"\x80\x02(U\x03abc]]t."):
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(tmp_path / "n.pt", "w") as new:
            for name in old.namelist():
                if not name.endswith(".debug_pkl"):
                    new.writestr(name, old.read(name))
                elif spoilt is not None:
                    new.writestr(name, spoilt)
        assert re.search(r"Decaying \(code/\S+\.py in the archive, line \d+\) has a", _refusal(tmp_path / "n.pt"))
