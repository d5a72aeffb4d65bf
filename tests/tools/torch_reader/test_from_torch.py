"""PyTorch models to graphs: the same numbers, or an error that says what is in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import names
from helpers.paths import DATA
from helpers.programs import python
from helpers.state_dicts import SMALL
from helpers.stored import published
from helpers.torch_modules import FORWARDS, check_selftest, user_module
from lstm_rt_tools.judges import reference
from lstm_rt_tools.torch_reader.from_torch import from_torch

import lstm_rt
from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

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
        for name, mine in zip(names(graph)[1], reference.run(graph, ins), strict=True):
            case.close(mine, outs[name])


# -- live modules ----------------------------------------------------------------------------------


def test_the_reader_itself_needs_no_torch() -> None:
    code = "import sys, lstm_rt_tools.torch_reader.from_torch; sys.exit('torch' in sys.modules)"
    assert python("-c", code).returncode == 0


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
        for made, gives in ((model, as_outputs), (from_arrays, lambda y, state: y)):
            mine, mine_state = made(x.numpy(), return_state=True)
            close(mine, gives(y, state))
            close(mine_state, state)
            mine, mine_state = made(x.numpy(), state=mine_state, return_state=True)
            close(mine, gives(again, final))
            close(mine_state, final)
            mine, mine_state = made(x[0].numpy(), return_state=True)
            close(mine, gives(unbatched, last))
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
    close(mine, as_outputs(rnn.pad_packed_sequence(packed, batch_first=True)[0], state))
    close(mine_state, state)


def as_outputs(y: Any, state: Any) -> tuple[Any, ...]:
    """What a layer of torch.nn gives, as one tuple: its converted model gives the same."""
    return (y, *state) if isinstance(state, tuple) else (y, state)


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
    "Hardswish()", "Mish()", "CELU(0.6)", "Hardtanh(-0.4, 0.7)", "ReLU6()", "PReLU()",
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


def test_group_norm_and_slopes_on_vectors(torch: Any, tmp_path: Path) -> None:
    nn = torch.nn
    last = nn.GroupNorm(3, 6, affine=False)
    module = nn.Sequential(nn.Linear(5, 6), nn.GroupNorm(2, 6), nn.PReLU(6), nn.PReLU(), last)
    for i in (1, 2):
        nn.init.normal_(module[i].weight)
    x = torch.randn(3, 5)
    check_selftest(from_torch(module, x))
    torch.save(module, tmp_path / "m.pt")
    with torch.no_grad():
        close(Model(dumps(from_torch(tmp_path / "m.pt")))(x.numpy()), module(x))
    for layer in (nn.GroupNorm(2, 6), nn.PReLU(6)):  # its second dimension has the features, the third the steps
        graph = from_torch(nn.Sequential(layer), torch.randn(2, 6, 6))
        check_selftest(graph)
        assert graph.values[graph.inputs[0]].dims == ("N", 6, "T")


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
    assert "compared with the module's own numbers" in graph.meta["checked"]


def test_axes_of_length_one_and_equal_sizes(torch: Any) -> None:
    module = user_module(torch, FORWARDS["last step"][0])
    for shape in ((1, 1, 5), (5, 5, 5), (1, 5, 5)):
        check_selftest(from_torch(module, torch.randn(shape)))


def test_weight_norm_and_double(torch: Any) -> None:
    module = user_module(torch, FORWARDS["last step"][0])
    module.fc = torch.nn.utils.parametrizations.weight_norm(module.fc)
    check_selftest(from_torch(module.double(), torch.randn(2, 3, 5).double()))


BAD: dict[str, tuple[Callable[..., Any], str]] = {
    "data": (lambda s, x: x if x[0, 0, 0] > 0 else -x, r"which is not supported"),
    "item": (lambda s, x: x * x[0, 0, 0].item(), r"picks one entry of the dimension N"),
    "a state for each row": (
        lambda s, x: s.rec(x, s.scale.new_tensor([[[1.0] * 7, [2.0] * 7]]))[0], r"constant initial state",
    ),
    "constant": (lambda s, x: s.scale, r"depends on no input"),
}


@pytest.mark.parametrize("which", BAD)
def test_what_a_graph_cannot_hold_is_named(torch: Any, which: str) -> None:
    forward, message = BAD[which]
    module = user_module(torch, forward, kind="GRU")
    with pytest.raises(ConvertError, match=message):
        from_torch(module, torch.randn(2, 6, 5))


#: What only the operations of ATen's show.
BY_OPERATIONS: dict[str, Callable[..., Any]] = {
    "mean": lambda s, x: s.rec(x)[0].mean(1),
    "step": lambda s, x: s.rec(x)[0][:, 2],
    "setitem": lambda s, x: x.__setitem__(0, 1.0) or x,
    "view changed in place": lambda s, x: (lambda o: (o[:, :, :2].add_(1), o)[1])(s.rec(x)[0]),
    "softmax over time": lambda s, x: s.rec(x)[0].softmax(1),
    "flatten": lambda s, x: s.rec(x)[0].flatten(1),
    "transposed": lambda s, x: s.rec(x)[0].transpose(1, 2),
    "one of two sequences": lambda s, x: s.rec(x[0])[0],
}


@pytest.mark.parametrize("which", BY_OPERATIONS)
def test_what_the_operations_show(torch: Any, which: str) -> None:
    module = user_module(torch, BY_OPERATIONS[which], kind="GRU")
    check_selftest(from_torch(module, torch.randn(2, 6, 5)))


def test_layers_by_their_operations(torch: Any) -> None:
    nn, x = torch.nn, torch.randn(2, 6, 5)
    for module, example, dims in (
        (nn.Conv1d(6, 4, 1), x, ("N", 6, "T")),
        (nn.LSTM(5, 7), x[0], ()),
        (nn.Softplus(2), x, ()),
        (nn.Softmax(0), x, ()),
        (nn.LayerNorm((6, 5)), x, ("N", 6, 5)),
        (nn.BatchNorm1d(6), x, ("N", 6, "T")),
        (nn.PReLU(), x, ()),
    ):
        graph = from_torch(module, example)
        check_selftest(graph)
        assert graph.values[graph.inputs[0]].dims == dims


def test_layers_that_are_not_supported(torch: Any) -> None:
    nn, x = torch.nn, torch.randn(2, 6, 5)
    for module, given, message in (
        (nn.FractionalMaxPool2d(2, output_size=2), x, "fractional_max_pool2d: this operation of PyTorch is not"),
        (nn.Embedding(9, 5, max_norm=1.0), torch.zeros(2, 3, dtype=torch.long), "max_norm"),
    ):
        with pytest.raises(ConvertError, match=message):
            from_torch(module, given)


def test_bad_calls(torch: Any) -> None:
    module = user_module(torch, FORWARDS["last step"][0])
    with pytest.raises(ConvertError, match="an example input is needed to convert a User"):
        from_torch(module)
    with pytest.raises(ConvertError, match="arch is for weight files"):
        from_torch(module, torch.randn(1, 2, 5), arch=SMALL)
    with pytest.raises(ConvertError, match="fails on the example"):
        from_torch(module, torch.randn(1, 2, 5, 1))
    with pytest.raises(ConvertError, match="i0: this operation of PyTorch is not supported"):
        from_torch(user_module(torch, lambda s, x: torch.special.i0(x)), torch.randn(1, 2, 5, 1))
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


def test_a_pickled_module_that_runs_in_parallel(torch: Any, tmp_path: Path) -> None:
    nn = torch.nn
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    torch.save(nn.DataParallel(nn.DataParallel(module)), tmp_path / "m.pt")
    x = torch.randn(5, 3)
    graph = from_torch(tmp_path / "m.pt")
    np.testing.assert_allclose(reference.run(graph, [x.numpy()])[0], module(x).detach().numpy(), atol=1e-5, rtol=1e-5)


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
