"""The converter and the command line of lstm-rt.

Importing this package is cheap: the readers, and the libraries they need, load on first use.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .from_keras import from_keras as from_keras
    from .from_torch import from_torch as from_torch

__all__ = ["__version__", "from_keras", "from_torch"]

#: Public functions that live in a submodule of the same name.
_READERS = frozenset({"from_keras", "from_torch"})


class _Package(ModuleType):
    """Keeps a reader's name bound to the function, also after its submodule has been imported.

    The import system binds a submodule to its name in the package, which would hide the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _READERS and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name == "__version__":
        return getattr(importlib.import_module("lstm_rt"), "__version__", "0+unknown")
    if name in _READERS:
        return getattr(importlib.import_module(f"{__name__}.{name}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


sys.modules[__name__].__class__ = _Package
