"""Small weight files, and how they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from attacks.build import table, tensor, torch_legacy, torch_zip
from lstm_rt_tools.weights.checkpoints import Checkpoint, read_checkpoint


def read(tmp_path: Path, data: bytes, name: str = "m.pt", key: str | None = None) -> Checkpoint:
    path = tmp_path / name
    path.write_bytes(data)
    return read_checkpoint(path, key)


def numbers(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    return {k: t.array(k) for k, t in checkpoint.tensors.items()}


SIX = np.arange(6, dtype=np.float32)
GOOD = {"zip": torch_zip(table(w=tensor("0", 6, (2, 3), (3, 1))), {"0": SIX.tobytes()})}
GOOD["legacy"] = torch_legacy(table(w=tensor("0", 6, (2, 3), (3, 1))), {"0": (6, SIX.tobytes())})
