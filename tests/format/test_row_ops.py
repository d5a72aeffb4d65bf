"""Nodes over rows of features: what a graph takes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_rt import GraphError
from lstm_rt.errors import AxesError
from lstm_rt.graph import Activation, Graph


@pytest.fixture
def g():
    """Values: x (0, seq of 6), v (1, vec of 6), one (2, vec of 1), other (3, seq of 6 on another axis)."""
    g = Graph()
    g.input("x", "seq", 6)
    g.input("v", "vec", 6)
    g.input("one", "vec", 1)
    g.input("other", "seq", 6)
    return g


X, V, ONE, OTHER = range(4)


def test_what_a_broadcast_gives(g):
    for a, b in ((X, V), (V, X), (X, ONE), (ONE, X)):
        v = g.values[g.binary("sub", a, b)]
        assert (v.kind, v.size, v.axis) == ("seq", 6, 0)
    v = g.values[g.binary("pow", ONE, V)]
    assert (v.kind, v.size, v.axis) == ("vec", 6, -1)
    assert g.values[g.binary("div", ONE, ONE)].size == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: g.binary("sub", X, g.slice(V, 0, 2)), "sub: 6 and 2 features differ, and neither is 1"),
        (lambda g: g.binary("average", X, V), "average: seq of 6 and vec of 6 features differ"),
        (lambda g: g.binary("mod", X, V), "unknown binary op 'mod'; known: .*pow"),
        (lambda g: g.gather(X, [6]), "gather: the index has 6 to 6, expected 0 to 5"),
        (lambda g: g.gather(X, [-1, 2]), "gather: the index has -1 to 2, expected 0 to 5"),
        (lambda g: g.gather(X, [2**40]), "gather: the index has .*, expected 0 to 5"),
        (lambda g: g.gather(X, [0.5]), "gather: index has dtype float64, expected integers"),
        (lambda g: g.gather(X, [[1]]), r"gather: index has shape \(1, 1\), expected \(any\)"),
        (lambda g: g.gather(X, np.zeros(0, int)), r"gather: index has shape \(0,\), expected \(any\)"),
        (lambda g: g.prelu(X, np.ones(5)), r"prelu: alpha has shape \(5,\), expected \(6\)"),
        (lambda g: g.l2norm(X, -1.0), "l2norm: eps is -1.0, expected a non-negative number"),
        (lambda g: g.l2norm(X, 0.0, 4), "l2norm: groups is 4, expected a divisor of 6, the number of features"),
        (lambda g: g.l2norm(X, 0.0, 0), "l2norm: groups is 0, expected 1 to"),
        (lambda g: g.groupnorm(X, None, None, 1e-5, 4), "groupnorm: groups is 4, expected a divisor of 6"),
        (lambda g: g.groupnorm(X, np.ones(3), None, 1e-5, 2), r"groupnorm: gamma has shape \(3,\), expected \(6\)"),
        (lambda g: g.reduce_features(X, "median"), "reduce_features: kind is median, expected sum or mean or"),
        (lambda g: g.reduce_features(X, 1), "reduce_features: kind is 1, expected sum or"),
        (lambda g: g.reduce_features(X, "sum", 5), "reduce_features: groups is 5, expected a divisor of 6"),
        (lambda g: g.activation(X, Activation("celu", 0.0)), "activation celu: alpha is 0.0, expected a positive"),
        (lambda g: g.activation(X, Activation("celu", -1.0)), "activation celu: alpha is -1.0, expected a positive"),
    ],
)
def test_what_is_refused(g, make, message):
    with pytest.raises(GraphError, match=message):
        make(g)


def test_axes_have_to_be_one(g):
    with pytest.raises(AxesError, match="sub: the values are on different time axes"):
        g.binary("sub", X, OTHER)


def test_an_index_is_no_parameter(g):
    g.output(g.gather(X, [0, 1, 1]), "y")
    g.output(g.prelu(X, np.ones(6)), "z")
    assert g.node_parameters() == [0, 6]
