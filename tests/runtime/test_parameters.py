"""One number of parameters everywhere: the framework's own, and tied weights once, also in the file."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import cell_weights, weights
from helpers.paths import EXAMPLES
from lstm_rt_tools import from_keras, from_torch
from lstm_rt_tools.cli import describe
from lstm_rt_tools.cli.parser import main
from make_bad_blobs import edited, start_of

import lstm_rt
from lstm_rt import InputError, Model
from lstm_rt.format import dumps, load_graph, loads_graph
from lstm_rt.graph import Graph


def everywhere(graph: Graph) -> int:
    """The number, after making sure that all who count give the same, before and after saving."""
    blob = dumps(graph)
    again = loads_graph(blob)
    assert again.meta == graph.meta
    assert again.node_parameters() == graph.node_parameters()
    for facts, parts in ((Model(blob).info, "layers"), (describe.describe(again), "nodes")):
        assert [part["parameters"] for part in facts[parts]] == graph.node_parameters()
        assert facts["parameters"] == graph.parameters()
    assert loads_graph(dumps(again)).parameters() == graph.parameters()
    return graph.parameters()


# -- as the frameworks count ------------------------------------------------------------------------


def test_pytorch() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(50, 6)
            self.lstm = nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True)
            self.rnn = nn.RNN(16, 6, batch_first=True, bias=False)
            self.gru = nn.GRU(6, 6, batch_first=True)
            self.norm = nn.LayerNorm(6)
            self.out = nn.Linear(6, 50)

        def forward(self, x: Any) -> Any:
            y = self.rnn(self.lstm(self.embed(x))[0])[0]
            return self.out(self.norm(self.gru(y)[0]))

    net = Net().eval()
    graph = from_torch(net, torch.randint(0, 50, (2, 5)))
    assert everywhere(graph) == sum(p.numel() for p in net.parameters())
    net.out.weight = net.embed.weight  # tied: parameters() gives it once
    tied = from_torch(net, torch.randint(0, 50, (2, 5)))
    assert everywhere(tied) == sum(p.numel() for p in net.parameters())
    assert tied.parameters() == graph.parameters() - 300


def test_pytorch_does_not_count_statistics() -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.BatchNorm1d(4)).eval()
    assert everywhere(from_torch(net, torch.randn(5, 3))) == sum(p.numel() for p in net.parameters()) == 16 + 8
    folded = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).eval()
    assert everywhere(from_torch(folded, torch.randn(5, 3))) == 16, "what is multiplied out is not there any more"


def test_keras() -> None:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    x = keras.Input((None, 3))
    y = layers.BatchNormalization()(layers.LSTM(5, return_sequences=True)(x))
    y = layers.Bidirectional(layers.GRU(4, return_sequences=True))(y)
    shared = layers.Dense(8, activation="tanh")
    y = layers.SimpleRNN(6, use_bias=False)(shared(shared(y)))
    model = keras.Model(x, layers.Dense(2)(y))
    assert everywhere(from_keras(model)) == model.count_params()


def test_convert_and_info_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = EXAMPLES / "digits"
    path = tmp_path / "m.lrt"
    assert main(["convert", str(folder / "digits.pt"), "--arch", str(folder / "arch.toml"), "-o", str(path)]) == 0
    printed = re.search(r"([\d,]+) parameters", capsys.readouterr().out)
    assert printed is not None
    assert main(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert int(printed[1].replace(",", "")) == facts["parameters"] == lstm_rt.load(path).info["parameters"]
    assert sum(n["parameters"] for n in facts["nodes"]) == facts["parameters"]
    assert "parameters" not in facts["meta"]
    tensors = from_torch(folder / "digits.pt", arch=folder / "arch.toml").nodes
    assert facts["parameters"] == sum(w.size for n in tensors for w in n.weights.values())


def test_equal_numbers_that_are_not_tied() -> None:
    """Biases, gains and matrices of zeros are alike before training; they are parameters of their own."""
    g = Graph()
    x = g.input("x", "vec", 4)
    for _ in range(3):
        x = g.dense(g.layernorm(x, np.ones(4), np.zeros(4), 1e-3), np.zeros((4, 4)), np.arange(4.0))
    g.output(x, "y")
    assert everywhere(g) == 3 * (8 + 16 + 4)


def test_a_layer_used_twice() -> None:
    rng, g = np.random.default_rng(0), Graph()
    w = cell_weights(rng, "gru", 4, 4)
    x = g.input("x", "seq", 4)
    for _ in range(2):
        x, _, _ = g.recurrent("gru", x, {k: v.copy() for k, v in w.items()}, hidden_size=4)
    g.output(x, "y")
    assert everywhere(g) == sum(v.size for v in w.values())
    assert g.node_parameters()[1] == 0


# -- what a file says -------------------------------------------------------------------------------


def two_biases() -> Graph:
    rng, g = np.random.default_rng(0), Graph()
    seq, _, _ = g.recurrent("lstm", g.input("x", "seq", 3), cell_weights(rng, "lstm", 3, 5), hidden_size=5)
    g.output(g.dense(seq, weights(rng, 2, 5)), "y")
    return g


def test_files_that_do_not_say_count_what_they_hold() -> None:
    blob = dumps(two_biases())
    assert loads_graph(blob).parameters() == two_biases().parameters() == 4 * 5 * (3 + 5 + 2) + 10
    older = edited(blob, ("header", "meta", 0))
    assert loads_graph(older).parameters() == 4 * 5 * (3 + 5 + 1) + 10  # one bias: they have been added


@pytest.mark.parametrize("other", [[210, -10], [1, 10**4000], [210], [1, 2, 3], "many", [True, 1], [2.5, 10], {}])
def test_a_member_that_is_something_else_is_left_alone(other: Any) -> None:
    g = two_biases()
    g.meta["parameters"] = other
    again = loads_graph(dumps(g))
    assert again.meta == g.meta
    assert again.parameters() == 4 * 5 * (3 + 5 + 1) + 10


def test_nodes_that_are_added_count_too() -> None:
    g = loads_graph(dumps(two_biases()))
    g.output(g.dense(g.outputs[0], np.ones((3, 2))), "more")
    assert everywhere(g) == 210 + 6


# -- in the file ------------------------------------------------------------------------------------


def data_bytes(blob: bytes) -> int:
    """Bytes of different tensor data."""
    at, n = start_of(blob, "tensor"), struct.unpack_from("<I", blob, 36)[0]
    return sum(size for _, size in {struct.unpack_from("<QQ", blob, at + 32 * i) for i in range(n)})


def test_tied_weights_are_stored_once() -> None:
    rng, g = np.random.default_rng(0), Graph()
    w = cell_weights(rng, "lstm", 64, 64)
    x = g.input("x", "seq", 64)
    for _ in range(3):
        x, _, _ = g.recurrent("lstm", x, w, hidden_size=64)
    square = weights(rng, 64, 64)
    g.output(g.dense(g.dense(x, square), square), "y")
    assert data_bytes(dumps(g)) == 4 * (2 * 4 * 64 * 64 + 4 * 64 + 64 * 64)


def test_tensors_of_other_shapes_share_their_bytes() -> None:
    """A vector is the same bytes as a bias in panels; both are read as they should."""
    rng, g = np.random.default_rng(0), Graph()
    v = weights(rng, 16, scale=1.0)
    x = g.input("x", "vec", 16)
    y = g.dense(g.layernorm(x, v, v, 1e-3), np.eye(16), v)
    g.output(y, "y")
    blob = dumps(g)
    assert data_bytes(blob) == 4 * (16 * 16 + 16)
    again = loads_graph(blob)
    assert again.nodes[0].weights["gamma"].tobytes() == again.nodes[1].weights["bias"].tobytes() == v.tobytes()
    row = rng.standard_normal((2, 16)).astype(np.float32)
    normal = (row - row.mean(1, keepdims=True)) / np.sqrt(row.var(1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(Model(blob)(row), normal * v + v + v, atol=1e-5)


def test_a_table_tied_with_an_output_layer_is_stored_once(tmp_path: Path) -> None:
    rng, g = np.random.default_rng(0), Graph()
    table = weights(rng, 100, 16)
    g.output(g.dense(g.embedding(g.input("ids", "ids"), table), table), "y")
    g.save(str(tmp_path / "m.lrt"))
    blob = (tmp_path / "m.lrt").read_bytes()
    assert int.from_bytes(blob[8:12], "little") == 2  # version 1 has no layout for both
    assert data_bytes(blob) == table.nbytes
    assert everywhere(g) == load_graph(tmp_path / "m.lrt").parameters() == table.size


def test_rows_of_tied_tables_of_any_size() -> None:
    rng = np.random.default_rng(0)
    for rows in [*range(1, 41), 100]:
        g, table = Graph(), weights(rng, rows, 5)
        e = g.embedding(g.input("ids", "ids"), table)
        g.output(g.activation(e, "linear"), "e")
        g.output(g.dense(e, table), "y")
        model, ids = Model(dumps(g)), np.arange(rows)[None]
        got, y = model(ids)
        np.testing.assert_array_equal(got[0], table)
        np.testing.assert_allclose(y[0], table @ table.T, atol=1e-5)
        np.testing.assert_array_equal(loads_graph(dumps(g)).nodes[0].weights["table"], table)
        with pytest.raises(InputError, match=f"id {rows} at"):
            model(ids + 1)


def test_a_table_that_is_not_tied_stays_in_version_1() -> None:
    rng, g = np.random.default_rng(0), Graph()
    g.output(g.dense(g.embedding(g.input("ids", "ids"), weights(rng, 7, 3)), weights(rng, 7, 3)), "y")
    assert int.from_bytes(dumps(g)[8:12], "little") == 1
