"""Keras models -> graph.

Reads ``.keras`` archives, legacy ``.h5`` files and pairs of architecture and weights of Keras 2
and 3 without Keras or TensorFlow installed, and living models of either. Sequential and Functional
models, nested ones too.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lstm_rt.errors import ConvertError, GraphError
from lstm_rt.graph import Graph

from ..weights.tensors import noting_not_finite
from . import live as keras_live
from .build import AxesMeetError, Call, Choices, Context, Flow, Mask, Tensor, TimeWantedError, Truth
from .calls import NodeCall, Ref, inner_refs, is_ref, outer_refs, parse_call
from .config import MODELS, KerasVersion, LayerSpec, parse_layer
from .files import ArchSource, KerasModel, open_model
from .layers.cells import group_names
from .layers.table import check_known, emit_layer
from .masks import as_mask
from .ops import emit_op, function_name
from .scores import settled
from .weights import Weights

_PARSE_STEPS = 20  #: to understand what a file says of one layer
_SHAPES = ("batch_shape", "batch_input_shape")


def from_keras(source: Any, arch: ArchSource | None = None) -> Graph:
    """Convert a Keras model.

    Inputs and outputs keep Keras's names and order: those of the input and output layers, or the
    keys where a model was built with dicts. ``graph.meta["notes"]`` lists what a user of the Keras
    model should know (layers that were stateful, or computed in another float type).

    Args:
        source: path of a ``.keras`` or ``.h5`` file, or a living ``keras.Model``. A living model is
            run on generated inputs, and the graph must give the same numbers; the model is left as
            it was. Its outputs become the self-test of the graph.
        arch: for a file that holds weights alone (``save_weights``): the path of the JSON file that
            ``model.to_json()`` gave, that text, or what it says as a dictionary.

    Raises:
        ConvertError: a file is broken, the model has a layer, class, option or weight that is not
            supported, or the graph's numbers differ from the living model's; what it is is named.
        FileNotFoundError: there is no such file.
    """
    if isinstance(source, str | os.PathLike):
        return _convert(open_model(source, arch))
    if not keras_live.is_model(source):
        raise ConvertError(f"from_keras: got {type(source).__name__}, expected a path or a keras.Model")
    if arch is not None:
        raise ConvertError("arch is for files of weights; a living model tells its architecture itself")
    graph = _convert(keras_live.open_live(source))
    keras_live.compare(source, graph)
    return graph


def _convert(model: KerasModel) -> Graph:
    choices = Choices()
    while True:  # every round joins two groups of inputs or settles the time axis of one, so this ends
        try:
            return _build(model, choices)
        except RecursionError as e:
            raise ConvertError("the model's configuration is nested too deeply") from e
        except AxesMeetError as meeting:
            choices.join(meeting)
        except TimeWantedError as wanted:
            choices.times[wanted.index] = wanted.axis
        model.weights.reset()


def _build(model: KerasModel, choices: Choices) -> Graph:
    keras = KerasVersion(model.version)
    ctx = Context(Graph(), keras, choices, model.budget, run_layer=_run_layer)
    spec = replace(parse_layer(model.config, keras, "the model"), whole=True)
    with noting_not_finite(ctx.notes):
        for name, flow in _run_model(ctx, spec, model.weights, None):
            _declare_output(ctx, spec, name, flow)
    unused = model.weights.unused()
    if unused:
        raise ConvertError(
            f"{len(unused)} weights belong to no layer of the configuration: {', '.join(unused[:5])}"
        )
    ctx.graph.meta["source"] = model.source
    if ctx.notes:
        ctx.graph.meta["notes"] = ctx.notes
    try:
        ctx.graph.check()
    except GraphError as e:
        raise spec.error(str(e)) from e
    model.budget.graph(ctx.graph)
    return ctx.graph


def _declare_output(ctx: Context, model: LayerSpec, name: str, flow: Flow) -> None:
    if not isinstance(flow, Tensor) or isinstance(flow, Truth):
        raise model.error(f"output {name!r} is a mask, expected a value")
    try:
        flow = settled(ctx, flow)
    except GraphError as e:
        raise model.error(f"output {name!r}: {e}") from e
    graph, value, unique = ctx.graph, flow.value, name
    if graph.values[value].kind == "ids":
        raise model.error(f"output {name!r} is token ids, expected numbers")
    if value in graph.outputs:  # without return_sequences a layer's output is its state
        value = graph.activation(value, "linear")
    taken = {graph.values[o].name for o in graph.outputs}
    while unique in taken:
        unique = f"{name}_{len(taken)}"
    try:
        graph.output(value, unique, **ctx.port(flow))
    except GraphError as e:
        raise model.error(str(e)) from e


# -- models -----------------------------------------------------------------------------------------


def _run_model(
    ctx: Context, spec: LayerSpec, weights: Weights, given: Sequence[Tensor] | None
) -> list[tuple[str, Flow]]:
    """A model, nested (its inputs are ``given``) or not; returns the names and values of its outputs."""
    if spec.class_name not in MODELS:
        raise spec.own_class(repr(spec.class_name))
    if not isinstance(spec.config.get("layers"), list | tuple) or not spec.config["layers"]:
        raise spec.error("it has no layers")
    if spec.class_name == "Sequential":
        return _run_sequential(ctx, spec, weights, given)
    if "input_layers" not in spec.config or "output_layers" not in spec.config:
        raise spec.error("input_layers and output_layers are missing from the configuration")
    return _Functional(ctx, spec, weights).run(given)


def _layers(ctx: Context, spec: LayerSpec) -> list[LayerSpec]:
    ctx.budget.steps(_PARSE_STEPS * len(spec.config["layers"]))
    layers = [spec.part(entry) for entry in spec.config["layers"]]
    seen: set[str] = set()
    for layer in layers:
        if layer.name in seen:
            raise layer.error("another layer has the same name")
        seen.add(layer.name)
    return layers


def _run_sequential(
    ctx: Context, spec: LayerSpec, weights: Weights, given: Sequence[Tensor] | None
) -> list[tuple[str, Flow]]:
    layers = _layers(ctx, spec)
    groups = group_names([s.class_name for s in layers])
    if given is not None and len(given) != 1:
        raise spec.error(f"it is called with {len(given)} inputs, expected one")
    tensors = list(given or ())
    if not tensors:
        tensors = [_declare_sequential_input(ctx, spec, layers)]
    name = spec.name
    for layer, group in zip(layers, groups, strict=True):
        if layer.class_name == "InputLayer":
            continue
        if len(tensors) != 1:
            raise layer.error(f"the layer before it has {len(tensors)} outputs, expected one")
        name = layer.name
        mask = tensors[0].mask
        call = Call((tensors[0],), run_mask=mask, pass_mask=mask)
        tensors = _run_layer(ctx, layer, weights.layer(layer.name, group, layer.class_name in MODELS), call)
    return [(name, t) for t in tensors]


def _declare_sequential_input(ctx: Context, spec: LayerSpec, layers: Sequence[LayerSpec]) -> Tensor:
    first = layers[0]
    reader = next((s for s in layers if s.class_name != "InputLayer"), None)
    if reader is None:
        raise spec.error("it has no layers but its input")
    if first.class_name == "InputLayer":
        flow = _declare_input(ctx, first, first.name, _reads_ids(ctx, reader))
    else:  # older files: the first layer, or the model, knows the shape
        shape = first.config.get("batch_input_shape", spec.config.get("build_input_shape"))
        config = {"batch_shape": shape, "dtype": first.config.get("dtype")}
        stand_in = LayerSpec(f"{first.name}_input", "InputLayer", config, spec.keras)
        flow = _declare_input(ctx, stand_in, stand_in.name, _reads_ids(ctx, reader))
    if not isinstance(flow, Tensor):
        raise spec.error("its input is a mask, expected a value")
    return flow


def _reads_ids(ctx: Context, spec: LayerSpec, index: int = 0) -> bool:
    """Whether a layer reads its input ``index`` as token ids: an Embedding, or a model around one."""
    if spec.class_name == "TimeDistributed":
        return _reads_ids(ctx, spec.sublayer("layer"), index)
    if spec.class_name not in MODELS or not isinstance(spec.config.get("layers"), list | tuple):
        return spec.class_name == "Embedding"
    if spec.class_name == "Sequential":
        inner = [s for s in _layers(ctx, spec) if s.class_name != "InputLayer"]
        return bool(inner) and _reads_ids(ctx, inner[0])
    inputs = inner_refs(spec, "input_layers")
    if index >= len(inputs):
        return False
    return any(_readers(ctx, _calls(spec, _layers(ctx, spec)), inputs[index][1]).values())


def _readers(ctx: Context, calls: Sequence[_Pending], ref: Ref) -> dict[str, bool]:
    """Names of the layers that read a tensor as an input, and whether they read ids."""
    found: dict[str, bool] = {}
    for c in calls:
        if ref in c.call.inputs:
            found[c.spec.name] = _reads_ids(ctx, c.spec, c.call.inputs.index(ref))
        elif ref in c.call.op_args[:1] and function_name(c.spec) == "OneHot":
            found[c.spec.name] = True
    return found


def _declare_input(ctx: Context, spec: LayerSpec, name: str, ids: bool) -> Flow:
    """A graph input; Keras's shape and its reader tell the kind."""
    # the dtype of an input may be anything: ids are integers, masks bool
    replace(spec, config={k: v for k, v in spec.config.items() if k != "dtype"}).check_options(())
    shape = next((spec.config[k] for k in _SHAPES if spec.config.get(k) is not None), None)
    if not isinstance(shape, list | tuple) or not all(n is None or isinstance(n, int) for n in shape):
        raise spec.error(
            f"its shape is {shape!r}, expected a list of sizes; build the model before saving it"
        )
    dims = tuple(shape[1:])
    flag = len(dims) == 1 and spec.config.get("dtype") == "bool"
    if dims.count(None) > 1 or any(n is not None and n < 1 for n in dims) or len(dims) > 6:
        raise spec.error(f"its shape {tuple(shape)} is not supported; expected sizes, at most one of them free")
    try:
        tensor = ctx.input(name, dims, ids or flag)
    except GraphError as e:
        raise spec.error(str(e)) from e
    if not flag or ids:
        return tensor
    ctx.note(f"input {name!r} is a mask: give it as integers, 0 where a step is skipped")
    return Mask("ids", tensor.value)


