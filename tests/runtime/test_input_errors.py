"""Every wrong argument gives a named error that says what was expected, and leaves the model usable."""

from __future__ import annotations

import copy
import errno
import io
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import cell_weights, inputs_for, recurrent_graph, weights
from helpers.programs import python

import lstm_rt
from lstm_rt import FormatError, GraphError, InputError, LstmRtError, Model
from lstm_rt.format import check, dumps, load_graph, write_atomically
from lstm_rt.graph import Activation, Graph

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (2, 6, 4)).astype(np.float32)
IDS = np.array([[1, 2, 3], [4, 5, 6]], np.int32)


def build(make: Callable[[Graph], None]) -> Model:
    g = Graph()
    make(g)
    return Model(dumps(g))


def lstm(g: Graph, x: int, hidden: int = 4, op: str = "lstm", **options: Any) -> tuple[int, int, int | None]:
    w = cell_weights(np.random.default_rng(1), op, g.values[x].size, hidden, options.get("direction", "forward"))
    return g.recurrent(op, x, w, hidden_size=hidden, **options)


def plain(g: Graph) -> None:
    g.output(lstm(g, g.input("x", "seq", 4))[0], "y")


def two_layers(g: Graph) -> None:
    g.output(lstm(g, lstm(g, g.input("x", "seq", 4))[0])[0], "y")


def mixed(g: Graph) -> None:
    g.output(lstm(g, lstm(g, g.input("x", "seq", 4))[0], 3, "gru")[0], "y")


def tokens(g: Graph) -> None:
    ids, rng = g.input("ids", "ids"), np.random.default_rng(2)
    g.output(lstm(g, g.embedding(ids, weights(rng, 7, 4)))[0], "y")
    g.output(g.embedding(ids, weights(rng, 9, 2)), "z")


def own_lengths(g: Graph) -> None:
    x = g.input("x", "seq", 4)
    g.input("n", "lengths", axis=0)
    g.output(lstm(g, x, direction="bidirectional")[0], "y")


def two_axes(g: Graph) -> None:
    ends = [lstm(g, g.input(name, "seq", 4))[1] for name in ("a", "b")]
    g.output(g.concat(*ends), "ends")


def one_axis(g: Graph) -> None:
    a, b = g.input("a", "seq", 4), g.input("b", "seq", 4, axis=0)
    v = g.input("v", "vec", 4)
    y, h, _ = lstm(g, g.binary("add", a, b))
    g.output(y, "y")
    g.output(g.binary("add", v, h), "z")


def both_ways(g: Graph) -> None:
    g.output(lstm(g, g.input("x", "seq", 4), direction="bidirectional")[0], "y")


def swapped(x: np.ndarray) -> np.ndarray:
    return x.astype(x.dtype.newbyteorder(">"))


def unaligned(x: np.ndarray) -> np.ndarray:
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    assert not raw.flags.aligned
    return raw


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


#: The same numbers, lying in memory in another way.
LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "swapped": swapped,
    "unaligned": unaligned,
    "Fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "backwards": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape))[1],
    "list": lambda a: a.tolist(),
    "tuple of rows": tuple,
    "list of rows": list,
}
INTEGERS = r"expected integers \("
STATE2 = (zeros(2, 2, 4), zeros(2, 2, 4))
L = np.array([6, 6], np.int32)

