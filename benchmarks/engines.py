"""The engines: each turns a workload into a :class:`Runner`, with the best settings known for it.

An engine is a function ``(workload, threads) -> Runner`` in :data:`ENGINES`. To add one, write that
function: import the package inside it, so that an ImportError reports the engine as missing, and
raise :class:`Unavailable` when something else that it needs is not there (:func:`only` does so for
types of weights, of which the workload's ``dtype`` is the one that the engine's name asks for).
Everything else (processes, checks, rounds, tables) follows from the name.

Every engine reads its input from one NumPy buffer that the caller writes into, and gives its
output as a NumPy array: whatever binds, shares or reuses memory is set up before the clock runs.
"""

from __future__ import annotations

import importlib.metadata
import io
import itertools
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from workloads import INTEGERS, Array, EngineName, Workload

if TYPE_CHECKING:
    from model_workloads import ModelRunner, ModelWorkload

    import lstm_rt


class Unavailable(Exception):
    """The engine cannot run here; the message says why."""


@dataclass
class Runner:
    """A model ready to be called, in the memory layout that its engine likes best."""

    x: Array  #: the input buffer, in the engine's layout
    call: Callable[[], Array]  #: one call: reads ``x``, returns the result in the engine's layout
    reset: Callable[[], None]  #: state to zero
    to_layout: Callable[[Array], Array]  #: ``(N, T, F)`` to the layout of ``x``
    from_layout: Callable[[Array], Array]  #: a result to ``(N, T, F)``
    version: str
    settings: str
    nbytes: int = 0  #: of the model as it is stored
    guard: object = None  #: a context that must live as long as the runner

    def results(self, calls: list[Array]) -> Array:
        """Results ``(N, T, F)`` of consecutive calls from zero state, along the axis of time."""
        self.reset()
        out = []
        for x in calls:
            self.x[...] = self.to_layout(x)
            out.append(self.from_layout(self.call()).copy())
        return np.concatenate(out, axis=1)


def build(name: str, workload: Workload | ModelWorkload, threads: int) -> Runner | ModelRunner:
    """The engine called ``name``, such as ``torch``, ``lstm_rt:avx2`` or ``onnxruntime@int8`` (:class:`EngineName`).

    Raises:
        ImportError: a package is not installed.
        Unavailable: the engine cannot run here for another reason.
    """
    engine, dtype, table = EngineName.of(name)
    os.environ.pop("LSTM_RT_KERNELS", None)
    if table:
        os.environ["LSTM_RT_KERNELS"] = table
    if not isinstance(workload, Workload):  # a whole model
        import model_workloads

        if dtype != workload.dtype:
            raise Unavailable(f"whole models are run with {workload.dtype} weights only")
        return model_workloads.build(engine, workload, threads)
    if engine not in ENGINES:
        raise Unavailable(f"no such engine; known: {', '.join(ENGINES)}")
    return ENGINES[engine](replace(workload, dtype=dtype), threads)


def only(w: Workload, *dtypes: str) -> None:
    """For engines: what they can do.

    Raises:
        Unavailable: the workload's weights are of another type.
    """
    if w.dtype not in dtypes:
        raise Unavailable(f"no {w.dtype} weights, only {', '.join(dtypes)}")


def _nothing() -> None:
    pass


# -- lstm_rt --------------------------------------------------------------------------------------


def check_table() -> None:
    """Is the kernel table that ``LSTM_RT_KERNELS`` forces there?

    Raises:
        Unavailable: it is not.
    """
    import lstm_rt

    table = os.environ.get("LSTM_RT_KERNELS")
    if table and table not in lstm_rt.kernels():
        raise Unavailable(f"no kernel table {table!r} here; available: {', '.join(lstm_rt.kernels())}")


def lstm_rt_model(w: Workload, threads: int) -> lstm_rt.Model:
    """The workload's model, with the kernel table that ``LSTM_RT_KERNELS`` forces."""
    import lstm_rt

    only(w, "float32", *INTEGERS)
    given = w.weights()
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    lists = [[given[f"{kind}_l{at}{s}"] for at, s in w.parts()] for kind in kinds]
    check_table()
    cell = lstm_rt.LSTM if w.cell == "lstm" else lstm_rt.GRU
    model = cell(*lists, bidirectional=w.bidirectional, threads=threads)
    if w.dtype == "float32":
        return model
    from lstm_rt_tools import quantize

    bits, activations = (16, 16) if w.dtype == "int16" else (8, 8 if w.dtype == "int8/8" else 16)
    return lstm_rt.Model(quantize(model._graph(), bits=bits, activations=activations), threads=threads)


