"""Live modules by their operations of ATen's: everyday models against torch, and what stays refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.torch_modules import check_selftest, compiled
from lstm_rt_tools.torch_reader.from_torch import from_torch

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

H, OUT = 8, 3


def module_of(torch: Any, forward: Callable[..., Any], **made: Any) -> Any:
    """A module in eval mode: an LSTM from 5 to 8, a Linear from there to 3, and what else ``made`` names."""
    nn = torch.nn

    class User(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.rec = nn.LSTM(5, H, batch_first=True)
            self.fc = nn.Linear(H, OUT)
            for name, part in made.items():
                setattr(self, name, part)
            for part in self.modules():
                if hasattr(part, "running_var"):
                    part.running_mean.normal_()
                    part.running_var.uniform_(0.5, 2)

        def forward(self, *args: Any) -> Any:
            return forward(torch, self, *args)

    return User().eval()


def conv_front(torch: Any, s: Any, x: Any) -> Any:
    y = torch.relu(s.bn(s.conv(x.transpose(1, 2))))
    return s.fc(s.rec(y.transpose(1, 2))[0])


def channels_first(torch: Any, s: Any, x: Any) -> Any:
    y = torch.nn.functional.max_pool1d(torch.relu(s.bn(s.conv(x))), 2)
    return s.fc(s.rec(y.permute(0, 2, 1))[0][:, -1])


def conv2d(torch: Any, s: Any, x: Any) -> Any:
    y = torch.relu(s.conv(x.unsqueeze(1)))
    return s.fc(s.rec(y.permute(0, 2, 1, 3).flatten(2))[0])


def frames(torch: Any, s: Any, x: Any) -> Any:
    n, t = x.shape[:2]
    return s.fc(s.rec(torch.relu(s.conv(x.flatten(0, 1))).flatten(1).view(n, t, -1))[0])


def attention_pooling(torch: Any, s: Any, x: Any) -> Any:
    y = s.rec(x)[0]
    weights = torch.softmax(s.score(torch.tanh(y)).squeeze(-1), 1)
    return s.fc(torch.bmm(weights.unsqueeze(1), y).squeeze(1))


def self_attention(torch: Any, s: Any, x: Any) -> Any:
    y = s.rec(x)[0]
    return s.fc(s.ln(y + s.attention(y, y, y)[0]))


def cross_attention(torch: Any, s: Any, x: Any, memory: Any) -> Any:
    y = s.rec(x)[0]
    return s.fc(y + s.attention(y, memory, memory, need_weights=False)[0])


def dot_product(torch: Any, s: Any, x: Any) -> Any:
    y = s.rec(x)[0]
    return s.fc(torch.nn.functional.scaled_dot_product_attention(y, y, y, is_causal=True))


def pooled(torch: Any, s: Any, x: Any) -> Any:
    y = s.rec(x)[0]
    return s.head(torch.cat([y.mean(1), y.max(1)[0], y.amin(1)], -1))


def states_flattened(torch: Any, s: Any, x: Any) -> Any:
    _, (h, c) = s.rec(x)
    return s.fc(h.view(-1, H)), s.head(torch.cat([h, c, h * c], 2).transpose(0, 1).flatten(1))


def cells(torch: Any, s: Any, x: Any) -> Any:
    h, c = x.new_zeros(x.shape[0], H), x.new_zeros(x.shape[0], H)
    out = []
    for t in range(x.shape[1]):
        h, c = s.cell(x[:, t], (h, c))
        out.append(h)
    return s.fc(torch.stack(out, 1))


def gru_cells(torch: Any, s: Any, x: Any) -> Any:
    h, out = None, []
    for step in x.unbind(1):
        h = s.cell(step, h)
        out.append(h.unsqueeze(1))
    return s.fc(torch.cat(out, 1)), h


def gated(torch: Any, s: Any, x: Any) -> Any:
    F = torch.nn.functional
    y = s.rec(x)[0]
    return s.fc(F.normalize(F.glu(torch.cat([y, y * 2], -1), -1) + y, dim=-1)) * torch.sigmoid(s.gate(y))


def learned_states(torch: Any, s: Any, x: Any) -> Any:
    states = tuple(p.expand(-1, x.shape[0], -1).contiguous() for p in (s.h0, s.c0))
    return s.fc(s.rec(x, states)[0].cumsum(1))


def written(torch: Any, s: Any, x: Any) -> Any:
    y = s.rec(x)[0]
    out = torch.zeros(x.shape[0], x.shape[1], 2 * OUT)
    out[:, :, :OUT] = s.fc(y)
    out[..., OUT:] = torch.einsum("bth,oh->bto", y, s.fc.weight)
    return out


Modules = Callable[[Any], dict[str, Any]]
#: Forward, its layers, shapes of the inputs with 0 for the batch and -1 for the steps.
MODELS: dict[str, tuple[Callable[..., Any], Modules, list[tuple[int, ...]]]] = {
    "conv front": (
        conv_front, lambda nn: {"conv": nn.Conv1d(5, 5, 3, padding=1, stride=2), "bn": nn.BatchNorm1d(5)}, [(0, -1, 5)],
    ),
    "channels first": (
        channels_first, lambda nn: {"conv": nn.Conv1d(4, 5, 3, padding=1), "bn": nn.BatchNorm1d(5)}, [(0, 4, -1)],
    ),
    "conv2d": (
        conv2d,
        lambda nn: {"conv": nn.Conv2d(1, 3, 3, padding=1), "rec": nn.GRU(15, H, batch_first=True)},
        [(0, -1, 5)],
    ),
    "frames": (
        frames,
        lambda nn: {"conv": nn.Conv2d(2, 3, 3, stride=2), "rec": nn.LSTM(12, H, batch_first=True)},
        [(0, -1, 2, 5, 6)],
    ),
    "attention pooling": (attention_pooling, lambda nn: {"score": nn.Linear(H, 1)}, [(0, -1, 5)]),
    "self-attention": (
        self_attention,
        lambda nn: {"attention": nn.MultiheadAttention(H, 2, batch_first=True), "ln": nn.LayerNorm(H)},
        [(0, -1, 5)],
    ),
    "cross-attention": (
        cross_attention,
        lambda nn: {"attention": nn.MultiheadAttention(H, 2, batch_first=True)},
        [(0, -1, 5), (0, -1, H)],
    ),
    "transformer layer": (
        lambda torch, s, x: s.fc(s.layer(s.rec(x)[0])),
        lambda nn: {"layer": nn.TransformerEncoderLayer(H, 2, 16, batch_first=True)},
        [(0, -1, 5)],
    ),
    "dot product": (dot_product, lambda nn: {}, [(0, -1, 5)]),
    "pooled": (pooled, lambda nn: {"head": nn.Linear(3 * H, OUT)}, [(0, -1, 5)]),
    "every second step": (lambda torch, s, x: s.fc(s.rec(x[:, ::2])[0]), lambda nn: {}, [(0, -1, 5)]),
    "states flattened": (states_flattened, lambda nn: {"head": nn.Linear(3 * H, OUT)}, [(0, -1, 5)]),
    "LSTMCell": (cells, lambda nn: {"cell": nn.LSTMCell(5, H)}, [(0, -1, 5)]),
    "GRUCell": (gru_cells, lambda nn: {"cell": nn.GRUCell(5, H)}, [(0, -1, 5)]),
    "gated": (gated, lambda nn: {"gate": nn.Linear(H, 1)}, [(0, -1, 5)]),
    "learned states": (
        learned_states,
        lambda nn: {"h0": nn.Parameter(nn.init.normal_(nn.Linear(H, 1).weight.data[None])),
                    "c0": nn.Parameter(nn.init.normal_(nn.Linear(H, 1).weight.data[None]))},
        [(0, -1, 5)],
    ),
    "written": (written, lambda nn: {}, [(0, -1, 5)]),
    "unbatched": (lambda torch, s, x: s.fc(s.rec(x)[0]), lambda nn: {}, [(-1, 5)]),
}  # fmt: skip


def shapes(inputs: list[tuple[int, ...]], rows: int, steps: int) -> list[tuple[int, ...]]:
    return [tuple(rows if n == 0 else steps + i if n == -1 else n for n in shape) for i, shape in enumerate(inputs)]


@pytest.mark.parametrize("which", MODELS)
def test_everyday_models(torch: Any, which: str) -> None:
    forward, made, inputs = MODELS[which]
    module = module_of(torch, forward, **made(torch.nn))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    graph = from_torch(module, tuple(torch.randn(s) for s in shapes(inputs, 4, 12)))
    check_selftest(graph)
    assert graph.meta["selftest"] == "the module's own outputs for random inputs"
    for rows, steps in ((1, 12), (5, 7), (5, 31)):
        x = [torch.randn(s) for s in shapes(inputs, rows, steps)]
        with torch.no_grad():
            theirs = module(*x)
        theirs = theirs if isinstance(theirs, tuple) else (theirs,)
        for mine, wanted in zip(compiled(graph, [a.numpy() for a in x]), theirs, strict=True):
            np.testing.assert_allclose(mine, wanted.numpy(), atol=2e-5, rtol=2e-5)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert torch.backends.mha.get_fastpath_enabled()


def test_packed_sequences_and_what_the_recorder_lacks(torch: Any) -> None:
    def forward(torch: Any, s: Any, x: Any, n: Any) -> Any:
        rnn = torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False)
        y, _ = rnn.pad_packed_sequence(s.rec(packed)[0], batch_first=True)
        return s.fc(torch.nn.functional.normalize(y, dim=-1))

    module = module_of(torch, forward)
    graph = from_torch(module, (torch.randn(3, 9, 5), torch.tensor([4, 9, 6])))
    x, n = torch.randn(4, 7, 5), torch.tensor([3, 7, 1, 7])
    with torch.no_grad():
        theirs = module(x, n).numpy()
    np.testing.assert_allclose(compiled(graph, [x.numpy(), n.numpy().astype(np.int32)])[0], theirs, atol=2e-5)
    assert "packs sequences by their lengths" in graph.meta["notes"][0]


def test_names_of_layers_and_of_outputs(torch: Any) -> None:
    module = module_of(
        torch, lambda torch, s, x: {"y": s.head(s.rec(x)[0]).cumsum(1)}, head=torch.nn.Sequential(torch.nn.Linear(H, 2))
    )
    graph = from_torch(module, torch.randn(2, 6, 5))
    assert [(n.op, n.name) for n in graph.nodes][:2] == [("lstm", "rec"), ("dense", "head.0")]
    assert [graph.values[o].name for o in graph.outputs] == ["output"]
    both = module_of(torch, lambda torch, s, x: {"y": s.rec(x)[0].mean(1), "last": s.rec(x)[0][:, -1]})
    graph = from_torch(both, torch.randn(2, 6, 5))
    assert [graph.values[o].name for o in graph.outputs] == ["output_y", "output_last"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_weights_of_other_types(torch: Any, dtype: str) -> None:
    module = module_of(torch, lambda torch, s, x: s.fc(s.rec(x)[0].mean(1))).to(getattr(torch, dtype))
    check_selftest(from_torch(module, torch.randn(2, 6, 5)))


def test_one_number_of_steps(torch: Any) -> None:
    module = module_of(torch, lambda torch, s, x: s.head(s.rec(x)[0].flatten(1)), head=torch.nn.Linear(6 * H, 2))
    graph = from_torch(module, torch.randn(2, 6, 5))
    check_selftest(graph)
    assert graph.meta["notes"] == ["the model takes 6 steps only, as the module does"]


def test_a_module_that_keeps_things_is_put_back(torch: Any) -> None:
    def forward(torch: Any, s: Any, x: Any) -> Any:
        s.calls, s.last = s.calls + 1, s.rec(x)[0].mean(1)
        s.count.add_(1)
        return s.fc(s.last)

    module = module_of(torch, forward, calls=0, last=None, count=torch.zeros(1)).train()
    graph = from_torch(module, torch.randn(2, 6, 5))
    check_selftest(graph)
    assert (module.calls, module.last, float(module.count), module.training) == (0, None, 0.0, True)
    assert any(n.startswith("the module's forward changes") and "calls" in n for n in graph.meta["notes"])


def carried(torch: Any, s: Any, x: Any) -> Any:
    s.total = s.total + s.rec(x)[0].mean(1)
    return s.total


def looks(torch: Any, s: Any, x: Any) -> Any:
    y = s.rec(x)[0].mean(1)
    return y if y.sum() > 0 else -y


def steps_by_hand(torch: Any, s: Any, x: Any) -> Any:
    h, c, out = x.new_zeros(x.shape[0], H), x.new_zeros(x.shape[0], H), []
    for t in range(x.shape[1]):
        h, c = s.cell(x[:, t], (h, torch.tanh(c)))
        out.append(h)
    return s.fc(torch.stack(out, 1))


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "random": (lambda torch, s, x: s.rec(x)[0].mean(1) * torch.rand(1), r"two runs .* differ|random"),
    "state": (carried, r"depend on its earlier calls \(its forward changes total\)"),
    "numbers": (looks, r"sum: it goes over the batch \(.*test_operations.py:\d+: return y if"),
    "list": (
        lambda torch, s, x: s.rec(x)[0].mean(1) * x.mean().tolist(), r"Tensor.tolist.*depend on the numbers",
    ),
    "unknown": (lambda torch, s, x: torch.special.i0(s.rec(x)[0]), r"i0: this .* not supported \("),
    "short floats": (
        lambda torch, s, x: s.rec(x)[0].mean(1).bfloat16().float(), r"it computes in torch.bfloat16",
    ),
    "steps that no layer has": (steps_by_hand, r"no recurrent cell of a known kind"),
    "other steps": (
        lambda torch, s, x: s.rec(x)[0].mean(1) * (2 if x.shape[1] > 90 else 1),
        r"with 1 row of 128 steps, .*differs from the module's by .*the module does something there",
    ),
}  # fmt: skip


def test_numbers_that_decide(torch: Any) -> None:
    module = module_of(torch, lambda torch, s, x: s.rec(x)[0] * (2 if s.rec(x)[0].mean() > 0 else 1))
    with pytest.raises(ConvertError, match=r"aten\._local_scalar_dense.*depend on the numbers of its input"):
        from_torch(module, torch.randn(6, 5))


def test_truths(torch: Any) -> None:
    """As features, and as a mask."""
    module = module_of(torch, lambda torch, s, x: s.rec(x.float())[0])
    x = torch.randn(2, 6, 5) > 0
    graph = from_torch(module, x)
    with torch.no_grad():
        want = module(x).numpy()
    np.testing.assert_allclose(Model(dumps(graph))(x.float().numpy()), want, atol=1e-5)
    masked = module_of(torch, lambda torch, s, x, counts: (s.rec(x)[0] * counts.unsqueeze(2)).sum(1))
    x, counts = torch.randn(2, 6, 5), torch.randn(2, 6) > 0
    graph = from_torch(masked, (x, counts))
    with torch.no_grad():
        want = masked(x, counts).numpy()
    np.testing.assert_allclose(Model(dumps(graph))(x.numpy(), counts.float().numpy()), want, atol=1e-5)


@pytest.mark.parametrize("which", REFUSED)
def test_what_is_refused(torch: Any, which: str) -> None:
    forward, message = REFUSED[which]
    module = module_of(torch, forward, total=0, cell=torch.nn.LSTMCell(5, H))
    x = torch.randn(2, 6, 5)
    with pytest.raises(ConvertError, match=message) as info:
        from_torch(module, x)
    assert "\n" not in str(info.value)
    assert module.total == 0


def test_examples_larger_than_what_is_tried_without(torch: Any) -> None:
    """Sizes are tried around the example, whatever its own are."""
    module = torch.nn.Conv1d(20000, 2, 1, groups=2).eval()
    x = torch.randn(2, 20000, 14)
    graph = from_torch(module, x)
    with torch.no_grad():
        want = module(x).numpy()
    np.testing.assert_allclose(Model(dumps(graph))(x.numpy()), want, atol=1e-4)
