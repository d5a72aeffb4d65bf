"""What weights of integers do to models that were trained: ``python benchmarks/real_models.py``.

Each model runs on real inputs with float32 weights and with those of integers; what it decides, or how far its signal
is from that of the framework that it comes from, is told for each. README.md in this folder says where models and
inputs are from.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from report import Table, as_markdown
from workloads import INTEGERS

import lstm_rt
from lstm_rt.format import dumps, load_graph
from lstm_rt.graph import Graph

Values: TypeAlias = NDArray[Any]
Arrays: TypeAlias = Mapping[str, Values]
#: Inputs of a call by name (of an only one any), or of steps along a first axis; and the reference's output.
Run: TypeAlias = tuple[Arrays, Values]

EXAMPLES = Path(__file__).parents[1] / "examples"
KINDS = ("float32", *INTEGERS)


@dataclass(frozen=True)
class Trained:
    """A model's file, what it is run on, and how its output is judged.

    With ``states``, pairs of an input and an output, inputs are those of steps that carry these.
    """

    name: str
    about: str
    file: str  #: in its folder
    runs: Callable[[Path], Iterator[Run]]  #: of the model's folder
    judge: Callable[[Sequence[tuple[Values, Values]]], str]  #: of pairs of a reference and what the model gave
    options: tuple[str, ...] = ()  #: of ``lstm-rt convert``; ``{}`` stands for the folder
    output: int = 0  #: which one is judged
    states: tuple[tuple[str, str], ...] = ()


# -- how outputs are judged -----------------------------------------------------------------------


def moved(decide: Callable[[Values], Values], what: str) -> Callable[[Sequence[tuple[Values, Values]]], str]:
    """How many decisions are others than the reference's."""

    def judge(pairs: Sequence[tuple[Values, Values]]) -> str:
        others = sum(int((decide(got) != decide(want)).sum()) for want, got in pairs)
        return f"{others} of {sum(decide(want).size for want, _ in pairs)} {what}"

    return judge


def likeliest(y: Values) -> Values:
    classes: Values = y.argmax(axis=-1)
    return classes


def begins_word(y: Values) -> Values:
    """Of begin, inside, end and single: is a boundary before this letter?"""
    return np.isin(likeliest(y), (0, 3))


def is_speech(y: Values) -> Values:
    return y > 0.5


def signal_ratio(pairs: Sequence[tuple[Values, Values]]) -> str:
    """The error-to-signal ratio: the energy of the difference over that of the reference."""
    gap = sum(float(np.sum(np.square(want.astype(np.float64) - got))) for want, got in pairs)
    return f"{gap / sum(float(np.sum(np.square(want, dtype=np.float64))) for want, _ in pairs):.1e}"


# -- inputs, and outputs of the frameworks ----------------------------------------------------------


def stored(x: str, y: str, *others: str) -> Callable[[Path], Iterator[Run]]:
    """Of a folder's ``reference.npz``."""

    def runs(folder: Path) -> Iterator[Run]:
        with np.load(folder / "reference.npz") as data:
            yield {name: data[name] for name in (x, *others)}, data[y]

    return runs


def published(y: str, turn: bool = False) -> Callable[[Path], Iterator[Run]]:
    """Of a folder's ``io.npz``, with keys ``<tag>__in__<name>``; ``turn``: there time comes first, here rows."""

    def turned(a: Values) -> Values:
        return a.swapaxes(0, 1) if turn and a.ndim == 3 else a

    def runs(folder: Path) -> Iterator[Run]:
        with np.load(folder / "io.npz") as data:
            for tag in dict.fromkeys(key.split("__")[0] for key in data.files):
                head = f"{tag}__in__"
                given = {k.removeprefix(head): data[k] for k in data.files if k.startswith(head)}
                if not turn or set(given) == {"x"}:  # a call from zero state
                    yield {name: turned(a) for name, a in given.items()}, turned(data[f"{tag}__out__{y}"])

    return runs


#: Samples of a frame of Silero VAD, at 16 kHz, and how many of the frame before go before them.
FRAME, CONTEXT = 512, 64


def frames_of_speech(path: Path) -> Values:
    """Frames ``(N, 1, CONTEXT + FRAME)`` of a mono file of 16 bits, brought to 16 kHz.

    Raises:
        ValueError: the file is of another kind.
    """
    with wave.open(str(path)) as file:
        rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    if width != 2 or channels != 1:
        raise ValueError(f"{path}: {channels} channels of {8 * width} bits, expected one of 16")
    count = len(sound) * 16000 // rate
    sound = np.interp(np.arange(count) * (rate / 16000), np.arange(len(sound)), sound).astype(np.float32)
    sound = np.concatenate([np.zeros(CONTEXT, np.float32), sound])
    return np.stack([sound[i : i + CONTEXT + FRAME] for i in range(0, count - FRAME + 1, FRAME)])[:, None]


def spoken(speech: Path | None) -> Callable[[Path], Iterator[Run]]:
    """Of the sound file, with what ONNX Runtime gives; nothing without one."""

    def runs(folder: Path) -> Iterator[Run]:
        if speech is None:
            raise FileNotFoundError("no --speech")
        import onnxruntime

        frames = frames_of_speech(speech)
        session = onnxruntime.InferenceSession(str(folder / SILERO), providers=["CPUExecutionProvider"])
        state, found = np.zeros((2, 1, 128), np.float32), []
        for frame in frames:
            y, state = session.run(None, {"input": frame, "state": state, "sr": np.array(16000)})
            found.append(y)
        yield {"input": frames, "state": np.zeros((2, 1, 128), np.float32)}, np.stack(found)

    return runs