def exact_results(w: Workload) -> Array:
    """What a runner's :meth:`Runner.results` would be without rounding: float32 weights, computed in float64."""
    from lstm_rt_tools.judges import reference

    graph = lstm_rt_model(replace(w, dtype="float32"), 1)._graph()
    exact: Array = reference.run(graph, [np.concatenate(w.calls(), axis=1)])[0]
    return exact


def lstm_rt_engine(w: Workload, threads: int) -> Runner:
    """``model(x, out=out)``, or ``stream.step(x, out=out)``."""
    import lstm_rt

    model = lstm_rt_model(w, threads)
    version = f"{lstm_rt.__version__}, kernels {model.kernels}"
    if w.stateful:
        return _lstm_rt_stream(w, model, version)
    x = np.zeros((w.batch, w.steps, w.inputs), np.float32)
    out = np.zeros((w.batch, w.steps, w.outputs), np.float32)
    settings = f"threads={threads}, out="
    return Runner(x, lambda: model(x, out=out), _nothing, np.asarray, np.asarray, version, settings, model.nbytes)


def _lstm_rt_stream(w: Workload, model: lstm_rt.Model, version: str) -> Runner:
    stream = model.stream(batch=w.batch)
    step, reset = stream.step, stream.reset
    x = np.zeros((w.batch, w.inputs), np.float32)
    out = np.zeros((w.batch, w.outputs), np.float32)
    return Runner(
        x,
        lambda: step(x, out=out),
        reset,
        to_layout=lambda a: a[:, 0],
        from_layout=lambda y: y[:, None],
        version=version,
        settings="stream.step, out=",
        nbytes=model.nbytes,
    )


# -- engines that run ONNX models -----------------------------------------------------------------


def _swap_batch_and_time(a: Array) -> Array:
    swapped: Array = a.transpose(1, 0, 2)
    return swapped


class _OnnxArrays:
    """NumPy memory for the inputs and outputs of a model of onnx_models.

    State is carried without copies: even calls read the states in ``states[0]`` and write those in
    ``states[1]``, odd calls the other way round.
    """

    def __init__(self, w: Workload) -> None:
        import onnx_models

        self.w = w
        self.model = onnx_models.build(w)
        self.x = np.zeros((w.steps, w.batch, w.inputs), np.float32)
        self.result = onnx_models.output_name(w)
        names = onnx_models.state_names(w)
        shape = (1, w.batch, w.hidden)
        self.states = [{n: np.zeros(shape, np.float32) for n in names} for _ in range(2)]
        self.y = np.zeros((w.steps, w.directions, w.batch, w.hidden), np.float32)

    def passes(self) -> list[tuple[dict[str, Array], dict[str, Array]]]:
        """(inputs, outputs) by name of a call; of even and odd calls if there is state."""
        if not self.w.stateful:
            return [({"x": self.x}, {self.result: self.y})]
        pairs = [(self.states[0], self.states[1]), (self.states[1], self.states[0])]
        return [({"x": self.x, **a}, {f"{n}_out": v for n, v in b.items()}) for a, b in pairs]

    def reset(self) -> None:
        for array in itertools.chain(*(s.values() for s in self.states)):
            array[...] = 0

    def runner(self, runs: list[Callable[[], object]], version: str, settings: str) -> Runner:
        """A runner that takes turns with ``runs``, one for each of :meth:`passes`."""
        results = [outputs[self.result] for _, outputs in self.passes()]
        turns = itertools.cycle(list(zip(runs, results, strict=True)))

        def call() -> Array:
            run, y = next(turns)
            run()
            return y

        only_run = runs[0]

        def call_one() -> Array:
            only_run()
            return self.y

        return Runner(
            self.x,
            call if self.w.stateful else call_one,
            self.reset,
            to_layout=_swap_batch_and_time,
            from_layout=self._batch_first,
            version=version,
            settings=settings,
            nbytes=len(self.model),
        )

    def _batch_first(self, y: Array) -> Array:
        if self.w.stateful:  # (1, N, H)
            return _swap_batch_and_time(y)
        swapped: Array = y.transpose(2, 0, 1, 3).reshape(self.w.batch, self.w.steps, self.w.outputs)
        return swapped


