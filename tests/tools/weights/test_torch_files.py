"""Weight files: what is in them comes out, and nothing in them is ever run."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks.build import call, entry, obj, safetensors, table, tensor, torch_zip, zipped
from helpers.weight_files import GOOD, SIX, numbers, read
from lstm_rt_tools.readers import find
from lstm_rt_tools.torch_reader.from_torch import from_torch
from lstm_rt_tools.weights.checkpoints import from_mapping, read_checkpoint
from lstm_rt_tools.weights.torch_files import LEGACY_MAGIC

from lstm_rt.errors import ConvertError


@pytest.mark.parametrize("form", GOOD)
def test_reads_both_containers(tmp_path: Path, form: str) -> None:
    found = read(tmp_path, GOOD[form])
    np.testing.assert_array_equal(numbers(found)["w"], SIX.reshape(2, 3))
    assert found.source["file"] == "m.pt"
    assert len(found.source["sha256"]) == 64


def test_views_share_a_storage(tmp_path: Path) -> None:
    body = table(
        a=tensor("0", 6, (3, 2), (1, 3)), b=tensor("0", 6, (2,), (2,), 1), c=tensor("0", 6, (4,), (0,), 5)
    )
    found = numbers(read(tmp_path, torch_zip(body, {"0": SIX.tobytes()})))
    np.testing.assert_array_equal(found["a"], SIX.reshape(2, 3).T)
    np.testing.assert_array_equal(found["b"], [1, 3])
    np.testing.assert_array_equal(found["c"], [5, 5, 5, 5])


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("DoubleStorage", np.array([1.5, -2.0]).tobytes()),
        ("HalfStorage", np.array([1.5, -2.0], np.float16).tobytes()),
        (
            "BFloat16Storage",
            (np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes(),
        ),
    ],
)
def test_float_types_become_float32(tmp_path: Path, kind: str, data: bytes) -> None:
    found = numbers(read(tmp_path, torch_zip(table(w=tensor("0", 2, (2,), (1,), kind=kind)), {"0": data})))
    assert found["w"].dtype == np.float32
    np.testing.assert_array_equal(found["w"], [1.5, -2.0])


def test_parameters_and_nested_checkpoints(tmp_path: Path) -> None:
    w = call("torch._utils._rebuild_parameter", tensor("0", 6, (6,), (1,)), obj(True), obj({}))
    body = table(epoch=obj(3), model_state_dict=table(**{"module._orig_mod.w": w}))
    assert list(read(tmp_path, torch_zip(body, {"0": SIX.tobytes()})).tensors) == ["w"]


def test_checkpoint_key_chooses_the_weights(tmp_path: Path) -> None:
    w = tensor("0", 6, (6,), (1,))
    data = torch_zip(table(raw=table(a=w), ema=table(b=w)), {"0": SIX.tobytes()})
    assert list(read(tmp_path, data, key="ema").tensors) == ["b"]
    with pytest.raises(ConvertError, match=r"several sets of weights \(raw, ema\)"):
        read(tmp_path, data)
    with pytest.raises(ConvertError, match=r"'best' does not exist; there is raw, ema"):
        read(tmp_path, data, key="best")


# -- archives around torch files ---------------------------------------------------------------


def archive(method: int = zipfile.ZIP_STORED, **files: bytes) -> bytes:
    return zipped({name.replace("__", "."): data for name, data in files.items()}, method)


OPTIMIZER = torch_zip(table(state=b"}", param_groups=b"]"), {})


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("form", GOOD)
def test_a_policy_in_an_archive(tmp_path: Path, form: str, method: int) -> None:
    """As stable-baselines3 saves agents: the policy, its optimizer, and variables, here none."""
    variables = torch_zip(b"N", {})
    files = {"data": b"{}", "policy__optimizer__pth": OPTIMIZER, "policy__pth": GOOD[form]}
    data = archive(method, **files, pytorch_variables__pth=variables, system_info__txt=b"Linux")
    found = read(tmp_path, data, "agent.zip", key="policy")
    np.testing.assert_array_equal(numbers(found)["w"], SIX.reshape(2, 3))
    assert list(read(tmp_path, data, "agent.zip").tensors) == ["w"]
    assert find(tmp_path / "agent.zip").framework == "torch"
    alone = archive(method, policy__pth=GOOD[form], policy__optimizer__pth=OPTIMIZER)
    assert list(read(tmp_path, alone, "agent.zip").tensors) == ["w"]


def test_several_models_in_an_archive_are_named(tmp_path: Path) -> None:
    data = archive(actor__pth=GOOD["zip"], critic__pth=GOOD["legacy"], actor__optimizer__pth=OPTIMIZER)
    with pytest.raises(ConvertError, match=r'several copies .*\(actor, critic\).*checkpoint = "actor"'):
        read(tmp_path, data)
    assert list(read(tmp_path, data, key="critic").tensors) == ["w"]


def test_archives_that_hold_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"without \.pth files that hold a model; it has a\.optimizer\.pth"):
        read(tmp_path, archive(a__optimizer__pth=OPTIMIZER))
    with pytest.raises(ConvertError, match=r"m\.pt/m\.pth: an archive in an archive"):
        read(tmp_path, archive(m__pth=archive(m__pth=GOOD["zip"])))


def test_unknown_formats(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="unknown format"):
        read(tmp_path, b"hello world, no model")
    with pytest.raises(ConvertError, match="unknown format"):
        read(tmp_path, b"")
    with pytest.raises(ConvertError, match="magic number is damaged"):
        read(tmp_path, LEGACY_MAGIC[:6] + b"x" * 20)
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "absent.pt")


# -- safetensors -------------------------------------------------------------------------------


def test_safetensors_with_tied_names(tmp_path: Path) -> None:
    header = {"a": entry(), "h": entry((1, 2), (8, 12), "F16"), "__metadata__": {"b": "a", "format": "pt"}}
    body = np.array([1, 2], np.float32).tobytes() + np.array([3, 4], np.float16).tobytes()
    found = numbers(read(tmp_path, safetensors(header, body), "m.safetensors"))
    assert sorted(found) == ["a", "b", "h"]
    np.testing.assert_array_equal(found["b"], [1, 2])
    np.testing.assert_array_equal(found["h"], [[3, 4]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (safetensors({"a": entry()}, bytes(4)), "4 bytes of data, the tensors cover 8"),
        (safetensors({"a": entry(offsets=(0, 4))}, bytes(4)), "file is damaged"),
        (safetensors({"a": entry(offsets=(8, 0))}, bytes(8)), "cover 0"),
        (safetensors({"a": entry(shape=(1 << 62,))}, bytes(8)), "file is damaged"),
        (safetensors({"a": entry(shape=(-2,))}, bytes(8)), "file is damaged"),
        (safetensors({"a": {**entry(), "dtype": 3}}, bytes(8)), "file is damaged"),
        (safetensors({"a": entry(dtype="F32X")}, bytes(8)), "file is damaged"),
        (safetensors({"a": entry(shape=[10**3000])}, bytes(8)), "file is damaged"),
        (safetensors({"a": entry(offsets=(0, 10**400))}, bytes(8)), "the tensors cover 0"),
        (safetensors({"a": {**entry(), "data_offsets": 8}}, bytes(8)), "the tensors cover 0"),
        (safetensors({"a": entry(), "__metadata__": [1]}, bytes(8)), "file is damaged"),
        (safetensors(b'{"\\ud800": 1}', b""), "half of a character"),
        (safetensors({"a": 3}, bytes(8)), "the tensors cover 0"),
        (safetensors({"a": 3}, b""), "file is damaged"),
        (safetensors({"a": entry(), "b": entry()}, bytes(8)), "file is damaged"),
        (safetensors({"a": entry(shape=(1,), offsets=(4, 8))}, bytes(8)), "file is damaged"),
        (safetensors({"a": entry()}, bytes(12)), "the tensors cover 8"),
        (safetensors({"a": entry()}, bytes(8), 1 << 40), "truncated: the header needs"),
        (safetensors(b'{"a": ', bytes(8)), "header is not valid JSON"),
        (safetensors(b'{"a": 1, "a": 2}', bytes(8)), "occurs twice"),
        (safetensors(b"{" + b'"a":[' * 5000, b""), "header is not valid JSON"),
        (safetensors(b"[]", b""), "not a table"),
        (b"abc", "truncated: 3 bytes"),
    ],
)
def test_safetensors_damage(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ConvertError, match=message):
        read(tmp_path, data, "m.safetensors")


# -- JSON --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "not valid JSON"),
        (b'{"state_dict": {"w": [1, ' + b"9" * 400 + b"]}}", "not finite"),
        (b'{"state_dict": {"\\ud800": [1]}}', "half of a character"),
        (b'{"state_dict": {"\xff": [1]}}', "not valid JSON"),
        (b"{}", "no weights found: it holds no arrays"),
        (b'{"model_data": {}}', "without a state_dict"),
        (b'{"state_dict": {"w": [[1, 2], [3]]}}', "not a regular array"),
        (b'{"state_dict": {"w": [1, NaN]}}', "not finite"),
        (b'{"state_dict": {"w": [1, "x"]}}', "not a regular array"),
        (b'{"state_dict": {}, "model_data": 3}', "not a table"),
    ],
)
def test_json_damage(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ConvertError, match=message):
        read(tmp_path, data, "m.json")


@pytest.mark.parametrize("value", [[True, False], [[1.0], [True]], ["1", "2"], "1", True, None, [None, 1.0], {"a": 1}])
def test_json_weights_that_are_no_numbers(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ConvertError, match="weight a is not a regular array of numbers"):
        read(tmp_path, json.dumps({"state_dict": {"a": value}}).encode(), "m.json")


# -- what torch itself writes ------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_save(tmp_path: Path, zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    base = torch.randn(4, 6)
    state = {
        "plain": base,
        "view": base[1:3, ::2],
        "transposed": base.t(),
        "tied": torch.nn.Parameter(base),
        "bf16": base.bfloat16(),
        "f64": base.double(),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
    }
    checkpoint = {
        "epoch": 3,
        "lr": 0.1,
        "device": torch.device("cpu"),
        "size": base.shape,
        "state_dict": state,
    }
    path = tmp_path / "m.pt"
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    found = numbers(read_checkpoint(path))
    assert list(found) == list(state)
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value.detach().float().numpy(), err_msg=name)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_every_pickle_protocol(tmp_path: Path, zipped: bool, protocol: int) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "m.unknown"
    saved = {"w": torch.arange(6.0), "a": np.arange(6, dtype=np.float32)}
    torch.save(saved, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert find(path).framework == "torch"
    found = numbers(read_checkpoint(path))
    np.testing.assert_array_equal(found["w"], SIX)
    np.testing.assert_array_equal(found["a"], SIX)


@pytest.mark.parametrize("zipped", [True, False])
def test_the_negative_bit(tmp_path: Path, zipped: bool) -> None:
    """torch's views of turned sign, as of the imaginary part of a conjugate."""
    torch = pytest.importorskip("torch")
    base = torch.arange(6.0).reshape(2, 3)
    state = {"plain": base, "neg": torch._neg_view(base), "half": torch._neg_view(base.half()),
             "imag": torch.view_as_complex(torch.randn(3, 2)).conj().imag}  # fmt: skip
    assert state["imag"].is_neg()
    torch.save(state, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    for found in numbers(read_checkpoint(tmp_path / "m.pt")), numbers(from_mapping(state)):
        for name, value in state.items():
            np.testing.assert_array_equal(found[name], value.resolve_neg().float().numpy(), err_msg=name)


def _v2(*more: bytes) -> bytes:
    plain = tensor("0", 6, (2, 3), (3, 1))
    assert plain.endswith(b"tR")
    return plain[:-2] + b"".join(more) + b"tR"


_RAW = tensor("0", 6, (2, 3), (3, 1))[len(b"ctorch._utils\n_rebuild_tensor_v2\n(") : -2]
UNREAD = {
    "conj": _v2(obj({"conj": True})),
    "unknown metadata": _v2(obj({"neg": False, "scale": 3.0})),
    "metadata of another type": _v2(obj("neg")),
    "more arguments": _v2(obj({}), obj(1)),
    "quantised floats": b"ctorch._utils\n_rebuild_qtensor\n(" + _RAW + b"tR",
    "wrapper": call("torch._utils._rebuild_wrapper_subclass", b"ca\nB\n", b"ctorch\nfloat32\n", obj((2, 3))),
    "device": call("torch._utils._rebuild_device_tensor_from_numpy", obj(None)),
    "sparse": call("torch._utils._rebuild_sparse_tensor", obj(None)),
    "subclass": call("torch._tensor._rebuild_from_type_v2", b"ca\nb\n", b"ca\nB\n", b")", b"}"),
    "parameter": call("torch._utils._rebuild_parameter", call("a.B"), obj(True), obj({})),
    "long double": call("numpy.core.multiarray._reconstruct")
    + b"(K\x01K\x01\x85" + call("numpy.dtype", obj("f16")) + b"\x89C\x01atb",
}  # fmt: skip


@pytest.mark.parametrize("what", UNREAD)
def test_tensors_that_are_not_understood_are_not_dropped(tmp_path: Path, what: str) -> None:
    """As a bias such a tensor is refused: the layer is not made without. Beside the weights it is no matter."""
    arch = {"layer": [{"op": "dense", "weights": ""}]}
    weight = tensor("0", 6, (2, 3), (3, 1))
    (tmp_path / "m.pt").write_bytes(torch_zip(table(weight=weight, bias=UNREAD[what]), {"0": SIX.tobytes()}))
    with pytest.raises(ConvertError, match=r"weight bias: has type .*, expected a float tensor"):
        from_torch(tmp_path / "m.pt", arch=arch)
    beside = table(state_dict=table(weight=weight), extra=b"](" + UNREAD[what] + b"e")
    (tmp_path / "m.pt").write_bytes(torch_zip(beside, {"0": SIX.tobytes()}))
    from_torch(tmp_path / "m.pt", arch=arch)


def torch_extras() -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(2, 2)
    adam = torch.optim.Adam(net.parameters())
    return {
        "dtype": [torch.float32, torch.device("cpu"), torch.Size([1, 2]), torch.get_rng_state()],
        "optimizer": adam,
        "scheduler": torch.optim.lr_scheduler.StepLR(adam, 1),
        "module": net,
        "complex": torch.zeros(2, dtype=torch.complex64),
        "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
        "quantised per channel": torch.quantize_per_channel(
            torch.ones(2, 2), torch.ones(2), torch.zeros(2, dtype=torch.long), 0, torch.qint8
        ),
        "float8": torch.zeros(2, dtype=torch.float8_e4m3fn),
        "uint16": torch.zeros(2, dtype=torch.uint16),
        "sparse": torch.eye(2).to_sparse(),
        "sparse rows": torch.eye(2).to_sparse_csr(),
        "meta": torch.zeros(2, device="meta"),
        "dataset": torch.utils.data.TensorDataset(torch.zeros(2)),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_extras_do_not_block_the_weights(tmp_path: Path, zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    for what, extra in torch_extras().items():
        saved = {"extra": [extra], "state_dict": {"lin.weight": torch.arange(6.0).reshape(2, 3)}}
        torch.save(saved, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
        found = numbers(read_checkpoint(tmp_path / "m.pt"))
        np.testing.assert_array_equal(found["lin.weight"], SIX.reshape(2, 3), err_msg=what)


def test_weights_of_other_types_say_so(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    kinds = {"quint8": torch_extras()["quantised"], "float8_e4m3fn": torch_extras()["float8"]}
    for kind, value in kinds.items():
        torch.save({"w": value}, tmp_path / "m.pt")
        with pytest.raises(ConvertError, match=f"w: has type {kind}, expected a float tensor"):
            numbers(read_checkpoint(tmp_path / "m.pt"))


def test_subclasses_of_tensors_are_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    subclass = type("Named", (torch.Tensor,), {"__module__": __name__})
    globals()["Named"] = subclass  # pickle looks it up
    torch.save({"w": torch.arange(6.0).as_subclass(subclass)}, tmp_path / "m.pt")
    np.testing.assert_array_equal(numbers(read_checkpoint(tmp_path / "m.pt"))["w"], SIX)


def test_integers_are_refused_when_asked_for(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.arange(3)}, tmp_path / "m.pt")
    with pytest.raises(ConvertError, match="int64, expected a float tensor"):
        numbers(read_checkpoint(tmp_path / "m.pt"))


@pytest.mark.parametrize("whole", [True, False])
def test_quantized_layers_are_refused_by_name(whole: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Module()
    module.rnn, module.fc = torch.nn.LSTM(2, 3), torch.nn.Linear(3, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.ao.quantization.quantize_dynamic(module.eval(), {torch.nn.LSTM, torch.nn.Linear})
        torch.save(module if whole else module.state_dict(), tmp_path / "m.pt")
    with pytest.raises(ConvertError, match=r"of torch\.ao\.quantization.*: rnn\.weight_ih_l0, fc\.weight; the"):
        from_torch(tmp_path / "m.pt")
    arch = {"layer": [{"op": "dense", "weights": "fc"}]}
    with pytest.raises(ConvertError, match=r"weight fc\.weight: has type quantized, .*; the float model .* converts"):
        from_torch(tmp_path / "m.pt", arch=arch)


def test_torchscript_and_export(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    torch.jit.save(torch.jit.script(module), tmp_path / "s.pt")
    found = numbers(read_checkpoint(tmp_path / "s.pt"))
    assert sorted(found) == sorted(module.state_dict())
    np.testing.assert_array_equal(found["1.weight"], module[1].weight.detach().numpy())
    arch = {
        "input": [{"name": "x", "kind": "vec"}],
        "layer": [{"op": "dense", "weights": "0"}, {"op": "dense", "weights": "1"}],
    }
    assert [n.op for n in from_torch(tmp_path / "s.pt", arch=arch).nodes] == ["dense", "dense"]
    torch.export.save(torch.export.export(module, (torch.zeros(1, 2),)), tmp_path / "e.pt2")
    with pytest.raises(ConvertError, match=r"a torch\.export archive \(\.pt2\), which holds its own graph"):
        read_checkpoint(tmp_path / "e.pt2")


def test_safetensors_types_beside_the_weights(tmp_path: Path) -> None:
    header = {"w": entry(), "scale": entry((2,), (8, 10), "F8_E4M3")}
    found = read(tmp_path, safetensors(header, SIX[:2].tobytes() + b"ab"), "m.safetensors")
    np.testing.assert_array_equal(found.tensors["w"].array("w"), SIX[:2])
    with pytest.raises(ConvertError, match="scale: has type F8_E4M3, expected a float tensor"):
        found.tensors["scale"].array("scale")


def test_safetensors_of_the_library(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    library.save_file({"w": SIX.reshape(2, 3), "v": SIX.astype(np.float64)}, tmp_path / "m.safetensors")
    found = numbers(read_checkpoint(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(found["w"], SIX.reshape(2, 3))
    np.testing.assert_array_equal(found["v"], SIX)
