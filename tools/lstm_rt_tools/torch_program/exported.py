"""A program of torch.export as a program of the vocabulary: its inputs and outputs, and how to run it."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from ..names import shown
from ..program.machine import Argument, Machine, Source, Tensor
from ..weights.json_text import load_json
from ..weights.tensors import FileTensor
from . import aten
from .dtypes import CODES, EXPORTED, numpy_dtype
from .exported_archive import ExportedArchive
from .meter import Meter
from .run import Run, kept_note
from .tensors import Var

_SYMBOL = re.compile(r"(?:Symbol\('(\w+)'[^)]*\)|([a-z]\w*))")
_LAYER = re.compile(r"[\w.]*")
_MOST_GRAPHS = 20  #: graphs in graphs
_MOST_TURNS = 10_000  #: of a while_loop
_DAMAGED = (KeyError, TypeError, ValueError, IndexError, AttributeError)


class ExportedSource(Source):
    """The program of a ``.pt2`` file.

    Attributes:
        inputs: what it takes, with the names of sizes that the file leaves free.
        outputs: names of what it gives.
        notes: what the user should know.
        torch_version: of the torch that wrote the file, where it tells.
    """

    def __init__(self, archive: ExportedArchive) -> None:
        version = archive.program.get("torch_version")
        self.torch_version = shown(version, 40) if isinstance(version, str) else None
        self.what, self.notes = archive.what, list[str]()
        self.hints: list[int] = []
        self._archive = archive
        self._meter = Meter(archive.budget)
        self._arrays: dict[str, NDArray[Any]] = {}
        try:
            self._read(archive.program)
        except ConvertError:
            raise
        except _DAMAGED as e:
            raise ConvertError(f"{self.what}: the exported program is damaged ({shown(repr(e))})") from None

    def _read(self, program: Mapping[str, Any]) -> None:
        module = program["graph_module"]
        self._graph = module["graph"]
        self._steps = [_Step(node, self.what) for node in self._graph["nodes"]]
        self._inputs = [self._input(spec) for spec in module["signature"]["input_specs"]]
        ranges = program.get("range_constraints") or {}
        self.inputs: Sequence[Argument] = [
            self._argument(name, ranges) for kind, name, _ in self._inputs if kind == "user_input"
        ]
        specs = module["signature"]["output_specs"]
        found = [_user_output(spec) for spec in specs]
        for spec in specs:
            self._note_mutation(spec)
        self._results = [name for name in found if name is not None]
        self.outputs: Sequence[str] = self._output_names(module, sum(name is not None for name in found))

    # -- inputs and outputs -------------------------------------------------------------------------------

    def _input(self, spec: Mapping[str, Any]) -> tuple[str, str, str]:
        """Its kind, its name in the graph, and the name of the weight."""
        ((kind, given),) = spec.items()
        if kind == "user_input":
            ((how, value),) = given["arg"].items()
            if how == "as_tensor":
                return kind, value["name"], ""
            if how == "as_none":
                return "none", "", ""
            kind = shown(how.removeprefix("as_"))
            raise ConvertError(f"{self.what}: an input that is {kind}; only tensors are taken")
        if kind == "constant_input":
            return "none", "", ""
        if kind in ("parameter", "buffer", "tensor_constant"):
            return kind, given["arg"]["name"], given.get(f"{kind}_name") or given.get("tensor_constant_name")
        return kind, given["arg"]["name"], ""

    def _argument(self, name: str, ranges: Mapping[str, Any]) -> Argument:
        meta = self._graph["tensor_values"][name]
        kind = EXPORTED.get(meta["dtype"], str(meta["dtype"]))
        dtype = numpy_dtype(kind)
        if dtype is None:
            raise ConvertError(f"{self.what}: the input {shown(name)} is of type {shown(kind)}, which is not supported")
        if kind in ("float16", "bfloat16", "float64"):
            self._note(f"{kind} inputs are float32 in the converted model")
        self.hints += [n for size in meta["sizes"] if (n := _hint(size)) and n not in self.hints]
        return Argument(name, dtype, tuple(_dim(size, ranges) for size in meta["sizes"]))

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _note_mutation(self, spec: Mapping[str, Any]) -> None:
        ((kind, given),) = spec.items()
        if kind == "buffer_mutation":
            self._note(kept_note(given["buffer_name"]))
        elif kind == "user_input_mutation":
            name = shown(given["user_input_name"])
            self._note(f"the module writes to its input {name}; the converted model does not")

    def _output_names(self, module: Mapping[str, Any], count: int) -> list[str]:
        if count == 1:
            return ["output"]
        calls = module.get("module_call_graph") or [{}]
        signature = next((c.get("signature") for c in calls if c.get("fqn") == ""), None) or {}
        plain = [f"output_{i}" for i in range(count)]
        if not isinstance(signature.get("out_spec"), str):
            return plain
        spec = load_json(signature["out_spec"].encode(), f"{self.what}: its out_spec", self._archive.budget)
        names = list(_paths(spec[1], "output")) if isinstance(spec, list) and len(spec) == 2 else []
        specs = module["signature"]["output_specs"]
        user = [_user_output(s) for s in specs if "user_output" in s]
        if len(names) != len(user):
            return plain
        return [n for n, given in zip(names, user, strict=True) if given is not None]

    # -- running ------------------------------------------------------------------------------------------

    def run(self, machine: Machine, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs for the inputs.

        Raises:
            ConvertError: the program holds what cannot be converted, or is damaged.
        """
        run = Run(machine, self.notes, self._meter)
        given = iter(inputs)
        names: dict[str, Any] = {}
        buffers: dict[str, Var] = {}
        for kind, name, weight in self._inputs:
            if kind == "user_input":
                names[name] = Var(next(given))
            elif kind in ("parameter", "buffer", "tensor_constant"):
                names[name] = Var(machine.constant(self._array(weight)))
                if kind == "buffer":
                    buffers[weight] = names[name]
        _execute(run, self._steps, names, self._results)
        for name, buffer in buffers.items():
            if buffer.changed:
                run.note(kept_note(name))
        return [self._result(run, names, name) for name in self._results]

    def _result(self, run: Run, names: Mapping[str, Any], name: str) -> Tensor:
        value = names.get(name)
        if not isinstance(value, Var):
            raise run.error("it is no tensor", f"output {shown(name)}")
        return run.output(value, f"output {shown(name)}")

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            tensor = self._archive.weights.get(name)
            if not isinstance(tensor, FileTensor):
                raise ConvertError(f"{self.what}: the weight {shown(name)} is not in the file")
            if tensor.dtype in ("float16", "bfloat16", "float64"):
                self._note(f"{tensor.dtype} weights are converted in float32")
            self._arrays[name] = tensor.numbers(shown(name))
        return self._arrays[name]


