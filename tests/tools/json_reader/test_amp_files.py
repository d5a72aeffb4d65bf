"""Files of RTNeural, AIDA-X and Neural Amp Modeler beside Keras and PyTorch, and what is wrong with others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import fails
from lstm_rt_tools import readers
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.row import Options

from lstm_rt import ConvertError, Model
from lstm_rt.graph import Graph

RNG = np.random.default_rng(0)


def w(*shape: int) -> Any:
    return RNG.uniform(-0.5, 0.5, shape).astype(np.float32).tolist()


def layer(kind: str, size: int, *weights: Any, activation: str = "", **more: Any) -> dict[str, Any]:
    return {"type": kind, "activation": activation, "shape": [None, None, size], "weights": list(weights), **more}


def lstm_file(**more: Any) -> dict[str, Any]:
    """1 -> LSTM 3 -> 1"""
    layers = [layer("lstm", 3, w(1, 12), w(3, 12), w(12)), layer("dense", 1, w(3, 1), w(1))]
    return {"in_shape": [None, None, 1], "layers": layers, **more}


def converted(tmp_path: Path, tree: Any, name: str = "m.json") -> Graph:
    path = tmp_path / name
    path.write_text(json.dumps(tree))
    return readers.read(path, Options())


def x_of(graph: Graph, steps: int = 9) -> Any:
    v = graph.values[graph.inputs[0]]
    return RNG.standard_normal((2, steps, v.size) if v.kind == "seq" else (2, v.size)).astype(np.float32)


# -- RTNeural ---------------------------------------------------------------------------------------


def exported(model: Any) -> dict[str, Any]:
    """A Keras model as RTNeural's exporter writes it."""
    other = {"BatchNormalization": "batchnorm", "TimeDistributed": "time-distributed-dense"}
    layers = []
    for k in model.layers:
        inner = k.layer if type(k).__name__ == "TimeDistributed" else k
        name = getattr(getattr(inner, "activation", None), "__name__", "")
        kind, weights = type(k).__name__, [a.tolist() for a in k.get_weights()]
        facts = layer(other.get(kind, kind.lower()), k.output.shape[-1], *weights)
        facts["activation"] = name if name != "linear" else ""
        if facts["type"] == "conv1d":
            facts |= {"kernel_size": list(k.kernel_size), "dilation": list(k.dilation_rate), "groups": k.groups}
        if facts["type"] == "batchnorm":
            facts["epsilon"] = k.epsilon
        layers.append(facts)
    return {"in_shape": [None, None, 2], "layers": layers}


def keras_models() -> dict[str, Callable[[Any], list[Any]]]:
    return {
        "lstm": lambda k: [k.LSTM(5, return_sequences=True), k.Dense(1)],
        "gru": lambda k: [k.TimeDistributed(k.Dense(4, "tanh")), k.GRU(6, return_sequences=True), k.Dense(2)],
        "conv": lambda k: [
            k.Conv1D(4, 3, dilation_rate=2, padding="causal", activation="relu"),
            k.BatchNormalization(epsilon=0.1),
            k.PReLU(shared_axes=[1]),
            k.Conv1D(6, 2, padding="causal", groups=2),
            k.BatchNormalization(center=False, scale=False),
            k.Activation("elu"),
            k.LSTM(3, return_sequences=True),
            k.Dense(3, activation="softmax"),
        ],
    }


@pytest.mark.parametrize("name", keras_models())
def test_rtneural_as_keras(name: str, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.layers.Input((None, 2)), *keras_models()[name](keras.layers)])
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.1, 0.6, a.shape) for a in model.get_weights()])
    graph = converted(tmp_path, exported(model))
    x = x_of(graph)
    want = np.asarray(model(x).detach() if hasattr(model(x), "detach") else model(x))
    np.testing.assert_allclose(Model(graph)(x), want, rtol=0, atol=1e-5)
    assert Model(graph).can_stream
    assert graph.meta["source"]["framework"] == "rtneural"
    assert graph.nodes[0].name.startswith("0.")


