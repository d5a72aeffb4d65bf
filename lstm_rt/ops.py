"""The ops of a graph: one entry each, of which graphs, files, ``info`` and docs/format.md are made.

An entry says what a node of the op reads, writes, has as attributes and as weights, and where those stand in a file.
What it computes is in docs/format.md, section 5; the arbiter of the equations is
:mod:`lstm_rt_tools.judges.reference`; the row that runs it is in ``src/ops``.

Letters stand for sizes: the first use of one binds it, each further use must agree. So ``dense`` reads features of
size I, has a weight (O, I) and a bias (O,), and gives size O.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ._checks import Array, check_limit, integer, number
from ._core import MAX_ROWS, MAX_SIZE
from ._window import MAX_PLACE, MAX_TIME, Window
from .activations import NOT_ELEMENTWISE, as_activation
from .errors import GraphError, did_you_mean
from .quantised import PANEL, Quantised

FEATURES: tuple[str, ...] = ("seq", "vec")
#: Values in the order of their codes in files, from 1.
KINDS: tuple[str, ...] = ("seq", "vec", "ids", "mask", "lengths")
MAX_STEPS = 0x7FFFFFFF  #: of a time axis
MAX_TAKE = 0x3FFFFFFF  #: first step and stride of a take: their sum is an i32


@dataclass(frozen=True)
class Axis:
    """A time axis. Of ``n`` steps of ``parent`` it has ``(n * mul + add) // div``, at least 0 and at most ``cap``.

    Without a parent the inputs on it bring the number of steps; with ``mul`` 0 it has always ``add``.
    """

    parent: int | None = None
    mul: int = 1
    add: int = 0
    div: int = 1
    cap: int = MAX_STEPS

    def __post_init__(self) -> None:
        if self.parent is not None:
            integer("time axis", "parent", self.parent)
        for name, least, most in (("mul", 0, MAX_STEPS), ("div", 1, MAX_STEPS), ("cap", 0, MAX_STEPS),
                                  ("add", -MAX_STEPS - 1, MAX_STEPS)):  # fmt: skip
            value = integer("time axis", name, getattr(self, name))
            if not least <= value <= most:
                raise GraphError(f"time axis: {name} is {value}, expected {least} to {most}")

    @property
    def is_input(self) -> bool:
        """Do inputs bring its steps?"""
        return self.parent is None and self.mul != 0

    def is_part_of(self, whole: Axis) -> bool:
        """Is it derived as ``whole`` is, but for steps that it drops at the end?"""
        return replace(self, add=0, cap=0) == replace(whole, add=0, cap=0) and self.add <= whole.add

    def steps(self, n: Any) -> Any:
        """Steps (or valid steps of rows) where the parent has ``n``: a number, or an array of them."""
        whole = (n * self.mul + self.add) // self.div
        return max(0, min(whole, self.cap)) if isinstance(n, int) else np.clip(whole, 0, self.cap)


@dataclass(frozen=True)
class Input:
    """One value that an op reads; ``size`` is a letter for its features.

    ``beside``: the number of the input on whose time axis it is; None: on any.
    """

    name: str
    kinds: tuple[str, ...] = FEATURES
    size: str = ""
    optional: bool = False
    beside: int | None = 0


@dataclass(frozen=True)
class Output:
    """One value that an op writes: of the kind and size of the first input where they are empty.

    ``size``: a letter, the name of an attribute, ``+``, the sum of the inputs' sizes, or ``max``, the largest of them.
    """

    kind: str = ""
    size: str = ""


@dataclass(frozen=True)
class Attr:
    """One attribute: its type ``i32``, ``u32``, ``u16``, ``f32`` or ``activation``, and its number in a node's record.

    Two of u16 may share a number: ``high`` is the one that begins two bytes later.

    ``codes``: the values that it may have (integers, words, or False and True), and what stands for them in files.
    ``default``: what it is where it is left out. ``note``: for docs/format.md.
    """

    name: str
    type: str
    at: int
    least: float | None = None
    most: float | None = None
    codes: Mapping[Any, int] | None = None
    note: str = ""
    default: Any = None
    high: bool = False

    @property
    def place(self) -> int:
        """Where in the attributes of a node's record it begins, in bytes."""
        return 4 * self.at + 2 * self.high

    @property
    def python(self) -> builtins.type[Any]:
        """The type that it has in graphs and in architecture files; an activation is a str there."""
        if self.codes is not None:
            return type(next(iter(self.codes)))
        return {"f32": float, "activation": str}.get(self.type, int)

    def checked(self, op: str, value: Any) -> Any:
        """The value as a graph holds it; GraphError if it cannot be."""
        if self.type == "activation":
            return as_activation(value)
        if self.codes is not None:
            return self._one_of(op, value, self.codes)
        if self.type == "f32":
            value = number(op, self.name, value)
            if self.least is not None and value < self.least:
                raise GraphError(f"{op}: {self.name} is {value}, expected a non-negative number")
            return value
        value = integer(op, self.name, value)
        least = -(1 << 31) if self.least is None and self.type == "i32" else self.least or 0
        most = (1 << 31) - 1 if self.most is None else self.most
        if not least <= value <= most:
            wanted = "an int32" if self.least is None and self.type == "i32" else f"{least} to {most}"
            raise GraphError(f"{op}: {self.name} is {value}, expected {wanted}")
        return value

    def _one_of(self, op: str, value: Any, codes: Mapping[Any, int]) -> Any:
        if self.python is not str:
            value = integer(op, self.name, value)
        if not isinstance(value, (str, int)) or value not in codes:
            near = did_you_mean(value, codes) if self.python is str else ""
            raise GraphError(f"{op}: {self.name} is {value}, expected {' or '.join(map(str, codes))}{near}")
        return next(known for known in codes if known == value)


