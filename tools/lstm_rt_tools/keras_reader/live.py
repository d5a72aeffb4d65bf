"""Living Keras models: taken apart, checked to be made of Keras's own code, and compared with their graph.

A configuration tells what a layer is called, not what it computes. So every class and function of
the model must be Keras's own, and the graph must give the model's numbers on generated inputs. The
model is left as it was: it is run in inference mode, and states of stateful layers are put back.
Nothing here imports Keras: whoever has a living model has imported it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph, SelfTest

from ..judges import reference, testdata
from ..judges.compare import CHECK_TOLERANCE
from .config import PACKAGES
from .files import KerasModel, read_version
from .weights import NamedWeights

#: What stands for CHECK_TOLERANCE where a model computes with fewer digits.
_COARSE = {"float16": 2e-2, "bfloat16": 1e-1}
#: Rows and steps of the runs, where the model leaves them free.
_SIZES = ((3, 9), (2, 5))
_MORE_STEPS = 16  #: times as many, where a model needs more
#: Numbers above this overflow float32 somewhere on their way.
_OVERFLOW = 1e30
_PARTS = ("layers", "layer", "forward_layer", "backward_layer", "cell", "cells")
_FUNCTIONS = ("activation", "recurrent_activation")
#: Whose functions may stand for Keras's own of the same name, if they give the same numbers.
_FRAMEWORKS = (*PACKAGES, "jax", "torch")


def is_model(source: Any) -> bool:
    """Whether ``source`` looks like a ``keras.Model``."""
    return all(hasattr(source, name) for name in ("get_config", "layers", "weights"))


def open_live(model: Any) -> KerasModel:
    """The configuration, version and weights of a living model.

    Raises:
        ConvertError: a class or function of the model is not Keras's own; it is named.
    """
    package = _package(model)
    version = read_version(getattr(sys.modules.get(package), "__version__", None), "the model")
    _check_own(model, package)
    config = {"class_name": type(model).__name__, "config": _as_in_files(model.get_config())}
    weights = NamedWeights.of_layers({layer.name: list(_named_weights(layer)) for layer in model.layers})
    return KerasModel(config, version, weights, {"framework": "keras", "version": version})


def _as_in_files(value: Any) -> Any:
    """Tuples as lists."""
    if isinstance(value, Mapping):
        return {k: _as_in_files(v) for k, v in value.items()}
    return [_as_in_files(v) for v in value] if isinstance(value, list | tuple) else value


def _package(model: Any) -> str:
    """The package of Keras: a subclass lives in the user's module, its bases in Keras's."""
    for base in type(model).__mro__:
        package = base.__module__.split(".")[0]
        if package in ("keras", "tf_keras"):
            return package
    raise ConvertError(f"from_keras: a {type(model).__name__} is no model of keras or tf_keras, expected one")


def _named_weights(layer: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """The weights of a layer; those of a model have the names of its layers before their own."""
    if isinstance(getattr(layer, "layers", None), list | tuple):
        for inner in layer.layers:
            for name, array in _named_weights(inner):
                yield f"{inner.name}/{name}", array
        return
    weights, arrays = list(layer.weights), layer.get_weights()
    if len(weights) != len(arrays):
        raise ConvertError(f"layer {layer.name!r} has {len(weights)} weights but {len(arrays)} arrays")
    for weight, array in zip(weights, arrays, strict=True):
        # NumPy knows bfloat16 only from an extension, and then as no kind of float.
        exact = np.float32 if array.dtype.name == "bfloat16" else array.dtype
        yield str(getattr(weight, "path", weight.name)), np.asarray(array, dtype=exact)


# -- whose code is it? ------------------------------------------------------------------------------


def _walk(layer: Any) -> Iterator[Any]:
    """A layer and all layers and cells inside it, each once."""
    seen: set[int] = set()
    waiting = [layer]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        for name in _PARTS:
            inside = getattr(part, name, None)
            waiting += [p for p in (inside if isinstance(inside, list | tuple) else [inside]) if _is_layer(p)]


def _is_layer(value: Any) -> bool:
    return hasattr(value, "get_config") and hasattr(value, "name")


def _check_own(model: Any, package: str) -> None:
    for part in _walk(model):
        where = f"{'the model' if part is model else 'layer'} {part.name!r} ({type(part).__name__})"
        _check_class(part, where, part is model)
        for key in _FUNCTIONS:
            _check_function(sys.modules[package], part, key, where)


def _check_class(part: Any, where: str, whole: bool) -> None:
    cls = type(part)
    if cls.__module__.split(".")[0] not in PACKAGES:
        instead = "write it with Keras's own layers"
        if whole or hasattr(part, "layers"):
            instead = (
                "if it computes what its layers do, give keras.Model(model.inputs, model.outputs) "
                "or keras.Sequential(model.layers)"
            )
        raise ConvertError(
            f"{where}: it is of the user's own class {cls.__module__}.{cls.__qualname__}, "
            f"whose code cannot be converted; {instead}"
        )
    replaced = [name for name in ("call", "__call__", "compute_mask") if name in vars(part)]
    if replaced:
        raise ConvertError(f"{where}: its {replaced[0]} was replaced by a function of the user's, expected Keras's own")


def _check_function(keras: Any, part: Any, key: str, where: str) -> None:
    function = getattr(part, key, None)
    if function is None or _is_layer(function):
        if function is not None:
            _check_class(function, f"{where}: {key}", whole=False)
        return
    name = getattr(function, "__name__", type(function).__name__)
    written = part.get_config().get(key) if name != "<lambda>" else None
    own = getattr(keras.activations, written if isinstance(written, str) else name, None)
    if own is function or (own is not None and _same_function(keras, own, function)):
        return
    raise ConvertError(
        f"{where}: {key} is the function {getattr(function, '__module__', '?')}.{name}, "
        f"expected one of {keras.__name__}.activations (the code of others cannot be converted)"
    )


def _same_function(keras: Any, own: Any, other: Any) -> bool:
    """Whether a function of a framework gives the numbers of Keras's own one."""
    if str(getattr(other, "__module__", "")).split(".")[0] not in _FRAMEWORKS:
        return False
    x = np.linspace(-8, 8, 64, dtype=np.float32).reshape(4, 16)
    try:
        a, b = (_to_numpy(keras, f(_to_tensor(keras, x))) for f in (own, other))
    except Exception:  # a function that takes no tensor is not one of Keras's
        return False
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-6, atol=1e-6))


