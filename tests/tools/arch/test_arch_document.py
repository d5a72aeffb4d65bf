"""docs/arch.md: its files are ones, and it has all ops and options that there are."""

from __future__ import annotations

import re
import sys

import pytest
from helpers.paths import DOCS
from lstm_rt_tools.arch.file import read_arch
from lstm_rt_tools.arch.ops import ROWS

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

TEXT = (DOCS / "arch.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```", TEXT, re.M | re.S)
#: Keys that stand for several ops, or are told in words.
COMMON = {"input", "inputs", "mask", "whole"}


@pytest.mark.parametrize("block", [b for b in BLOCKS if "layer]]" in b])
def test_its_files_are_ones(block: str) -> None:
    arch = read_arch(tomllib.loads(block))
    assert all(model.layers for model in arch.models)


@pytest.mark.parametrize("op", ROWS)
def test_it_has_every_op_and_option(op: str) -> None:
    assert f"`{op}`" in TEXT
    for option in set(ROWS[op].options) - COMMON:
        assert f"`{option}`" in TEXT, option