@dataclass(frozen=True)
class Weight:
    """One weight: its shape in letters, and its layout in files (docs/format.md, section 3).

    Layout ``index``: integers, which are numbers of features of the first input.
    """

    name: str
    shape: str
    layout: str = "panels"
    optional: bool = False
    note: str = ""
    integers: bool = False  #: may it be a Quantised?


@dataclass(frozen=True)
class Cell:
    """What recurrent ops have beside: gates per unit, weights of a direction, what acts where by default."""

    gates: int
    weights: tuple[str, ...]
    activations: tuple[str, ...]


Written = tuple[str, int, int | Axis]


@dataclass(frozen=True)
class Op:
    """One entry."""

    name: str
    code: int
    inputs: tuple[Input, ...]
    output: Output = Output()
    attrs: tuple[Attr, ...] = ()
    weights: tuple[Weight, ...] = ()
    since: int = 1  #: the first version of the format that has it
    alike: bool = False  #: are all inputs of the kind and size of the first?
    many: bool = False  #: takes two or more of its input
    #: May an input of size 1 stand for any size, and a vec for a seq of the same vectors? Before version 4 it may not.
    broadcasts: bool = False
    stored: tuple[Weight, ...] | None = None  #: what files hold in place of ``weights``
    check: Callable[[Mapping[str, Any], Mapping[str, Array], int], None] | None = None  #: what else must hold
    #: The axis of its output where that is not its input's: from the attributes and the input's axis. None: any axis.
    axis: Callable[[Mapping[str, Any], int], Axis | None] | None = None
    #: Kind, size and axis (or its rule) of each value that it writes, from its attributes, its weights and the values
    #: that it reads, where ``output`` cannot say so.
    writes: Callable[[Mapping[str, Any], Mapping[str, Array], Sequence[Any]], list[Written]] | None = None
    gives: str = ""  #: what ``writes`` says, for docs/format.md
    section: str = ""  #: of docs/format.md, where a line does not suffice
    cell: Cell | None = None


def _check_table(attrs: Mapping[str, Any], weights: Mapping[str, Array], size: int) -> None:
    check_limit("rows of an embedding", len(weights["table"]), MAX_ROWS)


