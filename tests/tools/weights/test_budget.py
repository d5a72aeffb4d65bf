"""The budget of a file: what is honest passes, however large; what is not stops before it is made."""

from __future__ import annotations

import collections
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from lstm_rt_tools.names import listed, shown
from lstm_rt_tools.weights.budget import Budget
from lstm_rt_tools.weights.checkpoints import Checkpoint, read_checkpoint
from lstm_rt_tools.weights.json_text import load_json
from lstm_rt_tools.weights.safe_pickle import SafePickle
from lstm_rt_tools.weights.tensors import FileTensor, Storage
from lstm_rt_tools.weights.zip_archive import ZipArchive

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

MB = 1 << 20


def test_what_is_charged_is_gone() -> None:
    budget = Budget(MB, "m.pt")
    left = budget.memory_left
    assert 12 * MB <= left <= 12 * MB + 64 * MB
    budget.memory(left - 1)
    with pytest.raises(ConvertError, match=r"m\.pt: a list would take far more memory than a file of 1,048,576 bytes"):
        budget.memory(2, "a list")
    budget.memory(1)
    with pytest.raises(ConvertError, match=r"m\.pt: its parts refer to each other so often"):
        budget.steps(100 * MB)


def test_another_process_can_go_on() -> None:
    budget, other = Budget(MB, "m.pt"), Budget(MB, "m.pt")
    other.settle(*budget.left)
    other.memory(1000)
    other.steps(10)
    memory, steps = budget.left
    budget.settle(*other.left)
    assert budget.left == (memory - 1000, steps - 10)
    budget.settle(memory, steps)
    assert budget.left == (memory - 1000, steps - 10)


def test_a_graph_of_wide_values_is_charged() -> None:
    graph = Graph()
    x = graph.input("x", "seq", 1 << 20)
    with pytest.raises(ConvertError, match="the values of its layers would take far more memory"):
        Budget().graph(graph)
    small = Graph()
    small.output(small.activation(small.input("x", "seq", 1000), "relu"), "y")
    Budget().graph(small)
    assert x == 0


# -- honest files ------------------------------------------------------------------------------------


def unpickled(value: object, protocol: int) -> object:
    data = pickle.dumps(value, protocol)
    return SafePickle("m.pt", io.BytesIO(data), Budget(len(data))).load()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("words", [50_000, 300_000])
def test_vocabularies_pass(words: int, protocol: int) -> None:
    stoi = {f"word{i}": i for i in range(words)}
    assert unpickled(stoi, protocol) == stoi
    assert unpickled({"stoi": collections.Counter(stoi), "itos": list(stoi)}, protocol) == {
        "stoi": stoi,
        "itos": list(stoi),
    }


@pytest.mark.parametrize("protocol", [2, 4])
def test_many_small_objects_pass(protocol: int) -> None:
    records = [{"id": i, "text": f"sentence {i}", "tags": [i, i + 1], "pair": (i, None)} for i in range(50_000)]
    assert unpickled(records, protocol) == records


def test_tied_weights_are_converted_once() -> None:
    n = 4 * MB
    budget = Budget(2 * n, "m.pt")
    storage = Storage("0", "float16", n, np.ones(n, np.float16).tobytes(), budget=budget)
    a, b = (FileTensor(storage, 0, (n,), (1,)) for _ in range(2))
    left = budget.memory_left
    assert a.array("a") is b.array("b")
    assert left - budget.memory_left == 4 * 4 * n
    with pytest.raises(ConvertError, match="c would take far more memory"):
        FileTensor(storage, 0, (n, 64), (1, 0)).array("c")


def test_views_that_repeat_numbers_pass() -> None:
    storage = Storage("0", "float32", 300, np.arange(300, dtype="<f4").tobytes(), budget=Budget(1200, "m.pt"))
    view = FileTensor(storage, 0, (300, 300), (0, 1)).array("w")
    np.testing.assert_array_equal(view, np.broadcast_to(np.arange(300, dtype=np.float32), (300, 300)))


def test_compressed_zeros_pass() -> None:
    """The state of an optimizer that has not run is zeros, and three times the weights."""
    weights = np.random.default_rng(0).bytes(4 * MB)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("model.weights.h5", weights + bytes(8 * MB))
    data = out.getvalue()
    assert len(data) < 5 * MB
    archive = ZipArchive(data, "m.keras", Budget(len(data)))
    assert archive.read("model.weights.h5") == weights + bytes(8 * MB)


def test_large_json_passes() -> None:
    numbers = np.random.default_rng(0).standard_normal((1000, 400)).tolist()
    text = json.dumps({"state_dict": {"w": numbers}}).encode()
    assert load_json(text, "m.json", Budget(len(text)))["state_dict"]["w"] == numbers


def test_a_large_checkpoint_passes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {f"w{i}": torch.randn(1000, 1000) for i in range(8)}
    moments = {i: {"exp_avg": torch.zeros(1000, 1000), "exp_avg_sq": torch.zeros(1000, 1000)} for i in range(8)}
    torch.save({"state_dict": state, "optimizer": {"state": moments}}, tmp_path / "m.pt")
    found: Checkpoint = read_checkpoint(tmp_path / "m.pt")
    for name, value in state.items():
        np.testing.assert_array_equal(found.tensors[name].array(name), value.numpy())


# -- JSON and names ----------------------------------------------------------------------------------


def test_numbers_of_json() -> None:
    text = b'[1, -9223372036854775808, 123456789012345678901234567890, 1.5, ' + b"9" * 400 + b"]"
    assert load_json(text, "m", Budget()) == [1, -9223372036854775808, 123456789012345678901234567890.0, 1.5, np.inf]


@pytest.mark.parametrize("text", [rb'"\ud800"', rb'"\uD83D\ud83d\ude00"', rb'"a\udc00"', rb'"\\\ud800"'])
def test_half_surrogate_pairs_are_refused(text: bytes) -> None:
    with pytest.raises(ConvertError, match=r"\\u\w{4} is half of a character"):
        load_json(text, "m", Budget())


@pytest.mark.parametrize(
    "text", [rb'"\ud83d\ude00"', rb'"C:\\ud800"', rb'"\u00e9\\\\uDC00"', '"é😀"'.encode(), b"\xef\xbb\xbf1"]
)
def test_whole_characters_are_read(text: bytes) -> None:
    assert load_json(text, "m", Budget()) == json.loads(text.decode("utf-8-sig"))


def test_names_are_shown() -> None:
    assert shown("lstm.weight_ih_l0") == "lstm.weight_ih_l0"
    assert shown("größe 大") == "größe 大"
    assert shown("a\x1b[2J\n\ud800\u202e") == r"a\x1b[2J\n\ud800\u202e"
    for hostile in ("x" * 1000, "\x1b" * 1000, "\U000e0001" * 79):
        assert len(shown(hostile)) <= 80
        assert "..." in shown(hostile)
    assert listed(map(str, range(12)), 3) == "0, 1, 2 and 9 more"
    assert listed(["a", "b"]) == "a, b"
