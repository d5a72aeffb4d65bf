"""The Keras reader against living Keras models, on any backend.

Each model is converted alive, from .keras and from .h5; the three graphs must be the same, and the
reference interpreter must give the numbers that Keras gives.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lstm_rt_tools import from_keras
from lstm_rt_tools.judges import reference

import lstm_rt.format
from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

os.environ.setdefault("KERAS_BACKEND", "torch")
h5py = pytest.importorskip("h5py")
if os.environ["KERAS_BACKEND"] == "torch":
    pytest.importorskip("torch")
keras = pytest.importorskip("keras")
L = keras.layers

MASK_VALUE = -1.1
F = 4  # input features
V = 9  # vocabulary


# -- models -----------------------------------------------------------------------------------------


def seq(*layers: Any) -> Any:
    return keras.Sequential([L.Input((None, F), name="x"), *layers])


def ids(*layers: Any, mask_zero: bool = True) -> Any:
    return keras.Sequential(
        [L.Input((None,), dtype="int32", name="ids"), L.Embedding(V, F, mask_zero=mask_zero), *layers]
    )


def masked(*layers: Any) -> Any:
    return seq(L.Masking(MASK_VALUE), *layers)


def cells(*kinds: Any) -> Any:
    return L.StackedRNNCells(list(kinds))


LSTM_OPTIONS: list[dict[str, Any]] = [
    {},
    {"return_sequences": True},
    {"return_sequences": True, "go_backwards": True},
    {"go_backwards": True},
    {"use_bias": False},
    {"recurrent_activation": "hard_sigmoid", "activation": "relu", "return_sequences": True},
    {"zero_output_for_mask": True, "return_sequences": True},
    {"zero_output_for_mask": True},
    {"zero_output_for_mask": True, "go_backwards": True},
    {"recurrent_dropout": 0.2, "dropout": 0.1, "return_sequences": True},
    {"unroll": False, "activation": "softsign", "recurrent_activation": "tanh"},
]
KINDS = {
    "LSTM": L.LSTM,
    "GRU": L.GRU,
    "GRU-before": lambda units, **kw: L.GRU(units, reset_after=False, **kw),
    "SimpleRNN": L.SimpleRNN,
}

CASES: dict[str, Callable[[], Any]] = {}


def _add_recurrent_cases() -> None:
    for kind, make in KINDS.items():
        for i, options in enumerate(LSTM_OPTIONS):
            if kind == "SimpleRNN":
                options = {k: v for k, v in options.items() if k != "recurrent_activation"}
            CASES[f"{kind}-{i}"] = lambda make=make, options=options: seq(make(3, **options))
            CASES[f"{kind}-{i}-masked"] = lambda make=make, options=options: masked(make(3, **options))
        for mode in ("concat", "sum", "mul", "ave"):
            for whole in (True, False):
                CASES[f"bi-{kind}-{mode}-{whole}"] = lambda make=make, mode=mode, whole=whole: masked(
                    L.Bidirectional(make(3, return_sequences=whole), merge_mode=mode)
                )
        CASES[f"bi-{kind}-unmasked"] = lambda make=make: seq(L.Bidirectional(make(3, return_sequences=True)))
        CASES[f"bi-{kind}-last"] = lambda make=make: seq(L.Bidirectional(make(3)), L.Dense(2))


_add_recurrent_cases()


def _two_backwards(whole: bool) -> Any:
    back = L.GRU(5, return_sequences=whole, go_backwards=True, name="mine")
    return L.Bidirectional(L.LSTM(3, return_sequences=whole), backward_layer=back)


def _same_form_backwards() -> Any:
    back = L.LSTM(3, return_sequences=True, go_backwards=True, name="my_back")
    return L.Bidirectional(L.LSTM(3, return_sequences=True, name="ahead"), backward_layer=back, name="both")


CASES |= {
    "stacked-lstm": lambda: seq(
        L.LSTM(3, return_sequences=True), L.LSTM(4, return_sequences=True), L.LSTM(2)
    ),
    "masks-pass-on": lambda: ids(
        L.Dropout(0.5),
        L.LSTM(3, return_sequences=True),
        L.LayerNormalization(),
        L.GRU(4, return_sequences=True),
        L.TimeDistributed(L.Dense(3, activation="tanh")),
        L.BatchNormalization(),
        L.SimpleRNN(3),
    ),
    "masks-pass-activations": lambda: ids(
        L.Activation("tanh"),
        L.ReLU(negative_slope=0.2),
        L.LeakyReLU(),
        L.ELU(0.7),
        L.SpatialDropout1D(0.2),
        L.GaussianNoise(0.1),
        L.GaussianDropout(0.1),
        L.AlphaDropout(0.1),
        L.ActivityRegularization(0.1),
        L.Dense(3),
        L.Bidirectional(L.LSTM(3)),
    ),
    "mask-ends-after-last": lambda: ids(L.LSTM(3), L.Dense(4, activation="softmax")),
    "no-mask-zero": lambda: ids(L.LSTM(3, return_sequences=True), mask_zero=False),
    "masking-output": lambda: masked(L.Dense(2)),
    "masking-of-states": lambda: seq(
        L.LSTM(3, return_sequences=True, activation="relu"), L.Masking(0.0), L.GRU(3)
    ),
    "masked-backwards-twice": lambda: ids(
        L.LSTM(3, return_sequences=True, go_backwards=True),
        L.GRU(3, return_sequences=True, go_backwards=True),
        L.LSTM(2, return_sequences=True),
    ),
    "masked-zero-then-lstm": lambda: ids(L.Bidirectional(L.GRU(3, return_sequences=True)), L.LSTM(3)),
    "rnn-lstm-cell": lambda: ids(L.RNN(L.LSTMCell(3), return_sequences=True)),
    "rnn-gru-cell": lambda: seq(
        L.RNN(L.GRUCell(3, reset_after=False), go_backwards=True, return_sequences=True)
    ),
    "rnn-simple-cell": lambda: seq(L.RNN(L.SimpleRNNCell(3, activation="sigmoid"))),
    "rnn-stacked": lambda: ids(
        L.RNN(cells(L.LSTMCell(3), L.GRUCell(4), L.LSTMCell(2)), return_sequences=True),
        L.RNN(cells(L.GRUCell(3))),
    ),
    "rnn-stacked-backwards": lambda: masked(
        L.RNN(cells(L.LSTMCell(3), L.LSTMCell(3)), return_sequences=True, go_backwards=True)
    ),
    "rnn-stacked-zero": lambda: masked(
        L.RNN(cells(L.LSTMCell(3), L.SimpleRNNCell(3)), zero_output_for_mask=True)
    ),
    "bi-rnn-stacked": lambda: masked(
        L.Bidirectional(L.RNN(cells(L.LSTMCell(3), L.GRUCell(2)), return_sequences=True))
    ),
    "bi-rnn-cell": lambda: ids(L.Bidirectional(L.RNN(L.GRUCell(3)))),
    "bi-two-kinds": lambda: ids(_two_backwards(True)),
    "bi-two-kinds-last": lambda: ids(_two_backwards(False)),
    "bi-own-backwards": lambda: masked(_same_form_backwards()),
    "bi-no-bias": lambda: seq(L.Bidirectional(L.GRU(3, use_bias=False), merge_mode="ave")),
    "dense": lambda: seq(L.Dense(3, use_bias=False), L.Dense(2, activation="sigmoid")),
    "vector": lambda: keras.Sequential(
        [
            L.Input((F,), name="x"),
            L.Dense(5, activation="relu"),
            L.BatchNormalization(),
            L.LayerNormalization(epsilon=1e-5),
            L.Softmax(axis=1),
        ]
    ),
    "norm-options": lambda: seq(
        L.BatchNormalization(center=False),
        L.LayerNormalization(scale=False),
        L.BatchNormalization(scale=False, epsilon=0.01),
        L.LayerNormalization(center=False, axis=2),
    ),
    "time-distributed": lambda: seq(
        L.TimeDistributed(L.Dense(3)),
        L.TimeDistributed(L.LayerNormalization()),
        L.TimeDistributed(L.BatchNormalization()),
        L.TimeDistributed(L.Activation("relu")),
        L.TimeDistributed(L.Dropout(0.2)),
        L.TimeDistributed(L.Softmax()),
    ),
    "softmax-layer": lambda: seq(L.Softmax(axis=2)),
    "activation-layers-in-gates": lambda: seq(
        L.LSTM(3, activation=L.LeakyReLU(negative_slope=0.05)), L.Dense(3, activation=L.ELU(0.5))
    ),
    "fixed-batch": lambda: keras.Sequential([L.Input(batch_shape=(5, 17, F)), L.LSTM(3)]),
    "nested-sequential": lambda: seq(
        L.Dense(3),
        keras.Sequential([L.Input((None, 3)), L.LSTM(3, return_sequences=True), L.GRU(2)], name="inner"),
        L.Dense(2),
    ),
    "nested-embedding": lambda: keras.Sequential(
        [L.Input((None,), name="ids"), keras.Sequential([L.Input((None,)), L.Embedding(V, 3)]), L.LSTM(3)]
    ),
    **{
        f"activation-{name}": lambda name=name: seq(L.Dense(3, activation=name))
        for name in (
            "linear",
            "sigmoid",
            "tanh",
            "relu",
            "hard_sigmoid",
            "leaky_relu",
            "elu",
            "selu",
            "softplus",
            "softsign",
            "swish",
            "silu",
            "gelu",
            "softmax",
            "log_softmax",
        )
    },
}


# -- Functional models ------------------------------------------------------------------------------


def _return_state() -> Any:
    x = L.Input((None, F), name="x")
    y, h, c = L.LSTM(3, return_sequences=True, return_state=True, name="enc")(x)
    last, h2, c2 = L.LSTM(3, return_state=True, name="last")(y)
    return keras.Model(x, [y, h, c, last, h2, c2])


def _initial_state() -> Any:
    x, start = L.Input((None, F), name="x"), L.Input((3,), name="start")
    y = L.GRU(3, return_sequences=True)(x, initial_state=start)
    z, h, c = L.LSTM(3, return_sequences=True, return_state=True)(x)
    z = L.LSTM(3)(y, initial_state=[h, c])
    return keras.Model([x, start], [y, z])


def _masked_initial_state() -> Any:
    tokens = L.Input((None,), dtype="int32", name="ids")
    e = L.Embedding(V, F, mask_zero=True)(tokens)
    y, h, c = L.LSTM(3, return_sequences=True, return_state=True)(e)
    # Keras 3 runs this one without the mask, and yet hands it on
    z = L.LSTM(3, return_sequences=True)(y, initial_state=[c, h])
    return keras.Model(tokens, [z, L.GRU(2)(z)])


def _explicit_mask() -> Any:
    x, mask = L.Input((None, F), name="x"), L.Input((None,), dtype="bool", name="mask")
    state = L.Input((3,), name="state")
    y = L.LSTM(3, return_sequences=True)(x, mask=mask)
    z = L.GRU(3, return_sequences=True)(y, mask=mask, initial_state=state)
    w = L.GRU(3, go_backwards=True)(y, mask=mask, initial_state=state)
    v = L.Bidirectional(L.GRU(3))(y, mask=mask, initial_state=[state, state])
    return keras.Model([x, mask, state], [z, w, v])


def _bidirectional_states(mode: str | None) -> Any:
    x = L.Input((None, F), name="x")
    m = L.Masking(MASK_VALUE)(x)
    outs = L.Bidirectional(L.LSTM(3, return_sequences=True, return_state=True), merge_mode=mode)(x)
    n = 1 if mode else 2
    z = L.Bidirectional(L.LSTM(3), merge_mode=mode)(m, initial_state=outs[n:])
    w = L.Bidirectional(L.LSTM(3, return_sequences=True))(x, initial_state=outs[n:])
    return keras.Model(x, [*outs, *(z if mode is None else [z]), w])


def _merges() -> Any:
    a, b = L.Input((None, F), name="a"), L.Input((None, F), name="b")
    total = L.Add()([a, b, a])
    mean = L.Average()([a, total])
    third = L.Average()([a, b, total])
    both = L.Concatenate()([mean, L.Multiply()([a, b]), third, a, b, total, mean])
    return keras.Model({"left": a, "right": b}, {"y": L.LSTM(3)(both), "z": third + a, "w": third * a})


def _masked_merges() -> Any:
    tokens = L.Input((None,), dtype="int32", name="ids")
    e = L.Embedding(V, F, mask_zero=True)(tokens)
    a, b = L.LSTM(3, return_sequences=True)(e), L.GRU(3, return_sequences=True)(e)
    product = L.Multiply()([a, b])
    joined = L.Concatenate()([a, L.Add()([a, b]), product])
    return keras.Model(
        tokens, [product, L.LSTM(3, return_sequences=True)(joined), L.GRU(2)(L.Average()([a, b]))]
    )


def _half_masked_merge() -> Any:
    x = L.Input((None, F), name="x")
    m = L.Masking(MASK_VALUE)(x)
    plain = L.Dense(F)(x)
    return keras.Model(x, [L.LSTM(3)(L.Add()([m, plain])), L.LSTM(3)(L.Concatenate()([m, plain]))])


def _two_encoders() -> Any:
    a, b = L.Input((None, F), name="a"), L.Input((None,), dtype="int32", name="ids")
    ends = L.Concatenate()([L.LSTM(3)(a), L.GRU(2)(L.Embedding(V, 3, mask_zero=True)(b))])
    return keras.Model([a, b], L.Dense(2, name="answer")(ends))


def _shared() -> Any:
    a, b = L.Input((None, F), name="a"), L.Input((None, F), name="b")
    lstm = L.LSTM(3, name="twin")
    return keras.Model([a, b], [lstm(a), lstm(b)])


def _nested() -> Any:
    i, s = L.Input((None, F)), L.Input((3,))
    inner = keras.Model([i, s], [L.LSTM(3)(i), L.Dense(3)(s)], name="inner")
    x, v = L.Input((None, F), name="x"), L.Input((3,), name="v")
    a, b = inner([x, v])
    return keras.Model([x, v], L.Add()([a, b]))


def _nested_tokens() -> Any:
    i, j = L.Input((None,), name="i"), L.Input((F,), name="j")
    inner = keras.Model([j, i], [L.LSTM(3)(L.Embedding(V, 3)(i)), L.Dense(3)(j)], name="inner")
    tokens, v = L.Input((None,), name="ids"), L.Input((F,), name="v")
    return keras.Model([tokens, v], L.Multiply()(inner([v, tokens])))


def _nested_mask() -> Any:
    """The mask that an inner model makes reaches the layers behind it."""
    inner = keras.Sequential(
        [L.Input((None,)), L.Embedding(V, F, mask_zero=True), L.LSTM(3, return_sequences=True)]
    )
    tokens = L.Input((None,), name="ids")
    return keras.Model(tokens, L.LSTM(2, return_sequences=True)(inner(tokens)))


def _two_masks_in_one() -> Any:
    x = L.Input((None, F), name="x")
    m = L.Masking(MASK_VALUE)(x)
    y = L.TimeDistributed(L.Dense(3))(L.Bidirectional(L.GRU(2, return_sequences=True), merge_mode=None)(m)[1])
    return keras.Model(x, [y, L.Bidirectional(L.LSTM(2))(y)])


def _stacked_states() -> Any:
    x = L.Input((None, F), name="x")
    y, first, second = L.RNN(cells(L.LSTMCell(3), L.GRUCell(2)), return_state=True)(x)
    return keras.Model(x, [y, first[0], first[1], second])


CASES |= {
    "return-state": _return_state,
    "initial-state": _initial_state,
    "masked-initial-state": _masked_initial_state,
    "explicit-mask": _explicit_mask,
    "bi-states": lambda: _bidirectional_states("concat"),
    "bi-states-sum": lambda: _bidirectional_states("sum"),
    "bi-states-none": lambda: _bidirectional_states(None),
    "merges": _merges,
    "masked-merges": _masked_merges,
    "half-masked-merge": _half_masked_merge,
    "two-encoders": _two_encoders,
    "shared": _shared,
    "nested": _nested,
    "nested-tokens": _nested_tokens,
    "nested-mask": _nested_mask,
    "masks-and-merge-none": _two_masks_in_one,
    "stacked-states": _stacked_states,
}


# -- helpers ----------------------------------------------------------------------------------------


def randomise(model: Any, rng: np.random.Generator) -> None:
    """Weights that no initialiser would give: biases and statistics matter too."""
    for weight in model.weights:
        value = rng.normal(0, 0.4, weight.shape)
        positive = "variance" in weight.path
        weight.assign((np.abs(value) + 0.5 if positive else value).astype(np.float32))


def make_inputs(graph: Graph, rng: np.random.Generator, n: int, t: int) -> dict[str, np.ndarray]:
    """Inputs by name; about a third of the steps are masked, with gaps, and one row has no step left."""
    hidden = rng.random((n, t)) < 0.35
    hidden[-1] |= n > 1
    inputs = {}
    for i in graph.inputs:
        v = graph.values[i]
        if v.kind == "seq":
            x = rng.normal(0, 1, (n, t, v.size)).astype(np.float32)
            inputs[v.name] = np.where(hidden[..., None], np.float32(MASK_VALUE), x)
        elif v.kind == "ids":
            inputs[v.name] = np.where(hidden, 0, rng.integers(1, V, (n, t))).astype(np.int32)
        else:
            inputs[v.name] = rng.normal(0, 1, (n, v.size)).astype(np.float32)
    return inputs


def run_keras(model: Any, inputs: dict[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
    struct = getattr(model, "input", None)  # a Sequential model may have none
    struct = struct if isinstance(struct, dict) else None
    given = inputs if struct is not None else list(inputs.values())
    out = model(given if struct is not None or len(inputs) > 1 else given[0], training=False)
    values = [out[name] for name in outputs] if isinstance(out, dict) else keras.tree.flatten(out)
    return [keras.ops.convert_to_numpy(v) for v in values]


def check(model: Any, graph: Graph, n: int, t: int, atol: float = 1e-5) -> None:
    inputs = make_inputs(graph, np.random.default_rng(n * 1000 + t), n, t)
    expected = run_keras(model, inputs, names(graph)[1])
    compiled = lstm_rt.Model(lstm_rt.format.dumps(graph))(**inputs)
    for actual in (reference.run(graph, inputs), compiled if isinstance(compiled, tuple) else (compiled,)):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert a.shape == e.shape
            np.testing.assert_allclose(a, e, rtol=0, atol=atol)


def assert_same(a: Graph, b: Graph) -> None:
    """Two graphs are equal to the bit."""
    assert (a.values, a.inputs, a.outputs) == (b.values, b.inputs, b.outputs)
    assert len(a.nodes) == len(b.nodes)
    for x, y in zip(a.nodes, b.nodes, strict=True):
        assert (x.op, x.inputs, x.outputs, x.attrs) == (y.op, y.inputs, y.outputs, y.attrs)
        assert x.weights.keys() == y.weights.keys()
        for key, w in x.weights.items():
            np.testing.assert_array_equal(w, y.weights[key])


def names(graph: Graph) -> tuple[list[str], list[str]]:
    return [graph.values[i].name for i in graph.inputs], [graph.values[o].name for o in graph.outputs]


@pytest.mark.parametrize("case", CASES)
def test_against_keras(case: str, tmp_path: Path) -> None:
    model = CASES[case]()
    randomise(model, np.random.default_rng(7))
    graph = from_keras(model)
    model.save(tmp_path / "model.keras")
    model.save(tmp_path / "model.h5")
    assert_same(graph, from_keras(tmp_path / "model.keras"))
    assert_same(graph, from_keras(str(tmp_path / "model.h5")))
    sizes = [(5, 17)] if case == "fixed-batch" else [(5, 17), (1, 17), (1, 1), (5, 1)]
    for n, t in sizes:
        check(model, graph, n, t)


LONG = [f"bi-{kind}-{mode}" for kind in KINDS for mode in ("concat-True", "sum-False")]


@pytest.mark.parametrize("case", [*LONG, "stacked-lstm", "rnn-stacked", "initial-state", "explicit-mask"])
def test_long_sequences(case: str) -> None:
    model = CASES[case]()
    randomise(model, np.random.default_rng(8))
    graph = from_keras(model)
    for n in (1, 5):
        check(model, graph, n, 200)


# -- names and facts -------------------------------------------------------------------------------


def test_names_and_meta(tmp_path: Path) -> None:
    graph = from_keras(_merges())
    assert names(graph) == (["left", "right"], ["y", "z", "w"])
    graph = from_keras(_return_state())
    assert names(graph)[1] == [
        "enc",
        "enc_output_1",
        "enc_output_2",
        "last",
        "last_output_1",
        "last_output_2",
    ]
    assert names(from_keras(_two_encoders())) == (["a", "ids"], ["answer"])
    path = save(seq(L.LSTM(3, name="only")), tmp_path)
    graph = from_keras(path)
    assert names(graph) == (["x"], ["only"])
    source = graph.meta["source"]
    assert (source["framework"], source["version"], source["file"]) == ("keras", keras.__version__, path.name)
    assert source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_float_types_are_noted(tmp_path: Path) -> None:
    def change(config: Any) -> None:
        layer(config, "LSTM")["dtype"]["config"]["name"] = "mixed_float16"

    path = edit_config(save(seq(L.LSTM(3)), tmp_path), change)
    (note,) = from_keras(path).meta["notes"]
    assert "LSTM" in note
    assert "mixed_float16" in note


def test_bidirectional_is_one_node() -> None:
    (node,) = from_keras(seq(L.Bidirectional(L.LSTM(3, return_sequences=True)))).nodes
    assert (node.op, node.attrs["direction"]) == ("lstm", "bidirectional")


def test_optimizer_and_foreign_groups_do_not_matter(tmp_path: Path) -> None:
    model = seq(L.LSTM(3), L.Dense(1))
    model.compile("adam", "mse")
    model.fit(np.zeros((2, 3, F), np.float32), np.zeros((2, 1), np.float32), verbose=0)
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as h5:
        h5["notes/of/somebody"] = np.zeros(3)
    assert_same(from_keras(tmp_path / "m.keras"), from_keras(tmp_path / "m.h5"))


@pytest.mark.parametrize(
    "case", ["bi-two-kinds", "rnn-stacked", "stacked-lstm", "norm-options", "masked-merges"]
)
def test_archives_of_older_keras(case: str, tmp_path: Path) -> None:
    """Before 3.6 the groups did not keep the names of their layers, and once they were called otherwise."""
    path = save(CASES[case](), tmp_path)
    expected = from_keras(path)

    def forget(h5: Any) -> None:
        h5.visititems(lambda name, item: item.attrs.pop("name", None) and None)
        h5.move("layers", "_layer_checkpoint_dependencies")

    assert_same(expected, from_keras(edit_weights(path, forget)))


def test_weight_names_in_chunks(tmp_path: Path) -> None:
    """Keras splits long lists of names into several attributes."""
    path = save(seq(L.LSTM(3)), tmp_path, "m.h5")
    expected = from_keras(path)
    with h5py.File(path, "a") as h5:
        (attrs,) = (g.attrs for g in h5["model_weights"].values() if len(g.attrs["weight_names"]))
        listed = attrs["weight_names"]
        del attrs["weight_names"]
        attrs["weight_names0"], attrs["weight_names1"] = listed[:2], listed[2:]
    assert_same(expected, from_keras(path))


# -- errors -----------------------------------------------------------------------------------------


def save(model: Any, folder: Path, name: str = "m.keras") -> Path:
    model.save(folder / name)
    return folder / name


def layer(config: Any, class_name: str) -> Any:
    """The configuration of the first layer of a class."""
    return next(e["config"] for e in config["config"]["layers"] if e["class_name"] == class_name)


def rewrite(path: Path, changes: dict[str, bytes | None]) -> Path:
    """Replace (or with None, drop) members of an archive."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members = {k: v for k, v in (members | changes).items() if v is not None}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)
    return path