def onnxruntime_session(model: str | bytes, threads: int) -> tuple[Any, str]:
    """A session with the best settings known, and what they are."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session, f"intra_op {threads}, inter_op 1, sequential, optimisation ALL, spinning default, I/O bound"


def onnxruntime_call(session: Any, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Callable[[], object]:
    """A run of the session with arrays that are bound once."""
    import onnxruntime as ort

    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
    for name, array in outputs.items():
        binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))
    return lambda: session.run_with_iobinding(binding)


def onnxruntime_engine(w: Workload, threads: int) -> Runner:
    """Inputs and outputs bound once: for one small step that halves the time of ``session.run``.

    Integers are those of its dynamic quantisation: int8 weights, activations of 8 bits.
    """
    import onnxruntime as ort

    only(w, "float32", "int8")
    if w.dtype == "int8" and w.cell != "lstm":
        raise Unavailable(f"no {w.cell} with int8 weights")
    arrays = _OnnxArrays(w)
    session, settings = onnxruntime_session(arrays.model, threads)
    calls = [onnxruntime_call(session, *p) for p in arrays.passes()]
    how = ", quantize_dynamic per channel" if w.dtype == "int8" else ""
    return arrays.runner(calls, ort.__version__, f"{settings}, time-major{how}")


def openvino_engine(w: Workload, threads: int) -> Runner:
    """Requests made once, with tensors that share NumPy's memory.

    The precision is set because OpenVINO would use bfloat16 by itself where the CPU has it.
    """
    import openvino as ov

    only(w, "float32")
    arrays = _OnnxArrays(w)
    core = ov.Core()
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(arrays.model), "CPU", config)

    def request(inputs: dict[str, Array], outputs: dict[str, Array]) -> Callable[[], object]:
        made = compiled.create_infer_request()
        for name, array in (inputs | outputs).items():
            made.set_tensor(name, ov.Tensor(array, shared_memory=True))
        return lambda: made.infer(share_outputs=True)

    settings = f"hint LATENCY, {threads} threads, precision f32, shared tensors, requests reused, time-major"
    return arrays.runner([request(*p) for p in arrays.passes()], ov.__version__.split("-")[0], settings)


# -- PyTorch --------------------------------------------------------------------------------------


def torch_engine(w: Workload, threads: int) -> Runner:
    """``nn.LSTM`` or ``nn.GRU``; for single steps ``nn.LSTMCell``, which is several times faster there.

    Integers are those of its dynamic quantisation: int8 weights, activations of 8 bits.
    """
    import torch

    only(w, "float32", "int8")
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    runner = _torch_cells(w, threads) if w.stateful else _torch_layers(w, threads)
    mode = torch.inference_mode()
    mode.__enter__()  # for good: this process does nothing else
    runner.guard = mode
    return runner


def _torch_weights(modules: list[Any], w: Workload) -> tuple[Any, str, int]:
    """The modules with weights of the workload's type, what was done for that, and their bytes in a file."""
    import torch

    given = torch.nn.ModuleList(modules).eval()
    how = ""
    if w.dtype == "int8":
        how = f", quantize_dynamic ({torch.backends.quantized.engine})"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it will move to another package
            given = torch.ao.quantization.quantize_dynamic(given)
    stored = io.BytesIO()
    torch.save(given.state_dict(), stored)
    return given, how, stored.tell()


def _torch_layers(w: Workload, threads: int) -> Runner:
    import torch

    module = (torch.nn.LSTM if w.cell == "lstm" else torch.nn.GRU)(
        w.inputs, w.hidden, w.layers, batch_first=True, bidirectional=w.bidirectional
    )
    module.load_state_dict({name: torch.from_numpy(a) for name, a in w.weights().items()})
    (module,), how, nbytes = _torch_weights([module], w)
    x = np.zeros((w.batch, w.steps, w.inputs), np.float32)
    shared = torch.from_numpy(x)
    settings = f"nn.{w.cell.upper()}, {threads} threads, inference_mode, batch_first{how}"
    version = torch.__version__
    return Runner(x, lambda: module(shared)[0].numpy(), _nothing, np.asarray, np.asarray, version, settings, nbytes)


