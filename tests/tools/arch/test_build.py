"""Architecture files: what they build, what is wrong in them by name, and drafts of them."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import names
from helpers.state_dicts import SMALL, array, rec, small_state
from lstm_rt_tools.judges import reference
from lstm_rt_tools.torch_reader.from_torch import from_torch

from lstm_rt.errors import ConvertError

# -- architecture files ----------------------------------------------------------------------------


def test_small_arch_and_its_defaults() -> None:
    graph = from_torch({"module." + k: v for k, v in small_state().items()}, arch=SMALL)
    assert [n.op for n in graph.nodes] == ["lstm", "dense"]
    assert names(graph)[0] == ["x"]
    assert names(graph)[1] == ["output"]
    assert graph.values[graph.inputs[0]].size == 3


@pytest.mark.parametrize(
    "above",
    [
        [{"op": "normalize", "mean": [0.0, 1.0, 2.0]}],
        [{"op": "normalize", "mean": "mean", "std": 2.0}],
        [{"op": "normalize", "mean": 1.5}, {"op": "tanh"}],
        [{"op": "prelu", "weights": "slope"}],
        [{"op": "reverse", "name": "back"}, {"op": "square", "input": "back"}],
        [{"op": "multihead", "weights": "mha", "heads": 1}],
    ],
)
def test_the_size_of_an_input_behind_layers_that_keep_it(above: list[dict[str, Any]]) -> None:
    state = small_state() | {"mean": array(3), "slope.weight": array(1)}
    state |= {"mha.in_proj_weight": array(9, 3), "mha.out_proj.weight": array(3, 3)}
    arch = {"ignore": ["mean", "slope.*", "mha.*"], "layer": [*above, *SMALL["layer"]]}
    graph = from_torch(state, arch=arch)
    assert graph.values[graph.inputs[0]].size == 3


@pytest.mark.parametrize(
    "layers",
    [
        [{"op": "concat", "inputs": ["x", "x"]}, *SMALL["layer"]],
        [{"op": "slice", "start": 1, "size": 3}, *SMALL["layer"]],
        [{"op": "relu", "name": "a", "input": "b"}, {"op": "relu", "name": "b", "input": "a"}],
    ],
)
def test_the_size_of_an_input_is_not_guessed(layers: list[dict[str, Any]]) -> None:
    with pytest.raises(ConvertError, match="input 1: size, the number of features, is missing"):
        from_torch(small_state(), arch={"layer": layers})


def test_weights_left_over_say_how_to_leave_them() -> None:
    left = {"loss.weight": array(2), "loss.bias": array(2), "scale": array(1)}
    left |= {f"m{i}.w": array(1) for i in range(3)}
    with pytest.raises(ConvertError) as e:
        from_torch(small_state() | left, arch=SMALL)
    assert 'ignore = ["loss.*", "scale", "m0.w", "m1.w", ...] in the arch file' in str(e.value)


def test_arch_states_cells_and_many_ops() -> None:
    state = {
        "emb.weight": array(7, 4),
        **{f"enc.{k}": v for k, v in rec("", 4, 6, gates=3, bias=True).items()},
        **{k.replace("_l0", ""): v for k, v in rec("cell", 6, 6, gates=1, bias=True).items()},
        **{f"n.{k}": array(12) for k in ("weight", "bias", "running_mean")},
        "n.running_var": np.abs(array(12)),
        "n.num_batches_tracked": np.array(3),
        "ln.weight": array(12),
        "aux.weight": array(1),
    }
    arch = """
    ignore = ["aux.*"]
    [[input]]
    name = "ids"
    kind = "ids"
    [[layer]]
    op = "embedding"
    weights = "emb"
    [[layer]]
    op = "gru"
    name = "enc"
    weights = "enc"
    [[layer]]
    op = "rnn"
    name = "cell"
    weights = "cell"
    nonlinearity = "relu"
    h0 = "enc.h"
    [[layer]]
    op = "concat"
    inputs = ["enc.h.0", "cell.h"]
    [[layer]]
    op = "batchnorm"
    weights = "n"
    [[layer]]
    op = "layernorm"
    weights = "ln"
    eps = 1e-3
    [[layer]]
    op = "leaky_relu"
    name = "y"
    alpha = 0.3
    [[output]]
    name = "y"
    [[output]]
    name = "steps"
    value = "cell"
    """
    path = io.BytesIO(arch.encode())
    import importlib

    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    graph = from_torch(state, arch=toml.load(path))
    y, steps = reference.run(graph, {"ids": [[1, 2, 3], [0, 6, 5]]})
    assert y.shape == (2, 12)
    assert steps.shape == (2, 3, 6)
    assert graph.nodes[-1].attrs["activation"].alpha == 0.3


def layer(**kw: Any) -> dict[str, Any]:
    return {**SMALL, "layer": [SMALL["layer"][0], {**SMALL["layer"][1], **kw}]}


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (
            {**SMALL, "layers": []},
            r"unknown option 'layers'; known: checkpoint, ignore, input, layer, output",
        ),
        ({}, r"there is no \[\[layer\]\]"),
        ({"layer": {"op": "lstm"}}, r"must be a list of tables"),
        (
            layer(units=3),
            r"layer 2 \(dense\): unknown option 'units'; known: op, name, input, weights, activation",
        ),
        (layer(op="convolution"), r"unknown op 'convolution'; known: embedding, lstm"),
        (
            layer(input="nope"),
            r"there is no value 'nope' yet; there is x, rec.h.0, rec.h, rec.c.0, rec.c, rec",
        ),
        (layer(weights="linear"), r"no weight in state dict starts with 'linear.'; .*did you mean 'lin'\?"),
        (layer(activation="mush"), r"unknown activation 'mush'.* did you mean 'mish'"),
        (layer(name="rec"), r"name 'rec' is taken"),
        (layer(alpha="x"), r"alpha is 'x', expected a float"),
        (layer(op="last"), r"unknown option 'weights'"),
        (layer(op="lstm"), r"there is no weight 'lin.weight_ih_l0'"),
        (
            {"layer": [{"op": "gru", "weights": "rec"}]},
            r"w_ih has shape \(20, 3\), expected 3 rows per hidden unit",
        ),
        ({"layer": [{"op": "rnn", "weights": "rec"}]}, r"nonlinearity is missing"),
        ({"layer": [{"op": "lstm"}]}, r"weights is missing"),
        (
            {"layer": SMALL["layer"][:1]},
            r"2 weights are not used by any layer: lin.weight \(2, 5\), lin.bias",
        ),
        ({**SMALL, "ignore": ["other.*"]}, r"ignore pattern 'other.\*' matches no weight"),
        ({**SMALL, "ignore": "lin"}, r"ignore must be a list"),
        ({**SMALL, "input": [{"name": "x", "size": 4}]}, r"w_ih has shape \(20, 3\), expected \(20, 4\)"),
        ({**SMALL, "input": [{"name": "x", "kind": "image"}]}, r"unknown kind 'image'"),
        ({**SMALL, "input": [{"kind": "seq"}]}, r"name is missing"),
        ({**SMALL, "input": [{"name": "x"}, {"name": "n", "kind": "lengths"}]}, r"lengths need of"),
        ({**SMALL, "output": [{"name": "y"}]}, r"there is no value 'y' yet"),
        ({**SMALL, "output": [{"name": "rec", "axis": 1}]}, r"unknown option 'axis'; known: name, value"),
        ({"layer": [*SMALL["layer"], {"op": "add", "inputs": ["rec"]}]}, r"1 inputs, expected 2"),
        ({"layer": [*SMALL["layer"], {"op": "add", "inputs": ["rec", "x"]}]}, r"add: 5 and 3 features differ"),
        (
            {"layer": [*SMALL["layer"], {"op": "slice", "start": 1, "size": 2}]},
            r"slice: \[1, 3.*is not within 2",
        ),
    ],
)
def test_arch_errors_name_what_is_wrong(arch: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvertError, match=message):
        from_torch(small_state(), arch=arch)


def test_arch_files(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("layer = [")
    with pytest.raises(ConvertError, match=r"a.toml: not valid TOML"):
        from_torch(small_state(), arch=path)
    with pytest.raises(FileNotFoundError, match=r"b.toml"):
        from_torch(small_state(), arch=tmp_path / "b.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" + "a." * 200_000 + "b]\n", "line 1 has more than 1000 dots"),
        ("a = 1\n" + "a." * 2000 + "b = 1\n", "line 2 has more than 1000 dots"),
        ("a = " + "9" * 900_000, "not valid TOML .a number of 900000 digits"),
        ("a = 0." + "9" * 900_000, "not valid TOML .a number of 900000 digits"),
        ("".join("[" + "a." * 999 + f"b{i}]\n" for i in range(500)), "unknown option 'a'"),
    ],
)
def test_arch_files_that_would_take_long(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(ConvertError, match=f"a.toml: {message}"):
        from_torch(small_state(), arch=path)
    assert time.process_time() - start < 5


def test_without_arch_the_error_holds_a_draft_that_works(tmp_path: Path) -> None:
    state = {"embed.weight": array(9, 3), **small_state()}
    with pytest.raises(ConvertError, match="holds weights only") as e:
        from_torch(state)
    draft = str(e.value).split("\n\n", 1)[1]
    assert "# uncomment if only the last step goes on" in draft
    path = tmp_path / "draft.toml"
    path.write_text(draft)
    graph = from_torch(state, arch=path)
    assert [n.op for n in graph.nodes] == ["embedding", "lstm", "dense"]


def test_draft_tells_cells_apart() -> None:
    for gates, op in ((3, "gru"), (1, "rnn")):
        with pytest.raises(ConvertError, match=f'op = "{op}"'):
            from_torch(rec("r", 3, 5, gates, bias=True))


def test_sources_of_a_wrong_type() -> None:
    with pytest.raises(ConvertError, match="cannot convert a int"):
        from_torch(3)
    with pytest.raises(ConvertError, match="holds no arrays"):
        from_torch({"a": 1})
