"""The converter and the command line of lstm-rt.

Importing this package is cheap: readers, exporters and the libraries they need load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .export.to_onnx import to_onnx as to_onnx
    from .integers.quantize import quantize as quantize
    from .keras_reader.from_keras import from_keras as from_keras
    from .onnx_reader.from_onnx import from_onnx as from_onnx
    from .torch_reader.from_torch import from_torch as from_torch

__all__ = ["__version__", "from_keras", "from_onnx", "from_torch", "quantize", "to_onnx"]

_MODULES = {
    "from_keras": "keras_reader.from_keras",
    "from_onnx": "onnx_reader.from_onnx",
    "from_torch": "torch_reader.from_torch",
    "quantize": "integers.quantize",
    "to_onnx": "export.to_onnx",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name == "__version__":
        return getattr(importlib.import_module("lstm_rt"), "__version__", "0+unknown")
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
