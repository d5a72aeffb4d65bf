"""Fourier transforms of ATen's: products with cosines and sines, which a graph has as weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...program.machine import Misfit, Tensor
from ..agree import SizesDiffer
from ..run import Run
from ..tensors import Var
from .complexes import made, parts, side_by_side
from .parts import padded
from .table import COMPLEX, op

#: What numbers are divided by, by the direction and the name of the norm: by n (1), by its root (1/2) or not (0).
_FORWARD = {None: 0.0, "backward": 0.0, "ortho": 0.5, "forward": 1.0}
_BACKWARD = {None: 1.0, "backward": 1.0, "ortho": 0.5, "forward": 0.0}
_BY_CODE = {0: 0.0, 1: 0.5, 2: 1.0}  #: ATen's own functions number them


def _waves(run: Run, n: int, bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Real and imaginary parts of a transform of ``n`` numbers: matrices ``(bins, n)``."""
    run.sizes([bins, n, 2])
    phases = (np.outer(np.arange(bins), np.arange(n)) % n) * (2 * math.pi / n)
    return np.cos(phases), -np.sin(phases)


def _last(run: Run, x: Tensor, dim: Any) -> tuple[Tensor, int]:
    """The tensor with a dimension moved to the end, and where that was."""
    axis = run.axis(dim, x.ndim)
    return run.swapped(x, axis, x.ndim - 1), axis


def _of_length(run: Run, x: Tensor, n: Any) -> Tensor:
    """Its last dimension cut, or padded with zeros, to ``n``."""
    return x if n is None else padded(run, x, [0, run.whole(n) - x.shape[-1]], "constant", 0)


def _norm(run: Run, norms: Any, norm: Any) -> float:
    if norm not in norms:
        raise run.error(f"norm {norm!r}")
    found: float = norms[norm]
    return found