def edit_config(path: Path, change: Callable[[Any], Any]) -> Path:
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    change(config)
    return rewrite(path, {"config.json": json.dumps(config).encode()})


def edit_weights(path: Path, change: Callable[[Any], Any]) -> Path:
    with zipfile.ZipFile(path) as archive:
        data = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(data, "a") as h5:
        change(h5)
    return rewrite(path, {"model.weights.h5": data.getvalue()})


def refuse(source: Any, *words: str) -> None:
    with pytest.raises(ConvertError) as caught:
        from_keras(source)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def set_option(class_name: str, **options: Any) -> Callable[[Any], None]:
    return lambda config: layer(config, class_name).update(options)


def test_not_keras_files(tmp_path: Path) -> None:
    (tmp_path / "a.keras").write_bytes(b"hello, world")
    refuse(tmp_path / "a.keras", "a.keras", "expected a .keras archive")
    (tmp_path / "empty.h5").write_bytes(b"")
    refuse(tmp_path / "empty.h5", "expected a .keras archive")
    refuse(tmp_path, "directory", "SavedModel")
    refuse(3.5, "float", "expected a path")
    with pytest.raises(FileNotFoundError):
        from_keras(tmp_path / "none.keras")
    with h5py.File(tmp_path / "b.h5", "w") as h5:
        h5["x"] = np.zeros(3)
    refuse(tmp_path / "b.h5", "model_config")


