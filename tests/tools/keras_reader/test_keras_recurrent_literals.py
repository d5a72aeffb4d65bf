"""Recurrent layers against the numbers of Keras's own tests: all weights of a kind are one constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.keras_models import L, keras
from lstm_rt_tools.keras_reader import from_keras as reader
from lstm_rt_tools.keras_reader import live

import lstm_rt.format


def constants(kernel: float = 0.01, recurrent: float = 0.02, bias: float = 0.03) -> dict[str, Any]:
    of = keras.initializers.Constant
    return {
        "kernel_initializer": of(kernel), "recurrent_initializer": of(recurrent), "bias_initializer": of(bias)
    }  # fmt: skip


def run(layer: Any, x: np.ndarray, states: tuple[np.ndarray, ...] = (), mask: Any = None) -> list[np.ndarray]:
    """The outputs of the converted layer."""
    inputs = [L.Input(a.shape[1:]) for a in (x, *states)]
    given = {"initial_state": inputs[1:]} if states else {}
    if mask is not None:
        inputs.append(L.Input(np.shape(mask)[1:], dtype="bool"))
        given["mask"] = inputs[-1]
    model = keras.Model(inputs, layer(inputs[0], **given))
    graph = reader._convert(live.open_live(model))
    arrays = [np.asarray(a, np.float32) for a in (x, *states)] + ([] if mask is None else [np.asarray(mask, np.int32)])
    out = lstm_rt.Model(lstm_rt.format.dumps(graph))(*arrays)
    return list(out) if isinstance(out, tuple) else [out]


def steps(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def rows(*numbers: float, units: int) -> np.ndarray:
    """Numbers that all units of a row have."""
    return np.repeat(np.array(numbers)[:, None], units, 1)


def check(actual: np.ndarray, expected: Any) -> None:
    assert actual.shape == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


FROM_ZERO: list[tuple[str, int, tuple[int, ...], dict[str, Any], tuple[float, ...]]] = [
    ("LSTM", 3, (3, 6, 4), {}, (0.6288687, 0.86899155, 0.9460773)),
    ("LSTM", 3, (3, 6, 4), {"go_backwards": True}, (0.35622165, 0.74789524, 0.8872726)),
    ("LSTM", 3, (3, 6, 4), {"unroll": True}, (0.6288687, 0.86899155, 0.9460773)),
    ("LSTM", 3, (3, 6, 4), {"unit_forget_bias": False}, (0.57019705, 0.8661914, 0.9459622)),
    ("LSTM", 3, (3, 6, 4), {"use_bias": False}, (0.54986924, 0.86226785, 0.9443936)),
    ("GRU", 3, (3, 6, 4), {}, (0.5217289, 0.6371659, 0.39384964)),
    ("GRU", 3, (3, 6, 4), {"go_backwards": True}, (0.24406259, 0.611516, 0.3928808)),
    ("GRU", 3, (3, 6, 4), {"reset_after": False}, (0.51447755, 0.6426879, 0.40208298)),
    ("GRU", 3, (3, 6, 4), {"use_bias": False}, (0.49988455, 0.64701194, 0.4103359)),
    ("SimpleRNN", 4, (2, 3, 4), {}, (0.405432, 0.73605347)),
    ("SimpleRNN", 4, (2, 3, 4), {"unroll": True}, (0.405432, 0.73605347)),
    ("SimpleRNN", 4, (2, 3, 4), {"go_backwards": True}, (0.11144729, 0.5528889)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "units", "shape", "options", "expected"), FROM_ZERO)
def test_from_zero(name: str, units: int, shape: tuple[int, ...], options: dict[str, Any], expected: Any) -> None:
    (actual,) = run(getattr(L, name)(units, **constants(), **options), steps(*shape))
    check(actual, rows(*expected, units=units))


GIVEN: list[tuple[str, bool, Any]] = [
    ("LSTM", False, [[0.20574439, 0.3558822], [0.64930826, 0.66276]]),
    ("LSTM", True, [[0.13281618, 0.2790356], [0.5839337, 0.5992567]]),
    ("GRU", False, [[0.23774096, 0.33508456], [0.83659905, 1.0227708]]),
    ("GRU", True, [[0.13486053, 0.23261218], [0.78257304, 0.9691353]]),
    ("SimpleRNN", False, rows(0.33621645, 0.6262637, units=4)),
    ("SimpleRNN", True, rows(0.07344437, 0.43043602, units=4)),
]


@pytest.mark.parametrize(("name", "backwards", "expected"), GIVEN)
def test_from_given_states(name: str, backwards: bool, expected: Any) -> None:
    units = np.shape(expected)[1]
    layer = getattr(L, name)(units, **constants(), go_backwards=backwards)
    states = (steps(2, units),) * (2 if name == "LSTM" else 1)
    check(run(layer, steps(2, 4, 3), states)[0], expected)


def test_state_too() -> None:
    layer = L.GRU(2, **constants(), return_state=True, go_backwards=True)
    output, state = run(layer, steps(2, 4, 3), (steps(2, 2),))
    check(output, [[0.13486053, 0.23261218], [0.78257304, 0.9691353]])
    check(state, output)


END, GAPS, FRONT = [[1, 1, 1, 0], [1, 1, 0, 0]], [[1, 1, 0, 1], [1, 0, 0, 1]], [[0, 1, 1, 1], [0, 0, 1, 1]]
MASKED: list[tuple[str, list[list[int]], dict[str, Any], tuple[float, ...]]] = [
    ("LSTM", END, {"unroll": True}, (0.11755939, 0.28556206)),
    ("LSTM", FRONT, {"go_backwards": True}, (0.15341201, 0.3844719)),
    ("GRU", GAPS, {"unroll": True}, (0.19393763, 0.30818558)),
    ("GRU", GAPS, {"go_backwards": True}, (0.11669192, 0.28380975)),
    ("SimpleRNN", GAPS, {"unroll": True, "units": 4}, (0.32951632, 0.61799484)),
    ("SimpleRNN", GAPS, {"go_backwards": True, "units": 4}, (0.07376196, 0.43645123)),
]


@pytest.mark.parametrize(("name", "mask", "options", "expected"), MASKED)
def test_masked(name: str, mask: Any, options: dict[str, Any], expected: tuple[float, ...]) -> None:
    options = {"units": 2} | options
    (actual,) = run(getattr(L, name)(**options, **constants()), steps(2, 4, 3), mask=mask)
    check(actual, rows(*expected, units=options["units"]))


STEPS: list[tuple[str, list[list[int]], list[list[float]]]] = [
    ("LSTM", END, [[0.01588910, 0.05552048, 0.11755939, 0.11755939], [0.14185596, 0.28556206, 0.28556206, 0.28556206]]),
    ("GRU", GAPS, [[0.03606692, 0.09497581, 0.09497581, 0.19393763], [0.16051409, 0.16051409, 0.16051409, 0.30818558]]),
    ("SimpleRNN", GAPS, [[0.0599281, 0.15122814, 0.15122814, 0.32394567], [0.3969304, 0.3969304, 0.3969304, 0.608085]]),
]


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(("name", "mask", "expected"), STEPS)
def test_masked_steps(name: str, mask: Any, expected: Any, zero: bool) -> None:
    layer = getattr(L, name)(2, **constants(), return_sequences=True, zero_output_for_mask=zero)
    (actual,) = run(layer, steps(2, 4, 3), mask=mask)
    wanted = np.array(expected) * (np.array(mask) if zero else 1)
    check(actual, np.repeat(wanted[..., None], 2, 2))


# -- layers around recurrent layers ------------------------------------------------------------------


def test_bidirectional() -> None:
    ahead = L.SimpleRNN(2, **constants())
    x, ends = steps(2, 3, 4), ([0.39687276, 0.7237238], [0.10004295, 0.53391594])
    (both,) = run(L.Bidirectional(ahead), x)
    check(both, np.hstack([rows(*e, units=2) for e in ends]))
    check(run(L.Bidirectional(ahead, merge_mode="ave"), x)[0], rows(0.24845785, 0.6288199, units=2))
    for actual, e in zip(run(L.Bidirectional(ahead, merge_mode=None), x), ends, strict=True):
        check(actual, rows(*e, units=2))
    back = L.SimpleRNN(2, **constants(0.03, 0.02, 0.01), go_backwards=True)
    layer = L.Bidirectional(ahead, backward_layer=back, merge_mode="mul")
    check(run(layer, x)[0], rows(0.08374989, 0.6740834, units=2))
    layer = L.Bidirectional(L.GRU(2, **constants(), return_sequences=True), merge_mode="sum")
    expected = [[0.20937867, 0.34462988, 0.40290534], [0.59829646, 0.6734641, 0.6479671]]
    check(run(layer, x)[0], np.repeat(np.array(expected)[..., None], 2, 2))


def test_bidirectional_states_and_masks() -> None:
    layer, x = L.Bidirectional(L.LSTM(2, **constants())), steps(2, 4, 3)
    expected = [[0.20794602, 0.4577124, 0.14046375, 0.48191673], [0.6682636, 0.6711909, 0.60943645, 0.60950446]]
    check(run(layer, x, tuple(steps(2, 2) * k for k in (1, 2, 3, 4)))[0], expected)
    (actual,) = run(L.Bidirectional(L.GRU(2, **constants())), x, mask=GAPS)
    check(actual, np.hstack([rows(0.19393763, 0.30818558, units=2), rows(0.11669192, 0.28380975, units=2)]))
    states = run(L.Bidirectional(L.LSTM(2, **constants(), return_state=True)), x)[1:]
    ends = [(0.1990008, 0.52335435), (0.35567185, 1.0492687), (0.12659755, 0.44717982), (0.2501858, 0.941473)]
    for actual, e in zip(states, ends, strict=True):
        check(actual, rows(*e, units=2))


def test_time_distributed() -> None:
    dense = L.Dense(1, kernel_initializer=keras.initializers.Constant(0.01), use_bias=False)
    (actual,) = run(L.TimeDistributed(dense), steps(3, 2, 4))
    check(actual, [[[0.06], [0.22]], [[0.38], [0.54]], [[0.7], [0.86]]])


def test_convlstm() -> None:
    layer = L.ConvLSTM2D(2, 3, **constants())
    (actual,) = run(layer, steps(2, 3, 4, 4, 5) / 100)
    images = [[[0.48694518, 0.50237733], [0.5461202, 0.5598283]], [[0.8661607, 0.86909103], [0.8774414, 0.8800861]]]
    check(actual, np.repeat(np.array(images)[..., None], 2, 3))
