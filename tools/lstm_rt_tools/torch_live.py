"""Live PyTorch modules to graphs: example in, graph out, checked against the module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError, GraphError
from lstm_rt.graph import Graph, SelfTest

from . import reference
from .tidy import tidy
from .torch_layers import add_stack
from .torch_modules import CELLS, EMBEDDING, RECURRENT, recurrent_activations
from .torch_run import argument_names, eval_mode, make_inputs, record
from .torch_symbols import Dims, Input, Lengths, States
from .torch_trace import Recorder, WrongAxes, WrongLayout, class_name, own_weights

#: How far the graph in float64 may be from the module in float32, relative to the largest output.
CHECK_TOLERANCE = 5e-5
_CANONICAL = ("N", "T", "F")
#: Dimensions that an output may have, ones aside: N and T in any order or joined, F last or dropped.
_OUTPUTS = frozenset({"N F", "N", "N T F", "N T", "T N F", "T N", "NT F", "TN F", "NT", "TN"})


def from_module(module: Any, example: Any = None) -> Graph:
    """The graph of a live module; see :func:`lstm_rt_tools.from_torch.from_torch`."""
    import torch

    module = _unwrap(module)
    if class_name(module) in CELLS:
        return _Cell(torch, module, example).convert()
    args = _example_args(torch, module, example)
    with eval_mode(module):
        return _Conversion(torch, module, args, keep=example is not None).convert()


def _unwrap(module: Any) -> Any:
    for _ in range(8):
        cls = class_name(module)
        if cls.startswith("torch.jit."):
            raise ConvertError("a TorchScript module is not supported yet; give the original module")
        if cls.endswith(".OptimizedModule"):
            module = module._orig_mod
        elif cls.endswith((".DataParallel", ".DistributedDataParallel")):
            module = module.module
        else:
            break
    return module


def _source(torch: Any, module: Any) -> dict[str, Any]:
    return {"framework": "pytorch", "version": str(torch.__version__), "module": class_name(module)}


def _example_args(torch: Any, module: Any, example: Any) -> tuple[Any, ...]:
    if example is None:
        return (_default_example(torch, module),)
    args = tuple(example) if isinstance(example, tuple | list) else (example,)
    return tuple(_to_tensors(torch, a) for a in args)


def _to_tensors(torch: Any, obj: Any) -> Any:
    if isinstance(obj, tuple | list):
        return tuple(_to_tensors(torch, o) for o in obj)
    if isinstance(obj, np.ndarray):
        return torch.from_numpy(np.array(obj))
    if isinstance(obj, torch.Tensor):
        # A copy: one tensor may be given twice, and the forward may change its input in place.
        return obj.detach().clone()
    if obj is None or isinstance(obj, bool | int | float | str):
        return obj
    raise ConvertError(f"the example holds a {type(obj).__name__}; expected tensors or arrays")


def _default_example(torch: Any, module: Any) -> Any:
    """Without an example: random input for the module's first layer, where that tells the shape."""
    generator = torch.Generator().manual_seed(0)
    first = next((m for m in module.modules() if not list(m.children())), module)
    if class_name(module) in RECURRENT or class_name(module).endswith("container.Sequential"):
        if class_name(first) in RECURRENT:
            return torch.randn(3, 5, first.input_size, generator=generator)
        if class_name(first) == EMBEDDING:
            return torch.randint(0, first.num_embeddings, (3, 5), generator=generator)
    raise ConvertError(
        f"an example input is needed to convert a {type(module).__name__}: from_torch(module, example)"
    )


