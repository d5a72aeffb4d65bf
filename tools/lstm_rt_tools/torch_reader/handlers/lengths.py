"""Functions on lengths, on orders of rows, and on packed sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..builder import Builder
from ..symbols import Feat, ForwardError, Index, Lengths, Sym, WrongLayout, unsupported
from .call import Call
from .shapes import kept_index


def expand(rec: Builder, call: Call) -> Sym:
    if isinstance(rec.sym(call.args[0]), Index | Lengths):
        return kept_index(rec, call)
    raise unsupported(call.name, "on features")


def sort(rec: Builder, call: Call) -> Any:
    if not isinstance(rec.sym(call.args[0]), Lengths | Index):
        raise unsupported(call.name, "on features")
    lengths = rec.sym(call.args[0])
    return (lengths, Index())


def index_select(rec: Builder, call: Call) -> Sym:
    sym, dim = rec.sym(call.args[0]), call.arg(1, "dim")
    if isinstance(sym, Lengths | Index):
        return Index()
    feat = rec.packable(sym, call.name)
    if feat.dims[dim] != "N":
        # pack_padded_sequence sorts rows by it, and may have been taken to read another order than it does
        kind = WrongLayout if feat.dims[dim] == "T" else ForwardError
        raise unsupported(call.name, f"along the dimension {feat.dims[dim]}", kind)
    chosen = np.asarray(call.arg(2, "index").tolist(), dtype=np.int64)
    order = chosen if feat.order is None else feat.order[chosen]
    rows = np.arange(call.args[0].shape[dim])
    if sorted(order.tolist()) != rows.tolist():
        raise unsupported(call.name, "it drops or repeats rows")
    return Feat(feat.value, feat.dims, feat.part, None if np.array_equal(order, rows) else order)


def pack(rec: Builder, call: Call) -> Any:
    feat = rec.packable(rec.sym(call.args[0]), call.name)
    lengths = rec.maybe_sym(call.args[1])
    if not isinstance(lengths, Lengths):
        raise unsupported("pack_padded_sequence", "with lengths that are not an argument of the forward")
    dims = ("N", "T", "F") if call.args[2] else ("T", "N", "F")
    rec.expect_dims(feat, dims, "pack_padded_sequence")
    rec.bind_lengths(lengths.input, feat, "pack_padded_sequence")
    return (Feat(feat.value, dims, feat.part, feat.order, packed=True), Index())


def unpack(rec: Builder, call: Call) -> Any:
    sym = rec.sym(call.args[0])
    if not (isinstance(sym, Feat) and sym.packed):
        raise unsupported("pad_packed_sequence", "on something that was not packed in this forward")
    if float(call.args[3]) != 0.0:
        raise unsupported("pad_packed_sequence", "with a padding value other than 0")
    dims = ("N", "T", "F") if call.args[2] else ("T", "N", "F")
    return (Feat(sym.value, dims, sym.part, sym.order), Index())
