"""What the operations of the vocabulary do to what tensors stand for: a rule each, by family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import arithmetic, attention, choosing, joining, layers, log_sums, recurrent, reductions, shapes, windows

#: ``rule(machine, arguments, options, numbers of the result)`` gives the label of the result, or a tuple of them.
RULES: dict[str, Callable[..., Any]] = {
    **arithmetic.RULES,
    **shapes.RULES,
    **joining.RULES,
    **choosing.RULES,
    **reductions.RULES,
    **layers.RULES,
    "logcumsumexp": log_sums.logcumsumexp,
    **recurrent.RULES,
    **windows.RULES,
    **attention.RULES,
}