def _run_layer(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    ctx.charge()
    if call.run_mask is not None and call.run_mask.source >= 0:
        ctx.share_axis((call.value, call.run_mask.source))
    try:
        with ctx.graph.layer(spec.name):
            if spec.class_name not in MODELS:
                return emit_layer(ctx, spec, weights, call)
            return [_nested_output(spec, flow) for _, flow in _run_model(ctx, spec, weights, call.inputs)]
    except GraphError as e:
        raise spec.error(str(e)) from e


def _nested_output(spec: LayerSpec, flow: Flow) -> Tensor:
    if not isinstance(flow, Tensor):
        raise spec.error("its output is a mask, expected a value")
    return flow


# -- Functional models ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pending:
    """The call number ``index`` of a layer."""

    spec: LayerSpec
    index: int
    call: NodeCall


@dataclass
class _Functional:
    """Runs the calls of a Functional model's layers in an order in which their inputs are known."""

    ctx: Context
    spec: LayerSpec
    weights: Weights
    flows: dict[Ref, Flow] = field(default_factory=dict)

    def run(self, given: Sequence[Tensor] | None) -> list[tuple[str, Flow]]:
        """The names and values of the model's outputs."""
        layers = _layers(self.ctx, self.spec)
        calls = _calls(self.spec, layers)
        refs = outer_refs if given is None else inner_refs
        outputs = refs(self.spec, "output_layers")
        calls, outputs = _numbered_from_zero(calls, outputs)
        self._bind_inputs({s.name: s for s in layers}, calls, given)
        stored = [s for s in layers if not s.is_op]  # functions have no weights, and no groups
        groups = group_names([s.class_name for s in stored])
        self._run_calls(calls, {s.name: g for s, g in zip(stored, groups, strict=True)})
        return [(name or _output_name(ref), self._flow(ref)) for name, ref in outputs]

    def _bind_inputs(
        self, layers: Mapping[str, LayerSpec], calls: Sequence[_Pending], given: Sequence[Tensor] | None
    ) -> None:
        inputs = (outer_refs if given is None else inner_refs)(self.spec, "input_layers")
        if given is not None and len(given) != len(inputs):
            raise self.spec.error(f"it is called with {len(given)} inputs, expected {len(inputs)}")
        for i, (name, ref) in enumerate(inputs):
            layer = layers.get(ref[0])
            if layer is None or layer.class_name != "InputLayer":
                raise self.spec.error(f"its input {ref[0]!r} is not an InputLayer")
            if given is not None:
                self.flows[ref] = given[i]
                continue
            ids = set(_readers(self.ctx, calls, ref).values())
            if len(ids) > 1:
                raise layer.error("it is read both as token ids and as numbers, which is not supported")
            self.flows[ref] = _declare_input(self.ctx, layer, name or ref[0], ids == {True})

    def _run_calls(self, calls: Sequence[_Pending], groups: Mapping[str, str]) -> None:
        waiting = [c for c in calls if c.spec.class_name != "InputLayer"]
        while waiting:
            self.ctx.budget.steps(len(waiting))
            ready = [c for c in waiting if all(ref in self.flows for ref in c.call.refs())]
            if not ready:
                raise self._stuck(waiting)
            waiting = [c for c in waiting if not any(c is r for r in ready)]
            for c in ready:
                results = self._run_call(c, groups.get(c.spec.name, ""))
                self.flows |= {(c.spec.name, c.index, k): flow for k, flow in enumerate(results)}

    def _stuck(self, waiting: Sequence[_Pending]) -> ConvertError:
        """Why no call can be next: one reads what nobody makes, or they wait for each other."""
        to_come = {(c.spec.name, c.index) for c in waiting}
        for c in waiting:
            for name, index, output in c.call.refs():
                if (name, index, output) not in self.flows and (name, index) not in to_come:
                    return c.spec.error(f"it reads output {output} of call {index} of {name!r}, which does not exist")
        return waiting[0].spec.error("its inputs wait for its own output: the layers form a circle")

    def _run_call(self, pending: _Pending, group: str) -> Sequence[Flow]:
        spec, call = pending.spec, pending.call
        if spec.is_op:
            options = {k: self._argument(v) for k, v in call.op_options.items()}
            try:
                with self.ctx.graph.layer(spec.name):
                    return emit_op(self.ctx, spec, [self._argument(a) for a in call.op_args], options)
            except GraphError as e:
                raise spec.error(str(e)) from e
        inputs = tuple(self._tensor(spec, ref) for ref in call.inputs)
        if not inputs:
            raise spec.error("it is called without an input")
        states = tuple(self._tensor(spec, ref) for ref in call.initial_state)
        run_mask = pass_mask = inputs[0].mask
        if states and self.ctx.keras.major >= 3:
            run_mask = None  # Keras 3 finds masks only for calls with a single tensor
        if call.mask is not None:
            run_mask = pass_mask = self._given_mask(spec, call.mask)
        if spec.class_name in MODELS and call.mask is not None:
            inputs = (replace(inputs[0], mask=run_mask), *inputs[1:])
        weights = self.weights.layer(spec.name, group, spec.class_name in MODELS)
        options = {k: self._argument(v) for k, v in call.options.items()}
        return _run_layer(self.ctx, spec, weights, Call(inputs, states, run_mask, pass_mask, options))

    def _argument(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._argument(v) for v in value]
        return self._flow(value) if is_ref(value) else value

    def _flow(self, ref: Ref) -> Flow:
        if ref not in self.flows:
            raise self.spec.error(f"output {ref[2]} of layer {ref[0]!r} does not exist")
        return self.flows[ref]

    def _tensor(self, spec: LayerSpec, ref: Ref) -> Tensor:
        flow = self._flow(ref)
        if not isinstance(flow, Tensor):
            raise spec.error(f"its input {ref[0]!r} is a mask, expected a value")
        return flow

    def _given_mask(self, spec: LayerSpec, ref: Ref) -> Mask | None:
        try:
            return as_mask(self.ctx, spec, self._flow(ref))
        except GraphError as e:
            raise spec.error(f"its mask {ref[0]!r}: {e}") from e


def _output_name(ref: Ref) -> str:
    """Further outputs of one layer get the number of the output behind its name."""
    return ref[0] if ref[2] == 0 else f"{ref[0]}_output_{ref[2]}"


def _numbered_from_zero(
    calls: Sequence[_Pending], outputs: Sequence[tuple[str, Ref]]
) -> tuple[list[_Pending], list[tuple[str, Ref]]]:
    """The calls of nested models numbered as those of all other layers.

    A nested model has been called once before anybody calls it, by its own making. Keras 2 counts
    that call where the model knows its input, Keras 3 only in the list of outputs and for Functional
    models. As every call that is listed is used, the lowest number used tells where counting starts.
    """
    nested = {c.spec.name: c.spec for c in calls if c.spec.class_name in MODELS}
    used = [r for c in calls for r in c.call.refs()] + [ref for _, ref in outputs]
    starts_at_1 = {
        name
        for name, spec in nested.items()
        if spec.keras.major == 2 and min((r[1] for r in used if r[0] == name), default=0) >= 1
    }
    skips = {name for name, spec in nested.items() if spec.keras.major >= 3 and spec.class_name != "Sequential"}

    def shift(ref: Ref, by_one: Collection[str]) -> Ref:
        return (ref[0], ref[1] - 1, ref[2]) if ref[0] in by_one and ref[1] >= 1 else ref

    moved = [replace(c, call=c.call.with_refs(lambda r: shift(r, starts_at_1))) for c in calls]
    return moved, [(name, shift(ref, starts_at_1 | skips)) for name, ref in outputs]


def _calls(model: LayerSpec, layers: Sequence[LayerSpec]) -> list[_Pending]:
    for layer in layers:
        if layer.class_name not in (*MODELS, "InputLayer") and not layer.is_op:
            check_known(layer)  # before its call, whose arguments only a layer that is known can tell
    return [
        _Pending(layer, i, parse_call(layer, node))
        for layer, entry in zip(layers, model.config["layers"], strict=True)
        for i, node in enumerate(_inbound_nodes(layer, entry))
    ]


def _inbound_nodes(spec: LayerSpec, entry: Mapping[str, Any]) -> Sequence[Any]:
    nodes = entry.get("inbound_nodes") or ()
    if not isinstance(nodes, list | tuple):
        raise spec.error("inbound_nodes is not a list")
    return nodes