#: model, arguments, options, what the message says
CALLS: dict[str, tuple[Callable[[Graph], None], tuple[Any, ...], dict[str, Any], str]] = {
    "float64": (plain, (X.astype(float),), {}, r"input 'x': got float64 \(2, 6, 4\).*float32 \(N, T, 4\).*astype"),
    "float16": (plain, (X.astype(np.float16),), {}, "got float16.*astype"),
    "int": (plain, (X.astype(int),), {}, "got int64.*float32.*astype"),
    "bool": (plain, (X > 0,), {}, "got bool.*float32"),
    "object": (plain, (X.astype(object),), {}, "got object.*float32"),
    "complex": (plain, (X.astype(complex),), {}, "got complex128"),
    "rank 1": (plain, (X[0, 0],), {}, r"got float32 \(4,\), expected.*\(N, T, 4\)"),
    "rank 4": (plain, (X[None],), {}, r"got float32 \(1, 2, 6, 4\)"),
    "features": (plain, (zeros(2, 6, 5),), {}, r"got float32 \(2, 6, 5\).*\(N, T, 4\)"),
    "features unbatched": (plain, (zeros(6, 3),), {}, r"got float32 \(6, 3\).*\(T, 4\)"),
    "no features": (plain, (zeros(2, 6, 0),), {}, r"\(N, T, 4\)"),
    "masked array": (plain, (np.ma.masked_array(X),), {}, "got MaskedArray of float32"),
    "swapped float64": (plain, (swapped(X.astype(float)),), {}, "got >f8.*astype"),
    "flat list": (plain, (X.ravel().tolist(),), {}, r"got float32 \(48,\), expected float32 \(N, T, 4\)"),
    "ragged list": (plain, ([[[1.0], [2.0, 3.0]]],), {}, "input 'x': got a list, expected float32.*inhomogeneous"),
    "deep list": (plain, ([X.tolist()],), {}, r"input 'x': got lists in lists to a depth of more than 3, expected"),
    "list of float64 arrays": (plain, (list(X.astype(float)),), {}, r"'x': got float64 \(6, 4\).*\(N, T, 4\).*astype"),
    "list of masked arrays": (plain, ([np.ma.masked_array(x) for x in X],), {}, "'x': got MaskedArray of float32"),
    "list of bools": (plain, ((X > 0).tolist(),), {}, "'x': got a bool, expected float32"),
    "list of texts": (plain, ([[["a"] * 4]],), {}, "'x': got a str, expected float32"),
    "list of None": (plain, ([[[None] * 4]],), {}, "'x': got a NoneType, expected float32"),
    "list of complex": (plain, ([[[1j] * 4]],), {}, "'x': got a complex"),
    "list of large numbers": (plain, ([[[1, 2, 1e39, 3]]],), {}, r"'x': 1e\+39 at \[0, 0, 2\] does not fit into"),
    "list of huge numbers": (plain, ([[[1, 2, 3, 10**400]]],), {}, "'x': got a list, expected.*too large"),
    "memoryview of float64": (plain, (memoryview(X.astype(float)),), {}, r"a memoryview of float64 \(2, 6, 4\)"),
    "set": (plain, ({1.0},), {}, "got a set, expected float32"),
    "None": (plain, (None,), {}, "got a NoneType"),
    "scalar": (plain, (1.0,), {}, "got a float"),
    "text": (plain, ("x",), {}, "got a str"),
    "batch 0": (plain, (zeros(0, 6, 4),), {}, "the batch is 0, expected 1 to"),
    "float ids": (tokens, (IDS.astype(np.float32),), {}, f"input 'ids': got float32.*{INTEGERS}"),
    "bool ids": (tokens, (IDS > 3,), {}, f"got bool.*{INTEGERS}"),
    "object ids": (tokens, (IDS.astype(object),), {}, f"got object.*{INTEGERS}"),
    "masked ids": (tokens, (np.ma.masked_array(IDS),), {}, f"got MaskedArray of int32.*{INTEGERS}"),
    "ragged ids": (tokens, ([[1, 2], [3]],), {}, "got a list"),
    "ids of rank 3": (tokens, (IDS[None],), {}, r"got int32 \(1, 2, 3\)"),
    "negative id": (tokens, ([[1, 2, 3], [4, -5, 6]],), {}, r"input 'ids': id -5 at \[1, 1\], expected 0 to 6"),
    "large id": (tokens, ([[1, 7, 3]],), {}, r"id 7 at \[0, 1\], expected 0 to 6"),
    "large id unbatched": (tokens, ([1, 2, 8],), {}, r"id 8 at \[2\], expected 0 to 6"),
    "int64 ids": (tokens, ([[-1, 2, 1 << 33]],), {}, r"8589934592 at \[0, 2\] does not fit into int32"),
    "low int64 ids": (tokens, ([[1, -(1 << 40)]],), {}, r"-1099511627776 at \[0, 1\] does not fit"),
    "uint64 ids": (tokens, (np.array([[1 << 63]], np.uint64),), {}, "does not fit into int32"),
    "length high": (plain, (X,), {"lengths": [6, 7]}, r"lengths: 7 at \[1\], expected 0 to 6"),
    "length low": (plain, (X,), {"lengths": [-1, 7]}, r"lengths: -1 at \[0\], expected 0 to 6"),
    "length count": (plain, (X,), {"lengths": [1, 2, 3]}, "lengths has 3 entries, expected one per row: 2"),
    "length rank": (plain, (X,), {"lengths": [[1, 2]]}, r"lengths: got int32 \(1, 2\)"),
    "length dtype": (plain, (X,), {"lengths": [1.0, 2.0]}, f"lengths: got a list of float64.*{INTEGERS}"),
    "length bool": (plain, (X,), {"lengths": [True, False]}, "lengths: got a list of bool"),
    "length text": (plain, (X,), {"lengths": "ab"}, "lengths: got"),
    "length ragged": (plain, (X,), {"lengths": [[1], [2, 3]]}, "lengths: got a list"),
    "length scalar": (plain, (X,), {"lengths": 3}, "lengths: got"),
    "length unbatched": (plain, (X[0],), {"lengths": 9}, r"lengths: 9 at \[0\], expected 0 to 6"),
    "length unbatched count": (plain, (X[0],), {"lengths": [1, 2]}, "lengths has 2 entries.*1"),
    "length int64": (plain, (X,), {"lengths": [1 << 40, 1]}, "does not fit into int32"),
    "length name": (plain, (X,), {"lengths": {"q": [1, 2]}}, "lengths for 'q', which is not a sequence input"),
    "length of a vec": (one_axis, (X, X, zeros(2, 4)), {"lengths": {"v": L}}, "'v', which is not a sequence"),
    "length twice": (one_axis, (X, X, zeros(2, 4)), {"lengths": {"a": L, "b": L}}, "'b' are given twice"),
    "lengths and axes": (two_axes, (X, X), {"lengths": L}, "several time axes: give lengths as a dict of a, b"),
    "lengths on one of two": (two_axes, (X, X), {"lengths": {"b": [1, 9]}}, r"9 at \[1\], expected 0 to 6"),
    "own lengths": (own_lengths, (X, L), {"lengths": L}, "'x' are an input of this model of their own"),
    "own lengths high": (own_lengths, (X, [1, 8]), {}, r"input 'n': 8 at \[1\], expected 0 to 6"),
    "own lengths float": (own_lengths, (X, [1.0, 2.0]), {}, "input 'n': got a list of float64"),
    "own lengths count": (own_lengths, (X, [1, 2, 3]), {}, "input 'n' has a batch of 3, the inputs before it 2"),
    "batch": (one_axis, (X, X[:1], zeros(2, 4)), {}, "input 'b' has a batch of 1, the inputs before it 2"),
    "vec batch": (one_axis, (X, X, zeros(3, 4)), {}, "input 'v' has a batch of 3"),
    "steps": (one_axis, (X, zeros(2, 5, 4), zeros(2, 4)), {}, "'b' has 5 steps, an input before it.* 6"),
    "one unbatched": (one_axis, (X, X[0], zeros(2, 4)), {}, r"input 'b': got float32 \(6, 4\).*\(N, T, 4\)"),
    "vec features": (one_axis, (X, X, zeros(2, 5)), {}, r"input 'v': got float32 \(2, 5\).*\(N, 4\)"),
    "out float64": (plain, (X,), {"out": np.zeros((2, 6, 4))}, "'y': got float64.*expected a writeable C-contiguous"),
    "out shape": (plain, (X,), {"out": zeros(2, 5, 4)}, r"out for 'y': got float32 \(2, 5, 4\).*\(2, 6, 4\)"),
    "out rank": (plain, (X,), {"out": zeros(6, 4)}, r"expected.*\(2, 6, 4\)"),
    "out read-only": (plain, (X,), {"out": read_only(zeros(2, 6, 4))}, "read-only, expected a writeable"),
    "out strided": (plain, (X,), {"out": zeros(2, 12, 4)[:, ::2]}, "not C-contiguous"),
    "out unaligned": (plain, (X,), {"out": unaligned(zeros(2, 6, 4))}, "not aligned"),
    "out swapped": (plain, (X,), {"out": swapped(zeros(2, 6, 4))}, "got >f4"),
    "out list": (plain, (X,), {"out": X.tolist()}, "out"),
    "out text": (plain, (X,), {"out": "y"}, "out for 'y': got a str"),
    "out too many": (plain, (X,), {"out": [zeros(2, 6, 4)] * 2}, "out holds 2 arrays, this model has 1 outputs"),
    "out too few": (tokens, (IDS,), {"out": zeros(2, 3, 4)}, "out holds 1 arrays, this model has 2"),
    "state": (plain, (X,), {"state": zeros(1, 2, 4)}, r"state: got float32 \(1, 2, 4\), expected a pair \(h, c\)"),
    "state of three": (plain, (X,), {"state": (1, 2, 3)}, r"got a tuple of 3, expected a pair \(h, c\)"),
    "state text": (plain, (X,), {"state": "h"}, "state: got a str"),
    "state h": (plain, (X,), {"state": (zeros(1, 3, 4), zeros(1, 2, 4))}, r"state h: got.*\(1, 3, 4\).*\(1, 2, 4\)"),
    "state c": (plain, (X,), {"state": (zeros(1, 2, 4), zeros(1, 2, 5))}, r"state c: got.*\(1, 2, 5\).*\(1, 2, 4\)"),
    "state float64": (plain, (X,), {"state": np.zeros((2, 1, 2, 4))}, "state"),
    "state dtype": (plain, (X,), {"state": (np.zeros((1, 2, 4)), zeros(1, 2, 4))}, "state h: got float64.*astype"),
    "state None": (plain, (X,), {"state": (None, None)}, "state h: got a NoneType"),
    "state stacked": (two_layers, (X,), {"state": (zeros(1, 2, 4),) * 2}, r"\(1, 2, 4\).*\(2, 2, 4\)"),
    "state unbatched": (two_layers, (X[0],), {"state": STATE2}, r"got float32 \(2, 2, 4\).*\(2, 4\)"),
    "state of mixed": (mixed, (X,), {"state": zeros(2, 2, 4)}, "one entry for each of 2 recurrent layers"),
    "state of mixed count": (mixed, (X,), {"state": (1,)}, "got 1 entries, expected.* 2 recurrent layers"),
    "state of mixed pair": (mixed, (X,), {"state": (zeros(1, 2, 4), zeros(1, 2, 3))}, r"layer 0: .*a pair \(h, c\)"),
    "state of mixed array": (
        mixed, (X,), {"state": ((zeros(1, 2, 4),) * 2, (zeros(1, 2, 3),) * 2)}, "layer 1:.*expected one array h"
    ),
    "state of mixed shape": (
        mixed, (X,), {"state": ((zeros(1, 2, 4),) * 2, zeros(1, 2, 4))}, r"state h of layer 1: got.*\(1, 2, 3\)"
    ),
    "threads 0": (plain, (X,), {"threads": 0}, "threads is 0, expected 'auto' or an integer from 1 to 64"),
    "threads 65": (plain, (X,), {"threads": 65}, "threads is 65"),
    "threads float": (plain, (X,), {"threads": 2.0}, "threads is 2.0"),
    "threads bool": (plain, (X,), {"threads": True}, "threads is True"),
    "threads text": (plain, (X,), {"threads": "all"}, "threads is 'all'"),
}  # fmt: skip


