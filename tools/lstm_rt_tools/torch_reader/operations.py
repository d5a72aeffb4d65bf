"""A running module's operations of ATen's, repeated on a machine of the interpreter.

Two modes of torch watch. Operations of ATen's come by when everything above them is taken apart; the few functions that
mean more whole, such as recurrent layers, are taken where the forward calls them. A tensor is known by its memory:
which part of it, in which steps. What the module did not make in this run, such as its weights, is constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lstm_rt.errors import ConvertError

from ..program.machine import Machine, Tensor
from ..torch_program import aten
from ..torch_program.dtypes import CODES, numpy_dtype
from ..torch_program.meter import Meter
from ..torch_program.run import Run
from ..torch_program.tensors import Var
from ..weights.budget import Budget
from ..weights.tensors import ArrayTensor
from .modules import EMBEDDING, SHORT_FLOATS, TRAINS, check_embedding, class_name
from .run import Runner
from .where import here, running_module, unsupported


def _as_given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def _einsum(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    equation, *operands = args
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = list(operands[0])
    return (equation, operands), kwargs


def _instance_norm(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    names = ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps")
    given: dict[str, Any] = {"use_input_stats": True, "momentum": 0.1, "eps": 1e-5}
    given |= dict(zip(names, args, strict=False)) | kwargs
    order = ("input", "weight", "bias", "running_mean", "running_var", "use_input_stats", "momentum", "eps")
    return (*(given.get(n) for n in order), False), {}


def _stft(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    names = ("input", "n_fft", "hop_length", "win_length", "window", "center", "pad_mode", "normalized", "onesided",
             "return_complex")  # fmt: skip
    given = {"center": True, "pad_mode": "reflect", "normalized": False}
    given |= dict(zip(names, args, strict=False)) | kwargs
    return tuple(given.get(n, given.get("self") if n == "input" else None) for n in names), {}


#: From the arguments of torch's function to those of ATen's.
_Arguments = Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]
#: Functions that are one operation here, and many smaller ones below.
_WHOLE: dict[str, _Arguments] = {
    **dict.fromkeys(
        ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell", "linear",
         "matmul", "one_hot", "scaled_dot_product_attention", "_pack_padded_sequence", "_pad_packed_sequence", "istft"),
        _as_given,
    ),
    "einsum": _einsum,
    "instance_norm": _instance_norm,
    "stft": _stft,
}  # fmt: skip
#: Functions that tell Python the numbers of a tensor, which no operation of ATen's shows.
_TELLS = frozenset(("tolist", "numpy", "array", "array_wrap", "dlpack"))
#: They tell a truth about numbers, but stand in assertions; a wrong use shows in the checks.
_ASSERTED = frozenset(("equal", "allclose"))
#: Functions whose results differ from call to call.
_RANDOM = frozenset(
    ("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "uniform",
     "bernoulli", "multinomial", "poisson", "exponential", "random", "dropout", "alpha_dropout", "native_dropout")
)  # fmt: skip
_DROPOUT = frozenset(("dropout", "dropout1d", "dropout2d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"))
#: Functions with an initial state, their second argument.
_WITH_STATES = frozenset(
    ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
)
#: A module is the user's own and no file: what its run costs is not held to its size.
_FREE = 1 << 50
_DEPENDS = "it makes the forward depend on the numbers of its input"


class Operations:
    """One run of a module under watch.

    Args:
        runner: runs the module.
        machine: repeats the operations.
        notes: gets what the user should know.
    """

    def __init__(self, runner: Runner, machine: Machine, notes: list[str]) -> None:
        self._torch, self._machine, self._names = runner.torch, machine, runner.names
        self._snapshot = runner.snapshot
        self._modules = dict(runner.snapshot.modules)
        self._parameters = {p.untyped_storage().data_ptr(): name for name, p in runner.module.named_parameters()}
        self.random = ""  #: the first random function that the forward calls, and where
        self._run = Run(machine, notes, Meter(Budget(_FREE, "the module")))
        self.count = 0  #: operations so far
        self._vars: dict[Any, Var] = {}
        self._alive: list[Any] = []  # memory stays a tensor's own only while that lives
        self._whole = False  #: is a function of _WHOLE at work?

    # -- tensors ----------------------------------------------------------------------------------------

    def bind(self, tensor: Any, value: Any) -> None:
        """``tensor`` stands for ``value``, a tensor of the machine's or a view."""
        self._vars[_memory(tensor)] = value if isinstance(value, Var) else Var(value)
        self._alive.append(tensor)

    def tensor(self, tensor: Any) -> Tensor:
        """What a tensor of the module's stands for at last.

        Raises:
            ConvertError: it is complex, or of a packed sequence or a sorted batch.
        """
        return self._run.output(self._var(tensor), "an output")

    def _var(self, tensor: Any) -> Var:
        found = self._vars.get(_memory(tensor))
        if found is None:
            found = Var(self._machine.constant(self._numbers(tensor)))
            self.bind(tensor, found)
        return found

    def _numbers(self, tensor: Any) -> Any:
        """The numbers of a tensor that is constant."""
        if tensor.is_floating_point():
            name = self._parameters.get(tensor.untyped_storage().data_ptr()) or self._snapshot.name_of(tensor)
            return ArrayTensor(tensor).array(name or "a constant of the module")
        dtype = numpy_dtype(str(tensor.dtype).removeprefix("torch."))
        if dtype is None:
            raise unsupported(self._run.op, f"it computes in {tensor.dtype}")
        return tensor.detach().cpu().numpy().astype(dtype)

    def _depends(self, given: Any) -> bool:
        return any(not v.read(self._run).known for v in _leaves(given, Var))

    def _mapped(self, value: Any) -> Any:
        """An argument as the table of operations takes it."""
        torch = self._torch
        if isinstance(value, torch.Tensor):
            return self._var(value)
        if isinstance(value, list | tuple):
            return [self._mapped(v) for v in value]
        if isinstance(value, torch.dtype):
            return CODES.get(str(value).removeprefix("torch."), -1)
        return str(value) if isinstance(value, torch.device) else value

    # -- operations -------------------------------------------------------------------------------------

    def operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One operation of ATen's: run by torch, and repeated."""
        if self._whole:
            return func(*args, **kwargs)
        name = func._schema.name.partition("::")[2]
        with self._layer(name):
            given, named = self._arguments(args, kwargs)
            if name.rstrip("_") in _RANDOM:
                return self._drawn(name, func, args, kwargs, (given, list(named.values())))
            result = func(*args, **kwargs)
            self._repeat(name, given, named, result)
        return result

    def _drawn(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], given: Any) -> Any:
        """Random numbers: whether they matter, two runs of the module tell."""
        if name.rstrip("_") not in ("rand_like", "randn_like", "randint_like") and self._depends(given):
            raise unsupported(f"aten.{name}", "its results are random")
        self.random = self.random or f"torch.{name.rstrip('_')}{here(self._torch, self._names)}"
        result = func(*args, **kwargs)
        for tensor in _leaves(result, self._torch.Tensor):
            self.bind(tensor, Var(self._machine.constant(self._numbers(tensor))))
        return result

    def function(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One function that the forward calls."""
        short = _short_name(name)
        self._check_mode(name, short, args, kwargs)
        if short in _WITH_STATES:
            self._check_states(args)
        if short in _TELLS and self._depends([self._mapped(t) for t in _leaves(args, self._torch.Tensor)]):
            raise unsupported(name, _DEPENDS)
        if short == "data" and name.endswith("__get__"):  # shares its memory with no operation in between
            result = func(*args, **kwargs)
            self.bind(result, self._var(args[0]))
            return result
        if short not in _WHOLE or kwargs.get("out") is not None:
            return func(*args, **kwargs)
        with self._layer(short):
            given, named = self._arguments(*_WHOLE[short](args, kwargs))
            self._whole = True
            try:
                result = func(*args, **kwargs)
            finally:
                self._whole = False
            self._repeat(short, given, named, result)
        return result

    def _check_mode(self, name: str, short: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse what does in eval mode what it does in training."""
        where = running_module(self._names)
        module = self._modules.get(where)
        cls = "" if module is None else class_name(module)
        rate = getattr(module, "p", getattr(module, "dropout", 1.0))
        if module is not None and cls in TRAINS and module.training and rate > 0:
            layer = f"{where} ({cls.rpartition('.')[2]})"
            raise unsupported(layer, "it stays in training mode when the module is in eval mode")
        if cls == EMBEDDING:
            check_embedding(lambda k: getattr(module, k, None), f"{where} (Embedding)")
        if short in _DROPOUT:
            on = args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True))
            if on and (args[1] if len(args) > 1 else kwargs.get("p", 0.5)) > 0:
                raise unsupported(name, "it drops at random in eval mode, too; pass training=self.training")

    def _check_states(self, args: tuple[Any, ...]) -> None:
        """Refuse an initial state that an earlier call has left in the module."""
        for tensor in _leaves(args[1:2], self._torch.Tensor):
            name = self._snapshot.name_of(tensor)
            if tensor.untyped_storage().data_ptr() in self._parameters:
                continue
            if name and bool((tensor != 0).any()) and not self._var(tensor).changed:
                raise unsupported(
                    running_module(self._names) or "a recurrent layer",
                    f"its initial state is module.{name}, which is not zero; reset it before the conversion",
                )

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        stored = {k: v for k, v in kwargs.items() if k not in aten.STORED}
        return tuple(self._mapped(a) for a in args), {k: self._mapped(v) for k, v in stored.items()}

    @contextmanager
    def _layer(self, name: str) -> Iterator[None]:
        self._run.op = name
        self.count += 1
        with self._machine.layer(running_module(self._names)):
            yield

    def _repeat(self, name: str, given: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        results = list(_leaves(result, self._torch.Tensor))
        for tensor in results:
            if str(tensor.dtype).removeprefix("torch.") in SHORT_FLOATS:
                raise unsupported(f"aten.{name}", f"it computes in {tensor.dtype}; the graph computes in float32")
        if not results:
            if name not in _ASSERTED and self._depends((given, list(named.values()))):
                raise unsupported(f"aten.{name}", _DEPENDS)
            return
        try:
            made = aten.call(self._run, name, given, named)
        except ConvertError:
            if self._depends((given, list(named.values()))):
                raise
            made = [Var(self._machine.constant(self._numbers(t))) for t in results]
        for tensor, var in zip(results, _leaves(made, (Var, Tensor)), strict=False):
            self.bind(tensor, var)


def _short_name(full: str) -> str:
    """``torch.Tensor.__iadd__`` -> ``add``, ``torch.relu_`` -> ``relu``."""
    parts = full.split(".")
    name = parts[-2] if parts[-1] in ("__get__", "__set__") and len(parts) > 1 else parts[-1]
    if name.startswith("__") and name.endswith("__"):
        bare = name[2:-2]
        return {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "truediv": "div"}.get(
            bare, bare
        )
    return name.rstrip("_")


def _memory(tensor: Any) -> Any:
    """What tells one tensor from another: where its numbers lie."""
    storage = tensor.untyped_storage()
    where = (storage.data_ptr() or id(tensor), tensor.storage_offset())
    return where, tuple(tensor.shape), tensor.stride(), tensor.dtype


def _leaves(value: Any, kind: Any) -> Iterator[Any]:
    if isinstance(value, kind):
        yield value
    elif isinstance(value, list | tuple):
        for v in value:
            yield from _leaves(v, kind)


@contextmanager
def watched(torch: Any, operations: Operations) -> Iterator[None]:
    """While this lasts, ``operations`` sees what torch does."""
    from torch.overrides import TorchFunctionMode, resolve_name
    from torch.utils._python_dispatch import TorchDispatchMode

    class Functions(TorchFunctionMode):  # type: ignore[misc, unused-ignore]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = resolve_name(func) or getattr(func, "__name__", str(func))
            return operations.function(name, func, tuple(args), kwargs or {})

    class Calls(TorchDispatchMode):  # type: ignore[misc, unused-ignore]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return operations.operation(func, tuple(args), kwargs or {})

    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)  # layers of torch's in one operation that nothing else has
        stack.enter_context(Functions())
        stack.enter_context(Calls())
        yield
