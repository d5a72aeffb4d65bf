"""Makes tests/data/keras2: small models saved by Keras 2, with inputs and the outputs it gave.

Needs tf_keras (Keras 2 on TensorFlow), which the tests themselves do not: run it by hand. The HDF5
files are nine tenths padding, so they are kept compressed. SavedModels are zip archives of their folders, without
the graphs of TensorFlow's, which are nine tenths of them and which nothing reads.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tf_keras as keras
from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU
from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM

L = keras.layers
OUT = Path(__file__).parent / "data" / "keras2"
F, V, MASK_VALUE = 3, 6, -1.0


def seq(*layers: Any) -> Any:
    return keras.Sequential([L.InputLayer((None, F)), *layers])


def masked(*layers: Any) -> Any:
    return seq(L.Masking(MASK_VALUE), *layers)


def functional_states() -> Any:
    ids = L.Input((None,), dtype="int32", name="ids")
    e = L.Embedding(V, F, mask_zero=True)(ids)
    y, h, c = L.LSTM(3, return_sequences=True, return_state=True, name="encoder")(e)
    z = L.LSTM(3, return_sequences=True, name="decoder")(y, initial_state=[h, c])  # Keras 2 keeps the mask
    total = L.Add(name="total")([y, z])
    return keras.Model(ids, [total, L.GRU(2, name="end")(total), h])


def functional_merge() -> Any:
    x = L.Input((None, F), name="x")
    m = L.Masking(MASK_VALUE)(x)
    mixed = L.Add()([m, L.Dense(F)(x)])  # Keras 2: one mask is enough
    return keras.Model(x, L.LSTM(3, name="last")(mixed))


def functional_operator() -> Any:
    x = L.Input((None, F), name="x")
    a, b = L.LSTM(3, return_sequences=True)(x), L.GRU(3, return_sequences=True)(x)
    return keras.Model(x, L.Dense(2, name="d")(a + b))


def nested() -> Any:
    inner = keras.Sequential(
        [L.InputLayer((None, F)), L.LSTM(3, return_sequences=True), L.Dense(2)], name="inner"
    )
    return seq(L.Dense(F), inner, L.GRU(2))


def bidirectional(mode: str, **options: Any) -> Any:
    return L.Bidirectional(L.LSTM(2, **options), merge_mode=mode)


def own_backward() -> Any:
    back = L.LSTM(2, return_sequences=True, go_backwards=True, name="mine")
    return L.Bidirectional(L.LSTM(2, return_sequences=True, name="ahead"), backward_layer=back)


MODELS: dict[str, Callable[[], Any]] = {
    "lstm_hard_sigmoid": lambda: seq(
        L.LSTM(3, recurrent_activation="hard_sigmoid", return_sequences=True), L.Dense(2)
    ),
    "gru_before_hard": lambda: masked(
        L.GRU(3, reset_after=False, recurrent_activation="hard_sigmoid", return_sequences=True)
    ),
    "gru_after": lambda: masked(L.GRU(3, reset_after=True)),
    "gru_no_bias": lambda: seq(L.GRU(3, use_bias=False, reset_after=False)),
    "rnn_backwards": lambda: masked(L.SimpleRNN(3, go_backwards=True, return_sequences=True)),
    "bi_concat": lambda: masked(
        bidirectional("concat", return_sequences=True), L.TimeDistributed(L.Dense(2))
    ),
    "bi_sum_last": lambda: masked(bidirectional("sum")),
    "bi_own_backward": lambda: masked(own_backward()),
    "stacked_cells": lambda: seq(
        L.RNN(L.StackedRNNCells([L.LSTMCell(2), L.GRUCell(3)]), return_sequences=True)
    ),
    "activations": lambda: seq(
        L.LSTM(3, return_sequences=True),
        L.LeakyReLU(alpha=0.1),
        L.ReLU(negative_slope=0.1),
        L.ELU(0.5),
        L.Dropout(0.5),
        L.LayerNormalization(),
        L.BatchNormalization(),
        L.Dense(3, activation="gelu"),
        L.Dense(2, activation="leaky_relu"),
        L.Dense(2, activation="hard_sigmoid"),
        L.Softmax(),
    ),
    "functional_states": functional_states,
    "functional_merge": functional_merge,
    "functional_operator": functional_operator,
    "nested": nested,
    "stateful": lambda: keras.Sequential(
        [L.InputLayer(batch_input_shape=(2, None, F)), L.LSTM(3, stateful=True)]
    ),
}


def nested_twice() -> Any:
    """One model three times over, once on its own output, and another that ends the whole."""
    encoder = keras.Sequential([L.InputLayer((None, F)), L.LSTM(F, return_sequences=True)], name="encoder")
    late = keras.Sequential([L.GRU(2, return_sequences=True), L.Dense(2)], name="late")  # learns its input's shape
    x = L.Input((None, F), name="x")
    y = L.Add(name="sum")([encoder(encoder(x)), encoder(L.Dense(F)(x))])
    return keras.Model(x, [late(y), encoder(y)])


def nested_deep() -> Any:
    """A model in a model in a model, each the last layer, with layers beside them."""
    a = L.Input((None, F))
    inner = keras.Model(a, L.Bidirectional(L.GRU(2, return_sequences=True))(a), name="inner")
    b = L.Input((None, F))
    middle = keras.Model(b, inner(L.LayerNormalization()(L.Dense(F, name="dense")(b))), name="middle")
    x = L.Input((None, F), name="x")
    return keras.Model(x, middle(L.TimeDistributed(L.Dense(F), name="dense")(x)))


def nested_outputs() -> Any:
    """A model of several outputs, called twice."""
    a = L.Input((None, F))
    inner = keras.Model(a, L.LSTM(F, return_sequences=True, return_state=True)(a)[:2], name="inner")
    x = L.Input((None, F), name="x")
    y, h = inner(x)
    z, k = inner(y)
    return keras.Model(x, [k, L.Dense(2)(L.Concatenate()([y, z])), h])


def nested_mask() -> Any:
    """A mask that is made in one model and read in another."""
    a = L.Input((None, F))
    masking = keras.Model(a, L.Masking(MASK_VALUE)(a), name="masking")
    b = L.Input((None, F))
    reader = keras.Model(b, L.LSTM(3)(b), name="reader")
    x = L.Input((None, F), name="x")
    return keras.Model(x, reader(masking(x)))


#: Models called inside models: saved as .h5 and as .keras.
NESTED = {f.__name__: f for f in (nested_twice, nested_deep, nested_outputs, nested_mask)}


def randomise(model: Any, rng: np.random.Generator) -> None:
    for weight in model.weights:
        value = rng.normal(0, 0.5, weight.shape)
        if "variance" in weight.name:
            value = np.abs(value) + 0.5
        weight.assign(value.astype(np.float32))


def make_input(model: Any, rng: np.random.Generator) -> np.ndarray:
    hidden = rng.random((2, 7)) < 0.4
    if model.inputs[0].shape.rank == 2:
        return np.where(hidden, 0, rng.integers(1, V, (2, 7))).astype(np.int32)
    x = rng.normal(0, 1, (2, 7, F)).astype(np.float32)
    return np.where(hidden[..., None], np.float32(MASK_VALUE), x)


def save(name: str, model: Any, outputs: list[np.ndarray], x: np.ndarray, kinds: tuple[str, ...] = (".h5",)) -> None:
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}{kind}"
            model.save(path, **({"include_optimizer": False} if kind == ".h5" else {}))
            (OUT / f"{name}{kind}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    np.savez_compressed(OUT / f"{name}.npz", x=x, **{f"y{i}": y for i, y in enumerate(outputs)})


def make(
    name: str, build: Callable[[], Any], rng: np.random.Generator, kinds: tuple[str, ...] = (".h5",)
) -> None:
    keras.backend.clear_session()
    model = build()
    randomise(model, rng)
    x = make_input(model, rng)
    result = model(x, training=False)
    save(name, model, [np.asarray(y) for y in (result if isinstance(result, list) else [result])], x, kinds)


def make_cudnn(name: str, cudnn: Any, twin: Any, rng: np.random.Generator) -> None:
    """CuDNN layers run on GPUs only; Keras's own loader converts their weights for the ordinary layer."""
    from tf_keras.src.saving.legacy import hdf5_format

    keras.backend.clear_session()
    model = seq(cudnn(2, return_sequences=True))
    randomise(model, rng)
    same = seq(twin)
    layer = same.layers[0]
    layer.set_weights(hdf5_format.preprocess_weights_for_loading(layer, model.get_weights()))
    x = make_input(model, rng)
    save(name, model, [np.asarray(same(x, training=False))], x)


