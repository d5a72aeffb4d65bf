"""Streams in a group give the bits that they give alone, whatever the others do."""

from __future__ import annotations

import contextlib
import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.graphs import cell_weights, recurrent_graph, weights
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lstm_rt
from lstm_rt import InputError, Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

CAPACITY = 5


def layers(*ops: str, **options: Any) -> Graph:
    """Recurrent layers on top of each other, with a dense layer and the last step's vector as outputs."""
    rng, g = np.random.default_rng(3), Graph()
    v, size = g.input("x", "seq", 4), 4
    for hidden, op in zip((21, 34), ops, strict=False):
        w = cell_weights(rng, op, size, hidden, **{k: v for k, v in options.items() if k in ("proj", "peephole")})
        rest = {k: v for k, v in options.items() if k not in ("proj", "peephole")}
        v, h, _ = g.recurrent(op, v, w, hidden_size=hidden, **rest)
        size = g.values[v].size
    g.output(g.dense(v, weights(rng, 3, size), None, "tanh"), "y")
    g.output(h, "h")
    return g


def tokens() -> Graph:
    """Ids, a float sequence and a vector in; padding ids are masked."""
    rng, g = np.random.default_rng(4), Graph()
    ids = g.input("ids", "ids")
    x = g.input("x", "seq", 4, axis=0)
    v = g.input("v", "vec", 18)
    joined = g.concat(g.embedding(ids, weights(rng, 11, 6)), x)
    y, h, _ = g.recurrent("lstm", joined, cell_weights(rng, "lstm", 10, 18), hidden_size=18, mask=g.mask_ids(ids))
    g.output(y, "y")
    g.output(g.binary("mul", h, v), "z")
    return g


GRAPHS: dict[str, Callable[[], Graph]] = {
    "lstm": lambda: layers("lstm"),
    "lstm, peepholes": lambda: layers("lstm", peephole=True, clip=0.7),
    "lstm, projection": lambda: layers("lstm", proj=9),
    "gru": lambda: layers("gru", reset_after=True),
    "gru, reset before": lambda: layers("gru", reset_after=False),
    "rnn": lambda: layers("rnn"),
    "two lstms": lambda: layers("lstm", "lstm"),
    "gru on lstm": lambda: layers("lstm", "gru"),
    "ids": tokens,
}
BLOBS = {name: dumps(make()) for name, make in GRAPHS.items()}


def arguments(model: Model, rng: np.random.Generator, rows: int) -> list[np.ndarray]:
    """A step's array for each input."""
    return [
        rng.integers(0, 11, rows, dtype=np.int32)
        if p.kind == "ids"
        else rng.uniform(-1, 1, (rows, p.size)).astype(np.float32)
        for p in model.inputs
    ]


def as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def flat(state: Any) -> list[np.ndarray]:
    return [a for part in state for a in flat(part)] if isinstance(state, tuple) else [state]


def same_state(a: Any, b: Any) -> None:
    for x, y in zip(flat(a), flat(b), strict=True):
        assert x.shape == y.shape
        assert x.tobytes() == y.tobytes()