# -- running it -------------------------------------------------------------------------------------


def make_inputs(model: Any, graph: Graph, batch: int, steps: int, seed: int) -> list[NDArray[Any]]:
    """Generated arrays for the graph: of the sizes that the model fixes, and with masked steps if it masks."""
    tensors = _leaves(_structure(model, "input", model.inputs))
    if len(tensors) != len(graph.inputs):
        raise ConvertError(f"the Keras model has {len(tensors)} inputs, the graph {len(graph.inputs)}")
    sizes: dict[int, int] = {}
    for index, tensor in zip(graph.inputs, tensors, strict=True):
        v = graph.values[index]
        batch = tensor.shape[0] or batch
        if v.axis >= 0:
            sizes[v.axis] = tensor.shape[v.dims.index("T") if v.dims else 1] or sizes.get(v.axis, steps)
    arrays = testdata.make_inputs(graph, batch, sizes, seed)
    rng = np.random.default_rng(seed)
    tables = [p.input_dim for p in _walk(model) if type(p).__name__ == "Embedding"]
    for i, (index, tensor) in enumerate(zip(graph.inputs, tensors, strict=True)):
        if "int" in _dtype_name(tensor) and graph.values[index].kind != "ids":  # token ids that are numbers here
            arrays[i] = rng.integers(0, min(tables, default=2), arrays[i].shape).astype(np.float32)
    for node in graph.nodes:
        if node.op in ("mask_ids", "mask_values") and node.inputs[0] in graph.inputs:
            x = arrays[graph.inputs.index(node.inputs[0])]
            hidden = rng.random(x.shape[:2]) < 0.3
            hidden[np.arange(len(x)), rng.integers(0, max(x.shape[1], 1), len(x))] = False  # a step left in each row
            x[hidden] = node.attrs["value"]
    return arrays


