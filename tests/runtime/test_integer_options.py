"""Integer weights in models of any cells and options: the same bits on every table, in any batch, on any threads, in
chunks, streams and groups of streams."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from helpers.graphs import CELLS, cell_weights, inputs_for, weights
from helpers.threads import OPENMP, on_lanes
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.integers.matrices import quantised

import lstm_rt
from lstm_rt import Model
from lstm_rt._core import _all_kernels
from lstm_rt.format import dumps
from lstm_rt.graph import Graph
from lstm_rt.quantised import has_integers

FUSED = [name for name, fused in _all_kernels() if fused and name in lstm_rt.kernels()]
MATRICES = ("w_ih", "w_hh", "w_hr")


@dataclass(frozen=True)
class Layer:
    """A cell, and of each of its matrices the bits of its integers, or 0, and of what they are multiplied with."""

    op: str
    options: dict[str, Any]
    direction: str
    hidden: int
    bits: dict[str, tuple[int, int]]
    with_mask: bool
    with_state: bool


@st.composite
def layers(draw: Any, streams: bool) -> Layer:
    op, options = draw(st.sampled_from(CELLS))
    ways = st.sampled_from([(0, 0), (8, 16), (8, 8), (16, 16), (16, 8)])
    direction = "forward" if streams else draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    names = MATRICES if "proj" in options else MATRICES[:2]
    bits = {name: draw(ways) for name in names}
    if not any(b for b, _ in bits.values()):
        bits["w_hh"] = (8, 16)
    masked = draw(st.booleans())
    state = not streams and draw(st.booleans())
    return Layer(op, options, direction, draw(st.integers(1, 70)), bits, masked, state)


def graph_of(layers: list[Layer], inputs: int, seed: int) -> Graph:
    """The layers one after the other, then a dense layer; masks are where an input of ids is 0."""
    rng, g = np.random.default_rng(seed), Graph()
    x = g.input("x", "seq", inputs)
    mask = g.mask_ids(g.input("ids", "ids", axis=0)) if any(layer.with_mask for layer in layers) else None
    for layer in layers:
        options = {k: v for k, v in layer.options.items() if k not in ("proj", "peephole", "bias")}
        keys = ("proj", "peephole", "bias")
        w = cell_weights(rng, layer.op, g.values[x].size, layer.hidden, layer.direction,
                         **{k: layer.options[k] for k in keys if k in layer.options})  # fmt: skip
        for name in w:
            bits, activations = layer.bits.get(name.removesuffix("_reverse"), (0, 0))
            w[name] = quantised(w[name], bits, activations) if bits else w[name]
        if layer.with_mask:
            options["mask"] = mask
        else:
            options.pop("zero_masked", None)
        if layer.with_state:
            size = (2 if layer.direction == "bidirectional" else 1) * (layer.options.get("proj") or layer.hidden)
            options["h0"] = g.input(f"h{len(g.nodes)}", "vec", size)
        x, _, _ = g.recurrent(layer.op, x, w, hidden_size=layer.hidden, direction=layer.direction, **options)
    g.output(g.dense(x, quantised(weights(rng, 19, g.values[x].size), 8, 16)), "y")
    assert has_integers(g)
    return g


@st.composite
def cases(draw: Any, streams: bool = False, most_steps: int = 9) -> tuple[Graph, list[Any], list[int]]:
    """A graph, its inputs, and lengths of the rows."""
    made = draw(st.lists(layers(streams), min_size=1, max_size=2))
    seed = draw(st.integers(0, 99))
    g = graph_of(made, draw(st.sampled_from([1, 3, 4, 17])), seed)
    batch, steps = draw(st.sampled_from([1, 2, 5, 9, 17])), draw(st.integers(1, most_steps))
    lengths = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    return g, inputs_for(np.random.default_rng(seed), g, batch, steps), lengths


def same(a: Any, b: Any) -> None:
    assert np.asarray(a).shape == np.asarray(b).shape
    assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


@given(case=cases(), data=st.data())
@settings(max_examples=120, deadline=None)
def test_tables_and_batches(case: Any, data: Any) -> None:
    g, inputs, lengths = case
    blob, batch = dumps(g), len(inputs[0])
    whole = Model(blob, kernels="portable")(*inputs, lengths=lengths)
    for kernels in FUSED:
        same(Model(blob, kernels=kernels)(*inputs, lengths=lengths), whole)
    start = data.draw(st.integers(0, batch - 1))
    end = data.draw(st.integers(start + 1, batch))
    kernels = data.draw(st.sampled_from(FUSED))
    some = [np.ascontiguousarray(a[start:end]) for a in inputs]
    same(Model(blob, kernels=kernels)(*some, lengths=lengths[start:end]), whole[start:end])


@OPENMP
@given(case=cases(most_steps=30), lanes=st.sampled_from([2, 3]))
@settings(max_examples=60, deadline=None)
def test_threads(case: Any, lanes: int) -> None:
    g, inputs, lengths = case
    one, several = Model(dumps(g), threads=1), Model(dumps(g), threads=lanes)
    for options in ({}, {"lengths": lengths}):
        same(on_lanes(lanes, lambda options=options: several(*inputs, **options)), one(*inputs, **options))


def at(inputs: list[Any], steps: Any) -> list[Any]:
    return [np.ascontiguousarray(a[:, steps]) for a in inputs]


@given(
    case=cases(streams=True, most_steps=40), cuts=st.lists(st.integers(0, 40), max_size=3), table=st.sampled_from(FUSED)
)
@settings(max_examples=60, deadline=None)
def test_chunks_and_steps(case: Any, cuts: list[int], table: str) -> None:
    """Of a stream whose state is saved and put back at each cut; what comes last goes step by step."""
    g, inputs, _ = case
    blob, (batch, steps) = dumps(g), inputs[0].shape[:2]
    whole = Model(blob)(*inputs)
    model = Model(blob, kernels=table)
    stream, parts = model.stream(batch), []
    edges = [0, *sorted(min(c, steps) for c in cuts)]
    for a, b in itertools.pairwise(edges):
        parts.append(np.array(stream.feed(*at(inputs, slice(a, b)))))
        saved = stream.state
        stream = model.stream(batch)
        stream.state = saved
    for t in range(edges[-1], steps):
        parts.append(np.array(stream.step(*at(inputs, t))).reshape(batch, 1, -1))
    same(np.concatenate(parts, axis=1), whole)


@given(case=cases(streams=True, most_steps=12), data=st.data())
@settings(max_examples=40, deadline=None)
def test_groups_of_streams(case: Any, data: Any) -> None:
    """Whichever of them step together."""
    g, inputs, _ = case
    blob, (batch, steps) = dumps(g), inputs[0].shape[:2]
    whole = Model(blob)(*inputs)
    group = Model(blob).streams(batch)
    keys, done = [group.join() for _ in range(batch)], [0] * batch
    while live := [i for i in range(batch) if done[i] < steps]:
        some = data.draw(st.lists(st.sampled_from(live), min_size=1, unique=True))
        arrays = [np.stack([a[i, done[i]] for i in some]) for a in inputs]
        y = group.step(*arrays, keys=[keys[i] for i in some])
        for row, i in zip(y, some, strict=True):
            same(row, whole[i, done[i]])
            done[i] += 1
