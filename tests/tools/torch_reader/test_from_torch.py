"""PyTorch models to graphs: the same numbers, or an error that says what is in the way."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import DATA
from helpers.programs import python
from helpers.stored import published
from lstm_rt_tools.judges import reference
from lstm_rt_tools.torch_reader.from_torch import from_torch

import lstm_rt
from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

RNG = np.random.default_rng(0)


def array(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.4, shape).astype(np.float32)


def rnn_state(prefix: str = "rec", gates: int = 4, inputs: int = 3, hidden: int = 5) -> dict[str, np.ndarray]:
    dot = f"{prefix}." if prefix else ""
    return {
        f"{dot}weight_ih_l0": array(gates * hidden, inputs),
        f"{dot}weight_hh_l0": array(gates * hidden, hidden),
        f"{dot}bias_ih_l0": array(gates * hidden),
        f"{dot}bias_hh_l0": array(gates * hidden),
    }


def small_state() -> dict[str, np.ndarray]:
    return {**rnn_state(), "lin.weight": array(2, 5), "lin.bias": array(2)}


SMALL: dict[str, Any] = {
    "layer": [{"op": "lstm", "name": "rec", "weights": "rec"}, {"op": "dense", "weights": "lin"}]
}


def names(graph: Graph, values: list[int]) -> list[str]:
    return [graph.values[v].name for v in values]


# -- published models ------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "arch"), [("model.json", None), ("state_dict.pt", "guitar_ts9.toml")])
def test_guitar_pedal(file: str, arch: str | None) -> None:
    case = published("guitar_ts9_lstm8_neuralseed")
    graph = from_torch(case.folder / file, arch=DATA / arch if arch else None)
    for ins, outs in case.runs():
        state = [(ins["h0"], ins["c0"])] if "h0" in ins else None
        x = ins["x"].transpose(1, 0, 2)  # the reference data is time-major
        (y,), [(h, c)] = reference.run(graph, [x], state=state, return_state=True)
        for name, mine in (("y", y.transpose(1, 0, 2)), ("hn", h), ("cn", c)):
            case.close(mine, outs[name])


def test_ergo() -> None:
    case = published("ergo_tcr_peptide_lstm")
    graph = from_torch(case.folder / "model.pt", arch=DATA / "ergo.toml")
    for ins, outs in case.runs():
        for name, mine in zip(names(graph, graph.outputs), reference.run(graph, ins), strict=True):
            case.close(mine, outs[name])


# -- architecture files ----------------------------------------------------------------------------


def test_small_arch_and_its_defaults() -> None:
    graph = from_torch({"module." + k: v for k, v in small_state().items()}, arch=SMALL)
    assert [n.op for n in graph.nodes] == ["lstm", "dense"]
    assert names(graph, graph.inputs) == ["x"]
    assert names(graph, graph.outputs) == ["output"]
    assert graph.values[graph.inputs[0]].size == 3


def test_arch_states_cells_and_many_ops() -> None:
    state = {
        "emb.weight": array(7, 4),
        **{f"enc.{k}": v for k, v in rnn_state("", 3, 4, 6).items()},
        **{k.replace("_l0", ""): v for k, v in rnn_state("cell", 1, 6, 6).items()},
        **{f"n.{k}": array(12) for k in ("weight", "bias", "running_mean")},
        "n.running_var": np.abs(array(12)),
        "n.num_batches_tracked": np.array(3),
        "ln.weight": array(12),
        "aux.weight": array(1),
    }
    arch = """
    ignore = ["aux.*"]
    [[input]]
    name = "ids"
    kind = "ids"
    [[layer]]
    op = "embedding"
    weights = "emb"
    [[layer]]
    op = "gru"
    name = "enc"
    weights = "enc"
    [[layer]]
    op = "rnn"
    name = "cell"
    weights = "cell"
    nonlinearity = "relu"
    h0 = "enc.h"
    [[layer]]
    op = "concat"
    inputs = ["enc.h.0", "cell.h"]
    [[layer]]
    op = "batchnorm"
    weights = "n"
    [[layer]]
    op = "layernorm"
    weights = "ln"
    eps = 1e-3
    [[layer]]
    op = "leaky_relu"
    name = "y"
    alpha = 0.3
    [[output]]
    name = "y"
    [[output]]
    name = "steps"
    value = "cell"
    """
    path = io.BytesIO(arch.encode())
    import importlib

    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    graph = from_torch(state, arch=toml.load(path))
    y, steps = reference.run(graph, {"ids": [[1, 2, 3], [0, 6, 5]]})
    assert y.shape == (2, 12)
    assert steps.shape == (2, 3, 6)
    assert graph.nodes[-1].attrs["activation"].alpha == 0.3


def layer(**kw: Any) -> dict[str, Any]:
    return {**SMALL, "layer": [SMALL["layer"][0], {**SMALL["layer"][1], **kw}]}


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (
            {**SMALL, "layers": []},
            r"unknown option 'layers'; known: checkpoint, ignore, input, layer, output",
        ),
        ({}, r"there is no \[\[layer\]\]"),
        ({"layer": {"op": "lstm"}}, r"must be a list of tables"),
        (
            layer(units=3),
            r"layer 2 \(dense\): unknown option 'units'; known: op, name, input, weights, activation",
        ),
        (layer(op="conv"), r"unknown op 'conv'; known: embedding, lstm"),
        (
            layer(input="nope"),
            r"there is no value 'nope' yet; there is x, rec.h.0, rec.h, rec.c.0, rec.c, rec",
        ),
        (layer(weights="linear"), r"no weight in state dict starts with 'linear.'; .*did you mean 'lin'\?"),
        (layer(activation="mish"), r"unknown activation 'mish'"),
        (layer(name="rec"), r"name 'rec' is taken"),
        (layer(alpha="x"), r"alpha is 'x', expected a float"),
        (layer(op="last"), r"unknown option 'weights'"),
        (layer(op="lstm"), r"there is no weight 'lin.weight_ih_l0'"),
        (
            {"layer": [{"op": "gru", "weights": "rec"}]},
            r"w_ih has shape \(20, 3\), expected 3 rows per hidden unit",
        ),
        ({"layer": [{"op": "rnn", "weights": "rec"}]}, r"nonlinearity is missing"),
        ({"layer": [{"op": "lstm"}]}, r"weights is missing"),
        (
            {"layer": SMALL["layer"][:1]},
            r"2 weights are not used by any layer: lin.weight \(2, 5\), lin.bias",
        ),
        ({**SMALL, "ignore": ["other.*"]}, r"ignore pattern 'other.\*' matches no weight"),
        ({**SMALL, "ignore": "lin"}, r"ignore must be a list"),
        ({**SMALL, "input": [{"name": "x", "size": 4}]}, r"w_ih has shape \(20, 3\), expected \(20, 4\)"),
        ({**SMALL, "input": [{"name": "x", "kind": "image"}]}, r"unknown kind 'image'"),
        ({**SMALL, "input": [{"kind": "seq"}]}, r"name is missing"),
        ({**SMALL, "input": [{"name": "x"}, {"name": "n", "kind": "lengths"}]}, r"lengths need of"),
        ({**SMALL, "output": [{"name": "y"}]}, r"there is no value 'y' yet"),
        ({**SMALL, "output": [{"name": "rec", "axis": 1}]}, r"unknown option 'axis'; known: name, value"),
        ({"layer": [*SMALL["layer"], {"op": "add", "inputs": ["rec"]}]}, r"1 inputs, expected 2"),
        ({"layer": [*SMALL["layer"], {"op": "add", "inputs": ["rec", "x"]}]}, r"add: seq of 5 and seq of 3"),
        (
            {"layer": [*SMALL["layer"], {"op": "slice", "start": 1, "size": 2}]},
            r"slice: \[1, 3.*is not within 2",
        ),
    ],
)
def test_arch_errors_name_what_is_wrong(arch: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvertError, match=message):
        from_torch(small_state(), arch=arch)


def test_arch_files(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("layer = [")
    with pytest.raises(ConvertError, match=r"a.toml: not valid TOML"):
        from_torch(small_state(), arch=path)
    with pytest.raises(FileNotFoundError, match=r"b.toml"):
        from_torch(small_state(), arch=tmp_path / "b.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" + "a." * 200_000 + "b]\n", "line 1 has more than 1000 dots"),
        ("a = 1\n" + "a." * 2000 + "b = 1\n", "line 2 has more than 1000 dots"),
        ("a = " + "9" * 900_000, "not valid TOML .a number of 900000 digits"),
        ("a = 0." + "9" * 900_000, "not valid TOML .a number of 900000 digits"),
        ("".join("[" + "a." * 999 + f"b{i}]\n" for i in range(500)), "unknown option 'a'"),
    ],
)
def test_arch_files_that_would_take_long(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(ConvertError, match=f"a.toml: {message}"):
        from_torch(small_state(), arch=path)
    assert time.process_time() - start < 5


def test_without_arch_the_error_holds_a_draft_that_works(tmp_path: Path) -> None:
    state = {"embed.weight": array(9, 3), **small_state()}
    with pytest.raises(ConvertError, match="holds weights only") as e:
        from_torch(state)
    draft = str(e.value).split("\n\n", 1)[1]
    assert "# uncomment if only the last step goes on" in draft
    path = tmp_path / "draft.toml"
    path.write_text(draft)
    graph = from_torch(state, arch=path)
    assert [n.op for n in graph.nodes] == ["embedding", "lstm", "dense"]


def test_draft_tells_cells_apart() -> None:
    for gates, op in ((3, "gru"), (1, "rnn")):
        with pytest.raises(ConvertError, match=f'op = "{op}"'):
            from_torch(rnn_state("r", gates))


def test_sources_of_a_wrong_type() -> None:
    with pytest.raises(ConvertError, match="cannot convert a int"):
        from_torch(3)
    with pytest.raises(ConvertError, match="holds no arrays"):
        from_torch({"a": 1})


# -- GuitarML --------------------------------------------------------------------------------------


def guitar(**changes: Any) -> str:
    data = {"model": "SimpleRNN", "input_size": 3, "output_size": 2, "hidden_size": 5, "unit_type": "LSTM"}
    data |= {"num_layers": 1, "bias_fl": True, "skip": 0, **changes}
    return json.dumps({"model_data": data, "state_dict": {k: v.tolist() for k, v in small_state().items()}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit_type": "TCN"}, r"unit_type is 'TCN', expected one of LSTM, GRU, RNN"),
        ({"model": "WaveNet"}, r"'WaveNet', expected 'SimpleRNN'"),
        ({"skip": 1}, r"skip is 1 but output_size 2"),
        ({"skip": "yes"}, r"model_data.skip is 'yes'"),
        ({"gain": 2}, r"unknown model_data gain"),
        ({"unit_type": "GRU"}, r"expected \(15, 3\): unit_type GRU"),
        ({"input_size": 4}, r"expected \(20, 4\)"),
        ({"hidden_size": 6}, r"rec.weight_ih_l0 has shape \(20, 3\), expected \(24, 3\).*hidden_size 6"),
        ({"hidden_size": "5"}, r"model_data.hidden_size is '5', expected a whole number"),
        ({"output_size": 3}, r"lin.weight has shape \(2, 5\), expected \(3, 5\).*output_size 3"),
        ({"output_size": None}, r"model_data.output_size is None"),
        ({"num_layers": 2}, r"num_layers is 2, but the weights are those of 1"),
        ({"num_layers": True}, r"model_data.num_layers is True"),
        ({"bias_fl": False}, r"bias_fl is False, but there is a weight lin.bias"),
        ({"bias_fl": None}, r"bias_fl is None"),
        ({"skip": 3}, r"skip is 3 but output_size 2 and input_size 3"),
        ({"skip": -1}, r"model_data.skip is -1"),
        ({"hiden_size": 5}, r"unknown model_data hiden_size; known: .*did you mean 'hidden_size'\?"),
    ],
)
def test_guitarml_errors(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "m.json"
    path.write_text(guitar(**changes))
    with pytest.raises(ConvertError, match=message):
        from_torch(path)


def test_guitarml_without_the_numbers_that_the_weights_tell(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    tree = json.loads(guitar())
    for key in ("hidden_size", "num_layers", "bias_fl", "model"):
        del tree["model_data"][key]
    path.write_text(json.dumps(tree))
    assert [n.op for n in from_torch(path).nodes] == ["lstm", "dense"]
    tree["model_data"]["bias_fl"] = True
    del tree["state_dict"]["lin.bias"]
    path.write_text(json.dumps(tree))
    with pytest.raises(ConvertError, match=r"bias_fl is True, but there is no weight lin\.bias"):
        from_torch(path)


def test_guitarml_skip(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(guitar(skip=2))
    assert [n.op for n in from_torch(path).nodes] == ["lstm", "dense", "slice", "add"]


def test_guitarml_without_skip_is_what_simplernn_takes(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    tree = json.loads(guitar(output_size=1))
    tree["state_dict"] |= {n: tree["state_dict"][n][:1] for n in ("lin.weight", "lin.bias")}
    path.write_text(json.dumps(tree))
    without = from_torch(path)
    assert "notes" not in without.meta
    del tree["model_data"]["skip"]
    path.write_text(json.dumps(tree))
    graph = from_torch(path)
    assert [n.op for n in graph.nodes] == ["lstm", "dense", "slice", "add"]
    (note,) = graph.meta["notes"]
    assert "model_data.skip is missing, so skip is SimpleRNN's 1" in note
    x = array(2, 4, 3)
    np.testing.assert_allclose(
        reference.run(graph, [x])[0], reference.run(without, [x])[0] + x[..., :1], rtol=1e-6, atol=1e-6
    )
    tree = json.loads(guitar())
    del tree["model_data"]["skip"]
    path.write_text(json.dumps(tree))
    with pytest.raises(ConvertError, match=r"model_data.skip is missing, so skip is SimpleRNN's 1 but output_size 2"):
        from_torch(path)


# -- live modules ----------------------------------------------------------------------------------


def test_the_reader_itself_needs_no_torch() -> None:
    code = "import sys, lstm_rt_tools.torch_reader.from_torch; sys.exit('torch' in sys.modules)"
    assert python("-c", code).returncode == 0


@pytest.fixture
def torch() -> Any:
    module = pytest.importorskip("torch")
    module.manual_seed(0)
    module.set_num_threads(1)  # its own threads cost more than they help here
    return module


def user_module(torch: Any, forward: Callable[..., Any], kind: str = "LSTM", head: int = 7, **kw: Any) -> Any:
    """A module with an own forward around one recurrent layer."""
    nn = torch.nn

    class User(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.rec = getattr(nn, kind)(5, 7, **{"batch_first": True, **kw})
            self.emb = nn.Embedding(11, 5, padding_idx=0)
            self.fc = nn.Linear(head, 3)
            self.ln = nn.LayerNorm(3)
            self.bn = nn.BatchNorm1d(5)
            self.bn.running_mean += 0.3
            self.bn.running_var *= 2
            self.scale = nn.Parameter(torch.rand(3))
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Any, *rest: Any) -> Any:
            return forward(self, x, *rest)

    return User()


def compiled(graph: Graph, inputs: Any, **kw: Any) -> tuple[np.ndarray, ...]:
    """The outputs of the compiled runtime."""
    result = Model(dumps(graph))(*(np.ascontiguousarray(a) for a in inputs), **kw)
    return result if isinstance(result, tuple) else (result,)


def check_selftest(graph: Graph) -> None:
    """The self test comes from torch, so it judges the graph, and the runtime too."""
    assert graph.selftest is not None
    inputs, outputs = graph.selftest.inputs, graph.selftest.outputs
    for results in (reference.run(graph, inputs), compiled(graph, inputs)):
        for mine, theirs in zip(results, outputs, strict=True):
            assert mine.shape == theirs.shape
            np.testing.assert_allclose(mine, theirs, atol=1e-5, rtol=1e-5)


SINGLE: dict[str, Callable[[Any], Any]] = {
    "lstm": lambda nn: nn.LSTM(5, 7, batch_first=True),
    "lstm 2 layers both ways": lambda nn: nn.LSTM(5, 7, 2, batch_first=True, bidirectional=True),
    "lstm projected": lambda nn: nn.LSTM(5, 7, 2, batch_first=True, proj_size=3, bidirectional=True),
    "gru time-major": lambda nn: nn.GRU(5, 7, 2),
    "gru without bias": lambda nn: nn.GRU(5, 7, bias=False, batch_first=True),
    "rnn tanh": lambda nn: nn.RNN(5, 7, batch_first=True),
    "rnn relu": lambda nn: nn.RNN(5, 7, nonlinearity="relu", batch_first=True),
    "lstm cell": lambda nn: nn.LSTMCell(5, 7),
    "gru cell": lambda nn: nn.GRUCell(5, 7, bias=False),
    "rnn cell": lambda nn: nn.RNNCell(5, 7, nonlinearity="relu"),
}


@pytest.mark.parametrize("which", SINGLE)
def test_single_layers(torch: Any, which: str) -> None:
    module = SINGLE[which](torch.nn)
    graph = from_torch(module, torch.randn(4, 3, 5))
    check_selftest(graph)
    assert graph.meta["source"]["framework"] == "pytorch"
    check_selftest(from_torch(module))  # without an example, too


#: kind and options -> layer, for the runtime itself; what torch.nn has in the way of recurrent layers.
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("LSTM", {}),
    "bidirectional": ("LSTM", {"bidirectional": True}),
    "stacked": ("LSTM", {"num_layers": 3}),
    "stacked bidirectional": ("LSTM", {"num_layers": 2, "bidirectional": True}),
    "projected": ("LSTM", {"proj_size": 6}),
    "projected, stacked, bidirectional": ("LSTM", {"proj_size": 6, "num_layers": 2, "bidirectional": True}),
    "no bias": ("LSTM", {"bias": False}),
    "gru": ("GRU", {}),
    "gru bidirectional": ("GRU", {"bidirectional": True}),
    "gru stacked bidirectional": ("GRU", {"num_layers": 2, "bidirectional": True}),
    "gru no bias": ("GRU", {"bias": False}),
    "rnn tanh": ("RNN", {}),
    "rnn relu": ("RNN", {"nonlinearity": "relu"}),
    "rnn stacked bidirectional": ("RNN", {"num_layers": 2, "bidirectional": True}),
    "rnn no bias": ("RNN", {"bias": False}),
}


@pytest.mark.parametrize(("which", "hidden"), [*((which, 21) for which in OPTIONS), ("plain", 8), ("gru", 8)])
def test_runtime_against_torch(torch: Any, which: str, hidden: int) -> None:
    """Outputs and final states, from zero and from given states, whole, unbatched and in packed batches."""
    kind, options = OPTIONS[which]
    layer = getattr(torch.nn, kind)(5, hidden, batch_first=True, **options)
    model = Model(dumps(from_torch(layer)))
    lists = as_lists(layer)
    from_arrays = getattr(lstm_rt, kind)(
        **lists, bidirectional=layer.bidirectional, **{k: v for k, v in options.items() if k == "nonlinearity"}
    )
    for batch, steps in [(n, t) for n in (1, 5) for t in (1, 17, 200)]:
        x = torch.randn(batch, steps, 5)
        with torch.no_grad():
            y, state = layer(x)
            again, final = layer(x, state)
            unbatched, last = layer(x[0])
        for made in (model, from_arrays):
            mine, mine_state = made(x.numpy(), return_state=True)
            close(mine, y)
            close(mine_state, state)
            mine, mine_state = made(x.numpy(), state=mine_state, return_state=True)
            close(mine, again)
            close(mine_state, final)
            mine, mine_state = made(x[0].numpy(), return_state=True)
            close(mine, unbatched)
            close(mine_state, last)


@pytest.mark.parametrize("which", OPTIONS)
def test_runtime_lengths_against_packed_sequences(torch: Any, which: str) -> None:
    kind, options = OPTIONS[which]
    layer = getattr(torch.nn, kind)(5, 9, batch_first=True, **options)
    model = Model(dumps(from_torch(layer)))
    x, lengths = torch.randn(5, 17, 5), [17, 1, 8, 16, 3]
    rnn = torch.nn.utils.rnn
    with torch.no_grad():
        packed, state = layer(rnn.pack_padded_sequence(x, torch.tensor(lengths), True, enforce_sorted=False))
    mine, mine_state = model(x.numpy(), lengths=lengths, return_state=True)
    close(mine, rnn.pad_packed_sequence(packed, batch_first=True)[0])
    close(mine_state, state)


def close(mine: Any, theirs: Any) -> None:
    if isinstance(theirs, tuple):
        for a, b in zip(mine, theirs, strict=True):
            close(a, b)
    else:
        assert mine.shape == tuple(theirs.shape)
        np.testing.assert_allclose(mine, theirs.numpy(), atol=1e-5, rtol=0)


def as_lists(layer: Any) -> dict[str, list[np.ndarray] | None]:
    """The arguments of lstm_rt.LSTM, GRU and RNN from a torch layer."""
    ends = ("", "_reverse")[: 2 if layer.bidirectional else 1]
    suffixes = [f"l{k}{end}" for k in range(layer.num_layers) for end in ends]
    found = {}
    for mine, theirs in (
        ("w_ih", "weight_ih"), ("w_hh", "weight_hh"), ("b_ih", "bias_ih"), ("b_hh", "bias_hh"), ("w_hr", "weight_hr")
    ):
        if hasattr(layer, f"{theirs}_l0"):
            found[mine] = [getattr(layer, f"{theirs}_{s}").detach().numpy() for s in suffixes]
    return found


def test_cells_step_by_step_against_torch(torch: Any) -> None:
    """nn.LSTMCell and others in a loop, and a stream."""
    for kind, options in (("LSTM", {}), ("GRU", {}), ("RNN", {"nonlinearity": "relu"}), ("RNN", {"bias": False})):
        cell = getattr(torch.nn, f"{kind}Cell")(5, 7, **options)
        weights = {"w_ih": cell.weight_ih, "w_hh": cell.weight_hh, "b_ih": cell.bias_ih, "b_hh": cell.bias_hh}
        weights = {k: None if w is None else w.detach().numpy() for k, w in weights.items()}
        named = {k: v for k, v in options.items() if k == "nonlinearity"}
        stream = getattr(lstm_rt, kind)(**weights, **named).stream(batch=5)
        x, state = torch.randn(17, 5, 5), None
        for step in x:
            with torch.no_grad():
                state = cell(step, state)
            close(stream.step(step.numpy()), state[0] if kind == "LSTM" else state)


ACTIVATIONS = [
    "ReLU()", "Sigmoid()", "Tanh()", "Hardsigmoid()", "LeakyReLU(0.3)", "ELU(0.7)", "SELU()", "Softplus()",
    "Softsign()", "SiLU()", "GELU()", 'GELU("tanh")', "Softmax(-1)", "LogSoftmax(2)", "Identity()", "Dropout(0.3)",
]


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_activation_modules(torch: Any, act: str) -> None:
    nn = torch.nn
    module = nn.Sequential(nn.Linear(5, 4), eval("nn." + act), nn.Linear(4, 4), nn.LayerNorm(4, eps=1e-3))
    check_selftest(from_torch(module, torch.randn(2, 3, 5) * 3))


def test_sequential_on_vectors_and_ids(torch: Any) -> None:
    nn = torch.nn
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Softmax(1)).train()
    check_selftest(from_torch(module, torch.randn(3, 5)))
    assert module.training
    assert module[1].training
    ids = nn.Sequential(nn.Embedding(9, 5), nn.Dropout(), nn.LSTM(5, 3, batch_first=True))
    check_selftest(from_torch(ids, np.array([[1, 2, 3], [4, 5, 6]])))


def packed(s: Any, x: Any, n: Any) -> Any:
    import torch

    rnn = torch.nn.utils.rnn
    out, (h, _) = s.rec(rnn.pack_padded_sequence(x, n.cpu(), batch_first=True, enforce_sorted=False))
    out, _ = rnn.pad_packed_sequence(out, batch_first=True)
    return s.fc(out), torch.tanh(s.fc(torch.cat([h[-2], h[-1]], dim=1)))


def zero_states(s: Any, x: Any) -> Any:
    import torch

    h0 = torch.zeros(1, x.size(0), 7)
    out, _ = s.rec(x, (h0, torch.zeros_like(h0)))
    return s.fc(s.drop(out[:, -1, :]))


def with_state(s: Any, x: Any, hc: Any) -> Any:
    out, hc = s.rec(x, hc)
    return s.fc(out), hc


def functional(s: Any, x: Any) -> Any:
    import torch
    import torch.nn.functional as F

    y = F.gelu(s.fc(s.rec(x)[0]), approximate="tanh")
    y = F.leaky_relu(y, 0.2) + F.softplus(y) * F.hardsigmoid(y) - F.elu(y, 0.5)
    y = F.silu(y) + F.selu(y) + F.softsign(y) + y.sigmoid() + torch.tanh(y) + y.relu()
    return F.log_softmax(y, dim=2), F.softmax(y[:, 0], 1)


FORWARDS: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "last step": (lambda s, x: s.fc(s.rec(x)[0][:, -1]), {}, "x"),
    "first step": (lambda s, x: s.fc(s.rec(x)[0][:, 0, :]), {}, "x"),
    "zero states": (zero_states, {}, "x"),
    "final h": (lambda s, x: s.fc(s.rec(x)[1][0][-1]), {"num_layers": 2}, "x"),
    "final h of layer 0": (lambda s, x: s.fc(s.rec(x)[1][0][0]), {"num_layers": 2}, "x"),
    "final h squeezed": (lambda s, x: s.fc(s.rec(x)[1].squeeze(0)), {"kind": "GRU"}, "x"),
    "final h joined": (
        lambda s, x: s.fc(s.rec(x)[1].permute(1, 0, 2).reshape(x.size(0), -1)),
        {"kind": "GRU", "bidirectional": True, "head": 14},
        "x",
    ),
    "skip": (lambda s, x: s.fc(s.rec(x)[0]) + x[:, :, 0:3], {}, "x"),
    "skip of one": (lambda s, x: s.fc(s.rec(x)[0]) + x[..., :1], {}, "x"),
    "in place": (lambda s, x: s.fc(s.rec(x)[0]).relu_().add_(1.5), {}, "x"),
    "scaled": (lambda s, x: s.ln((s.fc(s.rec((x - 0.5) / 2)[0]) * s.scale + 1) / s.scale), {}, "x"),
    "batchnorm": (lambda s, x: s.rec(s.bn(x.transpose(1, 2)).transpose(1, 2))[0], {}, "x"),
    "joined N and T": (lambda s, x: s.fc(s.rec(x)[0].reshape(-1, 7)).view(x.size(0), x.size(1), 3), {}, "x"),
    "permuted": (lambda s, x: s.fc(s.rec(x.permute(1, 0, 2))[0][-1]), {"batch_first": False}, "x"),
    "time-major": (lambda s, x: s.fc(s.rec(x)[0][-1]), {"batch_first": False}, "x"),
    "ids": (lambda s, i: s.fc(s.rec(s.emb(i))[0]).softmax(-1), {}, "ids"),
    "ids time-major": (lambda s, i: s.rec(s.emb(i))[0], {"batch_first": False}, "ids"),
    "functional": (functional, {}, "x"),
    "chunk": (
        lambda s, x: (lambda a, b: a * b.sigmoid())(*s.rec(x)[0].chunk(2, -1)),
        {"bidirectional": True},
        "x",
    ),
    "flip": (lambda s, x: s.rec(x.flip(1))[0].flip(1), {"kind": "GRU"}, "x"),
    "lengths": (packed, {"bidirectional": True, "head": 14}, "x n"),
    "last by index": (lambda s, x, n: s.rec(x)[0][list(range(len(x))), n - 1], {}, "x n"),
    "last by gather": (
        lambda s, x, n: s.rec(x)[0].gather(1, (n - 1).view(-1, 1, 1).expand(-1, 1, 7)).squeeze(1),
        {},
        "x n",
    ),
    "encoder, decoder": (lambda s, x, y: s.fc(s.rec(y, s.rec(x)[1])[0]), {}, "x y"),
    "encoder, decoder, joined N and T": (
        lambda s, x, y: s.fc(s.rec(y, s.rec(x)[1])[0].reshape(-1, 7)).view(y.size(0), -1, 3)[
            :, y.size(1) - 1
        ],
        {},
        "x y",
    ),
    "carried state, joined N and T": (
        lambda s, x, hc: s.fc(s.rec(x, hc)[0].reshape(-1, 14)).view(x.size(0), -1, 3),
        {"num_layers": 2, "bidirectional": True, "head": 14},
        "x hc",
    ),
    "two inputs joined": (lambda s, x, y: s.rec((x + y) * x)[0], {}, "x x"),
    "output with N and T joined": (lambda s, x: s.fc(s.rec(x)[0]).view(-1, 3), {}, "x"),
    "the same, time-major": (lambda s, x: s.fc(s.rec(x)[0].reshape(-1, 7)), {"batch_first": False}, "x"),
    "output without F": (lambda s, x: (s.rec(x)[0][:, :, 0], s.rec(x)[0][:, -1, 1]), {}, "x"),
    "carried state": (with_state, {"num_layers": 2, "bidirectional": True, "head": 14}, "x hc"),
}


@pytest.mark.parametrize("which", FORWARDS)
def test_user_modules(torch: Any, which: str) -> None:
    forward, options, inputs = FORWARDS[which]
    module = user_module(torch, forward, **options)
    made = {
        "x": torch.randn(2, 6, 5),
        "y": torch.randn(2, 4, 5),
        "n": torch.tensor([4, 6]),
        "ids": torch.randint(0, 11, (2, 6)),
        "hc": (torch.randn(4, 2, 7), torch.randn(4, 2, 7)),
    }
    graph = from_torch(module, tuple(made[i] for i in inputs.split()))
    check_selftest(graph)
    assert "checked" not in graph.meta  # also held for other sizes


def test_axes_of_length_one_and_equal_sizes(torch: Any) -> None:
    module = user_module(torch, FORWARDS["last step"][0])
    for shape in ((1, 1, 5), (5, 5, 5), (1, 5, 5)):
        check_selftest(from_torch(module, torch.randn(shape)))


def test_weight_norm_and_double(torch: Any) -> None:
    module = user_module(torch, FORWARDS["last step"][0])
    module.fc = torch.nn.utils.parametrizations.weight_norm(module.fc)
    check_selftest(from_torch(module.double(), torch.randn(2, 3, 5).double()))


BAD: dict[str, tuple[Callable[..., Any], str]] = {
    "mean": (lambda s, x: s.rec(x)[0].mean(1), r"torch\.Tensor\.mean, which is not supported"),
    "step": (lambda s, x: s.rec(x)[0][:, 2], r"it takes step 2; only the first and the last"),
    "frozen step": (
        lambda s, x: s.rec(x)[0][:, 5],
        r"another number of steps.*differs .*it takes step 5; only the first.*test_from_torch.py",
    ),
    "data": (lambda s, x: x if x[0, 0, 0] > 0 else -x, r"which is not supported"),
    "item": (lambda s, x: x * x[0, 0, 0].item(), r"picks one entry of the dimension N"),
    "setitem": (lambda s, x: x.__setitem__(0, 1.0) or x, r"__setitem__"),
    "learned state": (lambda s, x: s.rec(x, x.new_ones(1, 2, 7))[0], r"constant initial state|new_ones"),
    "view changed in place": (
        lambda s, x: (lambda o: (o[:, :, :2].add_(1), o)[1])(s.rec(x)[0]),
        r"output of the module reads a tensor that .* changed in place through a view",
    ),
    "softmax over time": (lambda s, x: s.rec(x)[0].softmax(1), r"over dimension 1"),
    "states only": (lambda s, x: s.rec(x)[1], r"returns only the states"),
    "flatten": (lambda s, x: s.rec(x)[0].flatten(1), r"dimensions \(N, TF\)"),
    "transposed": (lambda s, x: s.rec(x)[0].transpose(1, 2), r"dimensions \(N, F, T\)"),
    "constant": (lambda s, x: s.scale, r"does not depend|does not use"),
    "batch of one sequence": (lambda s, x: s.rec(x[0])[0], r"picks one entry of the dimension N"),
}


@pytest.mark.parametrize("which", BAD)
def test_what_a_graph_cannot_hold_is_named(torch: Any, which: str) -> None:
    forward, message = BAD[which]
    module = user_module(torch, forward, kind="GRU")
    with pytest.raises(ConvertError, match=message):
        from_torch(module, torch.randn(2, 6, 5))


def test_layers_that_are_not_supported(torch: Any) -> None:
    nn, x = torch.nn, torch.randn(2, 6, 5)
    for module, message in (
        (nn.Conv1d(6, 4, 1), "conv1d"),
        (nn.LSTM(5, 7), "on a single step or an unbatched sequence"),
        (nn.Embedding(9, 5, max_norm=1.0), "max_norm"),
        (nn.Softplus(2), "beta=2"),
        (nn.Softmax(0), "over dimension 0"),
        (nn.LayerNorm((6, 5)), "normalises 2 dimensions"),
        (nn.BatchNorm1d(6), "the second must be the features"),
        (nn.PReLU(), "prelu"),
    ):
        example = torch.zeros(2, 3, dtype=torch.long) if "Embedding" in str(module) else x
        with pytest.raises(ConvertError, match=message):
            from_torch(module, x[0] if "LSTM" in str(module) else example)


def test_bad_calls(torch: Any) -> None:
    module = user_module(torch, FORWARDS["last step"][0])
    with pytest.raises(ConvertError, match="an example input is needed to convert a User"):
        from_torch(module)
    with pytest.raises(ConvertError, match="arch is for weight files"):
        from_torch(module, torch.randn(1, 2, 5), arch=SMALL)
    with pytest.raises(ConvertError, match="has shape"):
        from_torch(module, torch.randn(1, 2, 5, 1))
    with pytest.raises(ConvertError, match="does not use its input 'x1'"):
        from_torch(
            user_module(torch, lambda s, x, y: s.rec(x)[0]), (torch.randn(1, 2, 5), torch.randn(1, 2, 5))
        )


def test_whole_pickled_modules(torch: Any, tmp_path: Path) -> None:
    nn = torch.nn
    module = nn.Sequential(
        nn.Embedding(9, 5), nn.Linear(5, 4), nn.ELU(0.7), nn.LSTM(4, 3, 2, batch_first=True)
    )
    ids = torch.randint(0, 9, (2, 6))
    theirs = module(ids)[0].detach().numpy()
    for zipped in (True, False):
        torch.save(module, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
        graph = from_torch(tmp_path / "m.pt")
        np.testing.assert_allclose(reference.run(graph, [ids.numpy()])[0], theirs, atol=1e-5, rtol=1e-5)
    wrong = nn.Sequential(nn.LSTM(5, 4), nn.Linear(4, 3))  # does not run in torch either
    torch.save(wrong, tmp_path / "w.pt")
    with pytest.raises(ConvertError, match="gives a tuple"):
        from_torch(tmp_path / "w.pt")


def test_pickled_user_module_is_never_run(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    script = (
        "import sys, torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.rec = torch.nn.GRU(3, 5, batch_first=True)\n"
        "torch.save(Net(), sys.argv[1])\n"
    )
    path = tmp_path / "net.pt"
    python("-c", script, path, check=True)
    with pytest.raises(
        ConvertError, match=r"holds a __main__.Net, whose forward is code.*\n(.*\n)*.*op = \"gru\""
    ):
        from_torch(path)
    assert len(from_torch(path, arch={"layer": [{"op": "gru", "weights": "rec"}]}).nodes) == 1


def test_state_dict_of_tensors_matches_torch(torch: Any) -> None:
    module = user_module(torch, FORWARDS["last step"][0], num_layers=2, bidirectional=True, head=14)
    arch = {
        "ignore": ["emb.*", "ln.*", "bn.*", "scale"],
        "layer": [{"op": "lstm", "weights": "rec"}, {"op": "last"}, {"op": "dense", "weights": "fc"}],
    }
    x = torch.randn(2, 6, 5)
    graph = from_torch(module.state_dict(), arch=arch)
    theirs = module(x).detach().numpy()
    np.testing.assert_allclose(reference.run(graph, [x.numpy()])[0], theirs, atol=1e-5, rtol=1e-5)