def _user_output(spec: Mapping[str, Any]) -> str | None:
    """The name of a tensor that is given to the user; None for what is none."""
    given = spec.get("user_output")
    if given is None:
        return None
    tensor = given["arg"].get("as_tensor")
    return None if tensor is None else str(tensor["name"])


def _dim(size: Mapping[str, Any], ranges: Mapping[str, Any]) -> int | str | None:
    """A size, or the name of what is free; None where it is an expression of several."""
    if "as_int" in size:
        return int(size["as_int"])
    text = str(size["as_expr"]["expr_str"])
    m = _SYMBOL.fullmatch(text)
    if m is None:
        return None
    name = m[1] or m[2]
    allowed = ranges.get(name) or {}
    low, high = allowed.get("min_val"), allowed.get("max_val")
    return int(low) if type(low) is int and low == high else name


def _hint(size: Mapping[str, Any]) -> int:
    """What a free size was when the program was recorded, which may have stayed in it; 0 where it is not said."""
    hint = (size.get("as_expr") or {}).get("hint") or {}
    number = hint.get("as_int")
    return number if type(number) is int else 0


def _paths(spec: Any, name: str, deep: int = 0) -> Iterator[str]:
    """Names of the leaves of a tree of PyTorch's, as the converters of live modules name them."""
    kind, children = spec.get("type"), spec.get("children_spec") or []
    if kind is None or deep > _MOST_GRAPHS:
        yield name
        return
    keys: Sequence[Any] = range(len(children))
    if kind in ("builtins.dict", "collections.OrderedDict"):
        context = re.findall(r'"((?:[^"\\]|\\.)*)"', spec.get("context") or "")
        keys = context if len(context) == len(children) else keys
    for key, child in zip(keys, children, strict=True):
        yield from _paths(child, str(key) if name == "output" and isinstance(key, str) else f"{name}_{key}", deep + 1)