def arguments(make: Callable[[Graph], None], batch: int = 2) -> list[Any]:
    g = Graph()
    make(g)
    return [a % 7 if a.dtype == np.int32 else a for a in inputs_for(np.random.default_rng(3), g, batch, 6)]


@pytest.mark.parametrize("case", CALLS)
def test_call(case: str) -> None:
    make, inputs, options, message = CALLS[case]
    model, good = build(make), arguments(make)
    before = model(*good)
    with pytest.raises(InputError, match=message):
        model(*inputs, **options)
    np.testing.assert_equal(model(*good), before)


@pytest.mark.parametrize(
    ("inputs", "named", "message"),
    [
        ((), {}, "0 inputs given, this model takes 3: a, b, v"),
        ((X, X), {}, "2 inputs given, this model takes 3"),
        ((X, X, X, X), {}, "4 inputs given"),
        ((X,), {"b": X}, "input 'v' is missing; inputs of this model: a, b, v"),
        ((X, X), {"v": zeros(2, 4), "w": X}, "unexpected argument 'w'; inputs of this model: a, b, v"),
        ((X, X), {"b": X, "v": zeros(2, 4)}, "input 'b' is given twice"),
        ((X, X, zeros(2, 4), X), {"v": zeros(2, 4)}, "input 'v' is given twice"),
    ],
)
def test_names_of_inputs(inputs: tuple[Any, ...], named: dict[str, Any], message: str) -> None:
    model = build(one_axis)
    with pytest.raises(TypeError, match=message):
        model(*inputs, **named)
    by_name, by_place = model(v=zeros(2, 4), b=X, a=X), model(X, X, zeros(2, 4))
    np.testing.assert_equal(by_name, by_place)


