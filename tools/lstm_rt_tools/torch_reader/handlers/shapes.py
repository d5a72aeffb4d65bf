"""Functions that keep the numbers and change the shape."""

from __future__ import annotations

import numpy as np

from ..builder import Builder
from ..symbols import Dims, Feat, Index, Lengths, Pending, States, Sym, WrongSizes, atoms, regroup, swap, unsupported
from .call import Call


def same(rec: Builder, call: Call) -> Sym:
    return rec.sym(call.args[0])


def dropout(rec: Builder, call: Call) -> Sym:
    # torch.dropout(x, p, train); torch.nn.functional.dropout(x, p=0.5, training=True, inplace=False)
    training = call.arg(2, "training", call.kwargs.get("train", True))
    if training and call.arg(1, "p", 0.5) > 0:
        raise unsupported(call.name, "it drops at random in eval mode, too; pass training=self.training")
    return same(rec, call)


def type_change(rec: Builder, call: Call) -> Sym:
    if not call.result.is_floating_point() and isinstance(rec.sym(call.args[0]), Feat):
        raise unsupported(call.name, "it rounds features to integers")
    return rec.sym(call.args[0])


def with_dims(rec: Builder, call: Call, sym: Sym, dims: Dims) -> Sym:
    if isinstance(sym, Pending):
        sym = rec.feat(sym, call.name)
    if isinstance(sym, Feat):
        return Feat(sym.value, dims, sym.part, sym.order, sym.packed)
    if isinstance(sym, States):
        kept = [d for d in sym.dims if d == "L"]
        if [d for d in dims if d == "L"] != kept:
            raise unsupported(call.name, "on states")
        return States(sym.rows, dims, sym.complete and dims == sym.dims)
    return sym


def kept_index(rec: Builder, call: Call) -> Sym:
    """A change of shape leaves ``lengths - 1`` what it is."""
    sym = rec.sym(call.args[0])
    return Index(sym.last) if isinstance(sym, Index) else Index()


def pick_state(sym: States, dim: int, index: int) -> States:
    axis = sym.dims[:dim].count("L")
    rows = np.asarray(np.take(sym.rows, index, axis=axis), dtype=object)
    if rows.dtype != object or sym.rows.ndim == 1:
        rows = np.empty((), dtype=object)
        rows[()] = sym.rows[index]
    return States(rows, sym.dims[:dim] + sym.dims[dim + 1 :], False)


def settle(rec: Builder, sym: States) -> Sym:
    """States of a single layer and direction are an ordinary vec."""
    return sym if sym.rows.ndim else rec.join([sym.rows[()]], sym.dims)


def permute(rec: Builder, call: Call) -> Sym:
    order = call.args[1:] or (call.kwargs["dims"],)
    if len(order) == 1 and isinstance(order[0], list | tuple):
        order = tuple(order[0])
    sym = rec.sym(call.args[0])
    moved = [sym.dims[int(i)] for i in order]
    if isinstance(sym, States) and moved.count("L") > 1:
        l_order = [int(i) % len(sym.dims) for i in order if sym.dims[int(i)] == "L"]
        if l_order != sorted(l_order):
            raise unsupported(call.name, "it exchanges layers and directions of states")
    return with_dims(rec, call, sym, tuple(moved))


def transpose(rec: Builder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    a, b = call.arg(1, "dim0"), call.arg(2, "dim1")
    if sym.dims[a] == sym.dims[b] == "L":
        raise unsupported(call.name, "it exchanges layers and directions of states")
    return with_dims(rec, call, sym, swap(sym.dims, a, b))


def t(rec: Builder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    return with_dims(rec, call, sym, sym.dims[::-1])


def unsqueeze(rec: Builder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    if isinstance(sym, Index | Lengths):
        return kept_index(rec, call)
    at = call.arg(1, "dim")
    at = at + len(sym.dims) + 1 if at < 0 else at
    return with_dims(rec, call, sym, (*sym.dims[:at], "1", *sym.dims[at:]))


def squeeze(rec: Builder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    if isinstance(sym, Index | Lengths):
        return kept_index(rec, call)
    shape = tuple(call.args[0].shape)
    dim = call.arg(1, "dim")
    if dim is None:
        # Without a dimension, torch drops all of size 1: an N or T of 1 must not vanish by accident.
        chosen = [i for i, n in enumerate(shape) if n == 1]
    else:
        chosen = [d % len(shape) for d in ([dim] if isinstance(dim, int) else dim)]
    chosen = [i for i in chosen if shape[i] == 1]
    return _drop(rec, call, sym, chosen)


def _drop(rec: Builder, call: Call, sym: Sym, chosen: list[int]) -> Sym:
    for i in sorted(chosen, reverse=True):
        label = sym.dims[i]
        if label == "L" and isinstance(sym, States):
            sym = pick_state(sym, i, 0)
        elif label in ("1", "F"):
            sym = with_dims(rec, call, sym, sym.dims[:i] + sym.dims[i + 1 :])
        else:
            raise unsupported(call.name, "it drops the batch or the time dimension")
        if isinstance(sym, States):
            sym = settle(rec, sym)
    return sym


def reshape(rec: Builder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    if isinstance(sym, Index | Lengths):
        return kept_index(rec, call)
    shape = tuple(call.result.shape)
    if isinstance(sym, States):
        return _reshape_states(rec, call, sym, shape)
    feat = rec.feat(sym, call.name)
    dims = regroup(atoms(feat.dims, tuple(call.args[0].shape), rec.sizes(feat)), shape)
    if dims is None:
        sizes = f"{tuple(call.args[0].shape)} ({' '.join(feat.dims)})"
        raise unsupported(call.name, f"it reshapes {sizes} to {shape}, cutting dimensions", WrongSizes)
    return with_dims(rec, call, feat, dims)


def _reshape_states(rec: Builder, call: Call, sym: States, shape: tuple[int, ...]) -> Sym:
    old = tuple(call.args[0].shape)
    lead = len(shape) - (len(sym.dims) - sym.dims.count("L"))
    if sym.dims[-2:] == ("N", "F") and lead >= 1 and shape[-2:] == old[-2:]:
        return States(sym.rows.reshape(shape[:lead]), ("L",) * lead + ("N", "F"), False)
    if sym.dims[0] == "N" and len(shape) == 2 and shape[0] == old[0]:
        return rec.join([tuple(p) for p in sym.rows.ravel()], ("N", "F"))
    raise unsupported(call.name, "on states, other than to split layers and directions or join them per row")