# -- nodes -------------------------------------------------------------------------------------------------


class _Step:
    """One node: what it calls, with what, and what its results are called."""

    def __init__(self, node: Mapping[str, Any], what: str, deep: int = 0) -> None:
        if deep > _MOST_GRAPHS:
            raise ConvertError(f"{what}: graphs are nested too deeply")
        self.target = str(node["target"])
        self.inputs = [_Input(i, what, deep) for i in node["inputs"]]
        self.outputs = [_output(o) for o in node["outputs"]]
        self.reads = {name for i in self.inputs for name in _names_in(i.how, i.value)}
        self.layer = _layer(node.get("metadata") or {})


class _Input:
    """An argument: how it is given, and the value or the names in it."""

    def __init__(self, given: Mapping[str, Any], what: str, deep: int) -> None:
        self.name, self.keyword = str(given.get("name") or ""), given.get("kind") == 2
        self.by_kind = given.get("kind") in (1, 2)
        ((self.how, self.value),) = given["arg"].items()
        if self.how == "as_graph":
            graph = self.value["graph"]
            steps = [_Step(node, what, deep + 1) for node in graph["nodes"]]
            self.value = _Graph([_name(a) for a in graph["inputs"]], steps, list(graph["outputs"]))


class _Graph:
    """A graph within a graph."""

    def __init__(self, inputs: list[str], steps: list[_Step], outputs: list[Any]) -> None:
        self.inputs, self.steps, self.outputs = inputs, steps, outputs
        self.results = {name for out in outputs for how, value in out.items() for name in _names_in(how, value)}

    def __call__(self, run: Run, args: Sequence[Any]) -> list[Any]:
        names = dict(zip(self.inputs, args, strict=False))
        _execute(run, self.steps, names, self.results)
        made = []
        for out in self.outputs:
            ((how, value),) = out.items()
            made.append(_value(run, how, value, names))
        return made


def _name(arg: Mapping[str, Any]) -> str:
    ((how, value),) = arg.items()
    return str(value["as_name"] if how.startswith("as_sym") else value["name"])


def _output(arg: Mapping[str, Any]) -> Any:
    """A name, a list of names, or None for what has none."""
    ((how, value),) = arg.items()
    if how == "as_tensors":
        return [v["name"] for v in value]
    if how in ("as_sym_int", "as_sym_bool", "as_sym_float"):
        return value.get("as_name")
    if how == "as_optional_tensors":
        return [v["as_tensor"]["name"] if "as_tensor" in v else None for v in value]
    return value["name"] if how == "as_tensor" else None


def _names_in(how: str, value: Any) -> Iterator[str]:
    """The names that an argument reads."""
    for given in value if isinstance(value, list) else [value]:
        if isinstance(given, dict):
            given = given.get("as_tensor", given)
            name = given.get("name", given.get("as_name")) if isinstance(given, dict) else None
            if isinstance(name, str):
                yield name


def _layer(metadata: Mapping[str, Any]) -> str:
    """The path of the module that a node comes from."""
    stack = metadata.get("nn_module_stack")
    parts = stack.rpartition(";")[2].split(",") if isinstance(stack, str) else []
    path = parts[-2] if len(parts) > 2 else ""
    path = path.removeprefix("L__self__").lstrip(".")
    return path if _LAYER.fullmatch(path) else ""


