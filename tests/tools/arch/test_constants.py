"""Constants of architecture files: numbers in them, and arrays of the weight file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.state_dicts import RNG, array, rec
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.torch_reader.from_torch import from_torch
from lstm_rt_tools.weights.safe_pickle import Global, Inert
from lstm_rt_tools.weights.tensors import numpy_number

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

LSTM = {"op": "lstm", "weights": "lstm"}
X = RNG.normal(0, 1, (2, 4, 3)).astype(np.float32)


def run(state: dict[str, Any], *layers: dict[str, Any]) -> np.ndarray:
    """What comes out of the layers before an LSTM of three features."""
    arch = {
        "input": [{"name": "x", "size": 3}],
        "layer": [*layers, {**LSTM, "name": "rnn"}],
        "output": [{"name": "y", "value": "y"}],
    }
    graph = from_torch({**rec("lstm", 3, 5), **state}, arch=arch)
    return Model(dumps(graph))(X)


SIZES = st.sampled_from(["number", "one", "row", "list", "column"])


@settings(max_examples=60, deadline=None)
@given(mean=SIZES, std=SIZES, gain=SIZES, bias=SIZES, used=st.sets(st.sampled_from(["mean", "std", "gain", "bias"])))
def test_normalize(used: set[str], **kinds: str) -> None:
    state: dict[str, Any] = {}
    options: dict[str, Any] = {}
    numbers = {"mean": np.zeros(3), "std": np.ones(3), "gain": np.ones(3), "bias": np.zeros(3)}
    for i, name in enumerate(sorted(used)):
        value = np.array([0.5, -1.25, 2.0], np.float32) + np.float32(i)
        value = value[:1] if kinds[name] in ("number", "one") else value
        numbers[name] = np.broadcast_to(value, (3,))
        if kinds[name] in ("number", "list"):
            options[name] = float(value[0]) if kinds[name] == "number" else value.tolist()
        else:
            options[name] = f"scaler.{name}"
            state[f"scaler.{name}"] = value.reshape(-1, 1) if kinds[name] == "column" else value
    y = run(state, {"op": "normalize", "name": "y", **options})
    wanted = (X.astype(np.float64) - numbers["mean"]) / numbers["std"] * numbers["gain"] + numbers["bias"]
    np.testing.assert_allclose(y, wanted, atol=1e-5)


def test_eps_is_added_to_the_deviation() -> None:
    y = run({"std": np.zeros(3, np.float32)}, {"op": "normalize", "name": "y", "std": "std", "eps": 0.5})
    np.testing.assert_allclose(y, X / 0.5)


OPERATIONS = {"add": np.add, "mul": np.multiply}


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_a_value_and_an_array(op: str, first: bool, size: int) -> None:
    c = array(size)
    y = run({"scale": c}, {"op": op, "name": "y", "inputs": ["scale", "x"] if first else ["x", "scale"]})
    np.testing.assert_allclose(y, OPERATIONS[op](c, X), atol=1e-6)


def test_numbers_beside_the_weights() -> None:
    """In dictionaries of their own, as scripts save what their inputs were scaled by."""
    tree = {
        "state_dict": rec("lstm", 3, 5),
        "scaler": {"mean": [0.5, 1, -2.0], "std": 2, "range": (np.float32(3.0), np.int64(2), 1.5)},
        "offset": np.array([[1.0, 2.0, 3.0]]),
    }
    names = {"mean": "scaler.mean", "std": "scaler.std", "gain": "scaler.range", "bias": "offset"}
    y = run_tree(tree, names)
    np.testing.assert_allclose(y, (X - [0.5, 1, -2]) / 2 * [3, 2, 1.5] + [1, 2, 3], atol=1e-5)


def run_tree(tree: Any, options: dict[str, Any]) -> np.ndarray:
    arch = {
        "input": [{"name": "x", "size": 3}],
        "layer": [{"op": "normalize", "name": "y", **options}, LSTM],
        "output": [{"name": "y"}],
    }
    return Model(dumps(from_torch(tree, arch=arch)))(X)


def test_numbers_in_files(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tree = {
        "state_dict": {k: torch.from_numpy(v) for k, v in rec("lstm", 3, 5).items()},
        "mean": [np.float64(0.5), np.float32(1.5), np.int32(-2)],
        "std": np.float64(2.0),
        "big": np.array([3.0, 4.0, 5.0]).astype(">f8"),
        "no": ["a", 1],
        "huge": 10**400,
    }
    file = tmp_path / "m.pt"
    torch.save(tree, file)
    y = run_tree(file, {"mean": "mean", "std": "std", "gain": "big"})
    np.testing.assert_allclose(y, (X - [0.5, 1.5, -2]) / 2 * [3, 4, 5], atol=1e-5)
    for name in ("no", "huge", "nothing", "state_dict"):
        with pytest.raises(ConvertError, match=rf"mean: there is no value and no array '{name}'; there is x, "):
            run_tree(file, {"mean": name})


def test_numpy_numbers_that_are_damaged() -> None:
    def number(code: str, data: Any, *more: Any, order: str = "<") -> float | None:
        dtype = Inert(Global("numpy", "dtype"), (code, False, True), state=(3, order, None, None, None, -1, -1, 0))
        return numpy_number((dtype, data, *more))

    assert number("f4", np.float32(1.5).tobytes()) == 1.5
    assert number("i8", (-3).to_bytes(8, "big", signed=True), order=">") == -3
    for damaged in (number("f4", b"123"), number("b1", b"1"), number("f4", 3), number("V4", b"1234"),
                    number("f4", b"1234", 1), numpy_number(3), numpy_number((3, b"1234"))):  # fmt: skip
        assert damaged is None


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"op": "normalize", "mean": "nope"}, "mean: there is no value and no array 'nope'"),
        ({"op": "normalize", "mean": True}, "mean is True, expected a number, a list of numbers, or"),
        ({"op": "normalize", "mean": [1, "a"]}, "mean is .1, 'a'., expected a number"),
        ({"op": "normalize", "mean": [1, 2]}, r"mean has shape \(2,\), expected 1 or 3 numbers"),
        ({"op": "normalize", "std": 0}, "std holds 0, by which nothing can be divided; eps is added to it"),
        ({"op": "normalize", "mean": "square"}, r"mean has shape \(3, 3\), expected 1 or 3 numbers"),
        ({"op": "normalize", "scale": 1}, "unknown option 'scale'; known: op, name, input, mean, std, gain, bias, eps"),
        ({"op": "add", "inputs": ["x", "pair"]}, r"pair has shape \(2,\), expected 1 or 3 numbers"),
        ({"op": "add", "inputs": ["x", "nope"]}, "there is no value and no array 'nope'; there is x, "),
        ({"op": "add", "inputs": ["pair", "pair"]}, "there is no value 'pair' yet; there is x"),
        ({"op": "add", "inputs": []}, "there is no value None yet; there is x"),
    ],
)
def test_errors_name_what_is_wrong(layer: dict[str, Any], message: str) -> None:
    state = {"pair": array(2), "square": array(3, 3)}
    with pytest.raises(ConvertError, match=message):
        run(state, {"name": "y", **layer})


# -- learned initial states ----------------------------------------------------------------------


def test_one_learned_state_for_every_layer() -> None:
    """Also of arrays beside the weights: a name may stand several times."""
    tree = {"state_dict": rec("gru", 3, 5, gates=3, layers=2), "start": array(1, 1, 5)}
    graph = from_torch(tree, arch={"layer": [{"op": "gru", "weights": "gru", "h0": ["start", "start"]}]})
    assert "notes" not in graph.meta
    with pytest.raises(ConvertError, match=r"array 'start' has shape \(1, 1, 5\), expected \(2, 1, H\)"):
        from_torch(tree, arch={"layer": [{"op": "gru", "weights": "gru", "h0": "start"}]})
