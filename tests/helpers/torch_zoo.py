"""Models of PyTorch as people write them, around recurrent layers, each with inputs of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Model:
    """A model.

    Attributes:
        module: in eval mode.
        inputs: for rows and steps.
        dims: of each input, which are rows (``n``) and steps (``t``), for ``torch.export``.
    """

    module: Any
    inputs: Callable[[int, int], tuple[Any, ...]]
    dims: tuple[str, ...] = ("nt.",)


def zoo(torch: Any) -> dict[str, Callable[[], Model]]:
    nn, F = torch.nn, torch.nn.functional

    def floats(*sizes: Any) -> Callable[[int, int], tuple[Any, ...]]:
        def make(n: int, t: int) -> tuple[Any, ...]:
            return tuple(torch.randn(*[{"n": n, "t": t}.get(s, s) for s in size]) for size in sizes)

        return make

    class Tagger(nn.Module):  # type: ignore[misc, name-defined]
        """Embedding, BiLSTM of two layers, a class for each step."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20, 6, padding_idx=0)
            self.lstm = nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True, dropout=0.3)
            self.drop = nn.Dropout(0.2)
            self.fc = nn.Linear(10, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, _ = self.lstm(self.embedding(x))
            return F.log_softmax(self.fc(self.drop(y)), dim=-1)

    class Last(nn.Module):  # type: ignore[misc, name-defined]
        """The last step of a GRU, through two dense layers."""

        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(3, 6, 2, batch_first=True)
            self.head = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2), nn.Sigmoid())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, _ = self.gru(x)
            return self.head(y[:, -1, :])

    class TimeFirst(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.RNN(3, 6, nonlinearity="relu", bidirectional=True)
            self.fc = nn.Linear(12, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _, h = self.rnn(x)
            return self.fc(torch.cat((h[0], h[1]), dim=1))

    class States(nn.Module):  # type: ignore[misc, name-defined]
        """States in, states out."""

        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 5, 2, batch_first=True)
            self.fc = nn.Linear(5, 1)

        def forward(
            self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            y, (h, c) = self.lstm(x, (h, c))
            return self.fc(y).squeeze(-1), h, c

    class ZeroStates(nn.Module):  # type: ignore[misc, name-defined]
        """Initial states that the forward makes itself."""

        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 5, 2, batch_first=True)
            self.fc = nn.Linear(5, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h0 = torch.zeros(2, x.size(0), 5)
            c0 = torch.zeros(2, x.size(0), 5)
            y, _ = self.lstm(x, (h0, c0))
            y = y.contiguous().view(-1, 5)
            return self.fc(y).view(x.size(0), -1, 2)

    class LearnedState(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(3, 5)
            self.h0 = nn.Parameter(torch.randn(1, 1, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, h = self.gru(x, self.h0.expand(-1, x.size(1), -1).contiguous())
            return y + h

    class Crnn(nn.Module):  # type: ignore[misc, name-defined]
        """Convolutions over time before an LSTM."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv1d(3, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 6, 3, padding=1), nn.ReLU()
            )
            self.lstm = nn.LSTM(6, 5, batch_first=True)
            self.fc = nn.Linear(5, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x.transpose(1, 2)).transpose(1, 2)
            return self.fc(self.lstm(y)[0])

    class Image(nn.Module):  # type: ignore[misc, name-defined]
        """A line of text: convolutions over an image, its columns are the steps."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv2d(1, 4, 3, padding=1),
                nn.BatchNorm2d(4),
                nn.ReLU(),
                nn.MaxPool2d((2, 1)),
                nn.Conv2d(4, 6, 3, padding=1),
            )
            self.rnn = nn.LSTM(24, 5, bidirectional=True)
            self.fc = nn.Linear(10, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            n, c, h, w = y.shape
            y = y.permute(3, 0, 1, 2).reshape(w, n, c * h)
            return self.fc(self.rnn(y)[0]).log_softmax(2)

    class Attention(nn.Module):  # type: ignore[misc, name-defined]
        """Weights over the steps of a BiLSTM, and their sum."""

        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
            self.attention = nn.Linear(8, 1)
            self.fc = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, _ = self.lstm(x)
            w = torch.softmax(self.attention(torch.tanh(y)), dim=1)
            return self.fc(torch.sum(w * y, dim=1))

    class SelfAttention(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 8, batch_first=True)
            self.mha = nn.MultiheadAttention(8, 2, batch_first=True)
            self.norm = nn.LayerNorm(8)
            self.fc = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, _ = self.lstm(x)
            z, _ = self.mha(y, y, y)
            return self.fc(self.norm(y + z).mean(dim=1))

    class Pooled(nn.Module):  # type: ignore[misc, name-defined]
        """Mean and maximum over the steps."""

        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(3, 4, batch_first=True, bidirectional=True)
            self.fc = nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, _ = self.gru(x)
            return self.fc(torch.cat([y.mean(1), y.max(1)[0]], 1))

    class Packed(nn.Module):  # type: ignore[misc, name-defined]
        """Packed by lengths in any order; the final state of each row."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20, 6)
            self.lstm = nn.LSTM(6, 5, batch_first=True, bidirectional=True)
            self.fc = nn.Linear(10, 3)

        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            p = nn.utils.rnn.pack_padded_sequence(self.embedding(x), lengths, batch_first=True, enforce_sorted=False)
            _, (h, _) = self.lstm(p)
            return self.fc(torch.cat((h[-2], h[-1]), dim=1))

    class PackedSteps(nn.Module):  # type: ignore[misc, name-defined]
        """Packed by lengths that are sorted already; all steps."""

        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(3, 5)
            self.fc = nn.Linear(5, 2)

        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            p = nn.utils.rnn.pack_padded_sequence(x, lengths)
            y, _ = nn.utils.rnn.pad_packed_sequence(self.gru(p)[0])
            return self.fc(y)

    class CellLoop(nn.Module):  # type: ignore[misc, name-defined]
        """An LSTMCell, step by step, its outputs in a list."""

        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTMCell(3, 5)
            self.fc = nn.Linear(5, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.zeros(x.size(0), 5)
            c = torch.zeros(x.size(0), 5)
            outputs = []
            for t in range(x.size(1)):
                h, c = self.cell(x[:, t], (h, c))
                outputs.append(self.fc(h))
            return torch.stack(outputs, dim=1)

    class GruCells(nn.Module):  # type: ignore[misc, name-defined]
        """Two GRUCells on one another; the last state."""

        def __init__(self) -> None:
            super().__init__()
            self.a = nn.GRUCell(3, 5)
            self.b = nn.GRUCell(5, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = x.new_zeros(x.size(1), 5)
            g = x.new_zeros(x.size(1), 4)
            for t in range(x.size(0)):
                h = self.a(x[t], h)
                g = self.b(h, g)
            return g

    class Step(nn.Module):  # type: ignore[misc, name-defined]
        """One step of a decoder: the state is the caller's."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20, 6)
            self.cell = nn.LSTMCell(6, 5)
            self.fc = nn.Linear(5, 20)

        def forward(
            self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            h, c = self.cell(F.relu(self.embedding(x)), (h, c))
            return F.softmax(self.fc(h), dim=-1), h, c

    class Projected(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 6, 2, batch_first=True, proj_size=4)
            self.skip = nn.Linear(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, _ = self.lstm((x - 0.3) / 1.7)
            return y + self.skip(x)

    def ids(n: int, t: int) -> tuple[Any, ...]:
        return (torch.randint(0, 20, (n, t)),)

    def lengths(n: int, t: int) -> Any:
        return torch.cat([torch.tensor([t]), torch.randint(1, t + 1, (n - 1,))])

    def sorted_lengths(n: int, t: int) -> Any:
        return lengths(n, t).sort(descending=True)[0]

    def ids_and_lengths(n: int, t: int) -> tuple[Any, ...]:
        return (*ids(n, t), lengths(n, t).flip(0))

    x = floats(("n", "t", 3))
    return {
        "tagger": lambda: Model(Tagger(), ids, ("nt",)),
        "last": lambda: Model(Last(), x),
        "time_first": lambda: Model(TimeFirst(), floats(("t", "n", 3)), ("tn.",)),
        "states": lambda: Model(States(), floats(("n", "t", 3), (2, "n", 5), (2, "n", 5)), ("nt.", ".n.", ".n.")),
        "zero_states": lambda: Model(ZeroStates(), x),
        "learned_state": lambda: Model(LearnedState(), floats(("t", "n", 3)), ("tn.",)),
        "crnn": lambda: Model(Crnn(), x),
        "image": lambda: Model(Image(), floats(("n", 1, 8, "t")), ("n..t",)),
        "attention": lambda: Model(Attention(), x),
        "self_attention": lambda: Model(SelfAttention(), x),
        "pooled": lambda: Model(Pooled(), x),
        "packed": lambda: Model(Packed(), ids_and_lengths, ("nt", "n")),
        "packed_steps": lambda: Model(
            PackedSteps(), lambda n, t: (torch.randn(t, n, 3), sorted_lengths(n, t)), ("tn.", "n")
        ),
        "cell_loop": lambda: Model(CellLoop(), x),
        "gru_cells": lambda: Model(GruCells(), floats(("t", "n", 3)), ("tn.",)),
        "step": lambda: Model(
            Step(), lambda n, t: (torch.randint(0, 20, (n,)), torch.randn(n, 5), torch.randn(n, 5)), ("n", "n.", "n.")
        ),
        "projected": lambda: Model(Projected(), x),
    }
