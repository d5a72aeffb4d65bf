"""The architecture file: what a bare state dict does not tell. See ``docs/arch.md``.

A small TOML file lists inputs, layers and outputs; layers name the prefix of their weights. Sizes,
numbers of layers and directions come from the weights.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from lstm_rt.errors import ConvertError, GraphError, did_you_mean
from lstm_rt.files import read_regular
from lstm_rt.graph import ACTIVATIONS, GATES, INPUT_KINDS, Activation, Array, Graph
from lstm_rt.ops import OPS, Op

from ..names import listed, shown
from ..weights.state_dict import Weights, join
from . import MAX_ARCH
from .layers import Stack, add_stack, constant, count_directions, count_layers
from .prefix import Shift, find_shift

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

ArchSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"

_TOP_KEYS = ("checkpoint", "ignore", "input", "layer", "output", "draft")
_INPUT_KEYS = ("name", "kind", "size", "of", "order")
_OUTPUT_KEYS = ("name", "value", "order")
_COMMON = ("op", "name", "input")
_RECURRENT = ("weights", "h0", "c0")
_ACT = ("activation", "alpha", "beta")
#: Ops without weights that files name as graphs do. Masks are Keras', select and activation have names of their own.
_PLAIN = {
    name: op
    for name, op in OPS.items()
    if not (op.weights or op.cell or "mask" in name or name in ("select", "activation"))
}


def _options(op: Op) -> tuple[str, ...]:
    needed = [i for i in op.inputs if not i.optional]
    return ("inputs",) if op.many or len(needed) > 1 else tuple(a.name for a in op.attrs)


#: The options of every op, besides op, name and input.
OPTIONS: dict[str, tuple[str, ...]] = {
    "embedding": ("weights",),
    "lstm": _RECURRENT,
    "gru": ("weights", "h0"),
    "rnn": ("weights", "h0", "nonlinearity"),
    "dense": ("weights", *_ACT),
    "layernorm": ("weights", "eps"),
    "batchnorm": ("weights", "eps"),
    "first": (),
    "last": (),
    **{name: _options(op) for name, op in _PLAIN.items()},
    **dict.fromkeys(ACTIVATIONS, ("alpha", "beta")),
}
_MANY_INPUTS = tuple(name for name, op in _PLAIN.items() if "inputs" in _options(op))
_MOST_IN_A_LINE = 1000  #: dots in a line, and digits in a number
_DIGITS = re.compile(rb"[0-9][0-9_]*")
_NORM_EPS = 1e-5  # PyTorch's default for LayerNorm and BatchNorm


@dataclass
class Arch:
    """A checked architecture file; ``what`` is its name for messages.

    Without layers it only says which ``checkpoint`` to take of a file that tells its architecture.
    """

    what: str
    inputs: list[dict[str, Any]]
    layers: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    ignore: list[str]
    checkpoint: str | None
    draft: bool = False  #: made up by :func:`.guess.guess_arch`, and not yet checked by anybody


def read_arch(source: ArchSource) -> Arch:
    """Read and check an architecture file (or the same as a dictionary).

    Raises:
        ConvertError: not TOML, or an unknown key, op or option: named, with the known ones.
        OSError: the file is missing, cannot be read, is no regular file or larger than 1 MiB.
    """
    what, tree = ("arch", dict(source)) if isinstance(source, Mapping) else _read_toml(source)
    _known_keys(f"{what}", tree, _TOP_KEYS)
    arch = Arch(
        what,
        _tables(what, tree, "input"),
        _tables(what, tree, "layer"),
        _tables(what, tree, "output"),
        _strings(what, "ignore", tree.get("ignore", [])),
        _optional(what, tree, "checkpoint", str),
        bool(_optional(what, tree, "draft", bool)),
    )
    if not arch.layers and (arch.checkpoint is None or arch.inputs or arch.outputs or arch.ignore):
        raise ConvertError(f"{what}: there is no [[layer]]")
    for i, entry in enumerate(arch.inputs):
        _known_keys(f"{what}: input {i + 1}", entry, _INPUT_KEYS)
    for i, entry in enumerate(arch.outputs):
        _known_keys(f"{what}: output {i + 1}", entry, _OUTPUT_KEYS)
    for i, layer in enumerate(arch.layers):
        _check_layer(_layer_title(what, i, layer), layer)
    return arch


def build(arch: Arch, weights: Weights) -> Graph:
    """The graph that ``arch`` describes with ``weights``.

    Raises:
        ConvertError: a reference, weight or shape does not fit, or weights are left over.
    """
    layers = [
        (_layer_title(arch.what, i, a), a["op"], a["weights"]) for i, a in enumerate(arch.layers) if "weights" in a
    ]
    shift = find_shift(layers, weights)
    if shift != Shift():
        weights.notes.append(shift.note())
    graph = _Builder(arch, weights, shift).build()
    weights.check_all_used(arch.ignore, shift.add)
    if arch.draft:
        weights.notes.append(
            f"{arch.what} is a draft (draft = true): how the layers are connected is a guess that nobody has checked"
        )
    return graph


# -- reading -----------------------------------------------------------------------------------


def _read_toml(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    what = os.path.basename(os.fspath(path))
    data = read_regular(path, MAX_ARCH)
    _check_lines(data, what)
    try:
        return what, tomllib.loads(data.decode())
    except (ValueError, RecursionError) as e:  # also what is not UTF-8
        raise ConvertError(f"{what}: not valid TOML ({shown(str(e))})") from None


def _check_lines(data: bytes, what: str) -> None:
    """Refuse what makes the TOML reader slow, or its memory large: endless dotted keys and numbers."""
    for i, line in enumerate(data.split(b"\n"), 1):
        if line.count(b".") > _MOST_IN_A_LINE:
            raise ConvertError(f"{what}: line {i} has more than {_MOST_IN_A_LINE} dots; write it as several lines")
    for number in _DIGITS.finditer(data):
        if number.end() - number.start() > _MOST_IN_A_LINE:
            raise ConvertError(f"{what}: not valid TOML (a number of {number.end() - number.start()} digits)")


def _known_keys(what: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = [k for k in table if k not in known]
    if unknown:
        raise ConvertError(
            f"{what}: unknown option {listed(map(repr, unknown))}; known: {', '.join(known)}"
            f"{did_you_mean(unknown[0], known)}"
        )


def _tables(what: str, tree: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    value = tree.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise ConvertError(f"{what}: {key} must be a list of tables, written [[{key}]]")
    return value


def _strings(what: str, key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ConvertError(f'{what}: {key} must be a list of names, such as {key} = ["a", "b"]')
    return value


def _optional(what: str, table: Mapping[str, Any], key: str, kind: type) -> Any:
    value = table.get(key)
    if kind is float and type(value) is int:
        value = float(value)
    if value is not None and type(value) is not kind:
        raise ConvertError(f"{what}: {key} is {value!r}, expected a {kind.__name__}")
    return value


def _required(what: str, table: Mapping[str, Any], key: str, kind: type) -> Any:
    value = _optional(what, table, key, kind)
    if value is None:
        raise ConvertError(f"{what}: {key} is missing (a {kind.__name__})")
    return value


def _layer_title(what: str, i: int, layer: Mapping[str, Any]) -> str:
    return f"{what}: layer {i + 1} ({layer.get('name') or layer.get('op')})"


def _check_layer(what: str, layer: Mapping[str, Any]) -> None:
    op = _required(what, layer, "op", str)
    if op not in OPTIONS:
        raise ConvertError(f"{what}: unknown op {op!r}; known: {', '.join(OPTIONS)}{did_you_mean(op, OPTIONS)}")
    if op == "linear" and "weights" in layer:
        raise ConvertError(f'{what}: op "linear" is the activation that does nothing; nn.Linear is op = "dense"')
    if "weights" in OPTIONS[op]:
        _required(what, layer, "weights", str)
    common = ("op", "name") if op in _MANY_INPUTS else _COMMON
    _known_keys(what, layer, common + OPTIONS[op])


# -- building ----------------------------------------------------------------------------------


class _Builder:
    def __init__(self, arch: Arch, weights: Weights, shift: Shift) -> None:
        self.arch = arch
        self.weights = weights
        self.shift = shift
        self.graph = Graph()
        self.values: dict[str, int] = {}  #: by the names that layers may refer to
        self.previous: int | None = None

    def build(self) -> Graph:
        self._inputs()
        for i, layer in enumerate(self.arch.layers):
            what = _layer_title(self.arch.what, i, layer)
            try:
                with self.graph.layer(self._layer_name(layer)):
                    self._layer(what, layer)
            except GraphError as e:
                raise ConvertError(f"{what}: {e}") from None
        self._outputs()
        return self.graph

    # inputs

    def _inputs(self) -> None:
        entries = self.arch.inputs or [_default_input(self.arch.layers[0])]
        for i, entry in enumerate(entries):
            what = f"{self.arch.what}: input {i + 1}"
            name = _required(what, entry, "name", str)
            kind = _optional(what, entry, "kind", str) or "seq"
            if kind not in INPUT_KINDS:
                near = did_you_mean(kind, INPUT_KINDS)
                raise ConvertError(f"{what}: unknown kind {kind!r}; known: {', '.join(INPUT_KINDS)}{near}")
            size = self._input_size(what, name, kind, entry, first=i == 0)
            order = _optional(what, entry, "order", str) or "batch_first"
            try:
                self._name(what, name, self.graph.input(name, kind, size, self._axis(what, kind, entry), order))
            except GraphError as e:
                raise ConvertError(f"{what}: {e}") from None
            if i == 0:
                self.previous = self.values[name]

    def _axis(self, what: str, kind: str, entry: Mapping[str, Any]) -> int | None:
        of = _optional(what, entry, "of", str)
        if kind == "lengths" and of is None:
            raise ConvertError(f'{what}: lengths need of = "the input whose steps they count"')
        if of is None:
            return None
        if of not in self.values:
            raise ConvertError(f"{what}: of = {of!r} is not an input above it{did_you_mean(of, self.values)}")
        axis = self.graph.values[self.values[of]].axis
        if axis < 0 or kind == "vec":
            raise ConvertError(f"{what}: of = {of!r} makes no sense between {kind} and a value without steps")
        return axis

    def _input_size(self, what: str, name: str, kind: str, entry: Mapping[str, Any], first: bool) -> int:
        size = _optional(what, entry, "size", int)
        if kind not in ("seq", "vec"):
            if size:
                raise ConvertError(f"{what}: {kind} have no size")
            return 0
        if size is None:
            size = self._inferred_size(name, first)
        if size is None:
            raise ConvertError(f"{what}: size is missing: no layer with weights reads {name!r} directly")
        return int(size)

    def _inferred_size(self, name: str, first: bool) -> int | None:
        for i, layer in enumerate(self.arch.layers):
            reads = layer.get("input") == name or (i == 0 and first and "input" not in layer)
            if reads and layer["op"] not in _MANY_INPUTS:
                return self._reader_size(_layer_title(self.arch.what, i, layer), layer)
        return None

    def _reader_size(self, what: str, layer: Mapping[str, Any]) -> int | None:
        if "weights" not in layer:
            return None
        names = ("weight_ih_l0", "weight_ih") if layer["op"] in GATES else ("weight", "running_mean")
        found = [n for n in (self._weight(layer, n) for n in names) if self.weights.has(n)]
        try:
            return (self.weights.shape(found[0] if found else self._weight(layer, names[0])) or (0,))[-1]
        except ConvertError as e:
            raise ConvertError(f"{what}: {e}") from None

    # references

    def _name(self, what: str, name: str, value: int) -> None:
        if name in self.values:
            raise ConvertError(f"{what}: the name {name!r} is taken already")
        self.values[name] = value

    def _ref(self, what: str, name: Any) -> int:
        if not isinstance(name, str) or name not in self.values:
            near = did_you_mean(name, self.values)
            raise ConvertError(f"{what}: there is no value {name!r} yet; there is {', '.join(self.values)}{near}")
        return self.values[name]

    def _input_of(self, what: str, layer: Mapping[str, Any]) -> int:
        if "input" in layer:
            return self._ref(what, layer["input"])
        if self.previous is None:
            raise ConvertError(f"{what}: input is missing")
        return self.previous

    def _prefix(self, layer: Mapping[str, Any]) -> str:
        """The layer's prefix in the weight file."""
        return self.shift(layer["weights"])

    def _layer_name(self, layer: Mapping[str, Any]) -> str:
        """What nodes are named after: the source's layer, or what the architecture file calls one without weights."""
        return self._prefix(layer) if "weights" in layer else str(layer.get("name", ""))

    def _weight(self, layer: Mapping[str, Any], name: str) -> str:
        return join(self._prefix(layer), name)

    # layers

    def _layer(self, what: str, layer: Mapping[str, Any]) -> None:
        op = layer["op"]
        if op in GATES:
            value = self._recurrent(what, layer)
        elif op in _MANY_INPUTS:
            value = self._combine(what, layer)
        elif op in ACTIVATIONS:
            value = self.graph.activation(self._input_of(what, layer), self._activation(what, op, layer))
        else:
            handlers: dict[str, Callable[[str, Mapping[str, Any], int], int]] = {
                "embedding": self._embedding,
                "dense": self._dense,
                "layernorm": self._layernorm,
                "batchnorm": self._batchnorm,
                "first": lambda w, a, x: self.graph.select(x, 0),
                "last": lambda w, a, x: self.graph.select(x, -1),
            }
            value = handlers.get(op, self._plain)(what, layer, self._input_of(what, layer))
        name = _optional(what, layer, "name", str)
        if name is not None:
            self._name(what, name, value)
        self.previous = value

    def _recurrent(self, what: str, layer: Mapping[str, Any]) -> int:
        op = layer["op"]
        activations = None
        if op == "rnn":
            activations = (_required(what, layer, "nonlinearity", str),)
        prefix = self._prefix(layer)
        x = self._input_of(what, layer)
        states = {k: self._states(what, k, layer[k], x, prefix) for k in ("h0", "c0") if k in layer}
        stack = add_stack(self.graph, op, x, self.weights, prefix, activations=activations, **states)
        name = layer.get("name")
        if isinstance(name, str):
            self._name_states(what, name, stack)
        return stack.seq

    def _name_states(self, what: str, name: str, stack: Stack) -> None:
        for letter, states in (("h", stack.h), ("c", stack.c)):
            for k, value in enumerate(states):
                self._name(what, f"{name}.{letter}.{k}", value)
            if states:
                self._name(what, f"{name}.{letter}", states[-1])

    def _states(self, what: str, key: str, value: Any, x: int, prefix: str) -> list[int]:
        """The initial state of each layer: values of the graph, or arrays of the file."""
        layers, directions = count_layers(self.weights, prefix), count_directions(self.weights, prefix)
        if isinstance(value, str) and value not in self.values:
            rows = self._array(f"{what}: {key}", value, layers * directions)
            return [constant(self.graph, x, r) for r in rows.reshape(layers, -1)]
        names = [value] if isinstance(value, str) else _strings(what, key, value)
        out = []
        for name in names:
            if name in self.values:
                out.append(self.values[name])
            else:
                rows = self._array(f"{what}: {key}", name, directions)
                out.append(constant(self.graph, x, rows.ravel()))
        return out

    def _array(self, what: str, name: str, count: int) -> Array:
        """An array of the file as initial states: one row for each layer and direction."""
        weights = self.weights
        full = next((n for n in (name, self.shift(name)) if weights.has(n)), None)
        if full is None and name not in weights.beside:
            known = [*self.values, *weights.beside, *(n for n in weights.tensors if "." not in n)]
            near = did_you_mean(name, [*known, *weights.tensors])
            raise ConvertError(f"{what}: there is no value and no array {name!r}; there is {listed(known)}{near}")
        array = weights.take_beside(name) if full is None else weights.take(full)
        rows = array.reshape(1, -1) if array.ndim == 1 else array
        if rows.ndim > 3 or rows.shape[0] != count or any(n != 1 for n in rows.shape[1:-1]):
            raise ConvertError(
                f"{what}: the array {name!r} has shape {array.shape}, expected ({count}, 1, H): "
                "a row for each layer and direction, the same for the whole batch"
            )
        return rows.reshape(count, -1)

    def _combine(self, what: str, layer: Mapping[str, Any]) -> int:
        names = _strings(what, "inputs", layer.get("inputs"))
        return self.graph.node(layer["op"], *(self._ref(what, n) for n in names))

    def _activation(self, what: str, name: str, layer: Mapping[str, Any]) -> Activation:
        return Activation(name, _optional(what, layer, "alpha", float), _optional(what, layer, "beta", float))

    def _embedding(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        return self.graph.embedding(x, self.weights.take(self._weight(layer, "weight")))

    def _dense(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        prefix = self._prefix(layer)
        act = self._activation(what, _optional(what, layer, "activation", str) or "linear", layer)
        weight, bias = self.weights.take(join(prefix, "weight")), self.weights.maybe(join(prefix, "bias"))
        return self.graph.dense(x, weight, bias, act)

    def _norm_options(self, what: str, layer: Mapping[str, Any]) -> tuple[str, float]:
        eps = _optional(what, layer, "eps", float)
        return self._prefix(layer), _NORM_EPS if eps is None else eps

    def _layernorm(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        prefix, eps = self._norm_options(what, layer)
        gamma, beta = self.weights.take(join(prefix, "weight")), self.weights.maybe(join(prefix, "bias"))
        return self.graph.layernorm(x, gamma, beta, eps)

    def _batchnorm(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        prefix, eps = self._norm_options(what, layer)
        mean, var = (self.weights.take(join(prefix, n)) for n in ("running_mean", "running_var"))
        gamma, beta = (self.weights.maybe(join(prefix, n)) for n in ("weight", "bias"))
        return self.graph.batchnorm(x, mean, var, gamma, beta, eps)

    def _plain(self, what: str, layer: Mapping[str, Any], x: int) -> int:
        attrs = _PLAIN[layer["op"]].attrs
        given = [a for a in attrs if a.name in layer or a.default is None]
        return self.graph.node(layer["op"], x, **{a.name: _required(what, layer, a.name, a.python) for a in given})

    # outputs

    def _outputs(self) -> None:
        if not self.arch.outputs and self.previous is not None:
            self._output(self.arch.what, self.previous, "output")
        for i, entry in enumerate(self.arch.outputs):
            what = f"{self.arch.what}: output {i + 1}"
            name = _required(what, entry, "name", str)
            order = _optional(what, entry, "order", str) or "batch_first"
            self._output(what, self._ref(what, _optional(what, entry, "value", str) or name), name, order)

    def _output(self, what: str, value: int, name: str, order: str = "batch_first") -> None:
        try:
            self.graph.output(value, name, order)
        except GraphError as e:
            raise ConvertError(f"{what}: {e}") from None


def _default_input(first: Mapping[str, Any]) -> dict[str, Any]:
    """Without any [[input]] there is one, ``x``, of the kind that the first layer reads."""
    return {"name": "x", "kind": "ids" if first["op"] == "embedding" else "seq"}
