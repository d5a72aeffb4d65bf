"""Steps that are dropped and added again are those there were; padding that is cut off; samples taken by the frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.onnx_models import same
from helpers.torch_programs import exported, traced
from lstm_rt_tools import from_onnx, from_torch, to_onnx

from lstm_rt import InputError, Model
from lstm_rt.format import dumps

pytestmark = pytest.mark.usefixtures("quiet")
torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Differences(nn.Module):  # type: ignore[misc, name-defined]
    """How much each feature has changed, beside the features."""

    def __init__(self, before: bool = True) -> None:
        super().__init__()
        self.rnn, self.pads = nn.LSTM(6, 4, batch_first=True), (0, 0, 1, 0) if before else (0, 0, 0, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        d = F.pad(x[:, 1:] - x[:, :-1], self.pads)
        return self.rnn(torch.cat([x, d], -1))[0]


class Deltas(nn.Module):  # type: ignore[misc, name-defined]
    """Slopes over five steps, of which those beyond the ends are the last ones again (torchaudio's ComputeDeltas)."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(6, 4, batch_first=True)
        self.register_buffer("kernel", torch.arange(-2.0, 3.0).repeat(3, 1, 1) / 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        d = F.conv1d(F.pad(x.transpose(1, 2), (2, 2), mode="replicate"), self.kernel, groups=3).transpose(1, 2)
        return self.rnn(torch.cat([x, d], -1))[0] + x.mean(-1, keepdim=True)


class Before(nn.Module):  # type: ignore[misc, name-defined]
    """What was read at the step before, a learned vector at the first."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.rnn = nn.Parameter(torch.randn(3)), nn.GRU(6, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = torch.cat([self.start.expand(x.shape[0], 1, 3), x[:, :-1]], 1)
        return self.rnn(torch.cat([x, before], -1))[0]


class Chomp(nn.Module):  # type: ignore[misc, name-defined]
    """A block of a temporal network: padding on both sides, of which what looks ahead is cut off; a residue."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(3, 3, 3, padding=4, dilation=2), nn.Conv1d(3, 3, 2, padding=1)
        self.rnn = nn.GRU(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.transpose(1, 2)
        h = F.relu(self.a(y)[:, :, :-4].contiguous())
        return self.rnn(F.relu(self.b(h)[:, :, :-1] + y).transpose(1, 2))[0]


class Crn(nn.Module):  # type: ignore[misc, name-defined]
    """A convolution over steps and frequencies and its transpose, both a step too long and joined."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(1, 2, (2, 3), (1, 2), (1, 0))
        self.rnn, self.t = nn.LSTM(8, 8, batch_first=True), nn.ConvTranspose2d(4, 1, (2, 3), (1, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = F.elu(self.c(x.unsqueeze(1))[:, :, :-1])
        n, c, t, f = a.shape
        y = self.rnn(a.permute(0, 2, 1, 3).reshape(n, t, c * f))[0].view(n, t, c, f).permute(0, 2, 1, 3)
        return self.t(torch.cat([y, a], 1))[:, :, :-1].squeeze(1)


class Frames(nn.Module):  # type: ignore[misc, name-defined]
    """Samples of sound, by frames of 16."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(x.view(x.shape[0], -1, 16))[0]


def steps(features: int) -> Callable[[int, int], Any]:
    return lambda n, t: torch.randn(n, t, features)


MODULES: dict[str, tuple[Callable[[], Any], Callable[[int, int], Any], bool]] = {  # and do they stream?
    "differences": (Differences, steps(3), False),
    "differences ahead": (lambda: Differences(False), steps(3), False),
    "deltas": (Deltas, steps(3), False),
    "before": (Before, steps(3), False),
    "chomp": (Chomp, steps(3), True),
    "crn": (Crn, steps(9), True),
    "frames": (Frames, lambda n, t: torch.randn(n, 16 * t), False),
}


@pytest.mark.parametrize("name", MODULES)
def test_traced(name: str, tmp_path: Path) -> None:
    make, inputs, streams = MODULES[name]
    module = make().eval()
    (tmp_path / "m.pt").write_bytes(traced(torch, module, [inputs(4, 9)]))
    model = Model(dumps(from_torch(tmp_path / "m.pt")))
    assert model.can_stream == streams
    for n, t in ((5, 8), (1, 13), (2, 70)):
        x = inputs(n, t)
        with torch.no_grad():
            want = module(x).numpy()
        y = model(x.numpy())
        assert y.shape == want.shape
        np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)
        if streams:
            stream = model.stream(batch=n)
            parts = [stream.step(np.ascontiguousarray(x.numpy()[:, k])) for k in range(t)]
            assert np.stack(parts, 1).tobytes() == y.tobytes()


@pytest.mark.parametrize("name", ["differences", "chomp"])
def test_exported_with_fixed_steps(name: str, tmp_path: Path) -> None:
    """That a slice ends before the last step is what the file says, not the number of that step."""
    make, inputs, _ = MODULES[name]
    module = make().eval()
    rows = torch.export.Dim("rows", min=1, max=64)
    (tmp_path / "m.pt2").write_bytes(exported(torch, module, [inputs(3, 9)], ({0: rows},)))
    model = Model(dumps(from_torch(tmp_path / "m.pt2")))
    x = inputs(2, 30)
    with torch.no_grad():
        np.testing.assert_allclose(model(x.numpy()), module(x).numpy(), rtol=1e-4, atol=1e-5)


def test_too_few_steps_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(traced(torch, Differences(), [torch.randn(4, 9, 3)]))
    model = Model(dumps(from_torch(tmp_path / "m.pt")))
    with pytest.raises(InputError, match=r"align.* takes exactly 0 steps, got 1"):
        model(np.zeros((1, 0, 3), np.float32))


def test_other_frames_are_noted(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(traced(torch, Frames(), [torch.randn(4, 144)]))
    notes = from_torch(tmp_path / "m.pt").meta["notes"]
    assert any("takes some numbers of steps alone" in note for note in notes)


def test_a_window_that_a_trace_has_fixed_fixes_the_steps(tmp_path: Path) -> None:
    """Ids do not tell by other outputs whether more of them matter."""

    class Pooled(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.table, self.rnn, self.out = nn.Embedding(20, 3), nn.GRU(3, 3, batch_first=True), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.rnn(self.table(x))[0].permute(0, 2, 1)
            return self.out(F.max_pool1d(y, y.shape[2]).squeeze(2))

    module = Pooled().eval()
    (tmp_path / "m.pt").write_bytes(traced(torch, module, [torch.randint(0, 20, (4, 9))]))
    graph = from_torch(tmp_path / "m.pt")
    assert any("with other numbers the file's own graph gives something else" in note for note in graph.meta["notes"])
    x = torch.randint(0, 20, (3, 9))
    np.testing.assert_allclose(Model(dumps(graph))(x.numpy()), module(x).detach().numpy(), rtol=1e-4, atol=1e-5)


class WordModel(nn.Module):  # type: ignore[misc, name-defined]
    """Scores of all steps of all rows below each other, as PyTorch's example of a language model gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.rnn, self.out = nn.Embedding(20, 4), nn.LSTM(4, 5), nn.Linear(5, 20)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> Any:
        y, (h, c) = self.rnn(self.table(x), (h, c))
        return F.log_softmax(self.out(y).view(-1, 20), 1), h, c


def test_rows_and_steps_in_one_axis(tmp_path: Path) -> None:
    def inputs(t: int, n: int) -> list[Any]:
        return [torch.randint(0, 20, (t, n)), torch.randn(1, n, 5), torch.randn(1, n, 5)]

    module = WordModel().eval()
    (tmp_path / "m.pt").write_bytes(traced(torch, module, inputs(9, 4)))
    graph = from_torch(tmp_path / "m.pt")
    made, model = to_onnx(graph), Model(dumps(graph))
    assert model.outputs[0].shape == ("T*N", 20)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    again = Model(dumps(from_onnx(tmp_path / "m.onnx")))
    for t, n in ((8, 5), (13, 1), (1, 3)):
        args = inputs(t, n)
        with torch.no_grad():
            want = module(*args)
        arrays = [a.numpy().astype(np.int32) if a.dtype == torch.int64 else a.numpy() for a in args]
        ours = model(*arrays)
        for y, w in zip(ours, want, strict=True):
            assert y.shape == tuple(w.shape)
            np.testing.assert_allclose(y, w.numpy(), rtol=1e-4, atol=1e-5)
        same(graph, arrays, made)  # onnxruntime
        for y, z in zip(ours, again(*arrays), strict=True):
            assert y.tobytes() == z.tobytes()