def test_inputs_named_like_arguments() -> None:
    def make(g: Graph) -> None:
        x, h0 = g.input("x", "seq", 4), g.input("state", "vec", 4)
        g.input("lengths", "lengths", axis=0)
        g.output(lstm(g, x, op="gru", h0=h0)[0], "y")

    model, start = build(make), RNG.uniform(-1, 1, (2, 4)).astype(np.float32)
    np.testing.assert_equal(model(X, state=start, lengths=[3, 6]), model(X, start, [3, 6]))
    with pytest.raises(TypeError, match="input 'x' is given twice"):
        model(X, state=start, lengths=L, x=X)
    with pytest.raises(TypeError, match="input 'state' is missing"):
        model(X, lengths=L)


@pytest.mark.parametrize("name", ["lengths", "state", "return_state", "out", "threads", "self", "x", "named"])
def test_inputs_of_any_name(name: str) -> None:
    """An input takes the keyword of its name; the argument of that name is there when all inputs come in order."""

    def make(g: Graph) -> None:
        y, h, _ = lstm(g, g.input("sequence", "seq", 4))
        g.output(y, "y")
        g.output(g.binary("add", h, g.input(name, "vec", 4)), "z")

    model, v = build(make), RNG.uniform(-1, 1, (2, 4)).astype(np.float32)
    want, state = model(X, v, return_state=True)
    np.testing.assert_equal(model(X, **{name: v}), want)
    np.testing.assert_equal(model(**{name: v, "sequence": X}), want)
    with pytest.raises(TypeError, match=f"1 inputs given, this model takes 2: sequence, {name}"):
        model(X)
    options = {"lengths": [6, 6], "state": (zeros(1, 2, 4),) * 2, "out": (None, None), "threads": 1}
    np.testing.assert_equal(model(X, v, **options, return_state=True), (want, state))
    others = {n: o for n, o in options.items() if n != name}
    np.testing.assert_equal(model(X, **{**others, name: v}), want)


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "int64": lambda a: a.astype(np.int64),
    "uint8": lambda a: a.astype(np.uint8),
    **LAYOUTS,
}


@pytest.mark.parametrize("convert", FORMS.values(), ids=FORMS)
def test_ids_of_any_integer_form(convert: Callable[[np.ndarray], Any]) -> None:
    model = build(tokens)
    np.testing.assert_equal(model(convert(IDS)), model(IDS))
    group = model.streams(2)
    keys = [group.join() for _ in range(2)]
    np.testing.assert_equal(group.feed(convert(IDS)), model(IDS))
    for key in keys:
        group.reset(key)
    np.testing.assert_equal(group.step(convert(IDS[:, 0])), [y[:, 0] for y in model(IDS)])


class ArrayLike:
    """What NumPy takes for an array, and nothing else."""

    def __init__(self, a: np.ndarray) -> None:
        self.a = a

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.a


FLOAT_FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "read-only": read_only,
    "memoryview": memoryview,
    "array-like": ArrayLike,
    "list of array-likes": lambda a: [ArrayLike(np.asarray(b)) for b in a],
    "list of NumPy's numbers": lambda a: np.array([*map(np.float64, a.ravel())], object).reshape(a.shape).tolist(),
    **LAYOUTS,
}


@pytest.mark.parametrize("convert", FLOAT_FORMS.values(), ids=FLOAT_FORMS)
def test_floats_of_any_form(convert: Callable[[np.ndarray], Any]) -> None:
    """How numbers lie in memory does not matter: in calls, streams and groups, and in states."""
    model = build(plain)
    want, (h, c) = model(X, return_state=True)
    before = X.copy()
    np.testing.assert_equal(model(convert(X)), want)
    np.testing.assert_equal(model(convert(X[0])), want[0])
    np.testing.assert_equal(model(x=convert(X), state=(convert(h), convert(c))), model(X, state=(h, c)))
    stream, group = model.stream(2), model.streams(2)
    keys = [group.join() for _ in range(2)]
    np.testing.assert_equal([stream.step(convert(X[:, t])) for t in range(6)], want.swapaxes(0, 1))
    np.testing.assert_equal([group.step(convert(X[:, t])) for t in range(6)], want.swapaxes(0, 1))
    one = model.stream()
    np.testing.assert_equal(one.step(convert(X[0, 0])), want[0, 0])
    one.reset()
    np.testing.assert_equal(one.feed(convert(X[0])), want[0])
    stream.state = (convert(h[:, ::-1]), convert(c[:, ::-1]))
    np.testing.assert_equal(stream.state, (h[:, ::-1], c[:, ::-1]))
    group.set_state(keys[0], (convert(h[:, :1]), convert(c[:, :1])))
    np.testing.assert_equal(group.state(keys[0]), (h[:, :1], c[:, :1]))
    np.testing.assert_equal(X, before)


