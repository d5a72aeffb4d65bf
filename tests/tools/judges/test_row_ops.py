"""Ops over rows of features: the reference in NumPy and PyTorch's functions say the same."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.row_ops import binary_graphs, inputs_of, row_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges.reference import run
from lstm_rt_tools.judges.torch_replay import replay


@given(graph=binary_graphs() | row_graphs(), batch=st.integers(1, 3), steps=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_torch(graph, batch, steps, seed):
    pytest.importorskip("torch")
    inputs = inputs_of(np.random.default_rng(seed), graph, batch, steps)
    (want,), (got,) = replay(graph, inputs), run(graph, inputs)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)
