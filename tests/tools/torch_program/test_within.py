"""Recurrent layers within each step: words in sentences, bands in frames; one node, and what is around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.onnx_models import same
from helpers.torch_programs import exported, scripted, traced
from lstm_rt_tools import from_onnx, from_torch, to_onnx

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

pytestmark = pytest.mark.usefixtures("quiet")
torch = pytest.importorskip("torch")
nn = torch.nn
WORDS = 7


class Words(nn.Module):  # type: ignore[misc, name-defined]
    """A layer over the words of each sentence, and one over the sentences."""

    def __init__(self, kind: str, what: str, **options: Any) -> None:
        super().__init__()
        self.what = what
        self.words = getattr(nn, kind)(3, 4, batch_first=True, **options)
        width = (options.get("proj_size") or 4) * (1 + options.get("bidirectional", False))
        width = 4 * (1 + options.get("bidirectional", False)) if what == "c" else width
        self.sentences = nn.GRU(width * (WORDS if what == "all" else 1), 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, w, f = x.shape
        y, states = self.words(x.reshape(n * t, w, f))
        if self.what == "all":
            y = torch.tanh(y).reshape(n, t, -1)
        elif self.what == "h":
            h = states if isinstance(states, torch.Tensor) else states[0]
            y = h[-1].view(n, t, -1) if not self.words.bidirectional else torch.cat([h[-2], h[-1]], 1).view(n, t, -1)
        elif self.what == "c":
            y = states[1][-self.words.bidirectional - 1 :].transpose(0, 1).reshape(n, t, -1)
        else:
            y = y.reshape(n, t, w, -1)[:, :, -1]
        return self.sentences(y)[0]


def sentences(n: int, t: int) -> Any:
    return torch.randn(n, t, WORDS, 3)


CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gru": ("GRU", "all", {}),
    "gru, last": ("GRU", "last", {}),
    "gru, no bias": ("GRU", "h", {"bias": False}),
    "lstm": ("LSTM", "all", {}),
    "lstm, both ways": ("LSTM", "h", {"bidirectional": True}),
    "lstm, c": ("LSTM", "c", {}),
    "lstm, c, both ways, no bias": ("LSTM", "c", {"bidirectional": True, "bias": False}),
    "lstm, projected": ("LSTM", "all", {"proj_size": 2, "bidirectional": True}),
    "lstm, c, projected": ("LSTM", "c", {"proj_size": 2}),
    "stacked": ("LSTM", "all", {"num_layers": 3}),
    "stacked, both ways": ("GRU", "all", {"num_layers": 2, "bidirectional": True}),
    "tanh": ("RNN", "all", {"bidirectional": True}),
    "relu": ("RNN", "h", {"nonlinearity": "relu", "num_layers": 2}),
}


def compare(graph: Any, module: Any, make: Callable[[int, int], Any] = sentences) -> Model:
    model = Model(dumps(graph))
    for n, t in ((5, 8), (1, 13), (2, 30)):
        x = make(n, t)
        with torch.no_grad():
            want = module(x).numpy()
        np.testing.assert_allclose(model(x.numpy()), want, rtol=1e-4, atol=1e-5)
    return model


def layers(graph: Any) -> int:
    return sum(n.op in ("gru", "lstm", "rnn") for n in graph.nodes)


@pytest.mark.parametrize("case", CASES)
def test_words_in_sentences(case: str, tmp_path: Path) -> None:
    """One layer for each of the module, and another one where c is read, and no step of it is written out."""
    kind, what, options = CASES[case]
    module = Words(kind, what, **options).eval()
    (tmp_path / "m.pt").write_bytes(traced(torch, module, [torch.randn(3, 9, WORDS, 3)]))
    graph = from_torch(tmp_path / "m.pt")
    compare(graph, module)
    each = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    assert layers(graph) == each * (1 + (what == "c")) + 1
    assert sum(n.op == "activation" for n in graph.nodes) == (what == "all")


@pytest.mark.parametrize("case", ["stacked, both ways", "lstm, c", "relu"])
def test_exported(case: str, tmp_path: Path) -> None:
    kind, what, options = CASES[case]
    module = Words(kind, what, **options).eval()
    dims = ({0: torch.export.Dim("rows", min=1, max=64), 1: torch.export.Dim.AUTO},)
    (tmp_path / "m.pt2").write_bytes(exported(torch, module, [torch.randn(3, 9, WORDS, 3)], dims))
    compare(from_torch(tmp_path / "m.pt2"), module)


class DualPath(nn.Module):  # type: ignore[misc, name-defined]
    """A block of a dual-path network: over the bands of a frame both ways, then over the frames of each band."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.GRU(4, 5, batch_first=True, bidirectional=True, num_layers=2)
        self.along, self.out, self.norm = nn.LSTM(4, 4, batch_first=True), nn.Linear(10, 4), nn.LayerNorm([6, 4])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, t, f = x.shape
        y = self.inside(x.permute(0, 2, 3, 1).reshape(n * t, f, c))[0]
        y = x + self.out(y).view(n, t, f, c).permute(0, 3, 1, 2)
        z = self.along(y.permute(0, 3, 2, 1).reshape(n * f, t, c))[0]
        z = self.norm(z.view(n, f, t, c).permute(0, 2, 1, 3))
        return y + z.permute(0, 3, 1, 2)


@pytest.mark.parametrize("form", [traced, scripted])
def test_dual_path(form: Any, tmp_path: Path) -> None:
    """It streams frame by frame, with the bits of a call; the graph exports, and converts back to the same bits."""

    def frames(n: int, t: int) -> Any:
        return torch.randn(n, 4, t, 6)

    module = DualPath().eval()
    data = traced(torch, module, [frames(3, 9)]) if form is traced else scripted(torch, module)
    (tmp_path / "m.pt").write_bytes(data)
    graph = from_torch(tmp_path / "m.pt")
    model = compare(graph, module, frames)
    assert [n.op for n in graph.nodes].count("gru") == 4
    assert len(graph.nodes) < 90
    x = frames(2, 11).numpy()
    stream = model.stream(batch=2)
    parts = [stream.step(np.ascontiguousarray(x[:, :, k])) for k in range(11)]
    assert np.stack(parts, 2).tobytes() == model(x).tobytes()
    made = to_onnx(graph)
    same(graph, [x], made)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    assert Model(dumps(from_onnx(tmp_path / "m.onnx")))(x).tobytes() == model(x).tobytes()


def test_initial_states_are_refused(tmp_path: Path) -> None:
    class Given(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.words, self.start = nn.GRU(3, 4, batch_first=True), nn.Parameter(torch.randn(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            n, t, w, f = x.shape
            h = self.start.expand(1, n * t, 4).contiguous()
            return self.words(x.reshape(n * t, w, f), h)[1].view(n, t, 4)

    (tmp_path / "m.pt").write_bytes(traced(torch, Given().eval(), [sentences(3, 9)]))
    with pytest.raises(ConvertError, match="initial states of a layer within each step"):
        from_torch(tmp_path / "m.pt")
