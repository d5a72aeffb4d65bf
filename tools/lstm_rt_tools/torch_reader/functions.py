"""Meaning of the torch functions that a module's ``forward`` calls outside of known layers.

Each handler gets the call (arguments and the tensor torch computed) and says what the result
stands for. A function without a handler is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_rt.graph import Activation, Array

from .modules import gelu, softmax, softplus
from .symbols import (
    Dims,
    Feat,
    Index,
    Lengths,
    Pending,
    States,
    Sym,
    WrongSizes,
    atoms,
    regroup,
    swap,
    unsupported,
)

if TYPE_CHECKING:
    from .trace import Recorder


@dataclass
class Call:
    """One call of a torch function: its full name, arguments and result."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any

    def arg(self, i: int, name: str, default: Any = None) -> Any:
        """Argument number ``i``, or the one called ``name``."""
        return self.args[i] if i < len(self.args) else self.kwargs.get(name, default)


def short_name(full: str) -> str:
    """``torch.Tensor.__iadd__`` -> ``add``, ``torch.relu_`` -> ``relu``."""
    parts = full.split(".")
    name = parts[-2] if parts[-1] in ("__get__", "__set__") and len(parts) > 1 else parts[-1]
    if name.startswith("__") and name.endswith("__"):
        bare = name[2:-2]
        return {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "truediv": "div"}.get(
            bare, bare
        )
    return name.rstrip("_")


# -- same numbers, other shape -----------------------------------------------------------------


def _same(rec: Recorder, call: Call) -> Sym:
    return rec.sym(call.args[0])


def _dropout(rec: Recorder, call: Call) -> Sym:
    # torch.dropout(x, p, train); torch.nn.functional.dropout(x, p=0.5, training=True, inplace=False)
    training = call.arg(2, "training", call.kwargs.get("train", True))
    if training and call.arg(1, "p", 0.5) > 0:
        raise unsupported(call.name, "it drops at random in eval mode, too; pass training=self.training")
    return _same(rec, call)


def _type_change(rec: Recorder, call: Call) -> Sym:
    if not call.result.is_floating_point() and isinstance(rec.sym(call.args[0]), Feat):
        raise unsupported(call.name, "it rounds features to integers")
    return rec.sym(call.args[0])


def _with_dims(rec: Recorder, call: Call, sym: Sym, dims: Dims) -> Sym:
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


def _permute(rec: Recorder, call: Call) -> Sym:
    order = call.args[1:] or (call.kwargs["dims"],)
    if len(order) == 1 and isinstance(order[0], list | tuple):
        order = tuple(order[0])
    sym = rec.sym(call.args[0])
    moved = [sym.dims[int(i)] for i in order]
    if isinstance(sym, States) and moved.count("L") > 1:
        l_order = [int(i) % len(sym.dims) for i in order if sym.dims[int(i)] == "L"]
        if l_order != sorted(l_order):
            raise unsupported(call.name, "it exchanges layers and directions of states")
    return _with_dims(rec, call, sym, tuple(moved))


