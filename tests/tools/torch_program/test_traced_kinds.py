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
from lstm_rt.errors import ConvertError
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
    with pytest.raises(ConvertError, match=r"differ from step to step .*table of positions, .*x\.0"):
        converted(module, example, tmp_path / "m.pt")
    graph = from_torch(tmp_path / "m.pt", settings={"x.0": 7})
    agrees(module, graph, (torch.randn(7, 3, 10),))
