"""Programs of PyTorch in its files, and how the readers' numbers are held to PyTorch's."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from lstm_rt_tools.program.machine import Machine
from lstm_rt_tools.torch_program.exported import ExportedSource
from lstm_rt_tools.torch_program.exported_archive import ExportedArchive
from lstm_rt_tools.torch_program.script import ScriptSource
from lstm_rt_tools.torch_program.script_archive import ScriptArchive
from lstm_rt_tools.weights.budget import Budget


def leaves(value: Any) -> Iterator[Any]:
    """The tensors in what a module takes or gives, in order."""
    if hasattr(value, "detach"):
        yield value
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    elif isinstance(value, list | tuple):
        for v in value:
            yield from leaves(v)


def script_source(data: bytes) -> ScriptSource:
    return ScriptSource(ScriptArchive(data, "m.pt", Budget(len(data), "m.pt")))


def exported_source(data: bytes) -> ExportedSource:
    return ExportedSource(ExportedArchive(data, "m.pt2", Budget(len(data), "m.pt2")))


def wrapped(torch: Any, function: Callable[..., Any]) -> Any:
    """A module whose forward is a function."""

    class Wrapped(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, *args: Any) -> Any:
            return function(*args)

    return Wrapped().eval()


def traced(torch: Any, module: Any, args: Sequence[Any]) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(module.eval(), tuple(args), strict=False, check_trace=False), buffer)
    return buffer.getvalue()


def scripted(torch: Any, module: Any) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module.eval()), buffer)
    return buffer.getvalue()


def exported(torch: Any, module: Any, args: Sequence[Any], dims: Any = None, decompose: bool = False) -> bytes:
    program = torch.export.export(module.eval(), tuple(args), dynamic_shapes=dims)
    if decompose:
        program = program.run_decompositions()
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def numbers(source: Any, args: Sequence[Any]) -> list[np.ndarray]:
    """What a source gives, run by the machine without labels."""
    machine = Machine()
    inputs = [machine.input(np.asarray(t.detach().numpy())) for t in leaves(args)]
    return [t.data for t in source.run(machine, inputs)]


def check_numbers(source: Any, module: Any, args: Sequence[Any], tolerance: float = 2e-6) -> None:
    """A source gives what PyTorch gives."""
    theirs = [t.detach().numpy() for t in leaves(module(*[_copied(a) for a in args]))]
    ours = numbers(source, args)
    assert len(ours) == len(theirs) == len(source.outputs)
    for name, mine, want in zip(source.outputs, ours, theirs, strict=True):
        assert mine.shape == want.shape, name
        assert mine.dtype == want.dtype or want.dtype.kind in "iub", name
        np.testing.assert_allclose(mine, want, rtol=tolerance, atol=tolerance, err_msg=name)


def _copied(value: Any) -> Any:
    if hasattr(value, "detach"):
        return value.detach().clone()
    return type(value)(_copied(v) for v in value)
