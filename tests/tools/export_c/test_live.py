"""A live PyTorch module, converted, exported to C and called: the module's own numbers."""

from __future__ import annotations

from pathlib import Path

import lstm_rt_tools
import numpy as np
import pytest
from helpers.exported_c import COMPILER, Exported

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not COMPILER, reason="needs a C compiler")


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_a_module(cell: str, tmp_path: Path) -> None:
    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = getattr(torch.nn, cell)(3, 11, num_layers=2, batch_first=True)
            self.out = torch.nn.Linear(11, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.out(self.layers(x)[0]))

    torch.manual_seed(0)
    module = Module().eval()
    x = torch.randn(1, 20, 3)
    c = Exported(tmp_path, lstm_rt_tools.from_torch(module, x))
    with torch.no_grad():
        np.testing.assert_allclose(c.stream(x[0].numpy())[0], module(x)[0].numpy(), atol=1e-5)