def _transpose(rec: Recorder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    a, b = call.arg(1, "dim0"), call.arg(2, "dim1")
    if sym.dims[a] == sym.dims[b] == "L":
        raise unsupported(call.name, "it exchanges layers and directions of states")
    return _with_dims(rec, call, sym, swap(sym.dims, a, b))


def _t(rec: Recorder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    return _with_dims(rec, call, sym, sym.dims[::-1])


def _unsqueeze(rec: Recorder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    if isinstance(sym, Index | Lengths):
        return _index(rec, call)
    at = call.arg(1, "dim")
    at = at + len(sym.dims) + 1 if at < 0 else at
    return _with_dims(rec, call, sym, (*sym.dims[:at], "1", *sym.dims[at:]))


def _squeeze(rec: Recorder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    if isinstance(sym, Index | Lengths):
        return _index(rec, call)
    shape = tuple(call.args[0].shape)
    dim = call.arg(1, "dim")
    if dim is None:
        # Without a dimension, torch drops all of size 1: an N or T of 1 must not vanish by accident.
        chosen = [i for i, n in enumerate(shape) if n == 1]
    else:
        chosen = [d % len(shape) for d in ([dim] if isinstance(dim, int) else dim)]
    chosen = [i for i in chosen if shape[i] == 1]
    return _drop(rec, call, sym, chosen)


def _drop(rec: Recorder, call: Call, sym: Sym, chosen: list[int]) -> Sym:
    for i in sorted(chosen, reverse=True):
        label = sym.dims[i]
        if label == "L" and isinstance(sym, States):
            sym = _pick_state(sym, i, 0)
        elif label in ("1", "F"):
            sym = _with_dims(rec, call, sym, sym.dims[:i] + sym.dims[i + 1 :])
        else:
            raise unsupported(call.name, "it drops the batch or the time dimension")
        if isinstance(sym, States):
            sym = _settle(rec, sym)
    return sym


def _reshape(rec: Recorder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    if isinstance(sym, Index | Lengths):
        return _index(rec, call)
    shape = tuple(call.result.shape)
    if isinstance(sym, States):
        return _reshape_states(rec, call, sym, shape)
    feat = rec.feat(sym, call.name)
    dims = regroup(atoms(feat.dims, tuple(call.args[0].shape), rec.sizes(feat)), shape)
    if dims is None:
        raise WrongSizes(
            f"the module's forward uses {call.name}, which is not supported: it reshapes "
            f"{tuple(call.args[0].shape)} ({' '.join(feat.dims)}) to {shape}, cutting dimensions"
        )
    return _with_dims(rec, call, feat, dims)


def _reshape_states(rec: Recorder, call: Call, sym: States, shape: tuple[int, ...]) -> Sym:
    old = tuple(call.args[0].shape)
    lead = len(shape) - (len(sym.dims) - sym.dims.count("L"))
    if sym.dims[-2:] == ("N", "F") and lead >= 1 and shape[-2:] == old[-2:]:
        return States(sym.rows.reshape(shape[:lead]), ("L",) * lead + ("N", "F"), False)
    if sym.dims[0] == "N" and len(shape) == 2 and shape[0] == old[0]:
        return rec.join([tuple(p) for p in sym.rows.ravel()], ("N", "F"))
    raise unsupported(call.name, "on states, other than to split layers and directions or join them per row")


# -- choosing ----------------------------------------------------------------------------------


def _pick_state(sym: States, dim: int, index: int) -> States:
    axis = sym.dims[:dim].count("L")
    rows = np.asarray(np.take(sym.rows, index, axis=axis), dtype=object)
    if rows.dtype != object or sym.rows.ndim == 1:
        rows = np.empty((), dtype=object)
        rows[()] = sym.rows[index]
    return States(rows, sym.dims[:dim] + sym.dims[dim + 1 :], False)


def _settle(rec: Recorder, sym: States) -> Sym:
    """States of a single layer and direction are an ordinary vec."""
    return sym if sym.rows.ndim else rec.join([sym.rows[()]], sym.dims)


def _getitem(rec: Recorder, call: Call) -> Sym:
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
            sym = _with_dims(rec, call, sym, (*sym.dims[:dim], "1", *sym.dims[dim:]))
            dim += 1
        elif isinstance(item, slice):
            sym = _slice_dim(rec, call, sym, dim, item)
            dim += 1
        elif isinstance(item, int):
            sym = _index_dim(rec, call, sym, dim, item)
        else:
            raise unsupported(call.name, f"with an index of type {type(item).__name__}")
    return sym


def _select(rec: Recorder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    return _index_dim(rec, call, sym, call.arg(1, "dim") % len(sym.dims), call.arg(2, "index"))


def _narrow(rec: Recorder, call: Call) -> Sym:
    sym = rec.sym(call.args[0])
    start, length = call.arg(2, "start"), call.arg(3, "length")
    return _slice_dim(rec, call, sym, call.arg(1, "dim") % len(sym.dims), slice(start, start + length))


def _index_dim(rec: Recorder, call: Call, sym: Sym, dim: int, index: int) -> Sym:
    label = sym.dims[dim]
    dims = sym.dims[:dim] + sym.dims[dim + 1 :]
    if label == "1":
        return _with_dims(rec, call, sym, dims)
    if label == "L" and isinstance(sym, States):
        return _settle(rec, _pick_state(sym, dim, index))
    feat = rec.feat(sym, call.name)
    if label == "T":
        return Feat(rec.step(feat, index, call.name), dims)
    if label == "F":
        size = rec.size(feat)
        return rec.features(feat, index % size, 1, dims)
    raise unsupported(call.name, f"it picks one entry of the dimension {label}")


def _slice_dim(rec: Recorder, call: Call, sym: Sym, dim: int, index: slice) -> Sym:
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


def _last_of_rows(rec: Recorder, call: Call, sym: Sym, items: list[Any], syms: list[Sym | None]) -> Sym:
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


def _gather(rec: Recorder, call: Call) -> Sym:
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


def _flip(rec: Recorder, call: Call) -> Sym:
    feat = rec.feat(rec.sym(call.args[0]), call.name)
    dims = call.args[1:] or (call.kwargs["dims"],)
    chosen = dims[0] if len(dims) == 1 and isinstance(dims[0], list | tuple) else dims
    if [feat.dims[d] for d in chosen] != ["T"]:
        raise unsupported(call.name, "of another dimension than time")
    return Feat(rec.graph.reverse(rec.value(feat)), feat.dims)


def _chunk(rec: Recorder, call: Call) -> Any:
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


# -- arithmetic --------------------------------------------------------------------------------


def _cat(rec: Recorder, call: Call) -> Sym:
    tensors = call.arg(0, "tensors")
    dim = call.arg(1, "dim", call.kwargs.get("axis", 0))
    syms = [rec.maybe_sym(t) for t in tensors]
    if any(s is None for s in syms):
        raise unsupported(call.name, "with a constant tensor")
    feats = [rec.feat(s, call.name) for s in syms if s is not None]
    if any(f.dims != feats[0].dims for f in feats) or feats[0].dims[dim] != "F":
        shapes = ", ".join(" ".join(f.dims) for f in feats)
        raise unsupported(call.name, f"only features can be joined; the parts are {shapes}")
    return rec.join([rec.part(f) for f in feats], feats[0].dims)


def _binary(rec: Recorder, call: Call) -> Sym:
    op = short_name(call.name)
    swapped = op in ("rsub", "radd", "rmul")
    op = (
        op.removeprefix("r")
        if swapped
        else {"subtract": "sub", "multiply": "mul", "divide": "div"}.get(op, op)
    )
    a, b = call.args[0], call.arg(1, "other")
    if call.kwargs.get("alpha", 1) != 1 or call.kwargs.get("rounding_mode") is not None:
        raise unsupported(call.name, "with alpha or rounding_mode")
    if swapped:
        a, b = b, a
    sa, sb = rec.maybe_sym(a), rec.maybe_sym(b)
    if isinstance(sa, Lengths | Index) or isinstance(sb, Lengths | Index):
        return _index_arithmetic(op, sa, b)
    if sa is not None and sb is not None:
        return _two(rec, call, op, rec.feat(sa, call.name), rec.feat(sb, call.name))
    if sa is not None:
        return _affine(rec, call, op, rec.feat(sa, call.name), b)
    if op == "div" or sb is None:
        raise unsupported(call.name, "a constant divided by data")
    feat = rec.feat(sb, call.name)
    if op == "sub":
        feat, op = rec.scale(feat, -1.0, 0.0), "add"
    return _affine(rec, call, op, feat, a)


def _index_arithmetic(op: str, a: Sym | None, b: Any) -> Sym:
    if op == "sub" and isinstance(a, Lengths) and isinstance(b, int) and b == 1:
        return Index(last=a.input)
    return Index()


def _two(rec: Recorder, call: Call, op: str, a: Feat, b: Feat) -> Feat:
    if op == "div" or a.dims != b.dims:
        raise unsupported(call.name, f"on ({' '.join(a.dims)}) and ({' '.join(b.dims)})")
    if op == "sub":
        b, op = rec.scale(b, -1.0, 0.0), "add"
    va, vb = rec.value(a), rec.value(b)
    sa, sb = rec.size(a), rec.size(b)
    if sa != sb and 1 in (sa, sb):  # torch repeats the single feature; a product with ones does, too
        ones = np.ones((max(sa, sb), 1), np.float32)
        va, vb = (rec.graph.dense(va, ones), vb) if sa == 1 else (va, rec.graph.dense(vb, ones))
    return Feat(rec.graph.binary(op, va, vb), a.dims)


def _affine(rec: Recorder, call: Call, op: str, feat: Feat, constant: Any) -> Feat:
    """``x op constant`` with a number, or one number per feature."""
    c = rec.constant(constant, call.name)
    size = rec.size(feat)
    if c.size not in (1, size) or (c.size > 1 and (feat.dims[-1] != "F" or c.shape[-1] != size)):
        raise unsupported(call.name, f"with a constant of shape {c.shape}")
    c = c.reshape(-1)
    if op == "add":
        return rec.scale(feat, 1.0, c)
    if op == "sub":
        return rec.scale(feat, 1.0, -c)
    if op == "mul":
        return rec.scale(feat, c, 0.0)
    if op == "div" and np.all(c != 0):
        return rec.scale(feat, 1.0 / c, 0.0)
    raise unsupported(call.name)


def _neg(rec: Recorder, call: Call) -> Sym:
    return rec.scale(rec.feat(rec.sym(call.args[0]), call.name), -1.0, 0.0)


def _linear(rec: Recorder, call: Call) -> Sym:
    feat = rec.feat(rec.sym(call.args[0]), call.name)
    bias = call.arg(2, "bias")
    weight = rec.constant(call.arg(1, "weight"), call.name)
    return rec.dense(feat, weight, None if bias is None else rec.constant(bias, call.name), call.name)


def _matmul(rec: Recorder, call: Call) -> Sym:
    if rec.maybe_sym(call.args[0]) is None:
        raise unsupported(call.name, "a constant times data")
    feat = rec.feat(rec.sym(call.args[0]), call.name)
    weight = rec.constant(call.arg(1, "other", call.kwargs.get("mat2")), call.name)
    if weight.ndim != 2:
        raise unsupported(call.name, f"with a constant of shape {weight.shape}")
    return rec.dense(feat, weight.T, None, call.name)


def _embedding(rec: Recorder, call: Call) -> Sym:
    if call.arg(3, "max_norm") is not None:
        raise unsupported(call.name, "with max_norm")
    return rec.embed(call.args[0], rec.constant(call.arg(1, "weight"), call.name), call.name)


def _bare_recurrent(rec: Recorder, call: Call) -> Sym:
    raise unsupported(call.name, "a recurrent layer is followed where it is a torch.nn layer that the module holds")


def _layer_norm(rec: Recorder, call: Call) -> Sym:
    feat = rec.feat(rec.sym(call.args[0]), call.name)
    if len(call.arg(1, "normalized_shape")) != 1 or feat.dims[-1] != "F":
        raise unsupported(call.name, "over more than the features")
    params: list[Array | None] = []
    for i, name in ((2, "weight"), (3, "bias")):
        given = call.arg(i, name)
        params.append(None if given is None else rec.constant(given, call.name))
    value = rec.graph.layernorm(rec.value(feat), params[0], params[1], float(call.arg(4, "eps", 1e-5)))
    return Feat(value, feat.dims)


# -- activations -------------------------------------------------------------------------------

_PLAIN = {
    "relu": "relu",
    "sigmoid": "sigmoid",
    "expit": "sigmoid",
    "tanh": "tanh",
    "hardsigmoid": "hard_sigmoid",
    "selu": "selu",
    "softsign": "softsign",
    "silu": "swish",
}


def _activation(rec: Recorder, call: Call) -> Sym:
    feat = rec.feat(rec.sym(call.args[0]), call.name)
    return rec.activate(feat, _activation_of(call, len(feat.dims), feat.dims), call.name)


def _activation_of(call: Call, ndim: int, dims: Dims) -> Activation:
    name = short_name(call.name)
    if name in _PLAIN:
        return Activation(_PLAIN[name])
    if name == "leaky_relu":
        return Activation(name, call.arg(1, "negative_slope", 0.01))
    if name == "elu":
        if call.arg(2, "scale", 1) != 1 or call.arg(3, "input_scale", 1) != 1:
            raise unsupported(call.name, "with scale")
        return Activation(name, call.arg(1, "alpha", 1.0))
    if name == "gelu":
        return gelu(call.arg(1, "approximate", "none"), call.name)
    if name == "softplus":
        return softplus(call.arg(1, "beta", 1), call.arg(2, "threshold", 20), call.name)
    dim = call.arg(1, "dim")
    if dim is not None and dims[dim] == "F":
        dim = ndim - 1
    return Activation(softmax(name, dim, ndim, call.name))


# -- lengths and packed sequences --------------------------------------------------------------


def _index(rec: Recorder, call: Call) -> Sym:
    """A change of shape leaves ``lengths - 1`` what it is."""
    sym = rec.sym(call.args[0])
    return Index(sym.last) if isinstance(sym, Index) else Index()


def _expand(rec: Recorder, call: Call) -> Sym:
    if isinstance(rec.sym(call.args[0]), Index | Lengths):
        return _index(rec, call)
    raise unsupported(call.name, "on features")


def _sort(rec: Recorder, call: Call) -> Any:
    if not isinstance(rec.sym(call.args[0]), Lengths | Index):
        raise unsupported(call.name, "on features")
    lengths = rec.sym(call.args[0])
    return (lengths, Index())


def _index_select(rec: Recorder, call: Call) -> Sym:
    sym, dim = rec.sym(call.args[0]), call.arg(1, "dim")
    if isinstance(sym, Lengths | Index):
        return Index()
    feat = rec.packable(sym, call.name)
    if feat.dims[dim] != "N":
        raise unsupported(call.name, f"along the dimension {feat.dims[dim]}")
    chosen = np.asarray(call.arg(2, "index").tolist(), dtype=np.int64)
    order = chosen if feat.order is None else feat.order[chosen]
    rows = np.arange(call.args[0].shape[dim])
    if sorted(order.tolist()) != rows.tolist():
        raise unsupported(call.name, "it drops or repeats rows")
    return Feat(feat.value, feat.dims, feat.part, None if np.array_equal(order, rows) else order)


def _pack(rec: Recorder, call: Call) -> Any:
    feat = rec.packable(rec.sym(call.args[0]), call.name)
    lengths = rec.maybe_sym(call.args[1])
    if not isinstance(lengths, Lengths):
        raise unsupported("pack_padded_sequence", "with lengths that are not an argument of the forward")
    dims = ("N", "T", "F") if call.args[2] else ("T", "N", "F")
    rec.expect_dims(feat, dims, "pack_padded_sequence")
    rec.bind_lengths(lengths.input, feat, "pack_padded_sequence")
    return (Feat(feat.value, dims, feat.part, feat.order, packed=True), Index())


def _unpack(rec: Recorder, call: Call) -> Any:
    sym = rec.sym(call.args[0])
    if not (isinstance(sym, Feat) and sym.packed):
        raise unsupported("pad_packed_sequence", "on something that was not packed in this forward")
    if float(call.args[3]) != 0.0:
        raise unsupported("pad_packed_sequence", "with a padding value other than 0")
    dims = ("N", "T", "F") if call.args[2] else ("T", "N", "F")
    return (Feat(sym.value, dims, sym.part, sym.order), Index())


Handler = Callable[["Recorder", Call], Any]

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(
        (
            "contiguous",
            "clone",
            "detach",
            "cpu",
            "cuda",
            "requires_grad",
        ),
        _same,
    ),
    **dict.fromkeys(("dropout", "alpha_dropout", "feature_dropout"), _dropout),
    **dict.fromkeys(("to", "float", "double", "type", "type_as", "long", "int"), _type_change),
    **dict.fromkeys(("permute",), _permute),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transpose),
    **dict.fromkeys(("t", "T", "mT", "H"), _t),
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    **dict.fromkeys(("reshape", "reshape_as", "view", "view_as", "flatten", "unflatten"), _reshape),
    "getitem": _getitem,
    "select": _select,
    "narrow": _narrow,
    "gather": _gather,
    **dict.fromkeys(("flip", "fliplr"), _flip),
    **dict.fromkeys(("chunk", "split"), _chunk),
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    **dict.fromkeys(
        ("add", "sub", "mul", "div", "radd", "rsub", "rmul", "subtract", "multiply", "divide", "true_divide"),
        _binary,
    ),
    **dict.fromkeys(("neg", "negative"), _neg),
    "linear": _linear,
    **dict.fromkeys(("matmul", "mm"), _matmul),
    "embedding": _embedding,
    **dict.fromkeys(
        ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
        _bare_recurrent,
    ),
    "layer_norm": _layer_norm,
    **dict.fromkeys(
        (*_PLAIN, "leaky_relu", "elu", "gelu", "softplus", "softmax", "log_softmax"), _activation
    ),
    **dict.fromkeys(("expand", "repeat", "expand_as"), _expand),
    "sort": _sort,
    "index_select": _index_select,
    "_pack_padded_sequence": _pack,
    "_pad_packed_sequence": _unpack,
}