def _value(run: Run, how: str, value: Any, names: Mapping[str, Any]) -> Any:
    """An argument's value in a run."""
    if how in ("as_tensor", "as_custom_obj"):
        return _found(run, value["name"], names)
    if how in ("as_tensors",):
        return [_found(run, v["name"], names) for v in value]
    if how in ("as_optional_tensors", "as_optional_tensor"):
        given = value if isinstance(value, list) else [value]
        made = [_found(run, v["as_tensor"]["name"], names) if "as_tensor" in v else None for v in given]
        return made if isinstance(value, list) else made[0]
    if how in ("as_sym_int", "as_sym_bool", "as_sym_float"):
        return _symbol(run, value, names)
    if how in ("as_sym_ints", "as_sym_bools", "as_sym_floats"):
        return [_symbol(run, v, names) for v in value]
    if how == "as_scalar_type":
        return CODES.get(EXPORTED.get(value, ""), value)
    if how == "as_float":  # inf and nan are strings in JSON
        return float(value)
    if how == "as_floats":
        return [float(v) for v in value]
    if how in ("as_none", "as_layout", "as_memory_format"):
        return None
    if how == "as_device":
        return "cpu"
    if how in ("as_int", "as_ints", "as_string", "as_strings", "as_bool", "as_bools", "as_graph"):
        return value
    raise run.error(f"an argument of the kind {shown(how.removeprefix('as_'))}")


def _found(run: Run, name: str, names: Mapping[str, Any]) -> Any:
    if name not in names:
        raise run.error(f"it reads {shown(name)}, which nothing has given")
    return names[name]


def _symbol(run: Run, value: Mapping[str, Any], names: Mapping[str, Any]) -> Any:
    ((how, given),) = value.items()
    return _found(run, given, names) if how == "as_name" else given


def _execute(run: Run, steps: Sequence[_Step], names: dict[str, Any], results: Iterable[str]) -> None:
    """Run nodes in their order; results go into ``names``, and leave it when nothing reads them any more."""
    last = {name: k for k, step in enumerate(steps) for name in step.reads}
    kept = {*names, *results}
    for k, step in enumerate(steps):
        run.op = shown(step.target.removeprefix("torch.ops.").removeprefix("aten."))
        run.meter.step()
        try:
            with run.machine.layer(step.layer):
                _store(run, step, _result_of(run, step, names), names)
        except ConvertError:
            raise
        except _DAMAGED as e:
            raise run.error(f"its node is damaged ({shown(repr(e))})") from None
        for name in step.reads:
            if last[name] == k and name not in kept:
                names.pop(name, None)


def _result_of(run: Run, step: _Step, names: Mapping[str, Any]) -> Any:
    given = [(i, _value(run, i.how, i.value, names)) for i in step.inputs]
    root, _, rest = step.target.removeprefix("torch.ops.").partition(".")
    if root == "aten":
        name = rest.partition(".")[0]
        if name in _ASSERTIONS:
            return _ASSERTIONS[name](run, *(v for _, v in given))
        args, kwargs = _arguments(name, given)
        if not aten.known(name):
            return aten.unknown(run, shown(name), args, kwargs)
        return aten.call(run, name, args, kwargs)
    if root == "higher_order" and rest in _HIGHER:
        return _HIGHER[rest](run, [v for _, v in given])
    if step.target in _NUMBERS:
        return _NUMBERS[step.target](*(_plain(run, v) for _, v in given))
    raise run.error("an operation that is none of PyTorch's own, or not supported")


