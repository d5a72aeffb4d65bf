"""Layers of architecture files against the modules of ``torch.nn`` that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.state_dicts import RNG, array, dense, rec
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges import reference
from lstm_rt_tools.torch_reader.from_torch import from_torch

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

torch: Any = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional


def state_of(**modules: Any) -> dict[str, np.ndarray]:
    """The state dict of modules, their statistics as after training."""
    state: dict[str, np.ndarray] = {}
    for prefix, module in modules.items():
        module.double().eval()
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
        state |= {f"{prefix}.{k}": v.detach().numpy() for k, v in module.state_dict().items()}
    return state


def built(state: dict[str, np.ndarray], layers: list[dict[str, Any]], **arch: Any) -> Graph:
    return from_torch(state, arch={"layer": layers, **arch})


def run(graph: Graph, *inputs: np.ndarray) -> Any:
    """What the runtime gives, which is also what the float64 reference gives."""
    outputs = reference.run(graph, list(inputs))
    got = Model(dumps(graph))(*inputs)
    for mine, exact in zip(got if isinstance(got, tuple) else (got,), outputs, strict=True):
        assert mine.shape == exact.shape
        np.testing.assert_allclose(mine, exact, atol=1e-5, rtol=1e-5)
    return got


def same(got: np.ndarray, wanted: Any) -> None:
    wanted = wanted.detach().numpy()
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(0, 1, shape).astype(np.float32)


def tensor(x: np.ndarray) -> Any:
    return torch.from_numpy(x).double()


CHANNELS_FIRST = ["N", 4, "T"]

# -- windows over time ---------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.integers(1, 4), stride=st.integers(1, 3), dilation=st.integers(1, 3), groups=st.sampled_from([1, 2]),
    padding=st.sampled_from([0, 1, 2, "same", "causal"]), bias=st.booleans(), steps=st.integers(10, 13),
)  # fmt: skip
def test_conv1d(
    kernel: int, stride: int, dilation: int, groups: int, padding: Any, bias: bool, steps: int
) -> None:
    stride = 1 if padding == "same" else stride
    module = nn.Conv1d(4, 6, kernel, stride, 0 if padding == "causal" else padding, dilation, groups, bias)
    options = {"causal": True} if padding == "causal" else {"padding": padding}
    layer = {"op": "conv", "weights": "c", "stride": stride, "dilation": dilation, "groups": groups, **options}
    graph = built(
        state_of(c=module), [{**layer, "name": "y"}],
        input=[{"name": "x", "dims": CHANNELS_FIRST}], output=[{"name": "y", "dims": ["N", 6, "T"]}],
    )  # fmt: skip
    x = normal(2, 4, steps)
    before = dilation * (kernel - 1) if padding == "causal" else 0
    same(run(graph, x), module(functional.pad(tensor(x), (before, 0))))


@settings(max_examples=30, deadline=None)
@given(
    kernel=st.integers(1, 4), stride=st.integers(0, 3), padding=st.integers(0, 2),
    kind=st.sampled_from(["max", "avg", "avg_pad"]), steps=st.integers(9, 12),
)  # fmt: skip
def test_pool1d(kernel: int, stride: int, padding: int, kind: str, steps: int) -> None:
    padding = min(padding, kernel // 2)
    args = (kernel, stride or None, padding)
    module = nn.MaxPool1d(*args) if kind == "max" else nn.AvgPool1d(*args, count_include_pad=kind == "avg_pad")
    layer = {"op": "pool", "kind": kind, "kernel": kernel, "padding": padding, **({"stride": stride} if stride else {})}
    graph = built(
        rec("r", 4, 4), [{**layer, "name": "y"}, {"op": "lstm", "weights": "r"}],
        input=[{"name": "x", "size": 4}], output=[{"name": "y"}],
    )  # fmt: skip
    x = normal(2, steps, 4)
    same(run(graph, x), module(tensor(x).mT).mT)


# -- images, of which one dimension is time --------------------------------------------------------


class Reads(nn.Module):  # type: ignore[misc, name-defined]
    """A network that reads a line of text, or hears a spectrogram: convolutions, then what is recurrent."""

    def __init__(self, time: str, height: int) -> None:
        super().__init__()
        self.time = time
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.PReLU(6)
        self.rnn = nn.GRU(6 * self.places(height), 5, batch_first=True)

    def places(self, height: int) -> int:
        return height // 2 - 1 if self.time == "height" else (height // 2 + 1) // 2

    def forward(self, x: Any) -> Any:
        x = functional.max_pool2d(torch.relu(self.conv1(x)), (1, 2) if self.time == "height" else (2, 1))
        x = self.act(self.norm(self.conv2(x)))
        x = x.permute(0, 3, 1, 2) if self.time == "width" else x.transpose(1, 2)
        return self.rnn(x.flatten(2))[0]


@pytest.mark.parametrize("time", ["width", "height"])
def test_convolutions_before_a_recurrent_layer(time: str) -> None:
    height, steps = 10, 14
    module = Reads(time, height)
    state = {k.removeprefix("m."): v for k, v in state_of(m=module).items()}
    kernel = [1, 2] if time == "height" else [2, 1]
    layers = [
        {"op": "conv", "weights": "conv1", "time": time, "size": [height, 1], "padding": 1},
        {"op": "relu"},
        {"op": "pool", "kind": "max", "kernel": kernel, "time": time},
        {"op": "conv", "weights": "conv2", "time": time, "stride": [2, 1], "padding": [1, 0], "groups": 2},
        {"op": "batchnorm", "weights": "norm"},
        {"op": "prelu", "weights": "act"},
        {"op": "channels_first"},
        {"op": "gru", "weights": "rnn"},
    ]
    dims = ["N", 1, "T", height] if time == "height" else ["N", 1, height, "T"]
    graph = built(state, layers, input=[{"name": "x", "dims": dims}])
    shape = (2, 1, steps, height) if time == "height" else (2, 1, height, steps)
    x = normal(*shape)
    same(run(graph, x), module(tensor(x)))


def test_a_picture_at_every_step_and_causal_padding() -> None:
    still, moving = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(1, 3, (3, 3))
    layers = [
        {"op": "conv", "weights": "still", "time": "none", "size": [4, 5], "padding": "same",
         "name": "a", "input": "x"},
        {"op": "conv", "weights": "moving", "time": "height", "size": [20, 1], "causal": True, "padding": [0, 1],
         "name": "b", "input": "x"},
        {"op": "channels_first", "input": "a", "size": [4, 5], "name": "c"},
    ]  # fmt: skip
    graph = built(
        state_of(still=still, moving=moving), layers,
        input=[{"name": "x", "size": 20}], output=[{"name": "c"}, {"name": "b"}],
    )  # fmt: skip
    x = normal(2, 6, 20)
    pictures, lines = run(graph, x)
    same(pictures, still(tensor(x).reshape(12, 1, 4, 5)).reshape(2, 6, 60))
    padded = functional.pad(tensor(x)[:, None], (1, 1, 2, 0))
    same(lines, moving(padded).permute(0, 2, 3, 1).flatten(2))


# -- rows ------------------------------------------------------------------------------------------


def test_rows_of_features() -> None:
    modules = {"p": nn.PReLU(6), "one": nn.PReLU(), "n": nn.GroupNorm(3, 6, eps=1e-3), "plain": nn.LayerNorm(6)}
    layers = [
        {"op": "prelu", "weights": "p"}, {"op": "prelu", "weights": "one"}, {"op": "layernorm", "weights": "plain"},
        {"op": "last"}, {"op": "groupnorm", "weights": "n", "groups": 3, "eps": 1e-3}, {"op": "l2norm"},
        {"op": "gather", "index": [5, 0, 0, 2]}, {"op": "affine", "alpha": -1.0, "beta": 1}, {"op": "hard_swish"},
    ]  # fmt: skip
    graph = built(state_of(**modules), layers, input=[{"name": "x", "size": 6}])
    x = normal(3, 4, 6)
    y = modules["n"](modules["plain"](modules["one"](modules["p"](tensor(x).mT).mT))[:, -1])
    same(run(graph, x), functional.hardswish(1 - functional.normalize(y, dim=-1)[:, [5, 0, 0, 2]]))


def test_operations_of_two_values() -> None:
    """A vector is at every step, one number is at every feature; an array of the file is a constant."""
    state = {"a.weight": array(1, 3), "limit": np.float32([0.25]), "scale": np.float32([2, -4, 0.5])}
    layers: list[dict[str, Any]] = [
        {"op": "last", "name": "end"},
        {"op": "dense", "weights": "a", "input": "x", "name": "gate"},
        {"op": "sub", "inputs": ["x", "end"], "name": "s"},
        {"op": "mul", "inputs": ["s", "gate"], "name": "m"},
        {"op": "maximum", "inputs": ["m", "limit"], "name": "most"},
        {"op": "div", "inputs": ["most", "scale"], "name": "d"},
        {"op": "sub", "inputs": ["limit", "d"], "name": "y"},
    ]
    x = normal(2, 5, 3)
    t = tensor(x)
    y = (t - t[:, -1:]) * (t @ tensor(state["a.weight"]).T)
    y = 0.25 - y.clamp(min=0.25) / tensor(state["scale"])
    same(run(built(state, layers, input=[{"name": "x", "size": 3}]), x), y)


def test_constants() -> None:
    layers: list[dict[str, Any]] = [
        {"op": "constant", "value": [1, 2.5, -3], "name": "a"},
        {"op": "constant", "value": "b", "name": "b"},
        {"op": "mul", "inputs": ["x", "a"], "name": "m"},
        {"op": "maximum", "inputs": ["m", "b"]},
        {"op": "dense", "weights": "fc"},
    ]
    fc, x = nn.Linear(3, 2), normal(2, 5, 3)
    state = {"b": array(1, 1, 3), **state_of(fc=fc)}
    made = torch.maximum(tensor(x) * torch.tensor([1, 2.5, -3]), tensor(state["b"]))
    same(run(built(state, layers, input=[{"name": "x", "size": 3}]), x), fc(made))


def test_values_side_by_side_in_any_number() -> None:
    layers: list[dict[str, Any]] = [
        {"op": "concat", "inputs": ["x"] * 15},
        {"op": "dense", "weights": "fc"},
    ]
    fc = nn.Linear(45, 2)
    x = normal(2, 5, 3)
    same(run(built(state_of(fc=fc), layers, input=[{"name": "x", "size": 3}]), x), fc(tensor(x).repeat(1, 1, 15)))


# -- along time ------------------------------------------------------------------------------------

REDUCTIONS = {
    "sum": lambda x: x.sum(1), "mean": lambda x: x.mean(1), "max": lambda x: x.amax(1), "min": lambda x: x.amin(1),
    "prod": lambda x: x.prod(1), "l2": lambda x: x.norm(dim=1),
}  # fmt: skip


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_reductions_over_time(kind: str) -> None:
    layers = [{"op": "reduce", "kind": kind}, {"op": "dense", "weights": "fc"}]
    module = nn.Linear(3, 2)
    x = normal(2, 5, 3)
    graph = built(state_of(fc=module), layers, input=[{"name": "x", "size": 3}])
    same(run(graph, x), module(REDUCTIONS[kind](tensor(x))))


def test_a_mean_over_the_words_that_are_there() -> None:
    """Of a mask that the padding makes, as forwards compute it."""
    emb, fc = nn.Embedding(9, 3, padding_idx=0), nn.Linear(3, 2)
    layers: list[dict[str, Any]] = [
        {"op": "mask_ids", "value": 0, "name": "there", "input": "x"},
        {"op": "embedding", "weights": "emb", "input": "x"},
        {"op": "reduce", "kind": "mean", "mask": "there"},
        {"op": "dense", "weights": "fc"},
    ]
    ids = np.array([[3, 1, 4, 0, 0], [2, 7, 1, 8, 0]], np.int32)
    graph = built(state_of(emb=emb, fc=fc), layers, input=[{"name": "x", "kind": "ids"}])
    there = torch.from_numpy(ids != 0)[..., None]
    y = (emb(torch.from_numpy(ids).long()) * there).sum(1) / there.sum(1)
    same(run(graph, ids), fc(y))


def test_attention_that_pools() -> None:
    """Scores by a small network, softmax over time, the weighted sum (Yang et al. 2016)."""
    rnn = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
    score = nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 1))
    layers: list[dict[str, Any]] = [
        {"op": "lstm", "weights": "rnn", "name": "h"},
        {"op": "dense", "weights": "score.0", "activation": "tanh"},
        {"op": "dense", "weights": "score.2"},
        {"op": "softmax_steps", "name": "a"},
        {"op": "mul", "inputs": ["h", "a"]},
        {"op": "reduce", "kind": "sum"},
    ]
    x = normal(2, 6, 3)
    h = rnn.double()(tensor(x))[0]
    same(run(built(state_of(rnn=rnn, score=score), layers), x), (h * score(h).softmax(1)).sum(1))


@pytest.mark.parametrize("which", ["vec", "seq", "self", "causal"])
@pytest.mark.parametrize("sizes", ["packed", "apart"])
def test_multihead_attention(which: str, sizes: str) -> None:
    own = which in ("self", "causal")
    more = {} if own or sizes == "packed" else {"kdim": 5, "vdim": 5}
    module = nn.MultiheadAttention(6, 2, batch_first=True, bias=sizes == "packed", **more)
    options: dict[str, Any] = {} if own else {"inputs": ["q", "k", "k"]}
    kind = "vec" if which == "vec" else "seq"
    inputs = [{"name": "q", "kind": kind, "size": 6}, *([] if own else [{"name": "k", "size": 5 if more else 6}])]
    layers = [{"op": "multihead", "weights": "m", "heads": 2, "causal": which == "causal", "name": "y", **options}]
    outputs = [{"name": "y"}, *([{"name": "a", "value": "y.weights"}] if kind == "vec" else [])]
    graph = built(state_of(m=module), layers, input=inputs, output=outputs)
    q, k = normal(2, *(() if kind == "vec" else (4,)), 6), normal(2, 7, 5 if more else 6)
    query = tensor(q[:, None] if kind == "vec" else q)
    keys = query if own else tensor(k)
    hidden = torch.ones(4, 4).triu(1).bool() if which == "causal" else None
    y, a = module(query, keys, keys, average_attn_weights=False, attn_mask=hidden)
    got = run(graph, q) if own else run(graph, q, k)
    if kind == "vec":
        same(got[0], y[:, 0])
        same(got[1], a[:, :, 0].mT)
    else:
        same(got, y)


def test_additive_attention_of_a_decoder() -> None:
    """Bahdanau et al. 2015, over a whole sequence of queries."""
    wq, wk, v = nn.Linear(3, 4, bias=False), nn.Linear(5, 4, bias=False), nn.Linear(4, 1, bias=False)
    layers: list[dict[str, Any]] = [
        {"op": "dense", "weights": "wq", "input": "q", "name": "query"},
        {"op": "dense", "weights": "wk", "input": "k", "name": "key"},
        {"op": "attention", "inputs": ["query", "key", "k"], "kind": "additive", "weight": "v.weight"},
    ]
    inputs = [{"name": "q", "size": 3}, {"name": "k", "size": 5}]
    q, k = normal(2, 4, 3), normal(2, 6, 5)
    graph = built(state_of(wq=wq, wk=wk, v=v), layers, input=inputs)
    scores = v(torch.tanh(wq(tensor(q))[:, :, None] + wk(tensor(k))[:, None]))[..., 0]
    same(run(graph, q, k), scores.softmax(-1) @ tensor(k))


def test_steps_of_other_numbers() -> None:
    fc = nn.Linear(6, 2)
    layers: list[dict[str, Any]] = [
        {"op": "last", "name": "end", "input": "x"},
        {"op": "repeat", "like": "x", "name": "wide"},
        {"op": "concat", "inputs": ["x", "wide"], "name": "both"},
        {"op": "take", "start": 0, "stride": 2},
        {"op": "repeat", "times": 2},
        {"op": "cut", "like": "x"},
        {"op": "pad", "before": 1, "after": 2, "mode": "edge"},
        {"op": "cumsum"},
        {"op": "dense", "weights": "fc"},
        {"op": "flatten", "steps": 8, "name": "flat"},
        {"op": "reduce_features", "kind": "mean", "groups": 4},
        {"op": "unflatten", "times": 2},
    ]
    x = normal(2, 5, 3)
    t = tensor(x)
    t = torch.cat([t, t[:, -1:].expand(-1, 5, -1)], 2)
    t = t[:, ::2].repeat_interleave(2, 1)[:, :5]
    t = torch.cat([t[:, :1], t, t[:, -1:], t[:, -1:]], 1).cumsum(1)
    t = fc.double()(t).flatten(1).reshape(2, 4, 4).mean(2).reshape(2, 2, 2)
    same(run(built(state_of(fc=fc), layers, input=[{"name": "x", "size": 3}]), x), t)


# -- learned initial states ------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("shape", ["L1H", "1LH", "LH", "LD1H", "list"])
def test_learned_states_of_any_arrangement(layers: int, both: bool, shape: str) -> None:
    directions = 2 if both else 1
    n = layers * directions
    module = nn.GRU(3, 5, layers, bidirectional=both, batch_first=True)
    h0 = array(n, 1, 5)
    forms = {"1LH": (1, n, 5), "LH": (n, 5), "LD1H": (layers, directions, 1, 5), "L1H": (n, 1, 5)}
    state = state_of(gru=module)
    if shape == "list":
        names: Any = [f"h.{k}" for k in range(layers)]
        state |= {name: h0[k * directions : (k + 1) * directions] for k, name in enumerate(names)}
    else:
        names = "h0"
        state["h0"] = h0.reshape(forms[shape])
    graph = from_torch(state, arch={"layer": [{"op": "gru", "weights": "gru", "h0": names}]})
    x = normal(2, 4, 3)
    same(run(graph, x), module(tensor(x), tensor(h0).expand(-1, 2, -1).contiguous())[0])


# -- errors ----------------------------------------------------------------------------------------

CONV1, CONV2 = {"c.weight": array(6, 4, 3)}, {"c.weight": array(6, 1, 3, 3)}
OPERANDS: dict[str, Any] = {"op": "attention", "inputs": ["x", "x"]}


@pytest.mark.parametrize(
    ("state", "layer", "message"),
    [
        (CONV1, {"op": "conv", "time": "width"}, "time is about windows of two dimensions, this has one"),
        (CONV1, {"op": "conv", "stride": [1, 2]}, r"stride is \[1, 2\], expected 1 whole numbers"),
        (CONV1, {"op": "conv", "stride": "2"}, "stride is '2', expected 1 whole numbers"),
        (CONV1, {"op": "conv", "padding": "valid"}, "padding is 'valid', expected numbers or \"same\""),
        (CONV1, {"op": "conv", "padding": "same", "stride": 2}, "padding is \"same\", which PyTorch has for stride 1"),
        (CONV1, {"op": "conv", "groups": 4}, "4 channels of x and 4 groups do not fit a weight of shape"),
        ({"c.weight": array(6, 4)}, {"op": "conv"}, r"weight has shape \(6, 4\), expected that of a Conv1d or Conv2d"),
        (CONV2, {"op": "conv"}, r"time is missing \(a str\)"),
        (CONV2, {"op": "conv", "time": "with"}, "time is 'with', expected 'width', 'height', 'none': which"),
        (CONV2, {"op": "conv", "time": "width"}, r"size is missing: \[height, width\] of the image"),
        (CONV2, {"op": "conv", "time": "width", "size": 4}, r"conv: 4 features are no image of size \(4, 4\)"),
        (CONV2, {"op": "conv", "time": "none", "size": [2, 2], "causal": True}, "causal is about steps"),
        ({}, {"op": "pool", "kind": "max"}, "kernel is None, expected 1 whole numbers"),
        ({}, {"op": "pool", "kernel": 2}, r"kind is missing \(a str\)"),
        ({}, {"op": "pool", "kernel": 2, "kind": "most"}, "pool: kind is most, expected max or avg or avg_pad"),
        ({}, {"op": "channels_first"}, "size is missing"),
        ({}, {"op": "channels_first", "size": [3, 1]}, "4 features are no image of 3 x 1"),
        ({"c.weight": array(3)}, {"op": "prelu"}, r"a weight of shape \(3,\) on 4 features"),
        ({"c.weight": array(4)}, {"op": "groupnorm"}, r"groups is missing \(a int\)"),
        ({}, {"op": "gather", "index": [4]}, "the index has 4 to 4, expected 0 to 3"),
        ({}, {"op": "gather", "index": [1.5]}, r"index is \[1.5\], expected whole numbers"),
        ({}, {"op": "gather"}, "index is None, expected whole numbers"),
        ({}, {"op": "repeat"}, r"times is missing \(a int\)"),
        ({}, {"op": "repeat", "like": "x", "times": 2}, "times is for the steps of a sequence, like for a vec"),
        ({}, {"op": "repeat", "like": "v"}, "like = 'v' has no steps"),
        ({}, {"op": "reduce"}, r"kind is missing \(a str\)"),
        ({}, {"op": "reduce", "kind": "median"}, "reduce: kind is median, expected sum or mean"),
        ({}, {"op": "reduce", "kind": "sum", "whole": 1}, "whole is 1, expected a bool"),
        ({}, {"op": "reduce", "kind": "sum", "mask": "m"}, "there is no value 'm' yet"),
        ({}, {"op": "reduce", "kind": "sum", "mask": "x"}, "reduce: got a value of kind seq, expected mask"),
        ({}, {"op": "constant"}, "value is None, expected a number, a list of numbers, or the name of an array"),
        ({}, {"op": "constant", "value": []}, r"value is \[\], expected a number"),
        ({}, OPERANDS, "2 inputs, expected 3: query, key and value"),
        ({"c.in_proj_weight": array(12, 4), "c.out_proj.weight": array(4, 4)}, {"op": "multihead", "heads": 3},
         "heads is 3, expected a divisor of 4"),
        ({"c.in_proj_weight": array(12, 4), "c.out_proj.weight": array(4, 4)},
         {"op": "multihead", "heads": 2, "inputs": ["x"]}, "1 inputs, expected 3: query, key and value"),
        ({}, {"op": "attention", "inputs": ["x", "x", "x"], "weight": 1.0}, "a weight is of the kind add"),
    ],
)  # fmt: skip
def test_errors_name_what_is_wrong(state: dict[str, Any], layer: dict[str, Any], message: str) -> None:
    weights = {"weights": "c"} if state else {}
    inputs = [{"name": "x", "size": 4}, {"name": "v", "kind": "vec", "size": 4}]
    layers = [{"name": "y", "input": "x", **weights, **layer}]
    if "inputs" in layer or layer["op"] == "constant":
        del layers[0]["input"]
    with pytest.raises(ConvertError, match=f"layer 1 .y.: .*{message}"):
        built({**state, **dense("fc", 4, 1)}, [*layers, {"op": "dense", "weights": "fc", "input": "x"}], input=inputs)


@pytest.mark.parametrize("dims", ["NT", ["N", 1.5], {"N": 1}])
def test_dims_are_a_list(dims: Any) -> None:
    with pytest.raises(ConvertError, match=r'input 1: dims is .* expected a list of "N", "T" and sizes'):
        built(rec("r", 3, 4), [{"op": "lstm", "weights": "r"}], input=[{"name": "x", "dims": dims, "size": 3}])
    with pytest.raises(ConvertError, match=r"input 1: .*dims are \(N, T, 4, 2\), the product"):
        built(
            rec("r", 3, 4), [{"op": "lstm", "weights": "r"}],
            input=[{"name": "x", "dims": ["N", "T", 4, 2], "size": 3}],
        )  # fmt: skip


def test_an_image_that_is_another() -> None:
    layers = [
        {"op": "conv", "weights": "c", "time": "width", "size": [4, 1], "padding": 1},
        {"op": "pool", "kind": "max", "kernel": 2, "time": "width", "size": [2, 1]},
    ]
    with pytest.raises(ConvertError, match=r"layer 2 .pool.: size is \[2, 1\], but the image is \[4, 1\]"):
        built(CONV2, layers, input=[{"name": "x", "size": 4}])