class Twins:
    """A group, and beside it each of its streams alone."""

    def __init__(self, model: Model, rng: np.random.Generator, threads: int | None = None) -> None:
        self.model, self.rng = model, rng
        self.group = model.streams(CAPACITY, threads=threads)
        self.alone: dict[int, lstm_rt.Stream] = {}
        self.saved: list[Any] = []

    def some_key(self) -> int:
        return int(self.rng.choice(list(self.alone)))

    def join(self) -> None:
        if len(self.alone) == CAPACITY:
            with pytest.raises(InputError, match="the group is full: 5 streams are live, its capacity"):
                self.group.join()
            return
        stream, state = self.model.stream(), None
        if self.saved and self.rng.random() < 0.5:
            state = self.saved[self.rng.integers(len(self.saved))]
            stream.state = state
        self.alone[self.group.join(state=state)] = stream

    def leave(self) -> None:
        key = self.some_key()
        self.group.leave(key)
        del self.alone[key]

    def save(self) -> None:
        key = self.some_key()
        self.saved.append(self.group.state(key))
        same_state(self.saved[-1], self.alone[key].state)

    def restore(self) -> None:
        if self.saved:
            key, state = self.some_key(), self.saved[self.rng.integers(len(self.saved))]
            self.group.set_state(key, state)
            self.alone[key].state = state

    def reset(self) -> None:
        key = self.some_key()
        self.group.reset(key)
        self.alone[key].reset()

    def step(self, keys: list[int] | None = None) -> None:
        rows = list(self.alone) if keys is None else keys
        x = arguments(self.model, self.rng, len(rows))
        out = None
        if self.rng.random() < 0.5:
            out = tuple(np.empty((len(rows), p.size), np.float32) for p in self.model.outputs)
        got = as_tuple(self.group.step(*x, keys=keys, out=out))
        assert out is None or all(a is b for a, b in zip(got, out, strict=True))
        for i, key in enumerate(rows):
            want = as_tuple(self.alone[key].step(*[np.ascontiguousarray(a[i : i + 1]) for a in x]))
            for a, b in zip(got, want, strict=True):
                assert a[i : i + 1].tobytes() == b.tobytes()

    def step_some(self) -> None:
        keys = self.rng.permutation(list(self.alone))[: self.rng.integers(len(self.alone) + 1)]
        self.step(keys.tolist())

    def feed(self, keys: list[int] | None = None) -> None:
        rows, steps = list(self.alone) if keys is None else keys, int(self.rng.integers(0, 40))
        chunks = [arguments(self.model, self.rng, len(rows)) for _ in range(steps)]
        x = [
            a[0] if p.kind == "vec" else np.stack(a, 1)
            for p, *a in zip(self.model.inputs, *chunks or [arguments(self.model, self.rng, len(rows))], strict=True)
        ]
        x = [a if steps or p.kind == "vec" else a[:, :0] for p, a in zip(self.model.inputs, x, strict=True)]
        got = as_tuple(self.group.feed(*x, keys=keys))
        for i, key in enumerate(rows):
            want = as_tuple(self.alone[key].feed(*[np.ascontiguousarray(a[i : i + 1]) for a in x]))
            for a, b in zip(got, want, strict=True):
                assert a[i : i + 1].tobytes() == b.tobytes()

    def feed_some(self) -> None:
        keys = self.rng.permutation(list(self.alone))[: self.rng.integers(len(self.alone) + 1)]
        self.feed(keys.tolist())

    def run(self, schedule: list[str]) -> None:
        for action in schedule:
            if self.alone or action in ("join", "step", "feed"):
                getattr(self, action)()
            assert self.group.keys == list(self.alone)
            assert len(self.group) == len(self.alone)
        for key, stream in self.alone.items():
            same_state(self.group.state(key), stream.state)


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda group: pickle.loads(pickle.dumps(group)),
}
ACTIONS = ["join", "join", "step", "step_some", "step_some", "feed_some", "feed", "leave", "save", "restore", "reset"]


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
@pytest.mark.parametrize("name", GRAPHS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(schedule=st.lists(st.sampled_from(ACTIONS), max_size=40), seed=st.integers(0, 99))
def test_streams_are_alone(name: str, kernels: str, schedule: list[str], seed: int) -> None:
    Twins(Model(BLOBS[name], kernels=kernels), np.random.default_rng(seed)).run(schedule)


@pytest.mark.parametrize("name", GRAPHS)
def test_many_steps(name: str) -> None:
    """Longer than hypothesis likes its examples."""
    rng = np.random.default_rng(8)
    Twins(Model(BLOBS[name]), rng).run(rng.choice(ACTIONS, 600).tolist())


@pytest.mark.parametrize("op", ["lstm", "gru"])
def test_threads(op: str) -> None:
    """Large enough that threads share the rows, or the panels of a few rows."""
    rng = np.random.default_rng(8)
    graph = recurrent_graph(rng, op, 4, 330)
    model = Model(dumps(graph), threads=2)
    for threads in (None, 1, 3):
        Twins(model, rng, threads).run([*["join"] * CAPACITY, *rng.choice(ACTIONS, 60).tolist()])


# -- keys --------------------------------------------------------------------------------------------


def group_of(count: int, name: str = "lstm") -> Any:
    group = Model(BLOBS[name], threads=1).streams(CAPACITY)
    for _ in range(count):
        group.join()
    return group


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


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


def read_only(x: np.ndarray) -> np.ndarray:
    x.flags.writeable = False
    return x


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


# -- threads, copies, lifetimes ------------------------------------------------------------------------


def test_one_group_in_two_threads_is_an_error() -> None:
    graph = recurrent_graph(np.random.default_rng(0), "lstm", 4, 400)
    group = Model(dumps(graph), threads=1).streams(64)
    for _ in range(64):
        group.join()
    x, refused, done = zeros(64, 4), set(), threading.Event()
    uses: dict[str, Callable[[], Any]] = {
        "step": lambda: group.step(zeros(0, 4), keys=[]),
        "reset": lambda: group.reset(0),
        "state": lambda: group.state(0),
        "set_state": lambda: group.set_state(0, None),
        "leave": lambda: group.leave(99),
        "join": lambda: group.join(state=()),
        "feed": lambda: group.feed(zeros(0, 1, 4), keys=[]),
        "copy": lambda: copy.copy(group),
    }

    def work() -> None:
        while not done.is_set():
            with contextlib.suppress(InputError):  # the main thread was faster
                group.step(x)

    worker = threading.Thread(target=work)
    worker.start()
    for _ in range(100_000):
        for name, use in uses.items():
            try:
                use()
            except InputError as e:
                if "in use already" in str(e):
                    refused.add(name)
        if refused == set(uses):
            break
    done.set()
    worker.join()
    assert refused == set(uses)
    assert group.step(x)[0].shape == (64, 400)


@pytest.mark.parametrize("how", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("name", GRAPHS)
def test_copies(name: str, how: Callable[[Any], Any]) -> None:
    """A copy has the same keys and states; from there on the two are strangers."""
    rng = np.random.default_rng(5)
    twins = Twins(Model(BLOBS[name], threads=1), rng, threads=2)
    empty = how(twins.group)
    assert (empty.keys, empty.capacity, empty.join()) == ([], CAPACITY, 0)
    twins.run(["join", "join", "step", "join", "leave", "step_some", "join", "step", "step_some"])
    group, other = twins.group, how(twins.group)
    assert other is not group
    assert (other.keys, other.capacity) == (group.keys, group.capacity)
    before = [group.state(k) for k in group.keys]
    for key, state in zip(group.keys, before, strict=True):
        same_state(other.state(key), state)
    some = other.keys[::-2]
    x = arguments(twins.model, rng, len(some))
    got = as_tuple(other.step(*x, keys=some))
    other.leave(some[0])
    assert other.join() == group.join()
    same_state(tuple(group.state(k) for k in group.keys[:-1]), tuple(before))
    for a, b in zip(got, as_tuple(group.step(*x, keys=some)), strict=True):
        assert a.tobytes() == b.tobytes()


def test_a_group_outlives_its_model() -> None:
    model = Model(BLOBS["lstm"])
    x = np.ones((1, 4), np.float32)
    want = model.stream().step(x)
    group = model.streams(2)
    del model
    group.join()
    np.testing.assert_equal(group.step(x), want)
