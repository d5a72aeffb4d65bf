"""A first draft of an architecture file, guessed from the names and shapes of weights.

The evidence is in the sizes: what a layer reads must be what another one gives. Layers stand in the
order of the file where the sizes allow it, else in the first order that they do allow; values that
only fit side by side are joined. What no file tells is listed at the end of the draft.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile

from lstm_rt.graph import GATES

from ..names import listed, shown
from ..weights.find import place
from ..weights.state_dict import INITIAL, join
from ..weights.tensors import Tensor

_RECURRENT_NAME = re.compile(r"^(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(_l\d+)?(_reverse)?$")
_CELLS = {gates: op for op, gates in GATES.items()}
_MAX_GROUPS, _MAX_NAME = 100, 200  #: of layers, of characters in a quoted name
_MAX_TRIES = 10_000  #: steps of the search for an order that fits
_MAX_SIZE = 10**12  #: no array has more; files may claim numbers of any length

_ENCODER, _DECODER = "encoder", "decoder"
_PART = re.compile(r"(?i)(?<![a-z])(?:enc(?:oder)?|(dec(?:oder)?))(?![a-z])")
#: Before the layers of a decoder.
_STEPS = """\
# It runs step by step: model.stream() with the encoder's final states as its state. What it reads at a step
# is what it gave at the step before.
"""
_HEAD = """\
# Guessed from the names and shapes of the weights. Check every line: a state dict does not tell
# the order of layers, activations, skip connections, or whether all steps or only the last one
# are used. Options: docs/arch.md

