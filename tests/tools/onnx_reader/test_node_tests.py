"""The node tests of the onnx package, run by the reader's source: what it takes it computes right."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_rt.errors import ConvertError

onnx = pytest.importorskip("onnx")

from helpers.onnx_files import run, source_of  # noqa: E402

#: Cases by the beginnings of their names, that must convert; ``!`` begins what need not.
MUST = {
    "recurrent": r"(lstm|gru|rnn|simple_rnn)_",
    "elementwise": r"(abs|add|and|ceil|celu|clip|cos|div|elu|equal|erf|exp|floor|gelu|greater|hardsigmoid|hardswish"
    r"|leakyrelu|less|log|max|mean|min|mish|mul|neg|or|pow|prelu|reciprocal|relu|round|selu|shrink|sigmoid|sign|sin"
    r"|softplus|softsign|sqrt|sub|sum|swish|tanh|thresholdedrelu|where|xor)(_(?!loss|weight)|$)",
    "shapes": r"(concat|constant|constantofshape|depthtospace|expand|flatten|gather|identity|range|reshape|shape|size"
    r"|slice|spacetodepth|split|squeeze|tile|transpose|tril|triu|unsqueeze|edge_pad|reflect_pad|constant_pad)_",
    "reductions": r"(argmax|argmin|cumsum|logsoftmax|reduce|softmax)_",
    "products": r"(basic_conv|conv|einsum|gemm|matmul|averagepool|globalaveragepool|globalmaxpool|maxpool)_",
    "norms": r"(batchnorm|group_normalization|instancenorm|layer_normalization|rms_normalization|l1normalization"
    r"|l2normalization)_",
    "control": r"(if|loop11|scan9)(_|$)",
    "quantized": r"(dequantizelinear|qlinear|matmulinteger|convinteger)(_|$)",
    "nearest": r"(resize|upsample).*nearest",
    "lookups": r"(onehot|compress|reversesequence|scatter)_",
}
#: What of these is refused, by what it says.
REFUSED = re.compile(
    r"of type \w*(uint2|int2|float4|float8|string|complex)|training mode|reduction (add|max|min|mul)|keep_aspect"
    r"|output 1 is not supported|the equation \.\.\.ii|batch_dims|zero-size array|is no tensor|expected a tensor"
    r"|version 1 of|auto_pad and output_shape|mode wrap|it fits? no|random numbers"
)
#: Of these the source rounds where the reader does not.
ROUNDED = re.compile(r"test_dynamicquantizelinear")
#: Queries that see no key at all: NaN here, 0 in the newest version of the operator.
SEES_NOTHING = re.compile(r"test_attention.*nan_robustness")


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return collect_testcases(None)


def outcome(case: Any, folder: Path, known: bool) -> str:
    """Why a case is refused; empty if its stored outputs come out.

    Args:
        known: all inputs are known numbers, as those of shapes and weights are.
    """
    why = ""
    try:
        source = source_of(case.model, folder)
        for inputs, expected in case.data_sets:
            compare(case, run(source, inputs, known), expected)
    except ConvertError as e:
        why = str(e) or "?"
    assert not why or why.isprintable()
    return why


def compare(case: Any, got: list[np.ndarray], expected: list[Any]) -> None:
    for array, given in zip(got, expected, strict=True):
        stored = np.asarray(given)
        if stored.dtype == object:  # numbers that NumPy has no type for
            continue
        assert array.shape == stored.shape, case.name
        rtol = {"float16": 2e-3, "bfloat16": 1e-2}.get(stored.dtype.name, case.rtol)
        atol = max(1e-5 if stored.dtype.kind == "f" else 0, case.atol)
        wide = stored if stored.dtype.kind == "b" else stored.astype(np.float64)
        np.testing.assert_allclose(array.astype(wide.dtype), wide, rtol=rtol, atol=atol, err_msg=case.name)


@pytest.mark.parametrize("family", MUST)
def test_family(family: str, cases: list[Any], tmp_path: Path) -> None:
    chosen = [c for c in cases if re.match("test_" + MUST[family], c.name) and not c.name.endswith("_expanded")]
    refused = {c.name: why for c in chosen if (why := outcome(c, tmp_path, known=True))}
    assert {n: w for n, w in refused.items() if not REFUSED.search(w)} == {}
    assert len(chosen) > 2 * len(refused)


def test_recurrent_cases_on_unknown_inputs(cases: list[Any], tmp_path: Path) -> None:
    """The weights are inputs of these cases; here they are known, and nothing else is."""
    chosen = [c for c in cases if re.match("test_" + MUST["recurrent"], c.name)]
    assert len(chosen) >= 18
    for case in chosen:
        given = zip(case.data_sets[0][0], case.model.graph.input, strict=True)
        weights = [onnx.numpy_helper.from_array(np.asarray(a), i.name) for a, i in given if i.name != "X"]
        made = onnx.ModelProto()
        made.CopyFrom(case.model)
        made.graph.initializer.extend(weights)
        compare(case, run(source_of(made, tmp_path), case.data_sets[0][0][:1]), case.data_sets[0][1])


@pytest.mark.parametrize("known", [True, False])
def test_nothing_is_wrong(known: bool, cases: list[Any], tmp_path: Path) -> None:
    """Whatever the case: its stored outputs, or one line that says why not."""
    refused = [c.name for c in cases if not (ROUNDED.match(c.name) or SEES_NOTHING.match(c.name))
               and outcome(c, tmp_path, known)]  # fmt: skip
    assert len(refused) < len(cases) * (0.4 if known else 0.6)
