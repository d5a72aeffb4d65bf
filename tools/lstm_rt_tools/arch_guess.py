"""A first draft of an architecture file, guessed from the names and shapes of weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .tensors import Tensor

_RECURRENT_NAME = re.compile(r"^(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(_l\d+)?(_reverse)?$")
_CELLS = {4: "lstm", 3: "gru", 1: "rnn"}

_HEAD = """\
# Guessed from the names and shapes of the weights. Check every line: a state dict does not tell
# the order of layers, activations, skip connections, or whether all steps or only the last one
# are used. Options: docs/arch.md
"""


@dataclass
class _Group:
    prefix: str
    shapes: dict[str, tuple[int, ...]]


@dataclass
class _Draft:
    op: str
    lines: list[str]
    reads: int  #: input features, 0 if any
    writes: int


def guess_arch(tensors: Mapping[str, Tensor], key: str = "") -> str:
    """TOML text of an architecture that may fit ``tensors``; comments say what cannot be known."""
    drafts = [_draft(g, first=i == 0) for i, g in enumerate(_groups(tensors))]
    parts = [_HEAD, *_inputs(drafts)]
    for i, draft in enumerate(drafts):
        later = {d.op for d in drafts[i + 1 :]}
        parts.append("\n".join(draft.lines) + "\n")
        if draft.op in _CELLS.values() and "dense" in later and not later & set(_CELLS.values()):
            parts.append('# [[layer]]\n# op = "last"        # uncomment if only the last step goes on\n')
        elif draft.op == "dense" and "dense" in later:
            parts.append('# [[layer]]\n# op = "relu"        # an activation in between? it has no weights\n')
    if drafts and drafts[-1].op == "dense":
        parts.append('# [[layer]]\n# op = "sigmoid"     # a final activation, such as sigmoid or softmax?\n')
    return "\n".join(parts)


def _groups(tensors: Mapping[str, Tensor]) -> list[_Group]:
    groups: dict[str, _Group] = {}
    for name, tensor in tensors.items():
        prefix, _, leaf = name.rpartition(".")
        groups.setdefault(prefix, _Group(prefix, {})).shapes[leaf] = tensor.shape
    # Files list weights in the order of __init__; norms of a state dict saved sorted come out of order.
    return list(groups.values())


def _inputs(drafts: list[_Draft]) -> list[str]:
    if drafts and drafts[0].op == "embedding":
        return ['[[input]]\nname = "x"\nkind = "ids"         # token ids (N, T)\n']
    size = drafts[0].reads if drafts else 0
    return [f'[[input]]\nname = "x"\nkind = "seq"         # features (N, T, {size or "F"})\n']


def _draft(group: _Group, first: bool) -> _Draft:
    if any(_RECURRENT_NAME.match(n) for n in group.shapes):
        return _recurrent(group)
    weight = group.shapes.get("weight", ())
    if "running_mean" in group.shapes:
        return _simple(group, "batchnorm", "eps = 1e-5", 0, 0)
    if len(weight) == 2 and "bias" not in group.shapes and (first or "emb" in group.prefix.lower()):
        return _simple(group, "embedding", f"# table of {weight[0]} x {weight[1]}", 0, weight[1])
    if len(weight) == 2:
        note = f"# {weight[1]} -> {weight[0]}"
        if "bias" not in group.shapes:
            note += "; without bias: or is it an embedding?"
        return _simple(group, "dense", note, weight[1], weight[0])
    if len(weight) == 1:
        return _simple(group, "layernorm", "eps = 1e-5", weight[0], weight[0])
    return _unknown(group)


def _simple(group: _Group, op: str, note: str, reads: int, writes: int) -> _Draft:
    return _Draft(op, ["[[layer]]", f'op = "{op}"', f'weights = "{group.prefix}"', note], reads, writes)


def _recurrent(group: _Group) -> _Draft:
    w_ih = group.shapes.get("weight_ih_l0", group.shapes.get("weight_ih", ()))
    w_hh = group.shapes.get("weight_hh_l0", group.shapes.get("weight_hh", ()))
    if len(w_ih) != 2 or len(w_hh) != 2 or not w_hh[1]:
        return _unknown(group)
    projection = group.shapes.get("weight_hr_l0")
    hidden = projection[1] if projection is not None and len(projection) == 2 else w_hh[1]
    op = _CELLS.get(w_ih[0] // hidden if hidden else 0)
    if op is None:
        return _unknown(group)
    layers = max(1, sum(bool(re.match(r"^weight_ih_l\d+$", n)) for n in group.shapes))
    both = any(n.endswith("_reverse") for n in group.shapes)
    facts = f"# {w_ih[1]} -> {hidden}, {layers} layer(s){', bidirectional' if both else ''}"
    name = group.prefix.rpartition(".")[2] or op
    lines = ["[[layer]]", f'op = "{op}"', f'name = "{name}"', f'weights = "{group.prefix}"', facts]
    if op == "rnn":
        lines.append('nonlinearity = "tanh"   # or "relu": the weights do not tell')
    return _Draft(op, lines, w_ih[1], w_hh[1])


def _unknown(group: _Group) -> _Draft:
    shapes = ", ".join(f"{n} {s}" for n, s in group.shapes.items())
    lines = [f"# {group.prefix or '(no prefix)'}: no supported layer has these weights: {shapes}"]
    return _Draft("unknown", lines, 0, 0)
