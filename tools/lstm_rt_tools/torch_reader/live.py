"""Live PyTorch modules to graphs: example in, graph out, checked against the module."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

from ..weights.tensors import noting_not_finite
from .cell import convert_cell
from .example import Args, as_tensors, leaves, named_tensors, read_example, replace, smaller
from .modules import BATCHNORM, CELLS, IGNORED, RECURRENT, SHORT_FLOATS, class_name
from .run import Results, Runner, argument_names, brief, paths, tensors_of
from .source import by_operations
from .state import undisturbed


def from_module(module: Any, example: Any = None) -> Graph:
    """The graph of a live module; see :func:`lstm_rt_tools.from_torch`."""
    import torch

    module = _unwrap(module)
    _refuse(torch, module)
    notes = list(_training_notes(module))
    with undisturbed(torch), noting_not_finite(notes):
        module = _in_float32(torch, module, notes)
        runner = Runner(torch, module)
        try:
            if class_name(module) in CELLS:
                graph = convert_cell(runner)
            else:
                graph = _convert(runner, read_example(torch, module, example), notes)
        finally:
            runner.restore()
    graph.meta["source"] |= _source(torch, module)
    if notes:
        graph.meta["notes"] = notes
    for note in notes:
        warnings.warn(f"from_torch: {note}", stacklevel=3)
    return graph


# -- what can be converted -----------------------------------------------------------------------


def _unwrap(module: Any) -> Any:
    for _ in range(8):
        cls = class_name(module)
        if cls.endswith(".OptimizedModule"):
            module = module._orig_mod
        elif cls.endswith((".DataParallel", ".DistributedDataParallel")):
            module = module.module
        else:
            break
    return module


def _refuse(torch: Any, module: Any) -> None:
    """Name what cannot be converted whatever its forward does, before anything runs."""
    for name, child in module.named_modules():
        cls, what = class_name(child), f"module.{name}" if name else "the module"
        if cls.startswith("torch.jit."):
            raise ConvertError(f"{what} is a TorchScript module, which cannot be watched; give the original module")
        if cls.startswith(("torch.ao.", "torch.nn.quantized.", "torch.nn.intrinsic.", "torch.nn.qat.")):
            raise ConvertError(f"{what} is quantised ({cls}); give the float module that it was made from")
        if isinstance(child, torch.fx.GraphModule) and any(
            isinstance(node.target, torch._ops.OpOverload) for node in child.graph.nodes
        ):
            raise ConvertError(f"{what} is an exported program; give the module that it was exported from")
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if torch.nn.parameter.is_lazy(tensor):
            raise ConvertError(f"{name} has no shape yet: the layer is lazy; run the module once, then convert it")
        if tensor.is_meta:
            raise ConvertError(f"{name} is on the meta device: it has a shape, but no numbers; load the weights first")
        ordinary = (torch.Tensor, torch.nn.Parameter, getattr(torch.nn, "Buffer", torch.nn.Parameter))
        if tensor.is_quantized or type(tensor) not in ordinary:
            kind = str(tensor.dtype) if tensor.is_quantized else type(tensor).__name__
            raise ConvertError(f"{name} is a {kind} tensor; expected an ordinary one of floats")


def _training_notes(module: Any) -> Iterator[str]:
    """A module in training mode is a frequent slip where that makes a difference."""
    if module.training:
        rates = [m.p for m in module.modules() if class_name(m) in IGNORED and hasattr(m, "p")]
        rates += [m.dropout for m in module.modules() if class_name(m) in RECURRENT]
        if any(rates) or any(class_name(m) == BATCHNORM for m in module.modules()):
            yield (
                "the module is in training mode; it is converted as it is in eval mode, "
                "without dropout and with the running statistics of batch normalisation"
            )


def _in_float32(torch: Any, module: Any, notes: list[str]) -> Any:
    """The module, or a float32 copy of it if its weights are float16 or bfloat16."""
    weights = (*module.parameters(), *module.buffers())
    short = sorted({str(t.dtype).removeprefix("torch.") for t in weights} & set(SHORT_FLOATS))
    if not short:
        return module
    what = f"the weights are {' and '.join(short)}"
    try:
        made = copy.deepcopy(module).float()
    except Exception as e:  # whatever is in the way of a copy of the user's class
        raise ConvertError(
            f"{what}, and the module cannot be copied to run in float32 ({brief(e)}); convert module.float()"
        ) from e
    notes.append(f"{what}; a float32 copy of the module was converted, with the same numbers as weights")
    return made


def _source(torch: Any, module: Any) -> dict[str, Any]:
    return {
        "framework": "pytorch",
        "version": str(torch.__version__),
        "module": f"{type(module).__module__}.{type(module).__qualname__}",
    }


# -- the conversion ------------------------------------------------------------------------------


def _convert(runner: Runner, example: Args, notes: list[str]) -> Graph:
    names = argument_names(runner.module, len(example))
    first: ConvertError | None = None
    for args, results, left, some in _that_run(runner, example, names):
        found = [f"left out of the graph, as they hold no floats: {', '.join(left)}"] if left else []
        try:
            graph = by_operations(runner, args, names, results, found)
        except ConvertError as e:
            first = first or e
            if some:
                raise first from None
            continue  # a module for one size may run at another by chance, and mean nothing there
        notes += found
        return graph
    assert first is not None
    raise first


def _that_run(
    runner: Runner, example: Args, names: list[str]
) -> Iterator[tuple[Args, Results, list[str], bool]]:
    """The example, cut down and then less so, where the module runs on it: with what it gives, the names of results
    that are no floats, and whether it runs on all that were tried so far.

    Raises:
        ConvertError: it does not run, or gives nothing that a graph can give.
    """
    dtypes = {p.dtype: p for p in runner.module.parameters() if p.is_floating_point()}
    like = next(iter(dtypes.values())) if len(dtypes) == 1 else None
    failure: Exception | None = None
    some = False
    for cut in smaller(example):
        args = as_tensors(runner.torch, cut, like)
        _check_dtypes(names, args)
        try:
            result = runner.run(replace(args, (t.clone() for t in leaves(args))))
        except Exception as e:  # whatever the user's forward may raise
            failure = e
            continue
        results = {path: t.detach().clone() for path, t in tensors_of(result).items()}
        if not results:
            raise ConvertError(
                f"the module returns a {type(result).__name__} without float tensors that can be found in it; "
                "expected tensors, or tuples, lists and dicts of them"
            )
        left = ["_".join(["output", *map(str, p)]) for p, t in paths(result) if not t.is_floating_point()]
        some = True
        yield args, results, left, failure is None
    if not some:
        assert failure is not None
        raise ConvertError(
            f"the module's forward fails on the example: {brief(failure)}{runner.where(failure)}"
        ) from failure


def _check_dtypes(names: list[str], args: Args) -> None:
    for name, tensor in named_tensors(names, args):
        if tensor.is_complex():
            raise ConvertError(
                f"input {name!r} has shape {tuple(tensor.shape)} and dtype {tensor.dtype}; expected floats, whole "
                "numbers or booleans"
            )
