"""Cells and products that scripts have written by hand, in architecture files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.state_dicts import RNG, array, rec
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.torch_reader.from_torch import from_torch

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

X = RNG.normal(0, 1, (2, 5, 3)).astype(np.float32)
STATE = {"lstm": ("ifgo", 4), "gru": ("rzn", 3), "rnn": ("h", 1)}
Arrays = dict[str, np.ndarray]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_hand(op: str, w: Arrays, x: np.ndarray, h: np.ndarray, after: bool) -> np.ndarray:
    """The equations, gate by gate, in float64; ``w`` has arrays for each: ``Wi``, ``Ui``, ``bi``, ``di``."""
    out, c = [], np.zeros_like(h)
    for t in range(x.shape[1]):
        def gate(g: str, h: np.ndarray = h, t: int = t) -> np.ndarray:
            return x[:, t] @ w["W" + g].T + w["b" + g] + h @ w["U" + g].T + w["d" + g]

        if op == "lstm":
            c = sigmoid(gate("f")) * c + sigmoid(gate("i")) * np.tanh(gate("g"))
            h = sigmoid(gate("o")) * np.tanh(c)
        elif op == "gru":
            r, z = sigmoid(gate("r")), sigmoid(gate("z"))
            inside = x[:, t] @ w["Wn"].T + w["bn"]
            inside += r * (h @ w["Un"].T + w["dn"]) if after else (r * h) @ w["Un"].T + w["dn"]
            h = (1 - z) * np.tanh(inside) + z * h
        else:
            h = np.tanh(gate("h"))
        out.append(h)
    return np.stack(out, 1)


@settings(max_examples=60, deadline=None)
@given(
    op=st.sampled_from(sorted(STATE)), shuffled=st.randoms(use_true_random=False), apart=st.booleans(),
    transpose=st.booleans(), candidate=st.booleans(), after=st.booleans(), learned=st.booleans(),
    biases=st.sampled_from([(), ("b",), ("b", "d")]),
)  # fmt: skip
def test_cells_by_hand(
    op: str, shuffled: Any, apart: bool, transpose: bool, candidate: bool, after: bool, learned: bool,
    biases: tuple[str, ...],
) -> None:  # fmt: skip
    gates = list(STATE[op][0])
    shuffled.shuffle(gates)
    shapes = {"W": (4, 3), "U": (4, 4), "b": (4,), "d": (4,)}
    used = ("W", "U", *biases)
    w = {k + g: array(*s) * np.float32(k in used) for g in gates for k, s in shapes.items()}
    names = {"w_ih": "W", "w_hh": "U", **{n: k for n, k in (("b_ih", "b"), ("b_hh", "d")) if k in biases}}
    state: Arrays = {"start": array(1, 4)}
    layer: dict[str, Any] = {"op": op, "gates": "".join(gates)}
    if candidate and op != "rnn":
        layer["gates"] = layer["gates"].replace("g" if op == "lstm" else "n", "c")
    for option, letter in names.items():
        turned = transpose and letter in "WU"
        parts = [w[letter + g] for g in gates]
        if apart:
            state |= {f"cell.{letter}{g}": p.T if turned else p for g, p in zip(gates, parts, strict=True)}
            layer[option] = [f"cell.{letter}{g}" for g in gates]
        else:
            state[f"cell.{letter}"] = np.concatenate(parts).T if turned else np.concatenate(parts)
            layer[option] = f"cell.{letter}"
    layer |= {"transpose": True} if transpose else {}
    layer |= {"reset_after": False} if op == "gru" and not after else {}
    layer |= {"nonlinearity": "tanh"} if op == "rnn" else {}
    layer |= {"h0": "start"} if learned else {}
    arch = {"input": [{"name": "x", "size": 3}], "layer": [layer], "ignore": [] if learned else ["start"]}
    y = Model(dumps(from_torch(state, arch=arch)))(X)
    h = np.broadcast_to(state["start"] if learned else np.zeros((1, 4)), (2, 4))
    exact = {k: v.astype(np.float64) for k, v in w.items()}
    np.testing.assert_allclose(y, by_hand(op, exact, X.astype(np.float64), h, after), atol=1e-5)


def test_its_states_have_names() -> None:
    state = {"W": array(8, 3), "U": array(8, 2)}
    layer = {"op": "lstm", "w_ih": "W", "w_hh": "U", "name": "cell"}
    outputs = [{"name": "h", "value": "cell.h"}, {"name": "c", "value": "cell.c.0"}]
    arch = {"input": [{"name": "x", "size": 3}], "layer": [layer], "output": outputs}
    h, c = Model(dumps(from_torch(state, arch=arch)))(X)
    assert h.shape == c.shape == (2, 2)


@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_products_by_hand(transpose: bool, bias: bool) -> None:
    """As the parameters of an attention that pools often are."""
    state = {"att.w": array(3, 2), **({"att.b": array(1, 2)} if bias else {})}
    layer = {"op": "dense", "weight": "att.w", "activation": "tanh", **({"bias": "att.b"} if bias else {})}
    if transpose:
        layer["transpose"] = True
    else:
        state["att.w"] = np.ascontiguousarray(state["att.w"].T)
    arch = {"input": [{"name": "x", "size": 3}], "layer": [layer]}
    w = state["att.w"] if transpose else state["att.w"].T
    wanted = np.tanh(X @ w + state.get("att.b", np.zeros(2)))
    np.testing.assert_allclose(Model(dumps(from_torch(state, arch=arch)))(X), wanted, atol=1e-5)


CELL = {"op": "lstm", "w_ih": "W", "w_hh": "U"}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({**CELL, "weights": "lstm"}, "weights is the prefix of a layer of torch.nn; the options of other cells"),
        ({"op": "gru", "weights": "lstm", "reset_after": False}, "weights is the prefix of a layer of torch.nn"),
        ({"op": "lstm", "w_ih": "W"}, r"w_hh is missing \(a str\)"),
        ({"op": "lstm", "gates": "ifgo"}, r"w_ih is missing \(a str\)"),
        ({**CELL, "gates": "ifg"}, "gates is 'ifg', expected 'ifgo' in the order of the weights"),
        ({**CELL, "w_ih": "nope"}, "w_ih: there is no value and no array 'nope'"),
        ({**CELL, "w_ih": ["W", "W"]}, r"w_ih is \['W', 'W'\], expected the name of an array, or one for each gate"),
        ({**CELL, "w_ih": 3}, "w_ih is 3, expected the name of an array"),
        ({**CELL, "w_ih": ["W", "W", "U", "W"]}, r"the arrays of w_ih have shapes \[\(8, 3\)"),
        ({**CELL, "w_ih": "odd"}, r"w_ih has shape \(7, 3\), expected 4 rows per hidden unit"),
        ({**CELL, "w_ih": "flat"}, r"w_ih has shape \(8,\), expected a matrix"),
        ({**CELL, "w_hh": "W"}, "lstm: w_"),
        ({"op": "dense", "weights": "lstm", "transpose": True}, "transpose is for a product without weights = "),
        ({"op": "dense", "bias": "flat"}, r"weights is missing \(a str\)"),
        ({"op": "dense", "weight": "W", "transpose": True}, "dense: weight has shape"),
    ],
)  # fmt: skip
def test_errors_name_what_is_wrong(layer: dict[str, Any], message: str) -> None:
    state = {"W": array(8, 3), "U": array(8, 2), "odd": array(7, 3), "flat": array(8), **rec("lstm", 3, 2)}
    arch = {"input": [{"name": "x", "size": 3}], "layer": [layer], "ignore": ["*"]}
    with pytest.raises(ConvertError, match=f"layer 1 .{layer['op']}.: .*{message}"):
        from_torch(state, arch=arch)
