"""ATen's operations in the closed vocabulary: one table, whatever file or module they come from."""

from . import attention, create, elementwise, layers, packed, parts, recurrent, reduce, views
from .table import STORED, TABLE, call, known, op

__all__ = ["STORED", "TABLE", "call", "known", "op"]
_FAMILIES = (attention, create, elementwise, layers, packed, parts, recurrent, reduce, views)
