"""Functions that Functional models call between layers: ``a + b``, and the arithmetic of masks.

Keras 3 writes the masks it derived into the configuration as calls of functions: not_equal and any
for Masking, logical_or for merged inputs, and a longer spelling for concatenated ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lstm_rt.errors import GraphError

from .arrays import timed
from .build import Compare, Context, Filled, Flow, Mask, Spread, Tensor, Truth, Whole
from .config import INSTEAD, TF_FUNCTIONS, LayerSpec, plain
from .functions.arguments import Arguments, Function
from .functions.table import FUNCTIONS, MOVES, TENSORFLOW
from .layers.basic import is_moved_input, masking_number
from .masks import as_truth, combined
from .scores import of_function, settled

#: Options of a function's configuration and call that do not change what it computes.
_HARMLESS = ("name", "trainable", "dtype", "function")
#: Values of options that no function has here: they are as if they were not there.
_OFF: tuple[Any, ...] = (None, False)
#: Functions that read scores of attention as they are.
_MULTIPLY = ("Matmul", "Einsum")
_NO_OTHERS: Mapping[str, str] = {}


def emit_op(ctx: Context, spec: LayerSpec, args: Sequence[Any], options: Mapping[str, Any]) -> list[Flow]:
    """The results of a function; arguments and options are flows, numbers, texts and lists of them.

    Raises:
        ConvertError: the function is not supported, or not with these arguments.
    """
    name, others = _named(spec)
    if mask := _mask(ctx, spec, name, [*args, *options.values()]):
        return [mask]
    if name not in FUNCTIONS:
        raise spec.error(f"the function {plain(name)} is not supported; {INSTEAD}")
    row = FUNCTIONS[name]
    args, options = _made_numbers(ctx, spec, [list(args), dict(options)])
    call = _arguments(ctx, spec, row, args, {others.get(k, k): v for k, v in options.items()})
    if part := of_function(name, call.given, call.options):
        return [part]
    if name not in _MULTIPLY:
        call = replace(call, given=[_settled(ctx, v) for v in call.given])
    try:
        result = row.run(call)
    except GraphError as e:
        raise type(e)(f"the function {plain(name)}: {e}") from e
    # Functions of Keras 3 drop masks, those of TensorFlow depend on how they were called.
    masked = ctx.keras.major == 2 and any(t.mask is not None for t in _tensors([*args, *options.values()]))
    mask = Mask("unknown", why=f"passed through the function {name}") if masked else None
    results = [replace(t, mask=mask) for t in (result if isinstance(result, list) else [result])]
    for kind in (Truth, Whole) if name in MOVES else ():
        if all(isinstance(t, kind) for t in _tensors(call.given)):
            return [kind(t.value, t.dims, t.time, t.mask) for t in results]
    return [*results]


def _made_numbers(ctx: Context, spec: LayerSpec, value: Any) -> Any:
    """Arguments with numbers for masks, and for parts of masks."""
    if isinstance(value, list):
        return [_made_numbers(ctx, spec, v) for v in value]
    if isinstance(value, dict):
        return {k: _made_numbers(ctx, spec, v) for k, v in value.items()}
    return as_truth(ctx, spec, value) if isinstance(value, Mask | Spread | Compare | Filled) else value


def _named(spec: LayerSpec) -> tuple[str, Mapping[str, str]]:
    """A function's name in the table, and those of its options that are called otherwise there."""
    if spec.class_name not in TF_FUNCTIONS:
        return spec.class_name, _NO_OTHERS
    symbol = str(spec.config.get("function"))
    return TENSORFLOW.get(symbol, (symbol, _NO_OTHERS))


def function_name(spec: LayerSpec) -> str:
    """A function's name in the table; of a layer, its class."""
    return _named(spec)[0]


