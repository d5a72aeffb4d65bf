"""The calls of layers in a Functional model's configuration, in the forms of Keras 2 and Keras 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .config import AUGMENTING, MODELS, LayerSpec, valid_name
from .layers.cells import CELLS, RECURRENT

#: A tensor: layer, which of its calls, which of its outputs.
Ref = tuple[str, int, int]

_STATEFUL = (*RECURRENT, "Bidirectional", "ConvLSTM1D", "ConvLSTM2D")
#: Names that layers give to their first argument.
_FIRST = ("inputs", "sequences", "sequence", "x", "query")
#: Layers whose masks are a list, of the query and of the values.
_OF_TWO = ("Attention", "AdditiveAttention")
#: What a layer's call takes behind its first argument, in order.
_OTHERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_STATEFUL, ("initial_state", "mask", "training")),
    **dict.fromkeys(CELLS, ("states", "training")),
    "ReversibleEmbedding": ("reverse",),
    **dict.fromkeys(
        _OF_TWO, ("mask", "training", "return_attention_scores", "use_causal_mask")
    ),
    **dict.fromkeys(
        ("MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention"),
        (
            "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask", "return_attention_scores",
            "training", "use_causal_mask",
        ),
    ),
}  # fmt: skip
#: Further arguments that layers understand: of attention, masks too.
_OPTIONS = (
    "return_attention_scores", "use_causal_mask", "query_mask", "value_mask", "key_mask", "attention_mask",
    "given_mask", "reverse",
)  # fmt: skip


@dataclass(frozen=True)
class NodeCall:
    """The arguments of one call; for functions (``keras.ops``) they are in ``op_args`` and ``op_options``.

    ``options`` are the further ones of a layer's call, such as ``use_causal_mask``.
    """

    inputs: list[Ref] = field(default_factory=list)
    initial_state: list[Ref] = field(default_factory=list)
    mask: Ref | None = None
    op_args: list[Any] = field(default_factory=list)
    op_options: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def refs(self) -> list[Ref]:
        """Every tensor the call reads."""
        listed = (*self.op_args, *self.op_options.values(), *self.options.values())
        flat = [r for a in listed for r in (a if isinstance(a, list) else [a]) if is_ref(r)]
        return [*self.inputs, *self.initial_state, *([self.mask] if self.mask else []), *flat]

    def with_refs(self, change: Callable[[Ref], Ref]) -> NodeCall:
        """The same call of the tensors that ``change`` gives."""

        def changed(value: Any) -> Any:
            if isinstance(value, list):
                return [changed(v) for v in value]
            if isinstance(value, dict):
                return {k: changed(v) for k, v in value.items()}
            return change(value) if is_ref(value) else value

        return NodeCall(**{f.name: changed(getattr(self, f.name)) for f in fields(self)})


def is_ref(value: Any) -> bool:
    """Whether ``value`` is a :data:`Ref` as this module makes them."""
    return isinstance(value, tuple)


def parse_call(spec: LayerSpec, node: Any) -> NodeCall:
    """One entry of ``inbound_nodes``.

    Raises:
        ConvertError: an argument is not understood; layer and argument are named.
    """
    if isinstance(node, Mapping) and ("args" in node or spec.keras.major >= 3):
        args, kwargs = _keras3_arguments(spec, node)
    elif isinstance(node, Mapping):
        args, kwargs = [{str(k): as_ref(spec, v) for k, v in node.items()}], {}
    elif isinstance(node, list | tuple) and node:
        args, kwargs = _keras2_arguments(spec, node)
    else:
        raise spec.error(f"its call {node!r} is not understood")
    if spec.is_op:
        return NodeCall(op_args=args, op_options={k: v for k, v in kwargs.items() if v is not None})
    return _layer_call(spec, args, kwargs)


def _layer_call(spec: LayerSpec, args: list[Any], kwargs: dict[str, Any]) -> NodeCall:
    for name in _FIRST if not args else ():
        if name in kwargs:
            args = [kwargs.pop(name)]
    if args and isinstance(args[0], Mapping) and spec.class_name in MODELS:
        args = [_by_names(spec, args[0]), *args[1:]]
    names = _OTHERS.get(spec.class_name, ())
    if len(args) > 1 + len(names):
        raise spec.error(f"it is called with {len(args)} arguments, expected {1 + len(names)}")
    kwargs = {**kwargs, **dict(zip(names, args[1:], strict=False))}
    if kwargs.pop("training", None) and spec.class_name not in AUGMENTING:  # which are called so, and run as the model
        raise spec.error("it is called with training=True, only inference is supported")
    mask = kwargs.pop("mask", None)
    if spec.class_name in _OF_TWO and isinstance(mask, list):
        kwargs |= dict(zip(("query_mask", "value_mask"), mask, strict=False))
        names, mask = (*names, "query_mask", "value_mask"), None
    if spec.class_name == "Softmax":
        kwargs, names, mask = {**kwargs, "given_mask": mask}, ("given_mask",), None
    mask = _flat(list(mask.values()) if isinstance(mask, Mapping) else mask)
    initial = _flat(kwargs.pop("states" if spec.class_name in CELLS else "initial_state", None))
    options = {k: kwargs.pop(k) for k in _OPTIONS if k in kwargs and k in names}
    others = [kwargs.pop(k) for k in ("value", "key") if k in names and kwargs.get(k) is not None]
    unknown = [k for k, v in kwargs.items() if v is not None]
    if unknown:
        raise spec.error(f"argument {unknown[0]} of its call is not supported")
    if spec.class_name in CELLS:
        args = args[:1]
    inputs = [*_flat(args)[:1], *others] if others else _flat(args)[:]
    if spec.class_name in _STATEFUL and args:
        inputs, states = (found := _flat(args[0]))[:1], found[1:]  # Keras 2 puts the states behind the input
        initial = initial or states
    for value in (*inputs, *initial, *mask):
        if not is_ref(value):
            raise spec.error(f"it is called with {value!r}, expected the output of a layer")
    if len(mask) > 1:
        raise spec.error("a call with several masks is not supported")
    return NodeCall(inputs, initial, mask[0] if mask else None, options=options)


def _by_names(model: LayerSpec, given: Mapping[str, Any]) -> list[Any]:
    """The inputs of a nested model, which is called with their names, in its order."""
    names = [name or ref[0] for name, ref in inner_refs(model, "input_layers")]
    if sorted(names) != sorted(given):
        raise model.error(f"it is called with inputs {sorted(given)}, expected {sorted(names)}")
    return [given[name] for name in names]


def _keras3_arguments(spec: LayerSpec, node: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = node.get("args"), node.get("kwargs")
    if not isinstance(args, list | tuple) or not isinstance(kwargs, Mapping):
        raise spec.error("its call has no args and kwargs")
    return [_refs3(spec, a) for a in args], {str(k): _refs3(spec, v) for k, v in kwargs.items()}


def _refs3(spec: LayerSpec, value: Any) -> Any:
    """The value with tensors replaced by refs."""
    if isinstance(value, Mapping):
        if value.get("class_name") != "__keras_tensor__":
            return {k: _refs3(spec, v) for k, v in value.items()}
        config = value.get("config")
        return as_ref(spec, config.get("keras_history") if isinstance(config, Mapping) else None)
    return [_refs3(spec, v) for v in value] if isinstance(value, list | tuple) else value


def _keras2_arguments(spec: LayerSpec, node: Any) -> tuple[list[Any], dict[str, Any]]:
    bare = isinstance(node[0], str)  # as functions have their first argument, unless it is a list
    entries = [node] if bare else list(node)
    refs = [e[2] if spec.is_op and _is_constant(e) else as_ref(spec, e) for e in entries]
    kwargs: dict[str, Any] = {}
    for entry in entries:
        if len(entry) > 3 and isinstance(entry[3], Mapping):
            kwargs |= {str(k): _refs2(spec, v) for k, v in entry[3].items()}
    return (refs if spec.is_op and bare else [refs]), kwargs


def _is_constant(entry: Any) -> bool:
    return isinstance(entry, list | tuple) and len(entry) >= 3 and tuple(entry[:2]) == ("_CONSTANT_VALUE", -1)


def _refs2(spec: LayerSpec, value: Any) -> Any:
    if isinstance(value, list | tuple):
        looks_like_ref = len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int)
        return as_ref(spec, value) if looks_like_ref else [_refs2(spec, v) for v in value]
    return value


def as_ref(spec: LayerSpec, value: Any) -> Ref:
    """A :data:`Ref` from ``[layer, call, output, ...]``."""
    if isinstance(value, list | tuple) and len(value) >= 3:
        name, node, tensor = value[:3]
        if isinstance(name, str) and isinstance(node, int) and isinstance(tensor, int):
            return (name, node, tensor)
    raise spec.error(f"{value!r} does not name the output of a layer")


def _flat(value: Any) -> list[Any]:
    """Nested lists flattened; None vanishes."""
    if isinstance(value, list):
        return [v for item in value for v in _flat(item)]
    return [] if value is None else [value]


def inner_refs(model: LayerSpec, key: str) -> list[tuple[str, Ref]]:
    """The inputs or outputs of a model within another, in the order in which that one counts them."""
    value = model.config.get(key)
    return _named_refs(model, dict(sorted(value.items())) if isinstance(value, Mapping) else value)


def outer_refs(model: LayerSpec, key: str) -> list[tuple[str, Ref]]:
    """The inputs or outputs of the whole model: one, a list, or a dict whose keys then are the names."""
    return _named_refs(model, model.config.get(key))


def _named_refs(spec: LayerSpec, value: Any) -> list[tuple[str, Ref]]:
    if isinstance(value, Mapping):
        return [(valid_name(name, str(spec)), as_ref(spec, ref)) for name, ref in value.items()]
    if isinstance(value, list | tuple) and value and isinstance(value[0], str):
        return [("", as_ref(spec, value))]
    if not isinstance(value, list | tuple):
        raise spec.error(f"{value!r} does not name inputs or outputs")
    return [pair for item in value for pair in _named_refs(spec, item)]
