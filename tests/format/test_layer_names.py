"""Nodes keep the names of the source's layers: in the graph, in files, in what people are told."""

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

from lstm_rt import GraphError, Model
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import Graph


def names(graph: Graph) -> list[str]:
    return [n.name for n in graph.nodes]


def named() -> Graph:
    g, rng = Graph(), np.random.default_rng(0)
    x = g.input("x", "seq", 3)
    with g.layer("encoder"):
        with g.layer("lstm1"):
            x, h, _ = g.recurrent("lstm", x, cell_weights(rng, "lstm", 3, 4), hidden_size=4)
        h = g.activation(h, "relu")
    y = g.dense(h, weights(rng, 2, 4))
    g.output(y, "y")
    return g


# -- in the graph -----------------------------------------------------------------------------------


def test_nested_layers_are_joined() -> None:
    assert names(named()) == ["encoder/lstm1", "encoder", ""]


def test_an_empty_name_changes_nothing() -> None:
    g = Graph()
    x = g.input("x", "vec", 3)
    with g.layer("a"), g.layer(""):
        g.activation(x, "relu")
    with g.layer(""):
        g.activation(x, "relu")
    assert names(g) == ["a", ""]


def test_a_layer_that_fails_ends() -> None:
    g = Graph()
    x = g.input("x", "vec", 3)
    with pytest.raises(GraphError), g.layer("bad"):
        g.select(x)
    g.activation(x, "relu")
    assert names(g) == [""]


@pytest.mark.parametrize(("name", "kept"), [("a\nb", "a\\nb"), ("\ud800", "\\ud800"), ("é", "é")])
def test_names_may_be_anything(name: str, kept: str) -> None:
    g = Graph()
    with g.layer(name):
        g.output(g.activation(g.input("x", "vec", 3), "relu"), "y")
    assert names(g) == names(loads_graph(dumps(g))) == [kept]


def test_long_names_lose_their_middle() -> None:
    g = Graph()
    x = g.input("x", "vec", 3)
    with g.layer("o" * 10_000), g.layer("i" * 10_000):
        g.activation(x, "relu")
    (name,) = names(g)
    assert len(name) == 200
    assert re.fullmatch(r"o{100,} \.\.\. i{50,}", name)


# -- in files ---------------------------------------------------------------------------------------


def test_files_keep_them_in_every_version() -> None:
    g = named()
    blob = dumps(g)
    assert struct.unpack_from("<I", blob, 8) == (1,)
    again = loads_graph(blob)
    assert names(again) == names(g)
    assert again.meta == g.meta
    assert dumps(again) == blob


def test_files_without_names_are_as_they_were() -> None:
    g = named()
    for n in g.nodes:
        n.name = ""
    assert b"names" not in dumps(g)
    assert names(loads_graph(dumps(g))) == ["", "", ""]


@pytest.mark.parametrize("damaged", [["a"], ["a", "b", 3], "abc", {"0": "a"}, None, ["a", "b", ["c"]]])
def test_damaged_lists_are_metadata_like_any(damaged: Any) -> None:
    g = named()
    g.meta["names"] = damaged  # what the caller says goes into the file
    again = loads_graph(dumps(g))
    assert names(again) == ["", "", ""]
    assert again.meta["names"] == damaged
    assert [layer["name"] for layer in Model(dumps(g)).info["layers"]] == ["", "", ""]


# -- in what people are told ------------------------------------------------------------------------


def test_info_has_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g = named()
    g.nodes[0].weights["w_hh"][0, 0] = np.nan
    path = tmp_path / "m.lrt"
    g.save(str(path))
    assert [layer["name"] for layer in Model(g).info["layers"]] == names(g)
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    head = next(line for line in text.splitlines() if line.split()[:1] == ["#"])
    assert head.split()[-1] == "layer"
    assert any(line.endswith("encoder/lstm1") for line in text.splitlines())
    assert "NOT FINITE: node 0 (lstm, encoder/lstm1) w_hh: 1 of 64" in text
    assert main(["info", "--json", str(path)]) == 0
    assert [n["name"] for n in json.loads(capsys.readouterr().out)["nodes"]] == names(g)


def test_info_has_no_column_where_there_are_none() -> None:
    g = named()
    for n in g.nodes:
        n.name = ""
    assert "layer" not in describe.as_text(describe.describe(g))


# -- from readers -----------------------------------------------------------------------------------


def test_architecture_files_name_by_weights_or_by_name() -> None:
    rng = np.random.default_rng(0)
    state: dict[str, Any] = {"enc.fc.weight": rng.standard_normal((4, 8), np.float32)}
    for k, n in enumerate((3, 8)):
        state[f"enc.lstm.weight_ih_l{k}"] = rng.standard_normal((32, n), np.float32)
        state[f"enc.lstm.weight_hh_l{k}"] = rng.standard_normal((32, 8), np.float32)
    arch = {
        "layer": [
            {"op": "lstm", "weights": "enc.lstm"},
            {"op": "last", "name": "end"},
            {"op": "tanh"},
            {"op": "dense", "name": "mine", "weights": "enc.fc"},
        ]
    }
    assert names(from_torch(state, arch=arch)) == ["enc.lstm/l0", "enc.lstm/l1", "end", "", "enc.fc"]


def test_keras_files() -> None:
    assert names(from_keras(EXAMPLES / "sunspots" / "sunspots.keras"))[0] != ""
    assert all(names(from_keras(EXAMPLES / "sunspots" / "sunspots.keras")))


def test_live_keras_models_in_models() -> None:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    inner = keras.Sequential([layers.Input((None, 3)), layers.GRU(4, name="gru", return_sequences=True)], name="inner")
    x = keras.Input((None, 3))
    out = layers.Add(name="sum")([inner(x), layers.Dense(4, name="skip")(x)])
    assert sorted(names(from_keras(keras.Model(x, out)))) == ["inner/gru", "skip", "sum"]


def test_live_torch_modules() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(4, 4, 2, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.rnn(x)[0] + x

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.block = Block()
            self.out = nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return torch.sigmoid(self.out(torch.tanh(self.block(x))))

    graph = from_torch(Net(), torch.zeros(2, 5, 4))
    assert [(n.op, n.name) for n in graph.nodes] == [
        ("gru", "block.rnn/l0"),
        ("gru", "block.rnn/l1"),
        ("add", "block"),
        ("activation", ""),
        ("dense", "out"),
    ]


def test_pickled_torch_modules(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(4, 2)))
    torch.save(net, tmp_path / "m.pt")
    assert names(from_torch(tmp_path / "m.pt")) == ["0", "1.0", "1.1"]