def _arguments(
    ctx: Context, spec: LayerSpec, row: Function, args: Sequence[Any], options: Mapping[str, Any]
) -> Arguments:
    """Arguments and options sorted: Keras 3 has options in the configuration, or as further arguments."""
    count = 1 if row.tensors is None else row.tensors
    given, found = list(args[:count]), dict(row.options)
    if len(args) > count + len(row.options):
        raise spec.error(f"it is called with {len(args)} arguments, expected {count + len(row.options)}")
    found |= dict(zip(row.options, args[count:], strict=False))
    config = {} if spec.class_name in TF_FUNCTIONS else {k: v for k, v in spec.config.items() if k not in _HARMLESS}
    if "dtype" in row.options and "dtype" in spec.config:
        config["dtype"] = spec.config["dtype"]
    for key, value in {**config, **options}.items():
        if key in row.options:
            found[key] = value
        elif len(given) < count and key not in _HARMLESS:
            given.append(value)
        elif key not in _HARMLESS and not any(value is off for off in _OFF):
            raise spec.error(f"option {plain(key)}={value!r:.60} of the function is not supported; {INSTEAD}")
    return Arguments(ctx, given, found)


def _settled(ctx: Context, value: Any) -> Any:
    if isinstance(value, list):
        return [_settled(ctx, v) for v in value]
    return settled(ctx, value) if isinstance(value, Tensor) else value


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    flat = [v for value in values for v in (value if isinstance(value, list) else [value])]
    return [v for v in flat if isinstance(v, Tensor)]


def _mask(ctx: Context, spec: LayerSpec, name: str, args: Sequence[Any]) -> Flow | None:
    match name, list(args):
        case "NotEqual", [Tensor() as ids, int() | float() as number] if _is_row_of_ids(ctx, ids):
            return Mask("values", timed(ctx, ids).value, masking_number(number))
        case "NotEqual", [Tensor(value=value) as t, int() | float() as number]:
            kind = ctx.graph.values[value].kind
            if kind == "ids" and float(number).is_integer():
                return Mask("ids", value, float(number))
            return Compare(t, masking_number(number)) if kind == "seq" else None
        case "Any", [Compare(tensor=t, number=number)] if t.time == 0 and len(t.dims) == 2 and _over_features(spec):
            return Mask("values", t.value, number)
        case "Any", [Spread(mask=mask)] if _over_features(spec):
            return mask
        case "Any", [Filled(true=True)] if _over_features(spec):
            return Filled(True)
        case "ConvertToTensor", [Mask() as mask]:
            return mask
        case "ExpandDims", [Mask() as mask] if spec.config.get("axis") == -1:
            return Spread(mask)
        case "ZerosLike" | "OnesLike", [Tensor() as t]:
            return Filled(name == "OnesLike", t)
        case "LogicalOr", [Spread() as spread, Filled(true=False)]:
            return spread
        case "LogicalOr", [Mask() as a, Mask() as b]:
            return combined(ctx, spec, [a, b], "maximum")
        case "LogicalAnd", [Mask() as a, Mask() as b]:
            return combined(ctx, spec, [a, b], "mul")
        case "Concatenate", [list() as parts] if spec.config.get("axis") in (-1, 2):
            if any(p == Filled(True) for p in parts):
                return Filled(True)  # any() follows: one unmasked input unmasks the whole
            if parts and all(isinstance(p, Spread) for p in parts):
                return Spread(combined(ctx, spec, [p.mask for p in parts], "maximum"))
    return None


def _is_row_of_ids(ctx: Context, t: Tensor) -> bool:
    """Is it a step of an input of several axes, whose numbers a layer takes for ids and steps of their own?"""
    one_axis = len(t.dims) == 1 and ctx.graph.values[t.value].kind == "vec"
    return one_axis and t.value not in ctx.graph.inputs and is_moved_input(ctx, t.value)


def _over_features(spec: LayerSpec) -> bool:
    return spec.config.get("axis") in (-1, 2, [-1], [2]) and not spec.config.get("keepdims")