def _looked_up(attrs: Mapping[str, Any], weights: Mapping[str, Array], read: Sequence[Any]) -> list[Written]:
    ids, start, at_step = read[0], attrs["start"], max(read[0].size, 1)
    count = attrs["count"] or at_step - start
    if start >= at_step or start + count > at_step:
        raise GraphError(f"embedding: [{start}, {start + count}) is not within {at_step} ids at a step")
    size = check_limit("features of a value", count * weights["table"].shape[1], MAX_SIZE)
    return [("seq" if ids.timed else "vec", size, ids.axis)]


def _masked(attrs: Mapping[str, Any], weights: Mapping[str, Array], read: Sequence[Any]) -> list[Written]:
    ids = read[0]
    if not ids.timed or ids.size > 1:
        raise GraphError(f"mask_ids: {max(ids.size, 1)} ids {'at a step' if ids.timed else 'without steps'}, "
                         "expected one at a step")  # fmt: skip
    return [("mask", 0, ids.axis)]


def _check_statistics(attrs: Mapping[str, Any], weights: Mapping[str, Array], size: int) -> None:
    if np.any(weights["var"] < 0):
        raise GraphError("batchnorm: var holds a negative number")


def _check_slice(attrs: Mapping[str, Any], weights: Mapping[str, Array], size: int) -> None:
    start, count = attrs["start"], attrs["size"]
    if start + count > size:
        raise GraphError(f"slice: [{start}, {start + count}) is not within {size} features")


def _taken(attrs: Mapping[str, Any], axis: int) -> Axis:
    return Axis(axis, 1, attrs["stride"] - 1 - attrs["start"], attrs["stride"])


def _repeated(attrs: Mapping[str, Any], axis: int) -> Axis | None:
    if (attrs["times"] > 0) != (axis >= 0):
        raise GraphError(f"repeat: times is {attrs['times']}, expected 1 or more of a seq, 0 of a vec")
    return Axis(axis, attrs["times"]) if axis >= 0 else None


def _check_groups(op: str) -> Callable[[Mapping[str, Any], Mapping[str, Array], int], None]:
    def check(attrs: Mapping[str, Any], weights: Mapping[str, Array], size: int) -> None:
        if size % attrs["groups"]:
            raise GraphError(f"{op}: groups is {attrs['groups']}, expected a divisor of {size}, the number of features")

    return check


def _check_index(attrs: Mapping[str, Any], weights: Mapping[str, Array], size: int) -> None:
    index = weights["index"]
    if index.min() < 0 or index.max() >= size:
        raise GraphError(f"gather: the index has {index.min()} to {index.max()}, expected 0 to {size - 1}")


#: What a number of values may be reduced to, and their codes in files. l2: the root of the sum of squares.
REDUCTIONS: dict[str, int] = {"sum": 0, "mean": 1, "max": 2, "min": 3, "prod": 4, "l2": 5}


def _check_attention(attrs: Mapping[str, Any], weights: Mapping[str, Array], size: int) -> None:
    if "weight" in weights and attrs["kind"] != "additive":
        raise GraphError("attention: a weight is of the kind additive alone")


