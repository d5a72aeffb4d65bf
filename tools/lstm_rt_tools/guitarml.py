"""GuitarML's JSON models (Automated-GuitarAmpModelling's SimpleRNN): they describe themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_rt.errors import ConvertError

from .names import listed

_UNITS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}
_KNOWN = frozenset(["model", "input_size", "output_size", "hidden_size", "num_layers", "unit_type", "bias_fl", "skip"])


def guitarml_arch(model_data: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The architecture (as in an arch file) that ``model_data`` tells.

    The model is ``y = lin(rec(x)) + x[..., :skip]``, without the sum when ``skip`` is 0.

    Raises:
        ConvertError: another model class, or options this reader does not know.
    """
    if model_data.get("model", "SimpleRNN") != "SimpleRNN":
        raise ConvertError(f"{what}: model_data.model is {model_data['model']!r}, expected 'SimpleRNN'")
    unknown = sorted(set(model_data) - _KNOWN)
    if unknown:
        raise ConvertError(
            f"{what}: unknown model_data {listed(unknown)}; known: {', '.join(sorted(_KNOWN))}"
        )
    unit = _UNITS.get(str(model_data.get("unit_type")))
    if unit is None:
        raise ConvertError(
            f"{what}: unit_type is {model_data.get('unit_type')!r}, expected one of {', '.join(_UNITS)}"
        )
    recurrent = {"op": unit, "weights": "rec"}
    if unit == "rnn":
        recurrent["nonlinearity"] = "tanh"  # SimpleRNN builds nn.RNN with its default
    layers = [recurrent, {"op": "dense", "name": "lin", "weights": "lin"}, *_skip(model_data, what)]
    return {
        "input": [{"name": "x", "kind": "seq", "size": _size(model_data, "input_size", what)}],
        "layer": layers,
    }


def _size(model_data: Mapping[str, Any], key: str, what: str) -> int:
    value = model_data.get(key)
    if type(value) is not int or value < 0:
        raise ConvertError(f"{what}: model_data.{key} is {value!r}, expected a whole number")
    return value


def _skip(model_data: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    skip = int(bool(model_data["skip"])) if isinstance(model_data.get("skip"), bool) else None
    skip = _size({"skip": 0, **model_data}, "skip", what) if skip is None else skip
    if skip == 0:
        return []
    if skip != _size(model_data, "output_size", what):
        raise ConvertError(
            f"{what}: skip is {skip} but output_size {model_data['output_size']}; they must be equal"
        )
    return [
        {"op": "slice", "name": "dry", "input": "x", "start": 0, "size": skip},
        {"op": "add", "inputs": ["lin", "dry"]},
    ]
