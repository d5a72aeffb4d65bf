"""A call in a module's forward, as handlers get it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Call:
    """One call of a torch function: its full name, arguments and result."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any

    def arg(self, i: int, name: str, default: Any = None) -> Any:
        """Argument number ``i``, or the one called ``name``."""
        return self.args[i] if i < len(self.args) else self.kwargs.get(name, default)


def short_name(full: str) -> str:
    """``torch.Tensor.__iadd__`` -> ``add``, ``torch.relu_`` -> ``relu``."""
    parts = full.split(".")
    name = parts[-2] if parts[-1] in ("__get__", "__set__") and len(parts) > 1 else parts[-1]
    if name.startswith("__") and name.endswith("__"):
        bare = name[2:-2]
        return {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "truediv": "div"}.get(
            bare, bare
        )
    return name.rstrip("_")
