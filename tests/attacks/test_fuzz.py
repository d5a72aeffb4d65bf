"""Small good files, changed at random: they are read, or refused in words, within their budget.

The changes know the structure of a file: opcodes of a pickle are repeated, swapped and dropped whole, and
entries of an archive are changed before it is put together, so that checksums do not hide the reader behind
them. ``LSTM_RT_FUZZ=N`` makes N files of each kind instead of a few.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from lstm_rt_tools.keras_reader.from_keras import from_keras
from lstm_rt_tools.onnx_reader.from_onnx import from_onnx
from lstm_rt_tools.torch_reader.from_torch import from_torch

from lstm_rt.errors import LstmRtError

from . import keras_models, onnx_models, texts
from .changes import Rng, change_bytes, change_json, change_pickle, change_words

from .build import (  # isort: skip
    DENSE, LINEAR, MB, SEQUENTIAL, SIX, WEIGHT, call, entry, module, npy, obj, pickled_tensor, safetensors, table,
    torch_legacy, torch_zip, zipped,
)  # fmt: skip

ROUNDS = int(os.environ.get("LSTM_RT_FUZZ", "150"))

TREE = table(
    epoch=obj(3),
    state_dict=table(**{"w.weight": WEIGHT}),
    vocabulary=obj({f"w{i}": i for i in range(20)}),
    options=b"cargparse\nNamespace\n)\x81" + table(lr=obj(0.1), names=obj(["a", ("b", 1)])) + b"b",
    counter=call("collections.Counter", obj({"a": 1})),
)
NET = module(SEQUENTIAL, modules=table(**{"0": module(LINEAR, table(weight=WEIGHT, bias=b"N"))}))


# -- files -------------------------------------------------------------------------------------------


def torch_file(rng: Rng) -> bytes:
    tree = b"\x80\x02" + rng.choice((TREE, NET)) + b"."
    tree = change_pickle(tree, rng)[2:-1]
    if rng.random() < 0.3:
        return torch_legacy(tree, {"0": (6, SIX)})
    return torch_zip(tree, {"0": SIX}, rng.choice((0, 8)))


def torch_bytes(rng: Rng) -> bytes:
    return change_bytes(rng.choice((torch_zip(TREE, {"0": SIX}), torch_legacy(NET, {"0": (6, SIX)}))), rng)


def safetensors_file(rng: Rng) -> bytes:
    header = {"w.weight": entry((2, 3), (0, 24)), "b": entry((2,), (24, 32)), "__metadata__": {"c": "b"}}
    return safetensors(change_json(header, rng), SIX + bytes(8))


def guitarml_file(rng: Rng) -> bytes:
    state = {"rec.weight_ih_l0": [[0.5]] * 4, "rec.weight_hh_l0": [[0.5]] * 4, "rec.bias_ih_l0": [0.0] * 4,
             "rec.bias_hh_l0": [0.0] * 4, "lin.weight": [[0.5]], "lin.bias": [0.0]}  # fmt: skip
    return json.dumps(change_json(json.loads(texts.guitarml(state)), rng)).encode()


def state_json_file(rng: Rng) -> bytes:
    tree: dict[str, object] = {"w": {"weight": [[0.5, 1.0, 2.0]] * 2, "bias": [0.5, 1.5]}, "mean": [0.5, 1]}
    tree["options"] = {"n": 3, "s": ["x"]}
    return json.dumps(change_json({**tree, "w.weight": [[1, 2, 3]]}, rng)).encode()


def npz_file(rng: Rng) -> bytes:
    arrays = {"w.weight.npy": npy(SIX, (2, 3)), "b.npy": npy(SIX[:8], (2,))}
    return zipped({name: change_bytes(data, rng) if rng.random() < 0.7 else data for name, data in arrays.items()})


def pickle_file(rng: Rng) -> bytes:
    tree = table(epoch=obj(3), state_dict=table(**{"w.weight": pickled_tensor()}))
    return change_pickle(b"\x80\x02" + tree + b".", rng)


def _keras_config() -> dict[str, object]:
    k = keras_models
    inner = {**k.functional(k.inputs(), k.dense("d", 2, [k.node("x")]), outputs=[["d", 0, 0]], name="n"), "name": "n"}
    inner["inbound_nodes"] = [k.node("x")]
    add = k.layer("Concatenate", "c", [k.node("n", "x")], axis=-1)
    return k.functional(k.inputs(), inner, add, k.layer("ReLU", "r", [k.node("c")]), outputs=[["r", 0, 0]])


def _keras_weights(group: object) -> None:
    n = group.create_group("n")  # type: ignore[attr-defined]
    n["d/kernel:0"] = keras_models.np.ones((3, 2), "f4")
    keras_models.texts(n, "weight_names", ["d/kernel:0"])


def keras_file(rng: Rng) -> bytes:
    config = change_json(json.loads(json.dumps(_keras_config())), rng)
    return keras_models.h5_bytes(config, _keras_weights, ("n",))


def keras_archive(rng: Rng) -> bytes:
    def weights(root: object) -> None:
        root["layers/functional/layers/dense/vars/0"] = keras_models.np.ones((3, 2), "f4")  # type: ignore[index]

    return keras_models.keras_bytes(change_json(json.loads(json.dumps(_keras_config())), rng), weights)


def onnx_file(rng: Rng) -> bytes:
    """Bytes of a model, or fields of its graph: dropped, repeated, or those of another message."""
    if rng.random() < 0.5:
        return change_bytes(onnx_models.LSTM, rng)
    m = onnx_models
    nodes = m.RESHAPING
    parts = [*nodes, *m.RESHAPING_STORED]
    for _ in range(rng.choice((1, 2, 3))):
        at = rng.randrange(len(parts))
        parts[at] = rng.choice((b"", parts[rng.randrange(len(parts))], change_bytes(parts[at], rng)))
    return m.model(m.graph(parts[: len(nodes)], [m.SEQ], ["y"], parts[len(nodes) :]))


KINDS: dict[str, tuple[str, Callable[[Rng], bytes]]] = {
    "torch": ("m.pt", torch_file),
    "torch bytes": ("m.pt", torch_bytes),
    "safetensors": ("m.safetensors", safetensors_file),
    "guitarml": ("m.json", guitarml_file),
    "state json": ("m.json", state_json_file),
    "npz": ("m.npz", npz_file),
    "pickle": ("m.pkl", pickle_file),
    "keras": ("m.h5", keras_file),
    "keras archive": ("m.keras", keras_archive),
    "onnx": ("m.onnx", onnx_file),
}


@pytest.mark.parametrize("kind", KINDS)
def test_changed_files(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, make = KINDS[kind]
    if "keras" in kind:
        pytest.importorskip("h5py")
        monkeypatch.setattr(sys, "executable", "")  # what HDF5 reads is sound here; without processes it is faster
    path, arch = tmp_path / file, tmp_path / "arch.toml"
    arch.write_text(DENSE)
    for seed in range(ROUNDS):
        rng = random.Random(f"{kind} {seed}")
        path.write_bytes(make(rng))
        start = time.process_time()
        tracemalloc.start()
        try:
            if "keras" in kind:
                from_keras(path).check()
            elif kind == "onnx":
                from_onnx(path).check()
            else:
                from_torch(path, arch=arch if kind in ("safetensors", "npz") or rng.random() < 0.5 else None).check()
        except LstmRtError:
            pass
        except Exception as e:
            raise AssertionError(f"seed {seed} of {kind!r}: {type(e).__name__}") from e
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak <= 16 * path.stat().st_size + 64 * MB, seed
        assert time.process_time() - start <= 15, seed


def test_changed_hdf5(tmp_path: Path) -> None:
    """The tables of HDF5 itself, which libhdf5 believes: a process of its own reads them, and may not end."""
    pytest.importorskip("h5py")
    good, path = keras_models.h5_bytes(_keras_config(), _keras_weights, ("n",)), tmp_path / "m.h5"
    for seed in range(ROUNDS // 5):
        path.write_bytes(change_words(good, random.Random(seed)))
        start = os.times()
        try:
            from_keras(path).check()
        except LstmRtError:
            pass
        except Exception as e:
            raise AssertionError(f"seed {seed}: {type(e).__name__}") from e
        end = os.times()
        assert end.user + end.children_user - start.user - start.children_user <= 15, seed
