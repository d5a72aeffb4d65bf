"""Scripted modules whose inputs may have several forms: of the likelier ones first, what is made of them counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.torch_programs import scripted
from lstm_rt_tools import from_torch
from lstm_rt_tools.torch_program.from_program import rerun_program

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Names(nn.Module):  # type: ignore[misc, name-defined]
    """A step whose input and state stand side by side: of these, the outputs have the size of the state."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.state = nn.Linear(14, 3), nn.Linear(14, 8)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        both = torch.cat((x, hidden), 1)
        return F.log_softmax(self.out(both), dim=1), torch.tanh(self.state(both))


class Enhancer(nn.Module):  # type: ignore[misc, name-defined]
    """Half as many bands and again as many: of 15 or 16, which do alike, the output has 16."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 2, (1, 3), (1, 2))
        self.up = nn.ConvTranspose2d(2, 1, (1, 3), (1, 2), output_padding=(0, 1))
        self.rnn = nn.GRU(14, 14, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.down(x)
        n, _, t, _ = y.shape
        z, _ = self.rnn(y.permute(0, 2, 1, 3).reshape(n, t, -1))
        return self.up(z.view(n, t, 2, -1).permute(0, 2, 1, 3))


class Frames(nn.Module):  # type: ignore[misc, name-defined]
    """Samples in frames of 20, which alone would do as well."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(20, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(x.view(x.size(0), -1, 20))[0]


class Attends(nn.Module):  # type: ignore[misc, name-defined]
    """A step of a decoder: there may be one step of what it attends to, or any number."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.u, self.v = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 1)
        self.rnn = nn.GRU(6, 6, batch_first=True)

    def forward(self, hidden: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        scores = self.v(torch.tanh(self.w(hidden.permute(1, 0, 2)) + self.u(seen))).squeeze(2).unsqueeze(1)
        _, h = self.rnn(torch.bmm(F.softmax(scores, dim=-1), seen), hidden)
        return h


class Mixes(nn.Module):  # type: ignore[misc, name-defined]
    """A state that would do with three dimensions, too, of which nothing is made."""

    def __init__(self) -> None:
        super().__init__()
        self.z, self.n = nn.Linear(3, 5), nn.Linear(3, 5)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        z, n = torch.sigmoid(self.z(x)), self.n(x)
        out = []
        for t in range(x.shape[1]):
            h = (1 - z[:, t]) * h + z[:, t] * n[:, t]
            out.append(h)
        return torch.stack(out, 1)


class Spotter(nn.Module):  # type: ignore[misc, name-defined]
    """Bands by fours, of which 13 to 16 do alike."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rnn = nn.Conv2d(1, 2, (5, 3), stride=(4, 1)), nn.GRU(6, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(self.conv(x).permute(0, 3, 1, 2).flatten(2))[0]


class Line(nn.Module):  # type: ignore[misc, name-defined]
    """Images of a line of text of 8 to 15 rows, of which one has to be left."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rnn = nn.Conv2d(1, 3, 3, padding=1), nn.GRU(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.max_pool2d(F.max_pool2d(F.max_pool2d(self.conv(x), (2, 1)), (2, 1)), (2, 1))
        h = y.size(2)
        assert h == 1
        return self.rnn(y.squeeze(2).permute(0, 2, 1))[0]


CASES: dict[str, tuple[Callable[[], Any], Callable[[int, int], tuple[Any, ...]], str]] = {
    "names": (Names, lambda n, t: (torch.randn(n, 6), torch.randn(n, 8)), "hidden.1 is taken to be 8, as in"),
    "enhancer": (Enhancer, lambda n, t: (torch.randn(n, 1, t, 16),), "x.3 is taken to be 16, as in the outputs"),
    "frames": (Frames, lambda n, t: (torch.randn(n, 20 * t),), "takes some numbers of steps alone"),
    "attends": (Attends, lambda n, t: (torch.randn(1, n, 6), torch.randn(n, t, 6)), ""),
    "spotter": (Spotter, lambda n, t: (torch.randn(n, 1, 14, t),), "x.2 is taken to be 14: 13 to 16 do alike"),
    "line": (Line, lambda n, t: (torch.randn(n, 1, 8, t),), "x.2 is taken to be 8: 8 to 15 do alike"),
    "mixes": (Mixes, lambda n, t: (torch.randn(n, t, 3), torch.randn(n, 5)), ""),
}


@pytest.mark.parametrize("name", CASES)
def test_a_scripted_module_of_several_forms(name: str, tmp_path: Path) -> None:
    make, inputs, note = CASES[name]
    torch.manual_seed(1)
    module, path = make().eval(), tmp_path / "m.pt"
    path.write_bytes(scripted(torch, module))
    graph = from_torch(path)
    notes = [n for n in graph.meta.get("notes", []) if not n.startswith("a choice: ")]
    assert (len(notes) == 1 and note in notes[0]) if note else not notes
    model = Model(dumps(graph))
    for n, t in ((1, 7), (4, 12)):
        given = inputs(n, t)
        with torch.no_grad():
            want = module(*given)
        got = model(*(x.numpy() for x in given))
        for a, b in zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]:
            np.testing.assert_allclose(a, b.numpy(), atol=1e-5)
    again = rerun_program(path, graph)
    assert len(again.outputs) == len(graph.outputs)


def test_a_form_that_is_a_choice_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(scripted(torch, Names().eval()))
    (told,) = (n for n in from_torch(path).meta["notes"] if n.startswith("a choice: "))
    assert re.search(r"x of 2 dimensions, hidden of 2 dimensions; of likelier inputs nothing was made \(\w+", told)


def test_a_state_is_not_widened(tmp_path: Path) -> None:
    """With a number of steps that is set, rows beside rows would do as well, and are unlikely."""
    path = tmp_path / "m.pt"
    path.write_bytes(scripted(torch, Mixes().eval()))
    graph = from_torch(path, settings={"x.1": 4})
    assert [graph.values[i].kind for i in graph.inputs] == ["seq", "vec"]


class Beside(nn.Module):  # type: ignore[misc, name-defined]
    """Two inputs side by side, of which nothing says how large each is."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(14, 3)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        n, _ = x.shape
        return self.out(torch.cat((x, y), 1)).view(n, 3)


def test_sizes_that_would_be_arbitrary_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(scripted(torch, Beside().eval()))
    with pytest.raises(ConvertError, match=r"say sizes|--set"):
        from_torch(path)
    graph = from_torch(path, settings={"x.1": 4, "y.1": 10})
    assert [graph.values[i].size for i in graph.inputs] == [4, 10]
