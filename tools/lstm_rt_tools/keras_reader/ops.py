"""Functions that Functional models call between layers: ``a + b``, and the arithmetic of masks.

Keras 3 writes the masks it derived into the configuration as calls of functions: not_equal and any
for Masking, logical_or for merged inputs, and a longer spelling for concatenated ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .build import Compare, Context, Filled, Flow, Mask, Spread, Tensor
from .config import INSTEAD, LayerSpec, plain
from .layers import masking_number, merge_values

_TF_FUNCTIONS = {
    "__operators__.add": "Add",
    "math.add": "Add",
    "math.multiply": "Multiply",
    "__operators__.mul": "Multiply",
}
_BINARY = {"Add": "add", "Multiply": "mul"}


def emit_op(ctx: Context, spec: LayerSpec, args: Sequence[Any]) -> Flow:
    """The result of a function; ``args`` are flows, numbers and lists of them.

    Raises:
        ConvertError: the function is not supported, or not with these arguments.
    """
    name = spec.class_name
    if name == "TFOpLambda":
        name = _TF_FUNCTIONS.get(str(spec.config.get("function")), str(spec.config.get("function")))
    result = _value(ctx, name, args) or _mask(ctx, spec, name, args)
    if result is None:
        kinds = ", ".join(type(a).__name__ for a in args)
        raise spec.error(f"the function {plain(name)} of ({kinds}) is not supported; {INSTEAD}")
    return result


def _value(ctx: Context, name: str, args: Sequence[Any]) -> Tensor | None:
    if name not in _BINARY or len(args) != 2 or not all(isinstance(a, Tensor) for a in args):
        return None
    values = [a.value for a in args]
    ctx.same_axis(values)
    out = merge_values(ctx, _BINARY[name], values)
    masked = any(a.mask is not None for a in args)
    # Functions of Keras 3 drop masks, those of TensorFlow depend on how they were called.
    unknown = Mask("unknown", why=f"passed through the function {name}")
    return Tensor(out, unknown if masked and ctx.keras.major == 2 else None)


def _mask(ctx: Context, spec: LayerSpec, name: str, args: Sequence[Any]) -> Flow | None:
    match name, list(args):
        case "NotEqual", [Tensor(value=value), int() | float() as number]:
            kind = ctx.graph.values[value].kind
            if kind == "ids" and float(number).is_integer():
                return Mask("ids", value, float(number))
            return Compare(value, masking_number(number)) if kind == "seq" else None
        case "Any", [Compare(source=source, number=number)] if _over_features(spec):
            return Mask("values", source, number)
        case "Any", [Spread(mask=mask)] if _over_features(spec):
            return mask
        case "Any", [Filled(true=True)] if _over_features(spec):
            return Filled(True)
        case "ExpandDims", [Mask() as mask] if spec.config.get("axis") == -1:
            return Spread(mask)
        case "ZerosLike", [Tensor()]:
            return Filled(False)
        case "OnesLike", [Tensor()]:
            return Filled(True)
        case "LogicalOr", [Spread() as spread, Filled(true=False)]:
            return spread
        case "LogicalOr", [Mask() as a, Mask() as b]:
            return _joined(spec, [a, b])
        case "Concatenate", [list() as parts] if spec.config.get("axis") in (-1, 2):
            if any(p == Filled(True) for p in parts):
                return Filled(True)  # any() follows: one unmasked input unmasks the whole
            if parts and all(isinstance(p, Spread) for p in parts):
                return Spread(_joined(spec, [p.mask for p in parts]))
    return None


def _over_features(spec: LayerSpec) -> bool:
    return spec.config.get("axis") in (-1, 2, [-1], [2]) and not spec.config.get("keepdims")


def _joined(spec: LayerSpec, masks: Sequence[Mask]) -> Mask:
    same = len(set(masks)) == 1
    return masks[0] if same else Mask("unknown", why=f"joins several others ({spec})")