def test_lists_of_whole_numbers() -> None:
    model, rows = build(plain), [[[1, -2, 3, 0], [4.5, 5, 6, 7]]]
    np.testing.assert_equal(model(rows), model(np.array(rows, np.float32)))
    ids = build(tokens)
    assert [y.shape for y in ids([[], []])] == [(2, 0, 4), (2, 0, 2)]
    assert np.isinf(build(one_axis)(X, X, [[np.inf] * 4] * 2)[1]).all()


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    model, ids, x = build(plain), build(tokens), torch.from_numpy(X)
    want, state = model(X, return_state=True)
    for tensor in (x, x.transpose(0, 1).contiguous().transpose(0, 1), x.clone().requires_grad_(), [*x]):
        np.testing.assert_equal(model(tensor), want)
    given = tuple(torch.from_numpy(a) for a in state)
    np.testing.assert_equal(model(x, state=given), model(X, state=state))
    np.testing.assert_equal(model(x, lengths=torch.tensor([3, 6])), model(X, lengths=[3, 6]))
    np.testing.assert_equal(ids(torch.from_numpy(IDS).long()), ids(IDS))
    assert model.stream().step(x[0, 0]).shape == (4,)
    for wrong, message in (
        (x.double(), r"'x': got Tensor of torch.float64 \(2, 6, 4\), expected float32 .*; convert it with x.float"),
        (x.bfloat16(), r"got Tensor of torch.bfloat16 \(2, 6, 4\), .*BFloat16; convert it with x.float\(\)"),
        (x.int(), r"torch\.int32.*x\.float"),
        (x > 0, r"torch\.bool.*x\.float"),
        (x.to_sparse(), r"Tensor of torch\.float32.*to_dense"),
        (x.to("meta"), r"Tensor of torch\.float32.*meta"),
        ([*x.double()], r"torch\.float64"),
    ):
        with pytest.raises(InputError, match=message):
            model(wrong)
    with pytest.raises(InputError, match=r"out for 'y': got Tensor of torch\.float32"):
        model(x, out=torch.zeros(2, 6, 4))


def test_array_likes_that_fail() -> None:
    class Broken:
        def __init__(self, e: Exception) -> None:
            self.e = e

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            raise self.e

    model = build(plain)
    with pytest.raises(InputError, match=r"input 'x': got a Broken, expected float32 \(N, T, 4\): on the moon"):
        model(Broken(RuntimeError("on the moon")))
    with pytest.raises(MemoryError):
        model(Broken(MemoryError()))
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InputError, match="lists in lists"):
        model(endless)
    with pytest.raises(InputError, match="input 'ids'"):
        build(tokens)(endless)


def test_memory_maps_are_arrays(tmp_path: Path) -> None:
    model = build(plain)
    np.save(tmp_path / "x.npy", X)
    np.testing.assert_array_equal(model(np.load(tmp_path / "x.npy", mmap_mode="r")), model(X))


def test_unbatched_forms() -> None:
    model, ids, pair = build(plain), build(tokens), build(one_axis)
    y, (h, c) = model(X[0], return_state=True)
    whole, (hs, cs) = model(X[:1], return_state=True)
    assert y.shape == (6, 4)
    assert h.shape == c.shape == (1, 4)
    np.testing.assert_equal((y, h, c), (whole[0], hs[:, 0], cs[:, 0]))
    np.testing.assert_equal(model(X[0], lengths=3), model(X[0], lengths=[3]))
    np.testing.assert_equal(model(X[0], lengths=3), model(X[:1], lengths=[3])[0])
    np.testing.assert_equal(model(X[0], state=(h, c)), model(X[:1], state=(hs, cs))[0])
    out = zeros(6, 4)
    assert model(X[0], out=out) is out
    np.testing.assert_array_equal(out, y)
    np.testing.assert_equal(ids(IDS[0]), tuple(y[0] for y in ids(IDS[:1])))
    np.testing.assert_equal(pair(X[0], X[0], zeros(4)), tuple(y[0] for y in pair(X[:1], X[:1], zeros(1, 4))))
    own = build(own_lengths)
    np.testing.assert_equal(own(X[0], 3), own(X[:1], [3])[0])


# -- memory that is shared ---------------------------------------------------------------------------


def test_out_must_not_share_memory() -> None:
    model, pair = build(plain), build(one_axis)
    x = X.copy()
    for out in (x, x.view()):
        with pytest.raises(InputError, match="out shares memory with an input"):
            model(x, out=out)
    buffer = np.zeros(2 * 6 * 4 + 3, np.float32)
    a, b = buffer[:48].reshape(2, 6, 4), buffer[3:].reshape(2, 6, 4)
    with pytest.raises(InputError, match="shares memory"):
        model(a, out=b)
    with pytest.raises(InputError, match="shares memory"):
        model(b, out=a)
    np.testing.assert_array_equal(x, X)
    joined = np.zeros(200, np.float32)
    with pytest.raises(InputError, match="another out"):
        pair(X, X, zeros(2, 4), out=(joined[:48].reshape(2, 6, 4), joined[40:48].reshape(2, 4)))
    good = pair(X, X, zeros(2, 4), out=(joined[:48].reshape(2, 6, 4), joined[48:56].reshape(2, 4)))
    np.testing.assert_equal(good, pair(X, X, zeros(2, 4)))


def test_what_is_copied_may_share_memory() -> None:
    model, ids = build(plain), build(tokens)
    out = np.full((2, 3, 4), 1e-45, np.float32)  # as integers: 1
    shared = out.reshape(-1).view(np.int32)
    np.testing.assert_equal(ids(shared[:6].reshape(2, 3), out=(out, None)), ids([[1] * 3] * 2))
    out = np.full((2, 6, 4), 1e-45, np.float32)
    shared = out.reshape(-1).view(np.int32)
    np.testing.assert_equal(model(X, lengths=shared[:2], out=out), model(X, lengths=[1, 1]))
    x = X.copy()
    np.testing.assert_equal(model(x[:, ::-1], out=x), model(X[:, ::-1].copy()))
    stream, out = ids.stream(4), np.full((4, 4), 1e-45, np.float32)
    np.testing.assert_equal(stream.step(out.view(np.int32)[0], out=(out, None)), ids.stream(4).step([1] * 4))


