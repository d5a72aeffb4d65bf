"""What a self-test proves: no tolerance, and no number in it, lets wrong outputs pass."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import cell_weights, weights
from lstm_rt_tools.judges import testdata
from make_bad_blobs import edited, seal, start_of

import lstm_rt
from lstm_rt import FormatError, GraphError, Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph, SelfTest


def small(scale: float = 1.0) -> Graph:
    """x -> lstm -> dense, outputs of about ``scale``, with a self-test."""
    rng, g = np.random.default_rng(0), Graph()
    seq, _, _ = g.recurrent("lstm", g.input("x", "seq", 3), cell_weights(rng, "lstm", 3, 8), hidden_size=8)
    g.output(g.dense(seq, scale * weights(rng, 4, 8, scale=1.0)), "y")
    g.selftest = testdata.make_selftest(g)
    assert g.selftest is not None
    return g


def damaged(blob: bytes, factor: float) -> bytes:
    """The file with the weights of its last layer multiplied, the checksum right."""
    node = start_of(blob, "node") + 160
    tensor = start_of(blob, "tensor") + 32 * struct.unpack_from("<I", blob, node + 44)[0]
    offset, size = struct.unpack_from("<QQ", blob, tensor)
    wrong = np.frombuffer(blob, "<f4", size // 4, offset) * np.float32(factor)
    return seal(blob[:offset] + wrong.tobytes() + blob[offset + size :])


def verdict(blob: bytes) -> Any:
    """What verify says, or None where the file or its self-test is refused."""
    try:
        return Model(blob).verify()["ok"]
    except FormatError:
        return None


# -- wrong outputs, whatever the file says ----------------------------------------------------------

TOLERANCES = [0.0, -0.0, 1e-9, 1e-5, 1e-3, 0.01, 0.1, 1.0, 1e3, 1e30, 3e38, np.inf, np.nan, -1e-5, -1e30, -np.inf]


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("factor", [0.0, -1.0, 0.9, 1.1, 1e6, np.nan, np.inf])
def test_no_tolerance_lets_wrong_outputs_pass(scale: float, factor: float) -> None:
    right = dumps(small(scale))
    wrong = damaged(right, factor)
    assert verdict(right) is True
    assert verdict(wrong) is False
    for atol in TOLERANCES:
        for rtol in TOLERANCES:
            edits = ("selftest", "atol", atol), ("selftest", "rtol", rtol)
            assert not verdict(edited(wrong, *edits)), (atol, rtol)


def test_tolerances_that_are_none_do_not_open() -> None:
    blob = dumps(small())
    for field, values in (("atol", (np.inf, np.nan, -1.0)), ("rtol", (np.inf, np.nan, -1.0, 0.02))):
        for value in values:
            with pytest.raises(FormatError, match="self-test record is wrong"):
                Model(edited(blob, ("selftest", field, value)))


def test_a_tolerance_as_large_as_the_outputs_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.lrt"
    path.write_bytes(edited(dumps(small()), ("selftest", "atol", 0.5)))
    model = lstm_rt.load(path)  # it runs: only what it says of itself is worthless
    with pytest.raises(FormatError, match=r"proves nothing.*atol is 0\.5, expected 0 to 0\.0"):
        model.verify()
    with pytest.raises(FormatError, match="proves nothing"):
        lstm_rt.load(path, verify=True)


# -- what is not finite -----------------------------------------------------------------------------


def constant(outputs: Any, expected: Any, **options: float) -> bytes:
    """A model that gives ``outputs`` for any input, and expects other numbers."""
    g = Graph()
    outputs, expected = np.array([outputs], np.float32), np.array([expected], np.float32)
    g.output(g.dense(g.input("x", "vec", 1), np.zeros((outputs.size, 1)), outputs[0]), "y")
    g.selftest = SelfTest([np.zeros((1, 1), np.float32)], [expected], **options)
    return dumps(g)


@pytest.mark.parametrize(
    ("outputs", "expected", "ok", "error"),
    [
        ([1, np.nan], [1, np.nan], True, 0),
        ([1, np.inf], [1, np.inf], True, 0),
        ([1, 2], [1, np.nan], False, np.inf),
        ([1, np.nan], [1, 2], False, np.inf),
        ([1, 2], [1, np.inf], False, np.inf),
        ([1, np.inf], [1, 2], False, np.inf),
        ([1, -np.inf], [1, np.inf], False, np.inf),
        ([1, np.nan], [1, np.inf], False, np.inf),
        ([1, 1.5], [1, 2], False, 0.5),
        ([0, 0], [0, 0], True, 0),
        ([0, 1e-3], [0, 0], False, 1e-3),
    ],
)
def test_numbers_that_are_not_finite(outputs: Any, expected: Any, ok: bool, error: float) -> None:
    result = Model(constant(outputs, expected)).verify()
    assert result["ok"] is ok
    assert result["max_abs_err"] == pytest.approx(error)


def test_small_outputs_are_held_to_their_own_size() -> None:
    """1e-5 is the promise for outputs of unit scale: smaller ones must not pass for being small."""
    assert Model(constant([1e-6, 2e-6], [1e-6, 2e-6])).verify()["ok"] is True
    assert Model(constant([0, 0], [1e-6, 2e-6])).verify()["ok"] is False
    assert Model(constant([1.1e-6, 2e-6], [1e-6, 2e-6])).verify()["ok"] is False


# -- what the writer refuses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "options", "message"),
    [
        ([1.0], {"atol": np.inf}, "atol is inf, expected a finite number"),
        ([1.0], {"atol": np.nan}, "atol is nan, expected a finite number"),
        ([1.0], {"atol": "much"}, "atol is 'much', expected a number"),
        ([1.0], {"atol": -1e-9}, "atol is -1e-09, expected 0 to 0.01"),
        ([1.0], {"atol": 0.011}, "atol is 0.011, expected 0 to 0.01: .* 'y' are no larger than 1"),
        ([1e-5], {"atol": 2e-5}, "atol is 2e-05, expected 0 to 1e-05"),
        ([1.0], {"rtol": 0.011}, "rtol is 0.011, expected 0 to 0.01"),
        ([1.0], {"rtol": -1e-4}, "rtol is -0.0001"),
        ([1.0], {"rtol": np.inf}, "rtol is inf"),
        ([np.nan, np.inf], {}, "'y' has no finite number"),
    ],
)
def test_the_writer_refuses_what_proves_nothing(expected: Any, options: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        constant(expected, expected, **options)


def test_limits_themselves_are_taken() -> None:
    assert Model(constant([1.0], [1.0], atol=0.01, rtol=0.01)).verify()["ok"] is True


def sequence(inputs: Any, outputs: Any) -> bytes:
    g = Graph()
    g.output(g.activation(g.input("x", "seq", 2), "relu"), "y")
    g.selftest = SelfTest([inputs], [outputs])
    return dumps(g)


def test_arrays_of_a_selftest() -> None:
    ones = np.ones((2, 3, 2))
    for inputs in (ones, ones.astype(np.int64), ones.tolist(), ones.astype(np.float32)):
        assert Model(sequence(inputs, ones)).verify()["ok"] is True
    for inputs, outputs, message in [
        (ones > 0, ones, "x has dtype bool, expected float32"),
        (np.ones((2, 3, 1)), ones, r"x has shape \(2, 3, 1\), expected \(2, 3, 2\)"),
        (ones, np.ones((2, 4, 2)), r"y has shape \(2, 4, 2\), expected \(2, 3, 2\)"),
        (ones[:, :0], ones[:, :0], "'y' has no finite number"),
        (ones[:0], ones[:0], "a batch of 0 rows, expected 1 to 4096"),
        (np.ones((4097, 1, 2)), np.ones((4097, 1, 2)), "a batch of 4097 rows"),
        (np.float32(1), ones, "a batch of 0 rows"),
    ]:
        with pytest.raises(GraphError, match=message):
            sequence(inputs, outputs)


def test_ids_of_a_selftest() -> None:
    def words(ids: Any) -> bytes:
        g = Graph()
        g.output(g.embedding(g.input("ids", "ids"), np.ones((3, 2))), "y")
        g.selftest = SelfTest([ids], [np.ones((1, 2, 2), np.float32)])
        return dumps(g)

    assert Model(words(np.array([[0, 2]], np.int64))).verify()["ok"] is True
    with pytest.raises(GraphError, match="ids has dtype float64, expected int32"):
        words(np.array([[0.0, 2.0]]))
    with pytest.raises(GraphError, match="ids holds numbers that are no int32"):
        words(np.array([[0, 1 << 32]]))
    outside = Model(words(np.array([[0, 3]])))
    with pytest.raises(FormatError, match="self-test has inputs that its model does not take"):
        outside.verify()


# -- the self-tests that converters make ------------------------------------------------------------


def difference(scale: float) -> Graph:
    """The difference of two products, each ``scale`` times as large: float32 loses as much."""
    g = Graph()
    x = g.input("x", "seq", 8)
    w = np.random.default_rng(0).uniform(scale, 2 * scale, (3, 8)).astype(np.float32)
    noise = np.random.default_rng(1).uniform(0, 1, (3, 8))
    g.output(g.binary("add", g.dense(x, w), g.dense(x, noise - w)), "y")
    return g


def growing() -> Graph:
    g = Graph()
    w = {"w_ih": np.full((1, 1), 1e4 / 3), "w_hh": np.full((1, 1), 7.7)}
    g.output(g.recurrent("rnn", g.input("x", "seq", 1), w, hidden_size=1, activations=["linear"])[0], "y")
    return g


def test_tolerance_follows_the_model() -> None:
    """Where float32 is far from float64 the test must allow for it, as long as it still proves something."""
    for graph, lowest, highest in (
        (difference(0.1), 1e-5, 1e-5),
        (difference(1e3), 1e-4, 1e-1),
        (growing(), 1e-5, 1.0),
        (small(1e-6), 1e-5, 1e-5),
    ):
        graph.selftest = testdata.make_selftest(graph)
        assert graph.selftest is not None
        assert lowest <= graph.selftest.atol <= highest
        for kernels in lstm_rt.kernels():
            assert Model(dumps(graph), kernels=kernels).verify()["ok"] is True
    assert testdata.make_selftest(difference(1e7)) is None  # nothing is left of the numbers


def test_windows_longer_than_the_usual_steps() -> None:
    """A self-test without a step in its outputs would prove nothing."""
    g = Graph()
    x = g.conv(g.input("x", "seq", 1), np.ones((2, 1, 40, 1, 1)), stride=(16, 1, 1))
    g.output(g.pool(x, "max", (3, 1, 1)), "y")
    test = testdata.make_selftest(g)
    assert test is not None
    assert test.inputs[0].shape[1] == 40 + 2 * 16
    assert test.outputs[0].shape[1:] == (1, 2)
