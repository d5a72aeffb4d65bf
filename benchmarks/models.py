"""Times whole models in lstm_rt and in ONNX Runtime, from the same ONNX files: ``python benchmarks/models.py``.

See README.md in this folder for what is measured and how.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import compare
from architectures import ARCHITECTURES, export
from model_workloads import ModelWorkload, prepared

#: Those that architectures.py makes.
MADE = (
    ModelWorkload("crnn", "line of text, 32 x 100: 7 convolutions, 2 BiLSTMs of 256", "crnn.onnx", 100),
    ModelWorkload(
        "romanise_step", "a letter: attention over 24 steps, LSTM 382/256", "romanise_step.onnx", 1,
        (("h", "h_out"), ("c", "c_out")),
    ),
    ModelWorkload("split", "300 bytes: embedding, convolution, 2 BiLSTMs of 64", "split.onnx", 300),
    ModelWorkload(
        "denoise_step", "a frame: 3 GRUs of 24, 48 and 96", "denoise_step.onnx", 1,
        (("v", "v_out"), ("n", "n_out"), ("g", "g_out")),
    ),
    ModelWorkload("keyword", "100 frames of 40: 2 convolutions, 2 GRUs of 64", "keyword.onnx", 100),
)  # fmt: skip

#: Published files, which are not part of this repository; each is run where it is found.
PUBLISHED = (
    ModelWorkload(
        "silero_vad", "Silero VAD 16 kHz: 576 samples, STFT, 4 convolutions, LSTM 128", "silero_vad_16k_op15.onnx", 576,
        (("state", "stateN"),), (("sr", 16000),),
    ),
    ModelWorkload(
        "dtln_1", "DTLN, stage 1: a frame, 2 LSTMs of 128", "model_1.onnx", 1, (("input_3", "tf_op_layer_stack_2"),)
    ),
    ModelWorkload(
        "dtln_2", "DTLN, stage 2: a frame, 2 LSTMs of 128 between convolutions", "model_2.onnx", 1,
        (("input_5", "tf_op_layer_stack_5"),),
    ),
)  # fmt: skip
ENGINES = ("lstm_rt", "lstm_rt:avx2", "onnxruntime")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    p = argparse.ArgumentParser(description="Times whole models in lstm_rt and in ONNX Runtime.")
    p.add_argument("--workloads", type=lambda text: text.split(","), help="names, comma-separated; default all")
    p.add_argument("--published", type=Path, metavar="FOLDER", help="of published files, by name, that are run, too")
    return compare.parse_common(p, ENGINES, argv)


def chosen(options: argparse.Namespace, folder: Path) -> list[ModelWorkload]:
    """The workloads, with their files: those that are made are put into the folder, published ones linked into it."""
    known = [*MADE, *(PUBLISHED if options.published else ())]
    names = options.workloads or [w.name for w in known]
    unknown = [name for name in names if name not in {w.name for w in known}]
    if unknown:
        raise SystemExit(f"no workload {unknown[0]!r}; known: {', '.join(w.name for w in known)}")
    found = []
    for w in known:
        if w.name not in names:
            continue
        here = replace(w, folder=str(folder))
        if w.name in ARCHITECTURES:
            export(w.name, here.onnx)
        elif not (options.published / w.file).is_file():
            compare.say(f"left out: no {w.file} in {options.published}")
            continue
        else:
            here.onnx.write_bytes((options.published / w.file).read_bytes())
        compare.say(f"converting {w.name}")
        found.append(prepared(here))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Make, convert, run, print and write; 1 if an engine failed or gave other results."""
    options = parse(argv)
    with tempfile.TemporaryDirectory() as folder:
        options.workloads = chosen(options, Path(folder))
        return compare.run(options)


if __name__ == "__main__":
    sys.exit(main())
