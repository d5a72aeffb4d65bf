"""A first draft of an architecture file, guessed from the names and shapes of weights.

The evidence is in the sizes: what a layer reads must be what another one gives. Layers stand in the
order of the file where the sizes allow it, else in the first order that they do allow; values that
only fit side by side are joined. What no file tells is listed at the end of the draft.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from ..names import listed, shown
from ..weights.find import place
from ..weights.state_dict import INITIAL, join
from ..weights.tensors import Tensor
from .drafts import Draft, Group, can_quote, draft_of, groups_of, quoted, unknown

_MAX_GROUPS = 100  #: of layers
_MAX_TRIES = 10_000  #: steps of the search for an order that fits

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
    groups = groups_of(tensors)
    text = [_HEAD]
    if key:
        told = f"[{', '.join(map(quoted, key))}]" if isinstance(key, list) else quoted(key)
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
        self, part: str, groups: Sequence[Group], tensors: Mapping[str, Tensor], beside: Mapping[str, Tensor]
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
        lines += [unknown(g) for g in self.strange if g.shapes]
        return lines + self.loose + [f"[[{table}output]]\n{text}" for text in outputs]


def _layers(groups: Sequence[Group], tensors: Mapping[str, Tensor]) -> tuple[list[Draft], list[Group]]:
    """Layers in an order that fits, and what is no layer that we know."""
    drafts: list[Draft] = []
    strange: list[Group] = []
    for i, group in enumerate(groups):
        following = groups[i + 1] if i + 1 < len(groups) else None
        owner, _, name = group.prefix.rpartition(".")
        if name == "out_proj" and join(owner, "in_proj_weight") in tensors:
            continue  # of the layer above
        if _is_copy(group.prefix, tensors, drafts):
            continue
        draft = draft_of(group, following, first=i == 0) if can_quote(group.prefix) else None
        if draft is None:
            strange.append(group)
        else:
            drafts.append(draft)
    return _in_order(drafts), strange


def _is_copy(prefix: str, tensors: Mapping[str, Tensor], drafts: list[Draft]) -> bool:
    """Whether this is a table that the draft has already: one embedding saved under two names."""
    weight = tensors.get(join(prefix, "weight"))
    tables = [tensors[join(d.prefix, "weight")] for d in drafts if d.op == "embedding"]
    return weight is not None and "emb" in prefix.lower() and any(place(weight) == place(t) for t in tables)


# -- initial states -----------------------------------------------------------------------------


def _initial_states(strange: list[Group], drafts: list[Draft], beside: Mapping[str, Tensor]) -> list[str]:
    """Give arrays that look like initial states to the one layer that they fit; comments for the others."""
    arrays = {join(g.prefix, n): s for g in strange for n, s in g.shapes.items()}
    arrays.update({n: t.shape for n, t in beside.items()})
    found = {n: s for n, s in arrays.items() if INITIAL.search(n.rpartition(".")[2]) and can_quote(n)}
    comments = []
    for name, shape in found.items():
        fits = [d for d in drafts if d.rows and len(shape) == 3 and shape[1] == 1
                and shape[0] * shape[2] == sum(d.rows)]  # fmt: skip
        state = "c0" if name.rpartition(".")[2].lower().startswith("c") else "h0"
        if len(fits) == 1 and not any(o.startswith(state) for o in fits[0].options):
            fits[0].options.append(f"{state} = {quoted(name)}   # {shape}: an initial state, by its name and shape")
        elif name not in beside or fits:
            comments.append(f'# {shown(name)} {shape}: an initial state? h0 = "..." in a layer takes it\n')
    for group in strange:
        group.shapes = {n: s for n, s in group.shapes.items() if join(group.prefix, n) not in found}
    return comments


# -- parts ---------------------------------------------------------------------------------------


def _split(
    groups: list[Group], tensors: Mapping[str, Tensor], key: str | list[str] | None
) -> dict[str, list[Group]]:
    """The layers of each part, or all under "" where it is one model.

    The decoder is one of its own where it does not read what the encoder gives: it reads what it gave itself. Tables
    beside the two are shared, other layers beside them come after the decoder.
    """
    tops = _tops([g.prefix for g in groups], key)
    parts: dict[str, list[Group]] = {_ENCODER: [], _DECODER: []}
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


def _encoded(drafts: Sequence[Draft]) -> list[str]:
    """The outputs of an encoder: the final states of its last recurrent layer, and what comes after."""
    last = next(d for d in reversed(drafts) if d.hidden)
    states = [(letter, k) for k in range(len(last.rows)) for letter in ("hc" if last.op == "lstm" else "h")]
    one = len(last.rows) == 1
    lines = [
        f"name = {quoted(letter if one else f'{letter}{k}')}\nvalue = {quoted(f'{last.name}.{letter}.{k}')}\n"
        for letter, k in states
    ]
    if drafts[-1] is not last:
        lines.append(f"name = {quoted(drafts[-1].name)}\n")
    return [*lines[:-1], lines[-1] + f"# all steps, for a decoder with attention, are {shown(last.name)}\n"]


# -- order and wiring ----------------------------------------------------------------------------


def _in_order(drafts: list[Draft]) -> list[Draft]:
    """The order of the file, unless the sizes contradict it and allow exactly such a chain otherwise.

    Files that are sorted by name (safetensors) have ``fc`` before ``lstm``.
    """
    if len(drafts) < 2 or _is_chain(drafts):
        return drafts
    tries = 0

    def search(done: list[Draft], left: list[Draft]) -> list[Draft] | None:
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


def _is_chain(drafts: Sequence[Draft]) -> bool:
    return all(_follows(a, b) for a, b in pairwise(drafts))


def _follows(above: Draft, draft: Draft) -> bool:
    """May a layer read what ``above`` gives? Where one of the two does not tell its features, it may."""
    return draft.op != "embedding" and (draft.reads == above.writes or not draft.reads or not above.writes)


@dataclass
class _Value:
    """Something a layer can read; ``origin`` is the input whose steps it has, ``read`` whether one does."""

    name: str
    size: int
    origin: str
    draft: Draft | None = None
    read: bool = False


def _wire(drafts: list[Draft]) -> tuple[list[str], list[str]]:
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
    outputs = [f"name = {quoted(n)}\n" for n in ends] if len(ends) > 1 else []
    used = {s for d in drafts for s in (d.source, *d.parts)} | (set(ends) if outputs else set())
    for draft in drafts:
        if draft.name not in used and not draft.hidden:
            draft.name = ""
    tables = list(inputs.values()) or [['name = "x"', 'kind = "seq"         # features (N, T, F)']]
    return ["\n".join(t) + "\n" for t in tables], outputs


def _sources(draft: Draft, above: Draft, values: list[_Value]) -> list[_Value]:
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


def _alike(value: _Value, draft: Draft) -> int:
    """How many characters the names of two layers start with in common."""
    pairs = zip(value.draft.prefix, draft.prefix, strict=False) if value.draft else ()
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _joined(draft: Draft, sources: list[_Value], inputs: dict[str, list[str]]) -> str:
    """The input whose steps a layer has; values with steps of different inputs are joined by their last states."""
    origin = sources[0].origin
    others = [v.origin for v in sources[1:] if v.origin != origin]
    if others and all(v.draft and v.draft.hidden for v in sources):
        draft.parts = [f"{v.name}.h" for v in sources]
    else:
        for other in dict.fromkeys(others):
            inputs[other].append(f"of = {quoted(origin)}             # the same steps, as they are joined below")
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


def _input(name: str, draft: Draft) -> list[str]:
    if draft.op == "embedding":
        kind = 'kind = "ids"         # token ids (N, T)'
    else:
        kind = f'kind = "seq"         # features (N, T, {draft.reads or "F"})'
    return [f"name = {quoted(name)}", kind]


# -- what is not in the file -----------------------------------------------------------------------


def _questions(draft: Draft, later: Sequence[Draft], table: str) -> list[str]:
    """Commented layers at the places where layers without weights often are."""
    dense_follows = any(d.op == "dense" for d in later)
    if draft.hidden and dense_follows and not any(d.hidden for d in later) and not later[0].parts:
        return [f'# [[{table}layer]]\n# op = "last"        # uncomment if only the last step goes on\n']
    if draft.op == "dense" and dense_follows:
        return [f'# [[{table}layer]]\n# op = "relu"        # an activation in between? it has no weights\n']
    if draft.op == "dense" and not later:
        return [f'# [[{table}layer]]\n# op = "sigmoid"     # a final activation, such as sigmoid or softmax?\n']
    return []


def _not_told(drafts: Sequence[Draft]) -> str:
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