def _real_to_complex(run: Run, self: Any, n: Any, dim: Any, onesided: Any, power: float) -> Var:
    """The transform of a dimension, cut or padded to ``n`` numbers before."""
    moved, axis = _last(run, run.floats(self), dim)
    moved = _of_length(run, moved, n)
    n = moved.shape[-1]
    cos, sin = _waves(run, n, n // 2 + 1 if onesided else n)
    weights = run.constant(np.concatenate([cos, sin]).T / n**power, np.float32)
    both = run.apply("matmul", moved, weights)
    halves = (run.cut(both, both.ndim - 1, k * len(cos), (k + 1) * len(cos)) for k in (0, 1))
    return made(*(run.swapped(h, axis, h.ndim - 1) for h in halves))


@op("fft_rfft")
def rfft(run: Run, self: Any, n: Any = None, dim: Any = -1, norm: Any = None) -> Any:
    return _real_to_complex(run, self, n, dim, True, _norm(run, _FORWARD, norm))


@op("fft_fft")
def fft(run: Run, self: Any, n: Any = None, dim: Any = -1, norm: Any = None) -> Any:
    return _real_to_complex(run, self, n, dim, False, _norm(run, _FORWARD, norm))


@op("_fft_r2c")
def fft_r2c(run: Run, self: Any, dim: Any, normalization: Any, onesided: Any) -> Any:
    (axis,) = run.wholes(dim, "dimensions")
    return _real_to_complex(run, self, None, axis, onesided, _norm(run, _BY_CODE, normalization))


def _complex_to_real(run: Run, self: Any, dim: Any, n: int, power: float) -> Tensor:
    """The inverse of a transform of real numbers."""
    real, imag = (_last(run, p, dim) for p in parts(run, self))
    sides = [_of_length(run, p, n // 2 + 1) for p, _ in (real, imag)]
    joined = run.apply("concat", *sides, axis=sides[0].ndim - 1)
    y = run.apply("matmul", joined, run.constant(_waves_back(run, n) / n**power, np.float32))
    return run.swapped(y, real[1], y.ndim - 1)


def _waves_back(run: Run, n: int) -> NDArray[np.float64]:
    """What makes ``n`` real numbers of the parts of their transform, but for a factor: ``(2 bins, n)``."""
    bins = n // 2 + 1
    twice = np.where((np.arange(bins) == 0) | (2 * np.arange(bins) == n), 1.0, 2.0)[:, None]
    cos, sin = _waves(run, n, bins)
    return np.concatenate([cos * twice, sin * twice])


def irfft(run: Run, self: Any, n: Any = None, dim: Any = -1, norm: Any = None) -> Any:
    real, _ = parts(run, self)
    size = 2 * (real.shape[run.axis(dim, real.ndim)] - 1) if n is None else run.whole(n)
    return _complex_to_real(run, self, dim, size, _norm(run, _BACKWARD, norm))


def fft_c2r(run: Run, self: Any, dim: Any, normalization: Any, last_dim_size: Any) -> Any:
    (axis,) = run.wholes(dim, "dimensions")
    return _complex_to_real(run, self, axis, run.whole(last_dim_size), _norm(run, _BY_CODE, normalization))


@op("fft_irfft", "_fft_c2r", "istft")
def of_real(run: Run, self: Any, *args: Any, **kwargs: Any) -> Any:
    raise run.error("of real numbers it is not supported")


COMPLEX.update({"fft_irfft": irfft, "_fft_c2r": fft_c2r})


# -- short-time transforms ---------------------------------------------------------------------------------


@op("stft")
def stft(
    run: Run,
    self: Any,
    n_fft: Any,
    hop_length: Any = None,
    win_length: Any = None,
    window: Any = None,
    *more: Any,
    center: Any = None,
    pad_mode: Any = "reflect",
    normalized: Any = False,
    onesided: Any = None,
    return_complex: Any = None,
    align_to_window: Any = None,
) -> Any:
    if len(more) > 1 and isinstance(more[1], str):  # the overload that pads
        center, pad_mode, *more = more  # type: ignore[assignment]
    given = dict(zip(("normalized", "onesided", "return_complex"), more, strict=False))
    n = run.whole(n_fft, "n_fft")
    bins = n if given.get("onesided", onesided) is False else n // 2 + 1
    weights = np.concatenate(_waves(run, n, bins)) * _window(run, n, win_length, window)
    weights = weights / math.sqrt(n) if given.get("normalized", normalized) else weights
    x = run.floats(self)
    batched = x if x.ndim > 1 else run.widened(x, 0)
    if center:
        batched = padded(run, batched, [n // 2, n // 2], str(pad_mode), 0)
    if batched.shape[-1] < n:
        raise Misfit(str(run.error(f"{batched.shape[-1]} samples, expected {n} or more")), run.op)
    hop = _hop(run, n, hop_length)
    y = run.apply("conv", run.widened(batched, 1), run.constant(weights[:, None], np.float32), stride=(hop,))
    y = y if x.ndim > 1 else run.dropped(y, 0)
    axis = y.ndim - 2
    found = made(run.cut(y, axis, 0, bins), run.cut(y, axis, bins, 2 * bins))
    return found if given.get("return_complex", return_complex) else side_by_side(run, found)


def _hop(run: Run, n: int, given: Any) -> int:
    """Samples from frame to frame."""
    return max(1, n // 4 if given is None else run.whole(given))


def _window(run: Run, n: int, length: Any, window: Any) -> NDArray[np.float64]:
    """A window in the middle of a transform of ``n`` numbers."""
    own_length = n if length is None else run.whole(length)
    if not 0 < own_length <= n:
        raise run.error(f"a window of {own_length} samples in a transform of {n}")
    own = np.ones(own_length) if window is None else np.asarray(run.array(window, "a window"), np.float64)
    if own.shape != (own_length,):
        raise run.error(f"a window of shape {own.shape}, expected ({own_length},)")
    before = (n - own_length) // 2
    return np.pad(own, (before, n - own_length - before))


def istft(
    run: Run,
    self: Any,
    n_fft: Any,
    hop_length: Any = None,
    win_length: Any = None,
    window: Any = None,
    center: Any = True,
    normalized: Any = False,
    onesided: Any = None,
    length: Any = None,
    return_complex: Any = False,
) -> Any:
    """Frames that are transformed back, windowed and added up where they overlap, by what their windows add up to."""
    if return_complex or onesided is False:
        raise run.error("to complex numbers, or of both sides of a spectrum, it is not supported")
    n = run.whole(n_fft, "n_fft")
    wide, hop = _window(run, n, win_length, window), _hop(run, n, hop_length)
    real, imag = parts(run, self)
    alone = real.ndim == 2
    both = [run.widened(p, 0) if alone else p for p in (real, imag)]
    if both[0].shape[-2] != n // 2 + 1:
        raise SizesDiffer(str(run.error(f"{both[0].shape[-2]} bins, expected {n // 2 + 1}")), run.op,
                          (both[0].shape[-2], n // 2 + 1))  # fmt: skip
    before = n // 2 if center else 0
    total = n + hop * (both[0].shape[-1] - 1)
    behind = before if length is None else 0
    weights = _waves_back(run, n)[:, None] * wide / (math.sqrt(n) if normalized else n)
    ones = run.apply("add", run.apply("mul", run.cut(both[0], 1, 0, 1), run.constant(0, np.float32)),
                     run.constant(1, np.float32))  # fmt: skip
    added, windows = (
        run.apply("conv_transpose", x, run.constant(w, np.float32), stride=(hop,), pads=[(before, behind)])
        for x, w in ((run.apply("concat", *both, axis=1), weights), (ones, (wide**2)[None, None]))
    )
    if length is not None:
        wanted, there = run.whole(length), total - before
        added, windows = (run.cut(t, 2, 0, min(wanted, there)) for t in (added, windows))
    y = run.dropped(run.apply("div", added, windows), 1)
    if length is not None and wanted > there:
        y = padded(run, y, [0, wanted - there], "constant", 0)
    return run.dropped(y, 0) if alone else y


COMPLEX["istft"] = istft
