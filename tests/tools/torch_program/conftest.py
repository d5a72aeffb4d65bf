from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture
def quiet() -> Iterator[None]:
    """The same random numbers of PyTorch in every test, and no warnings of what traces and exports leave out."""
    pytest.importorskip("torch").manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
