"""The graph that an architecture file describes, with the weights that it names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError, GraphError, did_you_mean
from lstm_rt.graph import GATES, INPUT_KINDS, Array, Graph

from ..names import listed
from ..weights.state_dict import Weights, join
from .file import Arch
from .ops import ROWS
from .prefix import Shift, find_shift
from .row import Layer, Row
from .tables import layer_title, optional, required, strings

#: Ops that change steps, or do away with them, and leave the number of features.
_ALONG_TIME = ("first", "last", "reverse", "take", "pad", "cumsum", "reduce", "softmax_steps", "repeat")
#: Weights whose last size is that of the input, where these are not called as in most layers.
_OF_INPUT = {"multihead": ("in_proj_weight", "q_proj_weight")}


def build(arch: Arch, weights: Weights, part: str | None = None) -> Graph:
    """The graph that ``arch`` describes with ``weights``; of an ``arch`` with parts that of one part.

    All parts are built, so that what none of them uses is found.

    Raises:
        ConvertError: a reference, weight or shape does not fit, weights are left over, or the part that is
            asked for does not exist.
    """
    wanted = arch.part(part)
    layers = [
        (layer_title(model.what, i, a), a["op"], a["weights"])
        for model in arch.models
        for i, a in enumerate(model.layers)
        if "weights" in a
    ]
    shift = find_shift(layers, weights)
    if shift != Shift():
        weights.notes.append(shift.note())
    graphs = [(model, Builder(model, weights, shift).build()) for model in arch.models]
    weights.check_all_used(arch.ignore, shift.add)
    if arch.draft:
        weights.notes.append(
            f"{arch.what} is a draft (draft = true): how the layers are connected is a guess that nobody has checked"
        )
    return next(graph for model, graph in graphs if model is wanted)


class Builder:
    """A graph in the making: what rows of :mod:`.ops` work with."""

    def __init__(self, arch: Arch, weights: Weights, shift: Shift) -> None:
        self.arch = arch
        self.weights = weights
        self.shift = shift
        self.graph = Graph()
        self.values: dict[str, int] = {}  #: by the names that layers may refer to
        self.images: dict[int, tuple[int, int]] = {}  #: height and width of values that are images, channels last
        self.previous: int | None = None

    def build(self) -> Graph:
        self._inputs()
        for i, table in enumerate(self.arch.layers):
            layer = Layer(layer_title(self.arch.what, i, table), table)
            try:
                with self.graph.layer(self._layer_name(table)):
                    self._layer(layer)
            except GraphError as e:
                raise ConvertError(f"{layer.what}: {e}") from None
        self._outputs()
        return self.graph

    def _layer(self, layer: Layer) -> None:
        row = ROWS[layer.table["op"]]
        value = row.build(self, layer)
        self._keep_image(row, value)
        name = layer.optional("name", str)
        if name is not None:
            self.name(layer.what, name, value)
        self.previous = value

    def _layer_name(self, table: Mapping[str, Any]) -> str:
        """What nodes are named after: the source's layer, or what the architecture file calls one without weights."""
        return self.shift(table["weights"]) if "weights" in table else str(table.get("name", ""))

    def _keep_image(self, row: Row, value: int) -> None:
        """What an op makes of an image place by place is one, too."""
        node = self.graph.nodes[-1]
        images = [self.images[i] for i in node.inputs if i in self.images]
        if row.keeps and images and value in node.outputs:
            self.images[value] = images[0]

    # -- inputs ---------------------------------------------------------------------------------

    def _inputs(self) -> None:
        entries = self.arch.inputs or [_default_input(self.arch.layers[0])]
        for i, entry in enumerate(entries):
            what = f"{self.arch.what}: input {i + 1}"
            name = required(what, entry, "name", str)
            kind = optional(what, entry, "kind", str) or "seq"
            if kind not in INPUT_KINDS:
                near = did_you_mean(kind, INPUT_KINDS)
                raise ConvertError(f"{what}: unknown kind {kind!r}; known: {', '.join(INPUT_KINDS)}{near}")
            size = self._input_size(what, name, kind, entry, first=i == 0)
            try:
                axis = self._axis(what, kind, entry)
                self.name(what, name, self.graph.input(name, kind, size, axis, **_order(what, entry)))
            except GraphError as e:
                raise ConvertError(f"{what}: {e}") from None
            if i == 0:
                self.previous = self.values[name]

    def _axis(self, what: str, kind: str, entry: Mapping[str, Any]) -> int | None:
        of = optional(what, entry, "of", str)
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
        size = optional(what, entry, "size", int)
        if kind not in ("seq", "vec"):
            if size:
                raise ConvertError(f"{what}: {kind} have no size")
            return 0
        if size is None and isinstance(entry.get("dims"), list):
            size = math.prod(d for d in entry["dims"] if type(d) is int)
        if size is None:
            size = self._inferred_size(name, first)
        if size is None:
            raise ConvertError(
                f"{what}: size, the number of features, is missing: no layer with weights reads {name!r} directly"
            )
        return int(size)

    def _inferred_size(self, name: str | None, implied: bool) -> int | None:
        """Features of an input by the layer that reads it first; one that leaves them as they are leads on to its own.

        ``implied``: the first layer reads it, unless that says what it reads.
        """
        for i, table in enumerate(self.arch.layers):
            reads = table["input"] == name if "input" in table else implied
            implied = False
            row = ROWS[table["op"]]
            if not reads or row.many:
                continue
            size = self._reader_size(Layer(layer_title(self.arch.what, i, table), table))
            if size is not None or not (row.keeps or table["op"] in _ALONG_TIME):
                return size
            name, implied = table.get("name"), True
        return None

    def _reader_size(self, layer: Layer) -> int | None:
        if layer.table["op"] == "normalize":
            sizes = [self.option(layer, key).size for key in ("mean", "std", "gain", "bias") if key in layer.table]
            return max(sizes) if max(sizes, default=1) > 1 else None
        if "weights" not in layer.table:
            return None
        prefix = self.prefix(layer)
        op = layer.table["op"]
        leaves = ("weight_ih_l0", "weight_ih") if op in GATES else _OF_INPUT.get(op, ("weight", "running_mean"))
        names = [join(prefix, n) for n in leaves]
        if op == "conv":
            return self._conv_size(layer, names[0])
        try:
            name = next(filter(self.weights.has, names), names[0])
            size = (self.weights.shape(name) or self.weights.take(name).shape or (0,))[-1]  # the second: cannot be read
        except ConvertError as e:
            raise ConvertError(f"{layer.what}: {e}") from None
        return None if op == "prelu" and size == 1 else size  # one slope is for all features

    def _conv_size(self, layer: Layer, name: str) -> int:
        """Channels of all groups, at each place of the image."""
        shape = self.weights.shape(name)
        if len(shape) not in (3, 4):
            raise ConvertError(f"{layer.what}: weight has shape {shape}, expected that of a Conv1d or Conv2d")
        places = math.prod(layer.integers("size", 2)) if "size" in layer.table else 1
        groups: int = layer.optional("groups", int, 1)
        return shape[1] * groups * places

    # -- references -----------------------------------------------------------------------------

    def name(self, what: str, name: str, value: int) -> None:
        """Let layers below call ``value`` so."""
        if name in self.values:
            raise ConvertError(f"{what}: the name {name!r} is taken already")
        self.values[name] = value

    def ref(self, what: str, name: Any) -> int:
        """The value of that name; :class:`ConvertError` if there is none."""
        if not isinstance(name, str) or name not in self.values:
            near = did_you_mean(name, self.values)
            raise ConvertError(f"{what}: there is no value {name!r} yet; there is {', '.join(self.values)}{near}")
        return self.values[name]

    def input_of(self, layer: Layer) -> int:
        """What a layer of one input reads: the value that it names, else the layer above."""
        if "input" in layer.table:
            return self.ref(layer.what, layer.table["input"])
        if self.previous is None:
            raise ConvertError(f"{layer.what}: input is missing")
        return self.previous

    # -- weights --------------------------------------------------------------------------------

    def prefix(self, layer: Layer) -> str:
        """The layer's prefix in the weight file."""
        return self.shift(layer.table["weights"])

    def take(self, layer: Layer, name: str) -> Array:
        """A weight of the layer."""
        return self.weights.take(join(self.prefix(layer), name))

    def maybe(self, layer: Layer, name: str) -> Array | None:
        """A weight of the layer, or None if it has none of that name."""
        return self.weights.maybe(join(self.prefix(layer), name))

    def array(self, what: str, name: str) -> Array:
        """An array of the file, in the state dict or beside it."""
        full = next((n for n in (name, self.shift(name)) if self.weights.has(n)), None)
        array = self.weights.take_beside(name) if full is None else self.weights.take(full)
        if array is None:
            known = [*self.values, *self.weights.beside, *(n for n in self.weights.tensors if "." not in n)]
            near = did_you_mean(name, [*known, *self.weights.tensors])
            raise ConvertError(f"{what}: there is no value and no array {name!r}; there is {listed(known)}{near}")
        return array

    def sized(self, what: str, name: str, array: Array, size: int) -> Array:
        """An array as one number for each of ``size`` features; one number is for all."""
        flat = array.ravel()
        if flat.size not in (1, size) or max(array.shape, default=1) != flat.size:
            raise ConvertError(f"{what}: {name} has shape {array.shape}, expected 1 or {size} numbers")
        return np.broadcast_to(flat, (size,))

    def numbers(self, layer: Layer, key: str, size: int, default: float) -> Array:
        """An option as one number for each of ``size`` features."""
        return self.sized(layer.what, key, self.option(layer, key, default), size)

    def option(self, layer: Layer, key: str, default: float | None = None) -> Array:
        """An option that is a number, a list of them, or the name of an array of the file."""
        value = layer.table.get(key, default)
        if isinstance(value, str):
            return self.array(f"{layer.what}: {key}", value)
        numbers = value if isinstance(value, list) else [value]
        if not numbers or not all(type(n) in (int, float) for n in numbers):
            raise ConvertError(
                f"{layer.what}: {key} is {value!r}, expected a number, a list of numbers, or the name of an array"
            )
        return np.array(numbers, np.float32)

    def states(self, layer: Layer, key: str, layers: int, directions: int) -> list[int]:
        """The initial state of each layer of a stack: values of the graph, or arrays of the file."""
        value = layer.table[key]
        if isinstance(value, str) and value not in self.values:
            rows = self._state_rows(f"{layer.what}: {key}", value, layers, directions)
            return [self.graph.constant(r) for r in rows.reshape(layers, -1)]
        names = [value] if isinstance(value, str) else strings(layer.what, key, value)
        return [
            self.values[name] if name in self.values
            else self.graph.constant(self._state_rows(f"{layer.what}: {key}", name, 1, directions).ravel())
            for name in names
        ]  # fmt: skip

    def _state_rows(self, what: str, name: str, layers: int, directions: int) -> Array:
        """An array of the file as initial states: one row for each layer and direction."""
        array, count = self.array(what, name), layers * directions
        sizes = tuple(n for n in array.shape[:-1] if n != 1)
        if array.ndim == 0 or (sizes or (1,)) not in ((count,), (layers, directions)):
            raise ConvertError(
                f"{what}: the array {name!r} has shape {array.shape}, expected ({count}, 1, H): "
                "a row for each layer and direction, the same for the whole batch"
            )
        return array.reshape(count, -1)

    # -- outputs --------------------------------------------------------------------------------

    def _outputs(self) -> None:
        if not self.arch.outputs and self.previous is not None:
            self._output(self.arch.what, self.previous, "output")
        for i, entry in enumerate(self.arch.outputs):
            what = f"{self.arch.what}: output {i + 1}"
            name = required(what, entry, "name", str)
            value = self.ref(what, optional(what, entry, "value", str) or name)
            self._output(what, value, name, **_order(what, entry))

    def _output(self, what: str, value: int, name: str, **order: Any) -> None:
        try:
            self.graph.output(value, name, **order)
        except GraphError as e:
            raise ConvertError(f"{what}: {e}") from None


def _order(what: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The order of a port's axes, as graphs take it."""
    order = optional(what, entry, "order", str)
    if "dims" not in entry:
        return {"order": order or "batch_first"}
    dims = entry["dims"]
    if not isinstance(dims, list) or not all(type(d) in (int, str) for d in dims) or order not in (None, "shaped"):
        raise ConvertError(f'{what}: dims is {dims!r}, expected a list of "N", "T" and sizes, and no other order')
    return {"order": "shaped", "dims": tuple(dims)}


def _default_input(first: Mapping[str, Any]) -> dict[str, Any]:
    """Without any [[input]] there is one, ``x``, of the kind that the first layer reads."""
    return {"name": "x", "kind": "ids" if first["op"] == "embedding" else "seq"}
