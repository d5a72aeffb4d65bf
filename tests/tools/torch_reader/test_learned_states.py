"""Live modules whose recurrent layers begin with a state that was learned, or is any other constant."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.torch_modules import check_selftest, same_as_module, user_module
from lstm_rt_tools.torch_reader.from_torch import from_torch


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize(("layers", "both"), [(1, False), (2, True)])
@pytest.mark.parametrize("how", ["expand", "repeat"])
def test_learned_initial_states(torch: Any, kind: str, layers: int, both: bool, how: str) -> None:
    rows = layers * (2 if both else 1)

    def forward(s: Any, x: Any) -> Any:
        states = [
            h.expand(-1, x.size(0), -1).contiguous() if how == "expand" else h.repeat(1, x.size(0), 1)
            for h in (s.h0, s.c0)
        ]
        y, _ = s.rec(x, tuple(states) if kind == "LSTM" else states[0])
        return s.fc(y)

    module = user_module(torch, forward, kind, head=14 if both else 7, num_layers=layers, bidirectional=both).eval()
    module.h0, module.c0 = (torch.nn.Parameter(torch.randn(rows, 1, 7)) for _ in "hc")
    graph = from_torch(module, torch.randn(2, 6, 5))
    check_selftest(graph)
    same_as_module(torch, graph, module)


def test_a_parameter_as_it_is(torch: Any) -> None:
    """Its memory is the module's, and it is no state that an earlier call has left."""
    module = user_module(torch, lambda s, x: s.rec(x, s.h0.expand(1, x.size(0), 7))[0], "GRU").eval()
    module.h0 = torch.nn.Parameter(torch.ones(1, 1, 7))
    graph = from_torch(module, torch.randn(2, 6, 5))
    check_selftest(graph)
    same_as_module(torch, graph, module)
