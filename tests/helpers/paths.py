"""Where things are in the source tree."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
DATA, DOCS, EXAMPLES = TESTS / "data", ROOT / "docs", ROOT / "examples"
