"""Traced modules of kinds that are met: they convert, and give what torch gives at other sizes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.torch_programs import traced
from lstm_rt_tools import from_torch

from lstm_rt import Model
from lstm_rt.errors import ConvertError, InputError
from lstm_rt.format import dumps

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


def converted(module: Any, example: Sequence[Any], path: Path) -> Any:
    """The graph of a module that was traced with an example."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path.write_bytes(traced(torch, module, tuple(example)))
    return from_torch(path)


def agrees(module: Any, graph: Any, inputs: Sequence[Any]) -> None:
    with torch.no_grad():
        want = module(*inputs)
    got = Model(dumps(graph))(*(x.numpy() for x in inputs))
    both = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for ours, theirs in both:
        assert ours.shape == tuple(theirs.shape)
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-5)


class VoiceActivity(nn.Module):  # type: ignore[misc, name-defined]
    """As Silero's: the magnitudes of frames, convolutions, and a cell on the last step; it gives its states stacked."""

    def __init__(self) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(18, 1, 16))
        self.conv, self.cell = nn.Conv1d(9, 6, 3, stride=2, padding=1), nn.LSTMCell(6, 5)
        self.out = nn.Conv1d(5, 1, 1)

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = F.conv1d(F.pad(x, [0, 8], mode="reflect").unsqueeze(1), self.basis, stride=8)
        y = F.relu(self.conv(torch.sqrt(y[:, :9] ** 2 + y[:, 9:] ** 2)))
        h, c = self.cell(y[:, :, -1], (state[0], state[1]))
        return torch.sigmoid(self.out(F.relu(h).unsqueeze(-1))).mean(2), torch.stack([h, c])


