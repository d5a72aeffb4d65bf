"""Scripted modules whose code alone tells the sizes of images and windows; steps taken by twos; masks as inputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import fails
from helpers.torch_programs import exported, scripted, traced
from lstm_rt_tools import from_torch
from lstm_rt_tools.cli.parser import main

from lstm_rt import Model, load
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
AUTO = torch.export.Dim.AUTO


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


class Video(nn.Module):  # type: ignore[misc, name-defined]
    """Images of each step, whose sides only the size of the features tells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rnn = nn.Conv2d(2, 4, 3, padding=1), nn.LSTM(100, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c, h, w = x.shape
        y = F.max_pool2d(F.relu(self.conv(x.view(n * t, c, h, w))), 2)
        return self.rnn(y.view(n, t, -1))[0]


class Wake(nn.Module):  # type: ignore[misc, name-defined]
    """A window as high as the image, whose single row is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rnn = nn.Conv2d(1, 4, (16, 5), stride=(1, 2)), nn.GRU(4, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(F.relu(self.conv(x)).squeeze(2).transpose(1, 2))[0]


class Series(nn.Module):  # type: ignore[misc, name-defined]
    """A sequence of single numbers, without batch and features."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(1, 5), nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.rnn(x.view(len(x), 1, -1))
        return self.out(y.view(len(x), -1))[-1]


SCRIPTED = {
    "video": (Video, lambda n, t: torch.randn(n, t, 2, 10, 10)),
    "wake": (Wake, lambda n, t: torch.randn(n, 1, 16, 4 * t)),
    "series": (Series, lambda n, t: torch.randn(n * t)),
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


class Longest(nn.Module):  # type: ignore[misc, name-defined]
    """Makes its mask as long as the longest row."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        y, _ = self.rnn(x)
        most = int(lengths.max().item())
        mask = torch.arange(most).unsqueeze(0) < lengths.unsqueeze(1)
        return (y[:, :most] * mask.unsqueeze(2)).sum(1)


def test_a_scripted_mask_is_of_booleans(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Masked().eval()
    (tmp_path / "m.pt").write_bytes(scripted(torch, module))
    agrees(module, tmp_path, TRACED["mask"][1])


@pytest.mark.parametrize("kind", ["scripted", "live"])
def test_the_longest_row_decides(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Longest().eval()
    x, lengths = torch.randn(3, 9, 3), torch.tensor([4, 9, 2])
    (tmp_path / "m.pt").write_bytes(scripted(torch, module))
    graph = from_torch(tmp_path / "m.pt") if kind == "scripted" else from_torch(module, (x, lengths))
    assert any("asks for the longest row in 'lengths'" in n for n in graph.meta["notes"])
    with torch.no_grad():
        want = module(x, lengths).numpy()
    np.testing.assert_allclose(Model(dumps(graph))(x.numpy(), lengths=lengths.int().numpy()), want, atol=1e-5)


def agrees(module: Any, folder: Path, inputs: Callable[[int, int], tuple[Any, ...]]) -> None:
    model = Model(dumps(from_torch(folder / "m.pt")))
    for n, t in ((5, 8), (1, 13), (2, 30)):
        args = inputs(n, t)
        with torch.no_grad():
            want = module(*args).numpy()
        np.testing.assert_allclose(model(*(a.float().numpy() for a in args)), want, rtol=1e-4, atol=1e-5)


def test_square_images_are_told_and_others_are_set(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Video().eval()
    (tmp_path / "m.pt").write_bytes(scripted(torch, module))
    note = "the images of x are taken to be square, 10 x 10; --set x.3=... says otherwise"
    assert note in from_torch(tmp_path / "m.pt").meta["notes"]
    graph = from_torch(tmp_path / "m.pt", settings={"x.3": 2})
    assert note not in graph.meta.get("notes", [])
    assert graph.meta["settings"] == {"x.3": 2}
    x = torch.randn(2, 6, 2, 2, 50)
    with torch.no_grad():
        np.testing.assert_allclose(Model(dumps(graph))(x.numpy()), module(x).numpy(), rtol=1e-4, atol=1e-5)


class Everywhere(nn.Module):  # type: ignore[misc, name-defined]
    """Takes images of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c, h, w = x.shape
        return torch.tanh(self.conv(x.view(n * t, c, h, w))).view(n, t, -1)


def test_sizes_that_nothing_tells_are_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, path = Everywhere().eval(), tmp_path / "m.pt"
    path.write_bytes(scripted(torch, module))
    assert "x has 4 sizes that are free" in fails(capsys, "convert", path, "-o", tmp_path / "m.lrt")
    sizes = ("--set", "x.3=4", "--set", "x.4=6")
    assert main(["convert", str(path), "-o", str(tmp_path / "m.lrt"), *sizes]) == 0
    x = torch.randn(3, 5, 2, 4, 6)
    with torch.no_grad():
        np.testing.assert_allclose(load(tmp_path / "m.lrt")(x.numpy()), module(x).numpy(), atol=1e-5)
    assert main(["verify", str(tmp_path / "m.lrt"), "--against", str(path)]) == 0


def test_sizes_of_an_exported_program(tmp_path: Path) -> None:
    module, path = Everywhere().eval(), tmp_path / "m.pt2"
    path.write_bytes(exported(torch, module, (torch.randn(2, 5, 2, 7, 6),), (dict.fromkeys(range(5), AUTO),)))
    with pytest.raises(ConvertError, match=r"x has 4 sizes that are free.* by --set x\.3=\.\.\. --set x\.4="):
        from_torch(path)
    with pytest.raises(ConvertError, match="'x' has 5 dimensions, none 6"):
        from_torch(path, settings={"x.6": 2})
    with pytest.raises(ConvertError, match="dimension 2 of the input 'x' is 2, not 3"):
        from_torch(path, settings={"x.2": 3})
    with pytest.raises(ConvertError, match="rate is no size of an input"):
        from_torch(path, settings={"rate": 3})
    graph = from_torch(path, settings={"x.3": 4, "x.4": 6})
    x = torch.randn(3, 8, 2, 4, 6)
    with torch.no_grad():
        np.testing.assert_allclose(Model(dumps(graph))(x.numpy()), module(x).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"x.0": 0}, "a size is 1 or more"),
        ({"x.7": 3}, "no input has as many dimensions"),
        ({"y.1": 3}, r"forward takes no whole number y\.1 that could be set; .* is x\.2"),
    ],
)
def test_sizes_that_cannot_be(settings: dict[str, int], why: str, tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(scripted(torch, Wake().eval()))
    with pytest.raises(ConvertError, match=why):
        from_torch(tmp_path / "m.pt", settings=settings)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"x.5": 3}, "x has 3 dimensions, none 5"),
        ({"x.2": 4}, "4 features of the input, expected 3"),
        ({"rate": 1}, "rate"),
    ],
)
def test_sizes_that_a_traced_module_does_not_have(settings: dict[str, int], why: str, tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(traced(torch, Pyramid().eval(), (torch.randn(3, 8, 3),)))
    with pytest.raises(ConvertError, match=why):
        from_torch(tmp_path / "m.pt", settings=settings)


class Normed(nn.Module):  # type: ignore[misc, name-defined]
    """A cell with normalisations within, which no layer has; ``last``: of the last step alone."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.cell, self.norm, self.last = nn.GRUCell(3, 4), nn.LayerNorm(4), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.size(0), 4)
        found = []
        for i in range(x.size(1)):
            h = self.norm(self.cell(x[:, i], h))
            found.append(h)
        return h if self.last else torch.stack(found, 1)


@pytest.mark.parametrize("last", [False, True])
def test_steps_that_no_layer_has_are_written_out_for_a_number_of_them(last: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Normed(last).eval()
    (tmp_path / "m.pt").write_bytes(scripted(torch, module))
    with pytest.raises(ConvertError, match=r"no recurrent cell of a known kind.* number \(--set x\.1=\.\.\.\)"):
        from_torch(tmp_path / "m.pt")
    model = Model(dumps(from_torch(tmp_path / "m.pt", settings={"x.1": 6})))
    x = torch.randn(5, 6, 3)
    with torch.no_grad():
        np.testing.assert_allclose(model(x.numpy()), module(x).numpy(), rtol=1e-4, atol=1e-5)


class Sine(nn.Module):  # type: ignore[misc, name-defined]
    """Reads one feature, of however many."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(1, 5), nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, c = torch.zeros(x.size(0), 5), torch.zeros(x.size(0), 5)
        outs = []
        for step in x[:, :, 0].split(1, dim=1):
            h, c = self.cell(step, (h, c))
            outs.append(self.out(h))
        return torch.cat(outs, dim=1)


class Rows(nn.Module):  # type: ignore[misc, name-defined]
    """A convolution over a window of a fixed size, which a shape alone tells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rnn = nn.Conv2d(1, 5, (3, 4)), nn.GRU(5, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.conv(x.view(-1, 1, 12, 4))).squeeze(3)
        return self.rnn(y.permute(2, 0, 1))[1][0]


@pytest.mark.parametrize(
    ("make", "shape", "settings", "note"),
    [
        (Sine, (3, 9, 1), {}, "x.2 is taken to be 1, as no more is read"),
        (Sine, (3, 9, 4), {"x.2": 4}, ""),
        (Rows, (3, 12, 4), {}, "the file is made for 12 steps"),
    ],
)
def test_sizes_that_the_code_tells(
    make: Any, shape: tuple[int, ...], settings: dict[str, int], note: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    module = make().eval()
    (tmp_path / "m.pt").write_bytes(scripted(torch, module))
    graph = from_torch(tmp_path / "m.pt", settings=settings)
    notes = graph.meta.get("notes", [])
    assert any(note in n for n in notes) if note else not notes
    x = torch.randn(*shape)
    with torch.no_grad():
        np.testing.assert_allclose(Model(dumps(graph))(x.numpy()), module(x).numpy(), rtol=1e-4, atol=1e-5)