def _torch_cells(w: Workload, threads: int) -> Runner:
    import torch

    given = w.weights()
    make = torch.nn.LSTMCell if w.cell == "lstm" else torch.nn.GRUCell
    cells = []
    for layer in range(w.layers):
        cell = make(w.layer_inputs(layer), w.hidden)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        cell.load_state_dict({n: torch.from_numpy(given[f"{n}_l{layer}"]) for n in names})
        cells.append(cell)
    cells, how, nbytes = _torch_weights(cells, w)
    x = np.zeros((w.batch, w.inputs), np.float32)
    shared = torch.from_numpy(x)
    has_cell_state = w.cell == "lstm"
    states: list[object] = [None] * w.layers

    def call() -> Array:
        value = shared
        for i, cell in enumerate(cells):
            states[i] = state = cell(value, states[i])
            value = state[0] if has_cell_state else state
        return value.numpy()  # type: ignore[no-any-return]

    def reset() -> None:
        states[:] = [None] * w.layers

    return Runner(
        x,
        call,
        reset,
        to_layout=lambda a: a[:, 0],
        from_layout=lambda y: y[:, None],
        version=torch.__version__,
        settings=f"nn.{make.__name__}, {threads} threads, inference_mode{how}",
        nbytes=nbytes,
    )


# -- LiteRT ---------------------------------------------------------------------------------------


def litert_file(w: Workload) -> Path:
    """Where make_litert.py writes the workload."""
    name = w.name if w.dtype == "float32" else f"{w.name}.{w.dtype}"
    return Path(__file__).parent / "litert" / f"{name}.tflite"


def litert_engine(w: Workload, threads: int) -> Runner:
    """A file of make_litert.py. What XNNPACK knows it runs: single steps, but no sequences.

    Integers are those of its dynamic range quantisation: int8 weights, activations of 8 bits.
    """
    from ai_edge_litert.interpreter import Interpreter

    only(w, "float32", "int8")
    path = litert_file(w)
    if not path.exists():
        raise Unavailable(f"no {path.parent.name}/{path.name}; make_litert.py writes it, which needs TensorFlow")
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner()
    inputs = {name: int(d["index"]) for name, d in signature.get_input_details().items()}
    outputs = {name: int(d["index"]) for name, d in signature.get_output_details().items()}
    states = [(inputs[name], outputs[name + "_out"]) for name in inputs if name != "x"]
    set_tensor, get_tensor, invoke = interpreter.set_tensor, interpreter.get_tensor, interpreter.invoke
    x = np.zeros((w.batch, w.steps, w.inputs), np.float32)
    x_index, y_index = inputs["x"], outputs["y"]

    def call() -> Array:
        set_tensor(x_index, x)
        invoke()
        return get_tensor(y_index)  # type: ignore[no-any-return]

    def step() -> Array:
        y = call()
        for given, result in states:
            set_tensor(given, get_tensor(result))
        return y

    def reset() -> None:
        for given, _ in states:
            set_tensor(given, np.zeros((w.batch, w.hidden), np.float32))

    settings = f"num_threads={threads}, default resolver (XNNPACK where it can), batch-first"
    version = importlib.metadata.version("ai-edge-litert")
    nbytes = path.stat().st_size
    return Runner(x, step if states else call, reset, np.asarray, np.asarray, version, settings, nbytes)


ENGINES: dict[str, Callable[[Workload, int], Runner]] = {
    "lstm_rt": lstm_rt_engine,
    "torch": torch_engine,
    "onnxruntime": onnxruntime_engine,
    "openvino": openvino_engine,
    "litert": litert_engine,
}
#: What ``compare.py`` runs unless told otherwise. The first is what the others are compared with.
DEFAULT_ENGINES = ("lstm_rt", "lstm_rt:avx2", "torch", "onnxruntime", "openvino", "litert")
#: What ``compare.py --integers`` runs.
INTEGER_ENGINES = (
    "lstm_rt", *(f"lstm_rt@{dtype}" for dtype in INTEGERS), "onnxruntime@int8", "torch@int8", "litert@int8",
)  # fmt: skip
