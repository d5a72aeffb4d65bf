"""State dicts as plain arrays: ``.npz`` archives, JSON and pickles."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks.build import call, obj, zipped
from helpers.state_dicts import SMALL, array, small_state
from helpers.weight_files import numbers, read
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.torch_reader.from_torch import from_torch

import lstm_rt
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

ARCH = """
[[layer]]
op = "lstm"
weights = "rec"
[[layer]]
op = "dense"
weights = "lin"
"""


def npz(compressed: bool = False, **arrays: Any) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def as_json(tree: Any) -> bytes:
    return json.dumps(tree, default=lambda a: a.tolist()).encode()


def weights_of(graph: Graph) -> dict[str, np.ndarray]:
    return {f"{i}.{k}": v for i, node in enumerate(graph.nodes) for k, v in node.weights.items()}


@pytest.mark.parametrize("name", ["m.npz", "m.json"])
def test_a_state_dict_on_the_command_line(name: str, tmp_path: Path) -> None:
    state = small_state()
    (tmp_path / name).write_bytes(npz(**state) if name.endswith("npz") else as_json(state))
    (tmp_path / "arch.toml").write_text(ARCH)
    out = tmp_path / "m.lrt"
    assert main(["convert", str(tmp_path / name), "--arch", str(tmp_path / "arch.toml"), "-o", str(out)]) == 0
    x = array(2, 4, 3)
    np.testing.assert_array_equal(lstm_rt.load(out)(x), lstm_rt.Model(dumps(from_torch(state, arch=SMALL)))(x))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_arrays_of_any_layout(compressed: bool, dtype: str, order: Any, tmp_path: Path) -> None:
    state = {f"module.{k}": np.array(v.astype(dtype), order=order) for k, v in small_state().items()}
    got = from_torch(_file(tmp_path, npz(compressed, **state)), arch=SMALL)
    for name, value in weights_of(from_torch(state, arch=SMALL)).items():
        np.testing.assert_array_equal(weights_of(got)[name], value)


def _file(tmp_path: Path, data: bytes, name: str = "m.npz") -> Path:
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


def test_other_arrays_beside_the_weights(tmp_path: Path) -> None:
    """They stop who asks for them alone, and are left over as any weight is."""
    odd = {"names": np.array(["a", "b"]), "vocab": np.array([{"a": 1}], dtype=object), "ids": np.arange(3)}
    file = _file(tmp_path, npz(**small_state(), **odd))
    with pytest.raises(ConvertError, match=r"3 weights are not used .*: names \(2,\), vocab \(1,\), ids \(3,\)"):
        from_torch(file, arch=SMALL)
    assert from_torch(file, arch={**SMALL, "ignore": list(odd)}).outputs
    for name, kind in (("names", "numpy U1"), ("vocab", "numpy O"), ("ids", "int64")):
        arch = {"layer": [{"op": "normalize", "mean": name}, *SMALL["layer"]], "input": [{"name": "x", "size": 3}]}
        with pytest.raises(ConvertError, match=f"m.npz: weight {name}: has type {kind}"):
            from_torch(file, arch=arch)


def _npy(header: bytes, data: bytes = b"", version: bytes = b"\x01\0") -> bytes:
    return b"\x93NUMPY" + version + len(header).to_bytes(2 * version[0], "little") + header + data


GOOD_HEADER = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "w.npy is no array as NumPy writes it"),
        (b"\x93NUMPY", "w.npy is no array as NumPy writes it"),
        (_npy(GOOD_HEADER)[:-1], "w.npy is no array as NumPy writes it"),
        (_npy(GOOD_HEADER, b"1234"), r"w.npy has 4 bytes of numbers, its shape \(2,\) needs others"),
        (_npy(GOOD_HEADER, b"12345678", b"\x04\0"), "w.npy is no array as NumPy writes it"),
        (_npy(GOOD_HEADER.replace(b"2,", b"-2,"), b"12345678"), "w: has type another than of numbers"),
        (_npy(GOOD_HEADER.replace(b"2,", b"9" * 18 + b",")), "w.npy has 0 bytes of numbers"),
        (_npy(GOOD_HEADER.replace(b"2,", b"9" * 5000 + b",")), "w: has type another than of numbers"),
        (_npy(GOOD_HEADER.replace(b"'<f4'", b"[('a', '<f4')]")), "w: has type another than of numbers"),
        (_npy(b"__import__('os').system('exit 1')\n"), "w: has type another than of numbers"),
        (_npy(b"(" * 9000), "w: has type another than of numbers"),
        (_npy(b"'" + b"a" * 40_000 + b"'", b"", b"\x02\0"), "w.npy is no array as NumPy writes it"),
    ],
)  # fmt: skip
def test_npz_damage(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ConvertError, match=message):
        numbers(read(tmp_path, zipped({"w.npy": data}), "m.npz"))


def test_an_npz_has_one_set(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"checkpoint = 'a' is for torch\.save files, pickles and JSON"):
        read(tmp_path, npz(w=np.zeros(2)), "m.npz", "a")
    with zipfile.ZipFile(tmp_path / "m.npz", "w"):
        pass
    with pytest.raises(ConvertError, match=r"m\.npz"):
        from_torch(tmp_path / "m.npz")


def test_a_draft_for_an_npz(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="holds weights only") as e:
        from_torch(_file(tmp_path, npz(**small_state())))
    assert 'op = "lstm"' in e.value.draft


# -- JSON ----------------------------------------------------------------------------------------


def test_json_in_tables(tmp_path: Path) -> None:
    state = small_state()
    tree = {"config": {"hidden": 5, "name": "x", "sizes": [1, 2]}, "weights": state, "mean": [0.5, 1, 2]}
    arch = {"layer": [{"op": "normalize", "mean": "mean"}, *SMALL["layer"]], "input": [{"name": "x", "size": 3}]}
    graph = from_torch(_file(tmp_path, as_json(tree), "m.json"), arch=arch)
    np.testing.assert_array_equal(graph.nodes[0].weights["mean"], np.float32([0.5, 1, 2]))
    assert graph.meta["notes"] == ["arrays beside the weights are not used: config.sizes (2,)"]
    parts = {k: {n.rpartition(".")[2]: v for n, v in state.items() if n.startswith(k)} for k in ("rec", "lin")}
    file = _file(tmp_path, as_json(parts), "parts.json")
    with pytest.raises(ConvertError, match=r"several sets of weights \(rec, lin\)") as e:
        from_torch(file)
    assert 'checkpoint = ["rec", "lin"]' in e.value.draft
    assert from_torch(file, arch={"checkpoint": ["rec", "lin"], **SMALL}).outputs


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a.weight": [[1, 2], [3]]}', "weight a.weight is not a regular array of numbers"),
        (b'{"a.weight": [1, true]}', "weight a.weight is not a regular array of numbers: it holds True"),
        (b'{"a.weight": [1, NaN]}', "weight a.weight holds a number that is not finite"),
        (b'{"a": ' * 80 + b"1" + b"}" * 80, "the tables are nested too deeply"),
        (b'{"a.weight": [["x"]]}', "no weights found: it holds no arrays"),
        (b'{"a.weight": []}', "no weights found"),
    ],
)
def test_json_damage(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ConvertError, match=f"m.json: {message}"):
        numbers(read(tmp_path, data, "m.json"))


# -- pickles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("tensors", [True, False])
def test_a_pickled_state_dict(protocol: int, tensors: bool, tmp_path: Path) -> None:
    state: dict[str, Any] = small_state()
    wanted = weights_of(from_torch(state, arch=SMALL))
    if tensors:
        torch = pytest.importorskip("torch")
        state = {k: torch.from_numpy(v) for k, v in state.items()}
        state["rec.weight_hh_l0"] = state["rec.weight_hh_l0"].T.contiguous().T
    tree = {"epoch": 3, "model": state, "mean": np.float64(0.5)}
    got = weights_of(from_torch(_file(tmp_path, pickle.dumps(tree, protocol), "m.pkl"), arch=SMALL))
    for name, value in wanted.items():
        np.testing.assert_array_equal(got[name], value)


def test_a_file_of_another_framework_with_like_names(tmp_path: Path) -> None:
    tree = {**small_state(), "StructuredToParameterName@@": {"rec.weight_ih_l0": "lstm_0.w_0"}}
    with pytest.raises(ConvertError, match=r"m\.pdparams: a file of PaddlePaddle, whose matrices lie otherwise"):
        from_torch(_file(tmp_path, pickle.dumps(tree), "m.pdparams"), arch=SMALL)


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        ({"state": {0: {"exp_avg": np.zeros((2, 2))}}, "param_groups": []}, "it holds the state of an optimizer"),
        (np.zeros((2, 2)), "it is a single array"),
        ([np.zeros((2, 2))], "the arrays in it have no names"),
        ({"epoch": 3}, "it holds no arrays or tensors"),
    ],
)
def test_what_there_is_instead_of_weights(tree: Any, why: str, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=f"no weights found: {why}"):
        from_torch(_file(tmp_path, pickle.dumps(tree), "m.pkl"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02", "damaged or truncated"),
        (b"(dp0\nS'a'\np1\nS'\\xff'\np2\ns.", "a text pickle of Python 2 with bytes in its texts, which is not read"),
        (b"cos\nsystem\np0\n(S'exit 1'\np1\ntp2\nRp3\n.", r"no weights found: there is a os\.system"),
        (b"\x80\x02" + call("os.system", obj("exit 1")) + b".", r"no weights found: there is a os\.system"),
        (b"\x80\x02" + call("torch.storage._load_from_bytes", obj("x")) + b".", "a tensor whose numbers are no bytes"),
        (b"\x80\x02" + call("torch.storage._load_from_bytes", b"C\x03abc") + b".", "not a torch.save file"),
    ],
)
def test_pickle_damage(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ConvertError, match=f"m.pkl: .*{message}"):
        read(tmp_path, data, "m.pkl")
