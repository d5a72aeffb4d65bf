"""Writes tests/frozen/v<version>/: a file for every op and option of a format version, with inputs and outputs.

Every later runtime reads these files to the same numbers, so they are written once, by the first runtime of a
version, and never again: the script adds files and refuses to change one that is there.

    python tests/make_frozen.py

Outputs are those of the runtime at the time, held to the float64 reference. tests/format/test_frozen.py reads them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from helpers.graphs import cell_weights, every_op_graph, inputs_for, recurrent_graph, weights
from lstm_rt_tools.judges import reference
from make_corpus import all_models, as_bytes

from lstm_rt import Model
from lstm_rt.format import VERSION
from lstm_rt.graph import ACTIVATIONS, Graph

FOLDER = Path(__file__).parent / "frozen" / f"v{VERSION}"
BATCH, STEPS = 3, 7


def wider_models(rng: np.random.Generator) -> dict[str, Graph]:
    """Sizes that take the kernels' other ways: several panels of each width, more inputs than a step fuses."""
    out = {f"{op}_40": recurrent_graph(rng, op, 12, 40) for op in ("lstm", "gru", "rnn")}
    out["lstm_1_20"] = recurrent_graph(rng, "lstm", 1, 20)
    out["gru_before_29"] = recurrent_graph(rng, "gru", 3, 29, reset_after=False)
    out["lstm_projection_33"] = recurrent_graph(rng, "lstm", 4, 33, proj=18)
    out["every_op"] = every_op_graph(rng)
    g, table = Graph(), weights(rng, 29, 7)
    e = g.embedding(g.input("ids", "ids"), table)
    h, _, _ = g.recurrent("gru", e, cell_weights(rng, "gru", 7, 7), hidden_size=7)
    g.output(g.dense(h, table), "y")
    out["tied"] = g
    for name in ACTIVATIONS:
        g = Graph()
        g.output(g.activation(g.input("x", "seq", 5), name), "y")
        out[f"activation_{name}"] = g
    return out


def leaves(state: Any) -> list[Any]:
    """The arrays of a state, in order."""
    return [a for part in state for a in leaves(part)] if isinstance(state, tuple) else [state]


def record(graph: Graph, model: Model, rng: np.random.Generator) -> dict[str, Any]:
    """Arrays of one model: as called plainly, with lengths, and going on from the state of the plain call."""
    arrays: dict[str, Any] = {}
    batch = BATCH if "N" in model.inputs[0].shape else 1
    inputs = inputs_for(rng, graph, batch, STEPS, [STEPS, 1, 4][:batch])
    check_against_reference(graph, model, inputs)
    outputs, state = model(*inputs, return_state=True)
    calls = {"plain": (outputs, state)}
    if model.inputs[0].kind in ("seq", "ids") and len(model.inputs) == 1 and "N" in model.inputs[0].shape:
        arrays["lengths"] = np.array([STEPS, 0, 3], np.int32)
        calls["lengths"] = model(*inputs, lengths=arrays["lengths"], return_state=True)
    if not (isinstance(state, tuple) and not state):  # an array, or a tuple of some
        calls["again"] = model(*inputs, state=state, return_state=True)
    for port, x in zip(model.inputs, inputs, strict=True):
        arrays[f"in__{port.name}"] = x
    for tag, (ys, final) in calls.items():
        for port, y in zip(model.outputs, ys if isinstance(ys, tuple) else (ys,), strict=True):
            arrays[f"{tag}__out__{port.name}"] = y
        for i, a in enumerate(leaves(final)):
            arrays[f"{tag}__state__{i}"] = a
    return arrays


def check_against_reference(graph: Graph, model: Model, inputs: list[Any]) -> None:
    got = model(*inputs)
    want = reference.run(graph, inputs)
    for y, w in zip(got if isinstance(got, tuple) else (got,), want, strict=True):
        np.testing.assert_allclose(y, w, rtol=1e-5, atol=1e-5)


def main() -> None:
    rng = np.random.default_rng(7)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, graph in {**all_models(), **wider_models(rng)}.items():
        path = FOLDER / f"{name}.lrt"
        if path.exists():
            print(f"{path} is frozen, left as it is", file=sys.stderr)
            continue
        blob = as_bytes(name, graph)
        if int.from_bytes(blob[8:12], "little") != VERSION:
            continue  # as the first runtime of its version wrote it
        np.savez_compressed(path.with_suffix(".npz"), **record(graph, Model(blob, kernels="portable"), rng))
        path.write_bytes(blob)


if __name__ == "__main__":
    main()
