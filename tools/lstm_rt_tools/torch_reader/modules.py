"""The ``torch.nn`` modules we know, by class name: the same table serves live and pickled modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from lstm_rt.errors import ConvertError, GraphError
from lstm_rt.graph import Activation, Graph

from ..arch.layers import Stack, add_final_states, add_stack
from ..names import shown
from ..weights.budget import Budget
from ..weights.safe_pickle import Inert
from ..weights.state_dict import Weights, join
from ..weights.tensors import ArrayTensor
from ..weights.torch_files import is_module, table_of

#: Reads an attribute of a module by name; None if it has none.
Getter: TypeAlias = Callable[[str], Any]

_NN = "torch.nn.modules."
RESULTS = ("output", "h_n", "c_n")  #: what recurrent layers give, by the names of torch's documentation
RECURRENT = {_NN + "rnn.LSTM": "lstm", _NN + "rnn.GRU": "gru", _NN + "rnn.RNN": "rnn"}
CELLS = {_NN + "rnn.LSTMCell": "lstm", _NN + "rnn.GRUCell": "gru", _NN + "rnn.RNNCell": "rnn"}
EMBEDDING = _NN + "sparse.Embedding"
LINEAR = frozenset({_NN + "linear.Linear", _NN + "linear.NonDynamicallyQuantizableLinear"})
LAYERNORM = _NN + "normalization.LayerNorm"
GROUPNORM = _NN + "normalization.GroupNorm"
BATCHNORM = _NN + "batchnorm.BatchNorm1d"
PRELU = _NN + "activation.PReLU"
SEQUENTIAL = _NN + "container.Sequential"
_PARALLEL = ("torch.nn.parallel.data_parallel.DataParallel", "torch.nn.parallel.distributed.DistributedDataParallel")
IGNORED = frozenset(
    {
        _NN + "linear.Identity",
        *(_NN + "dropout." + n for n in ("Dropout", "Dropout1d", "AlphaDropout", "FeatureAlphaDropout")),
    }
)
#: Layers that compute something else in training mode; those with dropout only where it is above 0.
TRAINS = frozenset({*RECURRENT, *IGNORED, BATCHNORM} - {_NN + "linear.Identity"})
_PLAIN_ACTIVATIONS = {
    "ReLU": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Hardsigmoid": "hard_sigmoid",
    "SELU": "selu",
    "Softsign": "softsign",
    "SiLU": "swish",
    "Hardswish": "hard_swish",
    "Mish": "mish",
}
#: Activations with one or two parameters: those of a graph's, and what the modules call them (a number: always that).
_PARAMETERS: dict[str, tuple[str, tuple[str | float, ...]]] = {
    "LeakyReLU": ("leaky_relu", ("negative_slope",)),
    "ELU": ("elu", ("alpha",)),
    "CELU": ("celu", ("alpha",)),
    "Hardtanh": ("clip", ("min_val", "max_val")),
    "ReLU6": ("clip", (0.0, 6.0)),
}
#: Above this softplus is x in float32, and torch takes it so.
_SOFTPLUS_IS_LINEAR = 20
_ACTIVATIONS = frozenset(
    {*_PLAIN_ACTIVATIONS, *_PARAMETERS, "GELU", "Softplus", "Softmax", "LogSoftmax"}
)
SHORT_FLOATS = ("float16", "bfloat16")  #: the dtypes that are converted in float32
_LEAF_STEPS = 100  #: to read and write one layer
_MOST_MODULES = 10000  #: that are looked through for the order of their axes
_LEAF = 5000  #: bytes of the objects of one


def is_activation(cls: str) -> bool:
    """Whether ``cls`` is an activation module that :func:`activation_of` knows."""
    return cls.startswith(_NN + "activation.") and cls.rpartition(".")[2] in _ACTIVATIONS


def is_leaf(cls: str) -> bool:
    """Whether a module of class ``cls`` becomes nodes of its own, without looking at its forward."""
    known = cls in RECURRENT or cls in CELLS or cls in LINEAR or cls in IGNORED
    return known or cls in (EMBEDDING, LAYERNORM, BATCHNORM, GROUPNORM, PRELU) or is_activation(cls)


def activation_of(cls: str, get: Getter, ndim: int, what: str) -> Activation:
    """The activation of a module of class ``cls`` that reads an array of ``ndim`` dimensions."""
    short = cls.rpartition(".")[2]
    if short in _PLAIN_ACTIVATIONS:
        return Activation(_PLAIN_ACTIVATIONS[short])
    if short in _PARAMETERS:
        name, numbers = _PARAMETERS[short]
        return Activation(name, *(get(n) if isinstance(n, str) else n for n in numbers))
    if short == "GELU":
        return gelu(get("approximate"), what)
    if short == "Softplus":
        return softplus(get("beta"), get("threshold"), what)
    return Activation(softmax("softmax" if short == "Softmax" else "log_softmax", get("dim"), ndim, what))


def gelu(approximate: Any, what: str) -> Activation:
    """Exact or tanh GELU; modules pickled before torch 1.12 have no ``approximate``."""
    forms = {None: "gelu", "none": "gelu", "tanh": "gelu_tanh"}
    if approximate not in forms:
        raise ConvertError(f"{what}: GELU with approximate={approximate!r} is not supported")
    return Activation(forms[approximate])


def softplus(beta: Any, threshold: Any, what: str) -> Activation:
    """Softplus with beta 1, the only one that a graph can hold, to the end: torch gives x above a threshold."""
    if beta not in (None, 1):
        raise ConvertError(f"{what}: Softplus with beta={beta} is not supported, only beta=1")
    if threshold is not None and not (isinstance(threshold, int | float) and threshold >= _SOFTPLUS_IS_LINEAR):
        raise ConvertError(
            f"{what}: Softplus with threshold={threshold} is not supported, only {_SOFTPLUS_IS_LINEAR} or more"
        )
    return Activation("softplus")


def softmax(name: str, dim: Any, ndim: int, what: str) -> str:
    """``name`` if it normalises the last of ``ndim`` dimensions."""
    if dim not in (-1, ndim - 1):
        raise ConvertError(f"{what}: {name} over dimension {dim} is not supported, only over the last one")
    return name


def recurrent_activations(op: str, get: Getter, what: str) -> tuple[str, ...] | None:
    """Activations of a recurrent module: only an RNN has a choice."""
    if op != "rnn":
        return None
    nonlinearity, of_mode = get("nonlinearity"), {"RNN_TANH": "tanh", "RNN_RELU": "relu"}.get(str(get("mode")))
    if nonlinearity is None:  # torch < 1.10 kept it in the mode only
        nonlinearity = of_mode
    elif of_mode not in (None, nonlinearity):  # torch goes by the mode
        raise ConvertError(f"{what}: RNN with nonlinearity {nonlinearity!r} and mode {get('mode')!r}, which contradict")
    if nonlinearity not in ("tanh", "relu"):
        raise ConvertError(f"{what}: RNN with nonlinearity {nonlinearity!r} is not supported")
    return (nonlinearity,)


def check_embedding(get: Getter, what: str) -> None:
    """Refuse an Embedding that rescales its rows when they are looked up."""
    if get("max_norm") is not None:
        raise ConvertError(f"{what}: Embedding with max_norm is not supported")


def add_pointwise(
    graph: Graph, cls: str, get: Getter, x: int, weights: Weights, prefix: str, ndim: int
) -> int:
    """Add a Linear, LayerNorm, GroupNorm, BatchNorm1d or activation module; ignored ones give ``x`` back."""
    what = f"{prefix or 'module'} ({cls.rpartition('.')[2]})"
    if cls in IGNORED:
        return x
    if cls in LINEAR:
        return graph.dense(x, weights.take(join(prefix, "weight")), weights.maybe(join(prefix, "bias")))
    if cls == LAYERNORM:
        shape = get("normalized_shape")
        if len(shape) != 1:
            raise ConvertError(f"{what}: normalises {len(shape)} dimensions, only the last one is supported")
        gamma, beta = (weights.maybe(join(prefix, n)) for n in ("weight", "bias"))
        return graph.layernorm(x, gamma, beta, float(get("eps")))
    if cls == BATCHNORM:
        if not weights.has(join(prefix, "running_mean")):
            raise ConvertError(f"{what}: keeps no running statistics, so its output depends on the batch")
        mean, var = (weights.take(join(prefix, n)) for n in ("running_mean", "running_var"))
        gamma, beta = (weights.maybe(join(prefix, n)) for n in ("weight", "bias"))
        return graph.batchnorm(x, mean, var, gamma, beta, float(get("eps")))
    if cls == GROUPNORM:
        if ndim != 2:
            raise ConvertError(f"{what}: on a sequence it would normalise over time steps; not supported")
        gamma, beta = (weights.maybe(join(prefix, n)) for n in ("weight", "bias"))
        return graph.groupnorm(x, gamma, beta, float(get("eps")), get("num_groups"))
    if cls == PRELU:
        slope = weights.take(join(prefix, "weight"))
        if slope.size != 1 and ndim != 2:
            raise ConvertError(f"{what}: on a sequence its {slope.size} slopes are those of steps; not supported")
        return graph.prelu(x, np.broadcast_to(slope, (graph.values[x].size,)) if slope.size == 1 else slope)
    return graph.activation(x, activation_of(cls, get, ndim, what))


# -- live modules ------------------------------------------------------------------------------


def class_name(module: Any) -> str:
    """The class whose forward a module has, with its Python module: torch's, where the user's is as torch made it."""
    cls = type(module)
    for base in cls.__mro__:
        if base.__module__.startswith("torch.nn.modules."):
            return f"{base.__module__}.{base.__qualname__}"
        if "forward" in base.__dict__:
            break
    return f"{cls.__module__}.{cls.__qualname__}"


def own_weights(module: Any, what: str) -> Weights:
    """The weights a layer uses now, also where weight_norm and the like compute them."""
    if hasattr(module, "_flat_weights_names"):
        names = list(module._flat_weights_names)
    else:
        names = [
            "weight",
            "bias",
            "running_mean",
            "running_var",
            "weight_ih",
            "weight_hh",
            "bias_ih",
            "bias_hh",
        ]
    found = {n: getattr(module, n, None) for n in names}
    # Copies: the module may be trained on, and what its forward does to its weights is undone.
    tensors = {n: t.detach().clone() for n, t in found.items() if t is not None and hasattr(t, "detach")}
    return Weights({n: ArrayTensor(t) for n, t in tensors.items()}, what)


# -- pickled modules ---------------------------------------------------------------------------


def build_inert(module: Inert, weights: Weights) -> Graph | None:
    """The graph of a pickled Sequential or single layer; None if its forward is the user's code.

    Raises:
        ConvertError: a layer in it is not supported, or its sizes do not fit.
    """
    module = _within_parallel(module)
    if not is_leaf(str(module.cls)) and str(module.cls) != SEQUENTIAL:
        return None
    leaves = _leaves(module, "", weights.budget)
    if any(not is_leaf(str(m.cls)) for _, m in leaves):
        return None
    graph = Graph()
    try:
        order = _inert_order(leaves)
        value = _inert_input(graph, leaves, weights, order)
        stack: Stack | None = None
        for i, (prefix, leaf) in enumerate(leaves):
            with graph.layer(prefix):
                value, stack = _inert_leaf(graph, prefix, leaf, value, weights, last=i == len(leaves) - 1)
        graph.output(value, RESULTS[0], order)
        if stack is not None and str(leaves[-1][1].cls) in RECURRENT:
            add_final_states(graph, stack, RESULTS[1:])
    except ConvertError:
        raise
    except GraphError as e:
        raise ConvertError(f"{weights.what}: {e}") from None
    except (TypeError, ValueError, IndexError) as e:  # attributes that are not what torch puts there
        raise ConvertError(f"{weights.what}: the attributes of a pickled module are damaged ({e})") from None
    weights.check_all_used()
    return graph


def _within_parallel(module: Inert) -> Inert:
    """What is run in parallel: the names of its weights are told without what the wrapper puts before them."""
    for _ in range(8):
        inner: Any = table_of(module, "_modules").get("module")
        if str(module.cls) not in _PARALLEL or not is_module(inner):
            break
        module = inner
    return module


def time_major_layers(module: Inert, budget: Budget) -> list[str]:
    """The names of the recurrent layers anywhere in a pickled module that take ``(T, N, F)``."""
    found, stack, depth = [], [("", module)], 0
    while stack and depth < _MOST_MODULES:
        depth += 1
        name, inert = stack.pop()
        budget.steps(_LEAF_STEPS + len(name) // 100)
        if str(inert.cls) in RECURRENT and not inert.attrs.get("batch_first"):
            found.append(name or "module")
        children = table_of(inert, "_modules").items()
        stack += [(join(name, str(child)), m) for child, m in children if is_module(m) and len(name) < _LEAF]
    return sorted(found)


def _leaves(module: Inert, prefix: str, budget: Budget, depth: int = 0) -> list[tuple[str, Inert]]:
    if str(module.cls) != SEQUENTIAL or depth > 32:
        return [(prefix, module)]
    out: list[tuple[str, Inert]] = []
    for name, child in table_of(module, "_modules").items():
        if not is_module(child):
            raise ConvertError(f"{shown(join(prefix, str(name)))}: not a module")
        # A module that is shared is there as often as it is named.
        budget.steps(_LEAF_STEPS + len(prefix) // 100)
        budget.memory(_LEAF + len(prefix), "its modules")
        out.extend(_leaves(child, join(prefix, str(name)), budget, depth + 1))
    return out


def _inert_input(graph: Graph, leaves: list[tuple[str, Inert]], weights: Weights, order: str) -> int:
    sequential = any(str(m.cls) in RECURRENT or str(m.cls) in CELLS for _, m in leaves)
    for prefix, leaf in leaves:
        cls = str(leaf.cls)
        if cls == EMBEDDING:
            return graph.input("x", "ids", order=order)
        for name in ("weight_ih_l0", "weight_ih", "weight"):
            if weights.has(join(prefix, name)):
                size = weights.shape(join(prefix, name))[-1]
                return graph.input("x", "seq" if sequential else "vec", size, order=order)
    raise ConvertError(f"{weights.what}: no layer tells the number of input features")


def _inert_order(leaves: list[tuple[str, Inert]]) -> str:
    """All of a Sequential is time-major with its recurrent layer."""
    layers = [m for _, m in leaves if str(m.cls) in RECURRENT]
    return "time_first" if any(not m.attrs.get("batch_first") for m in layers) else "batch_first"


def _inert_leaf(
    graph: Graph, prefix: str, leaf: Inert, x: int, weights: Weights, last: bool
) -> tuple[int, Stack | None]:
    """The value that a layer gives, and what a recurrent one has made."""
    cls, get = str(leaf.cls), leaf.attrs.get
    what = f"{weights.what}: {prefix or 'module'} ({cls.rpartition('.')[2]})"
    op = RECURRENT.get(cls) or CELLS.get(cls)
    if op is not None:
        if not last:
            raise ConvertError(f"{what}: gives a tuple, which the next module of a Sequential cannot take")
        acts = recurrent_activations(op, get, what)
        stack = add_stack(graph, op, x, weights, prefix, activations=acts)
        return stack.seq, stack
    if cls == EMBEDDING:
        check_embedding(get, what)
        return graph.embedding(x, weights.take(join(prefix, "weight"))), None
    value = graph.values[x]
    if cls == BATCHNORM and value.kind == "seq":
        raise ConvertError(f"{what}: on a sequence it would normalise time steps; not supported")
    return add_pointwise(graph, cls, get, x, weights, prefix, 2 if value.kind == "vec" else 3), None