def run(model: Any, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The outputs of a Keras model in inference mode, in the order of the configuration.

    Args:
        inputs: one array per input, in the order of the configuration.
    """
    keras = sys.modules[_package(model)]
    struct = _structure(model, "input", model.inputs)
    wanted = [_dtype_name(t) for t in _leaves(struct)]
    tensors = [
        _to_tensor(keras, x.astype(d if d == "bool" or "int" in d else x.dtype))
        for x, d in zip(inputs, wanted, strict=True)
    ]
    with _left_as_it_was(keras, model):
        result = model(_filled(struct, iter(tensors)), training=False)
        order = _structure(model, "output", None)
        return [_to_numpy(keras, y) for y in _leaves(result, order)]


def _structure(model: Any, which: str, otherwise: Any) -> Any:
    """How inputs or outputs are nested in lists and dicts; Sequential models do not say it."""
    if type(model).__name__ == "Sequential":
        return otherwise[0] if otherwise else otherwise
    return getattr(model, which)


def _leaves(struct: Any, order: Any = None) -> list[Any]:
    """What is in nested lists and dicts; ``order`` is alike and has the keys of dicts in their order."""
    if isinstance(struct, Mapping):
        keys = order if isinstance(order, Mapping) and order.keys() == struct.keys() else struct
        return [leaf for k in keys for leaf in _leaves(struct[k], None if keys is struct else order[k])]
    if isinstance(struct, list | tuple):
        alike = isinstance(order, list | tuple) and len(order) == len(struct)
        return [leaf for i, s in enumerate(struct) for leaf in _leaves(s, order[i] if alike else None)]
    return [struct]


def _filled(struct: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(struct, Mapping):
        return {k: _filled(v, leaves) for k, v in struct.items()}
    if isinstance(struct, list | tuple):
        return [_filled(v, leaves) for v in struct]
    return next(leaves)


def _dtype_name(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def _to_tensor(keras: Any, array: NDArray[Any]) -> Any:
    if hasattr(keras, "ops"):
        return keras.ops.convert_to_tensor(array)
    return sys.modules["tensorflow"].convert_to_tensor(array)  # Keras 2


def _to_numpy(keras: Any, tensor: Any) -> NDArray[Any]:
    return np.asarray(_raw(keras, tensor), dtype=np.float64)


def _raw(keras: Any, tensor: Any) -> NDArray[Any]:
    """In the tensor's own type; bfloat16 is no type of NumPy's."""
    return np.asarray(keras.ops.convert_to_numpy(tensor) if hasattr(keras, "ops") else tensor)


@contextmanager
def _left_as_it_was(keras: Any, model: Any) -> Iterator[None]:
    """Stateful layers start from zero inside, and have their states again outside; so have seeds and losses."""
    parts = list(_walk(model))
    states = [v for part in parts for v in _leaves(getattr(part, "states", None)) if hasattr(v, "assign")]
    # Recurrent layers with dropout draw masks in inference too, and use none.
    seeds = [generator.state for part in parts for generator in getattr(part, "_seed_generators", ())]
    saved = [(v, np.array(_raw(keras, v))) for v in (*states, *seeds)]
    # Regularizers of activities leave one loss per call.
    lists = [(part, key) for part in parts for key in ("_losses", "_eager_losses") if hasattr(part, key)]
    losses = [list(getattr(part, key)) for part, key in lists]
    with ExitStack() as stack:
        if hasattr(keras, "backend") and keras.backend.backend() == "torch":
            stack.enter_context(sys.modules["torch"].no_grad())
        try:
            for variable, value in saved[: len(states)]:
                variable.assign(np.zeros_like(value))
            yield
        finally:
            for variable, value in saved:
                variable.assign(value)
            for (part, key), old in zip(lists, losses, strict=True):
                getattr(part, key)[:] = old


# -- comparing --------------------------------------------------------------------------------------


def compare(model: Any, graph: Graph) -> None:
    """Run model and graph on the same generated inputs; the smaller run becomes the graph's self-test.

    Raises:
        ConvertError: the model cannot be run, or an output differs; the outputs and the largest
            difference are named.
    """
    coarse = max((_COARSE.get(_compute_dtype(p), 0.0) for p in _walk(model)), default=0.0)
    apart: dict[str, float] = {}
    skipped = 0
    for seed, (batch, steps) in enumerate(_SIZES):
        inputs, theirs = run_made_up(model, graph, batch, steps, seed)
        errors, left_out = _differences(graph, inputs, theirs, coarse, apart)
        skipped += left_out
        if seed == len(_SIZES) - 1 and not (coarse or left_out):
            _keep_as_selftest(model, graph, inputs, theirs, errors)
    if apart:
        listed = ", ".join(f"{name!r} by {error:.3g}" for name, error in apart.items())
        raise ConvertError(
            f"on generated inputs the converted model differs from the living one: {listed}; the model computes "
            "something that its configuration does not tell"
        )
    if skipped:
        graph.meta.setdefault("notes", []).append(
            f"{skipped} numbers that the model gave for generated inputs are not finite, and could not be compared"
        )


def _compute_dtype(part: Any) -> str:
    return str(getattr(part, "compute_dtype", ""))


def run_made_up(
    model: Any, graph: Graph, batch: int, steps: int, seed: int
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Generated inputs and what the model gives for them; of more steps where so few are none for its windows.

    Raises:
        ConvertError: the model cannot be run.
    """
    inputs = make_inputs(model, graph, batch, steps, seed)
    try:
        return inputs, run(model, inputs)
    except Exception as e:  # whatever Keras and its backend raise
        more = make_inputs(model, graph, batch, steps * _MORE_STEPS, seed)
        if [x.shape for x in more] != [x.shape for x in inputs]:
            with suppress(Exception):
                return more, run(model, more)
        why = " ".join(re.sub("\x1b\\[[0-9;]*m", "", str(e)).split())[:200] or type(e).__name__
        shapes = ", ".join(str(x.shape) for x in inputs)
        raise ConvertError(
            f"the living model cannot be run to compare it, on generated inputs of shape {shapes}: {why}; "
            "a model saved to a file is converted without being run"
        ) from e


def _differences(
    graph: Graph, inputs: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]], coarse: float, apart: dict[str, float]
) -> tuple[float, int]:
    """Note in ``apart`` which outputs differ, and how much; returns the largest difference and what is not finite."""
    with np.errstate(all="ignore"):
        exact = reference.run(graph, inputs)
        single = reference.run(graph, inputs, dtype=np.float32)
    if len(theirs) != len(exact):
        raise ConvertError(f"the Keras model gives {len(theirs)} outputs, the graph {len(exact)}")
    worst, skipped = 0.0, 0
    for value, mine, rounded, yours in zip(graph.outputs, exact, single, theirs, strict=True):
        name = graph.values[value].name
        if mine.shape != yours.shape:
            raise ConvertError(f"output {name!r} of the Keras model has shape {yours.shape}, expected {mine.shape}")
        finite = np.isfinite(yours) & np.isfinite(rounded)
        # Near the largest float32 either side may overflow first, and then a whole row is spoilt.
        tame = np.isfinite(rounded) & (np.abs(mine) < _OVERFLOW)
        tame = np.broadcast_to(tame.all(axis=tuple(range(1, tame.ndim)), keepdims=True), tame.shape)
        if np.any(tame & ~np.isfinite(yours)):
            apart[name] = float("inf")
        a, b = mine[finite], yours[finite]
        difference = float(np.max(np.abs(a - b), initial=0.0))
        scale = max(1.0, float(np.max(np.abs(b), initial=0.0)))
        # A recurrence that grows is as far from the exact numbers in any float32 arithmetic.
        rounding = float(np.max(np.abs(a - rounded[finite]), initial=0.0))
        if not difference <= max(max(CHECK_TOLERANCE, coarse) * scale, 8 * rounding):
            apart[name] = max(apart.get(name, 0.0), difference)
        worst, skipped = max(worst, difference), skipped + int(np.sum(~finite))
    return worst, skipped


def _keep_as_selftest(
    model: Any, graph: Graph, inputs: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]], error: float
) -> None:
    outputs = [y.astype(np.float32) for y in theirs]
    if sum(a.nbytes for a in (*inputs, *outputs)) <= testdata.SELFTEST_BYTES:
        graph.selftest = SelfTest(list(inputs), outputs, atol=max(1e-5, 4 * error))
        version = graph.meta["source"]["version"]
        graph.meta["selftest"] = f"generated inputs, outputs computed by the living model with Keras {version}"
