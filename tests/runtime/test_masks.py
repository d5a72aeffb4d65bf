"""Masks, lengths and initial states together: the runtime, the reference interpreter, and the text of the format.

Each case is random; what may be awkward is drawn often: masks with gaps, steps masked before the first that
counts, rows that are masked everywhere, lengths of 0, and states given by the caller or by the graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from helpers import spec_cells
from helpers.graphs import FORMS, cell_weights
from helpers.spec_reader import read, read_cell
from lstm_rt_tools.judges import reference

import lstm_rt
from lstm_rt.format import dumps
from lstm_rt.graph import GATES, Graph

BATCH, STEPS, INPUTS, HIDDEN = 5, 7, 3, 4
STATES = ("none", "caller", "h0", "c0", "both")
CASES = [
    (op, options, direction, zero, state)
    for op, options in FORMS
    for direction in ("forward", "reverse", "bidirectional")
    for zero in (False, True)
    for state in STATES
    if op == "lstm" or state not in ("c0", "both")
]


@dataclass
class Case:
    graph: Graph
    n_dir: int
    r: int
    of_graph: bool


def make_case(rng, op, options, direction, zero, state):
    g, options = Graph(), dict(options)
    proj, peephole = options.pop("proj", 0), options.pop("peephole", False)
    n_dir, r = 1 + (direction == "bidirectional"), proj or HIDDEN
    x = g.input("x", "seq", INPUTS)
    mask = g.mask_ids(g.input("mask", "ids", axis=0))
    h0 = g.input("h0", "vec", n_dir * r) if state in ("h0", "both") else None
    c0 = g.input("c0", "vec", n_dir * HIDDEN) if state in ("c0", "both") else None
    w = cell_weights(rng, op, INPUTS, HIDDEN, direction, proj, peephole)
    options |= {"direction": direction, "mask": mask, "zero_masked": zero, "h0": h0, "c0": c0}
    for value, name in zip(g.recurrent(op, x, w, hidden_size=HIDDEN, **options), ("y", "h_n", "c_n"), strict=True):
        if value is not None:
            g.output(value, name)
    return Case(g, n_dir, r, h0 is not None or c0 is not None)


def make_masks(rng):
    """Ids that are 0 where masked: gaps, nothing before step 3, nothing at all, everything, the last step alone."""
    ids = (rng.random((BATCH, STEPS)) < 0.6).astype(np.int32)
    ids[1, :3], ids[1, 3] = 0, 1
    ids[2] = 0
    ids[3] = 1
    ids[4] = 0
    ids[4, -1] = 1
    return ids


def side_by_side(states):
    return np.concatenate(list(states), axis=-1)


@pytest.mark.parametrize(("op", "options", "direction", "zero", "state"), CASES, ids=lambda c: str(c).strip("{}"))
def test_masks_lengths_and_states(op, options, direction, zero, state):
    rng = np.random.default_rng([CASES.index((op, options, direction, zero, state))])
    case = make_case(rng, op, options, direction, zero, state)
    h, c = (rng.uniform(-1, 1, (case.n_dir, BATCH, n)).astype(np.float32) for n in (case.r, HIDDEN))
    h *= state in ("caller", "h0", "both")
    c *= state in ("caller", "c0", "both")
    x = rng.uniform(-1, 1, (BATCH, STEPS, INPUTS)).astype(np.float32)
    ids = make_masks(rng)
    blob = dumps(case.graph)
    model, node = lstm_rt.Model(blob), read(blob)["nodes"][-1]
    inputs = [x, ids]
    inputs += [side_by_side(s) for s, names in ((h, ("h0", "both")), (c, ("c0", "both"))) if state in names]
    given = (h, c) if op == "lstm" else h
    for lengths in (None, [STEPS, 5, 4, 0, STEPS], [0, 2, STEPS, 1, 6]):
        n = None if lengths is None else np.array(lengths, np.int32)
        valid = [STEPS] * BATCH if lengths is None else lengths
        want = spec_cells.run_node(op, read_cell(node), x, valid, ids != 0, h, c, case.of_graph)
        got = model(*inputs, lengths=n, state=given if state == "caller" else None)
        second = reference.run(case.graph, inputs, lengths=n, state=[given] if state == "caller" else None)
        for a, b, w in zip(got, second, want, strict=False):
            np.testing.assert_allclose(a, w, rtol=0, atol=2e-6)
            np.testing.assert_allclose(b, w, rtol=0, atol=1e-6)  # the text's biases are float32 sums


@pytest.mark.parametrize("op", GATES)
def test_pieces_of_a_masked_sequence_are_the_whole(op):
    """What a piece shows at its first, masked steps is the state that the piece before it left."""
    rng = np.random.default_rng(9)
    graph = make_case(rng, op, {}, "forward", False, "none").graph
    x = rng.uniform(-1, 1, (BATCH, STEPS, INPUTS)).astype(np.float32)
    ids = make_masks(rng)
    ids[:, 3] = 0
    whole, stream = lstm_rt.Model(dumps(graph))(x, ids)[0], lstm_rt.Model(dumps(graph)).stream(batch=BATCH)
    exact = reference.run(graph, [x, ids])[0]
    state, pieces, fed = None, [], []
    for part in (slice(0, 3), slice(3, STEPS)):
        (piece, *_), state = reference.run(graph, [x[:, part], ids[:, part]], state=state, return_state=True)
        pieces.append(piece)
        fed.append(stream.feed(x[:, part].copy(), ids[:, part].copy())[0])
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), exact)
    np.testing.assert_array_equal(np.concatenate(fed, axis=1), whole)
