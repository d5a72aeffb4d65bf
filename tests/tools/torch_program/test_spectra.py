"""Spectra within a module: short-time transforms become convolutions, whatever way the module comes in."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.torch_programs import exported, scripted, traced
from lstm_rt_tools import from_torch

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

torch = pytest.importorskip("torch")
nn = torch.nn
N_FFT, HOP = 32, 8


class Voice(nn.Module):  # type: ignore[misc, name-defined]
    """Voice activity of samples: a spectrum, centred as torch.stft does it unless told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.n, self.hop = N_FFT, HOP
        self.register_buffer("window", torch.hann_window(N_FFT))
        self.rnn, self.out = nn.GRU(N_FFT // 2 + 1, 6, batch_first=True), nn.Linear(6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(x, self.n, self.hop, window=self.window, return_complex=True)
        y, _ = self.rnn(torch.log(spectrum.abs() + 1e-3).transpose(1, 2))
        return torch.sigmoid(self.out(y))


class Frames(Voice):
    """The same of frames that are cut by hand."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(x.unfold(-1, self.n, self.hop) * self.window)
        y, _ = self.rnn(torch.log1p(spectrum.real**2 + spectrum.imag**2))
        return torch.sigmoid(self.out(y))


class Mel(Voice):
    """Bands of the power of a spectrum, in decibels; the window is shorter than the transform."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hamming_window(20))
        self.register_buffer("bands", torch.rand(5, N_FFT // 2 + 1))
        self.rnn, self.out = nn.GRU(5, 6, batch_first=True), nn.Linear(6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(x, self.n, self.hop, 20, self.window, True, "constant", return_complex=True)
        mel = torch.matmul(self.bands, spectrum.abs().pow(2.0)).transpose(1, 2)
        y, _ = self.rnn(10.0 * torch.log10(torch.clamp(mel, min=1e-4)))
        return torch.sigmoid(self.out(y))


class Denoise(Voice):
    """Masks a spectrum, and gives samples again."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, N_FFT // 2 + 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(x, self.n, self.hop, window=self.window, return_complex=True)
        y, _ = self.rnn(torch.log1p(spectrum.abs()).transpose(1, 2))
        mask = torch.sigmoid(self.out(y)).transpose(1, 2)
        return torch.istft(spectrum * mask, self.n, self.hop, window=self.window)


def samples(rows: int, count: int) -> Any:
    return torch.randn(rows, count)


def convert(module: Any, kind: str, folder: Path) -> Any:
    example = samples(3, 150)
    if kind == "live":
        return from_torch(module, example)
    dims = ({0: torch.export.Dim("n"), 1: torch.export.Dim.AUTO},)
    make = {
        "scripted": lambda: scripted(torch, module),
        "traced": lambda: traced(torch, module, (example,)),
        "exported": lambda: exported(torch, module, (example,), dims),
        "core": lambda: exported(torch, module, (example,), dims, decompose=True),
    }
    path = folder / ("m.pt" if kind in ("scripted", "traced") else "m.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path.write_bytes(make[kind]())
    return from_torch(path)


WAYS = [
    *((cls, kind) for cls in (Voice, Frames, Mel, Denoise) for kind in ("scripted", "traced", "live")),
    (Voice, "core"),  # an export takes long
    (Frames, "exported"),
    (Denoise, "exported"),
]


@pytest.mark.parametrize(("cls", "kind"), WAYS, ids=lambda p: getattr(p, "__name__", p))
def test_spectra(cls: Any, kind: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    module = cls().eval()
    graph = convert(module, kind, tmp_path)
    assert graph.nodes[0].op in ("conv", "pad")
    model = Model(dumps(graph))
    for rows, count in ((5, 150), (1, 33), (2, 400)):
        x = samples(rows, count)
        with torch.no_grad():
            want = module(x).numpy()
        np.testing.assert_allclose(model(x.numpy()), want, rtol=1e-4, atol=1e-5)


def test_frames_and_their_transform_are_one_convolution(tmp_path: Path) -> None:
    graph = convert(Frames().eval(), "traced", tmp_path)
    assert graph.nodes[0].weights["weight"].shape == (N_FFT + 2, 1, N_FFT, 1, 1)
    assert "1 products put into the windows of steps before" in graph.meta["folded"]


class Phase(Voice):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stft(x, self.n, self.hop, window=self.window, return_complex=True).angle()


class Complex(Voice):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stft(x, self.n, self.hop, window=self.window, return_complex=True)


class InPlace(Voice):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(x, self.n, self.hop, window=self.window, return_complex=True)
        spectrum *= 2.0
        return spectrum.abs()


class PartInPlace(Voice):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(x, self.n, self.hop, window=self.window, return_complex=True)
        torch.view_as_real(spectrum).zero_()
        return spectrum.abs()


REFUSED = {
    Phase: "the phase of complex numbers has no operation in a graph",
    Complex: "output: it is complex; give its parts",
    InPlace: "complex numbers are written to in place",
    PartInPlace: "the parts of complex numbers are written to",
}


@pytest.mark.parametrize("cls", REFUSED, ids=lambda c: c.__name__)
def test_refused(cls: Any, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=REFUSED[cls]):
        convert(cls().eval(), "traced", tmp_path)
