"""PyTorch models to graphs: files without torch, state dicts, and live modules."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

from .arch import Arch, ArchSource, build, read_arch
from .arch_guess import guess_arch
from .checkpoints import Checkpoint, from_mapping, read_checkpoint
from .guitarml import guitarml_arch
from .names import shown
from .torch_layers import Weights
from .torch_modules import build_inert


def from_torch(source: Any, example: Any = None, arch: ArchSource | None = None) -> Graph:
    """Convert a PyTorch model.

    Args:
        source: a path (``torch.save`` file, safetensors, GuitarML JSON; none of them needs torch),
            a state dict or checkpoint in memory (names to arrays or tensors), or a live
            ``torch.nn.Module``. The weights may lie anywhere in a checkpoint.
        example: for a live module, its input: a tensor or array, or a tuple of them for several
            arguments. Shapes and dtypes as the module takes them. It is run through the module to
            see what the module does, and once more, with other sizes, to check the graph; the
            graph then carries it as its self test.
        arch: for files and state dicts, the architecture file (``docs/arch.md``) or its contents
            as a dictionary. GuitarML files and pickled ``torch.nn.Sequential`` do without.

    Returns:
        A graph whose sequences are batch-first, ``(N, T, F)`` float32, also where the module is
        time-major. The state of recurrent layers is the caller's (``state=``, ``return_state``),
        also where the module takes and returns ``h`` and ``c`` itself. Outputs are ``(N, T, F)``
        or ``(N, F)``, also where the module joins N and T or drops an F of 1. Dropout is left out.
        ``graph.meta["notes"]`` lists what was chosen among several sets of weights, put back into
        the form of the layer (weight norm, weight drop), or left unread beside the weights.

    Raises:
        ConvertError: the file is damaged or of an unknown kind; weights are missing, left over or
            of the wrong shape; a layer or function is not supported (named); several sets of
            weights are equally likely; the architecture is not known (the message holds a draft);
            or the graph's numbers differ from the module's.
    """
    if isinstance(source, str | os.PathLike):
        return _from_file(source, arch)
    if isinstance(source, Mapping):
        parsed = None if arch is None else read_arch(arch)
        return _from_checkpoint(from_mapping(source, parsed.checkpoint if parsed else None), parsed)
    if hasattr(source, "named_modules") and hasattr(source, "state_dict"):
        if arch is not None:
            raise ConvertError("arch is for weight files; a live module tells its architecture itself")
        from .torch_live import from_module

        return from_module(source, example)
    raise ConvertError(
        f"cannot convert a {type(source).__name__}; expected a path, a state dict or a torch.nn.Module"
    )


def _from_file(path: str | os.PathLike[str], arch: ArchSource | None) -> Graph:
    parsed = None if arch is None else read_arch(arch)
    return _from_checkpoint(read_checkpoint(path, parsed.checkpoint if parsed else None), parsed)


def _from_checkpoint(checkpoint: Checkpoint, arch: Arch | None) -> Graph:
    weights = Weights(
        checkpoint.tensors,
        checkpoint.what,
        checkpoint.budget,
        beside=checkpoint.beside,
        elsewhere=checkpoint.elsewhere,
        stored=checkpoint.stored,
        unknown=checkpoint.unknown,
    )
    if arch is not None and not arch.layers:
        arch = None
    if arch is None and checkpoint.model_data is not None:
        arch = read_arch(guitarml_arch(checkpoint.model_data, weights))
    graph = None
    if arch is not None:
        graph = build(arch, weights)
    elif checkpoint.module is not None:
        graph = build_inert(checkpoint.module, weights)
    if graph is None:
        raise ConvertError(_need_arch(checkpoint))
    checkpoint.budget.graph(graph)
    graph.meta["source"] = checkpoint.source
    if notes := checkpoint.notes + weights.notes:
        graph.meta.setdefault("notes", []).extend(notes)
    return graph


def _need_arch(checkpoint: Checkpoint) -> str:
    holds = "holds weights only"
    if checkpoint.module is not None:
        holds = f"holds a {shown(str(checkpoint.module.cls))}, whose forward is code that is never run"
    return (
        f"{checkpoint.what}: {holds}; how they are connected must be told by an arch file "
        "(arch=..., --arch on the command line). Where the code of the model runs, "
        "from_torch(module, example) converts the live module and needs none. A draft to check and complete:\n\n"
        f"{guess_arch(checkpoint.tensors, checkpoint.key if checkpoint.elsewhere else None, checkpoint.beside)}"
    )
