"""Whole models as workloads: an ONNX file that lstm_rt and ONNX Runtime both run, and what calls of it are like."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bounds import Phase
from engines import Unavailable, check_table, onnxruntime_call, onnxruntime_session
from numpy.typing import NDArray
from workloads import CHECK_STEPS, Array

if TYPE_CHECKING:
    from lstm_rt.graph import Graph, Node

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ModelWorkload:
    """A model in an ONNX file, converted from it beside that, called at batch 1.

    States are inputs that a call reads as the call before has written them; with states, a call is one step.
    """

    name: str
    about: str  #: what the model is
    file: str  #: in the folder
    steps: int  #: where the file leaves sizes free
    states: tuple[tuple[str, str], ...] = ()  #: inputs and outputs
    settings: tuple[tuple[str, int], ...] = ()  #: inputs of a single number
    weight_bytes: int = 0
    work: tuple[Phase, ...] = ()
    memory: int = 0  #: bytes that a call of lstm_rt works in
    folder: str = ""
    dtype: str = "float32"

    def describe(self) -> str:
        return self.about

    def phases(self) -> tuple[Phase, ...]:
        return self.work

    @property
    def onnx(self) -> Path:
        return Path(self.folder, self.file)

    @property
    def lrt(self) -> Path:
        return self.onnx.with_suffix(".lrt")

    def calls(self) -> list[Arrays]:
        """Inputs of the calls that are compared, by name, without states and settings."""
        rng = np.random.default_rng(1)
        given = _inputs(self)
        fixed = {name for name, _ in (*self.states, *self.settings)}
        count = CHECK_STEPS if self.states else 1
        return [
            {name: _made_up(rng, a) for name, a in given.items() if name not in fixed} for _ in range(count)
        ]

    def facts(self) -> dict[str, Any]:
        """What identifies it in a report, wherever its file is."""
        return asdict(self) | {"folder": ""}


def from_facts(facts: Mapping[str, Any]) -> ModelWorkload:
    """What :meth:`ModelWorkload.facts` gave, from JSON."""
    work = tuple(Phase(**p) for p in facts["work"])
    pairs = {key: tuple((str(a), b) for a, b in facts[key]) for key in ("states", "settings")}
    return ModelWorkload(**{**facts, **pairs, "work": work})


def _made_up(rng: np.random.Generator, like: NDArray[Any]) -> NDArray[Any]:
    if like.dtype.kind == "f":
        return rng.uniform(-1, 1, like.shape).astype(np.float32)
    return rng.integers(1, 80, like.shape).astype(like.dtype)


def _inputs(w: ModelWorkload) -> Arrays:
    """Zeros in the shapes that the file names; sizes that it leaves free are 1 at the front, else the steps."""
    import onnx

    out: Arrays = {}
    graph = onnx.load(str(w.onnx), load_external_data=False).graph
    initial = {t.name for t in graph.initializer}
    for value in graph.input:
        if value.name in initial:
            continue
        kind = value.type.tensor_type
        dims = [d.dim_value for d in kind.shape.dim]
        is_state = any(value.name == name for name, _ in w.states)
        shape = [d or (1 if i == 0 or is_state else w.steps) for i, d in enumerate(dims)]
        out[value.name] = np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    for name, number in w.settings:
        out[name] = np.full_like(out[name], number)
    return out


# -- the work of a call, as the converted model says it ---------------------------------------------


def prepared(w: ModelWorkload) -> ModelWorkload:
    """The workload with its converted file beside the ONNX file, and what the model is like.

    Raises:
        lstm_rt.ConvertError: the file cannot be converted.
    """
    from lstm_rt_tools import from_onnx

    import lstm_rt
    from lstm_rt.format import dumps

    graph = from_onnx(w.onnx, dict(w.settings))
    w.lrt.write_bytes(dumps(graph))
    model = lstm_rt.load(str(w.lrt), threads=1)
    steps = _steps(graph, _ours(w, model))
    item = 4 * sum(a.size for node in graph.nodes for a in node.weights.values())
    work = tuple(p for node in graph.nodes for p in _phases(graph, node, steps, item))
    return replace(w, weight_bytes=item, work=work, memory=model.session_nbytes(1, max(steps.values(), default=1)))


def _steps(graph: Graph, inputs: Sequence[NDArray[Any]]) -> dict[int, int]:
    """Steps of each axis in a call."""
    steps: dict[int, int] = {}
    for i, array in zip(graph.inputs, inputs, strict=True):
        value = graph.values[i]
        if value.kind in ("seq", "ids"):
            steps[value.axis] = value.to_batch_first(array).shape[1]
    graph.complete_steps(steps)
    return steps


def _phases(graph: Graph, node: Node, steps: Mapping[int, int], resident: int) -> list[Phase]:
    """The products of a node: its matrices are read once, a recurrent one of several steps at each of them."""
    out = graph.values[next(o for o in node.outputs if o is not None)]
    rows = steps[out.axis] if out.kind == "seq" else 1
    matrices = {name: a for name, a in node.weights.items() if a.ndim >= 2}
    if node.op == "conv":
        windows = rows * (out.size // next(iter(matrices.values())).shape[0])
        return [_phase(resident, a.size, windows * int(a.size * _least_products(node, a))) for a in matrices.values()]
    if node.op == "attention":
        q, k = (graph.values[i] for i in node.inputs[:2] if i is not None)
        return [Phase(resident, 0, 2 * rows * steps[k.axis] * (q.size + out.size))]
    if node.op not in ("dense", "lstm", "gru", "rnn"):
        return []
    found = []
    for name, a in matrices.items():
        again = rows if "hh" in name and rows > 1 else 1
        found.append(_phase(4 * a.size if again > 1 else resident, a.size * again, rows * a.size))
    return found


def _least_products(node: Node, weight: NDArray[Any]) -> float:
    """Of windows of three by three places without strides, 16 products do for four (Lavin and Gray 2015)."""
    plain = all(node.attrs[name] == 1 for name in node.attrs if name.startswith(("stride", "dilation", "groups")))
    return 16 / 36 if plain and sorted(weight.shape[2:]) == [1, 3, 3] else 1.0


def _phase(resident: int, read: int, multiplied: int) -> Phase:
    return Phase(resident, 4 * read, 2 * multiplied)


# -- engines ------------------------------------------------------------------------------------------


@dataclass
class ModelRunner:
    """A model ready to be called: for even and odd calls, what they read and write by name, and the call."""

    turns: list[tuple[Arrays, Arrays, Callable[[], object]]]
    states: tuple[tuple[str, str], ...]
    version: str
    settings: str
    nbytes: int = 0  #: not measured

    def __post_init__(self) -> None:
        runs = itertools.cycle([run for _, _, run in self.turns])
        self.call = self.turns[0][2] if len(self.turns) == 1 else lambda: next(runs)()

    def results(self, calls: list[Arrays]) -> Array:
        """All outputs of consecutive calls from states of zero, in one row for each call."""
        for inputs, _, _ in self.turns:
            for name, _ in self.states:
                inputs[name][...] = 0
        out = []
        for given, (inputs, outputs, run) in zip(calls, itertools.cycle(self.turns)):
            for name, array in given.items():
                inputs[name][...] = array
            run()
            out.append(np.concatenate([outputs[name].ravel() for name in sorted(outputs)]))
        return np.stack(out)


def _turns(w: ModelWorkload, inputs: Arrays, outputs: Arrays, bind: Callable[[Arrays, Arrays], Callable[[], object]]
           ) -> list[tuple[Arrays, Arrays, Callable[[], object]]]:  # fmt: skip
    """States go back and forth between two sets of arrays, without copies."""
    if not w.states:
        return [(inputs, outputs, bind(inputs, outputs))]
    there, back = dict(w.states), {name: inputs[name] for name, _ in w.states}
    second = dict(inputs) | {name: outputs[out].reshape(inputs[name].shape) for name, out in there.items()}
    answers = dict(outputs) | {out: back[name].reshape(outputs[out].shape) for name, out in there.items()}
    return [(a, b, bind(a, b)) for a, b in ((inputs, outputs), (second, answers))]


def _ours(w: ModelWorkload, model: Any) -> list[NDArray[Any]]:
    """Zeros for the inputs of the converted model, ids in the integers that it takes as they are."""
    given = _inputs(w)
    return [given[p.name].astype(np.float32 if p.dtype == "float32" else np.int32) for p in model.inputs]


def lstm_rt_engine(w: ModelWorkload, threads: int) -> ModelRunner:
    """``model(*inputs, out=outputs)``."""
    import lstm_rt

    check_table()
    model = lstm_rt.load(str(w.lrt), threads=threads)
    inputs = dict(zip((p.name for p in model.inputs), _ours(w, model), strict=True))
    names = [p.name for p in model.outputs]
    results = model(*inputs.values())
    outputs = dict(zip(names, results if isinstance(results, tuple) else (results,), strict=True))

    def bind(given: Arrays, written: Arrays) -> Callable[[], object]:
        arrays, out = tuple(given.values()), tuple(written[name] for name in names)
        return lambda: model(*arrays, out=out)

    version = f"{lstm_rt.__version__}, kernels {model.kernels}"
    return ModelRunner(_turns(w, inputs, outputs, bind), w.states, version, f"threads={threads}, out=")


def onnxruntime_engine(w: ModelWorkload, threads: int) -> ModelRunner:
    """The file as it is, inputs and outputs bound once."""
    import onnxruntime as ort

    session, settings = onnxruntime_session(str(w.onnx), threads)
    inputs = _inputs(w)
    names = [o.name for o in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, inputs), strict=True))

    turns = _turns(w, inputs, outputs, partial(onnxruntime_call, session))
    return ModelRunner(turns, w.states, ort.__version__, settings)


ENGINES: dict[str, Callable[[ModelWorkload, int], ModelRunner]] = {
    "lstm_rt": lstm_rt_engine,
    "onnxruntime": onnxruntime_engine,
}


def build(name: str, w: ModelWorkload, threads: int) -> ModelRunner:
    """The engine called ``name``.

    Raises:
        Unavailable: no such engine runs whole models, or not here.
    """
    if name not in ENGINES:
        raise Unavailable(f"{name} runs no whole models here; known: {', '.join(ENGINES)}")
    return ENGINES[name](w, threads)

