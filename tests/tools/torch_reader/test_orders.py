"""A model whose source holds its whole graph keeps the order of axes, and all that it gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.programs import python
from helpers.torch_modules import check_selftest, module_of, user_module
from lstm_rt_tools.torch_reader.from_torch import from_torch

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

pytest.importorskip("torch")

LAYERS: dict[str, Callable[[Any, bool], Any]] = {
    "lstm": lambda nn, first: nn.LSTM(5, 7, batch_first=first),
    "lstm, stacked, both ways": lambda nn, first: nn.LSTM(5, 7, 2, batch_first=first, bidirectional=True),
    "lstm, projected": lambda nn, first: nn.LSTM(5, 7, 2, proj_size=3, batch_first=first),
    "lstm, many layers": lambda nn, first: nn.LSTM(5, 3, 9, batch_first=first),
    "gru": lambda nn, first: nn.GRU(5, 7, 2, batch_first=first),
    "rnn": lambda nn, first: nn.RNN(5, 7, bidirectional=True, batch_first=first),
}


def flat(result: Any) -> list[Any]:
    """The tensors of a module's result, in order."""
    return [t for part in result for t in flat(part)] if isinstance(result, tuple | list) else [result]


def same(torch: Any, model: Model, module: Any, *inputs: Any) -> None:
    """The model gives what the module gives, in its order."""
    with torch.no_grad():
        wanted = flat(module(*inputs))
    got = flat(model(*(x.numpy() for x in inputs)))
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine.shape == tuple(theirs.shape)
        np.testing.assert_allclose(mine, theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize("first", [True, False], ids=["batch_first", "time_first"])
@pytest.mark.parametrize("which", LAYERS)
def test_layers_keep_batch_first_and_what_they_give(torch: Any, tmp_path: Path, which: str, first: bool) -> None:
    """Live and pickled."""
    layer = LAYERS[which](torch.nn, first)
    torch.save(layer, tmp_path / "layer.pt")
    for graph in (from_torch(layer, torch.randn(4, 6, 5)), from_torch(layer), from_torch(tmp_path / "layer.pt")):
        assert [graph.values[i].name for i in graph.outputs] == ["output", "h_n", "c_n"][: len(graph.outputs)]
        assert not graph.meta.get("notes")
        model = Model(dumps(graph))
        assert model.inputs[0].shape == (("N", "T", 5) if first else ("T", "N", 5))
        for shape in ((4, 6, 5), (1, 1, 5), (3, 70, 5)):
            same(torch, model, layer, torch.randn(shape))
        same(torch, model, layer, torch.randn(6, 5))  # without a batch, as torch's layers take it too
    assert model.can_stream == (which not in ("lstm, stacked, both ways", "rnn"))


def test_a_sequential_is_time_major_with_its_layer(torch: Any, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Embedding(9, 5), torch.nn.LSTM(5, 7))
    torch.save(module, tmp_path / "m.pt")
    ids = torch.randint(0, 9, (6, 4))
    for graph in (from_torch(module, ids), from_torch(tmp_path / "m.pt")):
        model = Model(dumps(graph))
        assert model.inputs[0].shape == ("T", "N")
        same(torch, model, module, ids)


FORWARDS: dict[str, tuple[Callable[[Any, Any], Any], bool, tuple[Any, ...], tuple[Any, ...]]] = {
    "time-major": (lambda s, x: s.fc(s.rec(x)[0]), False, ("T", "N", 5), ("T", "N", 3)),
    "only its input": (lambda s, x: s.fc(s.rec(x)[0][-1]), False, ("T", "N", 5), ("N", 3)),
    "only its output": (lambda s, x: s.fc(s.rec(x)[0]).transpose(0, 1), True, ("N", "T", 5), ("T", "N", 3)),
    "inside only": (lambda s, x: s.rec(x.transpose(0, 1))[0].transpose(0, 1), False, ("N", "T", 5), ("N", "T", 7)),
    "states only": (lambda s, x: s.rec(x)[1][0], True, ("N", "T", 5), (1, "N", 7)),
    "some states": (lambda s, x: s.rec(x)[1][1][-1:], True, ("N", "T", 5), (1, "N", 7)),
}


@pytest.mark.parametrize("which", FORWARDS)
def test_forwards_keep_the_order_of_each_port(torch: Any, which: str) -> None:
    forward, first, takes, gives = FORWARDS[which]
    module = user_module(torch, forward, batch_first=first).eval()
    graph = from_torch(module, torch.randn(4, 6, 5))
    check_selftest(graph)
    assert "notes" not in graph.meta
    model = Model(dumps(graph))
    assert (model.inputs[0].shape, model.outputs[0].shape) == (takes, gives)
    for shape in ((4, 6, 5), (1, 1, 5), (2, 50, 5)):
        same(torch, model, module, torch.randn(shape))


@pytest.mark.parametrize("first", [True, False], ids=["batch_first", "time_first"])
def test_packed_rows_that_torch_sorts(torch: Any, first: bool) -> None:
    def forward(s: Any, x: Any, n: Any) -> Any:
        rnn = torch.nn.utils.rnn
        packed, (h, c) = s.rec(rnn.pack_padded_sequence(x, n, first, enforce_sorted=False))
        return rnn.pad_packed_sequence(packed, first, total_length=x.shape[int(first)])[0], h, c

    module = user_module(torch, forward, batch_first=first, num_layers=2).eval()
    x, n = torch.randn(7, 3, 5), torch.tensor([2, 7, 5])
    x = x.transpose(0, 1) if first else x
    same(torch, Model(dumps(from_torch(module, (x, n)))), module, x.contiguous(), n)


def test_a_pickled_module_of_ones_own_says_that_it_is_time_major(torch: Any, tmp_path: Path) -> None:
    """Its code is not run: the draft and the conversion say so, and the architecture file may keep the order."""
    script = (
        "import sys, torch\n"
        "class M(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.rnn, self.fc = torch.nn.LSTM(4, 5), torch.nn.Linear(5, 2)\n"
        "torch.save(M(), sys.argv[1])\n"
    )
    path = tmp_path / "m.pt"
    assert python("-c", script, str(path)).returncode == 0
    with pytest.raises(ConvertError) as caught:
        from_torch(path)
    assert "# - the order of axes: batch_first is False in rnn" in caught.value.draft
    layers = [{"op": "lstm", "weights": "rnn"}, {"op": "dense", "weights": "fc"}]
    plain = from_torch(path, arch={"layer": layers})
    assert any("batch_first is False in rnn" in note for note in plain.meta["notes"])
    ports = {"input": [{"name": "x", "order": "time_first"}], "layer": [*layers[:1], {**layers[1], "name": "y"}]}
    kept = from_torch(path, arch={**ports, "output": [{"name": "y", "order": "time_first"}]})
    assert "notes" not in kept.meta
    x = torch.randn(6, 3, 4).numpy()
    np.testing.assert_array_equal(Model(kept)(x).swapaxes(0, 1), Model(plain)(x.swapaxes(0, 1)))
    with pytest.raises(ConvertError, match="unknown order 'first'"):
        from_torch(path, arch={"input": [{"name": "x", "order": "first"}], "layer": layers})


def test_a_layer_that_contradicts_itself_is_refused(torch: Any, tmp_path: Path) -> None:
    layer = torch.nn.RNN(4, 5)
    layer.nonlinearity = "relu"
    torch.save(layer, tmp_path / "r.pt")
    with pytest.raises(ConvertError, match="nonlinearity 'relu' and mode 'RNN_TANH', which contradict"):
        from_torch(tmp_path / "r.pt")


def test_what_a_forward_returns_beside_is_kept(torch: Any) -> None:
    module = module_of(torch, lambda s, x: (lambda y, hc: (s.fc(y), hc))(*s.rec(x))).eval()
    graph = from_torch(module, torch.randn(4, 6, 5))
    assert [graph.values[o].name for o in graph.outputs] == ["output_0", "output_1_0", "output_1_1"]
    same(torch, Model(dumps(graph)), module, torch.randn(3, 8, 5))


def test_states_that_a_forward_takes_are_the_callers(torch: Any) -> None:
    """So that the model can stream; a note tells."""
    layer = torch.nn.LSTM(5, 7)
    x, state = torch.randn(6, 4, 5), (torch.randn(1, 4, 7), torch.randn(1, 4, 7))
    with pytest.warns(UserWarning, match=r"initial states 'hx_0', 'hx_1' are no inputs of the converted model"):
        model = Model(dumps(from_torch(layer, (x, state))))
    assert [p.name for p in model.inputs] == ["x"]
    assert model.can_stream
    with torch.no_grad():
        wanted = flat(layer(x, state))
    got = model(x.numpy(), state=tuple(s.numpy() for s in state))
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), atol=1e-5)


def test_states_split_into_layers_and_directions_are_an_output_of_their_shape(torch: Any) -> None:
    split = user_module(torch, lambda s, x: s.rec(x)[1][0].view(1, 2, -1, 7), bidirectional=True)
    graph = from_torch(split, torch.randn(4, 6, 5))
    check_selftest(graph)
    assert graph.values[graph.outputs[0]].dims == (1, 2, "N", 7)
