"""ATen's operations in the closed vocabulary: one table, whatever file or module they come from."""

from . import attention, complexes, create, elementwise, layers, packed, parts, recurrent, reduce, spectral, views
from .table import STORED, TABLE, call, known, op, unknown

__all__ = ["STORED", "TABLE", "call", "known", "op", "unknown"]
_FAMILIES = (attention, complexes, create, elementwise, layers, packed, parts, recurrent, reduce, spectral, views)
