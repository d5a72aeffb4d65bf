"""Functions that choose some of the numbers: indexing, slices, steps, features, states."""

from __future__ import annotations

from typing import Any

from ..builder import Builder
from ..symbols import Feat, Index, Lengths, States, Sym, unsupported
from .call import Call
from .shapes import pick_state, settle, with_dims


def getitem(rec: Builder, call: Call) -> Sym:
    sym, index = rec.maybe_sym(call.args[0]), call.args[1]
    if sym is None:
        raise unsupported(call.name, "a constant indexed by data")
    if isinstance(sym, Index | Lengths):
        return Index()
    items = list(index) if isinstance(index, tuple) else [index]
    last = [rec.maybe_sym(i) for i in items]
    if any(isinstance(s, Index) and s.last is not None for s in last):
        return _last_of_rows(rec, call, sym, items, last)
    if any(i is Ellipsis for i in items):
        at = next(k for k, i in enumerate(items) if i is Ellipsis)
        used = sum(i is not None for i in items) - 1
        items[at : at + 1] = [slice(None)] * (len(sym.dims) - used)
    dim = 0
    for item in items:
        if item is None:
            sym = with_dims(rec, call, sym, (*sym.dims[:dim], "1", *sym.dims[dim:]))
            dim += 1
        elif isinstance(item, slice):
            sym = _slice_dim(rec, call, sym, dim, item)
            dim += 1
        elif isinstance(item, int):
            sym = _index_dim(rec, call, sym, dim, item)
        else:
            raise unsupported(call.name, f"with an index of type {type(item).__name__}")
    return sym


def select(rec: Builder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    return _index_dim(rec, call, sym, call.arg(1, "dim") % len(sym.dims), call.arg(2, "index"))


def narrow(rec: Builder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    start, length = call.arg(2, "start"), call.arg(3, "length")
    return _slice_dim(rec, call, sym, call.arg(1, "dim") % len(sym.dims), slice(start, start + length))


def _index_dim(rec: Builder, call: Call, sym: Sym, dim: int, index: int) -> Sym:
    label = sym.dims[dim]
    dims = sym.dims[:dim] + sym.dims[dim + 1 :]
    if label == "1":
        return with_dims(rec, call, sym, dims)
    if label == "L" and isinstance(sym, States):
        return settle(rec, pick_state(sym, dim, index))
    feat = rec.feat(sym, call.name)
    if label == "T":
        return Feat(rec.step(feat, index, call.name), dims)
    if label == "F":
        size = rec.size(feat)
        return rec.features(feat, index % size, 1, dims)
    raise unsupported(call.name, f"it picks one entry of the dimension {label}")


def _slice_dim(rec: Builder, call: Call, sym: Sym, dim: int, index: slice) -> Sym:
    label = sym.dims[dim]
    if index == slice(None):
        return sym
    if index.step not in (None, 1):
        raise unsupported(call.name, "with a step other than 1")
    if label == "L" and isinstance(sym, States):
        at: list[Any] = [slice(None)] * sym.rows.ndim
        at[sym.dims[:dim].count("L")] = index
        return States(sym.rows[tuple(at)], sym.dims, False)
    feat = rec.feat(sym, call.name)
    if label == "F":
        start, stop, _ = index.indices(rec.size(feat))
        return rec.features(feat, start, stop - start, feat.dims)
    if label == "T" and (index.start, index.stop) in ((-1, None), (0, 1), (None, 1)):
        value = rec.step(feat, -1 if index.start == -1 else 0, call.name)
        return Feat(value, (*feat.dims[:dim], "1", *feat.dims[dim + 1 :]))
    raise unsupported(call.name, f"it takes a part of the dimension {label}")


def _last_of_rows(rec: Builder, call: Call, sym: Sym, items: list[Any], syms: list[Sym | None]) -> Sym:
    """``out[arange(N), lengths - 1]``, the last valid step of every row."""
    feat = rec.feat(sym, call.name)
    if len(items) == 2 and set(feat.dims[:2]) == {"N", "T"} and feat.dims[2:] == ("F",):
        rows = items[feat.dims.index("N")]
        last = syms[feat.dims.index("T")]
        n = call.args[0].shape[feat.dims.index("N")]
        if isinstance(last, Index) and last.last is not None and _is_arange(rows, n):
            rec.bind_lengths(last.last, feat, call.name)
            return Feat(rec.step(feat, -1, call.name), ("N", "F"))
    raise unsupported(call.name, "with computed indices, other than out[arange(N), lengths - 1]")


def _is_arange(rows: Any, n: int) -> bool:
    numbers = (
        rows.tolist() if hasattr(rows, "tolist") else list(rows) if isinstance(rows, range | list) else None
    )
    return bool(numbers == list(range(n)))


def gather(rec: Builder, call: Call) -> Sym:
    sym, dim = rec.sym(call.args[0]), call.arg(1, "dim")
    index = rec.maybe_sym(call.arg(2, "index"))
    feat = rec.feat(sym, call.name)
    dim %= len(feat.dims)
    if not (isinstance(index, Index) and index.last is not None and feat.dims[dim] == "T"):
        raise unsupported(call.name, "other than to take the step lengths - 1")
    if call.result.shape[dim] != 1:
        raise unsupported(call.name, "it takes more than one step")
    rec.bind_lengths(index.last, feat, call.name)
    value = rec.step(feat, -1, call.name)
    return Feat(value, (*feat.dims[:dim], "1", *feat.dims[dim + 1 :]))


def flip(rec: Builder, call: Call) -> Sym:
    feat = rec.feat(rec.sym(call.args[0]), call.name)
    dims = call.args[1:] or (call.kwargs["dims"],)
    chosen = dims[0] if len(dims) == 1 and isinstance(dims[0], list | tuple) else dims
    if [feat.dims[d] for d in chosen] != ["T"]:
        raise unsupported(call.name, "of another dimension than time")
    return Feat(rec.graph.reverse(rec.value(feat)), feat.dims)


def chunk(rec: Builder, call: Call) -> Any:
    feat = rec.feat(rec.sym(call.args[0]), call.name)
    dim = call.arg(2, "dim", 0) % len(feat.dims)
    if feat.dims[dim] != "F":
        raise unsupported(call.name, f"along the dimension {feat.dims[dim]}")
    out, start = [], 0
    for piece in call.result:
        size = int(piece.shape[dim])
        out.append(rec.features(feat, start, size, feat.dims))
        start += size
    return tuple(out)
