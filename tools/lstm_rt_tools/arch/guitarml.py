"""GuitarML's JSON models (Automated-GuitarAmpModelling's SimpleRNN): they describe themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_rt.errors import ConvertError, did_you_mean
from lstm_rt.graph import GATES

from ..names import listed, shown
from ..weights.state_dict import Weights
from .layers import count_directions, count_layers

_UNITS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}
_KNOWN = ("model", "input_size", "output_size", "hidden_size", "num_layers", "unit_type", "bias_fl", "skip")

#: ``skip`` of a SimpleRNN that is made without one, as CoreAudioML's load_model does for files that tell none.
_SKIP = 1


def guitarml_arch(model_data: Mapping[str, Any], weights: Weights) -> dict[str, Any]:
    """The architecture (as in an arch file) that ``model_data`` tells.

    The model is ``y = lin(rec(x)) + x[..., :skip]``, without the sum when ``skip`` is 0. A number that the
    weights tell may be left out; ``skip``, which they do not tell, is then what SimpleRNN takes, with a note.

    Raises:
        ConvertError: another model class, options this reader does not know, or a description that
            contradicts itself or the weights.
    """
    what = weights.what
    if model_data.get("model", "SimpleRNN") != "SimpleRNN":
        raise ConvertError(f"{what}: model_data.model is {_text(model_data['model'])}, expected 'SimpleRNN'")
    unknown = sorted(set(model_data) - set(_KNOWN))
    if unknown:
        near = did_you_mean(unknown[0], _KNOWN)
        raise ConvertError(f"{what}: unknown model_data {listed(unknown)}; known: {', '.join(_KNOWN)}{near}")
    unit = _UNITS.get(str(model_data.get("unit_type")))
    if unit is None:
        raise ConvertError(
            f"{what}: unit_type is {_text(model_data.get('unit_type'))}, expected one of {', '.join(_UNITS)}"
        )
    inputs, outputs = (_size(model_data, key, what) for key in ("input_size", "output_size"))
    _check_weights(model_data, unit, inputs, outputs, weights)
    recurrent = {"op": unit, "weights": "rec"}
    if unit == "rnn":
        recurrent["nonlinearity"] = "tanh"  # SimpleRNN builds nn.RNN with its default
    layers = [recurrent, {"op": "dense", "name": "lin", "weights": "lin"}]
    return {
        "input": [{"name": "x", "kind": "seq", "size": inputs}],
        "layer": layers + _skip(model_data, inputs, outputs, weights),
    }


def _text(value: Any) -> str:
    return shown(repr(value)) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"


def _size(model_data: Mapping[str, Any], key: str, what: str, least: int = 1) -> int:
    value = model_data.get(key)
    if type(value) is not int or value < least:
        raise ConvertError(f"{what}: model_data.{key} is {_text(value)}, expected a whole number of at least {least}")
    return value


def _last(weights: Weights, name: str) -> int:
    return (weights.shape(name) or (0,))[-1]


def _check_weights(
    model_data: Mapping[str, Any], unit: str, inputs: int, outputs: int, weights: Weights
) -> None:
    """Every number of the description must be that of the weights; some files leave a few out."""
    what = weights.what
    layers, directions = count_layers(weights, "rec"), count_directions(weights, "rec")
    told = {"hidden_size": _last(weights, "rec.weight_hh_l0"), "num_layers": layers, **model_data}
    hidden = _size(told, "hidden_size", what)
    if _size(told, "num_layers", what) != layers:
        raise ConvertError(f"{what}: num_layers is {told['num_layers']}, but the weights are those of {layers}")
    expected = {
        "rec.weight_ih_l0": (GATES[unit] * hidden, inputs),
        "rec.weight_hh_l0": (GATES[unit] * hidden, hidden),
        "lin.weight": (outputs, hidden * directions),
    }
    for name, shape in expected.items():
        if weights.shape(name) != shape:
            raise ConvertError(
                f"{what}: {name} has shape {weights.shape(name)}, expected {shape}: unit_type "
                f"{model_data['unit_type']}, input_size {inputs}, hidden_size {hidden}, output_size {outputs}"
            )
    bias = model_data.get("bias_fl", weights.has("lin.bias"))
    if not isinstance(bias, bool | int) or bool(bias) != weights.has("lin.bias"):
        there = "there is a weight" if weights.has("lin.bias") else "there is no weight"
        raise ConvertError(f"{what}: bias_fl is {_text(bias)}, but {there} lin.bias")


def _skip(model_data: Mapping[str, Any], inputs: int, outputs: int, weights: Weights) -> list[dict[str, Any]]:
    what = weights.what
    skip = model_data.get("skip", _SKIP)
    skip = int(skip) if isinstance(skip, bool) else _size({"skip": skip}, "skip", what, least=0)
    if skip == 0:
        return []
    told = f"skip is {skip}" if "skip" in model_data else f"model_data.skip is missing, so skip is SimpleRNN's {skip}"
    if skip != outputs or skip > inputs:
        raise ConvertError(
            f"{what}: {told} but output_size {outputs} and input_size {inputs}; skip adds the first {skip} "
            "features of the input to the output"
        )
    if "skip" not in model_data:
        weights.notes.append(f'{told}: the input is added to the output; "skip": 0 in model_data leaves that out')
    return [
        {"op": "slice", "name": "dry", "input": "x", "start": 0, "size": skip},
        {"op": "add", "inputs": ["lin", "dry"]},
    ]