def test_a_cell_on_the_last_step_whose_states_are_stacked(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = VoiceActivity().eval()
    graph = converted(module, (torch.randn(2, 48), torch.randn(2, 2, 5)), tmp_path / "m.pt")
    for rows, steps in ((1, 48), (4, 64), (3, 100)):
        agrees(module, graph, (torch.randn(rows, steps), torch.randn(2, rows, 5)))


class Positions(nn.Module):  # type: ignore[misc, name-defined]
    """Adds, or joins, a stored table of positions of 90 steps at most; time first."""

    def __init__(self, table: torch.Tensor, joined: bool) -> None:
        super().__init__()
        self.register_buffer("table", table)
        size = table.shape[-1]
        self.joined, self.rnn = joined, nn.GRU(2 * size if joined else size, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table = self.table[: x.size(0)].unsqueeze(1)
        x = torch.cat([x, table.expand_as(x)], -1) if self.joined else x * 2 + table
        return self.rnn(x)[0]


def table_of_sines(layout: str, size: int = 10) -> torch.Tensor:
    steps = torch.arange(90).unsqueeze(1) + (layout == "from one on")
    last = size // 2 - 1 if layout == "halves" else size // 2
    angles = steps * torch.exp(torch.arange(size // 2) * (-np.log(10000.0) / last))
    if layout == "halves":
        return torch.cat([angles.sin(), angles.cos()], 1)
    table = torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
    return table * 0.3 if layout == "scaled" else table


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("layout", ["side by side", "halves", "from one on", "scaled"])
def test_a_table_of_sines(layout: str, joined: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Positions(table_of_sines(layout), joined).eval()
    graph = converted(module, (torch.randn(12, 2, 10),), tmp_path / "m.pt")
    for steps, rows in ((1, 2), (90, 3)):
        agrees(module, graph, (torch.randn(steps, rows, 10),))


def test_a_learned_table_of_positions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Positions(torch.randn(90, 10), False).eval()
    example = (torch.randn(12, 2, 10),)
    graph = converted(module, example, tmp_path / "m.pt")
    assert "the model takes at most 90 steps, as many as its table of positions has" in graph.meta["notes"]
    for steps, rows in ((1, 2), (7, 3), (90, 1)):
        agrees(module, graph, (torch.randn(steps, rows, 10),))
    with pytest.raises(InputError, match=r"cut\) takes at least 91 steps, got 90"):
        Model(dumps(graph))(np.zeros((91, 2, 10), np.float32))


class Embedded(nn.Module):  # type: ignore[misc, name-defined]
    """Positions that are looked up, from some row of their table on."""

    def __init__(self, start: int, joined: bool) -> None:
        super().__init__()
        self.start, self.joined, self.table = start, joined, nn.Embedding(120, 4)
        self.rnn = nn.GRU(8 if joined else 4, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        at = torch.arange(self.start, self.start + x.size(1)).unsqueeze(0)
        y = self.table(at)
        y = torch.cat([x, y.expand(x.size(0), -1, -1)], -1) if self.joined else x + y
        out: torch.Tensor = self.rnn(y)[0]
        return out


@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("joined", [False, True])
def test_positions_that_are_looked_up(start: int, joined: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Embedded(start, joined).eval()
    graph = converted(module, (torch.randn(2, 9, 4),), tmp_path / "m.pt")
    for rows, steps in ((1, 1), (3, 50), (2, 120 - start)):
        agrees(module, graph, (torch.randn(rows, steps, 4),))
    with pytest.raises(InputError, match=rf"takes at least {121 - start} steps, got {120 - start}"):
        Model(dumps(graph))(np.zeros((1, 121 - start, 4), np.float32))


class Positioned(nn.Module):  # type: ignore[misc, name-defined]
    """As SegRNN: a decoder whose input is learned positions, of each channel, and whose state comes from an encoder."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.rnn, self.out = channels, nn.GRU(8, 8, batch_first=True), nn.Linear(8, 3)
        self.positions, self.kinds = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.randn(channels, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, n = x.size(0), self.channels
        _, h = self.rnn(x.permute(0, 2, 1).reshape(-1, 3, 8))
        read = torch.cat([self.positions.repeat(n, 1, 1), self.kinds.unsqueeze(1).repeat(1, 2, 1)], -1)
        _, h = self.rnn(read.view(-1, 1, 8).repeat(rows, 1, 1), h.repeat(1, 1, 2).view(1, -1, 8))
        return self.out(h).view(-1, n, 6).permute(0, 2, 1)


class Started(nn.Module):  # type: ignore[misc, name-defined]
    """An autoencoder whose decoder reads zeros, or a learned vector: as many steps as there are, or four."""

    def __init__(self, learned: bool, steps: int | None) -> None:
        super().__init__()
        self.enc, self.dec = nn.LSTM(3, 6, batch_first=True), nn.LSTM(3, 6, batch_first=True)
        self.start, self.steps = nn.Parameter(torch.randn(3) if learned else torch.zeros(3)), steps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, state = self.enc(x)
        read = self.start.expand(x.size(0), x.size(1) if self.steps is None else self.steps, 3)
        return self.dec(read, state)[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_layer_that_reads_learned_positions(channels: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Positioned(channels).eval()
    graph = converted(module, (torch.randn(2, 24, channels),), tmp_path / "m.pt")
    for rows in (1, 5):
        agrees(module, graph, (torch.randn(rows, 24, channels),))


@pytest.mark.parametrize("steps", [None, 1, 4])
@pytest.mark.parametrize("learned", [False, True])
def test_a_decoder_that_reads_a_constant(learned: bool, steps: int | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Started(learned, steps).eval()
    graph = converted(module, (torch.randn(2, 7, 3),), tmp_path / "m.pt")
    for sizes in ((1, 9, 3), (4, 30, 3)):
        agrees(module, graph, (torch.randn(sizes),))


class Skips(nn.Module):  # type: ignore[misc, name-defined]
    """As Demucs: convolutions with strides and transposed ones, between them skips that are cut to what is left."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.ModuleList([nn.Conv1d(1, 4, 8, 4), nn.Conv1d(4, 6, 4, 2)])
        self.dec = nn.ModuleList([nn.ConvTranspose1d(6, 4, 4, 2), nn.ConvTranspose1d(4, 1, 8, 4)])
        self.rnn = nn.LSTM(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for layer in self.enc:
            x = F.relu(layer(x))
            skips.append(x)
        x = self.rnn(x.permute(2, 0, 1))[0].permute(1, 2, 0)
        for layer in self.dec:
            skip = skips.pop(-1)
            x = layer(x + skip[..., : x.shape[-1]])
        return x


@pytest.mark.parametrize("steps", [72, 76])
def test_skips_that_are_cut(steps: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Skips().eval()
    graph = converted(module, (torch.randn(2, 1, steps),), tmp_path / "m.pt")
    for count in (40, 72, 75, 76, 80, 137):
        agrees(module, graph, (torch.randn(3, 1, count),))


class Part(nn.Module):  # type: ignore[misc, name-defined]
    """What a layer gives at some of its steps."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.part, self.rnn = part, nn.GRU(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.part(self.rnn(x)[0], x)
        return y


PARTS: dict[str, Any] = {
    "later half": lambda y, x: y[:, x.size(1) // 2 :].mean(1),
    "later half, rounded down": lambda y, x: y[:, (x.size(1) + 1) // 2 :],
    "earlier half": lambda y, x: y[:, : x.size(1) // 2],
    "earlier half, rounded up": lambda y, x: y[:, : -(-x.size(1) // 2)],
    "both halves": lambda y, x: torch.cat([h.amax(1) for h in y.chunk(2, 1)], 1),
    "eleven, which may be half": lambda y, x: y[:, :11],
    "from the twelfth on": lambda y, x: F.pad(y, (0, 0, 0, 12))[:, 12:],
    "every other one twice": lambda y, x: torch.repeat_interleave(y[:, ::2], 2, dim=1)[:, : x.shape[1]] + x[..., :1],
    "every third one stretched": lambda y, x: F.interpolate(y[:, ::3].mT, scale_factor=3.0)[..., : x.shape[1]].mT,
    "as long as another, between": lambda y, x: F.interpolate(y.mT, scale_factor=2, mode="linear").mT,
    "as few as half, between": lambda y, x: F.interpolate(y.mT, scale_factor=0.5, mode="linear").mT,
    "as few as half": lambda y, x: F.interpolate(y.mT, scale_factor=0.5).mT,
    "turned around": lambda y, x: torch.roll(y, 1, dims=1) + x[..., :1],
    "turned around by more": lambda y, x: torch.roll(y, (3, 1), dims=(1, 2)) + x[..., :1],
    "turned around backwards": lambda y, x: torch.roll(y, -2, dims=1),
    "some in front": lambda y, x: torch.cat([y[:, -2:], x[..., :1] + y, y[:, :3]], 1),
}


@pytest.mark.parametrize("part", PARTS)
def test_some_of_the_steps(part: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Part(PARTS[part]).eval()
    graph = converted(module, (torch.randn(2, 8, 3),), tmp_path / "m.pt")
    for rows, steps in ((1, 3), (5, 4), (2, 17), (3, 18), (1, 40), (2, 61)):
        agrees(module, graph, (torch.randn(rows, steps, 3),))


def test_half_of_the_steps_is_named(tmp_path: Path) -> None:
    module = Part(lambda y, x: y[:, x.size(1) // 2 :: 2].mean(1)).eval()
    with pytest.raises(ConvertError, match=r"does not follow \(perhaps slice: it takes steps from, .*half of them"):
        converted(module, (torch.randn(2, 8, 3),), tmp_path / "m.pt")


class Cleaned(nn.Module):  # type: ignore[misc, name-defined]
    """Samples from frames that are transformed back, as many as were given or as whole hops of frames give."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        self.whole, self.rnn = whole, nn.GRU(9, 9, batch_first=True)
        self.register_buffer("window", torch.hann_window(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(x, 16, 4, window=self.window, return_complex=True)
        mask = torch.sigmoid(self.rnn(spectrum.abs().transpose(1, 2))[0]).transpose(1, 2)
        return torch.istft(spectrum * mask, 16, 4, window=self.window, length=None if self.whole else x.shape[-1])


@pytest.mark.parametrize("whole", [False, True])
def test_as_many_samples_as_are_given_or_whole_hops(whole: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Cleaned(whole).eval()
    graph = converted(module, (torch.randn(2, 64),), tmp_path / "m.pt")
    for count in (9, 12, 51, 52, 53, 54, 97):
        agrees(module, graph, (torch.randn(3, count),))


class InLogarithms(nn.Module):  # type: ignore[misc, name-defined]
    """A minimal GRU whose steps are computed at once (Feng et al. 2024), with what is made of the running sums."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.of, self.gates = of, nn.Linear(3, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden, gate = self.gates(x).chunk(2, dim=-1)
        values = torch.where(hidden >= 0, (F.relu(hidden) + 0.5).log(), -F.softplus(-hidden)) - F.softplus(-gate)
        rates = (-F.softplus(gate)).cumsum(dim=1)
        y: torch.Tensor = self.of(rates, (values - rates).logcumsumexp(dim=1))
        return y


def test_a_cell_that_is_computed_by_logarithms(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = InLogarithms(lambda rates, sums: (rates + sums).exp()).eval()
    graph = converted(module, (torch.randn(2, 6, 3),), tmp_path / "m.pt")
    for rows, steps in ((1, 1), (5, 4), (2, 90)):
        agrees(module, graph, (torch.randn(rows, steps, 3),))


OTHERS: dict[str, Any] = {
    "not of the same rates": lambda rates, sums: (2 * rates + sums).exp(),
    "not added": lambda rates, sums: sums.exp(),
    "added twice": lambda rates, sums: (rates + sums + rates).exp(),
    "no exponential": lambda rates, sums: rates + sums,
}


@pytest.mark.parametrize("of", OTHERS)
def test_other_logarithms_of_running_sums(of: str, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"is known where exp\(a \+ logcumsumexp\(v - a\)\) is computed"):
        converted(InLogarithms(OTHERS[of]).eval(), (torch.randn(2, 6, 3),), tmp_path / "m.pt")


class OfPairs(nn.Module):  # type: ignore[misc, name-defined]
    """Attention that gives its weights, too, or numbers for each pair of steps alone."""

    def __init__(self, joint: bool) -> None:
        super().__init__()
        self.joint, self.attention, self.out = joint, nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> Any:
        if self.joint:
            return self.out(torch.relu(x.unsqueeze(2) + x.flip(1).unsqueeze(1)))
        return self.attention(x, x, x)


def test_weights_of_pairs_of_steps_are_left_out(tmp_path: Path) -> None:
    module = OfPairs(False).eval()
    graph = converted(module, (torch.randn(2, 6, 4),), tmp_path / "m.pt")
    (note,) = (n for n in graph.meta["notes"] if "left out" in n)
    assert note.startswith("output 'output_1' is left out, as no value of a graph can hold it: weights of attention")
    x = torch.randn(3, 9, 4)
    with torch.no_grad():
        np.testing.assert_allclose(Model(dumps(graph))(x.numpy()), module(x)[0].numpy(), rtol=1e-4, atol=1e-5)


def test_two_time_axes_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"two time axes, which no value of a graph can have \(a model that ends"):
        converted(OfPairs(True).eval(), (torch.randn(2, 6, 4),), tmp_path / "m.pt")
