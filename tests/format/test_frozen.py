"""Files of every format version, as its first runtime wrote and ran them: later ones read them to the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.paths import TESTS
from make_frozen import leaves

import lstm_rt
from lstm_rt import Model
from lstm_rt.format import VERSION, dumps, loads_graph
from lstm_rt.ops import OPS

FROZEN = sorted((TESTS / "frozen").glob("v*/*.lrt"))
TOLERANCE = 1e-6
#: Of integer weights: states that differ in the last bit, as another release's may, are now and then another integer.
STEP = 1e-4


def compare(model, arrays, tag, tolerance, **options):
    inputs = [arrays[f"in__{p.name}"] for p in model.inputs]
    outputs, state = model(*inputs, return_state=True, **options)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    for port, y in zip(model.outputs, outputs, strict=True):
        np.testing.assert_allclose(y, arrays[f"{tag}__out__{port.name}"], rtol=tolerance, atol=tolerance)
    for i, a in enumerate(leaves(state)):
        np.testing.assert_allclose(a, arrays[f"{tag}__state__{i}"], rtol=tolerance, atol=tolerance)
    return state


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
@pytest.mark.parametrize("path", FROZEN, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_reads_to_the_same_numbers(path, kernels):
    model = Model(path.read_bytes(), kernels=kernels)
    tolerance = STEP if path.stem.startswith("integers_") else TOLERANCE
    arrays = np.load(path.with_suffix(".npz"))
    state = compare(model, arrays, "plain", tolerance)
    if "lengths" in arrays:
        compare(model, arrays, "lengths", tolerance, lengths=arrays["lengths"])
    if any(name.startswith("again__") for name in arrays):
        compare(model, arrays, "again", tolerance, state=state)


@pytest.mark.parametrize("path", FROZEN, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_written_again_computes_the_same_bits(path):
    """What a reader of files makes of them is whole: nothing is lost on the way to a graph and back."""
    blob = path.read_bytes()
    arrays = np.load(path.with_suffix(".npz"))
    before, after = Model(blob), Model(dumps(loads_graph(blob)))
    inputs = [arrays[f"in__{p.name}"] for p in before.inputs]
    for a, b in zip(leaves(before(*inputs)), leaves(after(*inputs)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_every_op_of_a_version_is_there(version):
    blobs = [p.read_bytes() for p in FROZEN if p.parent.name == f"v{version}"]
    assert {blob[8] for blob in blobs} == {version}
    assert {n.op for blob in blobs for n in loads_graph(blob).nodes} >= {
        name for name, op in OPS.items() if op.since == version
    }
