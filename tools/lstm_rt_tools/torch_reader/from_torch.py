"""PyTorch models to graphs: files without torch, state dicts, and live modules."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

from ..arch.build import build
from ..arch.file import Arch, ArchSource, read_arch
from ..arch.guess import guess_arch
from ..arch.guitarml import guitarml_arch
from ..names import listed, shown
from ..torch_program.from_program import from_program, is_program
from ..weights.checkpoints import Checkpoint, Key, from_mapping, read_checkpoint
from ..weights.find import SeveralSets
from ..weights.state_dict import Weights, join
from ..weights.tensors import noting_not_finite
from .live import from_module
from .modules import build_inert, time_major_layers

_LIVE = "Where the code of the model runs, lstm_rt_tools.from_torch(module, example) converts the live module"
MOST_SETS = 16  #: of weights that a draft takes together, or that are listed


def from_torch(
    source: Any,
    example: Any = None,
    arch: ArchSource | None = None,
    part: str | None = None,
    settings: Mapping[str, int] | None = None,
) -> Graph:
    """Convert a PyTorch model.

    Args:
        source: a path (``.pt2`` and TorchScript, which hold their graph; ``torch.save`` file, safetensors,
            GuitarML JSON; none of them needs torch, safetensors files need the package of that name), a state
            dict or checkpoint in memory
            (names to arrays or tensors), or a live ``torch.nn.Module``. The weights may lie anywhere
            in a checkpoint.
        example: for a live module, its input: a tensor or array, or a tuple of them for several
            arguments, in the shapes that the module takes. A few of its rows and steps are run through the
            module to see what it does. The graph is compared with the module on these and on random inputs
            of several sizes, up to 128 steps where that takes moments, in about ten calls. Its self-test
            holds random inputs, nothing of the example.
        arch: for files and state dicts, the architecture file (``docs/arch.md``) or its contents
            as a dictionary. GuitarML files and pickled ``torch.nn.Sequential`` do without; of a TorchScript
            archive it takes the weights alone.
        part: which part of the architecture file, where that describes several, such as an encoder and
            a decoder.
        settings: values of whole numbers that the forward of a TorchScript module takes beside tensors, and sizes of
            inputs of a TorchScript or ``.pt2`` file: ``x.2`` is that of dimension 2 of the input ``x``.

    Returns:
        A graph that takes and gives arrays in the module's order of axes, such as ``(N, T, F)`` or ``(T, N, F)``
        float32; bare weights are batch-first. Final states that the module returns are outputs,
        ``(layers * directions, N, H)``. The initial state of recurrent layers is the caller's (``state=``,
        ``return_state``), also where the module takes ``h`` and ``c`` itself, or keeps them from call to call.
        An output that joins N and T has them apart. Booleans are taken as floats, 0 and 1. Dropout is left out.
        ``graph.meta["notes"]`` lists what was chosen among several sets of weights, put back into the form
        of the layer (weight norm, weight drop), or left unread beside the weights, weights that are not
        finite, initial states that the module takes, attributes in which a forward may count its calls,
        and what else is worth knowing; for a live module these are warnings, too. A live module is left as
        it was, also after an error: its attributes, weights and buffers, training mode, and the random
        generators. What its forward changes elsewhere, such as in globals, closures or files, stays changed
        by the calls. float16 and bfloat16 modules are converted by a float32 copy.

    Raises:
        ConvertError: the file is damaged or of an unknown kind; weights are missing, left over or
            of the wrong shape; a finite weight is beyond float32; a layer or function is not supported
            (named); several sets of weights are equally likely; the architecture is not known (the message
            and its ``draft`` hold one to start from); or the graph's numbers differ from the module's. What
            is in the way in a live module's forward is named with the line of its code.
        OSError: a file is missing, cannot be read or is no regular file.
    """
    live = not isinstance(source, type) and hasattr(source, "named_modules") and hasattr(source, "state_dict")
    if example is not None and not live and isinstance(source, str | os.PathLike | Mapping):
        raise ConvertError("example is for a live module; files and state dicts take an arch file (arch=...)")
    if isinstance(source, str | os.PathLike) and arch is None and part is None and is_program(source):
        return from_program(source, settings)
    if settings:
        raise ConvertError("settings are for TorchScript and .pt2 files: sizes of inputs, and whole numbers of forward")
    if isinstance(source, str | os.PathLike):
        return _from_weights(partial(read_checkpoint, source), arch, part)
    if isinstance(source, Mapping):
        return _from_weights(partial(from_mapping, source), arch, part)
    if live:
        if arch is not None or part is not None:
            raise ConvertError("arch is for weight files; a live module tells its architecture itself")
        return from_module(source, example)
    raise ConvertError(f"{_what_it_is(source)}; expected a path, a state dict or a torch.nn.Module")


def _what_it_is(source: Any) -> str:
    """What was given by mistake, and what was probably meant."""
    name = type(source).__name__
    if isinstance(source, type):
        return f"cannot convert the class {source.__name__}; call it: {source.__name__}(...)"
    if name == "ExportedProgram":
        return "cannot convert an ExportedProgram: give the module that it was exported from"
    if callable(source):
        name = getattr(source, "__qualname__", name)
        return f"cannot convert the function {name}: give the module that it calls, or wrap it in one"
    return f"cannot convert a {name}"


def _from_weights(read: Callable[[Key | None], Checkpoint], arch: ArchSource | None, part: str | None) -> Graph:
    parsed = None if arch is None else read_arch(arch)
    try:
        checkpoint = read(parsed.checkpoint if parsed else None)
    except SeveralSets as e:
        if parsed is not None or (len(e.keys) > MOST_SETS and not e.copies):
            raise
        meant = read(e.keys[0] if e.copies else e.keys)
        raise ConvertError(f"{e}. {_LIVE}. A draft to check and complete:", draft=_draft(meant)) from None
    return _from_checkpoint(checkpoint, parsed, part)


def _from_checkpoint(checkpoint: Checkpoint, arch: Arch | None, part: str | None) -> Graph:
    weights = Weights(
        checkpoint.tensors,
        checkpoint.what,
        checkpoint.budget,
        beside=checkpoint.beside,
        elsewhere=checkpoint.elsewhere,
        stored=checkpoint.stored,
        unknown=checkpoint.unknown,
        numbers=checkpoint.numbers,
    )
    if arch is not None and not (arch.layers or arch.parts):
        arch = None
    if part is not None and arch is None:
        raise ConvertError(f"part = {part!r} chooses among the parts of an arch file, and there is none with layers")
    if arch is None and checkpoint.model_data is not None:
        arch = read_arch(guitarml_arch(checkpoint.model_data, weights))
    graph = None
    with noting_not_finite(weights.notes):
        if arch is not None:
            graph = build(arch, weights, part)
            weights.notes += _order_notes(checkpoint, graph)
        elif checkpoint.module is not None:
            graph = build_inert(checkpoint.module, weights)
    if graph is None:
        raise _needs_arch(checkpoint)
    checkpoint.budget.graph(graph)
    graph.meta["source"] = checkpoint.source if part is None else {**checkpoint.source, "part": part}
    if notes := checkpoint.notes + weights.notes:
        graph.meta.setdefault("notes", []).extend(notes)
    return graph


def _order_notes(checkpoint: Checkpoint, graph: Graph) -> list[str]:
    """A pickled module says of its layers that they take the steps first, and the model does not."""
    if any(graph.values[i].order == "time_first" for i in graph.inputs):
        return []
    layers = _time_major(checkpoint)
    if not layers:
        return []
    return [
        f"batch_first is False in {layers}: the module may take and give (T, N, F), the converted model does as its "
        'architecture file says, (N, T, F) without order = "time_first"'
    ]


def _time_major(checkpoint: Checkpoint) -> str:
    """The names of the pickled modules' layers that take the steps first."""
    layers = [
        join(prefix, name)
        for prefix, module in checkpoint.modules.items()
        for name in time_major_layers(module, checkpoint.budget)
    ]
    return listed(map(shown, layers), 5)