def test_streams_and_shared_memory() -> None:
    stream = build(plain).stream()
    x = X[0].copy()
    with pytest.raises(InputError, match="shares memory"):
        stream.step(x[0], out=x[0])
    with pytest.raises(InputError, match="shares memory"):
        stream.feed(x, out=x)
    joined = zeros(2, 4)
    stream.step(joined[0], out=joined[1])
    assert joined[1].any()


def shown(blob: bytearray) -> dict[str, Any]:
    """Buffers that show what is in ``blob``: what is read-only may still change."""
    view = np.frombuffer(blob, np.uint8)
    locked = view.view()
    locked.flags.writeable = False
    return {
        "bytearray": blob,
        "array": view,
        "floats": view.view(np.float32),
        "memoryview": memoryview(blob),
        "read-only memoryview": memoryview(blob).toreadonly(),
        "read-only array": locked,
    }


@pytest.mark.parametrize("form", shown(bytearray(4)))
def test_a_buffer_is_copied(form: str) -> None:
    """A model must not change once it has been checked."""
    g = Graph()
    plain(g)
    content = dumps(g)
    space = bytearray(len(content) + 64)
    start = -np.frombuffer(space, np.uint8).ctypes.data % 64  # as the core needs it, so there is no other reason
    aligned = memoryview(space)[start : start + len(content)]
    aligned[:] = content
    buffer = shown(aligned)[form]  # type: ignore[arg-type]
    model, copied = Model(buffer), copy.deepcopy(Model(buffer))
    before, info = model(X), model.info
    aligned[:] = bytes(len(content))
    np.testing.assert_array_equal(model(X), before)
    np.testing.assert_array_equal(copied(X), before)
    assert model.info == info
    assert pickle.loads(pickle.dumps(model)).info == info


def test_what_a_model_says_of_itself_cannot_be_changed() -> None:
    model = build(one_axis)
    assert isinstance(model.inputs, tuple)
    assert isinstance(model.outputs, tuple)
    port = model.inputs[0]
    for name, value in (("name", "z"), ("kind", "ids"), ("shape", ()), ("dtype", "int32"), ("size", 9), ("axis", 7)):
        with pytest.raises(AttributeError):
            setattr(port, name, value)
        with pytest.raises(AttributeError):
            object.__setattr__(port, name, value)
    for name in ("inputs", "outputs", "threads"):
        with pytest.raises(AttributeError):
            setattr(model, name, None)
    for again in (copy.copy(port), copy.deepcopy(port), pickle.loads(pickle.dumps(port))):
        assert (repr(again), again.axis, again.kind) == (repr(port), 0, "seq")
    with pytest.raises(TypeError):
        type("Mine", (lstm_rt.Port,), {})
    assert model(X, X, zeros(2, 4), lengths={"b": [3, 6]})[0].shape == (2, 6, 4)


# -- streams -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [both_ways, own_lengths, two_axes])
def test_models_that_cannot_stream(make: Callable[[Graph], None]) -> None:
    model = build(make)
    assert not model.can_stream
    with pytest.raises(InputError, match="cannot stream"):
        model.stream()


@pytest.mark.parametrize("batch", [0, -1, 1.0, "2", None, True, 1 << 25])
def test_stream_batch(batch: Any) -> None:
    with pytest.raises(InputError, match=r"batch is .*expected an integer from 1 to"):
        build(plain).stream(batch)


def test_stream_threads() -> None:
    with pytest.raises(InputError, match="threads is 0"):
        build(plain).stream(threads=0)
    with pytest.raises(TypeError):
        lstm_rt.Stream(None)


@pytest.mark.parametrize(
    ("batch", "method", "x", "out", "message"),
    [
        (2, "step", zeros(3, 4), None, r"input 'x': got float32 \(3, 4\).*\(2, 4\)"),
        (2, "step", zeros(4), None, r"got float32 \(4,\).*\(2, 4\)"),
        (2, "step", zeros(2, 5), None, r"\(2, 5\).*\(2, 4\)"),
        (2, "step", np.zeros((2, 4)), None, "got float64.*astype"),
        (2, "step", [[1.0], [2.0, 3.0]], None, "got a list"),
        (2, "step", [1.0] * 4, None, r"got float32 \(4,\).*\(2, 4\)"),
        (1, "step", zeros(3), None, r"got float32 \(3,\).*\(4,\)"),
        (1, "step", None, None, "got a NoneType"),
        (2, "step", zeros(2, 4), zeros(2, 3), r"out for 'y': got float32 \(2, 3\).*\(2, 4\)"),
        (2, "step", zeros(2, 4), read_only(zeros(2, 4)), "read-only"),
        (1, "step", zeros(4), zeros(1, 4), "out for 'y'"),
        (2, "step", zeros(2, 4), "y", "got a str"),
        (2, "feed", zeros(3, 5, 4), None, "the stream has a batch of 2, the input 3"),
        (2, "feed", zeros(5, 4), None, "the stream has a batch of 2, the input 1"),
        (2, "feed", zeros(2, 5, 3), None, r"\(N, T, 4\)"),
        (2, "feed", zeros(2, 5, 4), zeros(2, 4, 4), r"out for 'y'.*\(2, 5, 4\)"),
        (2, "feed", zeros(2, 5, 4), [zeros(2, 5, 4)] * 2, "out holds 2 arrays"),
    ],
)
def test_stream_calls(batch: int, method: str, x: Any, out: Any, message: str) -> None:
    stream = build(plain).stream(batch)
    good = np.ones((batch, 4), np.float32)
    stream.step(good)
    state = stream.state
    with pytest.raises(InputError, match=message):
        getattr(stream, method)(x, out=out)
    np.testing.assert_equal(stream.state, state)