def _named_tensors(names: Sequence[str], args: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for name, arg in zip(names, args, strict=True):
        if isinstance(arg, tuple):
            yield from _named_tensors([f"{name}_{i}" for i in range(len(arg))], arg)
        elif hasattr(arg, "is_floating_point"):
            yield name, arg


def _replace(args: Any, new: Iterator[Any]) -> Any:
    """``args`` with its tensors replaced, in order."""
    if isinstance(args, tuple):
        return tuple(_replace(a, new) for a in args)
    return next(new) if hasattr(args, "is_floating_point") else args


class _Conversion:
    """One module and one example; tries the readings of the example's dimensions in turn."""

    def __init__(self, torch: Any, module: Any, args: tuple[Any, ...], keep: bool) -> None:
        self.torch, self.module, self.args, self.keep = torch, module, args, keep
        self.leaves = list(_named_tensors(argument_names(module, len(args)), args))
        if not self.leaves:
            raise ConvertError("the example holds no tensor")

    def convert(self) -> Graph:
        first: ConvertError | None = None
        time_major, share = False, False
        for _ in range(4):
            try:
                return self._attempt(time_major, share)
            except WrongLayout as e:
                if time_major:
                    raise first or e from None
                first, time_major = first or e, True
            except WrongAxes as e:
                if share:
                    raise
                first, share = first or e, True
        raise first or ConvertError("the module cannot be converted")

    def _attempt(self, time_major: bool, share: bool) -> Graph:
        inputs = make_inputs(self.leaves, time_major)
        self.recorder = Recorder(self.torch, inputs, share)
        result = record(self.torch, self.module, self.args, self.recorder)
        graph = self.recorder.graph
        self.outputs = self._collect(result)
        unused = [i.name for i in inputs if i.value is None and i.kind != "state"]
        if unused:
            raise ConvertError(f"the module's forward does not use its input {', '.join(map(repr, unused))}")
        by_value = {i.value: i.index for i in inputs}
        graph.inputs.sort(key=lambda v: by_value[v])
        graph.check()
        tidy(graph)
        error = self._check(inputs, [i.tensor for i in inputs], result, "on the example")
        self._check_other_sizes(inputs)
        graph.meta["source"] = _source(self.torch, self.module)
        if time_major:
            graph.meta["source"]["layout"] = "time-major; this graph is batch-first"
        if self.keep:
            graph.selftest = self._selftest(inputs, error)
        return graph

    # -- outputs --------------------------------------------------------------------------------

    def _collect(self, result: Any) -> list[tuple[tuple[Any, ...], Dims]]:
        """Name the graph's outputs; returns where each lies in the module's result, and its dims."""
        found = list(_paths(result, ()))
        kept = [(path, t) for path, t in found if not self._is_state(t)]
        if not kept:
            raise ConvertError(
                "the module returns only the states of a recurrent layer; return h[-1], or join them per row"
            )
        places = []
        for path, tensor in kept:
            name = "output" if len(kept) == 1 else "_".join(["output", *map(str, path)])
            places.append((path, self._output(tensor, name)))
        return places

    def _is_state(self, tensor: Any) -> bool:
        sym = self.recorder.maybe_sym(tensor)
        if isinstance(sym, States) and not sym.complete:
            raise ConvertError(
                "the module returns some states of a recurrent layer; return h[-1] or join them per row"
            )
        return isinstance(sym, States)

    def _output(self, tensor: Any, name: str) -> Dims:
        sym = self.recorder.maybe_sym(tensor)
        if sym is None or isinstance(sym, Lengths):
            raise ConvertError(f"{name} of the module does not depend on its features")
        feat = self.recorder.feat(sym, f"returning {name}")
        if " ".join(d for d in feat.dims if d != "1") not in _OUTPUTS:
            raise ConvertError(
                f"{name} has dimensions ({', '.join(feat.dims)}); expected (N, T, F) or (N, F)"
            )
        value = self.recorder.value(feat)
        if value in self.recorder.graph.outputs:
            value = self.recorder.graph.activation(value, "linear")
        try:
            self.recorder.graph.output(value, name)
        except GraphError as e:
            raise ConvertError(str(e)) from None
        return feat.dims

    # -- checking -------------------------------------------------------------------------------

    def _check(self, inputs: Sequence[Input], tensors: Sequence[Any], result: Any, where: str) -> float:
        """Compare the graph with the module's ``result``; returns the largest difference."""
        feeds = [_canonical(t, i.dims) for i, t in zip(inputs, tensors, strict=True) if i.kind != "state"]
        states = {i.index: t for i, t in zip(inputs, tensors, strict=True) if i.kind == "state"}
        got = reference.run(self.recorder.graph, feeds, state=self._reference_state(states, feeds))
        worst = 0.0
        for (path, dims), name, mine in zip(self.outputs, self._names(), got, strict=True):
            theirs = _canonical_output(_at(result, path), dims, mine.shape)
            scale = max(1.0, float(np.max(np.abs(theirs), initial=0.0)))
            difference = float(np.max(np.abs(mine - theirs), initial=0.0))
            worst = max(worst, difference)
            if not difference <= CHECK_TOLERANCE * scale:
                raise ConvertError(
                    f"{where}, {name} of the converted graph differs from the module's by {difference:.3g}: "
                    "the forward does something that the conversion does not follow (such as changes in "
                    "place, choices that depend on the data, or a fixed number of steps)"
                )
        return worst

    def _names(self) -> list[str]:
        graph = self.recorder.graph
        return [graph.values[o].name for o in graph.outputs]

    def _reference_state(self, tensors: dict[int, Any], feeds: list[NDArray[Any]]) -> list[Any] | None:
        if not tensors:
            return None
        graph, n = self.recorder.graph, feeds[0].shape[0]
        given: dict[tuple[int, str], NDArray[Any]] = {}
        for use in self.recorder.state_uses:
            state = tensors[use.source.index].detach().cpu().double().numpy()
            for k, node in enumerate(use.nodes):
                given[id(node), use.letter] = state[k * use.directions : (k + 1) * use.directions]
        out: list[Any] = []
        for node in graph.nodes:
            if node.op in ("lstm", "gru", "rnn") and node.inputs[1] is None:
                d = 2 if node.attrs["direction"] == "bidirectional" else 1
                h_size = node.attrs["proj_size"] or node.attrs["hidden_size"]
                h = given.get((id(node), "h"), np.zeros((d, n, h_size)))
                c = given.get((id(node), "c"), np.zeros((d, n, node.attrs["hidden_size"])))
                out.append((h, c) if node.op == "lstm" else h)
        return out

    def _check_other_sizes(self, inputs: Sequence[Input]) -> None:
        """N and T are free in a graph: what the example froze must not pass unseen."""
        rng = np.random.default_rng(0)
        tensors = [_varied(self.torch, rng, i) for i in inputs]
        try:
            with self.torch.no_grad():
                result = self.module(*_replace(self.args, iter(tensors)))
        except Exception as e:  # whatever the user's forward may raise
            self.recorder.graph.meta["checked"] = (
                f"on the example only; with other sizes the module says: {e}"[:300]
            )
            return
        self._check(inputs, tensors, result, "with another batch size and number of steps")

    def _selftest(self, inputs: Sequence[Input], error: float) -> SelfTest:
        """The example with zero states, and what the module gives for it."""
        tensors = [i.tensor * 0 if i.kind == "state" else i.tensor for i in inputs]
        with self.torch.no_grad():
            result = self.module(*_replace(self.args, iter(tensors)))
        feeds = [_canonical(i.tensor, i.dims) for i in inputs if i.kind != "state"]
        kinds = [self.recorder.graph.values[v].kind for v in self.recorder.graph.inputs]
        feeds = [
            f.astype(np.float32 if k in ("seq", "vec") else np.int32)
            for f, k in zip(feeds, kinds, strict=True)
        ]
        outs = []
        for (path, dims), value in zip(self.outputs, self.recorder.graph.outputs, strict=True):
            v = self.recorder.graph.values[value]
            steps = self.recorder.steps_of(v.axis)
            shape = (feeds[0].shape[0], *((steps,) if v.kind == "seq" else ()), v.size)
            outs.append(_canonical_output(_at(result, path), dims, shape).astype(np.float32))
        return SelfTest(feeds, outs, atol=max(1e-5, 4 * error))


def _paths(result: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(result, dict):
        for key, item in result.items():
            yield from _paths(item, (*path, key))
    elif isinstance(result, tuple | list):
        for i, item in enumerate(result):
            yield from _paths(item, (*path, i))
    elif hasattr(result, "is_floating_point") and result.is_floating_point():
        yield path, result


def _at(result: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        result = result[key]
    return result


def _canonical(tensor: Any, dims: Dims) -> NDArray[Any]:
    """A tensor as (N, T, F), (N, F), (N, T) or (N,): rows first, then time, then features."""
    array = tensor.detach().cpu()
    array = array.double().numpy() if array.is_floating_point() else array.numpy()
    array = array.reshape([n for n, d in zip(array.shape, dims, strict=True) if d != "1"])
    named = [d for d in dims if d != "1"]
    order = [named.index(d) for d in _CANONICAL if d in named]
    return np.ascontiguousarray(array.transpose(order))


def _canonical_output(tensor: Any, dims: Dims, shape: tuple[int, ...]) -> NDArray[Any]:
    """A tensor with ``dims`` as the graph gives it, in ``shape``: merged N and T are taken apart."""
    sizes = dict(zip("NTF" if len(shape) == 3 else "NF", shape, strict=True))
    labels = [c for d in dims for c in d]
    split = tensor.reshape([sizes[c] if c != "1" else 1 for c in labels])
    return _canonical(split, tuple(labels)).reshape(shape)


def _varied(torch: Any, rng: np.random.Generator, item: Input) -> Any:
    """Random data like ``item``'s, with one more row and three more steps."""
    more = {"N": 1, "T": 3}
    dims = ("L", "N", "F") if item.kind == "state" else item.dims
    shape = [n + more.get(d, 0) for n, d in zip(item.tensor.shape, dims, strict=True)]
    old = item.tensor.detach().cpu().numpy()
    if item.kind == "lengths":
        # The longest row keeps its distance to the number of steps, the others vary; sorted for packing.
        top = int(old.max()) + more["T"]
        new = np.sort(np.concatenate([[top], rng.integers(1, top + 1, shape[0] - 1)]))[::-1].copy()
    elif item.kind == "ids":
        new = rng.choice(old.ravel(), shape)
    else:
        new = rng.normal(float(old.mean()), float(old.std()) or 1.0, shape)
    return torch.from_numpy(np.asarray(new)).to(dtype=item.tensor.dtype, device=item.tensor.device)


class _Cell:
    """A single LSTMCell, GRUCell or RNNCell: a layer over a sequence, one step per call."""

    def __init__(self, torch: Any, module: Any, example: Any) -> None:
        self.torch, self.module = torch, module
        self.example = example
        self.op = CELLS[class_name(module)]

    def convert(self) -> Graph:
        graph = Graph()
        x = graph.input("x", "seq", int(self.module.input_size))
        what = type(self.module).__name__
        acts = recurrent_activations(self.op, lambda k: getattr(self.module, k, None), what)
        stack = add_stack(graph, self.op, x, own_weights(self.module, what), "", activations=acts)
        graph.output(stack.seq, "output")
        graph.meta["source"] = _source(self.torch, self.module)
        self._check(graph)
        return graph

    def _check(self, graph: Graph) -> None:
        """Step the cell over a sequence and compare."""
        generator = self.torch.Generator().manual_seed(0)
        x = self.torch.randn(3, 4, self.module.input_size, generator=generator).to(self.module.weight_ih)
        state, steps = None, []
        with self.torch.no_grad():
            for t in range(x.shape[1]):
                state = self.module(x[:, t], state)
                steps.append(state[0] if isinstance(state, tuple) else state)
        theirs = self.torch.stack(steps, 1).cpu().float().numpy()
        feed = x.cpu().float().numpy()
        (mine,) = reference.run(graph, [feed])
        error = float(np.max(np.abs(mine - theirs)))
        if not error <= CHECK_TOLERANCE:
            raise ConvertError(
                f"the converted {type(self.module).__name__} differs from the module by {error:.3g}"
            )
        if self.example is not None:
            graph.selftest = SelfTest([feed], [theirs], atol=max(1e-5, 4 * error))
