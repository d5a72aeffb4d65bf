"""Live PyTorch modules to graphs: example in, graph out, checked against the module."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from lstm_rt.errors import ConvertError, GraphError
from lstm_rt.graph import Graph

from ..arch.layers import add_stack
from ..judges.compare import CHECK_TOLERANCE
from ..program.tidy import tidy
from ..weights.tensors import noting_not_finite
from .checks import CellChecks, Checks
from .example import Args, as_tensors, leaves, named_tensors, read_example, replace, smaller
from .modules import (
    BATCHNORM,
    CELLS,
    IGNORED,
    RECURRENT,
    SHORT_FLOATS,
    class_name,
    own_weights,
    recurrent_activations,
)
from .run import Results, Runner, argument_names, brief, check_dtypes, make_inputs, paths, tensors_of
from .source import by_operations, output_names
from .state import undisturbed
from .symbols import (
    Dims,
    ForwardError,
    Input,
    Lengths,
    States,
    StrangeState,
    WrongAxes,
    WrongLayout,
    WrongSizes,
    order_of,
)
from .trace import Recorder

#: Dimensions that an output may have, ones aside: N and T in any order or joined, F last or dropped.
_OUTPUTS = frozenset({"N F", "N", "N T F", "N T", "T N F", "T N", "NT F", "TN F", "NT", "TN"})


def from_module(module: Any, example: Any = None) -> Graph:
    """The graph of a live module; see :func:`lstm_rt_tools.from_torch`."""
    import torch

    module = _unwrap(module)
    _refuse(torch, module)
    notes = list(_training_notes(module))
    with undisturbed(torch), noting_not_finite(notes):
        module = _in_float32(torch, module, notes)
        runner = Runner(torch, module)
        try:
            if class_name(module) in CELLS:
                graph = _convert_cell(runner)
            else:
                graph = _Conversion(runner, read_example(torch, module, example), notes).convert()
        finally:
            runner.restore()
    graph.meta["source"] |= _source(torch, module)
    if notes:
        graph.meta["notes"] = notes
    for note in notes:
        warnings.warn(f"from_torch: {note}", stacklevel=3)
    return graph


# -- what can be converted -----------------------------------------------------------------------


def _unwrap(module: Any) -> Any:
    for _ in range(8):
        cls = class_name(module)
        if cls.endswith(".OptimizedModule"):
            module = module._orig_mod
        elif cls.endswith((".DataParallel", ".DistributedDataParallel")):
            module = module.module
        else:
            break
    return module


def _refuse(torch: Any, module: Any) -> None:
    """Name what cannot be converted whatever its forward does, before anything runs."""
    for name, child in module.named_modules():
        cls, what = class_name(child), f"module.{name}" if name else "the module"
        if cls.startswith("torch.jit."):
            raise ConvertError(f"{what} is a TorchScript module, which cannot be watched; give the original module")
        if cls.startswith(("torch.ao.", "torch.nn.quantized.", "torch.nn.intrinsic.", "torch.nn.qat.")):
            raise ConvertError(f"{what} is quantised ({cls}); give the float module that it was made from")
        if isinstance(child, torch.fx.GraphModule) and any(
            isinstance(node.target, torch._ops.OpOverload) for node in child.graph.nodes
        ):
            raise ConvertError(f"{what} is an exported program; give the module that it was exported from")
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if torch.nn.parameter.is_lazy(tensor):
            raise ConvertError(f"{name} has no shape yet: the layer is lazy; run the module once, then convert it")
        if tensor.is_meta:
            raise ConvertError(f"{name} is on the meta device: it has a shape, but no numbers; load the weights first")
        ordinary = (torch.Tensor, torch.nn.Parameter, getattr(torch.nn, "Buffer", torch.nn.Parameter))
        if tensor.is_quantized or type(tensor) not in ordinary:
            kind = str(tensor.dtype) if tensor.is_quantized else type(tensor).__name__
            raise ConvertError(f"{name} is a {kind} tensor; expected an ordinary one of floats")


def _training_notes(module: Any) -> Iterator[str]:
    """A module in training mode is a frequent slip where that makes a difference."""
    if module.training:
        rates = [m.p for m in module.modules() if class_name(m) in IGNORED and hasattr(m, "p")]
        rates += [m.dropout for m in module.modules() if class_name(m) in RECURRENT]
        if any(rates) or any(class_name(m) == BATCHNORM for m in module.modules()):
            yield (
                "the module is in training mode; it is converted as it is in eval mode, "
                "without dropout and with the running statistics of batch normalisation"
            )


def _in_float32(torch: Any, module: Any, notes: list[str]) -> Any:
    """The module, or a float32 copy of it if its weights are float16 or bfloat16."""
    weights = (*module.parameters(), *module.buffers())
    short = sorted({str(t.dtype).removeprefix("torch.") for t in weights} & set(SHORT_FLOATS))
    if not short:
        return module
    what = f"the weights are {' and '.join(short)}"
    try:
        made = copy.deepcopy(module).float()
    except Exception as e:  # whatever is in the way of a copy of the user's class
        raise ConvertError(
            f"{what}, and the module cannot be copied to run in float32 ({brief(e)}); convert module.float()"
        ) from e
    notes.append(f"{what}; a float32 copy of the module was converted, with the same numbers as weights")
    return made


def _source(torch: Any, module: Any) -> dict[str, Any]:
    return {
        "framework": "pytorch",
        "version": str(torch.__version__),
        "module": f"{type(module).__module__}.{type(module).__qualname__}",
    }


class _Conversion:
    """One module and one example; tries the readings of the example's dimensions in turn."""

    def __init__(self, runner: Runner, example: Args, notes: list[str]) -> None:
        self.runner, self.torch, self.notes = runner, runner.torch, notes
        self.example = example
        self.parameters = {name for name, _ in runner.module.named_parameters()}
        self.constant_states = False  #: are initial states other than zero constants?
        dtypes = {p.dtype: p for p in runner.module.parameters() if p.is_floating_point()}
        self.like = next(iter(dtypes.values())) if len(dtypes) == 1 else None
        self.argument_names = argument_names(runner.module, len(example))

    def convert(self) -> Graph:
        """By the forward's layers and functions; where these are not all known, by its operations of ATen's."""
        self.ran: tuple[Args, Results] | None = None
        try:
            return self._by_functions()
        except ForwardError as e:
            if self.ran is None:
                raise
            try:
                return by_operations(self.runner, self.ran[0], self.argument_names, self.ran[1], self.notes)
            except ConvertError as other:
                raise type(e)(f"{e}; operation by operation, {other}", e.what) from e

    def _by_functions(self) -> Graph:
        wrong: WrongSizes | None = None
        for args, results in self._that_run():
            self.args = args
            try:
                return self._convert(results)
            except WrongSizes as e:
                wrong = wrong or e
        raise wrong or ConvertError("the module cannot be converted")

    def _same_again(self, results: Results) -> bool:
        """Whether the module, put back as it was, gives for the example what it gave at first."""
        again = self.runner.results(self.args)
        return list(again) == list(results) and all(
            a.shape == b.shape and bool(self.torch.allclose(a, b, CHECK_TOLERANCE, CHECK_TOLERANCE, equal_nan=True))
            for a, b in zip(again.values(), results.values(), strict=True)
        )

    def _convert(self, results: Results) -> Graph:
        try:
            return self._read(results)
        except StrangeState as e:
            if self._same_again(results):
                self.constant_states = True
                return self._read(results)
            raise ConvertError(
                "the module's outputs for one input differ from call to call: an initial state is random, or it "
                "is carried on outside of the module, such as in a global or a closure; keep it in an attribute "
                f"of the module, or take it as an argument ({e})"
            ) from e

    def _read(self, results: Results) -> Graph:
        first: ConvertError | None = None
        time_major, share = False, False
        for _ in range(4):
            try:
                return self._attempt(results, time_major, share)
            except WrongLayout as e:
                if time_major:
                    raise first or e from None
                first, time_major = first or e, True
            except WrongAxes as e:
                if share:
                    raise
                first, share = first or e, True
        raise first or ConvertError("the module cannot be converted")

    def _that_run(self) -> Iterator[tuple[Args, Results]]:
        """The example, cut down and then less so, where the module runs on it, and what it gives."""
        failure: Exception | None = None
        some = False
        for cut in smaller(self.example):
            args = as_tensors(self.torch, cut, self.like)
            check_dtypes(list(named_tensors(self.argument_names, args)))
            try:
                results = self.runner.results(args)
            except Exception as e:  # whatever the user's forward may raise
                failure = e
                continue
            some = True
            self.ran = self.ran or (args, results)
            self._inputs(args, time_major=False)
            yield args, results
        if not some:
            assert failure is not None
            raise ConvertError(
                f"the module's forward fails on the example: {brief(failure)}{self.runner.where(failure)}"
            ) from failure

    def _inputs(self, args: Args, time_major: bool) -> list[Input]:
        return make_inputs(list(named_tensors(self.argument_names, args)), time_major)

    def _attempt(self, results: Results, time_major: bool, share: bool) -> Graph:
        self.recorder, recorded = self._record(list(leaves(self.args)), time_major, share)
        inputs = self.recorder.inputs
        graph = self.recorder.graph
        self.outputs = self._collect(recorded)
        unused = [i.name for i in inputs if i.value is None and i.kind != "state"]
        if unused:
            raise ConvertError(f"the module's forward does not use its input {', '.join(map(repr, unused))}")
        by_value = {i.value: i.index for i in inputs}
        graph.inputs.sort(key=lambda v: by_value[v])
        graph.check()
        tidy(graph)

        def record(tensors: Sequence[Any]) -> Recorder:
            return self._record(tensors, time_major, share)[0]

        checks = Checks(self.runner, self.recorder, self.args, self.outputs, record)
        checks.deterministic(results, tensors_of(recorded))
        checks.on_example(results)
        checks.other_sizes(self.example)
        checks.second_call()
        graph.meta["source"] = {}
        checks.make_selftest()
        self.notes += self._state_notes() + checks.notes
        return graph

    def _state_notes(self) -> list[str]:
        """Inputs of the module that are none of the converted model."""
        names = [repr(i.name) for i in self.recorder.inputs if i.kind == "state"]
        if not names:
            return []
        return [
            f"the initial states {', '.join(names)} are no inputs of the converted model: it takes them as state=..., "
            "and keeps them in a stream"
        ]

    def _record(self, tensors: Sequence[Any], time_major: bool, share: bool) -> tuple[Recorder, Any]:
        """Run the module on copies of ``tensors``; returns what was noted, and the module's result."""
        args = replace(self.args, (t.clone() for t in tensors))
        inputs = self._inputs(args, time_major)
        recorder = Recorder(self.torch, inputs, share, self.runner.names, self._attribute_of)
        recorder.constant_states = self.constant_states
        try:
            return recorder, self.runner.run(args, recorder)
        except ConvertError as e:
            kind, what = (type(e), e.what) if isinstance(e, ForwardError) else (ForwardError, "")
            raise kind(f"{e}{self.runner.where(e)}", what) from None
        except Exception as e:
            raise ForwardError(
                f"the module's forward fails while its operations are noted: {brief(e)}{self.runner.where(e)}"
            ) from e

    def _attribute_of(self, tensor: Any) -> str | None:
        name = self.runner.snapshot.name_of(tensor)
        return None if name in self.parameters else name

    # -- outputs --------------------------------------------------------------------------------

    def _collect(self, result: Any) -> list[tuple[tuple[Any, ...], Dims]]:
        """Name the graph's outputs; returns where each lies in the module's result, and its dims."""
        found = list(tensors_of(result).items())
        if not found:
            raise ConvertError(
                f"the module returns a {type(result).__name__} without float tensors that can be found in it; "
                "expected tensors, or tuples, lists and dicts of them"
            )
        self._note_left_out(result)
        names = output_names(self.runner.module, [path for path, _ in found])
        return [(path, self._output(tensor, name)) for (path, tensor), name in zip(found, names, strict=True)]

    def _note_left_out(self, result: Any) -> None:
        left = ["_".join(["output", *map(str, p)]) for p, t in paths(result) if not t.is_floating_point()]
        note = f"left out of the graph, as they hold no floats: {', '.join(left)}"
        if left and note not in self.notes:
            self.notes.append(note)

    def _output(self, tensor: Any, name: str) -> Dims:
        self.recorder.check_unchanged(f"{name} of the module", tensor)
        sym = self.recorder.maybe_sym(tensor)
        if sym is None or isinstance(sym, Lengths):
            raise ConvertError(
                f"{name} of the module does not depend on its features, or only through code that cannot be "
                "watched, such as TorchScript or NumPy"
            )
        groups = 0
        if isinstance(sym, States) and sym.dims == ("L", "N", "F"):
            groups = sym.rows.size
            feat = self.recorder.join([tuple(r) for r in sym.rows], sym.dims)
        else:
            feat = self.recorder.feat(sym, f"returning {name}")
        if not groups and " ".join(d for d in feat.dims if d != "1") not in _OUTPUTS:
            raise ForwardError(
                f"{name} has dimensions ({', '.join(feat.dims)}); expected (N, T, F), (T, N, F) or (N, F)"
            )
        value = self.recorder.value(feat)
        if value in self.recorder.graph.outputs:
            value = self.recorder.graph.activation(value, "linear")
        try:
            self.recorder.graph.output(value, name, order_of(feat.dims), groups)
        except GraphError as e:
            raise ForwardError(str(e)) from None
        return feat.dims


def _convert_cell(runner: Runner) -> Graph:
    """A single LSTMCell, GRUCell or RNNCell: a layer over a sequence, one step per call."""
    graph, module = Graph(), runner.module
    op, what = CELLS[class_name(module)], type(module).__name__
    x = graph.input("x", "seq", int(module.input_size))
    acts = recurrent_activations(op, lambda k: getattr(module, k, None), what)
    stack = add_stack(graph, op, x, own_weights(module, what), "", activations=acts)
    graph.output(stack.seq, "output")
    graph.meta["source"] = {}
    CellChecks(runner, graph).make_selftest()
    return graph
