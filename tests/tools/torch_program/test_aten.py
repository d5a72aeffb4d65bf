"""The table of ATen's operations: each gives the numbers of torch, in place and through views, too."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from helpers.torch_programs import check_numbers, exported, exported_source, script_source, traced, wrapped

torch = pytest.importorskip("torch")
F = torch.nn.functional


def r(*shape: int) -> Any:
    return torch.randn(*shape)


def ints(high: int, *shape: int) -> Any:
    return torch.randint(0, high, shape)


#: A function, and what makes its arguments.
Case = tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]


def one(*shape: int) -> Callable[[], tuple[Any, ...]]:
    return lambda: (r(*shape),)


def two(*shape: int) -> Callable[[], tuple[Any, ...]]:
    return lambda: (r(*shape), r(*shape))


ELEMENTWISE: list[Case] = [
    (lambda x, y: x + 2 * y - y / 3, two(3, 4)),
    (lambda x, y: torch.add(x, y, alpha=0.5) - torch.sub(x, y, alpha=3), two(3, 4)),
    (lambda x, y: 1 - x * y + torch.rsub(x, y), two(3, 4)),
    (lambda x, y: x / (y.abs() + 1) + torch.div(x, 0.3, rounding_mode="floor"), two(3, 4)),
    (lambda x: torch.div(x, 0.3, rounding_mode="trunc") + (x // 0.7), one(3, 4)),
    (lambda x: x**2 + x.abs() ** 0.5 + (x.abs() + 1) ** -1 + x**3 + 2.0**x, one(3, 4)),
    (lambda x, y: torch.maximum(x, y) + torch.minimum(x, y * 2) + torch.max(x, y) + torch.min(x, y), two(3, 4)),
    (lambda x, y: torch.where(x > 0, x, y) + torch.where(y < x, 1.0, 2.0), two(3, 4)),
    (lambda x, y: x.masked_fill(y > 0, -3.0), two(3, 4)),
    (
        lambda x, y: ((x > y) & (x != 0)).float() + ((x <= y) | (y >= 0)).to(torch.float32) + (~(x > 0)).float(),
        two(3, 4),
    ),
    (
        lambda x, y: torch.lerp(x, y, 0.3) + torch.addcmul(x, x, y, value=0.5) + torch.addcdiv(x, x, y.abs() + 1),
        two(3, 4),
    ),
    (lambda x: x.exp() + (x.abs() + 1).log() + x.abs().sqrt() + torch.rsqrt(x.abs() + 1) + x.square(), one(3, 4)),
    (lambda x: x.sin() + x.cos() + x.floor() + x.ceil() + x.round() + x.sign() + torch.erf(x) + x.neg(), one(3, 4)),
    (lambda x: torch.expm1(x) + torch.log1p(x.abs()) + torch.log2(x.abs() + 1) + torch.log10(x.abs() + 1), one(3, 4)),
    (lambda x: torch.reciprocal(x.abs() + 1) + x.trunc() + torch.exp2(x), one(3, 4)),
    (lambda x: torch.sigmoid(x) + x.tanh() + x.relu() + F.relu6(x) + F.softsign(x) + F.tanhshrink(x), one(3, 4)),
    (lambda x: F.leaky_relu(x, 0.2) + F.elu(x, 0.7) + F.celu(x, 0.6) + F.selu(x) + F.silu(x) + F.mish(x), one(3, 4)),
    (lambda x: F.gelu(x) + F.gelu(x, approximate="tanh") + F.softplus(x) + F.softplus(x, beta=2), one(3, 4)),
    (lambda x: F.hardsigmoid(x * 3) + F.hardswish(x * 3) + F.hardtanh(x, -0.5, 0.7) + F.logsigmoid(x), one(3, 4)),
    (lambda x: F.threshold(x, 0.1, 0) + F.threshold(x, 0.1, 5) + F.hardshrink(x) + F.softshrink(x), one(3, 4)),
    (lambda x: x.clamp(-0.5, 0.5) + x.clamp(min=0) + x.clamp(max=0.2) + torch.clamp_min(x, 0.1), one(3, 4)),
    (lambda x, y: torch.clamp(x, y, y + 1), two(3, 4)),
    (lambda x: F.glu(x, -1).sum() + F.softmax(x, 1) + F.log_softmax(x, 0) + F.softmin(x, -1), one(3, 4)),
    (lambda x, w: F.prelu(x, w) + F.prelu(x, w[:1]), lambda: (r(2, 5, 3), r(5))),
    (lambda x: F.rrelu(x, 0.1, 0.3, False), one(3, 4)),
    (lambda i: i * 2 + 1, lambda: (ints(9, 3, 4),)),
    (lambda i, x: i * x + i / 4 + (i > 3) * x, lambda: (ints(9, 3, 4), r(3, 4))),
    (lambda i, x: i.float() * 0.5 + x.long().float() + i.to(x.dtype) + i.type_as(x), lambda: (ints(9, 3, 4), r(3, 4))),
]

REDUCTIONS: list[Case] = [
    (lambda x: x.sum() + x.sum(1) + x.sum((0, 2), keepdim=True).sum(), one(2, 3, 4)),
    (lambda x: x.mean() + x.mean(-1) + x.mean((1, 2), keepdim=True).sum(), one(2, 3, 4)),
    (lambda x: x.max(1)[0] + x.min(1).values + x.amax(1) + x.amin(1), one(2, 3, 4)),
    (lambda x: (x.max(1)[1], x.argmax(2), x.argmin(1, keepdim=True), torch.min(x, 2)[1]), one(2, 3, 4)),
    (lambda x: x.max() + x.min() + x.prod(1), one(2, 3, 4)),
    (lambda x: x.norm(dim=1) + torch.norm(x, p=1, dim=1) + torch.linalg.vector_norm(x, dim=1), one(2, 3, 4)),
    (lambda x: torch.norm(x) + x.norm(p=float("inf"), dim=-1), one(2, 3, 4)),
    (lambda x: torch.logsumexp(x, 1) + torch.cumsum(x, 1)[:, -1] + torch.logcumsumexp(x, -1)[:, -1], one(2, 3, 4)),
    (lambda x: x.var(1) + x.std(1) + x.var(1, unbiased=False) + x.std((1,), correction=0), one(2, 3, 4)),
    (lambda x: torch.var_mean(x, 2)[0] + torch.std_mean(x, 2)[1], one(2, 3, 4)),
    (lambda x: (x > 0).sum(1).float() + (x > 0).any(1).float() + (x > -1).all(1), one(2, 3, 4)),
    (lambda x: F.normalize(x, dim=2) + F.normalize(x, p=2.0, dim=1), one(2, 3, 4)),
    (lambda x, y: F.cosine_similarity(x, y, dim=2), two(2, 3, 4)),
]

VIEWS: list[Case] = [
    (lambda x: x[:, 1] + x[:, -1] + x[:, 0:1].squeeze(1) + x[..., 0, :], one(2, 3, 4)),
    (lambda x: x[:, ::2].sum(1) + x[:, 1:].mean(1) + x.narrow(1, 1, 2)[:, 0], one(2, 3, 4)),
    (lambda x: x.transpose(1, 2).matmul(x) + x.mT @ x, one(2, 3, 4)),
    (lambda x: x.permute(2, 0, 1).reshape(4, -1).t() @ torch.ones(4, 2), one(2, 3, 4)),
    (lambda x: x.view(2, -1) * x.flatten(1) + x.reshape(2, 12), one(2, 3, 4)),
    (lambda x: x.unflatten(2, (2, 2)).sum(2) + torch.movedim(x, 0, 2).movedim(2, 0)[..., :2], one(2, 3, 4)),
    (lambda x: x.unsqueeze(1).expand(-1, 5, -1, -1).sum(1) + x[:, None].repeat(1, 2, 1, 1).mean(1), one(2, 3, 4)),
    (lambda x: torch.cat(x.split(2, 1)[::-1], 1) + torch.cat(x.chunk(2, 1)[::-1], 1), one(2, 3, 4)),
    (lambda x: torch.stack(x.unbind(1), 0).sum(0) + torch.stack([x[:, 0], x[:, 1]], -1).sum(-1), one(2, 3, 4)),
    (lambda x: torch.cat(torch.tensor_split(x, 2, 1)[::-1], 1) + torch.hstack((x[:, :1], x[:, 1:])), one(2, 3, 4)),
    (lambda x: x.flip(1) + x.flip([0, 2]) + torch.roll(x, 1, 1) + torch.roll(x, (-1, 2), (0, 1)), one(2, 3, 4)),
    (lambda x: x.unfold(1, 2, 1).sum(-1) + x[:, :2], one(2, 3, 4)),
    (lambda x: F.pad(x, (1, 2))[..., 1:5] + F.pad(x, (0, 0, 1, -1), value=3.0), one(2, 3, 4)),
    (lambda x: F.pad(x, (1, 2), mode="reflect").sum(-1) + F.pad(x, (2, 1), mode="replicate").sum(-1), one(2, 3, 4)),
    (
        lambda x: x.repeat_interleave(2, 1).sum(1) + x.repeat(1, 2, 1).sum(1) + x.tile(2).sum((1, 2))[:, None],
        one(2, 3, 4),
    ),
    (lambda x: x.tril().sum(-1) + x.triu(1).sum(-1), one(2, 3, 4)),
    (
        lambda x: x.new_zeros(2, 3) + x.new_ones(2, 3) + torch.zeros_like(x)[..., 0] + torch.full_like(x, 2)[..., 0],
        one(2, 3, 4),
    ),
    (
        lambda x: x[..., 0] + torch.arange(3) + torch.ones(2, 3) + torch.linspace(0, 1, 3) + torch.eye(3)[:2],
        one(2, 3, 4),
    ),
    (lambda x: x.size(1) * x + x.shape[0] + x.numel() + x.dim(), one(2, 3, 4)),
    (lambda x: x.contiguous().clone().detach() + x.squeeze() + x.view_as(x), one(2, 3, 4)),
    (lambda x: F.interpolate(x, scale_factor=2)[..., :4] + F.interpolate(x, size=8)[..., 4:], one(2, 3, 4)),
    (
        lambda x: F.interpolate(x, size=10)[..., :3] + F.interpolate(x, size=3) + F.interpolate(x, scale_factor=0.5),
        one(2, 3, 7),
    ),
    (lambda x: F.interpolate(x, size=9, mode="nearest-exact"), one(2, 3, 7)),
    (lambda x: F.interpolate(x, size=2, mode="nearest-exact"), one(2, 3, 7)),
    (
        lambda x: F.interpolate(x, scale_factor=2, mode="linear")[..., :4] + F.interpolate(x, size=4, mode="linear"),
        one(2, 3, 5),
    ),
    (lambda x: F.interpolate(x, size=9, mode="linear", align_corners=True), one(2, 3, 4)),
    (lambda x: F.interpolate(x, scale_factor=0.5, mode="linear"), one(2, 3, 7)),
    (lambda x: F.interpolate(x, scale_factor=(2, 1.5), mode="bilinear"), one(2, 3, 3, 4)),
    (lambda x: F.interpolate(x, size=(3, 7), mode="bilinear", align_corners=True), one(2, 3, 2, 4)),
    (lambda x: F.interpolate(x, scale_factor=(2, 3)) + F.interpolate(x, size=(4, 9), mode="nearest-exact"),
     one(2, 3, 2, 3)),
    (
        lambda x: F.pairwise_distance(x, x.flip(0)) + F.pairwise_distance(x, x + 1, p=1, keepdim=True)[..., 0],
        one(2, 3, 4),
    ),
    (lambda x: F.pixel_shuffle(x, 2), one(2, 8, 3, 3)),
    (lambda x: F.unfold(x, (2, 3), (1, 2), (1, 0), (2, 1)), one(2, 3, 5, 6)),
    (lambda x: F.unfold(x, (3, 6)) + F.unfold(x[0], (3, 6)), one(2, 3, 5, 6)),
]

PICKING: list[Case] = [
    (lambda x: x[:, torch.tensor([2, 0])] + torch.index_select(x, 1, torch.tensor([0, 1])), one(2, 3, 4)),
    (
        lambda x: x[torch.tensor([0, 1]), torch.tensor([2, 1])] + x[:, torch.tensor([True, False, False])][:, 0],
        one(2, 3, 4),
    ),
    (
        lambda x, i: x[torch.arange(2), i] + x.gather(1, i.view(2, 1, 1).expand(2, 1, 4)).squeeze(1),
        lambda: (r(2, 3, 4), ints(3, 2)),
    ),
    (lambda x, i: torch.gather(x, 2, i), lambda: (r(2, 3, 4), ints(4, 2, 3, 4))),
    (lambda i, w: F.embedding(i, w) + w[i], lambda: (ints(7, 2, 3), r(7, 4))),
    (lambda i: F.one_hot(i, 7).float() * 2, lambda: (ints(7, 2, 3),)),
    (lambda x: torch.masked_select(x, torch.tensor([True, False, True, True])), one(4)),
]


def in_place(x: Any) -> Any:
    y = x.clone()
    y.add_(1).mul_(2)
    y.relu_()
    y.clamp_(max=3)
    return y


def filled(x: Any) -> Any:
    out = torch.zeros(x.size(0), x.size(1), 4)
    h = torch.zeros(x.size(0), 4)
    for t in range(x.size(1)):
        h = torch.tanh(x[:, t] + h)
        out[:, t] = h
    return out, out[:, 1] * 2


def filled_from_itself(x: Any) -> Any:
    out = torch.zeros_like(x)
    out[:, 0] = x[:, 0]
    for t in range(1, x.size(1)):
        out[:, t, 1:3] = out[:, t - 1, :2] + x[:, t, 1:3]
    return out


def written(x: Any) -> Any:
    y = x.clone()
    y[:, 0] = 5.0
    y[0] += 1
    y[:, :, 1].mul_(3)
    y[:, 1:] = y[:, :-1].clone()
    y[1, 2, 3].fill_(7)
    y.transpose(0, 1)[1].zero_()
    y.view(2, 12)[:, 3].add_(1)
    y[:, ::2] *= 2
    return y


def several_names(x: Any) -> Any:
    y = x * 1
    z = y[:, 1]
    z += 1
    w = y.unsqueeze(0)
    y.mul_(2)
    return y, z, w


def reshaped_then_written(x: Any) -> Any:
    y = (x * 2).flatten(1)
    y.relu_()
    y.unsqueeze_(1)
    return y


def by_mask(x: Any) -> Any:
    y = x.clone()
    y[y > 0] = 0.5
    y[:, torch.tensor([0, 2])] = 1.0
    return y.masked_fill_(y < -1, 2.0)


IN_PLACE: list[Case] = [
    (f, one(2, 3, 4))
    for f in (in_place, filled, filled_from_itself, written, several_names, reshaped_then_written, by_mask)
]

LAYERS: list[Case] = [
    (lambda x, w, b: F.linear(x, w, b) + F.linear(x, w), lambda: (r(2, 3, 4), r(5, 4), r(5))),
    (lambda x, w: x.matmul(w) + torch.einsum("bti,io->bto", x, w), lambda: (r(2, 3, 4), r(4, 5))),
    (
        lambda x, y: torch.bmm(x, y) + torch.einsum("bij,bjk->bik", x, y) + torch.baddbmm(x.new_ones(1), x, y, beta=2),
        lambda: (r(2, 3, 4), r(2, 4, 5)),
    ),
    (
        lambda b, x, y: torch.addmm(b, x, y, beta=0.5, alpha=2) + x.mm(y) + torch.mv(x, y[:, 0])[:, None],
        lambda: (r(5), r(3, 4), r(4, 5)),
    ),
    (lambda x, y: torch.einsum("bth,bh->bt", x, y), lambda: (r(2, 3, 4), r(2, 4))),
    (lambda x, y: torch.einsum("bqhd,bkhd->bhqk", x, y), two(2, 3, 4, 5)),
    (lambda x: torch.einsum("ij->ji", x) @ x + torch.einsum("ij,ik->jk", x, x) + torch.outer(x[0], x[1]), one(3, 4)),
    (
        lambda x, w, b: F.conv1d(x, w, b, padding=1) + F.conv1d(x, w, padding="same"),
        lambda: (r(2, 4, 9), r(6, 4, 3), r(6)),
    ),
    (
        lambda x, w: F.conv1d(x, w, stride=2, dilation=2, groups=2) + F.conv1d(x[0], w, stride=2, dilation=2, groups=2),
        lambda: (r(2, 4, 9), r(6, 2, 3)),
    ),
    (lambda x, w, b: F.conv2d(x, w, b, stride=(1, 2), padding=(1, 0)), lambda: (r(2, 3, 8, 7), r(5, 3, 3, 2), r(5))),
    (
        lambda x, w, b: F.conv_transpose1d(x, w, b, stride=2, padding=1, output_padding=1),
        lambda: (r(2, 4, 5), r(4, 3, 3), r(3)),
    ),
    (lambda x: F.max_pool1d(x, 2) + F.avg_pool1d(x, 2) + F.max_pool1d(x, 2, 2, ceil_mode=True)[..., :4], one(2, 4, 9)),
    (
        lambda x: (
            F.max_pool1d(x, 3, 1, 1) + F.avg_pool1d(x, 3, 1, 1) + F.avg_pool1d(x, 3, 1, 1, count_include_pad=False)
        ),
        one(2, 4, 9),
    ),
    (lambda x: F.max_pool2d(x, 2) + F.avg_pool2d(x, (2, 2)), one(2, 3, 8, 6)),
    (
        lambda x: (
            F.adaptive_avg_pool1d(x, 1)
            + F.adaptive_max_pool1d(x, 1)
            + F.adaptive_avg_pool1d(x, 4).sum(-1, keepdim=True)
        ),
        one(2, 3, 8),
    ),
    (lambda x: F.adaptive_avg_pool2d(x, (1, None)) + F.adaptive_avg_pool2d(x, (1, 6)), one(2, 3, 8, 6)),
    (
        lambda x, m, v, w, b: F.batch_norm(x, m, v.abs() + 1, w, b) + F.batch_norm(x, m, v.abs() + 1),
        lambda: (r(2, 3, 5), r(3), r(3), r(3), r(3)),
    ),
    (lambda x, w, b: F.layer_norm(x, (4,), w, b) + F.layer_norm(x, (3, 4)), lambda: (r(2, 3, 4), r(4), r(4))),
    (lambda x, w, b: F.group_norm(x, 2, w, b) + F.instance_norm(x), lambda: (r(2, 4, 5), r(4), r(4))),
    (lambda x, w: F.rms_norm(x, (4,), w, 1e-5), lambda: (r(2, 3, 4), r(4))),
    (lambda x: F.dropout(x, 0.5, False) + F.alpha_dropout(x, 0.5, False), one(2, 3)),
    (
        lambda q, k, v: (
            F.scaled_dot_product_attention(q, k, v) + F.scaled_dot_product_attention(q, k, v, is_causal=True)
        ),
        lambda: (r(2, 3, 5, 4), r(2, 3, 5, 4), r(2, 3, 5, 4)),
    ),
    (
        lambda q, k, v, m: (
            F.scaled_dot_product_attention(q, k, v, m) + F.scaled_dot_product_attention(q, k, v, m > 0, scale=0.3)
        ),
        lambda: (r(2, 3, 5, 4), r(2, 3, 6, 4), r(2, 3, 6, 4), r(5, 6) + 2),
    ),
    (lambda x, y, w, b: F.bilinear(x, y, w, b), lambda: (r(3, 4), r(3, 5), r(2, 4, 5), r(2))),
]

W = torch.hann_window(8)
SPECTRA: list[Case] = [
    (lambda x: torch.stft(x, 8, 2, window=W, return_complex=True).abs(), one(3, 30)),
    (lambda x: torch.view_as_real(torch.stft(x, 10, 4, 8, W, center=False, return_complex=True)), one(2, 31)),
    (lambda x: torch.stft(x, 8, normalized=True, onesided=False, window=W, return_complex=True).imag, one(40)),
    (lambda x: torch.stft(x, 8, 3, pad_mode="constant", window=W, return_complex=True).abs() ** 2, one(2, 20)),
    (lambda x: torch.fft.rfft(x.unfold(-1, 8, 2) * W).abs(), one(3, 20)),
    (lambda x: torch.view_as_real(torch.fft.rfft(x, dim=1, norm="ortho") * 2), one(2, 7, 3)),
    (lambda x: torch.fft.irfft(torch.fft.rfft(x, n=12), n=12) + torch.fft.irfft(torch.fft.rfft(x, 12)), one(2, 9)),
    (lambda x: torch.fft.irfft(torch.fft.rfft(x, norm="forward"), n=7, norm="forward"), one(2, 7)),
    (lambda x: torch.fft.fft(x).real + torch.fft.rfft(x, n=8).conj().imag.sum(-1, keepdim=True), one(2, 5)),
    (lambda x, y: torch.view_as_real(complex_arithmetic(torch.fft.rfft(x), torch.fft.rfft(y))), two(3, 8)),
    (lambda x: torch.view_as_complex(x).transpose(0, 1)[1:].abs().sum(-1), one(3, 4, 2)),
    (lambda x, y: torch.view_as_real(torch.stack([torch.complex(x, y), torch.polar(x, y)], 1)), two(3, 4)),
]
#: What core ATen takes apart into sums into places, which are not read.
INVERSE: list[Case] = [
    (lambda x: torch.istft(torch.stft(x, 8, 2, window=W, return_complex=True) * 2, 8, 2, window=W), one(3, 30)),
    (lambda x: torch.istft(torch.stft(x, 6, 4, return_complex=True, normalized=True), 6, 4, normalized=True), one(40)),
    (
        lambda x: torch.istft(torch.stft(x, 8, 3, 6, W[1:7], return_complex=True), 8, 3, 6, W[1:7], length=33),
        one(2, 30),
    ),
]


def complex_arithmetic(a: Any, b: Any) -> Any:
    return a * b - b / (a + 2) + torch.cat([a[:, :2] * a.abs()[:, :2], b[:, 2:] ** 2], 1) - 3 * a.conj() / 2


FAMILIES = {
    "spectra": SPECTRA,
    "elementwise": ELEMENTWISE,
    "reductions": REDUCTIONS,
    "views": VIEWS,
    "picking": PICKING,
    "in_place": IN_PLACE,
    "layers": LAYERS,
}
WRITTEN = FAMILIES | {"inverse": INVERSE}
CASES = {f"{family}-{i}": case for family, cases in WRITTEN.items() for i, case in enumerate(cases)}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_traced(name: str) -> None:
    function, make = CASES[name]
    torch.manual_seed(len(name))
    module, args = wrapped(torch, function), make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = script_source(traced(torch, module, args))
    check_numbers(source, module, args)
    check_numbers(source, module, make())


@pytest.mark.parametrize("decompose", [False, True], ids=["as written", "core"])
@pytest.mark.parametrize("family", FAMILIES)
def test_operations_exported(family: str, decompose: bool) -> None:
    """All of a family in one program: an export takes long."""
    torch.manual_seed(len(family))
    cases = FAMILIES[family]

    def all_of_them(*args: Any) -> Any:
        given = iter(args)
        return [function(*(next(given) for _ in range(n))) for (function, _), n in zip(cases, counts, strict=True)]

    def make_all() -> tuple[Any, ...]:
        return tuple(a for _, make in cases for a in make())

    counts = [len(make()) for _, make in cases]
    module, args = wrapped(torch, all_of_them), make_all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = exported_source(exported(torch, module, args, decompose=decompose))
    check_numbers(source, module, args)
    check_numbers(source, module, make_all())
