"""What the operators of ONNX are in words of the vocabulary: a module a family, a function an operator."""

from . import (
    control,
    elementwise,
    linear,
    microsoft,
    norms,
    quantized,
    recurrent,
    reduce,
    resize,
    sequences,
    shapes,
    tables,
)

__all__ = [
    "control",
    "elementwise",
    "linear",
    "microsoft",
    "norms",
    "quantized",
    "recurrent",
    "reduce",
    "resize",
    "sequences",
    "shapes",
    "tables",
]
