"""Modules that compute with the number of steps, count from the end, or read what they have said, beside torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.torch_programs import scripted, traced
from lstm_rt_tools import from_torch

from lstm_rt import Model
from lstm_rt.format import dumps

pytestmark = pytest.mark.usefixtures("quiet")
torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Recurrent(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)


class Statistics(Recurrent):
    """Pooling of speaker models: PyTorch's deviation is over one step less."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.rnn((x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-5))
        return torch.cat([y.mean(1), y.std(1), y.sum(1) / x.size(1)], 1)


class LastButOne(Recurrent):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.rnn(x)
        return y[:, -2] + y[:, 0]


class Voicing(Recurrent):
    """A decision, and a written-out activation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.rnn(x)
        y = torch.where(y > 0, y, 0.1 * (torch.exp(y) - 1))
        return torch.cat([y, (y.max(-1, keepdim=True)[0] > 0.2).float()], -1)


class Greedy(nn.Module):  # type: ignore[misc, name-defined]
    """Four letters, each of which is read before the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.cell, self.letters = nn.GRU(3, 4, batch_first=True), nn.GRUCell(5, 4), nn.Embedding(7, 5)
        self.out = nn.Linear(4, 7)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.rnn(x)[1][0]
        letter = torch.zeros(x.size(0), dtype=torch.long)
        said = []
        for _ in range(4):
            h = self.cell(self.letters(letter), h)
            scores = self.out(h)
            letter = scores.argmax(-1)
            said.append(scores)
        return torch.stack(said, 1), letter


MODULES: dict[str, Callable[[], Any]] = {
    "statistics": Statistics, "last but one": LastButOne, "voicing": Voicing, "greedy": Greedy,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["traced", "scripted"])
@pytest.mark.parametrize("name", MODULES)
def test_the_converted_model_gives_the_same(name: str, kind: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    module, x = MODULES[name]().eval(), torch.randn(2, 9, 3)
    path, data = tmp_path / "m.pt", traced(torch, module, (x,)) if kind == "traced" else scripted(torch, module)
    path.write_bytes(data)
    model = Model(dumps(from_torch(path)))
    for n, t in ((5, 12), (2, 30)):
        x = torch.randn(n, t, 3)
        with torch.no_grad():
            want = module(x)
        got = model(x.numpy())
        for a, b in zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]:
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-4, atol=1e-5)
