"""Runs a graph with PyTorch's own layers: a second opinion that shares no code with the runtime.

A PyTorch state dict cannot be run without the Python code of its module. What can be checked is
whether the runtime computes what ``torch.nn`` computes for the layers and weights of the graph
that the reader made of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt._window import Window
from lstm_rt.errors import ConvertError
from lstm_rt.graph import Activation, Graph, Node

from .reference import ids_read
from .reference_windows import window_of
from .testdata import ROWS, STEPS, make_inputs

Tensor: TypeAlias = Any  # torch is imported only when asked for, so its types are not named here

_CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
_NAMES = {
    "w_ih": "weight_ih_l0",
    "w_hh": "weight_hh_l0",
    "b_ih": "bias_ih_l0",
    "b_hh": "bias_hh_l0",
    "w_hr": "weight_hr_l0",
}


def replay(graph: Graph, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float64]]:
    """The outputs of ``graph`` computed by torch in double precision, from zero states.

    Raises:
        ConvertError: torch has no layer that does what a node asks for.
        ImportError: torch is not installed.
    """
    torch = importlib.import_module("torch")
    job = _Replay(graph, torch)
    with torch.no_grad():
        return job.run(inputs)


def second_reading(
    path: Path, own: Graph, graph: Graph
) -> tuple[str, list[NDArray[Any]], list[NDArray[np.float64]]]:
    """A source that was read again, so that a model made from other weights or options is found out.

    Args:
        path: of the source.
        own: the graph of the second reading, which is run.
        graph: of the model that is compared with it.

    Returns:
        What ran, in words, the inputs that were made up, and the outputs.

    Raises:
        ConvertError: the source gives other inputs and outputs than the model has, or torch has no such layer.
        ImportError: torch is not installed.
    """
    torch = importlib.import_module("torch")
    if _signature(own) != _signature(graph):
        raise ConvertError(f"{path} gives {_signature(own)}, the model has {_signature(graph)}")
    inputs = make_inputs(own, ROWS, STEPS, seed=1, full_lengths=False)
    what = f"torch {torch.__version__}: {path.name} read again and run layer by layer with torch.nn in float64"
    return what, inputs, replay(own, inputs)


def _signature(graph: Graph) -> list[tuple[str, str, int]]:
    values = [graph.values[i] for i in (*graph.inputs, *graph.outputs)]
    return [(v.name, v.kind, v.size) for v in values]


class _Replay:
    def __init__(self, graph: Graph, torch: Any) -> None:
        self.graph, self.torch = graph, torch
        self.values: dict[int, Tensor] = {}
        self.lengths: dict[int, Tensor] = {}
        self.steps: dict[int, int] = {}  #: of each time axis

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float64]]:
        for index, array in zip(self.graph.inputs, inputs, strict=True):
            v = self.graph.values[index]
            array = v.to_batch_first(array)
            if v.kind == "lengths":
                self.lengths[v.axis] = self.torch.from_numpy(array.astype(np.int64))
            else:
                dtype = np.float64 if v.kind in ("seq", "vec") else np.int64
                self.values[index] = self.torch.from_numpy(array.astype(dtype))
            if v.timed:
                self.steps[v.axis] = array.shape[1]
        self._derive_axes()
        for node in self.graph.nodes:
            self._node(node)
        return [self.graph.values[o].from_batch_first(self.values[o].numpy()) for o in self.graph.outputs]

    def _derive_axes(self) -> None:
        self.graph.complete_steps(self.steps)
        lengths = {axis: n.numpy() for axis, n in self.lengths.items()}
        self.graph.complete_lengths(lengths)
        self.lengths = {axis: self.torch.from_numpy(n) for axis, n in lengths.items()}

    def _node(self, node: Node) -> None:
        if node.op in _CELLS:
            self._recurrent(node)
            return
        if node.op not in _OPS:
            raise ConvertError(f"torch.nn has no layer for the op {node.op}")
        arguments = [self.values[i] for i in node.inputs if i is not None]
        result = _OPS[node.op](self, node, arguments)
        outputs = [o for o in node.outputs if o is not None]
        self.values.update(zip(outputs, result if len(outputs) > 1 else [result], strict=True))

    def weight(self, node: Node, name: str) -> Tensor | None:
        w = node.weights.get(name)
        return None if w is None else self.torch.from_numpy(w.astype(np.float64))

    def embedded(self, node: Node, ids: Tensor) -> Tensor:
        rows = self.torch.nn.functional.embedding(ids_read(self.graph, node, ids), self.weight(node, "table"))
        source = node.inputs[0]
        assert source is not None
        return rows.flatten(-2) if self.graph.values[source].size else rows

    def lengths_of(self, node: Node) -> Tensor | None:
        """Lengths that the node must respect; None when all steps count."""
        source = node.inputs[0]
        assert source is not None
        return self.lengths.get(self.graph.values[source].axis)

    # -- recurrent layers

    def _recurrent(self, node: Node) -> None:
        source, h0, c0, mask = (*node.inputs, None, None, None)[:4]
        assert source is not None
        _refuse_what_torch_lacks(node, mask)
        x = self.values[source]
        if node.attrs["direction"] == "reverse":
            x = self.flip(node, x)
        state = self._state(node, h0, c0, x.shape[0])
        y, final = self._call(self._module(node), x, state, self.lengths_of(node))
        if node.attrs["direction"] == "reverse":
            y = self.flip(node, y)
        finals = final if isinstance(final, tuple) else (final,)
        vectors = [self.torch.cat(list(f), dim=-1) for f in finals]
        for output, value in zip(node.outputs, [y, *vectors], strict=False):
            if output is not None:
                self.values[output] = value

    def _module(self, node: Node) -> Any:
        a = node.attrs
        options: dict[str, Any] = {"batch_first": True, "bidirectional": a["direction"] == "bidirectional"}
        if node.op == "rnn":
            options["nonlinearity"] = a["activations"][0].name
        if a["proj_size"]:
            options["proj_size"] = a["proj_size"]
        module = getattr(self.torch.nn, _CELLS[node.op])(a["input_size"], a["hidden_size"], **options).double()
        for parameter in module.parameters():
            parameter.zero_()  # biases that the graph does not have
        own = dict(module.named_parameters())
        for name, w in node.weights.items():
            suffix = "_reverse" if name.endswith("_reverse") else ""
            own[_NAMES[name.removesuffix("_reverse")] + suffix].copy_(self.torch.from_numpy(w.astype(np.float64)))
        return module

    def _state(self, node: Node, h0: int | None, c0: int | None, batch: int) -> Any:
        a = node.attrs
        n_dir = 2 if a["direction"] == "bidirectional" else 1
        h = self._stacked(h0, n_dir, batch, a["proj_size"] or a["hidden_size"])
        return (h, self._stacked(c0, n_dir, batch, a["hidden_size"])) if node.op == "lstm" else h

    def _stacked(self, value: int | None, n_dir: int, batch: int, width: int) -> Tensor:
        if value is None:
            return self.torch.zeros(n_dir, batch, width, dtype=self.torch.float64)
        return self.torch.stack(self.values[value].split(width, dim=1))

    def _call(self, module: Any, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        if lengths is None:
            y, final = module(x, state)
            return y, final
        rnn = self.torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, final = module(packed, state)
        return rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0], final

    # -- steps

    def flip(self, node: Node, x: Tensor) -> Tensor:
        """Each row backwards within its own length, 0 beyond."""
        lengths = self.lengths_of(node)
        if lengths is None:
            return x.flip(1)
        y = self.torch.zeros_like(x)
        for row, n in enumerate(lengths.tolist()):
            y[row, :n] = x[row, :n].flip(0)
        return y

    def select(self, node: Node, x: Tensor) -> Tensor:
        lengths = self.lengths_of(node)
        if node.attrs["index"] == 0 or lengths is None:
            return x[:, node.attrs["index"]]
        return x[self.torch.arange(x.shape[0]), lengths - 1]

    def take(self, node: Node, x: Tensor) -> Tensor:
        return x[:, node.attrs["start"] :: node.attrs["stride"]][:, : self.steps[self._axis(node)]]

    def repeat(self, node: Node, x: Tensor) -> Tensor:
        if x.dim() == 3:
            return x.repeat_interleave(node.attrs["times"], dim=1)
        return x[:, None].expand(-1, self.steps[self._axis(node)], -1)

    # -- along time

    def counting(self, node: Node, number: int = 0) -> Tensor:
        """Which steps of an input count, ``(N, T)``."""
        value = node.inputs[number]
        assert value is not None
        rows, steps = self.values[value].shape[:2]
        counts = self.torch.ones(rows, steps, dtype=self.torch.bool)
        lengths = self.lengths.get(self.graph.values[value].axis)
        if lengths is not None and not node.attrs.get("whole"):
            counts = self.torch.arange(steps) < lengths[:, None]
        return counts

    def reduce(self, node: Node, x: Tensor) -> Tensor:
        kind, counts = node.attrs["kind"], self.counting(node)[..., None]
        nothing = {"max": -self.torch.inf, "min": self.torch.inf, "prod": 1.0}.get(kind, 0.0)
        there = x.masked_fill(~counts, nothing)
        n = counts.sum(1)
        if x.shape[1] == 0:
            return self.torch.zeros(x.shape[0], x.shape[2], dtype=x.dtype)
        join: dict[str, Callable[[], Tensor]] = {
            "sum": lambda: there.sum(1),
            "mean": lambda: there.sum(1) / n.clamp(min=1),
            "max": lambda: there.amax(1),
            "min": lambda: there.amin(1),
            "prod": lambda: there.prod(1),
            "l2": lambda: self.torch.linalg.vector_norm(there, dim=1),
        }
        return join[kind]().masked_fill(n == 0, 0)

    def softmax_steps(self, node: Node, x: Tensor) -> Tensor:
        counts = self.counting(node)[..., None]
        return self.torch.softmax(x.masked_fill(~counts, -self.torch.inf), dim=1).masked_fill(~counts, 0)

    def cumsum(self, node: Node, x: Tensor) -> Tensor:
        return self.torch.cumsum(x.masked_fill(~self.counting(node)[..., None], 0), dim=1)

    def attention(self, node: Node, q: Tensor, k: Tensor, v: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """By scaled_dot_product_attention where it is that, with zeros where nothing counts."""
        a, flat = node.attrs, q.dim() == 2
        groups = a["kv_heads"] or a["heads"]
        q = q[:, None] if flat else q
        q, k, v = (x.unflatten(2, (n, -1)).transpose(1, 2) for x, n in ((q, a["heads"]), (k, groups), (v, groups)))
        k, v = (x.repeat_interleave(a["heads"] // groups, dim=1) for x in (k, v))
        counts = self.counting(node, 1)[:, None, None]
        counts = counts.expand(-1, -1, q.shape[2], -1)
        if a["causal"]:
            counts = counts & self.torch.ones(q.shape[2], k.shape[2], dtype=self.torch.bool).tril()
        none = ~counts.any(-1, keepdim=True)
        if a["kind"] == "dot" and not flat:
            sdpa = self.torch.nn.functional.scaled_dot_product_attention
            y = sdpa(q, k, v, attn_mask=counts | none, scale=a["scale"]).masked_fill(none, 0)
            return y.transpose(1, 2).flatten(2)
        weights = self._fits(node, q, k).masked_fill(~counts, -self.torch.inf).softmax(-1).masked_fill(~counts, 0)
        y = (weights @ v).transpose(1, 2).flatten(2)
        return (y[:, 0], weights[:, :, 0].transpose(1, 2)) if flat else y

    def _fits(self, node: Node, q: Tensor, k: Tensor) -> Tensor:
        if node.attrs["kind"] == "dot":
            return q @ k.transpose(2, 3) * node.attrs["scale"]
        near = self.torch.tanh(q[:, :, :, None] + k[:, :, None])
        weight = self.weight(node, "weight")
        if weight is not None:
            near = near * weight.reshape(q.shape[1], 1, 1, q.shape[3])
        return near.sum(-1) * node.attrs["scale"]
    def pad(self, node: Node, x: Tensor) -> Tensor:
        a, f = node.attrs, self.torch.nn.functional
        n = self.lengths_of(node)
        lengths = [x.shape[1]] * len(x) if n is None else n.tolist()
        y = self.torch.zeros(len(x), x.shape[1] + a["before"] + a["after"], x.shape[2], dtype=x.dtype)
        modes = {"constant": {"value": a["value"]}, "edge": {"mode": "replicate"}, "reflect": {"mode": "reflect"}}
        for row, length in enumerate(lengths):
            if length or a["mode"] == "constant":
                own = f.pad(x[row : row + 1, :length].transpose(1, 2), (a["before"], a["after"]), **modes[a["mode"]])
                y[row, : own.shape[2]] = own[0].T
        return y

    # -- windows

    def _images(self, node: Node, x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """(N, C, T, h, w), and 1 where a step is inside; both padded by 0."""
        steps = x.reshape(len(x), -1, x.shape[-1])
        inside = self.torch.ones_like(steps[..., :1])
        lengths = self.lengths_of(node) if x.dim() == 3 and not node.attrs["whole"] else None
        if lengths is not None:
            inside[self.torch.arange(steps.shape[1]) >= lengths[:, None]] = 0
        h, w = window.size
        images = (steps * inside).reshape(*steps.shape[:2], h, w, -1).permute(0, 4, 1, 2, 3)
        places = inside.reshape(len(x), 1, -1, 1, 1).expand(-1, -1, -1, h, w)
        around = [n for pair in reversed(window.pad) for n in pair]
        return self.torch.nn.functional.pad(images, around), self.torch.nn.functional.pad(places, around)

    def _as_value(self, node: Node, y: Tensor) -> Tensor:
        y = y.permute(0, 2, 3, 4, 1)
        (output,) = (o for o in node.outputs if o is not None)
        return y.reshape(*y.shape[: 1 if self.graph.values[output].kind == "vec" else 2], -1)

    def conv(self, node: Node, x: Tensor) -> Tensor:
        window, weight = window_of(node), self.weight(node, "weight")
        images, _ = self._images(node, x, window)
        options = {"stride": window.stride, "dilation": window.dilation, "groups": node.attrs["groups"]}
        y = self.torch.nn.functional.conv3d(images, weight, self.weight(node, "bias"), **options)
        return self._as_value(node, y)

    def pool(self, node: Node, x: Tensor) -> Tensor:
        window, f = window_of(node), self.torch.nn.functional
        images, places = self._images(node, x, window)
        options = {"stride": window.stride, "dilation": window.dilation}
        counts = f.conv3d(places, self.torch.ones(1, 1, *window.kernel, dtype=x.dtype), **options)
        if node.attrs["kind"] == "max":
            y = f.max_pool3d(images.masked_fill(places == 0, -self.torch.inf), window.kernel, **options)
            return self._as_value(node, y.masked_fill(counts == 0, 0))
        ones = self.torch.ones(images.shape[1], 1, *window.kernel, dtype=x.dtype)
        total = f.conv3d(images, ones, groups=images.shape[1], **options)
        return self._as_value(node, total / (counts.clamp(min=1) if node.attrs["kind"] == "avg" else ones[0].numel()))

    def _axis(self, node: Node) -> int:
        (output,) = (o for o in node.outputs if o is not None)
        return self.graph.values[output].axis

    # -- features

    def activation(self, x: Tensor, a: Activation) -> Tensor:
        f = self.torch.nn.functional
        simple: dict[str, Callable[[Tensor], Tensor]] = {
            "linear": lambda x: x,
            "sigmoid": self.torch.sigmoid,
            "tanh": self.torch.tanh,
            "relu": f.relu,
            "hard_sigmoid": lambda x: (a.alpha * x + a.beta).clamp(0, 1),
            "leaky_relu": lambda x: f.leaky_relu(x, a.alpha),
            "elu": lambda x: f.elu(x, a.alpha),
            "selu": f.selu,
            "softplus": lambda x: f.softplus(x, threshold=40),
            "softsign": f.softsign,
            "swish": f.silu,
            "gelu": f.gelu,
            "gelu_tanh": lambda x: f.gelu(x, approximate="tanh"),
            "softmax": lambda x: f.softmax(x, dim=-1),
            "log_softmax": lambda x: f.log_softmax(x, dim=-1),
            "exp": self.torch.exp,
            "log": self.torch.log,
            "sqrt": self.torch.sqrt,
            "abs": self.torch.abs,
            "square": self.torch.square,
            "reciprocal": self.torch.reciprocal,
            "clip": lambda x: x.clamp(a.alpha, a.beta),
            "hard_swish": f.hardswish,
            "mish": f.mish,
            "erf": self.torch.erf,
            "sin": self.torch.sin,
            "cos": self.torch.cos,
            "sign": self.torch.sign,
            "floor": self.torch.floor,
            "affine": lambda x: a.alpha * x + a.beta,
            "scaled_tanh": lambda x: a.alpha * (a.beta * x).tanh(),
            "thresholded_relu": lambda x: f.threshold(x, a.alpha, 0.0),
            "celu": lambda x: f.celu(x, a.alpha),
            "power": lambda x: x.pow(a.alpha),
        }
        return simple[a.name](x)

    def dense(self, node: Node, x: Tensor) -> Tensor:
        y = self.torch.nn.functional.linear(x, self.weight(node, "weight"), self.weight(node, "bias"))
        return self.activation(y, node.attrs["activation"])

    def layernorm(self, node: Node, x: Tensor) -> Tensor:
        gamma, beta = self.weight(node, "gamma"), self.weight(node, "beta")
        return self.torch.nn.functional.layer_norm(x, x.shape[-1:], gamma, beta, node.attrs["eps"])

    def batchnorm(self, node: Node, x: Tensor) -> Tensor:
        w = [self.weight(node, n) for n in ("mean", "var", "gamma", "beta")]
        flat = x.reshape(-1, x.shape[-1])
        return self.torch.nn.functional.batch_norm(flat, *w, eps=node.attrs["eps"]).reshape(x.shape)

    def constant(self, node: Node) -> Tensor:
        return self.torch.from_numpy(node.weights["value"]).double().expand(len(next(iter(self.values.values()))), -1)

    def prelu(self, node: Node, x: Tensor) -> Tensor:
        alpha = self.weight(node, "alpha")
        return self.torch.nn.functional.prelu(x.reshape(-1, x.shape[-1]), alpha).reshape(x.shape)

    def l2norm(self, node: Node, x: Tensor) -> Tensor:
        parts = x.unflatten(-1, (node.attrs["groups"], -1))
        return self.torch.nn.functional.normalize(parts, dim=-1, eps=node.attrs["eps"]).flatten(-2)

    def groupnorm(self, node: Node, x: Tensor) -> Tensor:
        gamma, beta, flat = self.weight(node, "gamma"), self.weight(node, "beta"), x.reshape(-1, x.shape[-1])
        f = self.torch.group_norm  # the one of nn.functional refuses groups of one feature
        return f(flat, node.attrs["groups"], gamma, beta, node.attrs["eps"]).reshape(x.shape)

    def reduce_last(self, kind: str, x: Tensor) -> Tensor:
        """The last axis to a number."""
        named = {"max": "amax", "min": "amin", "l2": "linalg.vector_norm"}
        f = self.torch
        for part in named.get(kind, kind).split("."):
            f = getattr(f, part)
        return f(x, dim=-1)


_OPS: dict[str, Callable[[_Replay, Node, list[Tensor]], Tensor]] = {
    "embedding": lambda r, n, a: r.embedded(n, a[0]),
    "dense": lambda r, n, a: r.dense(n, a[0]),
    "activation": lambda r, n, a: r.activation(a[0], n.attrs["activation"]),
    "layernorm": lambda r, n, a: r.layernorm(n, a[0]),
    "batchnorm": lambda r, n, a: r.batchnorm(n, a[0]),
    "add": lambda r, n, a: r.torch.add(*_alike(a)),
    "mul": lambda r, n, a: r.torch.mul(*_alike(a)),
    "sub": lambda r, n, a: r.torch.sub(*_alike(a)),
    "div": lambda r, n, a: r.torch.div(*_alike(a)),
    "maximum": lambda r, n, a: r.torch.maximum(*_alike(a)),
    "minimum": lambda r, n, a: r.torch.minimum(*_alike(a)),
    "pow": lambda r, n, a: r.torch.pow(*_alike(a)),
    "average": lambda r, n, a: (a[0] + a[1]) / 2,
    "concat": lambda r, n, a: r.torch.cat(a, dim=-1),
    "slice": lambda r, n, a: a[0].narrow(-1, n.attrs["start"], n.attrs["size"]),
    "select": lambda r, n, a: r.select(n, a[0]),
    "reverse": lambda r, n, a: r.flip(n, a[0]),
    "take": lambda r, n, a: r.take(n, a[0]),
    "repeat": lambda r, n, a: r.repeat(n, a[0]),
    "align": lambda r, n, a: a[0],
    "cut": lambda r, n, a: a[0][:, : r.steps[r._axis(n)]],
    "gather": lambda r, n, a: a[0].index_select(-1, r.torch.from_numpy(n.weights["index"].astype(np.int64))),
    "prelu": lambda r, n, a: r.prelu(n, a[0]),
    "constant": lambda r, n, a: r.constant(n),
    "l2norm": lambda r, n, a: r.l2norm(n, a[0]),
    "groupnorm": lambda r, n, a: r.groupnorm(n, a[0]),
    "reduce_features": lambda r, n, a: r.reduce_last(n.attrs["kind"], a[0].unflatten(-1, (n.attrs["groups"], -1))),
    "reduce": lambda r, n, a: r.reduce(n, a[0]),
    "softmax_steps": lambda r, n, a: r.softmax_steps(n, a[0]),
    "cumsum": lambda r, n, a: r.cumsum(n, a[0]),
    "attention": lambda r, n, a: r.attention(n, *a[:3]),
    "conv": lambda r, n, a: r.conv(n, a[0]),
    "pool": lambda r, n, a: r.pool(n, a[0]),
    "pad": lambda r, n, a: r.pad(n, a[0]),
    "flatten": lambda r, n, a: a[0].flatten(1),
    "unflatten": lambda r, n, a: a[0].reshape(len(a[0]), -1, a[0].shape[-1] // n.attrs["times"]),
}


def _alike(tensors: list[Tensor]) -> list[Tensor]:
    """A vec beside a seq gets an axis for the steps; torch broadcasts the rest."""
    most = max(t.dim() for t in tensors)
    return [t if t.dim() == most else t.unsqueeze(1) for t in tensors]


def _refuse_what_torch_lacks(node: Node, mask: int | None) -> None:
    gates = [a.name for a in node.attrs["activations"]]
    usual = {"lstm": [["sigmoid", "tanh", "tanh"]], "gru": [["sigmoid", "tanh"]], "rnn": [["tanh"], ["relu"]]}
    lacks = {
        "a mask": mask is not None,
        "peepholes": "peephole" in node.weights,
        "clipping": node.attrs["clip"] > 0,
        "reset before the product": not node.attrs.get("reset_after", True),
        f"the activations {' '.join(gates)}": gates not in usual[node.op],
    }
    for what, asked in lacks.items():
        if asked:
            raise ConvertError(f"torch.nn.{_CELLS[node.op]} has no {what}, so torch cannot run this layer")
