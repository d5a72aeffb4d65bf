"""Keys, arrays and states of a group of streams: what is wrong is named, and no stream is touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.graphs import recurrent_graph
from helpers.groups import BLOBS, CAPACITY, same_state
from helpers.models import zeros
from helpers.small_graphs import read_only

import lstm_rt
from lstm_rt import InputError, Model
from lstm_rt.format import dumps

# -- keys --------------------------------------------------------------------------------------------


def group_of(count: int, name: str = "lstm") -> Any:
    group = Model(BLOBS[name], threads=1).streams(CAPACITY)
    for _ in range(count):
        group.join()
    return group


def test_keys() -> None:
    group = group_of(3)
    assert (group.keys, len(group), group.capacity) == ([0, 1, 2], 3, CAPACITY)
    group.leave(1)
    assert 0 in group
    assert 1 not in group
    assert "0" not in group
    assert group.join() == 3  # a key is never used again
    assert group.keys == [0, 2, 3]
    group.keys.append(7)
    assert group.keys == [0, 2, 3]
    for keys in ([3, 0], (3, 0), np.array([3, 0]), [np.int64(3), np.uint8(0)]):
        assert group.step(zeros(2, 4), keys=keys)[0].shape == (2, 3)


def test_no_streams() -> None:
    """A server without clients: nothing to do is not an error."""
    group = group_of(0)
    assert [y.shape for y in group.step(zeros(0, 4))] == [(0, 3), (0, 21)]
    group.join()
    state = group.state(0)
    assert group.step(zeros(0, 4), keys=[])[0].shape == (0, 3)
    same_state(group.state(0), state)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([7], "7 is not the key of a stream"),
        ([-1], "-1 is not the key of a stream"),
        ([1], "stream 1 has left this group"),
        ([0, 1], "stream 1 has left this group"),
        (np.array([0, 1]), "stream 1 has left this group"),
        ([np.uint8(1)], "stream 1 has left this group"),
        (["0"], "'0' is not the key"),
        ([0.0], "0.0 is not the key"),
        ([None], "None is not the key"),
        ([[0]], r"\[0\] is not the key"),
        ([2, 0, 2], r"keys: stream 2 is given twice, at \[0\] and \[2\]"),
        (0, "keys: got a int, expected a list of the keys of live streams"),
        ("02", "keys: got a str"),
        ({0, 2}, "keys: got a set"),
        (np.array([[0]]), r"keys: got int64 \(1, 1\)"),
        (np.array([0.0]), "0.0 is not the key"),
    ],
)
def test_wrong_keys(keys: Any, message: str) -> None:
    group = group_of(3)
    group.leave(1)
    group.step(zeros(2, 4) + 1)
    states = [group.state(k) for k in group.keys]
    with pytest.raises(InputError, match=message):
        group.step(zeros(len(keys) if hasattr(keys, "__len__") else 1, 4), keys=keys)
    same_state(tuple(group.state(k) for k in group.keys), tuple(states))


@pytest.mark.parametrize("use", ["leave", "reset", "state"])
@pytest.mark.parametrize("key", [1, 9, "0", None])
def test_streams_that_are_not_there(use: str, key: Any) -> None:
    group = group_of(2)
    group.leave(1)
    with pytest.raises(InputError, match=r"has left this group|is not the key of a stream"):
        getattr(group, use)(key)
    with pytest.raises(InputError, match=r"has left this group|is not the key of a stream"):
        group.set_state(key, group.state(0))
    assert group.keys == [0]


# -- other arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "out", "message"),
    [
        (zeros(3, 4), None, r"input 'x': got float32 \(3, 4\).*\(2, 4\)"),
        (zeros(1, 4), None, r"\(1, 4\).*\(2, 4\)"),
        (zeros(4), None, r"got float32 \(4,\).*\(2, 4\)"),
        (zeros(2, 5), None, r"\(2, 5\).*\(2, 4\)"),
        (np.zeros((2, 4)), None, "got float64.*astype"),
        ([[0.0] * 3] * 2, None, r"got float32 \(2, 3\).*\(2, 4\)"),
        ([["a"] * 4] * 2, None, "got a str"),
        (zeros(2, 4), (zeros(2, 4), None), r"out for 'y': got float32 \(2, 4\).*writeable C-contiguous.*\(2, 3\)"),
        (zeros(2, 4), (zeros(3, 2).T, None), "not C-contiguous"),
        (zeros(2, 4), (None, zeros(21)), r"out for 'h': got float32 \(21,\).*\(2, 21\)"),
        (zeros(2, 4), (read_only(zeros(2, 3)), None), "read-only"),
        (zeros(2, 4), zeros(2, 3), "out holds 1 arrays, this model has 2 outputs"),
    ],
)
def test_wrong_arrays(x: Any, out: Any, message: str) -> None:
    group = group_of(3)
    group.leave(0)
    group.step(zeros(2, 4) + 1)
    states = [group.state(k) for k in group.keys]
    for keys in (None, [2, 1]):
        with pytest.raises(InputError, match=message):
            group.step(x, keys=keys, out=out)
    same_state(tuple(group.state(k) for k in group.keys), tuple(states))


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (zeros(3, 5, 4), {}, "2 streams take these steps, the input has 3 rows"),
        (zeros(2, 5, 4), {"keys": [1]}, "1 streams take these steps, the input has 2 rows"),
        (zeros(0, 5, 4), {}, "2 streams take these steps, the input has 0 rows"),
        (zeros(2, 4), {}, r"input 'x': got float32 \(2, 4\), expected float32 \(N, T, 4\)"),
        (zeros(2, 5, 3), {}, r"\(2, 5, 3\), expected float32 \(N, T, 4\)"),
        (np.zeros((2, 5, 4)), {}, "got float64.*astype"),
        (zeros(2, 5, 4), {"keys": [0, 1]}, "stream 0 has left this group"),
        (zeros(2, 5, 4), {"keys": [1, 1]}, "stream 1 is given twice"),
        (zeros(2, 5, 4), {"out": (zeros(2, 5, 4), None)}, r"out for 'y': got float32 \(2, 5, 4\).*\(2, 5, 3\)"),
        (zeros(0, 5, 4), {"keys": [], "out": (zeros(2, 5, 3), None)}, r"out for 'y'.*\(0, 5, 3\)"),
    ],
)
def test_wrong_feeds(x: Any, options: dict[str, Any], message: str) -> None:
    group = group_of(3)
    group.leave(0)
    group.step(zeros(2, 4) + 1)
    states = [group.state(k) for k in group.keys]
    with pytest.raises(InputError, match=message):
        group.feed(x, **options)
    same_state(tuple(group.state(k) for k in group.keys), tuple(states))


def test_feed() -> None:
    group, x = group_of(2), np.random.default_rng(0).uniform(-1, 1, (2, 7, 4)).astype(np.float32)
    want = Model(BLOBS["lstm"]).stream(2).feed(x)
    out = (zeros(2, 7, 3), zeros(2, 21))
    got = group.feed(x[::-1], keys=[1, 0], out=out)
    assert all(a is b for a, b in zip(got, out, strict=True))
    np.testing.assert_equal(got, tuple(a[::-1] for a in want))
    with pytest.raises(InputError, match=r"input 'ids': id 11 at \[1, 2\], expected 0 to 10"):
        group_of(2, "ids").feed([[1, 2, 3], [4, 5, 11]], zeros(2, 3, 4), zeros(2, 18))

    class Tagged(Model):
        def __call__(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("a group runs the model itself")

    other = Tagged(BLOBS["lstm"]).streams(2)
    key = other.join()
    np.testing.assert_equal(other.feed(x[:1], keys=[key]), tuple(a[:1] for a in want))


def test_one_stream_keeps_its_axis() -> None:
    """Rows are streams, also when there is one."""
    group = group_of(1)
    assert group.step(zeros(1, 4))[0].shape == (1, 3)
    with pytest.raises(InputError, match=r"got float32 \(4,\), expected float32 \(1, 4\)"):
        group.step(zeros(4))


def test_shared_memory() -> None:
    group = group_of(2)
    both = zeros(2, 24)
    with pytest.raises(InputError, match="out shares memory"):
        group.step(both.reshape(-1)[:8].reshape(2, 4), out=(both.reshape(-1)[4:10].reshape(2, 3), None))
    with pytest.raises(InputError, match="out shares memory"):
        group.step(zeros(2, 4), out=(both.reshape(-1)[:6].reshape(2, 3), both.reshape(-1)[:42].reshape(2, 21)))


def test_several_inputs() -> None:
    group, x, v = group_of(2, "ids"), zeros(2, 4), zeros(2, 18)
    with pytest.raises(TypeError, match="1 inputs given, this model takes 3: ids, x, v"):
        group.step([1, 2])
    for ids, message in (
        ([1], r"input 'ids'"),
        (1, "input 'ids'"),
        ([[1], [2]], "input 'ids'"),
        ([1, 11], r"id 11 at \[1, 0\], expected 0 to 10"),
        (np.array([1.0, 2.0]), "got float64"),
        (np.ma.masked_array([1, 2]), "MaskedArray"),
    ):
        with pytest.raises(InputError, match=message):
            group.step(ids, x, v)
    with pytest.raises(InputError, match=r"input 'v': got float32 \(1, 18\).*\(2, 18\)"):
        group.step([1, 2], x, v[:1])
    for ids in ([1, 2], np.array([1, 2]), np.array([1, 2], np.int32)):
        assert group.step(ids, x, v)[0].shape == (2, 18)


@pytest.mark.parametrize("capacity", [0, -1, 1.0, "2", None, True, 1 << 25])
def test_wrong_capacity(capacity: Any) -> None:
    with pytest.raises(InputError, match=r"capacity is .*expected an integer from 1 to"):
        Model(BLOBS["lstm"]).streams(capacity)


def test_models_that_cannot_stream() -> None:
    graph = recurrent_graph(np.random.default_rng(0), "lstm", 4, 5, direction="bidirectional")
    with pytest.raises(InputError, match="this model cannot stream"):
        Model(dumps(graph)).streams(2)
    with pytest.raises(InputError, match="threads is 0"):
        Model(BLOBS["lstm"]).streams(2, threads=0)
    with pytest.raises(TypeError):
        lstm_rt.StreamGroup(None, 2)  # type: ignore[arg-type]


# -- state -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lstm", "two lstms", "gru on lstm"])
def test_states_go_everywhere(name: str) -> None:
    """From calls to groups to streams and back."""
    model = Model(BLOBS[name])
    x = np.random.default_rng(0).uniform(-1, 1, (1, 9, 4)).astype(np.float32)
    want = model(x)[0]
    state = model(np.ascontiguousarray(x[:, :3]), return_state=True)[1]
    group = model.streams(2)
    group.join()
    key = group.join(state=state)
    for t in range(3, 5):
        np.testing.assert_array_equal(group.step(np.ascontiguousarray(x[:, t]), keys=[key])[0], want[:, t])
    stream = model.stream()
    stream.state = group.state(key)
    np.testing.assert_array_equal(stream.feed(np.ascontiguousarray(x[:, 5:]))[0], want[:, 5:])
    y = model(np.ascontiguousarray(x[:, 5:]), state=group.state(key))[0]
    np.testing.assert_array_equal(y, want[:, 5:])


def test_wrong_states() -> None:
    group = group_of(1)
    group.step(zeros(1, 4) + 1)
    before = group.state(0)
    for state in ((), None, (zeros(1, 2, 21),) * 2, (zeros(1, 1, 21), zeros(1, 1, 20)), (zeros(1, 21),) * 2):
        with pytest.raises(InputError, match="state"):
            group.set_state(0, state)
        if state is not None:
            with pytest.raises(InputError, match="state"):
                group.join(state=state)
    assert group.keys == [0]
    same_state(group.state(0), before)
    key = group.join()  # nothing of what was refused is there
    same_state(group.state(key), tuple(np.zeros_like(a) for a in before))


def test_states_are_copies() -> None:
    group = group_of(2)
    before = group.state(0)
    group.step(zeros(2, 4) + 1)
    assert not any(a.any() for a in before)
    assert any(a.any() for a in group.state(0))