def test_stream_ids() -> None:
    stream = build(tokens).stream(2)
    for wrong, message in (
        ([1], "input 'ids'"),
        ([[1, 2]], "input 'ids'"),
        ([1.0, 2.0], "got a list"),
        ([1, 9], r"id 9 at \[1, 0\], expected 0 to 6"),
        ([1, -1], r"id -1 at \[1, 0\]"),
        ([1, 1 << 40], "does not fit into int32"),
    ):
        with pytest.raises(InputError, match=message):
            stream.step(wrong)
    with pytest.raises(InputError, match=r"id 7 at \[0, 2\]"):
        stream.feed([[1, 2, 7], [1, 2, 3]])
    with pytest.raises(TypeError, match="2 inputs given, this model takes 1"):
        stream.step([1, 2], [1, 2])
    np.testing.assert_equal(stream.step([1, 2]), build(tokens).stream(2).step(np.array([1, 2])))


def test_stream_state() -> None:
    stream = build(mixed).stream(2)
    stream.step(zeros(2, 4) + 1)
    state = stream.state
    for wrong in (None, (), (zeros(1, 2, 4), zeros(1, 2, 3)), ((zeros(1, 2, 4),) * 2, zeros(1, 1, 3))):
        with pytest.raises(InputError, match="state"):
            stream.state = wrong
    np.testing.assert_equal(stream.state, state)


def test_stream_out_in_part() -> None:
    """None in out asks for a new array."""
    model, out = build(tokens), zeros(1, 3, 4)
    y, z = model(IDS[:1], out=(out, None))
    assert y is out
    stream = model.stream()
    a, b = stream.feed(IDS[:1], out=(out, None))
    assert a is out
    np.testing.assert_equal((a, b), (y, z))
    stream.reset()
    one = zeros(4)
    a, b = stream.step(1, out=(one, None))
    assert a is one
    np.testing.assert_equal((a, b), (y[0, 0], z[0, 0]))


# -- numbers that are not finite ---------------------------------------------------------------------


def test_nan_in_inputs_propagates_to_its_row_only() -> None:
    model, x = build(plain), X.copy()
    x[1, 3, 0] = np.nan
    y, clean = model(x), model(X)
    np.testing.assert_array_equal(y[0], clean[0])
    np.testing.assert_array_equal(y[1, :3], clean[1, :3])
    assert np.isnan(y[1, 3:]).all()
    np.testing.assert_array_equal(model(X), clean)
    x[1, 3, 0] = np.inf
    assert not np.isnan(model(x)[0]).any()


def test_nan_in_weights_is_reported() -> None:
    g = recurrent_graph(np.random.default_rng(0), "gru", 3, 5)
    g.nodes[0].weights["w_ih"][2, 1] = np.nan
    g.nodes[0].weights["w_hh"][0, :2] = np.inf
    model = Model(dumps(g))
    assert model.info["not_finite"] == 3
    assert np.isnan(model(zeros(1, 2, 3))[0]).any()
    assert build(plain).info["not_finite"] == 0


@pytest.mark.parametrize(("name", "wrong"), [("batch", w) for w in (0, -1, 1.0, "2", None, 1 << 40)] + [("steps", -1)])
def test_session_nbytes(name: str, wrong: Any) -> None:
    with pytest.raises(InputError, match=f"{name} is .*, expected an integer from"):
        build(plain).session_nbytes(**{name: wrong})


# -- kernels, loading and saving ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sse9", "", "AVX2", 3, "\udc80"])
def test_unknown_kernels(name: Any) -> None:
    g = Graph()
    plain(g)
    with pytest.raises(InputError, match=r"kernels .* are not available here; available: .*portable"):
        Model(dumps(g), kernels=name)


def test_unknown_kernels_in_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "m.lrt"
    build(plain).save(path)
    code = "import sys, lstm_rt; print(lstm_rt.load(sys.argv[1]).kernels)"

    def run(kernels: str) -> subprocess.CompletedProcess[str]:
        return python("-c", code, path, env={"LSTM_RT_KERNELS": kernels})

    assert run("portable").stdout.strip() == "portable"
    assert run("").stdout.strip() == lstm_rt.kernels()[0]
    assert "InputError: kernels 'quantum' are not available here; available: " in run("quantum").stderr.splitlines()[-1]


def test_load(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.lrt"):
        lstm_rt.load(tmp_path / "none.lrt")
    with pytest.raises(OSError, match=tmp_path.name):
        lstm_rt.load(tmp_path)
    path = tmp_path / "m.lrt"
    for content, message in ((b"", "is empty"), (b"hello\n", r"\(6 bytes\)"), (b"x" * 5000, r"\(5000 bytes\)")):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=rf"m\.lrt: .*{message}"):
            lstm_rt.load(path)
    build(plain).save(path)
    assert lstm_rt.load(str(path), verify=True)(X).shape == (2, 6, 4)
    with pytest.raises(InputError, match="threads"):
        lstm_rt.load(path, threads=0)
    with pytest.raises(InputError, match="kernels"):
        lstm_rt.load(path, kernels="none")
    damaged = bytearray(path.read_bytes())
    damaged[-100] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(FormatError, match=r"checksum"):
        lstm_rt.load(path, verify=True)


