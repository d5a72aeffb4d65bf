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
from helpers.graphs import recurrent_graph
from helpers.groups import BLOBS, CAPACITY, GRAPHS, arguments, as_tuple, same_state
from helpers.models import zeros
from helpers.threads import OPENMP, forced
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lstm_rt
from lstm_rt import InputError, Model
from lstm_rt._core import last_lanes
from lstm_rt.format import dumps


class Twins:
    """A group, and beside it each of its streams alone."""

    def __init__(self, model: Model, rng: np.random.Generator, threads: int | None = None) -> None:
        self.model, self.rng = model, rng
        self.group = model.streams(CAPACITY, threads=threads)
        self.alone: dict[int, lstm_rt.Stream] = {}
        self.saved: list[Any] = []
        self.lanes: set[int] = set()  #: that the group's steps ran on

    def of_group(self, call: Callable[..., Any], *x: np.ndarray, keys: list[int] | None, **options: Any) -> Any:
        result = call(*x, keys=keys, **options)
        if x[0].size:  # there is something to compute
            self.lanes.add(last_lanes())
        return as_tuple(result)

    def some_key(self) -> int:
        return int(self.rng.choice(list(self.alone)))

    def join(self) -> None:
        if len(self.alone) == CAPACITY:
            with pytest.raises(InputError, match="the group is full: 5 streams are live, its capacity"):
                self.group.join()
            return
        stream, state = self.model.stream(threads=1), None
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
        got = self.of_group(self.group.step, *x, keys=keys, out=out)
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
        got = self.of_group(self.group.feed, *x, keys=keys)
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


@OPENMP
@pytest.mark.parametrize("threads", [None, 1, 3])
@pytest.mark.parametrize("op", ["lstm", "gru"])
def test_threads(op: str, threads: int | None) -> None:
    """Lanes that share the rows, or the panels of a few rows."""
    rng = np.random.default_rng(8)
    twins = Twins(Model(dumps(recurrent_graph(rng, op, 4, 330)), threads=2), rng, threads)
    with forced(threads or 2):
        twins.run([*["join"] * CAPACITY, *rng.choice(ACTIONS, 60).tolist()])
    assert twins.lanes == {threads or 2}


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
