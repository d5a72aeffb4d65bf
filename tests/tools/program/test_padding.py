"""Zeros before a convolution are its own padding, so that what is causal streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.torch_programs import exported, exported_source
from lstm_rt_tools.program.convert import to_graph

from lstm_rt import Model
from lstm_rt.format import dumps

torch = pytest.importorskip("torch")
F = torch.nn.functional


class Causal(torch.nn.Module):
    """Two causal convolutions, one with what it reads added."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Conv1d(3, 3, 3, dilation=2), torch.nn.Conv1d(3, 4, 3)

    def forward(self, x: Any) -> Any:
        y = torch.relu(self.first(F.pad(x, (4, 0)))) + x
        return self.second(F.pad(y, (2, 0)))


def test_padded_convolutions_stream() -> None:
    module = Causal().eval()
    steps = torch.export.Dim("steps", min=2, max=1000)
    data = exported(torch, module, (torch.randn(2, 3, 9),), ({2: steps},))
    graph = to_graph(exported_source(data))
    assert [node.op for node in graph.nodes].count("pad") == 0
    model = Model(dumps(graph))
    x = torch.randn(1, 3, 11)
    with torch.no_grad():
        want = module(x).numpy()[0]
    stream = model.stream()
    got = np.stack([np.asarray(stream.step(np.ascontiguousarray(x[:, :, t].numpy()))).ravel() for t in range(11)], -1)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_other_numbers_stay_steps() -> None:
    module = torch.nn.Sequential(torch.nn.ConstantPad1d((2, 0), 0.5), torch.nn.Conv1d(3, 4, 3)).eval()
    steps = torch.export.Dim("steps", min=2, max=1000)
    graph = to_graph(exported_source(exported(torch, module, (torch.randn(2, 3, 9),), ({2: steps},))))
    assert [node.op for node in graph.nodes].count("pad") == 1
    x = torch.randn(2, 3, 11)
    with torch.no_grad():
        want = module(x).numpy()
    np.testing.assert_allclose(Model(dumps(graph))(x.numpy()), want, rtol=1e-5, atol=1e-5)