@pytest.mark.parametrize("copied", [False, True])
def test_load_takes_file_names(tmp_path: Path, copied: bool) -> None:
    build(plain).save(tmp_path / "m.lrt")
    blob = (tmp_path / "m.lrt").read_bytes()
    with open(tmp_path / "m.lrt", "rb") as file:
        for wrong in (blob, bytearray(blob), memoryview(blob), io.BytesIO(blob), file, 3, None, np.zeros(3), plain):
            with pytest.raises(TypeError, match=r"load takes a file name, got .*; for the bytes .* lstm_rt\.Model"):
                lstm_rt.load(wrong, copy=copied)
    assert lstm_rt.load(os.fsencode(tmp_path / "m.lrt"), copy=copied)(X).shape == (2, 6, 4)


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_load_takes_regular_files(tmp_path: Path, copied: bool) -> None:
    """Not what may never end, or never begin."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path / "link", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(OSError, match=rf"expected a regular file.*{path.name}"):
            lstm_rt.load(path, copy=copied)


def test_load_looks_at_the_beginning_first(tmp_path: Path) -> None:
    """However large a file is that is something else."""
    path = tmp_path / "large"
    for head, message in ((b"nothing like it", "magic number"), (b"\x89LRT\r\n\x1a\n\x09\0\0\0", "format version 9")):
        path.write_bytes(head)
        os.truncate(path, 1 << 36)
        for copied in (False, True):
            with pytest.raises(FormatError, match=rf"large: .*\(68719476736 bytes\): .*{message}"):
                lstm_rt.load(path, verify=True, copy=copied)


def test_load_looks_at_the_size_first(tmp_path: Path) -> None:
    """A good file with gigabytes behind it is refused by its header, which says how long it is."""
    path = tmp_path / "longer.lrt"
    build(plain).save(path)
    os.truncate(path, 1 << 36)
    for copied in (False, True):
        with pytest.raises(FormatError, match="its size is not the one in its header"):
            lstm_rt.load(path, copy=copied)


def test_load_copy(tmp_path: Path) -> None:
    """What has been read into memory stays, whatever becomes of the file."""
    path, model = tmp_path / "m.lrt", build(plain)
    model.save(path)
    loaded = lstm_rt.load(path, copy=True)
    with path.open("r+b") as f:
        f.write(bytes(path.stat().st_size))
    np.testing.assert_array_equal(loaded(X), model(X))
    os.truncate(path, 0)
    np.testing.assert_array_equal(loaded(X), model(X))
    assert loaded.info == model.info
    for content in (b"", b"hello\n", b"x" * 5000):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"m\.lrt: "):
            lstm_rt.load(path, copy=True)


@pytest.mark.parametrize("copied", [False, True])
def test_saving_over_the_own_file(tmp_path: Path, copied: bool) -> None:
    """Files are replaced, never written in place, so that those who have them mapped keep what they have."""
    path = tmp_path / "m.lrt"
    build(plain).save(path)
    model, blob = lstm_rt.load(path, copy=copied), path.read_bytes()
    before = model(X)
    model.save(path)
    assert path.read_bytes() == blob
    build(two_layers).save(path)
    g = Graph()
    mixed(g)
    g.save(path)
    np.testing.assert_array_equal(model(X), before)
    model.save(path)
    assert path.read_bytes() == blob


def test_model_of_a_graph() -> None:
    g = Graph()
    plain(g)
    model = Model(g, threads=2, kernels="portable")
    np.testing.assert_array_equal(model(X), Model(dumps(g), kernels="portable")(X))
    assert (model.threads, model.kernels) == (2, "portable")
    with pytest.raises(GraphError, match="no input"):
        Model(Graph())


def test_model_of_something_else() -> None:
    for wrong in (3, None, "m.lrt", Path("m.lrt"), X[:, :, 0], Graph, [1, 2]):
        with pytest.raises(TypeError, match=r"Model takes the bytes of an \.lrt file or a Graph, got"):
            Model(wrong)
    for wrong in ("m.lrt", Path("m.lrt")):
        with pytest.raises(TypeError, match=r"lstm_rt\.load takes a file name"):
            Model(wrong)
    with pytest.raises(FormatError):
        Model(b"")


@pytest.mark.parametrize("name", ["m.lrt", "m.pt", "m.safetensors", "m.json", "m.keras", "m.h5", "m"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    """The same class everywhere, which is the one of open()."""
    from lstm_rt_tools import from_keras, from_torch

    readers = (lstm_rt.load, load_graph, check, from_torch, from_keras, lambda p: lstm_rt.load(p, copy=True))
    (tmp_path / "folder").mkdir()
    for read in readers:
        for path in (tmp_path / name, str(tmp_path / "nowhere" / name)):
            with pytest.raises(FileNotFoundError, match=name):
                read(path)
        with pytest.raises((IsADirectoryError, PermissionError, lstm_rt.ConvertError), match="folder"):
            read(tmp_path / "folder")
    with pytest.raises(FileNotFoundError, match=r"a\.toml"):
        from_torch({"w": X}, arch=tmp_path / "a.toml")


def test_save_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = build(plain), tmp_path / "m.lrt"
    with pytest.raises(FileNotFoundError, match=r"nowhere/m\.lrt"):
        model.save(tmp_path / "nowhere" / "m.lrt")
    path.write_bytes(b"before")

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*m\.lrt"):
        model.save(path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["m.lrt"]
    assert path.read_bytes() == b"before"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        model.save(tmp_path / "folder")
    model.save(path)
    model.save(os.fsencode(path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "m.lrt"]
    monkeypatch.chdir(tmp_path)
    model.save("n.lrt")
    write_atomically("x" * 250, b"long name")
    assert sorted(p.name[:5] for p in tmp_path.iterdir()) == ["folde", "m.lrt", "n.lrt", "xxxxx"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_save_into_a_folder_that_is_not_ours(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=r"m\.lrt"):
        build(plain).save(tmp_path / "m.lrt")
    tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


def test_saved_files_have_the_usual_permissions(tmp_path: Path) -> None:
    build(plain).save(tmp_path / "a.lrt")
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a.lrt").stat().st_mode == (tmp_path / "b").stat().st_mode


# -- graphs ------------------------------------------------------------------------------------------

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