def _needs_arch(checkpoint: Checkpoint) -> ConvertError:
    quantized = [name for name, t in checkpoint.tensors.items() if t.dtype == "quantized"]
    if quantized:
        return ConvertError(
            f"{checkpoint.what}: layers of torch.ao.quantization, whose weights are quantized: {listed(quantized)}; "
            "the float model that they were made from converts"
        )
    holds = "holds weights only"
    if checkpoint.module is not None:
        holds = f"holds a {shown(str(checkpoint.module.cls))}, whose forward is code that is never run"
    return ConvertError(
        f"{checkpoint.what}: {holds}; how they are connected must be told by an arch file "
        f"(arch=..., --arch on the command line). {_LIVE} and needs none. A draft to check and complete:",
        draft=_draft(checkpoint),
    )


def _draft(checkpoint: Checkpoint) -> str:
    told = checkpoint.elsewhere or isinstance(checkpoint.key, list)
    draft = guess_arch(checkpoint.tensors, checkpoint.key if told else None, checkpoint.beside)
    if layers := _time_major(checkpoint):
        draft += (
            f"# - the order of axes: batch_first is False in {layers}, so the module may take and give (T, N, F);\n"
            '#   order = "time_first" in [[input]] and [[output]] keeps that\n'
        )
    return draft
