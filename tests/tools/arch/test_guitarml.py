"""GuitarML's JSON: its numbers have to fit its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.state_dicts import array, small_state
from lstm_rt_tools.judges import reference
from lstm_rt_tools.torch_reader.from_torch import from_torch

from lstm_rt.errors import ConvertError

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