def test_dense_layers_without_steps(tmp_path: Path) -> None:
    kernel, bias = w(2, 3), w(3)
    tree = {"in_shape": [None, 2], "layers": [layer("dense", 3, kernel, bias, activation="tanh")]}
    graph = converted(tmp_path, tree)
    x = x_of(graph)
    np.testing.assert_allclose(Model(graph)(x), np.tanh(x @ np.array(kernel) + bias), rtol=0, atol=1e-6)


def test_aidax_skip_and_gains(tmp_path: Path) -> None:
    """The input is amplified, added to the output, and all is amplified."""
    plain = lstm_file()
    aidax = {**plain, "in_skip": 1, "in_gain": 6.0, "out_gain": -12.0, "metadata": {"samplerate": "48000", "x": [1]}}
    a, b = converted(tmp_path, plain), converted(tmp_path, aidax)
    x, k = x_of(a), 10 ** (6 / 20)
    want = (Model(a)(np.float32(k) * x) + k * x) * 10 ** (-12 / 20)
    np.testing.assert_allclose(Model(b)(x), want, rtol=0, atol=1e-6)
    assert b.meta["source"]["metadata"] == {"samplerate": "48000"}
    assert b.meta["notes"] == [
        "in_gain of 6 dB is part of the model: a factor of 1.99526",
        "out_gain of -12 dB is part of the model: a factor of 0.251189",
    ]
    silent = converted(tmp_path, {**plain, "out_gain": -90})
    np.testing.assert_array_equal(Model(silent)(x), 0 * x)
    assert "notes" not in converted(tmp_path, {**plain, "in_gain": 0}).meta


def test_who_made_it(tmp_path: Path) -> None:
    """RTNeural passes over what it does not know; we do that with text alone, and the error of the training."""
    graph = converted(tmp_path, lstm_file(author="me", esr=0.01, samplerate="48000", remark="x"))
    assert graph.meta["source"]["metadata"] == {"author": "me", "samplerate": "48000"}


def test_aidax_examples_are_compared(tmp_path: Path) -> None:
    plain = lstm_file()
    graph = converted(tmp_path, plain)
    x = x_of(graph, 300)[:1]
    y = Model(graph)(x)
    batch = {"input_batch": x.ravel().tolist(), "output_batch": y.ravel().tolist()}
    again = converted(tmp_path, {**plain, **batch})
    assert again.meta["checked"].startswith("the output_batch in the file: 300 steps, max abs difference ")
    other = converted(tmp_path, {**plain, **batch, "output_batch": (y + 1).ravel().tolist()})
    assert "checked" not in other.meta
    assert "output_batch in the file differs from the model's outputs by up to 1: " in other.meta["notes"][0]


WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "top": (lambda t: t.update(speed=1), "unknown 'speed'; known: in_shape"),
    "shape": (lambda t: t.update(in_shape=[1]), r"in_shape has 1 sizes, expected \(batch, steps, features\)"),
    "no shape": (lambda t: t.pop("in_shape"), r"in_shape is None, expected \(batch, steps, features\)"),
    "size": (lambda t: t.update(in_shape=[None, None, None]), "last of in_shape is None, expected a whole number"),
    "no layers": (lambda t: t.update(layers=[]), "layers is not a list of tables"),
    "type": (lambda t: t["layers"][0].update(type="conv2d"), r"layer 0 \(conv2d\): a layer of this type is not supp"),
    "unhashable": (lambda t: t["layers"][0].update(type="nothing\n"), r"layer 0 \(nothing\\n\): a layer of this type"),
    "list": (lambda t: t["layers"][0].update(type=["lstm"]), r"layer 0 \(a list\): a layer of this type is n"),
    "number": (lambda t: t["layers"][0]["weights"].__setitem__(1, 0.5), r"its kernel has shape \(1, 12\)"),
    "option": (lambda t: t["layers"][0].update(stateful=1), r"layer 0 \(lstm\): unknown 'stateful'"),
    "no weights": (lambda t: t["layers"][0].pop("weights"), "no list of weights, expected kernel, recurrent kernel, b"),
    "a weight": (lambda t: t["layers"][0]["weights"].pop(), "2 weights, expected kernel, recurrent kernel, bias"),
    "kernel": (lambda t: t["layers"][0]["weights"].__setitem__(0, w(2, 12)), r"its kernel has shape \(2, 12\), exp"),
    "bias": (lambda t: t["layers"][0]["weights"].__setitem__(2, w(2, 12)), r"its bias has shape \(2, 12\), expected"),
    "text": (lambda t: t["layers"][1]["weights"].__setitem__(0, [["a"]]), "is not a regular array of numbers"),
    "output": (lambda t: t["layers"][0].update(shape=[None, None, 7]), "its shape ends with 7, but its weights give 3"),
    "activation": (lambda t: t["layers"][0].update(activation="relu"), "'relu' is not supported: RTNeural computes"),
    "dense": (lambda t: t["layers"][1].update(activation="swish"), "activation 'swish' is unknown; known: linear"),
    "of list": (lambda t: t["layers"][1].update(activation=["tanh"]), "activation a list is unknown; known: linear"),
    "in dense": (lambda t: t["layers"][1]["weights"].__setitem__(0, w(4, 1)), r"dense: weight has shape \(1, 4\)"),
    "skip": (lambda t: t.update(in_skip=2), "in_skip is 2 with 1 outputs, expected 1"),
    "gain": (lambda t: t.update(in_gain="loud"), "in_gain is 'loud', expected a number"),
    "large gain": (lambda t: t.update(in_gain=1000), "in_gain is 1000 dB, which is beyond float32"),
    "batch": (lambda t: t.update(input_batch=[1.0], output_batch=[1.0, 2.0]), "has 1 numbers, output_batch 2"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rtneural_files(name: str, tmp_path: Path) -> None:
    tree = lstm_file()
    damage, message = WRONG[name]
    damage(tree)
    with pytest.raises(ConvertError, match=message):
        converted(tmp_path, tree)


WRONG_LAYERS: dict[str, tuple[dict[str, Any], str]] = {
    "strides": (layer("conv1d", 2, w(3, 2, 2), kernel_size=[3], strides=[2]), "strides of 1"),
    "kernel size": (layer("conv1d", 2, w(3, 2, 2), kernel_size=[2]), r"kernel_size is \[2\], its kernel has 3 steps"),
    "dilation": (layer("conv1d", 2, w(3, 2, 2), kernel_size=3, dilation=0), "dilation is 0, expected a whole number"),
    "gru": (layer("gru", 2, w(2, 6), w(2, 6), w(6)), r"its bias has shape \(6,\), expected \(2, 6\)"),
    "prelu": (layer("prelu", 2, w(3)), r"alpha has shape \(3,\), expected \(2,\) or one for all"),
    "prelu of a number": (layer("prelu", 2, 0.5), r"alpha has shape \(\), expected \(2,\) or one for all"),
    "variance": (layer("batchnorm", 2, [0, 0], [-1, 1], epsilon=0.5), "variance and epsilon add up to -0.5, expected"),
    "epsilon": (layer("batchnorm", 2, [0, 0], [1, 1]), "epsilon is None, expected a number"),
    "features": (layer("batchnorm", 2, [0, 0, 0], [1, 1, 1], epsilon=1), "not one number for each of 2 features"),
    "three": (layer("batchnorm", 2, [1, 1], [1, 1], [1, 1], epsilon=1), "3 weights, expected gamma, beta, mean, vari"),
}


@pytest.mark.parametrize("name", WRONG_LAYERS)
def test_wrong_layers(name: str, tmp_path: Path) -> None:
    wrong, message = WRONG_LAYERS[name]
    with pytest.raises(ConvertError, match=rf"^m.json: layer 0 \({wrong['type']}\).*{message}|{message}"):
        converted(tmp_path, {"in_shape": [None, None, 2], "layers": [wrong]})


# -- Neural Amp Modeler -----------------------------------------------------------------------------


def nam_of(cells: list[tuple[Any, Any, Any, Any]], head: tuple[Any, Any], inputs: int) -> dict[str, Any]:
    """Cells are (matrix of x and h, bias, h0, c0), as the trainer exports them."""
    parts = [np.ravel(a) for cell in cells for a in cell] + [np.ravel(a) for a in head]
    hidden = len(cells[0][2])
    config = {"input_size": inputs, "hidden_size": hidden, "num_layers": len(cells)}
    weights = np.concatenate(parts).astype(float).tolist()
    return {"version": "0.5.2", "metadata": {}, "architecture": "LSTM", "config": config, "weights": weights,
            "sample_rate": 48000}  # fmt: skip


@pytest.mark.parametrize("states", [False, True])
def test_nam_as_torch(states: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    core, head = torch.nn.LSTM(1, 5, 2, batch_first=True), torch.nn.Linear(5, 1)
    start = torch.randn(2, 2, 5) if states else torch.zeros(2, 2, 5)
    cells = []
    for k in range(2):
        both = torch.cat([getattr(core, f"weight_{n}_l{k}") for n in ("ih", "hh")], dim=1).detach().numpy()
        bias = (getattr(core, f"bias_ih_l{k}") + getattr(core, f"bias_hh_l{k}")).detach().numpy()
        cells.append((both, bias, start[0, k].numpy(), start[1, k].numpy()))
    graph = converted(tmp_path, nam_of(cells, (head.weight.detach(), head.bias.detach()), 1), "amp.nam")
    x = x_of(graph, 30)
    with torch.no_grad():
        hc = tuple(s[:, None].repeat(1, 2, 1) for s in start)
        want = head(core(torch.from_numpy(x), hc)[0]).numpy()
    np.testing.assert_allclose(Model(graph)(x), want, rtol=0, atol=1e-5)
    assert Model(graph).can_stream is not states
    assert bool(graph.meta.get("notes")) is states
    assert graph.meta["source"]["metadata"] == {"version": "0.5.2", "sample_rate": 48000}
    assert [n.name for n in graph.nodes if n.op in ("lstm", "dense")][-3:] == ["lstm.0", "lstm.1", "head"] or states


NAM = nam_of([(np.ones((8, 3)), np.ones(8), np.zeros(2), np.zeros(2))], (np.ones(2), np.ones(1)), 1)
WRONG_NAM: dict[str, tuple[dict[str, Any], str]] = {
    "wavenet": ({"architecture": "WaveNet"}, "its architecture is 'WaveNet'; of .nam files only those of an LSTM"),
    "config": ({"config": []}, "config is not a table"),
    "option": ({"config": {**NAM["config"], "dropout": 0.1}}, "config: unknown 'dropout'"),
    "layers": ({"config": {**NAM["config"], "num_layers": 0}}, "config: num_layers is 0, expected a whole number"),
    "top": ({"more": 1}, "unknown 'more'; known: version"),
    "weights": ({"weights": NAM["weights"][1:]}, "38 weights, expected 39: input_size 1, hidden_size 2, num_layers 1"),
    "no weights": ({"weights": None}, "0 weights, expected 39"),
    "absurd": ({"config": {**NAM["config"], "hidden_size": 10**9}}, "39 weights, expected 4,000,"),
    "text": ({"weights": ["a"]}, "weight weights is not a regular array of numbers"),
}


@pytest.mark.parametrize("name", WRONG_NAM)
def test_wrong_nam_files(name: str, tmp_path: Path) -> None:
    more, message = WRONG_NAM[name]
    with pytest.raises(ConvertError, match=message):
        converted(tmp_path, NAM | more, "amp.nam")


# -- the command line -------------------------------------------------------------------------------


def test_other_json_under_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content, message in (
        ("m.nam", "[1, 2]", "m.nam: JSON without a table at its top"),
        ("m.aidax", "{}", "m.aidax: neither layers, nor an architecture, nor mat1"),
        ("m.nam", "{", "m.nam is not valid JSON"),
    ):
        (tmp_path / name).write_text(content)
        assert message in fails(capsys, "convert", tmp_path / name, "-o", tmp_path / "o.lrt")


def test_they_are_verified_by_a_second_reading(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    source, model = tmp_path / "m.json", tmp_path / "m.lrt"
    source.write_text(json.dumps(lstm_file()))
    assert main(["convert", str(source), "-o", str(model)]) == 0
    assert main(["verify", str(model), "--against", str(source)]) == 0
    assert "read again and run layer by layer with torch.nn" in capsys.readouterr().out
    source.write_text(json.dumps(lstm_file()))  # other weights
    assert main(["verify", str(model), "--against", str(source)]) == 1
