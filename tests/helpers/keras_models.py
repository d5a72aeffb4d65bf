"""Keras models of every kind that the reader knows, and how a graph is held to one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lstm_rt_tools.judges import reference

import lstm_rt.format
from lstm_rt.graph import Graph

from .graphs import names

BACKEND = os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("h5py")
pytest.importorskip({"torch": "torch", "jax": "jax"}.get(BACKEND, "tensorflow"))
keras = pytest.importorskip("keras")
L = keras.layers

MASK_VALUE = -1.1
F = 4  # input features
V = 9  # vocabulary


# -- models -----------------------------------------------------------------------------------------


def seq(*layers: Any, cls: Any = None) -> Any:
    return (cls or keras.Sequential)([L.Input((None, F), name="x"), *layers])


def functional(make: Callable[[Any], Any], cls: Any = None) -> Any:
    x = L.Input((None, F), name="x")
    return (cls or keras.Model)(x, make(x))


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


def _characters() -> Any:
    """Words of four characters: a convolution over these, its largest features, a tagger."""
    tokens = L.Input((None, 4), dtype="int32", name="ids")
    x = L.TimeDistributed(L.Conv1D(3, 3, padding="same"))(L.Embedding(V, 2)(tokens))
    words = L.TimeDistributed(L.GlobalMaxPooling1D())(x)
    shapes = L.TimeDistributed(L.Flatten())(L.TimeDistributed(L.Embedding(V, 2))(tokens))
    return keras.Model(tokens, L.LSTM(3, return_sequences=True)(L.Concatenate()([words, shapes])))


def _speaker() -> Any:
    """An id of each row, without steps."""
    x, who = L.Input((None, F), name="x"), L.Input((), dtype="int32", name="who")
    return keras.Model([x, who], L.Add()([L.LSTM(3)(x), L.Embedding(V, 3)(who)]))


CASES |= {
    "characters": _characters,
    "speaker": _speaker,
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
        elif v.kind == "ids" and (v.size or not v.timed):
            shape = (n, *([t] if v.timed else []), *([v.size] if v.size else []))
            inputs[v.name] = rng.integers(0, V, shape).astype(np.int32)
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
