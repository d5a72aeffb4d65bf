"""What is measured: ten models and inputs, the same numbers for every engine; and how engines are named."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from model_workloads import ModelWorkload

Array = NDArray[np.float32]
AnyWorkload: TypeAlias = "Workload | ModelWorkload"

GATES = {"lstm": 4, "gru": 3}
#: Weights of integers. Activations have 16 bits, with ``int8/8`` 8; those of rivals have 8.
INTEGERS = ("int16", "int8", "int8/8")
CHECK_STEPS = 32  #: steps over which a step-by-step workload is compared


class EngineName(NamedTuple):
    """``ENGINE@DTYPE:TABLE``: who runs it, with which weights, and of lstm_rt the kernel table that it is forced to."""

    engine: str
    dtype: str
    table: str

    @classmethod
    def of(cls, text: str) -> EngineName:
        """Without ``@DTYPE`` weights are float32, without ``:TABLE`` nothing is forced."""
        name, _, table = text.partition(":")
        engine, _, dtype = name.partition("@")
        return cls(engine, dtype or "float32", table)

    @property
    def has_integers(self) -> bool:
        return self.dtype in INTEGERS


@dataclass(frozen=True)
class Workload:
    """A recurrent model, its input, and how it is called.

    ``stateful`` workloads make one step per call and carry their state from call to call; the
    others take a whole sequence per call, from zero state.
    """

    name: str
    cell: str
    inputs: int
    hidden: int
    layers: int = 1
    batch: int = 1
    steps: int = 1
    bidirectional: bool = False
    stateful: bool = False
    dtype: str = "float32"  #: of the weights, as the engine's name has it; an engine that cannot run it says so

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def outputs(self) -> int:
        """Features of the output."""
        return self.directions * self.hidden

    def layer_inputs(self, layer: int) -> int:
        """Features that a layer reads."""
        return self.inputs if layer == 0 else self.outputs

    def describe(self) -> str:
        """As in ``lstm 16/64/2, B1, T100``: inputs, hidden units, layers, batch, steps."""
        cell = "bi" * self.bidirectional + self.cell
        state = ", state carried" if self.stateful else ""
        return f"{cell} {self.inputs}/{self.hidden}/{self.layers}, B{self.batch}, T{self.steps}{state}"

    def weights(self) -> dict[str, Array]:
        """Seeded, with the names, shapes and gate order of ``torch.nn.LSTM`` and ``GRU``.

        Entries have a variance of one over the row's length, so gates and outputs are on unit scale.
        """
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        rows = GATES[self.cell] * self.hidden
        out = {}
        for layer, suffix in self.parts():
            key = f"_l{layer}{suffix}"
            out["weight_ih" + key] = _uniform(rng, rows, self.layer_inputs(layer))
            out["weight_hh" + key] = _uniform(rng, rows, self.hidden)
            out["bias_ih" + key] = rng.uniform(-0.5, 0.5, rows).astype(np.float32)
            out["bias_hh" + key] = rng.uniform(-0.5, 0.5, rows).astype(np.float32)
        return out

    def parts(self) -> list[tuple[int, str]]:
        """``(layer, suffix)`` of each direction of each layer, in PyTorch's order."""
        suffixes = ("", "_reverse")[: self.directions]
        return [(layer, suffix) for layer in range(self.layers) for suffix in suffixes]

    def calls(self) -> list[Array]:
        """Inputs ``(N, T, F)`` of the calls that are compared, each uniform in [-1, 1]."""
        rng = np.random.default_rng(1)
        count = CHECK_STEPS if self.stateful else 1
        shape = (self.batch, self.steps, self.inputs)
        return [rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(count)]


def reorder_gates(w: Array, order: Sequence[int]) -> Array:
    """Rows of a weight or bias with its gates in another order: ``order[i]`` is PyTorch's place of gate ``i``."""
    blocks = np.split(w, len(order))
    return np.concatenate([blocks[i] for i in order])


def _uniform(rng: np.random.Generator, rows: int, columns: int) -> Array:
    scale = np.sqrt(3.0 / columns)
    return rng.uniform(-scale, scale, (rows, columns)).astype(np.float32)


WORKLOADS = {
    w.name: w
    for w in (
        Workload("amp", "lstm", 1, 40, steps=512),
        Workload("h32", "lstm", 32, 32, steps=100),
        Workload("sensor", "lstm", 16, 64, layers=2, steps=100),
        Workload("vad_step", "lstm", 128, 128, stateful=True),
        Workload("tagger", "lstm", 256, 256, steps=50, bidirectional=True),
        Workload("decoder_step", "lstm", 512, 512, layers=2, stateful=True),
        Workload("lm", "lstm", 1024, 1024, layers=2, steps=35),
        Workload("server_b32", "lstm", 128, 256, layers=2, batch=32, steps=100),
        Workload("server_b64", "lstm", 512, 512, batch=64, steps=50),
        Workload("gru", "gru", 64, 256, steps=100),
    )
}
