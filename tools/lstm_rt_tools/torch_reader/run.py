"""Runs a live module with a :class:`~.trace.Recorder` watching."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeAlias

from lstm_rt.errors import ConvertError

from .example import Args, leaves, replace
from .modules import class_name, is_leaf
from .state import Snapshot
from .symbols import Dims, ForwardError, Input
from .trace import Recorder
from .where import where

_TIME_MAJOR = {("N", "T", "F"): ("T", "N", "F"), ("N", "T"): ("T", "N")}


#: Float tensors of a module's result by where they lie in it.
Results: TypeAlias = dict[tuple[Any, ...], Any]


class Runner:
    """Runs a module on one set of arguments after the other.

    The module is in eval mode while it runs. It starts from the state in which it was given, and
    :meth:`restore` puts it back into that.
    """

    def __init__(self, torch: Any, module: Any) -> None:
        self.torch, self.module = torch, module
        self.snapshot = Snapshot(torch, module)
        self.names = {id(m): name for name, m in self.snapshot.modules}

    def restore(self) -> list[str]:
        """The module as it was given; returns the names of what its forward had changed."""
        return self.snapshot.restore()

    def run(
        self,
        args: Args,
        recorder: Recorder | None = None,
        *,
        again: bool = False,
        watch: AbstractContextManager[None] | None = None,
    ) -> Any:
        """The module's result for ``args``.

        Args:
            recorder, watch: watches the run.
            again: starts from the state that the last run has left.
        """
        if not again:
            self.restore()
        self.module.eval()
        with watch or (nullcontext() if recorder is None else self._watched(recorder)):
            return self.module(*args)

    def results(self, args: Args, tensors: Sequence[Any] | None = None, *, again: bool = False) -> Results:
        """What the module gives for ``args``, or for ``tensors`` in their place.

        Inputs and outputs are copied: the forward may change the former, and keep the latter.
        """
        given = leaves(args) if tensors is None else iter(tensors)
        result = self.run(replace(args, (t.clone() for t in given)), again=again)
        return {path: t.detach().clone() for path, t in tensors_of(result).items()}

    def where(self, error: BaseException) -> str:
        """The line of the user's code that ``error`` comes from, to put behind a message."""
        return where(self.torch, error, self.names)

    @contextmanager
    def _watched(self, recorder: Recorder) -> Iterator[None]:
        handles: list[Any] = []

        def before(name: str) -> Any:
            def hook(leaf: Any, args: Any, kwargs: Any) -> None:
                recorder.busy += 1
                if recorder.busy == 1:
                    recorder.check_unchanged(f"{name} ({type(leaf).__name__})", (args, kwargs))

            return hook

        def after(name: str) -> Any:
            def hook(leaf: Any, args: Any, kwargs: Any, output: Any) -> None:
                if recorder.busy == 1:
                    recorder.leaf(name, leaf, args, kwargs, output)
                recorder.busy -= 1

            return hook

        for name, child in self.snapshot.modules:
            # An instance with a forward of its own does something else than its class.
            if is_leaf(class_name(child)) and "forward" not in vars(child):
                # Innermost, so that what hooks of the user's do before and after is recorded, too.
                handles.append(child.register_forward_pre_hook(before(name), with_kwargs=True))
                handles.append(child.register_forward_hook(after(name), with_kwargs=True, prepend=True))
        try:
            with _mode(self.torch, recorder):
                yield
        finally:
            for handle in handles:
                handle.remove()


def _mode(torch: Any, recorder: Recorder) -> Any:
    from torch.overrides import TorchFunctionMode, resolve_name

    class Watch(TorchFunctionMode):  # type: ignore[misc, unused-ignore]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if recorder.busy:
                return func(*args, **kwargs)
            # In here no function is watched: what the handlers do with tensors is not part of the model.
            name = resolve_name(func) or getattr(func, "__name__", str(func))
            recorder.check_unchanged(name, (args, kwargs))
            result = func(*args, **kwargs)
            recorder.function(name, args, kwargs, result)
            return result

    return Watch()


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
    if key not in kinds:
        raise ForwardError(_unexpected(name, tensor))
    return kinds[key]


def check_dtypes(leaves: Sequence[tuple[str, Any]]) -> None:
    """Raise :class:`ConvertError` for tensors of truths or complex numbers."""
    for name, tensor in leaves:
        if tensor.is_complex() or str(tensor.dtype) == "torch.bool":
            raise ConvertError(_unexpected(name, tensor))


def _unexpected(name: str, tensor: Any) -> str:
    return (
        f"input {name!r} has shape {tuple(tensor.shape)} and dtype {tensor.dtype}; "
        "expected floats (N, T, F) or (N, F), integer ids (N, T) or integer lengths (N,)"
    )


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


def paths(result: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The tensors in a module's result, with where they lie."""
    if isinstance(result, dict):
        for key, item in result.items():
            yield from paths(item, (*path, key))
    elif isinstance(result, tuple | list):
        for i, item in enumerate(result):
            yield from paths(item, (*path, i))
    elif hasattr(result, "is_floating_point"):
        yield path, result


def tensors_of(result: Any) -> Results:
    """The float tensors in a module's result."""
    return {path: tensor for path, tensor in paths(result) if tensor.is_floating_point()}


def brief(error: BaseException) -> str:
    """An error of the user's code in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