def test_weights_without_architecture(tmp_path: Path) -> None:
    model = seq(L.LSTM(3))
    model.save_weights(tmp_path / "m.weights.h5")
    refuse(tmp_path / "m.weights.h5", "no architecture", "model.save")


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_truncated_files(name: str, tmp_path: Path) -> None:
    data = save(ids(L.LSTM(3)), tmp_path, name).read_bytes()
    for part in (9, 100, 600, len(data) // 2, len(data) - 10):
        (tmp_path / name).write_bytes(data[:part])
        refuse(tmp_path / name, name, "expected")


def test_damaged_bytes_never_give_foreign_exceptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_rt_tools.weights.hdf5_files._BASE_SECONDS", 1)  # some make HDF5 loop for ever
    rng = np.random.default_rng(3)
    for name in ("m.keras", "m.h5"):
        path = save(ids(L.Bidirectional(L.LSTM(2))), tmp_path, name)
        data = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(60):
            broken = data.copy()
            where = rng.integers(0, len(data), 20)
            broken[where] = rng.integers(0, 256, 20)
            path.write_bytes(broken.tobytes())
            with contextlib.suppress(ConvertError):
                from_keras(path)


def test_damaged_configurations_never_give_foreign_exceptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any part of the configuration may be anything."""
    monkeypatch.setattr(sys, "executable", "")  # the HDF5 file is sound; without processes it is faster
    rng = np.random.default_rng(4)
    junk = [None, -1, 0.5, "x", [], {}, [[]], ["x", 0, 0], {"class_name": "LSTM"}, True, 1 << 40]

    def spots(value: Any) -> list[tuple[Any, Any]]:
        keys = (
            list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
        )
        return [spot for k in keys for spot in [(value, k), *spots(value[k])]]

    for build in (
        _merges,
        _masked_merges,
        lambda: masked(L.Bidirectional(L.RNN(cells(L.GRUCell(2)))), L.Dense(1)),
    ):
        path = save(build(), tmp_path)
        original = path.read_bytes()
        for _ in range(150):

            def change(config: Any) -> None:
                places = spots(config)
                owner, key = places[rng.integers(len(places))]
                owner[key] = junk[rng.integers(len(junk))]

            path.write_bytes(original)
            with contextlib.suppress(ConvertError):
                from_keras(edit_config(path, change))


def test_archive_members(tmp_path: Path) -> None:
    path = save(seq(L.LSTM(3)), tmp_path)
    original = path.read_bytes()
    cases: list[tuple[dict[str, bytes | None], list[str]]] = [
        ({"config.json": None}, ["config.json"]),
        ({"model.weights.h5": None}, ["model.weights.h5"]),
        ({"model.weights.h5": b"nothing"}, ["model.weights.h5", "HDF5"]),
        ({"config.json": b"{"}, ["config.json", "JSON"]),
        ({"config.json": b"[" * 100000}, ["config.json", "JSON"]),
        ({"config.json": b"[]"}, ["expected a JSON object"]),
        ({"metadata.json": b"{}"}, ["keras_version is missing"]),
        ({"metadata.json": b'{"keras_version": "1.2.2"}'}, ["1.2.2", "expected Keras 2 or 3"]),
        ({"metadata.json": b'{"keras_version": 3}'}, ["expected a text"]),
    ]
    for changes, words in cases:
        path.write_bytes(original)
        refuse(rewrite(path, changes), *words)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = save(seq(L.LSTM(3), L.Dense(2)), tmp_path)
    original = path.read_bytes()
    lstm = "layers/lstm/cell/vars"

    def replace_kernel(value: np.ndarray) -> Callable[[Any], None]:
        def change(h5: Any) -> None:
            del h5[f"{lstm}/0"]
            h5[f"{lstm}/0"] = value

        return change

    def soft_link(h5: Any) -> None:
        del h5[f"{lstm}/0"]
        h5[f"{lstm}/0"] = h5py.SoftLink("/layers/dense/vars/0")

    def external_link(h5: Any) -> None:
        del h5["layers/lstm"]
        h5["layers/lstm"] = h5py.ExternalLink("other.h5", "/x")

    def circle(h5: Any) -> None:
        h5["layers/lstm/cell/again"] = h5["layers"]

    cases: list[tuple[Callable[[Any], Any], list[str]]] = [
        (lambda h5: h5.__delitem__(f"{lstm}/2"), ["LSTM", "2 weights", "expected 3"]),
        (lambda h5: h5.__delitem__("layers/lstm"), ["LSTM", "0 weights"]),
        (lambda h5: h5.__setitem__("layers/extra/vars/0", np.zeros(3)), ["no layer", "layers/extra/vars/0"]),
        (lambda h5: h5.__setitem__(f"{lstm}/3", np.zeros(3)), ["4 weights"]),
        (replace_kernel(np.zeros((F, 11), np.float32)), ["LSTM", "kernel", "(4, 11)", "12"]),
        (replace_kernel(np.zeros((F + 1, 12), np.float32)), ["LSTM", "w_ih", "(12, 5)"]),
        (replace_kernel(np.zeros((F, 12), np.int32)), ["LSTM", "int32", "expected floats"]),
        (soft_link, ["link"]),
        (external_link, ["link"]),
        (circle, ["nested more than 100 deep"]),
    ]
    for change, words in cases:
        path.write_bytes(original)
        refuse(edit_weights(path, change), *words)


def test_legacy_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = save(seq(L.LSTM(3, name="rec")), tmp_path, "m.h5")
    original = path.read_bytes()

    def rename(h5: Any) -> None:
        attrs = h5["model_weights/rec"].attrs
        attrs["weight_names"] = [str(n).replace("bias", "bios") for n in attrs["weight_names"]]

    def move(h5: Any) -> None:
        (old,) = (n for n in h5["model_weights/rec"].attrs["weight_names"] if str(n).endswith("bias"))
        rename(h5)
        h5["model_weights/rec"].move(old, old.replace("bias", "bios"))

    def extra(h5: Any) -> None:
        h5["model_weights/top_level_model_weights/more"] = np.zeros(2)
        h5["model_weights/top_level_model_weights"].attrs["weight_names"] = ["more"]

    cases: list[tuple[Callable[[Any], Any], list[str]]] = [
        (rename, ["bios", "missing"]),
        (move, ["rec", "'bias'", "bios"]),
        (extra, ["no layer", "more"]),
        (lambda h5: h5.__delitem__("model_weights"), ["model_weights"]),
        (lambda h5: h5["model_weights/rec"].attrs.__delitem__("weight_names"), ["weight_names"]),
        (lambda h5: h5.attrs.__setitem__("model_config", "{"), ["JSON"]),
    ]
    for change, words in cases:
        path.write_bytes(original)
        with h5py.File(path, "a") as h5:
            change(h5)
        refuse(path, *words)


def test_h5py_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(seq(L.LSTM(3)), tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    refuse(path, "pip install 'lstm-rt[convert]'")


@keras.saving.register_keras_serializable(package="mine")
class OwnLayer(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x


@keras.saving.register_keras_serializable(package="mine")
def own_function(x: Any) -> Any:
    return x * x


def _different_masks(merge: Any) -> Any:
    x, tokens = L.Input((None, F), name="x"), L.Input((None,), dtype="int32", name="ids")
    a, b = L.Masking(0.0)(x), L.Embedding(V, F, mask_zero=True)(tokens)
    return keras.Model([x, tokens], L.LSTM(2)(merge([a, b])))


def _functional(make: Callable[[Any], Any]) -> Any:
    x = L.Input((None, F), name="x")
    return keras.Model(x, make(x))


UNSUPPORTED: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "lambda": (lambda: seq(L.Lambda(lambda x: x + 1, name="trick")), ["'trick'", "Lambda"]),
    "conv": (lambda: seq(L.Conv1D(3, 2, name="c")), ["'c'", "Conv1D"]),
    "own layer": (lambda: seq(OwnLayer(name="o")), ["'o'", "OwnLayer", "own class"]),
    "own function": (
        lambda: seq(L.Dense(2, activation=own_function, name="d")),
        ["'d'", "activation", "own_function"],
    ),
    "activation": (lambda: seq(L.LSTM(2, activation="mish", name="l")), ["'l'", "LSTM", "mish"]),
    "softmax in a gate": (lambda: seq(L.LSTM(2, activation="softmax", name="l")), ["'l'", "softmax"]),
    "relu max": (lambda: seq(L.ReLU(max_value=6.0, name="r")), ["'r'", "max_value=6.0"]),
    "relu threshold": (lambda: seq(L.ReLU(threshold=1.0, name="r")), ["'r'", "threshold"]),
    "softmax axis": (lambda: seq(L.Softmax(axis=1, name="s")), ["'s'", "axis"]),
    "softmax mask": (
        lambda: keras.Sequential([L.Input((F, F)), L.Masking(), L.Softmax(name="s")]),
        ["'s'", "mask"],
    ),
    "layernorm axis": (
        lambda: keras.Sequential([L.Input((5, F)), L.LayerNormalization(axis=[1, 2])]),
        ["axis"],
    ),
    "batchnorm axis": (lambda: keras.Sequential([L.Input((5, F)), L.BatchNormalization(axis=1)]), ["axis"]),
    "distributed lstm": (
        lambda: keras.Sequential([L.Input((None, 5, F)), L.TimeDistributed(L.LSTM(2))]),
        ["shape", "(None, None, 5, 4)"],
    ),
    "distributed": (lambda: seq(L.TimeDistributed(L.PReLU(), name="t")), ["'t'", "PReLU"]),
    "concat axis": (lambda: _functional(lambda x: L.Concatenate(axis=1)([x, x])), ["Concatenate", "axis"]),
    "no width": (
        lambda: keras.Sequential([L.Input((None, None)), L.Activation("tanh")]),
        ["InputLayer", "shape"],
    ),
    "training": (
        lambda: _functional(lambda x: L.Dropout(0.5, name="d")(x, training=True)),
        ["'d'", "training"],
    ),
    "constant": (lambda: _functional(lambda x: x * 2.0), ["Multiply", "not supported"]),
    "function": (lambda: _functional(keras.ops.sin), ["Sin", "not supported"]),
    "two masks added": (lambda: _different_masks(L.Add()), ["LSTM", "mask"]),
    "two masks multiplied": (lambda: _different_masks(L.Multiply()), ["Multiply", "mask"]),
    "two masks joined": (lambda: _different_masks(L.Concatenate()), ["LSTM", "mask"]),
    "broadcast": (lambda: _functional(lambda x: L.Add()([L.Dense(1)(x), x])), ["Add", "differ"]),
    "embedding of two": (
        lambda: keras.Sequential([L.Input((2, 3)), L.Embedding(V, 2)]),
        ["InputLayer", "shape", "Embedding"],
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported_models(case: str, tmp_path: Path) -> None:
    build, words = UNSUPPORTED[case]
    model = build()
    refuse(model, *words)
    refuse(save(model, tmp_path), *words)


def test_own_model_classes() -> None:
    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    refuse(Own(), "Own")


def test_unbuilt_model() -> None:
    refuse(keras.Sequential([L.LSTM(3)]), "build the model")


OPTIONS: dict[str, tuple[Callable[[Any], None], list[str]]] = {
    "unknown": (set_option("LSTM", peephole=True), ["'l'", "LSTM", "unknown option peephole=True"]),
    "time_major": (set_option("LSTM", time_major=True), ["'l'", "time_major"]),
    "units": (set_option("LSTM", units=-3), ["units is -3"]),
    "flag": (set_option("LSTM", return_sequences="yes"), ["return_sequences", "'yes'"]),
    "no activation": (lambda c: layer(c, "LSTM").pop("activation"), ["'l'", "activation", "missing"]),
    "int8": (set_option("LSTM", dtype="int8"), ["dtype 'int8'"]),
    "quantized": (
        set_option(
            "Dense", dtype={"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float32"}}
        ),
        ["Dense", "QuantizedDTypePolicy"],
    ),
    "lora": (set_option("Dense", lora_rank=4), ["Dense", "lora_rank=4"]),
    "rms": (set_option("LayerNormalization", rms_scaling=True), ["LayerNormalization", "rms_scaling"]),
    "epsilon": (set_option("LayerNormalization", epsilon="tiny"), ["epsilon", "'tiny'"]),
    "negative epsilon": (set_option("LayerNormalization", epsilon=-1.0), ["LayerNormalization", "eps"]),
    "same name": (set_option("Dense", name="l"), ["'l'", "same name"]),
    "module": (lambda c: c["config"]["layers"][1].update(module="mypackage.layers"), ["'l'", "mypackage"]),
    "class": (lambda c: c.update(class_name="Mine"), ["Mine"]),
    "no layers": (lambda c: c["config"].update(layers=[]), ["no layers"]),
    "both forward": (
        lambda c: layer(c, "Bidirectional")["backward_layer"]["config"].update(go_backwards=False),
        ["go_backwards"],
    ),
    "merge_mode": (set_option("Bidirectional", merge_mode="max"), ["Bidirectional", "merge_mode='max'"]),
    "different sequences": (
        lambda c: layer(c, "Bidirectional")["backward_layer"]["config"].update(return_sequences=True),
        ["return_sequences"],
    ),
    "not recurrent": (
        lambda c: layer(c, "Bidirectional")["layer"].update(class_name="Dense"),
        ["Dense", "recurrent layer"],
    ),
    "reset_after": (
        lambda c: layer(c, "Bidirectional")["layer"]["config"].update(reset_after=False),
        ["GRU", "bias has shape (2, 6)"],
    ),
    "ragged": (set_option("InputLayer", ragged=True), ["InputLayer", "ragged"]),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options(case: str, tmp_path: Path) -> None:
    change, words = OPTIONS[case]
    layers = [
        L.LSTM(3, return_sequences=True, name="l"),
        L.LayerNormalization(),
        L.Bidirectional(L.GRU(2)),
        L.Dense(2),
    ]
    refuse(edit_config(save(seq(*layers), tmp_path), change), *words)
