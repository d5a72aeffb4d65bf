"""Known layers of ``torch.nn`` where a forward calls them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ...arch.layers import Stack, add_stack
from ..builder import Builder
from ..modules import (
    BATCHNORM,
    CELLS,
    EMBEDDING,
    IGNORED,
    LINEAR,
    RECURRENT,
    TRAINS,
    add_pointwise,
    check_embedding,
    class_name,
    own_weights,
    recurrent_activations,
)
from ..symbols import Feat, ForwardError, Input, Pending, States, StateUse, StrangeState, Sym, unsupported
from .call import Call


def layer(rec: Builder, call: Call, module: Any) -> None:
    """Add the call of a layer to the graph, and bind its results."""
    cls = class_name(module)
    if module.training and cls in TRAINS and getattr(module, "p", getattr(module, "dropout", 1.0)) > 0:
        raise unsupported(call.name, "it stays in training mode when the module is in eval mode")
    if cls in CELLS:
        raise unsupported(call.name, "a cell called step by step; use the LSTM, GRU or RNN module instead")
    if cls in RECURRENT:
        _recurrent(rec, call, module)
    else:
        rec.bind_result(call.result, _pointwise(rec, call, cls, module))


def _pointwise(rec: Builder, call: Call, cls: str, module: Any) -> Sym:
    x = call.arg(0, "input")
    if cls in IGNORED:
        return rec.sym(x)
    if cls == EMBEDDING:
        check_embedding(lambda k: getattr(module, k, None), call.name)
        return rec.embed(x, own_weights(module, call.name).take("weight"), call.name)
    feat = rec.feat(rec.sym(x), call.name)
    _check_feature_dim(rec, feat, cls, call.name)
    value = add_pointwise(
        rec.graph,
        cls,
        lambda k: getattr(module, k, None),
        rec.value(feat),
        own_weights(module, call.name),
        "",
        len(feat.dims),
    )
    return Feat(value, feat.dims)


def _check_feature_dim(rec: Builder, feat: Feat, cls: str, what: str) -> None:
    last = feat.dims[-1]
    if cls == BATCHNORM and (len(feat.dims) < 2 or feat.dims[1] != "F"):
        raise unsupported(
            what, f"on dimensions ({', '.join(feat.dims)}): the second must be the features"
        )
    mixes = cls in LINEAR or cls.endswith(("LayerNorm", "Softmax"))
    if mixes and last != "F":
        raise unsupported(what, f"over the dimension {last}: its size is fixed, N and T are free")


def _recurrent(rec: Builder, call: Call, module: Any) -> None:
    op = RECURRENT[class_name(module)]
    packed = not isinstance(call.arg(0, "input"), rec.torch.Tensor)
    x = call.arg(0, "input")
    feat = _recurrent_input(rec, call, x.data if packed else x, module, packed)
    hx = call.arg(1, "hx")
    states = list(hx) if isinstance(hx, tuple | list) else [] if hx is None else [hx]
    layers, directions = int(module.num_layers), 2 if module.bidirectional else 1
    given = [_initial(rec, call, s, layers, directions) for s in states]
    known = {k: g for k, g in zip(("h0", "c0"), given, strict=False) if isinstance(g, list)}
    if op == "lstm" and len(known) == 1:
        raise unsupported(call.name, "with one of h0 and c0 computed and the other not")
    first = len(rec.graph.nodes)
    acts = recurrent_activations(op, lambda k: getattr(module, k, None), call.name)
    weights = own_weights(module, call.name)
    stack = add_stack(rec.graph, op, rec.value(feat), weights, "", activations=acts, **known)
    for item, letter in zip(given, "hc", strict=False):
        if isinstance(item, Input):
            rec.state_uses.append(StateUse(item, rec.graph.nodes[first:], letter, directions))
    _bind_recurrent(rec, call, feat, stack, packed)


def _recurrent_input(rec: Builder, call: Call, x: Any, module: Any, packed: bool) -> Feat:
    sym = rec.sym(x)
    dims = ("N", "T", "F") if module.batch_first else ("T", "N", "F")
    if packed:
        if not (isinstance(sym, Feat) and sym.packed):
            raise unsupported(call.name, "on a PackedSequence that was not packed in this forward")
        return Feat(sym.value, sym.dims, sym.part, sym.order)
    feat = rec.feat(sym, call.name)
    if feat.dims in (("N", "F"), ("N", "1", "F"), ("1", "N", "F")):
        raise unsupported(
            call.name, "on a single step or an unbatched sequence; give it (batch, time, features)"
        )
    rec.expect_dims(feat, dims, call.name)
    return feat


def _initial(rec: Builder, call: Call, tensor: Any, layers: int, directions: int) -> list[int] | Input | None:
    """An initial state: one value per layer, an input of the module, or None for zeros."""
    sym = rec.maybe_sym(tensor)
    if sym is None:
        return _constant(rec, call, tensor, layers) if bool((tensor != 0).any()) else None
    if isinstance(sym, Pending) and len(sym.dims) == 3:
        sym.input.kind = "state"
        return sym.input
    if isinstance(sym, States) and sym.dims[-2:] == ("N", "F"):
        rows = [tuple(r) for r in sym.rows.ravel()]
    elif isinstance(sym, Feat) and sym.dims in (("1", "N", "F"), ("L", "N", "F")):
        rows = [rec.part(rec.feat(sym, call.name))]
    else:
        raise unsupported(call.name, f"with an initial state of dimensions ({', '.join(sym.dims)})")
    if len(rows) != layers * directions:
        raise unsupported(call.name, f"with {len(rows)} initial states, expected {layers * directions}")
    per_layer = [rows[i : i + directions] for i in range(0, len(rows), directions)]
    return [rec.value(rec.join(p, ("N", "F"))) for p in per_layer]


def _constant(rec: Builder, call: Call, tensor: Any, layers: int) -> list[int]:
    """A learned initial state: the same for every row."""
    attribute = rec.attribute_of(tensor)
    rows = tensor.detach().float().cpu()
    if attribute or not rec.constant_states or not bool((rows == rows[:, :1]).all()):
        raise unsupported(call.name, _constant_state(attribute), ForwardError if attribute else StrangeState)
    per_layer = rows[:, 0].reshape(layers, -1).numpy()
    return [rec.graph.constant(row.copy()) for row in per_layer]


def _constant_state(attribute: str | None) -> str:
    if attribute is None:
        return "with a constant initial state other than zero"
    return (
        f"its initial state is module.{attribute}, which is not zero; if it is left from an earlier call, "
        "reset it (to None or zeros) before the conversion"
    )


def _bind_recurrent(rec: Builder, call: Call, feat: Feat, stack: Stack, packed: bool) -> None:
    out, final = call.result
    data = out.data if packed else out
    rec.bind(data, Feat(stack.seq, feat.dims, None, feat.order, packed))
    finals = final if isinstance(final, tuple) else (final,)
    for tensor, values in zip(finals, (stack.h, stack.c), strict=False):
        rec.bind(tensor, _states(rec, values, stack.directions))


def _states(rec: Builder, values: list[int], directions: int) -> States:
    rows = np.empty(len(values) * directions, dtype=object)
    for i, (value, d) in enumerate(itertools.product(values, range(directions))):
        size = rec.graph.values[value].size // directions
        rows[i] = (value, d * size, size)
    return States(rows, ("L", "N", "F"))