draft = true         # delete this line when you have checked the others
"""


@dataclass
class _Group:
    prefix: str
    shapes: dict[str, tuple[int, ...]]


@dataclass
class _Draft:
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
            lines += [f"[[{table}layer]]", 'op = "concat"', f"inputs = [{', '.join(map(_quoted, self.parts))}]"]
            lines += ["# a guess: no value alone has as many features as the next layer reads", ""]
        lines += [f"[[{table}layer]]", f'op = "{self.op}"']
        if self.name:
            lines.append(f"name = {_quoted(self.name)}")
        if self.source:
            lines.append(f"input = {_quoted(self.source)}")
        return "\n".join([*lines, f"weights = {_quoted(self.prefix)}", *self.options, f"# {self.note}"]) + "\n"


def guess_arch(
    tensors: Mapping[str, Tensor], key: str | list[str] | None = None, beside: Mapping[str, Tensor] | None = None
) -> str:
    """TOML text of an architecture that may fit ``tensors``; comments say what cannot be known.

    An encoder and a decoder that starts anew become two parts: the decoder runs step by step.

    Args:
        tensors: the state dict.
        key: what the arch file has to say as ``checkpoint``, if anything.
        beside: arrays outside of the state dict, among which may be initial states.
    """
    groups = _groups(tensors)
    text = [_HEAD]
    if key:
        told = f"[{', '.join(map(_quoted, key))}]" if isinstance(key, list) else _quoted(key)
        text.append(f"checkpoint = {told}\n")
    members = _split(groups[:_MAX_GROUPS], tensors, key)
    models = {part: _Model(part, g, tensors, beside or {}) for part, g in members.items()}
    text += [line for model in models.values() for line in model.text()]
    if len(groups) > _MAX_GROUPS:
        text.append(f"# and {listed([g.prefix for g in groups[_MAX_GROUPS:]])}\n")
    return "\n".join([*text, _not_told([d for model in models.values() for d in model.drafts])])


class _Model:
    """The draft of one model: a whole file, or a part of it."""

    def __init__(
        self, part: str, groups: Sequence[_Group], tensors: Mapping[str, Tensor], beside: Mapping[str, Tensor]
    ) -> None:
        self.part = part
        self.drafts, self.strange = _layers(groups, tensors)
        self.loose = _initial_states(self.strange, self.drafts, beside)
        self.inputs, self.outputs = _wire(self.drafts)

    def text(self) -> list[str]:
        table = f"part.{self.part}." if self.part else ""
        outputs = _encoded(self.drafts) if self.part == _ENCODER else self.outputs
        lines = [_STEPS] if self.part == _DECODER else []
        lines += [f"[[{table}input]]\n{text}" for text in self.inputs]
        for i, draft in enumerate(self.drafts):
            lines += [draft.text(table), *_questions(draft, self.drafts[i + 1 :], table)]
        lines += [_unknown(g) for g in self.strange if g.shapes]
        return lines + self.loose + [f"[[{table}output]]\n{text}" for text in outputs]


def _layers(groups: Sequence[_Group], tensors: Mapping[str, Tensor]) -> tuple[list[_Draft], list[_Group]]:
    """Layers in an order that fits, and what is no layer that we know."""
    drafts: list[_Draft] = []
    strange: list[_Group] = []
    for i, group in enumerate(groups):
        following = groups[i + 1] if i + 1 < len(groups) else None
        if join(group.prefix.removesuffix("out_proj").removesuffix("."), "in_proj_weight") in tensors:
            if group.prefix.endswith("out_proj"):
                continue  # of the layer above
        if _is_copy(group.prefix, tensors, drafts):
            continue
        draft = _draft(group, following, first=i == 0) if _can_quote(group.prefix) else None
        if draft is None:
            strange.append(group)
        else:
            drafts.append(draft)
    return _in_order(drafts), strange


def _is_copy(prefix: str, tensors: Mapping[str, Tensor], drafts: list[_Draft]) -> bool:
    """Whether this is a table that the draft has already: one embedding saved under two names."""
    weight = tensors.get(join(prefix, "weight"))
    tables = [tensors[join(d.prefix, "weight")] for d in drafts if d.op == "embedding"]
    return weight is not None and "emb" in prefix.lower() and any(place(weight) == place(t) for t in tables)


def _groups(tensors: Mapping[str, Tensor]) -> list[_Group]:
    groups: dict[str, _Group] = {}
    for name, tensor in tensors.items():
        prefix, _, leaf = name.rpartition(".")
        shape = tuple(max(-1, min(n, _MAX_SIZE)) for n in tensor.shape)
        groups.setdefault(prefix, _Group(prefix, {})).shapes[leaf] = shape
    return list(groups.values())


# -- layers --------------------------------------------------------------------------------------


def _draft(group: _Group, following: _Group | None, first: bool) -> _Draft | None:
    """The layer that has these weights, None if we know of none."""
    if any(_RECURRENT_NAME.match(n) for n in group.shapes):
        return _recurrent(group)
    weight = group.shapes.get("weight", ())
    if mean := group.shapes.get("running_mean"):
        return _Draft("batchnorm", group.prefix, f"over {mean[-1]} features", mean[-1], mean[-1], ["eps = 1e-5"])
    if attended := group.shapes.get("in_proj_weight"):
        return _Draft("multihead", group.prefix, "heads: the weights do not tell", attended[-1], attended[-1], ["heads = 1"])
    if len(weight) in (3, 4):
        return _conv(group.prefix, weight)
    if weight == (1,) and "bias" not in group.shapes:
        return _Draft("prelu", group.prefix, "one slope", 0, 0)
    if len(weight) == 2 and "bias" not in group.shapes:
        return _table_or_matrix(group.prefix, weight, following, first)
    if len(weight) == 2:
        return _Draft("dense", group.prefix, f"{weight[1]} -> {weight[0]}", weight[1], weight[0])
    if len(weight) == 1 and weight[0] > 1:
        note = f"over {weight[0]} features"
        return _Draft("layernorm", group.prefix, note, weight[0], weight[0], ["eps = 1e-5"])
    return None


def _conv(prefix: str, weight: tuple[int, ...]) -> _Draft:
    """A Conv1d over the steps, or a Conv2d over images: how many features that is depends on their height."""
    window = " x ".join(map(str, weight[2:]))
    note = f"{weight[1]} -> {weight[0]}, {window}; stride, padding, dilation and groups: the weights do not tell"
    if len(weight) == 3:
        return _Draft("conv", prefix, note, weight[1], weight[0])
    options = ['time = "width"       # or "height", "none": which dimension the steps are']
    options += ["size = [1, 1]        # height and width of the image at a step; only the first of such layers needs it"]
    return _Draft("conv", prefix, note, 0, 0, options)


def _table_or_matrix(prefix: str, weight: tuple[int, ...], following: _Group | None, first: bool) -> _Draft:
    """A matrix without a bias: an embedding or a Linear. The next layer reads its columns or its rows."""
    reads = 0
    if following is not None:
        weights = (following.shapes.get(n, ()) for n in ("weight_ih_l0", "weight_ih", "weight"))
        reads = next((w[1] for w in weights if len(w) == 2), 0)
    table = "emb" in prefix.lower() or weight[1] == reads != weight[0] or (first and reads != weight[0])
    if table:
        return _Draft("embedding", prefix, f"table of {weight[0]} x {weight[1]}", 0, weight[1])
    note = f"{weight[1]} -> {weight[0]}; without bias: or is it an embedding?"
    return _Draft("dense", prefix, note, weight[1], weight[0])


def _recurrent(group: _Group) -> _Draft | None:
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
    return _Draft(op, group.prefix, note, w_ih[1], writes, options, [writes] * min(layers, 64), hidden, name)


def _unknown(group: _Group) -> str:
    shapes = listed([f"{n} {s}" for n, s in group.shapes.items()], 6)
    return f"# {shown(group.prefix) or '(no prefix)'}: no supported layer has these weights: {shapes}\n"


def _initial_states(strange: list[_Group], drafts: list[_Draft], beside: Mapping[str, Tensor]) -> list[str]:
    """Give arrays that look like initial states to the one layer that they fit; comments for the others."""
    arrays = {join(g.prefix, n): s for g in strange for n, s in g.shapes.items()}
    arrays.update({n: t.shape for n, t in beside.items()})
    found = {n: s for n, s in arrays.items() if INITIAL.search(n.rpartition(".")[2]) and _can_quote(n)}
    comments = []
    for name, shape in found.items():
        fits = [d for d in drafts if d.rows and len(shape) == 3 and shape[1] == 1
                and shape[0] * shape[2] == sum(d.rows)]  # fmt: skip
        state = "c0" if name.rpartition(".")[2].lower().startswith("c") else "h0"
        if len(fits) == 1 and not any(o.startswith(state) for o in fits[0].options):
            fits[0].options.append(f"{state} = {_quoted(name)}   # {shape}: an initial state, by its name and shape")
        elif name not in beside or fits:
            comments.append(f'# {shown(name)} {shape}: an initial state? h0 = "..." in a layer takes it\n')
    for group in strange:
        group.shapes = {n: s for n, s in group.shapes.items() if join(group.prefix, n) not in found}
    return comments


# -- parts ---------------------------------------------------------------------------------------


def _split(
    groups: list[_Group], tensors: Mapping[str, Tensor], key: str | list[str] | None
) -> dict[str, list[_Group]]:
    """The layers of each part, or all under "" where it is one model.

    The decoder is one of its own where it does not read what the encoder gives: it reads what it gave itself. Tables
    beside the two are shared, other layers beside them come after the decoder.
    """
    tops = _tops([g.prefix for g in groups], key)
    parts: dict[str, list[_Group]] = {_ENCODER: [], _DECODER: []}
    for group, top in zip(groups, tops, strict=True):
        mark = _PART.search(top)
        table = mark is None and len(group.shapes) == 1 and "emb" in group.prefix.lower()
        for part in parts if table else [_DECODER if mark is None or mark[1] else _ENCODER]:
            parts[part].append(group)
    encoder, decoder = (_layers(g, tensors)[0] for g in parts.values())
    alone = {bool(m[1]) for top in tops if (m := _PART.search(top))} == {True, False}
    chained = decoder[:1] and encoder[-1:] and decoder[0].reads == encoder[-1].writes and decoder[0].op != "embedding"
    if not alone or chained or not all(any(d.hidden for d in drafts) for drafts in (encoder, decoder)):
        return {"": groups}
    return parts


def _tops(prefixes: list[str], key: str | list[str] | None) -> list[str]:
    """What each name begins with: one of several places, or the first word that is not common to all names."""
    if isinstance(key, list):
        return [next(k for k in sorted(key, key=len, reverse=True) if f"{p}.".startswith(f"{k}.")) for p in prefixes]
    words = [p.split(".") for p in prefixes]
    shared = 0
    while words and all(len(w) > shared + 1 and w[: shared + 1] == words[0][: shared + 1] for w in words):
        shared += 1
    return [w[shared] for w in words]


def _encoded(drafts: Sequence[_Draft]) -> list[str]:
    """The outputs of an encoder: the final states of its last recurrent layer, and what comes after."""
    last = next(d for d in reversed(drafts) if d.hidden)
    states = [(letter, k) for k in range(len(last.rows)) for letter in ("hc" if last.op == "lstm" else "h")]
    one = len(last.rows) == 1
    lines = [
        f"name = {_quoted(letter if one else f'{letter}{k}')}\nvalue = {_quoted(f'{last.name}.{letter}.{k}')}\n"
        for letter, k in states
    ]
    if drafts[-1] is not last:
        lines.append(f"name = {_quoted(drafts[-1].name)}\n")
    return [*lines[:-1], lines[-1] + f"# all steps, for a decoder with attention, are {shown(last.name)}\n"]


# -- order and wiring ----------------------------------------------------------------------------


def _in_order(drafts: list[_Draft]) -> list[_Draft]:
    """The order of the file, unless the sizes contradict it and allow exactly such a chain otherwise.

    Files that are sorted by name (safetensors) have ``fc`` before ``lstm``.
    """
    if len(drafts) < 2 or _is_chain(drafts):
        return drafts
    tries = 0

    def search(done: list[_Draft], left: list[_Draft]) -> list[_Draft] | None:
        nonlocal tries
        if not left:
            return done
        for i, draft in enumerate(left):
            tries += 1
            if tries > _MAX_TRIES:
                return None
            starts = draft.op in ("embedding", "dense", "conv") or draft.hidden
            if _follows(done[-1], draft) if done else starts:
                found = search([*done, draft], left[:i] + left[i + 1 :])
                if found is not None:
                    return found
        return None

    # A model more often starts with what reads tokens or sequences than with a dense layer.
    by_kind = sorted(drafts, key=lambda d: 0 if d.op == "embedding" else 1 if d.hidden else 2)
    return search([], by_kind) or drafts


def _is_chain(drafts: Sequence[_Draft]) -> bool:
    return all(_follows(a, b) for a, b in pairwise(drafts))


def _follows(above: _Draft, draft: _Draft) -> bool:
    """May a layer read what ``above`` gives? Where one of the two does not tell its features, it may."""
    return draft.op != "embedding" and (draft.reads == above.writes or not draft.reads or not above.writes)


@dataclass
class _Value:
    """Something a layer can read; ``origin`` is the input whose steps it has, ``read`` whether one does."""

    name: str
    size: int
    origin: str
    draft: _Draft | None = None
    read: bool = False


def _wire(drafts: list[_Draft]) -> tuple[list[str], list[str]]:
    """Decide what each layer reads; returns the [[input]] and the [[output]] tables."""
    inputs: dict[str, list[str]] = {}
    values: list[_Value] = []  # latest last
    taken = {"x"}
    for i, draft in enumerate(drafts):
        draft.name = _free(draft.name or draft.prefix.rpartition(".")[2] or draft.op, taken)
        if i == 0 or draft.op == "embedding":
            origin = "x" if i == 0 else _free(f"{draft.name}_ids", taken)
            inputs[origin] = _input(origin, draft)
            draft.source = origin if i else ""
            if i == 0 and draft.reads:
                values.append(_Value(origin, draft.reads, origin, read=True))
        elif not draft.reads or not values[-1].size:
            values[-1].read = True
            origin = values[-1].origin
            if draft.op in ("prelu", "batchnorm"):  # as many as there are
                draft.writes = values[-1].size
        else:
            sources = _sources(draft, drafts[i - 1], values)
            origin = _joined(draft, sources, inputs) if sources else values[-1].origin
        values.append(_Value(draft.name, draft.writes, origin, draft))
    ends = [v.name for v in values if not v.read]
    outputs = [f"name = {_quoted(n)}\n" for n in ends] if len(ends) > 1 else []
    used = {s for d in drafts for s in (d.source, *d.parts)} | (set(ends) if outputs else set())
    for draft in drafts:
        if draft.name not in used and not draft.hidden:
            draft.name = ""
    tables = list(inputs.values()) or [['name = "x"', 'kind = "seq"         # features (N, T, F)']]
    return ["\n".join(t) + "\n" for t in tables], outputs


def _sources(draft: _Draft, above: _Draft, values: list[_Value]) -> list[_Value]:
    """The values that a layer reads, by their sizes: what nothing has read yet comes first."""
    same = [v for v in values if v.size == draft.reads]
    unread = [v for v in values if not v.read]
    if same:
        chosen = max(same, key=lambda v: (not v.read, _alike(v, draft), values.index(v)))
        chosen.read = True
        if chosen.draft is not above:
            draft.source = chosen.name
        return [chosen]
    if 2 <= len(unread) <= 6 and sum(v.size for v in unread) == draft.reads:
        parts = unread
    elif above.hidden and len(above.rows) > 1 and sum(above.rows) == draft.reads:
        values[-1].read = True
        draft.parts = [f"{above.name}.h.{k}" for k in range(len(above.rows))]
        return [values[-1]]
    else:
        parts = _pair(values, draft.reads)
    for v in parts:
        v.read = True
    if not parts:
        values[-1].read = True
        draft.note += f"; but no value above has {draft.reads} features: what does it read?"
    draft.parts = [v.name for v in parts]
    return parts


def _alike(value: _Value, draft: _Draft) -> int:
    """How many characters the names of two layers start with in common."""
    pairs = zip(value.draft.prefix, draft.prefix, strict=False) if value.draft else ()
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _joined(draft: _Draft, sources: list[_Value], inputs: dict[str, list[str]]) -> str:
    """The input whose steps a layer has; values with steps of different inputs are joined by their last states."""
    origin = sources[0].origin
    others = [v.origin for v in sources[1:] if v.origin != origin]
    if others and all(v.draft and v.draft.hidden for v in sources):
        draft.parts = [f"{v.name}.h" for v in sources]
    else:
        for other in dict.fromkeys(others):
            inputs[other].append(f"of = {_quoted(origin)}             # the same steps, as they are joined below")
    return origin


def _pair(values: list[_Value], size: int) -> list[_Value]:
    """The latest two values that have ``size`` features together."""
    for j in range(len(values) - 1, 0, -1):
        for i in range(j - 1, -1, -1):
            if values[i].size + values[j].size == size:
                return [values[i], values[j]]
    return []


def _free(name: str, taken: set[str]) -> str:
    out, k = name, 2
    while out in taken:
        out, k = f"{name}_{k}", k + 1
    taken.add(out)
    return out


def _input(name: str, draft: _Draft) -> list[str]:
    if draft.op == "embedding":
        kind = 'kind = "ids"         # token ids (N, T)'
    else:
        kind = f'kind = "seq"         # features (N, T, {draft.reads or "F"})'
    return [f"name = {_quoted(name)}", kind]


# -- what is not in the file -----------------------------------------------------------------------


def _questions(draft: _Draft, later: Sequence[_Draft], table: str) -> list[str]:
    """Commented layers at the places where layers without weights often are."""
    dense_follows = any(d.op == "dense" for d in later)
    if draft.hidden and dense_follows and not any(d.hidden for d in later) and not later[0].parts:
        return [f'# [[{table}layer]]\n# op = "last"        # uncomment if only the last step goes on\n']
    if draft.op == "dense" and dense_follows:
        return [f'# [[{table}layer]]\n# op = "relu"        # an activation in between? it has no weights\n']
    if draft.op == "dense" and not later:
        return [f'# [[{table}layer]]\n# op = "sigmoid"     # a final activation, such as sigmoid or softmax?\n']
    return []


def _not_told(drafts: Sequence[_Draft]) -> str:
    """The list of what the weights do not tell about such layers."""
    ops = {d.op for d in drafts}
    lines = ["activations between layers and at the end; sums with earlier values (skip connections)"]
    if any(d.hidden for d in drafts):
        lines.append("whether all steps, the last one or the final state (name.h) goes on; pooling or attention")
        lines.append("whether rows have lengths of their own, and initial states other than zero")
    if "rnn" in ops:
        lines.append("the nonlinearity of the rnn")
    if ops & {"layernorm", "batchnorm"}:
        lines.append("eps of the normalisation, and for batchnorm its place before or after an activation")
    return "# What the weights do not tell:\n" + "".join(f"# - {line}\n" for line in lines)


# -- names -----------------------------------------------------------------------------------------


def _can_quote(name: str) -> bool:
    """Can the name stand in a TOML file that people read? Half of a surrogate pair cannot at all."""
    return len(name) <= _MAX_NAME and not any("\ud800" <= c <= "\udfff" for c in name)


def _quoted(name: str) -> str:
    """A TOML string; what is not printable is escaped, so that it reaches no terminal."""

    def escaped(c: str) -> str:
        if c in '"\\':
            return "\\" + c
        return c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"

    return '"' + "".join(map(escaped, name)) + '"'
