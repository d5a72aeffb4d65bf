"""Measures the error of every activation against float64, over all floats or every n-th.

    python tests/measure_activations.py                       every float (minutes per activation)
    python tests/measure_activations.py --every 64 gelu elu   every 64th bit pattern
    python tests/measure_activations.py --kernels portable
    python tests/measure_activations.py --table               the bounds that docs/numerics.md states

The bounds in docs/numerics.md come from here, and tests/runtime/test_activations.py asserts them. An ulp is
the distance of neighbouring float32 numbers at the exact result, 2**-149 at least.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lstm_rt._core import activate

BLOCK = 1 << 21
INF = math.inf


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _softplus(x):
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def _gelu(x):
    y = np.where(x > 0, x, -0.0)  # what 0.5 x erfc(-x / sqrt(2)) is in float64 beyond 60
    near = np.abs(x) < 60
    arg = x[near] * -math.sqrt(0.5)
    y[near] = 0.5 * x[near] * np.fromiter(map(math.erfc, arg.tolist()), np.float64, arg.size)
    return y


def _gelu_tanh(x):
    # 0.5 x (1 + tanh u) = x sigmoid(2u), which does not cancel
    with np.errstate(over="ignore"):
        return np.where(x < -60, -0.0, x * _sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def _mish(x):
    # tanh(ln(1 + e)) = n / (n + 2) with n = e (e + 2)
    e = np.exp(np.minimum(x, 300))
    n = e * (e + 2)
    return np.where(x > 300, x, x * (n / (n + 2)))


def _hard_swish(x):
    return x * np.clip((x + 3) / 6, 0, 1)


def _erf(x):
    return np.fromiter(map(math.erf, x.tolist()), np.float64, x.size)


def _f32(x):
    return float(np.float32(x))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@dataclass(frozen=True)
class Range:
    """Bounds that hold for lo <= x < hi: absolute, or in ulps of the exact result; None: not stated."""

    lo: float
    hi: float
    absolute: float | None
    ulps: float | None


@dataclass(frozen=True)
class Case:
    """An activation, its exact form in float64 and the bounds it must keep."""

    name: str
    code: int
    alpha: float
    beta: float
    exact: Callable[[np.ndarray], np.ndarray]
    ranges: tuple[Range, ...]


SIXTH = float(np.float32(1 / 6))

# fmt: off
#: The bounds of docs/numerics.md: measured, rounded up.
CASES = [
    Case("linear", 0, 0, 0, lambda x: x, (Range(-INF, INF, 0, 0),)),
    Case("sigmoid", 1, 0, 0, _sigmoid, (
        Range(-INF, -87, 1.65e-38, None), Range(-87, -16, 1.0e-14, 4.5), Range(-16, 0, 4.2e-8, 2.7),
        Range(0, INF, 9.0e-8, 1.5))),
    Case("tanh", 2, 0, 0, np.tanh, (Range(-INF, 0, 1.5e-7, 2.5), Range(0, INF, 9.0e-8, 2.7))),
    Case("relu", 3, 0, 0, lambda x: np.maximum(x, 0), (Range(-INF, INF, 0, 0),)),
    Case("hard_sigmoid", 4, SIXTH, 0.5, lambda x: np.clip(SIXTH * x + 0.5, 0, 1), (Range(-INF, INF, 3.0e-8, 0.5),)),
    Case("leaky_relu", 5, 0.3, 0, lambda x: np.where(x < 0, float(np.float32(0.3)) * x, x),
         (Range(-INF, 0, None, 0.5), Range(0, INF, 0, 0))),
    Case("elu", 6, 1, 0, lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
         (Range(-INF, 0, 4.3e-8, 1.1), Range(0, INF, 0, 0))),
    Case("selu", 7, 0, 0,
         lambda x: SELU_SCALE * np.where(x < 0, SELU_ALPHA * np.expm1(np.minimum(x, 0)), x),
         (Range(-INF, 0, 2.0e-7, 2.4), Range(0, 3e38, None, 1.1))),
    Case("softplus", 8, 0, 0, _softplus, (
        Range(-INF, -87, 1.65e-38, None), Range(-87, -16, 1.4e-14, 4.5), Range(-16, 0, 8.0e-8, 2.2),
        Range(0, INF, None, 1.9))),
    Case("softsign", 9, 0, 0, lambda x: x / (1 + np.abs(x)), (Range(-INF, INF, 9.0e-8, 1.5),)),
    Case("swish", 10, 0, 0, lambda x: np.where(x < -200, -0.0, x * _sigmoid(x)), (
        Range(-1e30, -87, 1.65e-8, None), Range(-87, -16, 2.1e-13, 5.5), Range(-16, 0, 5.5e-8, 3.7),
        Range(0, INF, None, 3.0))),
    Case("gelu", 11, 0, 0, _gelu, (
        Range(-INF, -4, 1.2e-7, None), Range(-4, -1, 1.1e-7, None), Range(-1, 0, 6.8e-8, 4.6),
        Range(0, INF, None, 1.8))),
    Case("gelu_tanh", 12, 0, 0, _gelu_tanh, (
        Range(-INF, -4, 3.0e-7, None), Range(-4, -1, 2.7e-7, None), Range(-1, 0, 7.2e-8, 4.9),
        Range(0, INF, None, 1.3))),
    Case("exp", 15, 0, 0, np.exp, (Range(-INF, -87, None, 0.8), Range(-87, 88.72, None, 1.2))),
    Case("log", 16, 0, 0, np.log, (Range(2**-149, 0.5, None, 0.9), Range(0.5, 2, 4.2e-8, 0.9),
                                   Range(2, INF, None, 0.9))),
    Case("sqrt", 17, 0, 0, np.sqrt, (Range(0, INF, None, 0.5),)),
    Case("abs", 18, 0, 0, np.abs, (Range(-INF, INF, 0, 0),)),
    Case("square", 19, 0, 0, np.square, (Range(-1.8e19, 1.8e19, None, 0.5),)),
    Case("reciprocal", 20, 0, 0, lambda x: 1 / x, (Range(-INF, -3e-39, None, 0.5), Range(3e-39, INF, None, 0.5))),
    Case("clip", 21, -1, 1.5, lambda x: np.clip(x, -1, 1.5), (Range(-INF, INF, 0, 0),)),
    Case("hard_swish", 22, 0, 0, _hard_swish, (
        Range(-INF, -3, 0, 0), Range(-3, 0, 6.0e-8, 1.9), Range(0, 3e38, None, 2.0))),
    Case("mish", 23, 0, 0, _mish, (
        Range(-1e30, -87, 1.5e-43, None), Range(-87, -16, 2.9e-13, 2.6), Range(-16, 0, 7.6e-8, 4.9),
        Range(0, INF, None, 3.2))),
    Case("erf", 24, 0, 0, _erf, (Range(-INF, 0, 1.5e-7, 2.6), Range(0, INF, 1.5e-7, 2.6))),
    Case("sin", 25, 0, 0, np.sin, (Range(-INF, INF, 3.0e-8, 0.501),)),
    Case("cos", 26, 0, 0, np.cos, (Range(-INF, INF, 3.0e-8, 0.501),)),
    Case("sign", 27, 0, 0, np.sign, (Range(-INF, INF, 0, 0),)),
    Case("floor", 28, 0, 0, np.floor, (Range(-INF, INF, 0, 0),)),
    Case("affine", 29, 3, 0.5, lambda x: 3 * x + 0.5, (Range(-1e38, 1e38, None, 0.5),)),
    Case("scaled_tanh", 30, 1.7159, 2 / 3, lambda x: _f32(1.7159) * np.tanh(_f32(2 / 3) * x), (
        Range(-INF, 0, 3.3e-7, 4.0), Range(0, INF, 2.4e-7, 3.9))),
    Case("thresholded_relu", 31, 1, 0, lambda x: np.where(x > 1, x, 0), (Range(-INF, INF, 0, 0),)),
    Case("celu", 32, 0.7, 0, lambda x: np.where(x < 0, _f32(0.7) * np.expm1(np.minimum(x, 0) / _f32(0.7)), x),
         (Range(-INF, 0, 6.5e-8, 2.2), Range(0, INF, 0, 0))),
    Case("power", 33, 0.3, 0, lambda x: x ** _f32(0.3), (Range(0, INF, None, 0.501),)),
]
# fmt: on


def table() -> str:
    """The bounds as docs/numerics.md has them."""
    lines = ["| activation | x | absolute | ulp |", "|---|---|---|---|"]
    for case in CASES:
        for r in case.ranges:
            lo = "(−∞" if r.lo == -INF else f"[{r.lo:g}".replace("-", "−")
            hi = "∞)" if r.hi == INF else f"{r.hi:g})".replace("-", "−")
            name = case.name if r is case.ranges[0] else ""
            bounds = ["" if b is None else "exact" if b == 0 else f"{b:.3g}" for b in (r.absolute, r.ulps)]
            lines.append(f"| {name} | {lo}, {hi} | {bounds[0]} | {bounds[1]} |")
    return "\n".join(lines) + "\n"


def floats(every: int) -> Iterator[np.ndarray]:
    """All float32 numbers but NaNs and infinities, or every n-th bit pattern, in blocks."""
    for start in range(0, 1 << 32, BLOCK * every):
        bits = np.arange(start, min(start + BLOCK * every, 1 << 32), every, dtype=np.uint64)
        x = bits.astype(np.uint32).view(np.float32)
        yield x[np.isfinite(x)]


def ulp(y: np.ndarray) -> np.ndarray:
    """Distance of neighbouring float32 numbers in the binade of y (float64)."""
    exponent = np.maximum((np.abs(y).view(np.int64) >> 52) - 1023, -126)
    return ((exponent - 23 + 1023) << 52).view(np.float64)


def errors(x: np.ndarray, y: np.ndarray, want: np.ndarray) -> tuple[float, float, float, float]:
    """Largest absolute and ulp error, each with its argument."""
    if x.size == 0:
        return 0.0, math.nan, 0.0, math.nan
    absolute = np.abs(y.astype(np.float64) - want)
    units = absolute / ulp(want)
    i, j = int(np.argmax(absolute)), int(np.argmax(units))
    return float(absolute[i]), float(x[i]), float(units[j]), float(x[j])


def measure(case: Case, every: int, kernels: str | None = None) -> list[tuple[float, float, float, float]]:
    """errors() over all blocks, for each range of the case."""
    worst = [(-1.0, math.nan, -1.0, math.nan)] * len(case.ranges)
    for x in floats(every):
        if x.size == 0:
            continue
        y = activate(case.code, case.alpha, case.beta, x, kernels)
        with np.errstate(all="ignore"):
            want = case.exact(x.astype(np.float64))
        for i, r in enumerate(case.ranges):
            inside = (x >= r.lo) & (x < r.hi)
            if inside.any():
                found = errors(x, y, want) if inside.all() else errors(x[inside], y[inside], want[inside])
                old = worst[i]
                worst[i] = (found[:2] if found[0] > old[0] else old[:2]) + (found[2:] if found[2] > old[2] else old[2:])
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="activations; all but linear and relu by default")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--kernels", help="name of a kernel table")
    parser.add_argument("--table", action="store_true", help="print the stated bounds and stop")
    args = parser.parse_args()
    if args.table:
        print(table(), end="")
        return
    for case in CASES:
        if case.name not in args.names and (args.names or case.name in ("linear", "relu")):
            continue
        found = measure(case, args.every, args.kernels)
        for r, (absolute, at, units, at_units) in zip(case.ranges, found, strict=True):
            print(
                f"{case.name:12} [{r.lo:6g}, {r.hi:6g})  abs {absolute:.4e} at {at!r:24}  "
                f"ulp {units:.4f} at {at_units!r}",
                flush=True,
            )


if __name__ == "__main__":
    main()
