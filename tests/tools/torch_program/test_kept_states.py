"""Scripted modules that keep tensors in attributes from call to call, as models that take sound piece by piece do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.torch_programs import scripted
from lstm_rt_tools import from_torch
from lstm_rt_tools.cli.parser import main

from lstm_rt import Model, load
from lstm_rt.format import dumps

torch = pytest.importorskip("torch")
nn = torch.nn


class Voice(nn.Module):  # type: ignore[misc, name-defined]
    """Keeps the end of a piece of 32 samples for the next one, the state of a cell, and how many rows there were."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.cell, self.out = nn.Conv1d(1, 6, 16, 8), nn.LSTMCell(30, 5), nn.Linear(5, 1)
        self._state, self._context, self._rows = torch.zeros(0), torch.zeros(0), 0

    def parts(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The second one is not known to the converter, and nothing reads it."""
        return torch.relu(x), torch.atan2(x, x + 1)

    @torch.jit.export
    def reset(self) -> None:
        self._state, self._context, self._rows = torch.zeros(0), torch.zeros(0), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.size(0)
        if x.size(1) != 32:
            raise ValueError("pieces of 32 samples")
        if self._rows != rows:
            self._state, self._context = torch.zeros(2, rows, 5), torch.zeros(rows, 16)
        x = torch.cat([self._context, x], 1)
        y = self.parts(self.conv(x.unsqueeze(1)))[0].flatten(1)
        h, c = self.cell(y, (self._state[0], self._state[1]))
        self._state, self._context, self._rows = torch.stack([h, c]), x[:, -16:], rows
        return torch.sigmoid(self.out(h))


class Layers(nn.Module):  # type: ignore[misc, name-defined]
    """Keeps the state of its recurrent layer alone."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(3, 4, 2, batch_first=True), nn.Linear(4, 2)
        self.state = torch.zeros(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.state.numel() == 0:
            self.state = torch.zeros(2, x.size(0), 4)
        y, h = self.gru(x, self.state)
        self.state = h
        return self.out(y)


class Last(Layers):
    """Keeps what no call reads."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, h = self.gru(x)
        self.state = h
        return self.out(y)


class Begins(Layers):
    """Its state is none that is zero at first."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.state.numel() == 0:
            self.state = torch.ones(2, x.size(0), 4)
        y, h = self.gru(x, self.state)
        self.state = h
        return self.out(y)


def converted(module: Any, folder: Path) -> Any:
    torch.manual_seed(1)
    (folder / "m.pt").write_bytes(scripted(torch, module.eval()))
    return from_torch(folder / "m.pt")


def test_what_is_kept_goes_in_and_comes_out(tmp_path: Path) -> None:
    module = Voice()
    graph = converted(module, tmp_path)
    assert sorted(graph.values[v].name for v in graph.inputs) == ["context", "state", "x"]
    model = Model(dumps(graph))
    assert sorted(o.name for o in model.outputs) == ["context_out", "output", "state_out"]
    names = [o.name for o in model.outputs]
    for rows in (1, 3):
        module.reset()
        kept = {"context": np.zeros((rows, 16), np.float32), "state": np.zeros((2, rows, 5), np.float32)}
        for _ in range(4):
            x = torch.randn(rows, 32)
            found = dict(zip(names, model(x=x.numpy(), **kept), strict=True))
            with torch.no_grad():
                np.testing.assert_allclose(found["output"], module(x).numpy(), rtol=1e-5, atol=1e-6)
            kept = {name: found[f"{name}_out"] for name in kept}
    assert graph.meta["notes"][-1].startswith(
        "the module keeps _context, _state from call to call: in the converted model context, state are inputs, zero in"
    ) or graph.meta["notes"][-1].startswith("the module keeps _state, _context from call to call")


def test_states_of_layers_are_the_callers(tmp_path: Path) -> None:
    module = Layers()
    graph = converted(module, tmp_path)
    assert [graph.values[v].name for v in graph.inputs] == ["x"]
    assert any("state from call to call, the states of its recurrent layers" in n for n in graph.meta["notes"])
    model, state = Model(dumps(graph)), None
    x = torch.randn(3, 10, 3)
    for part in x.split(5, 1):
        y, state = model(part.numpy(), state=state, return_state=True)
        with torch.no_grad():
            np.testing.assert_allclose(y, module(part).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", [Last, Begins])
def test_what_is_kept_is_left_at_its_value_in_the_file(cls: Any, tmp_path: Path) -> None:
    module = cls()
    graph = converted(module, tmp_path)
    assert [graph.values[v].name for v in graph.inputs] == ["x"]
    note = "the module keeps state from call to call; the converted model begins each call with the value in the file"
    assert note in graph.meta["notes"]
    x = torch.randn(2, 7, 3)
    with torch.no_grad():
        np.testing.assert_allclose(Model(dumps(graph))(x.numpy()), module(x).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", [Voice, Layers])
def test_verified_against_the_file(cls: Any, tmp_path: Path) -> None:
    converted(cls(), tmp_path)
    out = tmp_path / "m.lrt"
    assert main(["convert", str(tmp_path / "m.pt"), "-o", str(out)]) == 0
    assert main(["verify", str(out), "--against", str(tmp_path / "m.pt")]) == 0
    assert load(out).inputs[0].name == "x"
