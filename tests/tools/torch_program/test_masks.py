"""Padding and lengths where a module computes with them: pooling, scores and choices under masks, against PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.torch_programs import traced
from lstm_rt_tools import from_torch

from lstm_rt import Model
from lstm_rt.format import dumps

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Net(nn.Module):  # type: ignore[misc, name-defined]
    """Layers that ``rest`` puts together: of ids, or of features and their lengths."""

    def __init__(self, rest: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embedding, self.lstm = nn.Embedding(5, 6), nn.LSTM(6, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.score, self.out, self.rest = nn.Linear(8, 1), nn.Linear(8, 2), rest

    def steps(self, x: Any) -> Any:
        return self.lstm(x if x.is_floating_point() else self.embedding(x))[0]

    def forward(self, *args: Any) -> Any:
        return self.rest(self, *args)


def mean_of_tokens(net: Net, x: Any) -> Any:
    mask = (x != 0).float().unsqueeze(-1)
    return net.out((net.steps(x) * mask).sum(1) / mask.sum(1).clamp(min=1e-9))


def largest_of_tokens(net: Net, x: Any) -> Any:
    return net.out(net.steps(x).masked_fill((x == 0).unsqueeze(-1), -1e9).max(dim=1).values)


def two_tokens(net: Net, x: Any) -> Any:
    mask = (x != 0) & (x != 3) | (x == 1)
    return net.out(net.steps(x) * mask.unsqueeze(2)), mask.float()


def inverted(net: Net, x: Any) -> Any:
    padding = (x == 0).unsqueeze(-1)
    return torch.where(padding, net.steps(x) * 0.5, net.steps(x).relu()), (padding == 0).sum(1)


def keys_without_padding(net: Net, x: Any) -> Any:
    y = net.steps(x)
    return net.out(net.attention(y, y, y, key_padding_mask=x == 0, need_weights=False)[0])


def encoder_with_padding(net: Net, x: Any) -> Any:
    return net.out(net.encoder(net.steps(x), src_key_padding_mask=x == 0))


def within(x: Any, lengths: Any) -> Any:
    return torch.arange(x.size(1))[None, :] < lengths[:, None]


def mean_of_lengths(net: Net, x: Any, lengths: Any) -> Any:
    return net.out((net.steps(x) * within(x, lengths).unsqueeze(-1)).sum(1) / lengths.unsqueeze(1).float())


def largest_of_lengths(net: Net, x: Any, lengths: Any) -> Any:
    beyond = torch.arange(1, x.size(1) + 1)[None, :] > lengths[:, None]
    return net.out(net.steps(x).masked_fill(beyond.unsqueeze(2), -1e9).max(1)[0])


def weights_of_lengths(net: Net, x: Any, lengths: Any) -> Any:
    y = net.steps(x)
    scores = net.score(y).squeeze(2).masked_fill(~within(x, lengths), -1e9)
    return net.out((torch.softmax(scores, 1).unsqueeze(2) * y).sum(1)), lengths.float() / 7


def mean_of_packed(net: Net, x: Any, lengths: Any) -> Any:
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, count = nn.utils.rnn.pad_packed_sequence(net.lstm(packed)[0], batch_first=True)
    return net.out(y.sum(1) / count.unsqueeze(1).float()), y.max(1)[0]


TOKENS = (mean_of_tokens, largest_of_tokens, two_tokens, inverted, keys_without_padding, encoder_with_padding)
LENGTHS = (mean_of_lengths, largest_of_lengths, weights_of_lengths, mean_of_packed)


def inputs(rest: Any, n: int, t: int) -> tuple[Any, ...]:
    if rest in TOKENS:
        ids = torch.randint(0, 5, (n, t))
        ids[:, 0] = 1
        return (ids,)
    lengths = torch.randint(1, t + 1, (n,))
    lengths[-1] = t
    return torch.randn(n, t, 6), lengths


@pytest.mark.parametrize("rest", TOKENS + LENGTHS, ids=lambda f: f.__name__)
def test_masks_are_numbers_too(rest: Any, tmp_path: Path) -> None:
    torch.manual_seed(2)
    net = Net(rest).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (tmp_path / "m.pt").write_bytes(traced(torch, net, inputs(rest, 3, 9)))
    model = Model(dumps(from_torch(tmp_path / "m.pt")))
    for n, t in ((5, 7), (1, 12), (4, 40)):
        args = inputs(rest, n, t)
        with torch.no_grad():
            want = net(*args)
        want = want if isinstance(want, tuple) else (want,)
        feeds = [a.numpy() if a.is_floating_point() else a.numpy().astype(np.int32) for a in args]
        got = model(*feeds)
        for mine, theirs in zip(got if isinstance(got, tuple) else (got,), want, strict=False):
            np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-4, atol=1e-5)
