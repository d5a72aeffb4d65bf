from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def torch() -> Iterator[Any]:
    """The package, with the same random numbers in every test."""
    module = pytest.importorskip("torch")
    module.manual_seed(0)
    module.set_num_threads(1)  # its own threads cost more than they help here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the notes; the tests read them from the graph
        yield module