def concat_one_mask() -> Any:
    """Keras 2: what is joined with something that has no mask keeps its mask."""
    ids = L.Input((None,), dtype="int32", name="ids")
    parts = [L.Embedding(V, F, mask_zero=True)(ids), L.Embedding(V, 2)(ids)]
    return keras.Model(ids, L.LSTM(3, name="last")(L.Concatenate()(parts)))


#: Of the models above: saved as folders, too; the last as before Keras 2.5, which had no keras_metadata.pb.
SAVED = ("bi_concat", "functional_states", "nested_deep", "stateful", "stacked_cells")


def make_saved(name: str, old: bool) -> None:
    """A SavedModel of a model that is there as .h5."""
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as temporary:
        folder, h5 = Path(temporary) / "saved", Path(temporary) / "m.h5"
        h5.write_bytes(gzip.decompress((OUT / f"{name}.h5.gz").read_bytes()))
        keras.models.load_model(h5, compile=False).save(folder, save_format="tf", include_optimizer=False)
        strip(folder, old)
        with zipfile.ZipFile(OUT / f"{name}.saved.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(f for f in folder.rglob("*") if f.is_file() and f.name != "fingerprint.pb"):
                entry = zipfile.ZipInfo(str(file.relative_to(folder)))
                archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED, 9)


def strip(folder: Path, old: bool) -> None:
    """Leave the graphs out; ``old``: put what Keras says of objects beside them, as it was before 2.5."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata

    model = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (graph,) = model.meta_graphs
    for field in ("graph_def", "signature_def", "saver_def"):
        graph.ClearField(field)
    graph.object_graph_def.ClearField("concrete_functions")
    if old:
        metadata = folder / "keras_metadata.pb"
        for node in SavedMetadata.FromString(metadata.read_bytes()).nodes:
            user = graph.object_graph_def.nodes[node.node_id].user_object
            user.identifier, user.metadata = node.identifier, node.metadata
        metadata.unlink()
    (folder / "saved_model.pb").write_bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20)
    for name, build in MODELS.items():
        make(name, build, rng)
    make_cudnn("cudnn_lstm", CuDNNLSTM, L.LSTM(2, return_sequences=True), rng)
    make_cudnn("cudnn_gru", CuDNNGRU, L.GRU(2, return_sequences=True, reset_after=True), rng)
    rng = np.random.default_rng(21)
    for name, build in NESTED.items():
        make(name, build, rng, (".h5", ".keras"))
    make("concat_one_mask", concat_one_mask, np.random.default_rng(22))
    for name in SAVED:
        make_saved(name, old=name == SAVED[-1])


if __name__ == "__main__":
    main()
