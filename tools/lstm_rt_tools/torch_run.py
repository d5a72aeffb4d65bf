"""Runs a live module with a :class:`~.torch_trace.Recorder` watching."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lstm_rt.errors import ConvertError

from .torch_modules import is_leaf
from .torch_symbols import Dims, Input
from .torch_trace import Recorder, class_name

_TIME_MAJOR = {("N", "T", "F"): ("T", "N", "F"), ("N", "T"): ("T", "N")}


def record(torch: Any, module: Any, args: tuple[Any, ...], recorder: Recorder) -> Any:
    """Run the module on ``args`` with ``recorder`` watching; returns its output."""
    handles: list[Any] = []

    def before(*_: Any) -> None:
        recorder.busy += 1

    def after(name: str) -> Any:
        def hook(leaf: Any, args: Any, kwargs: Any, output: Any) -> None:
            recorder.busy -= 1
            if not recorder.busy:
                recorder.leaf(name, leaf, args, kwargs, output)
                recorder.busy = 0

        return hook

    for name, child in module.named_modules():
        if is_leaf(class_name(child)):
            handles.append(child.register_forward_pre_hook(before))
            handles.append(child.register_forward_hook(after(name), with_kwargs=True))
    try:
        with _mode(torch, recorder), torch.no_grad():
            return module(*args)
    finally:
        for handle in handles:
            handle.remove()


def _mode(torch: Any, recorder: Recorder) -> Any:
    from torch.overrides import TorchFunctionMode, resolve_name

    class Watch(TorchFunctionMode):  # type: ignore[misc, unused-ignore]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if not recorder.busy:
                recorder.busy += 1  # what the handlers do with tensors is not part of the model
                try:
                    name = resolve_name(func) or getattr(func, "__name__", str(func))
                    recorder.function(name, args, kwargs or {}, result)
                finally:
                    recorder.busy -= 1
            return result

    return Watch()


@contextmanager
def eval_mode(module: Any) -> Iterator[None]:
    """The module and its children in eval mode, each put back as it was."""
    was = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in was:
            m.training = training


def make_inputs(leaves: Sequence[tuple[str, Any]], time_major: bool) -> list[Input]:
    """What each tensor argument is taken for, from its shape and dtype.

    Raises:
        ConvertError: no kind of input has this shape and dtype.
    """
    out = []
    for i, (name, tensor) in enumerate(leaves):
        kind, dims = _kind(name, tensor)
        if time_major:
            dims = _TIME_MAJOR.get(dims, dims)
        out.append(Input(i, name, tensor, kind, dims))
    return out


def _kind(name: str, tensor: Any) -> tuple[str, Dims]:
    key = ("f" if tensor.is_floating_point() else "i", tensor.dim())
    kinds: dict[tuple[str, int], tuple[str, Dims]] = {
        ("f", 3): ("seq", ("N", "T", "F")),
        ("f", 2): ("vec", ("N", "F")),
        ("i", 2): ("ids", ("N", "T")),
        ("i", 1): ("lengths", ("N",)),
    }
    if key not in kinds or str(tensor.dtype) in ("torch.bool", "torch.complex64", "torch.complex128"):
        raise ConvertError(
            f"input {name!r} has shape {tuple(tensor.shape)} and dtype {tensor.dtype}; "
            "expected floats (N, T, F) or (N, F), integer ids (N, T) or integer lengths (N,)"
        )
    return kinds[key]


def argument_names(module: Any, count: int) -> list[str]:
    """Names of the arguments of the module's forward."""
    if class_name(module).startswith("torch.nn.modules."):
        return ["x", "hx"][:count] if count <= 2 else [f"x{i}" for i in range(count)]
    try:
        parameters = [
            p.name
            for p in inspect.signature(module.forward).parameters.values()
            if p.kind <= p.POSITIONAL_OR_KEYWORD
        ]
    except (TypeError, ValueError):
        parameters = []
    return (parameters + [f"x{i}" for i in range(len(parameters), count)])[:count]
