"""What the reader of safetensors files does beside the library: order, ties, limits, and its absence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks.build import entry, safetensors
from helpers.programs import python
from lstm_rt_tools.weights.budget import Budget
from lstm_rt_tools.weights.checkpoints import read_checkpoint
from lstm_rt_tools.weights.safetensors_file import read_safetensors

from lstm_rt.errors import ConvertError

pytest.importorskip("safetensors")


def floats(begin: int, end: int, shape: list[int]) -> dict[str, Any]:
    return entry(shape, (begin, end))


def test_the_order_is_that_of_the_file() -> None:
    """The library gives tensors in whatever order; notes and drafts follow that of the file."""
    names = [f"layer{(7 * k) % 40}.weight" for k in range(40)]
    header = {name: floats(4 * k, 4 * k + 4, [1]) for k, name in enumerate(names)}
    data = safetensors(header, np.arange(40, dtype=np.float32).tobytes())
    found = read_safetensors(data, "m", Budget(len(data)))
    assert list(found) == names
    assert [float(t.array("w")[0]) for t in found.values()] == list(range(40))


def test_arrays_of_too_many_dimensions_stop_who_asks_for_them() -> None:
    data = safetensors({"a": floats(0, 4, [1] * 17), "b": floats(4, 8, [1])}, bytes(8))
    found = read_safetensors(data, "m", Budget(len(data)))
    assert found["b"].array("b") == [0]
    with pytest.raises(ConvertError, match="at most 16"):
        found["a"].array("a")


def test_a_copy_is_paid_for() -> None:
    data = safetensors({"a": floats(0, 4 << 20, [1 << 20])}, bytes(4 << 20))
    budget = Budget(0, "small")
    before = budget.memory_left
    read_safetensors(data, "m", budget)
    assert before - budget.memory_left >= 4 << 20


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors({"a": floats(0, 4, [1])}, bytes(4)))
    assert list(read_checkpoint(path).tensors) == ["a"]
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ConvertError, match=r"needs safetensors: pip install 'lstm-rt\[convert\]'"):
        read_checkpoint(path)


def test_no_framework_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors({"a": floats(0, 4, [1])}, bytes(4)))
    code = (
        "import sys; from lstm_rt_tools.weights.checkpoints import read_checkpoint; "
        f"read_checkpoint({str(path)!r}); print([m for m in ('torch', 'tensorflow', 'jax') if m in sys.modules])"
    )
    done = python("-c", code, check=True)
    assert done.stdout.strip() == "[]"