def _attended(attrs: Mapping[str, Any], weights: Mapping[str, Array], read: Sequence[Any]) -> list[Written]:
    """What attention gives, and where q is a vec its weights on k's axis."""
    q, k, v = read[:3]
    heads: int = attrs["heads"]
    groups: int = attrs["kv_heads"] or heads
    if q.size % heads or heads % groups:
        raise GraphError(f"attention: {heads} heads of q and {groups} of k and v do not fit {q.size} features")
    if k.size != q.size // heads * groups or v.size % groups:
        raise GraphError(
            f"attention: q, k and v have {q.size}, {k.size} and {v.size} features, "
            f"expected {heads}, {groups} and {groups} heads, of q and k of one size"
        )
    if attrs["causal"] and q.kind != "seq":
        raise GraphError("attention: causal is about the steps of q, which is a vec")
    out = (q.kind, v.size // groups * heads, q.axis)
    return [out] if q.kind == "seq" else [out, ("seq", heads, k.axis)]


def _derived(axis: int, add: int, div: int = 1) -> int | Axis:
    """The rule of an axis of (n + add) // div steps; the axis itself where that is n."""
    return Axis(axis, 1, add, div) if (add, div) != (0, 1) else axis


def _over_windows(op: str, window: Window, x: Any, channels: int) -> Written:
    """A value of so many channels for each window of x."""
    if window.span > MAX_SIZE:
        raise GraphError(f"{op}: a window of {window.span + 1} steps, expected at most {MAX_SIZE + 1}")
    if window.depth * x.size >= 1 << 31:
        raise GraphError(f"{op}: {window.depth} steps of {x.size} features are more than a stream can keep")
    if x.kind == "vec" and (window.kernel[0], window.step_rule) != (1, (0, 1)):
        raise GraphError(f"{op}: a vec has one step, expected no kernel, stride or padding over time")
    height, width = window.out_size
    axis = _derived(x.axis, *window.step_rule) if x.kind == "seq" else -1
    return x.kind, check_limit("features of a value", height * width * channels, MAX_SIZE), axis


def _convolved(attrs: Mapping[str, Any], weights: Mapping[str, Array], read: Sequence[Any]) -> list[Written]:
    out, inside, *(t, h, w) = weights["weight"].shape
    x, groups, window = read[0], attrs["groups"], Window.of(attrs, (t, h, w))
    channels = window.channels("conv", x.size)
    if channels != inside * groups or out % groups:
        raise GraphError(
            f"conv: {channels} channels of x and {groups} groups do not fit a weight of shape {weights['weight'].shape}"
        )
    check_limit("weights of an output of all groups", weights["weight"][0].size * groups, MAX_SIZE)
    if isinstance(weights["weight"], Quantised) and groups > 1 and out // groups % PANEL:
        raise GraphError(f"conv: integer weights of groups of {out // groups} outputs, expected a multiple of {PANEL}")
    return [_over_windows("conv", window, x, out)]


def _pooled(attrs: Mapping[str, Any], weights: Mapping[str, Array], read: Sequence[Any]) -> list[Written]:
    t, h, w = (attrs[f"kernel_{d}"] for d in "thw")
    window = Window.of(attrs, (t, h, w))
    return [_over_windows("pool", window, read[0], window.channels("pool", read[0].size))]


def _convlstm(attrs: Mapping[str, Any], weights: Mapping[str, Array], read: Sequence[Any]) -> list[Written]:
    x, h0, c0 = read
    rows, inside, kernel_h, kernel_w = weights["w_ih"].shape
    window = Window.of(attrs, (1, kernel_h, kernel_w))
    channels, hidden = window.channels("convlstm", x.size), weights["w_hh"].shape[1]
    if rows != 4 * hidden or channels != inside:
        raise GraphError(
            f"convlstm: weights of shapes {weights['w_ih'].shape} and {weights['w_hh'].shape} do not fit {channels} "
            f"channels of x, or each other"
        )
    for act in ("gate", "cell", "output"):
        if attrs[act].name in NOT_ELEMENTWISE:
            raise GraphError(f"convlstm: {attrs[act].name} cannot be a gate activation, it mixes features")
    for w in ("w_ih", "w_hh"):
        check_limit("inputs of a unit", weights[w][0].size, MAX_SIZE)
    size = _over_windows("convlstm", window, x, hidden)[1]
    for name, state in (("h0", h0), ("c0", c0)):
        if state is not None and state.size != size:
            raise GraphError(f"convlstm: {name} has {state.size} features, expected {size}")
    return [("seq", size, x.axis), ("vec", size, -1), ("vec", size, -1)]


def _padded(attrs: Mapping[str, Any], weights: Mapping[str, Array], read: Sequence[Any]) -> list[Written]:
    return [("seq", read[0].size, _derived(read[0].axis, attrs["before"] + attrs["after"]))]


def _flattened(attrs: Mapping[str, Any], weights: Mapping[str, Array], read: Sequence[Any]) -> list[Written]:
    return [("vec", check_limit("features of a value", attrs["steps"] * read[0].size, MAX_SIZE), -1)]


def _any_axis(attrs: Mapping[str, Any], axis: int) -> Axis | None:
    return None


def _unflattened(attrs: Mapping[str, Any], weights: Mapping[str, Array], read: Sequence[Any]) -> list[Written]:
    x, times = read[0], attrs["times"]
    if x.size % times:
        raise GraphError(f"unflatten: {x.size} features are not {times} steps of as many each")
    return [("seq", x.size // times, Axis(x.axis, times) if x.kind == "seq" else Axis(mul=0, add=times))]


def _flag(name: str, at: int) -> Attr:
    return Attr(name, "u32", at, codes={False: 0, True: 1}, note="0 or 1", default=False)


_X = Input("x")
_XF = Input("x", size="F")
_SEQ = Input("x", ("seq",))
_ACTIVATION = Attr("activation", "activation", 0)
_EPS = Attr("eps", "f32", 0, least=0, note="finite, >= 0")
_GROUPS = Attr("groups", "u32", 1, 1, MAX_SIZE, note=">= 1, divides F")
_KIND = Attr("kind", "u32", 0, codes=REDUCTIONS, note="0 sum, 1 mean, 2 max, 3 min, 4 prod, 5 l2")
_TWO = (Input("a"), Input("b"))
_WIDEST = Output(size="max")
_RECURRENT = (
    Input("x", ("seq",), "I"),
    Input("h0", ("vec",), optional=True),
    Input("c0", ("vec",), optional=True),
    Input("mask", ("mask",), optional=True),
)
_COUNTS = Input("mask", ("mask",), optional=True)  #: which steps count
_KEYS = Input("k", ("seq",), beside=None)
_SIZE = (Attr("height", "u32", 0, 1, MAX_SIZE, default=1), Attr("width", "u32", 1, 1, MAX_SIZE, default=1))


def _pair(names: tuple[str, str], at: int, least: int, default: int | None) -> tuple[Attr, ...]:
    """Two numbers in one attribute."""
    return tuple(Attr(name, "u16", at, least, MAX_PLACE, default=default, high=i > 0) for i, name in enumerate(names))


def _places(name: str, at: int, default: int | None = 1) -> tuple[Attr, ...]:
    return _pair((f"{name}_h", f"{name}_w"), at, 1, default)


def _window(name: str, at: int, default: int | None = 1) -> tuple[Attr, ...]:
    """One of time, then two of height and width."""
    most = MAX_TIME if name == "stride" else MAX_SIZE
    return (Attr(f"{name}_t", "u32", at, 1, most, default=default), *_places(name, at + 1, default))


def _padding(at: int) -> tuple[Attr, ...]:
    return (*_pair(("before_h", "after_h"), at, 0, 0), *_pair(("before_w", "after_w"), at + 1, 0, 0))


_PAD = (Attr("before_t", "u32", 8, 0, MAX_TIME, default=0), Attr("after_t", "u32", 9, 0, MAX_TIME, default=0),
        *_padding(10))  # fmt: skip
_BIASED = ("w_ih", "w_hh", "b_ih", "b_hh")

_ENTRIES = (
    Op("embedding", 1, (Input("ids", ("ids",)),), writes=_looked_up,
       gives="seq, of ids without steps vec, of size F times the ids read",
       attrs=(Attr("start", "u32", 0, 0, MAX_SIZE, note="less than the ids at a step", default=0),
              Attr("count", "u32", 1, 0, MAX_SIZE, note="so many from there; 0: all", default=0)),
       weights=(Weight("table", "VF", "plain", note="version 2: or panels 1 × V × F", integers=True),),
       check=_check_table),
    Op("mask_ids", 2, (Input("ids", ("ids",)),), writes=_masked, gives="mask, same axis",
       attrs=(Attr("value", "i32", 0),)),
    Op("mask_values", 3, (_SEQ,), Output("mask"), (Attr("value", "f32", 0),)),
    Op("apply_mask", 4, (_SEQ, Input("mask", ("mask",)))),
    Op("lstm", 5, _RECURRENT,
       cell=Cell(4, (*_BIASED, "w_hr", "peephole"), ("sigmoid", "tanh", "tanh"))),
    Op("gru", 6, _RECURRENT, cell=Cell(3, _BIASED, ("sigmoid", "tanh"))),
    Op("rnn", 7, _RECURRENT, cell=Cell(1, _BIASED, ("tanh",))),
    Op("dense", 8, (Input("x", size="I"),), Output(size="O"), (_ACTIVATION,),
       (Weight("weight", "OI", integers=True), Weight("bias", "O", optional=True))),
    Op("activation", 9, (_X,), attrs=(_ACTIVATION,)),
    Op("layernorm", 10, (_XF,), attrs=(_EPS,),
       weights=(Weight("gamma", "F", "vector", True), Weight("beta", "F", "vector", True))),
    Op("batchnorm", 11, (_XF,), attrs=(Attr("eps", "f32", -1, least=0),),
       weights=(Weight("mean", "F", "vector"), Weight("var", "F", "vector"),
                Weight("gamma", "F", "vector", True), Weight("beta", "F", "vector", True)),
       stored=(Weight("mean", "F", "vector"), Weight("scale", "F", "vector"), Weight("beta", "F", "vector")),
       check=_check_statistics),
    Op("add", 12, _TWO, _WIDEST, broadcasts=True),
    Op("mul", 13, _TWO, _WIDEST, broadcasts=True),
    Op("average", 14, _TWO, alike=True),
    Op("concat", 15, (_X,), Output(size="+"), many=True),
    Op("slice", 16, (_XF,), Output(size="size"),
       (Attr("start", "u32", 0, most=MAX_SIZE), Attr("size", "u32", 1, 1, MAX_SIZE, note=">= 1, start + size <= F")),
       check=_check_slice),
    Op("select", 17, (_SEQ,), Output("vec"),
       (Attr("index", "u32", 0, codes={0: 0, -1: 1}, note="0 for the first step, 1 for the last"),)),
    Op("reverse", 18, (_SEQ,)),
    Op("take", 19, (_SEQ,), since=3, axis=_taken,
       attrs=(Attr("start", "u32", 0, 0, MAX_TAKE, note="0 to 2^30 − 1"),
              Attr("stride", "u32", 1, 1, MAX_TAKE, note="1 to 2^30 − 1"))),
    Op("repeat", 20, (_X,), Output("seq"), since=3, axis=_repeated,
       attrs=(Attr("times", "u32", 0, 0, MAX_SIZE, note="1 to 2^20; 0 for vec"),)),
    Op("sub", 21, _TWO, _WIDEST, since=4, broadcasts=True),
    Op("div", 22, _TWO, _WIDEST, since=4, broadcasts=True),
    Op("maximum", 23, _TWO, _WIDEST, since=4, broadcasts=True),
    Op("minimum", 24, _TWO, _WIDEST, since=4, broadcasts=True),
    Op("pow", 25, _TWO, _WIDEST, since=4, broadcasts=True),
    Op("gather", 26, (_XF,), Output(size="O"), weights=(Weight("index", "O", "index", note="each less than F"),),
       since=4, check=_check_index),
    Op("prelu", 27, (_XF,), weights=(Weight("alpha", "F", "vector"),), since=4),
    Op("l2norm", 28, (_XF,), attrs=(_EPS, _GROUPS), since=4, check=_check_groups("l2norm")),
    Op("groupnorm", 29, (_XF,), attrs=(_EPS, _GROUPS), since=4, check=_check_groups("groupnorm"),
       weights=(Weight("gamma", "F", "vector", True), Weight("beta", "F", "vector", True))),
    Op("reduce", 30, (_SEQ, _COUNTS), Output("vec"), since=4,
       attrs=(_KIND, _flag("whole", 1))),
    Op("softmax_steps", 31, (_SEQ, _COUNTS), since=4, attrs=(_flag("whole", 0),)),
    Op("cumsum", 32, (_SEQ,), since=4),
    Op("conv", 33, (_X,), since=4, section="5.3", writes=_convolved,
       attrs=(*_SIZE, *_window("stride", 4), *_window("dilation", 6), *_PAD,
              Attr("groups", "u32", 12, 1, MAX_SIZE, default=1), _flag("whole", 13)),
       weights=(Weight("weight", "Octhw", integers=True), Weight("bias", "O", optional=True))),
    Op("pool", 34, (_X,), since=4, section="5.3", writes=_pooled,
       attrs=(*_SIZE, *_window("kernel", 2, None), *_window("stride", 4), *_window("dilation", 6), *_PAD,
              Attr("kind", "u32", 12, codes={"max": 0, "avg": 1, "avg_pad": 2}), _flag("whole", 13))),
    Op("pad", 35, (_SEQ,), since=4, writes=_padded, gives="seq, same size, derived axis",
       attrs=(Attr("before", "u32", 0, 0, MAX_TIME, note="0 to 2^28"),
              Attr("after", "u32", 1, 0, MAX_TIME, note="0 to 2^28"),
              Attr("value", "f32", 2, note="finite", default=0.0),
              Attr("mode", "u32", 3, codes={"constant": 0, "edge": 1, "reflect": 2},
                   note="0 constant, 1 edge, 2 reflect", default="constant"))),
    Op("flatten", 36, (_SEQ,), since=4, writes=_flattened, gives="vec of size attribute 0 times F",
       attrs=(Attr("steps", "u32", 0, 1, MAX_SIZE, note=">= 1"),)),
    Op("unflatten", 37, (_X,), since=4, writes=_unflattened, gives="seq of size F / attribute 0, derived axis",
       attrs=(Attr("times", "u32", 0, 1, MAX_SIZE, note=">= 1, divides F"),)),
    Op("attention", 38, (_XF, _KEYS, replace(_KEYS, name="v", beside=1), replace(_COUNTS, beside=1)), since=4,
       attrs=(Attr("heads", "u32", 0, 1, MAX_SIZE, default=1), Attr("kv_heads", "u32", 1, 0, MAX_SIZE, default=0),
              Attr("kind", "u32", 2, codes={"dot": 0, "additive": 1}, default="dot"),
              Attr("scale", "f32", 3, default=1.0), _flag("causal", 4), _flag("whole", 5)),
       weights=(Weight("weight", "F", "vector", True),), section="5.2", check=_check_attention,
       writes=_attended),
    Op("convlstm", 39, (_SEQ, Input("h0", ("vec",), optional=True, beside=None),
                        Input("c0", ("vec",), optional=True, beside=None)),
       since=4, section="5.3", writes=_convlstm,
       attrs=(*_SIZE, *_places("stride", 3), *_places("dilation", 4), *_padding(5),
              Attr("gate", "activation", 8, default="sigmoid"), Attr("cell", "activation", 11, default="tanh"),
              Attr("output", "activation", 14, default="tanh")),
       weights=(Weight("w_ih", "Gchw", integers=True), Weight("w_hh", "GHij", integers=True),
                Weight("bias", "G", optional=True))),
    Op("reduce_features", 40, (_XF,), Output(size="groups"), (_KIND, _GROUPS), since=4,
       check=_check_groups("reduce_features")),
    Op("constant", 41, (), Output("vec", "F"), weights=(Weight("value", "F", "vector"),), since=4),
    Op("align", 42, (_SEQ,), since=4, axis=_any_axis, gives="seq, same size, any axis"),
    Op("cut", 43, (_SEQ,), since=5, axis=_any_axis, gives="seq, same size, any axis"),
)  # fmt: skip

OPS: dict[str, Op] = {op.name: op for op in _ENTRIES}
OF_CODE: dict[int, Op] = {op.code: op for op in _ENTRIES}
#: Gates per hidden unit, in the order of the rows of ``w_ih``: LSTM i f g o, GRU r z n.
GATES: dict[str, int] = {op.name: op.cell.gates for op in _ENTRIES if op.cell is not None}


def cell_of(op: str) -> Cell:
    """What the recurrent op of this name has beside."""
    cell = OPS[op].cell
    assert cell is not None
    return cell