def _arguments(name: str, given: Sequence[tuple[_Input, Any]]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """By place or by name; files before torch 2.6 do not tell which, and have all names."""
    if all(i.by_kind for i, _ in given):
        return tuple(v for i, v in given if not i.keyword), {i.name: v for i, v in given if i.keyword}
    row = aten.TABLE.get(name) or aten.TABLE.get(name.removesuffix("_"))
    params = set(row.signature.parameters) if row else set()
    if all(i.name in params or i.name in aten.STORED for i, _ in given):
        return (), {i.name: v for i, v in given}
    return tuple(v for i, v in given if i.name not in aten.STORED), {}


def _plain(run: Run, value: Any) -> Any:
    """A number; of a tensor without dimensions, too."""
    return run.array(value, "a number").item() if isinstance(value, Var) else value


def _store(run: Run, step: _Step, result: Any, names: dict[str, Any]) -> None:
    outputs = step.outputs
    if len(outputs) == 1 and isinstance(outputs[0], list):
        outputs = outputs[0]
        result = list(result)
    elif len(outputs) == 1 and not (isinstance(result, tuple | list) and len(result) == 1):
        result = [result[0] if isinstance(result, tuple) else result]
    for name, value in zip(outputs, result if isinstance(result, tuple | list) else [], strict=False):
        if name:
            names[name] = value


# -- what is none of ATen's tensors --------------------------------------------------------------------------


def _assert(run: Run, condition: Any, *message: Any) -> None:
    if isinstance(condition, Var) and not condition.read(run).known:
        return  # about the numbers of an input: its values, not what is computed of them
    if not _plain(run, condition):
        text = next((m for m in message if isinstance(m, str)), "")
        raise run.error(f"a condition of the exported program is not met: {shown(text, 200)}")


def _no_check(run: Run, *args: Any) -> None:
    return None


_ASSERTIONS: dict[str, Callable[..., Any]] = {
    "_assert_scalar": _assert,
    "_assert_async": _assert,
    "_assert_tensor_metadata": _no_check,
    "sym_constrain_range": _no_check,
    "sym_constrain_range_for_size": _no_check,
    "_functional_assert_async": _assert,
}


def _ite(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


_NUMBERS: dict[str, Callable[..., Any]] = {
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "neg", "pos", "eq", "ne", "lt", "le", "gt",
                     "ge", "and_", "or_", "not_", "getitem")
    },
    "_operator.pow": lambda a, b: a**b if abs(b) < 64 and abs(a) < 1 << 32 else math.inf,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.trunc": math.trunc,
    "builtins.round": round,
    "torch.sym_int": int,
    "torch.sym_float": float,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_not": operator.not_,
    "torch.sym_ite": _ite,
    "torch._sym_sqrt": math.sqrt,
    "torch.sym_sqrt": math.sqrt,
}  # fmt: skip


def _wrapped(run: Run, args: Sequence[Any]) -> Any:
    """``wrap_with_set_grad_enabled(flag, graph, *args)`` and its like: the graph is all that counts."""
    at = next(i for i, a in enumerate(args) if isinstance(a, _Graph))
    return tuple(args[at](run, args[at + 1 :]))


def _cond(run: Run, args: Sequence[Any]) -> Any:
    condition, then, other, operands = args
    return tuple((then if _plain(run, condition) else other)(run, operands))


def _while(run: Run, args: Sequence[Any]) -> Any:
    condition, body, carried, *more = args
    carried, extra = list(carried), list(more[0]) if more else []
    for _ in range(_MOST_TURNS):
        if not _plain(run, condition(run, [*carried, *extra])[0]):
            return tuple(carried)
        carried = body(run, [*carried, *extra])
    raise run.error(f"it has not ended after {_MOST_TURNS} turns")


def _scan(run: Run, args: Sequence[Any]) -> Any:
    body, init, xs, *more = args
    extra = list(next((m for m in more if isinstance(m, list | tuple)), []))

    def step(states: Sequence[Tensor], slices: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        made = [run.tensor(v) for v in body(run, [*map(Var, states), *map(Var, slices), *extra])]
        return made[: len(states)], made[len(states) :]

    n = len(xs)
    states, stacked = run.machine.scan(step, [run.tensor(v) for v in init], [run.tensor(x) for x in xs], [0] * n,
                                       [False] * n)  # fmt: skip
    return tuple(map(Var, (*states, *stacked)))


_HIGHER: dict[str, Callable[[Run, Sequence[Any]], Any]] = {
    "wrap_with_set_grad_enabled": _wrapped,
    "wrap_with_autocast": _wrapped,
    "invoke_subgraph": _wrapped,
    "hints_wrapper": _wrapped,
    "cond": _cond,
    "while_loop": _while,
    "scan": _scan,
}