SILERO = "silero_vad_16k_op15.onnx"


def models(published_models: Path | None, speech: Path | None) -> list[tuple[Path, Trained]]:
    """Folders and models: those of the examples, and published ones where a folder is named."""
    rows = [
        (EXAMPLES / "digits", Trained(
            "digits", "handwritten digits, LSTM 8/32 (PyTorch)", "digits.pt", stored("x", "y"),
            moved(likeliest, "images"), ("--arch", "{}/arch.toml"),
        )),
        (EXAMPLES / "sunspots", Trained(
            "sunspots", "sunspot numbers a year ahead, GRU (Keras)", "sunspots.keras", stored("x", "y"), signal_ratio,
        )),
    ]  # fmt: skip
    if published_models is None:
        return rows
    return [
        *rows,
        (published_models / "unicode_thai_segmenter_bilstm", Trained(
            "segmenter", "Thai words, of ICU: embedding, BiLSTM 27 (Keras)", "weights.json", published("probs"),
            moved(begins_word, "boundaries"),
        )),
        (published_models / "guitar_ts9_lstm8_neuralseed", Trained(
            "guitar pedal", "Ibanez TS9, of NeuralSeed: LSTM 1/8 (PyTorch)", "model.json", published("y", turn=True),
            signal_ratio,
        )),
        (published_models / "dtln_model1_onnx_2xlstm", Trained(
            "noise suppression", "mask of DTLN's stage 1: 2 LSTMs of 128 (ONNX)", "model_1.onnx",
            published("activation_2"), signal_ratio, states=(("input_3", "tf_op_layer_stack_2"),),
        )),
        (published_models, Trained(
            "voice activity", "Silero VAD, 16 kHz: convolutions, LSTM 128 (ONNX)", SILERO, spoken(speech),
            moved(is_speech, "frames"), ("--set", "sr=16000"), states=(("state", "stateN"),),
        )),
    ]  # fmt: skip


# -- running them -----------------------------------------------------------------------------------


def convert(folder: Path, model: Trained) -> Graph:
    """The model's graph.

    Raises:
        RuntimeError: the file cannot be converted; the message is the converter's.
    """
    from lstm_rt_tools.cli.parser import main as command_line

    with tempfile.TemporaryDirectory() as made:
        path = Path(made, "model.lrt")
        said = io.StringIO()
        options = [option.replace("{}", str(folder)) for option in model.options]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = command_line(["convert", str(folder / model.file), "-o", str(path), *options])
        if code:
            raise RuntimeError(said.getvalue().strip())
        return load_graph(path)


def of_kind(graph: Graph, kind: str) -> bytes:
    """The file with such weights."""
    from lstm_rt_tools import quantize

    if kind == "float32":
        return dumps(graph)
    return dumps(quantize(graph, bits=16 if kind == "int16" else 8, activations=8 if kind == "int8/8" else 16))


def results(model: lstm_rt.Model, inputs: Arrays, trained: Trained) -> Values:
    """The judged output; of steps one behind the other, along a first axis."""

    def call(given: Arrays) -> tuple[Values, ...]:
        arrays = [given[p.name] for p in model.inputs] if len(model.inputs) > 1 else list(given.values())
        out = model(*arrays)
        return out if isinstance(out, tuple) else (out,)

    if not trained.states:
        return call(inputs)[trained.output]
    states = {name: inputs[name] for name, _ in trained.states}
    steps = {name: a for name, a in inputs.items() if name not in states}
    names = [p.name for p in model.outputs]
    found = []
    for at in range(min(len(a) for a in steps.values())):
        out = call({name: a[at] for name, a in steps.items()} | states)
        states = {name: out[names.index(after)] for name, after in trained.states}
        found.append(out[trained.output])
    return np.stack(found)


def judged(folder: Path, trained: Trained) -> dict[str, tuple[int, str]]:
    """Of each kind of weights the bytes of the file and what became of the outputs.

    Raises:
        OSError: something is not there.
    """
    if not (folder / trained.file).is_file():
        raise FileNotFoundError(f"no {trained.file} in {folder}")
    graph, runs = convert(folder, trained), list(trained.runs(folder))
    found = {}
    for kind in KINDS:
        blob = of_kind(graph, kind)
        model = lstm_rt.Model(blob, threads=1)
        pairs = [(want, results(model, inputs, trained)) for inputs, want in runs]
        found[kind] = len(blob), trained.judge(pairs)
    return found


def table(rows: Sequence[tuple[Path, Trained]]) -> Table:
    """A row for each model whose files are there; the others are told of."""
    head = ["model", *(f"{kind}: {what}" for kind in KINDS for what in ("KB", "others, or error to signal"))]
    body = []
    for folder, trained in rows:
        try:
            found = judged(folder, trained)
        except (OSError, ImportError) as e:
            print(f"left out: {trained.name}: {e}", file=sys.stderr)
            continue
        cells = [text for size, verdict in found.values() for text in (f"{size / 1e3:.1f}", verdict)]
        body.append([f"{trained.name}: {trained.about}", *cells])
    return head, body


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print."""
    p = argparse.ArgumentParser(description="What weights of integers do to models that were trained.")
    p.add_argument("--published", type=Path, metavar="FOLDER", help="published models, a folder each, and files beside")
    p.add_argument("--speech", type=Path, metavar="FILE.wav", help="for voice activity: mono, 16 bits")
    options = p.parse_args(argv)
    print(as_markdown(table(models(options.published, options.speech))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
