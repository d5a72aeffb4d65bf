"""Makes tests/data/torch_programs: small programs saved by torch, with inputs and the outputs it gave.

Needs torch, which the tests that read them do not: run it by hand.
"""

from __future__ import annotations

import io
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from helpers.torch_programs import exported, leaves, scripted, traced  # noqa: E402
from helpers.torch_zoo import zoo  # noqa: E402

OUT = HERE / "data" / "torch_programs"
#: By how they are saved; each by its name among the models of ``helpers/torch_zoo.py``.
TRACED = ("packed", "crnn", "learned_state")
SCRIPTED = ("self_attention", "packed_steps", "pooled")
EXPORTED = ("states", "attention")
ROWS, STEPS = 3, 9


def stored(data: bytes) -> bytes:
    """The archive without what tells of the machine and of lines of code, deflated."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name.endswith((".debug_pkl", "serialization_id")) or "sample_inputs" in name:
                continue
            content = old.read(name)
            if name.endswith("models/model.json"):
                content = _without_places(content)
            new.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _without_places(content: bytes) -> bytes:
    import json

    text = json.loads(content)
    for node in text["graph_module"]["graph"]["nodes"]:
        node["metadata"].pop("stack_trace", None)
    return json.dumps(text).encode()


def main() -> None:
    OUT.mkdir(exist_ok=True)
    models = zoo(torch)
    rows = torch.export.Dim("rows", min=1, max=64)
    for name, kind in [*((n, "traced") for n in TRACED), *((n, "scripted") for n in SCRIPTED),
                       *((n, "exported") for n in EXPORTED)]:  # fmt: skip
        torch.manual_seed(11)
        model: Any = models[name]()
        args = model.inputs(ROWS, STEPS)
        module = model.module.eval()
        if kind == "traced":
            data = traced(torch, module, args)
        elif kind == "scripted":
            data = scripted(torch, module)
        else:
            dims = tuple({d.index("n"): rows} for d in model.dims)
            data = exported(torch, module, args, dims)
        path = OUT / f"{name}{'.pt2' if kind == 'exported' else '.pt'}"
        path.write_bytes(stored(data))
        arrays = {f"in{i}": t.detach().numpy() for i, t in enumerate(leaves(args))}
        arrays |= {f"out{i}": t.detach().numpy() for i, t in enumerate(leaves(module(*args)))}
        np.savez_compressed(path.with_suffix(".npz"), **arrays)
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
