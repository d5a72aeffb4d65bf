"""Whole models in the shapes of published ones, with seeded weights, as ONNX files that PyTorch's exporter writes.

Each is a module and its example inputs by name. Inputs whose output is called the same with ``_out`` are states.
Sizes are those of the papers and projects named; weights are random, as they are in all benchmarks here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

Example = dict[str, torch.Tensor]
_OPSET = 17


def export(name: str, path: Path) -> None:
    """Write the architecture called ``name`` as an ONNX file."""
    torch.manual_seed(0)
    module, inputs, outputs = ARCHITECTURES[name]()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):  # as if it had been trained
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(norm.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), tuple(inputs.values()), str(path), input_names=list(inputs), output_names=outputs,
            opset_version=_OPSET, dynamo=False,
        )  # fmt: skip


class Crnn(nn.Module):
    """A line of text, as Shi, Bai and Yao 2015 read it: seven convolutions over 32 x 100, two bidirectional LSTMs."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for units, kernel, norm, pool in (
            (64, 3, False, (2, 2)), (128, 3, False, (2, 2)), (256, 3, False, None), (256, 3, False, (2, 1)),
            (512, 3, True, None), (512, 3, True, (2, 1)), (512, 2, False, None),
        ):  # fmt: skip
            layers.append(nn.Conv2d(before, units, kernel, padding=kernel // 2 if kernel == 3 else 0))
            layers += [nn.BatchNorm2d(units)] if norm else []
            layers.append(nn.ReLU())
            if pool:
                layers.append(nn.MaxPool2d((2, 2), pool, (0, 2 - pool[1])))
            before = units
        self.cnn = nn.Sequential(*layers)
        self.first = nn.LSTM(512, 256, bidirectional=True)
        self.between = nn.Linear(512, 256)
        self.second = nn.LSTM(256, 256, bidirectional=True)
        self.letters = nn.Linear(512, 37)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        y = self.cnn(image).squeeze(2).permute(2, 0, 1)
        y = self.between(self.first(y)[0])
        return self.letters(self.second(y)[0])  # type: ignore[no-any-return]


class Romanise(nn.Module):
    """One letter of a decoder that looks at the encoder's steps, as PyThaiNLP's thai2rom has it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(81, 126)
        self.align = nn.Linear(256, 256)
        self.lstm = nn.LSTM(126 + 256, 256, batch_first=True)
        self.letters = nn.Linear(256, 81)

    def forward(self, letter: torch.Tensor, encoded: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> Any:
        fit = torch.bmm(self.align(encoded), h.permute(1, 2, 0)).transpose(1, 2)
        context = torch.bmm(torch.softmax(fit, -1), encoded)
        y, (h, c) = self.lstm(torch.cat([self.embedding(letter), context], -1), (h, c))
        return self.letters(y), h, c


class Split(nn.Module):
    """Does a sentence end behind each of 300 bytes? Embedding, convolution, bidirectional LSTMs, as in NNSplit."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, 32)
        self.near = nn.Conv1d(32, 64, 5, padding=2)
        self.lstm = nn.LSTM(64, 64, 2, bidirectional=True, batch_first=True)
        self.ends = nn.Linear(128, 2)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.near(self.embedding(text).transpose(1, 2))).transpose(1, 2)
        return torch.sigmoid(self.ends(self.lstm(y)[0]))


class Denoise(nn.Module):
    """A frame of RNNoise (Valin 2018): three small GRUs that read each other's outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(42, 24)
        self.voice = nn.GRU(24, 24, batch_first=True)
        self.is_voice = nn.Linear(24, 1)
        self.noise = nn.GRU(24 + 24 + 42, 48, batch_first=True)
        self.gains_gru = nn.GRU(24 + 48 + 42, 96, batch_first=True)
        self.gains = nn.Linear(96, 22)

    def forward(self, frame: torch.Tensor, v: torch.Tensor, n: torch.Tensor, g: torch.Tensor) -> Any:
        y = torch.tanh(self.dense(frame))
        voice, v = self.voice(y, v)
        noise, n = self.noise(torch.cat([y, voice, frame], -1), n)
        gains, g = self.gains_gru(torch.cat([voice, noise, frame], -1), g)
        return torch.sigmoid(self.gains(gains)), torch.sigmoid(self.is_voice(voice)), v, n, g


class Keyword(nn.Module):
    """A second of 40 mel bands to one of 12 words: two convolutions over time and two GRUs (Arik et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Sequential(
            nn.Conv1d(40, 64, 5, stride=2, padding=2), nn.BatchNorm1d(64), nn.ReLU(),
            nn.Conv1d(64, 64, 3, padding=1), nn.BatchNorm1d(64), nn.ReLU(),
        )  # fmt: skip
        self.gru = nn.GRU(64, 64, 2, batch_first=True)
        self.word = nn.Linear(64, 12)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        y, _ = self.gru(self.near(mel).transpose(1, 2))
        return torch.softmax(self.word(y[:, -1]), -1)


def _states(**sizes: int) -> Example:
    return {name: torch.zeros(1, 1, size) for name, size in sizes.items()}


ARCHITECTURES: dict[str, Callable[[], tuple[nn.Module, Example, list[str]]]] = {
    "crnn": lambda: (Crnn(), {"image": torch.zeros(1, 1, 32, 100)}, ["letters"]),
    "romanise_step": lambda: (
        Romanise(),
        {"letter": torch.zeros(1, 1, dtype=torch.int64), "encoded": torch.zeros(1, 24, 256), **_states(h=256, c=256)},
        ["logits", "h_out", "c_out"],
    ),
    "split": lambda: (Split(), {"text": torch.zeros(1, 300, dtype=torch.int64)}, ["ends"]),
    "denoise_step": lambda: (
        Denoise(),
        {"frame": torch.zeros(1, 1, 42), **_states(v=24, n=48, g=96)},
        ["gains", "voice", "v_out", "n_out", "g_out"],
    ),
    "keyword": lambda: (Keyword(), {"mel": torch.zeros(1, 40, 100)}, ["word"]),
}
