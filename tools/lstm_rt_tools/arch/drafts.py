"""Layers guessed from the names and shapes of their weights, one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lstm_rt.graph import GATES

from ..names import listed, shown
from ..weights.tensors import Tensor

_RECURRENT_NAME = re.compile(r"^(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(_l\d+)?(_reverse)?$")
_CELLS = {gates: op for op, gates in GATES.items()}
_MAX_NAME = 200  #: characters in a quoted name
_MAX_SIZE = 10**12  #: no array has more; files may claim numbers of any length


@dataclass
class Group:
    prefix: str
    shapes: dict[str, tuple[int, ...]]


@dataclass
class Draft:
    """One layer of the draft: ``reads`` and ``writes`` count features, 0 where they do not matter or are not told."""

    op: str
    prefix: str
    note: str
    reads: int
    writes: int
    options: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)  #: features of each layer's final h, directions side by side
    hidden: int = 0
    name: str = ""  #: given when another layer refers to it
    source: str = ""  #: the value it reads, if that is not the layer above
    parts: list[str] = field(default_factory=list)  #: values to join before it

    def text(self, table: str) -> str:
        """The layer's tables, whose names begin with ``table``."""
        lines = []
        if self.parts:
            lines += [f"[[{table}layer]]", 'op = "concat"', f"inputs = [{', '.join(map(quoted, self.parts))}]"]
            lines += ["# a guess: no value alone has as many features as the next layer reads", ""]
        lines += [f"[[{table}layer]]", f'op = "{self.op}"']
        if self.name:
            lines.append(f"name = {quoted(self.name)}")
        if self.source:
            lines.append(f"input = {quoted(self.source)}")
        return "\n".join([*lines, f"weights = {quoted(self.prefix)}", *self.options, f"# {self.note}"]) + "\n"


def groups_of(tensors: Mapping[str, Tensor]) -> list[Group]:
    groups: dict[str, Group] = {}
    for name, tensor in tensors.items():
        prefix, _, leaf = name.rpartition(".")
        shape = tuple(max(-1, min(n, _MAX_SIZE)) for n in tensor.shape)
        groups.setdefault(prefix, Group(prefix, {})).shapes[leaf] = shape
    return list(groups.values())


def draft_of(group: Group, following: Group | None, first: bool) -> Draft | None:
    """The layer that has these weights, None if we know of none."""
    if any(_RECURRENT_NAME.match(n) for n in group.shapes):
        return _recurrent(group)
    weight = group.shapes.get("weight", ())
    if mean := group.shapes.get("running_mean"):
        return Draft("batchnorm", group.prefix, f"over {mean[-1]} features", mean[-1], mean[-1], ["eps = 1e-5"])
    if attended := group.shapes.get("in_proj_weight"):
        size = attended[-1]
        return Draft("multihead", group.prefix, "heads: the weights do not tell", size, size, ["heads = 1"])
    if len(weight) in (3, 4):
        return _conv(group.prefix, weight)
    if weight == (1,) and "bias" not in group.shapes:
        return Draft("prelu", group.prefix, "one slope", 0, 0)
    if len(weight) == 2 and "bias" not in group.shapes:
        return _table_or_matrix(group.prefix, weight, following, first)
    if len(weight) == 2:
        return Draft("dense", group.prefix, f"{weight[1]} -> {weight[0]}", weight[1], weight[0])
    if len(weight) == 1 and weight[0] > 1:
        note = f"over {weight[0]} features"
        return Draft("layernorm", group.prefix, note, weight[0], weight[0], ["eps = 1e-5"])
    return None


def _conv(prefix: str, weight: tuple[int, ...]) -> Draft:
    """A Conv1d over the steps, or a Conv2d over images: how many features that is depends on their height."""
    window = " x ".join(map(str, weight[2:]))
    note = f"{weight[1]} -> {weight[0]}, {window}; stride, padding, dilation and groups: the weights do not tell"
    if len(weight) == 3:
        return Draft("conv", prefix, note, weight[1], weight[0])
    options = ['time = "width"       # or "height", "none": which dimension the steps are']
    options += ["size = [1, 1]        # height and width of the image at a step; only the first such layer needs it"]
    return Draft("conv", prefix, note, 0, 0, options)


def _table_or_matrix(prefix: str, weight: tuple[int, ...], following: Group | None, first: bool) -> Draft:
    """A matrix without a bias: an embedding or a Linear. The next layer reads its columns or its rows."""
    reads = 0
    if following is not None:
        weights = (following.shapes.get(n, ()) for n in ("weight_ih_l0", "weight_ih", "weight"))
        reads = next((w[1] for w in weights if len(w) == 2), 0)
    table = "emb" in prefix.lower() or weight[1] == reads != weight[0] or (first and reads != weight[0])
    if table:
        return Draft("embedding", prefix, f"table of {weight[0]} x {weight[1]}", 0, weight[1])
    note = f"{weight[1]} -> {weight[0]}; without bias: or is it an embedding?"
    return Draft("dense", prefix, note, weight[1], weight[0])


def _recurrent(group: Group) -> Draft | None:
    w_ih = group.shapes.get("weight_ih_l0", group.shapes.get("weight_ih", ()))
    w_hh = group.shapes.get("weight_hh_l0", group.shapes.get("weight_hh", ()))
    if len(w_ih) != 2 or len(w_hh) != 2 or w_hh[1] < 1:
        return None
    projection = group.shapes.get("weight_hr_l0")
    hidden = projection[1] if projection is not None and len(projection) == 2 else w_hh[1]
    op = _CELLS.get(w_ih[0] // hidden if hidden > 0 else 0)
    if op is None:
        return None
    layers = max(1, sum(bool(re.match(r"^weight_ih_l\d+$", n)) for n in group.shapes))
    both = any(n.endswith("_reverse") for n in group.shapes)
    writes = w_hh[1] * (2 if both else 1)
    note = f"{w_ih[1]} -> {hidden}, {layers} layer(s){', bidirectional' if both else ''}"
    options = ['nonlinearity = "tanh"   # or "relu": the weights do not tell'] if op == "rnn" else []
    name = group.prefix.rpartition(".")[2] or op
    return Draft(op, group.prefix, note, w_ih[1], writes, options, [writes] * min(layers, 64), hidden, name)


def unknown(group: Group) -> str:
    shapes = listed([f"{n} {s}" for n, s in group.shapes.items()], 6)
    return f"# {shown(group.prefix) or '(no prefix)'}: no supported layer has these weights: {shapes}\n"


# -- names -----------------------------------------------------------------------------------------


def can_quote(name: str) -> bool:
    """Can the name stand in a TOML file that people read? Half of a surrogate pair cannot at all."""
    return len(name) <= _MAX_NAME and not any("\ud800" <= c <= "\udfff" for c in name)


def quoted(name: str) -> str:
    """A TOML string; what is not printable is escaped, so that it reaches no terminal."""

    def escaped(c: str) -> str:
        if c in '"\\':
            return "\\" + c
        return c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"

    return '"' + "".join(map(escaped, name)) + '"'
