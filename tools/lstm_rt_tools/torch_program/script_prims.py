"""TorchScript's built-in functions, its ``prim`` operations, and what it can ask about types."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_rt.errors import ConvertError

from ..names import shown
from . import aten, script_numbers
from .agree import DimsDiffer
from .dtypes import code_of
from .run import Run
from .script_tree import Attr, Call, Const, Expr, Index, Name, Seq
from .script_values import Obj, Record, Unset
from .tensors import Var

if TYPE_CHECKING:
    from .script_run import Interpreter, Names


#: What torch.nn's own code says of an input with more or fewer dimensions.
_OTHER_DIMS = re.compile(r".*(?:[Ee]xpected|should).*?(\d)-?D\b.*\bgot (\d)-?D", re.S)


class Raised(ConvertError):
    """The code of the model raises an error of its own.

    Attributes:
        compared: the two values that were last compared before.
    """

    def __init__(self, message: str, compared: tuple[Any, Any] | None) -> None:
        super().__init__(message)
        self.compared = compared


# -- built-in functions ------------------------------------------------------------------------------------


def built_in(interpreter: Interpreter, e: Call, names: Names) -> Any:
    """A call of a name that nothing in the code has defined."""
    assert isinstance(e.function, Name)
    name, run = e.function.id, interpreter.run
    if name in _TYPED and len(e.args) == 2:
        return _TYPED[name](interpreter, e, names)
    if name == "uninitialized":
        return Unset()
    if name == "fork":
        return _fork(interpreter, e, names)
    args = [interpreter.value(a, names) for a in e.args]
    if name == "getattr" and len(args) == 2 and isinstance(args[1], str):
        return interpreter.attribute(args[0], args[1])
    if name == "print":
        return None
    if name == "sorted" and len(args) == 1 and isinstance(args[0], list):
        return script_numbers.apply(run, "list", (sorted(args[0]),), {})
    if name in _CONVERSIONS and len(args) == 1:
        return _converted(run, name, args[0])
    raise run.error(f"the function {shown(name)} is not known here", "TorchScript")


def _annotate(interpreter: Interpreter, e: Call, names: Names) -> Any:
    value = interpreter.value(e.args[1], names)
    kind = e.args[0]
    if isinstance(value, Var) and isinstance(kind, Name) and kind.id in ("int", "float", "number", "bool"):
        return aten.call(interpreter.run, "item", (value,), {})
    return value


def _unchecked_cast(interpreter: Interpreter, e: Call, names: Names) -> Any:
    return interpreter.value(e.args[1], names)


def _isinstance(interpreter: Interpreter, e: Call, names: Names) -> bool:
    value = interpreter.value(e.args[0], names)
    kinds = e.args[1].items if isinstance(e.args[1], Seq) else (e.args[1],)
    return any(matches(interpreter, value, k) for k in kinds)


_TYPED: dict[str, Callable[..., Any]] = {
    "annotate": _annotate,
    "unchecked_cast": _unchecked_cast,
    "isinstance": _isinstance,
}
_CONVERSIONS: dict[str, Callable[..., Any]] = {"int": int, "float": float, "bool": bool, "str": str}


def _converted(run: Run, name: str, value: Any) -> Any:
    if isinstance(value, Var):
        if name == "str":
            return "a tensor"
        value = aten.call(run, "item", (value,), {})
        if isinstance(value, Var):
            if name == "float":
                return value
            raise run.error("it depends on the numbers of an input, which are not known before the model runs",
                            f"{name}()")  # fmt: skip
    return script_numbers.apply(run, {"str": "str"}.get(name, name.capitalize()), (value,), {})


def _fork(interpreter: Interpreter, e: Call, names: Names) -> Any:
    """``fork(function)``: done at once, its future is its result."""
    found = interpreter.value(e.args[0], names)
    args = [interpreter.value(a, names) for a in e.args[1:]]
    if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict):
        tree, around = found
        inner = dict(around)
        return interpreter.closure(tree, inner)
    return interpreter.apply(found, tuple(args), {})


# -- types -------------------------------------------------------------------------------------------------


def matches(interpreter: Interpreter, value: Any, kind: Expr) -> bool:
    """Whether a value is of a type, as the code spells it."""
    if isinstance(kind, Index):
        return _generic(interpreter, value, kind)
    if isinstance(kind, Const):
        return value is None and kind.value is None
    if isinstance(kind, Name):
        return _simple(value, kind.id)
    if isinstance(kind, Attr):
        found = interpreter.value(kind, {})
        return isinstance(value, Obj | Record) and value.cls is found
    raise interpreter.run.error("a type that is not known", "isinstance")


def _simple(value: Any, name: str) -> bool:
    if name == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    kinds: dict[str, Any] = {"Tensor": Var, "float": float, "bool": bool, "str": str, "NoneType": type(None),
                             "list": list, "tuple": tuple, "dict": dict, "Device": str}  # fmt: skip
    return name in kinds and isinstance(value, kinds[name])


def _generic(interpreter: Interpreter, value: Any, kind: Index) -> bool:
    name = kind.of.id if isinstance(kind.of, Name) else ""
    inner = kind.index.items if isinstance(kind.index, Seq) else (kind.index,)
    if name == "Optional":
        return value is None or matches(interpreter, value, inner[0])
    if name == "Union":
        return any(matches(interpreter, value, k) for k in inner)
    if name == "List":
        return isinstance(value, list) and all(matches(interpreter, v, inner[0]) for v in value)
    if name == "Dict":
        return isinstance(value, dict) and all(matches(interpreter, v, inner[1]) for v in value.values())
    if name == "Tuple":
        whole = isinstance(value, tuple) and len(value) == len(inner)
        return whole and all(matches(interpreter, v, k) for v, k in zip(value, inner, strict=True))
    raise interpreter.run.error(f"the type {shown(name)} is not known", "isinstance")


# -- prim and what belongs to it -----------------------------------------------------------------------------


def prim(interpreter: Interpreter, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``ops.prim.<name>``: what the compiler has put in."""
    run = interpreter.run
    if name == "RaiseException":
        text = args[0] if args and isinstance(args[0], str) else ""
        complaint = f"the model's own code complains: {shown(text, 200)}"
        if m := _OTHER_DIMS.match(text):
            raise DimsDiffer(complaint, "", (int(m[2]), int(m[1])))
        raise Raised(complaint, interpreter.compared)
    if name == "NumToTensor":
        return Var(run.tensor(args[0]))
    if name in ("unchecked_unwrap_optional", "unchecked_cast", "data", "layout_of"):
        return args[0]
    if name in ("min", "max", "abs") and script_numbers.applies(name, args):
        return script_numbers.apply(run, name, args, kwargs)
    if name in ("TupleUnpack", "ListUnpack", "TupleConstruct", "ListConstruct"):
        return list(args) if name == "ListConstruct" else args if name == "TupleConstruct" else args[0]
    if len(args) == 1 and isinstance(args[0], Var):
        return of_tensor(run, args[0], name)
    if name in ("device", "type", "index"):
        return "cpu" if name != "index" else None
    if aten.known(name):
        return aten.call(run, name, args, kwargs)
    raise run.error("this operation of TorchScript is not supported", f"prim.{shown(name)}")


