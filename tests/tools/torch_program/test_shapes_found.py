"""Scripted modules whose code alone tells the sizes of images and windows; steps taken by twos; masks as inputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.torch_programs import scripted, traced
from lstm_rt_tools import from_torch

from lstm_rt import Model
from lstm_rt.format import dumps

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Crnn(nn.Module):  # type: ignore[misc, name-defined]
    """Reads a line of text: images of 16 rows of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(4, 4, (8, 2), 1, 0))
        self.rnn, self.out = nn.LSTM(4, 5, bidirectional=True), nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.cnn(x)
        h = y.size(2)
        assert h == 1
        y, _ = self.rnn(y.squeeze(2).permute(2, 0, 1))
        return self.out(y)


class Windows(nn.Module):  # type: ignore[misc, name-defined]
    """Three convolutions over time, each five steps wide."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 2, (5, 1)), nn.Conv2d(2, 2, (5, 1)), nn.Conv2d(2, 2, (5, 1))
        self.rnn = nn.LSTM(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.c(F.relu(self.b(F.relu(self.a(x.unsqueeze(1)))))))
        y = y.permute(2, 0, 3, 1)
        y, _ = self.rnn(y.reshape(y.shape[0], y.shape[1], -1))
        return y[-1]


class Mask(nn.Module):  # type: ignore[misc, name-defined]
    """Complex masks of spectra: (N, F, T, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, f, t, _ = x.shape
        y, _ = self.rnn(x.permute(0, 2, 1, 3).reshape(b, t, f * 2))
        m = torch.tanh(self.out(y)).view(b, t, f, 2).permute(0, 2, 1, 3)
        return x * m


SCRIPTED = {
    "crnn": (Crnn, lambda n, t: torch.randn(n, 1, 16, 2 * t)),
    "windows": (Windows, lambda n, t: torch.randn(n, t + 12, 6)),
    "spectra": (Mask, lambda n, t: torch.randn(n, 4, t, 2)),
}


@pytest.mark.parametrize("name", SCRIPTED)
def test_scripted(name: str, tmp_path: Path) -> None:
    make, inputs = SCRIPTED[name]
    torch.manual_seed(1)
    module = make().eval()
    (tmp_path / "m.pt").write_bytes(scripted(torch, module))
    agrees(module, tmp_path, lambda n, t: (inputs(n, t),))


class Pyramid(nn.Module):  # type: ignore[misc, name-defined]
    """Two steps become one; a step that is left over is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.LSTM(3, 4, batch_first=True), nn.GRU(8, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.a(x)
        n, t, f = y.shape
        return self.b(y[:, : t // 2 * 2].reshape(n, t // 2, f * 2))[0]


class Masked(nn.Module):  # type: ignore[misc, name-defined]
    """The mask is an input, of booleans; a row may have none."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.score = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y, _ = self.rnn(x)
        weights = self.score(y).squeeze(-1).masked_fill(~mask, -1e9).softmax(-1)
        return (weights.unsqueeze(-1) * y).sum(1)


class Window(nn.Module):  # type: ignore[misc, name-defined]
    """An autoencoder that gives 12 steps, whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.LSTM(3, 4, batch_first=True), nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x)[1][0].reshape((-1, 4))
        return self.b(h.repeat(1, 12).reshape((-1, 12, 4)))[0]


TRACED = {
    "pyramid": (Pyramid, lambda n, t: (torch.randn(n, t, 3),)),
    "mask": (Masked, lambda n, t: (torch.randn(n, t, 3), torch.rand(n, t) < 0.4)),
    "window": (Window, lambda n, t: (torch.randn(n, t, 3),)),
}


@pytest.mark.parametrize("name", TRACED)
def test_traced(name: str, tmp_path: Path) -> None:
    make, inputs = TRACED[name]
    torch.manual_seed(1)
    module = make().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (tmp_path / "m.pt").write_bytes(traced(torch, module, inputs(3, 9)))
    agrees(module, tmp_path, inputs)


def agrees(module: Any, folder: Path, inputs: Callable[[int, int], tuple[Any, ...]]) -> None:
    model = Model(dumps(from_torch(folder / "m.pt")))
    for n, t in ((5, 8), (1, 13), (2, 30)):
        args = inputs(n, t)
        with torch.no_grad():
            want = module(*args).numpy()
        np.testing.assert_allclose(model(*(a.float().numpy() for a in args)), want, rtol=1e-4, atol=1e-5)
