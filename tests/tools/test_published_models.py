"""Published models end to end: ``lstm-rt convert``, load, run in the compiled runtime.

The models are not part of the repository; LSTM_RT_MODELS names the folder that holds them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.paths import DATA
from helpers.stored import Case, published
from lstm_rt_tools.cli.parser import main

import lstm_rt

GUITAR, THAI, ERGO = "guitar_ts9_lstm8_neuralseed", "unicode_thai_segmenter_bilstm", "ergo_tcr_peptide_lstm"
DTLN = "dtln_model1_onnx_2xlstm"


def convert(case: Case, folder: Path, file: str, arch: str | None = None) -> lstm_rt.Model:
    """Convert on the command line, load and verify."""
    out = folder / "model.lrt"
    options = ["--arch", str(DATA / arch)] if arch else []
    assert main(["convert", str(case.folder / file), "-o", str(out), *options]) == 0
    assert main(["verify", str(out)]) == 0
    model = lstm_rt.load(out, verify=True)
    assert model.info["not_finite"] == 0
    return model


def batch_major(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(1, 0, 2))


@pytest.mark.parametrize(("file", "arch"), [("model.json", None), ("state_dict.pt", "guitar_ts9.toml")])
def test_guitar_pedal(file: str, arch: str | None, tmp_path: Path) -> None:
    case = published(GUITAR)
    model = convert(case, tmp_path, file, arch)
    for ins, outs in case.runs():
        state = (ins["h0"], ins["c0"]) if "h0" in ins else None
        x = batch_major(ins["x"])
        y, (h, c) = model(x, state=state, return_state=True)
        case.close(y, batch_major(outs["y"]))
        case.close(h, outs["hn"])
        case.close(c, outs["cn"])
        stream = model.stream(batch=len(x))
        for chunk in (64, 1):
            stream.reset()
            if state is not None:
                stream.state = state
            pieces = np.split(x, range(chunk, x.shape[1], chunk), axis=1)[: 300 if chunk == 1 else None]
            if chunk == 1:
                parts = [stream.step(np.ascontiguousarray(p[:, 0]))[:, None] for p in pieces]
            else:
                parts = [stream.feed(np.ascontiguousarray(p)) for p in pieces]
                np.testing.assert_array_equal(stream.state, (h, c))
            streamed = np.concatenate(parts, axis=1)
            np.testing.assert_array_equal(streamed, y[:, : streamed.shape[1]])


@pytest.mark.parametrize("file", ["model.keras", "model_tfkeras.h5", "weights.json"])
def test_thai_segmenter(file: str, tmp_path: Path) -> None:
    if file != "weights.json":
        pytest.importorskip("h5py")
    case = published(THAI)
    model = convert(case, tmp_path, file)
    for ins, outs in case.runs():
        case.close(model(ins["ids"]), outs["probs"])
        case.close(model(ins["ids"][0]), outs["probs"][0])


def test_peptides(tmp_path: Path) -> None:
    case = published(ERGO)
    model = convert(case, tmp_path, "model.pt", "ergo.toml")
    for ins, outs in case.runs():
        result = model(**ins)
        for port, y in zip(model.outputs, result, strict=True):
            case.close(y, outs[port.name])
        for row in range(len(ins["tcrs"])):  # alone and without its padding
            n, m = ins["tcr_lens"][row], ins["pep_lens"][row]
            alone = model(tcrs=ins["tcrs"][row, :n], tcr_lens=n, peps=ins["peps"][row, :m], pep_lens=m)
            for y, whole in zip(alone, result, strict=True):
                np.testing.assert_array_equal(y, whole[row])


def test_run_on_the_command_line(tmp_path: Path) -> None:
    case = published(GUITAR)
    convert(case, tmp_path, "model.json")
    ins, outs = next(run for run in case.runs() if run[0]["x"].shape == (17, 5, 1))
    np.save(tmp_path / "x.npy", batch_major(ins["x"]))
    assert main(["run", str(tmp_path / "model.lrt"), str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy")]) == 0
    case.close(np.load(tmp_path / "y.npy"), batch_major(outs["y"]))


def test_guitar_pedal_in_onnx(tmp_path: Path) -> None:
    """Names, order and axes are those of the file: steps first."""
    case = published(GUITAR)
    model = convert(case, tmp_path, "model.onnx")
    assert [p.name for p in model.inputs] == ["x", "h0", "c0"]
    assert [p.name for p in model.outputs] == ["y", "hn", "cn"]
    for ins, outs in case.runs():
        zeros = np.zeros((1, ins["x"].shape[1], 8), np.float32)
        result = model(**{"h0": zeros, "c0": zeros, **ins})
        for port, y in zip(model.outputs, result, strict=True):
            case.close(y, outs[port.name])


def test_noise_suppression(tmp_path: Path) -> None:
    """Frame by frame, with the states of both layers in one tensor that goes in and comes out."""
    case = published(DTLN)
    model = convert(case, tmp_path, "model_1.onnx")
    for ins, outs in case.runs():
        state = ins["input_3"]
        for frame, expected in zip(ins["input_2"], outs["activation_2"], strict=True):
            mask, state = model(input_2=frame, input_3=state)
            case.close(mask, expected)
        case.close(state, outs["tf_op_layer_stack_2"])
