"""Runs a live module, and puts it back as it was."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

from .example import Args, leaves, replace
from .modules import class_name
from .state import Snapshot
from .where import where

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
        *,
        again: bool = False,
        watch: AbstractContextManager[None] | None = None,
    ) -> Any:
        """The module's result for ``args``.

        Args:
            watch: watches the run.
            again: starts from the state that the last run has left.
        """
        if not again:
            self.restore()
        self.module.eval()
        with watch or nullcontext():
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