def of_tensor(run: Run, x: Var, name: str) -> Any:
    """An attribute of a tensor."""
    if name == "dtype":
        return code_of(x.read(run).dtype)
    if name in ("device", "type"):
        return "cpu"
    if name == "layout":
        return 0
    if name == "shape":
        return aten.call(run, "size", (x,), {})
    if name == "ndim":
        return aten.call(run, "dim", (x,), {})
    if name == "T":
        return aten.call(run, "numpy_T", (x,), {})
    if name in ("is_cuda", "is_mkldnn", "is_quantized", "is_sparse", "is_meta", "is_nested", "is_xla", "is_vulkan",
                "is_mps", "is_xpu", "is_ipu", "is_ort", "is_maia", "is_sparse_csr"):  # fmt: skip
        return False
    if name in ("is_leaf", "requires_grad"):
        return True
    if name == "grad":
        return None
    if aten.known(name):
        return aten.call(run, name, (x,), {})
    raise run.error(f"a tensor has no attribute {shown(name)} here", "TorchScript")


def to_list(run: Run, x: Var) -> Any:
    """``x.tolist()``, of known numbers alone."""
    return run.array(x, "a list that is made of a tensor").tolist()


def _device(run: Run, *args: Any) -> str:
    return "cpu"


def _false(run: Run, *args: Any) -> bool:
    return False


def _none(run: Run, *args: Any) -> None:
    return None


def _first(run: Run, value: Any = None, *rest: Any) -> Any:
    return value


def _broadcast_shapes(run: Run, *shapes: Any) -> list[int]:
    return list(np.broadcast_shapes(*(tuple(s) for s in shapes)))


def _unwrap(run: Run, value: Any) -> Any:
    if value is None:
        raise run.error("None where there is a value in PyTorch", "_unwrap_optional")
    return value


def _is_scripting(run: Run) -> bool:
    return True


def _warn(run: Run, *args: Any) -> None:
    return None


#: Functions of PyTorch that are none of tensors.
TORCH: dict[str, Callable[..., Any]] = {
    "device": _device,
    "is_grad_enabled": lambda run: True,  # so that code takes the way that says what it computes
    "is_autocast_enabled": _false,
    "is_autocast_cpu_enabled": _false,
    "_is_tracing": _false,
    "are_deterministic_algorithms_enabled": _false,
    "jit.is_scripting": _is_scripting,
    "is_scripting": _is_scripting,
    "set_grad_enabled": _none,
    "manual_seed": _none,
    "warn": _warn,
    "wait": _first,
    "_unwrap_optional": _unwrap,
    "has_torch_function": _false,
    "_infer_size": _broadcast_shapes,
    "infer_size": _broadcast_shapes,
    "broadcast_shapes": _broadcast_shapes,
    "autograd._record_function_with_args_enter": _none,
    "autograd._record_function_with_args_exit": _none,
    "get_default_dtype": lambda run: 6,
    "cuda.is_available": _false,
}
