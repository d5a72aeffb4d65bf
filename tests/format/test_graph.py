"""Every wrong argument of a graph gives a named error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.models import zeros
from helpers.small_graphs import lstm

from lstm_rt import GraphError, LstmRtError
from lstm_rt.graph import Activation, Graph

W = {"w_ih": zeros(16, 4), "w_hh": zeros(16, 4)}
GRAPHS: dict[str, tuple[Callable[[Graph], Any], str]] = {
    "mask input": (lambda g: g.input("m", "mask"), "a mask cannot be an input; take it as ids"),
    "kind": (lambda g: g.input("i", "image"), "unknown kind 'image'; known: seq, vec, ids, lengths$"),
    "name": (lambda g: g.input(3, "seq", 2), "the name is 3, expected a string"),
    "output name": (lambda g: g.output(0, None), "the name is None, expected a string"),
    "size": (lambda g: g.input("q", "seq", 2.5), "size is 2.5, expected an integer"),
    "no size": (lambda g: g.input("q", "seq"), "size 0 does not fit kind seq"),
    "axis": (lambda g: g.input("q", "seq", 2, axis="0"), "axis is '0', expected an integer"),
    "axis number": (lambda g: g.input("q", "seq", 2, axis=5), "time axis 5 does not exist"),
    "tuple": (lambda g: g.output(lstm(g, 0), "y"), r"output: got \(.*\), expected the number of one value"),
    "value": (lambda g: g.select(99), "select: value 99 does not exist"),
    "hidden": (lambda g: g.recurrent("lstm", 0, W, hidden_size=4.0), "hidden_size is 4.0, expected an integer"),
    "clip": (lambda g: g.recurrent("lstm", 0, W, hidden_size=4, clip=1e40), "clip is 1e\\+40, expected a finite"),
    "negative clip": (lambda g: g.recurrent("lstm", 0, W, hidden_size=4, clip=-1), "clip is -1.0"),
    "activations": (
        lambda g: g.recurrent("lstm", 0, W, hidden_size=4, activations="tanh"), "'tanh', expected a list of 3"
    ),
    "activation": (lambda g: g.activation(0, ["tanh"]), "unknown activation"),
    "alpha": (lambda g: Activation("elu", alpha="x"), "activation elu: alpha is 'x', expected a number"),
    "large alpha": (lambda g: Activation("elu", alpha=1e39), "expected a finite number of float32"),
    "w_hr": (lambda g: g.recurrent("lstm", 0, {**W, "w_hr": np.float32(3)}, hidden_size=4), "w_hr has shape"),
    "ragged": (lambda g: g.dense(0, [[1.0], [2.0, 3.0]]), "dense: weight is not an array"),
    "int weights": (lambda g: g.dense(0, np.zeros((2, 4), int)), "weight has dtype int64, expected a float array"),
    "eps": (lambda g: g.layernorm(0, None, None, -1.0), "eps is -1.0, expected a non-negative"),
    "nan eps": (lambda g: g.layernorm(0, None, None, np.nan), "eps is nan, expected a finite"),
    "mask_ids": (lambda g: g.mask_ids(1, 1 << 31), "value is 2147483648, expected an int32"),
    "mask_values": (lambda g: g.mask_values(0, 1e300), "value is 1e\\+300, expected a finite"),
    "slice": (lambda g: g.slice(0, 0.5, 1), "start is 0.5, expected an integer"),
    "slice range": (lambda g: g.slice(0, 2, 3), r"slice: \[2, 5\) is not within 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", GRAPHS)
def test_graph(case: str) -> None:
    wrong, message = GRAPHS[case]
    g = Graph()
    g.input("x", "seq", 4)
    g.input("ids", "ids")
    with pytest.raises(GraphError, match=message):
        wrong(g)
    assert issubclass(GraphError, LstmRtError)
