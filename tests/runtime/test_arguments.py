"""Every wrong argument of a call gives a named error that says what was expected, and leaves the model usable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import inputs_for
from helpers.models import zeros
from helpers.small_graphs import (
    IDS,
    RNG,
    X,
    build,
    lstm,
    mixed,
    one_axis,
    own_lengths,
    plain,
    read_only,
    tokens,
    two_axes,
    two_layers,
)

from lstm_rt import InputError
from lstm_rt.graph import Graph


def swapped(x: np.ndarray) -> np.ndarray:
    return x.astype(x.dtype.newbyteorder(">"))


def unaligned(x: np.ndarray) -> np.ndarray:
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    assert not raw.flags.aligned
    return raw


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
    "state of mixed": (mixed, (X,), {"state": zeros(2, 2, 4)}, "one entry for each of 2 layers with state"),
    "state of mixed count": (mixed, (X,), {"state": (1,)}, "got 1 entries, expected.* 2 layers with state"),
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
