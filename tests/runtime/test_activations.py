"""Every activation of every kernel table against float64, with the bounds of docs/numerics.md."""

import math
from functools import cache

import numpy as np
import pytest
from helpers.paths import DOCS
from lstm_rt_tools.judges import reference_activations
from measure_activations import BLOCK, CASES, errors, floats, table

import lstm_rt
from lstm_rt._core import _all_kernels, activate
from lstm_rt.format import ACT_CODES, dumps
from lstm_rt.graph import Activation, Graph

EVERY = 257  # odd, so that all exponents, signs and low bits take their turn
FUSED = [name for name, fused in _all_kernels() if fused and name in lstm_rt.kernels()]
UNFUSED = [name for name in lstm_rt.kernels() if name not in FUSED]
SOFT = [ACT_CODES["softmax"], ACT_CODES["log_softmax"]]
CODES = {c.name: c for c in CASES}

TINY = float(np.float32(2.0**-149))
HUGE = float(np.finfo(np.float32).max)


def numerics():
    return (DOCS / "numerics.md").read_text(encoding="utf-8")


def bits(y):
    """Bit patterns, all NaNs alike."""
    return np.where(np.isnan(y), np.uint32(0x7FC00000), y.view(np.uint32))


def run(case, x, kernels):
    return activate(case.code, case.alpha, case.beta, x, kernels)


@cache
def specials():
    """What is awkward: zeros, denormals, powers of two, the limits of the exponential, their neighbours."""
    x = [0.0, TINY, 2.0**-126, HUGE, math.inf, math.nan, 1e20, 1e30, 88.0, 89.0, 103.0, 104.0]
    x += [87.0, 40.0, 20.0, 16.0, 10.0, 8.0, 5.0, 4.0, 3.0, 1.0, 0.5, math.log(2), math.log(2) / 2, math.sqrt(2)]
    x += [2.0**n for n in range(-149, 128)]
    x = np.array(x, np.float32)
    with np.errstate(over="ignore"):
        x = np.concatenate([x, np.nextafter(x, np.float32(0)), np.nextafter(x, np.float32(np.inf))])
    return np.concatenate([x, -x])


def check_bounds(case, x, y, name):
    with np.errstate(all="ignore"):
        want = case.exact(x.astype(np.float64))
    for r in case.ranges:
        inside = (x >= r.lo) & (x < r.hi)
        absolute, at, units, at_units = errors(x[inside], y[inside], want[inside])
        assert r.absolute is None or absolute <= r.absolute, f"{name}: {absolute:.3g} at {at!r}"
        assert r.ulps is None or units <= r.ulps, f"{name}: {units:.3f} ulp at {at_units!r}"


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_bounds_and_tables(case):
    x = specials()
    for kernels in lstm_rt.kernels():
        y = run(case, x, kernels)
        assert np.isnan(y[np.isnan(x)]).all()
        if kernels in FUSED:  # tables that round twice are held to the fused ones below
            finite = np.isfinite(x)
            check_bounds(case, x[finite], y[finite], f"{case.name}, {kernels}")
    for x in (specials(), *floats(EVERY)):
        first = run(case, x, FUSED[0]) if FUSED else None
        for kernels in FUSED[1:]:
            assert np.array_equal(bits(first), bits(run(case, x, kernels))), f"{case.name}: {kernels} and {FUSED[0]}"
        if FUSED:
            finite = np.isfinite(x)
            check_bounds(case, x[finite], first[finite], f"{case.name}, {FUSED[0]}")
        for kernels in UNFUSED:
            assert np.allclose(run(case, x, kernels), run(case, x, "portable"), rtol=1e-5, atol=5e-7, equal_nan=True)


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_alignment_and_tails_do_not_matter(kernels):
    x = np.linspace(-9, 9, 200, dtype=np.float32)
    for case in CASES:
        whole = run(case, x, kernels)
        for start, size in ((0, 1), (1, 3), (2, 15), (3, 16), (5, 17), (7, 100)):
            part = run(case, x[start : start + size].copy(), kernels)
            assert np.array_equal(bits(part), bits(whole[start : start + size])), case.name


def special_arguments():
    """The table of docs/numerics.md: name -> results at NaN, infinity, -infinity, 0, -0."""
    text = numerics().split("### Special arguments")[1].split("\n\n")[1]
    head, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert head[1:] == ["NaN", "+∞", "−∞", "+0", "−0"]
    return {name: [stated(name, cell) for cell in cells] for name, *cells in lines}


def stated(name, cell):
    words = {"NaN": math.nan, "∞": math.inf, "ln 2": math.log(2)}
    words |= {"alpha": CODES[name].alpha, "beta": CODES[name].beta}
    sign, cell = (-1.0, cell[1:]) if cell.startswith("−") else (1.0, cell)
    return sign * (words[cell] if cell in words else float(cell))


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_special_arguments(kernels):
    x = np.array([math.nan, math.inf, -math.inf, 0.0, -0.0], np.float32)
    want = special_arguments()
    assert list(want) == [case.name for case in CASES]
    for name, expected in want.items():
        for y, e in zip(run(CODES[name], x, kernels), expected, strict=True):
            np.testing.assert_allclose(y, e, rtol=1e-4, atol=0, err_msg=name)
            assert e != 0 or math.copysign(1, y) == math.copysign(1, e), name


def test_special_arguments_of_the_reference():
    """The interpreter in float64 gives the same, but for the sign of 0."""
    x = np.array([math.nan, math.inf, -math.inf, 0.0, -0.0])
    for name, expected in special_arguments().items():
        case = CODES[name]
        with np.errstate(invalid="ignore", divide="ignore"):
            y = reference_activations.activate(x, Activation(name, case.alpha, case.beta))
        np.testing.assert_allclose(y, expected, rtol=1e-7, atol=1e-30, err_msg=name)


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_special_arguments_of_other_ops(kernels):
    """What docs/numerics.md says of normalisations, masks and clips."""
    inf, nan = math.inf, math.nan
    size = 5
    ones = np.ones(size, np.float32)
    g = Graph()
    x = g.input("x", "seq", size)
    g.output(g.layernorm(x, ones, ones, 1e-3), "layer")
    g.output(g.batchnorm(x, ones, 4 * ones, ones, ones, 0.0), "batch")
    g.output(g.apply_mask(x, g.mask_values(x, 0.0)), "masked")
    weights = {"w_ih": ones[:1, None], "w_hh": 0 * ones[:1, None]}
    second = g.slice(x, 1, 1)
    g.output(g.recurrent("rnn", second, weights, hidden_size=1, activations=["linear"], clip=2.0)[0], "clipped")
    rows = np.array([[1, nan, 3, 4, 5], [1, inf, 3, 4, 5], [1, -inf, 3, 4, 5], [0, -0.0, 0, 0, 0], [nan, 0, 0, 0, 0]])
    layer, batch, masked, clipped = lstm_rt.Model(dumps(g), kernels=kernels)(rows[:, None].astype(np.float32))
    assert np.isnan(layer[[0, 1, 2, 4]]).all()
    assert (layer[3] == 1).all()
    np.testing.assert_array_equal(batch[:, 0], (rows - 1) / 2 + 1)
    np.testing.assert_array_equal(masked[:, 0], rows)
    np.testing.assert_array_equal(clipped[:, 0, 0], [nan, 2, -2, 0, 0])


def test_denormals_are_kept():
    """No flush to zero: tanh, softsign, elu of the smallest numbers are those numbers."""
    x = np.array([TINY, -TINY, 1e-40, -1e-40], np.float32)
    for kernels in lstm_rt.kernels():
        for name in ("tanh", "softsign", "elu", "linear"):
            assert np.array_equal(bits(run(CODES[name], x, kernels)), bits(x)), name


def rows():
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 100, 1000, 5000):
        for scale in (0.1, 1, 5, 30, 80, 1000):
            yield (rng.standard_normal(n) * scale).astype(np.float32)


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_softmax(kernels):
    for x in rows():
        d = x.astype(np.float64) - x.max()
        total = np.exp(d).sum()
        soft, log_soft = (activate(code, 0, 0, x, kernels) for code in SOFT)
        tolerance = 2.0**-23 * (4 + x.size / 32)
        np.testing.assert_allclose(soft, np.exp(d) / total, rtol=tolerance * 4, atol=tolerance)
        exact = d - np.log(total)
        assert np.all(np.abs(log_soft - exact) <= tolerance * np.maximum(np.abs(exact), 1))
        if kernels in FUSED:
            assert np.array_equal(bits(soft), bits(activate(SOFT[0], 0, 0, x, FUSED[0])))
            assert np.array_equal(bits(log_soft), bits(activate(SOFT[1], 0, 0, x, FUSED[0])))


def softmax_rows():
    """Rows with infinities and NaN, and what docs/numerics.md says that softmax and log_softmax give."""
    inf, nan = math.inf, math.nan
    one = 1 / (1 + math.e)
    return [
        ([-inf, 0, 1], [0, one, 1 - one], [-inf, math.log(one), math.log(1 - one)]),
        ([0, -100], [1, 0], [0, -100]),  # terms below exp(-87) of the largest are 0
        ([HUGE, -HUGE], [1, 0], [0, -inf]),
        *(
            (row, [nan] * len(row), [nan] * len(row))
            for row in ([-inf, -inf], [0, nan, 1], [nan, -inf], [inf, 0], [0, 1, inf], [inf, inf, 0], [inf, -inf])
        ),
        *(([inf if i == k else 0.0 for i in range(33)], [nan] * 33, [nan] * 33) for k in (0, 15, 16, 32)),
    ]


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_softmax_of_infinities_and_nan(kernels):
    for row, soft, log_soft in softmax_rows():
        x = np.array(row, np.float32)
        np.testing.assert_allclose(activate(SOFT[0], 0, 0, x, kernels), soft, rtol=1e-6)
        np.testing.assert_allclose(activate(SOFT[1], 0, 0, x, kernels), log_soft, rtol=1e-6)


def test_softmax_of_infinities_in_the_reference_and_in_torch():
    for row, soft, log_soft in softmax_rows():
        x = np.array(row)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            got = reference_activations.activate(x, Activation("softmax"))
            np.testing.assert_allclose(got, soft, rtol=1e-6, atol=1e-40)
            got = reference_activations.activate(x, Activation("log_softmax")).astype(np.float32)
        np.testing.assert_allclose(got, log_soft, rtol=1e-6)
    torch = pytest.importorskip("torch")
    for row, soft, log_soft in softmax_rows():
        x = torch.tensor(row, dtype=torch.float32)
        np.testing.assert_allclose(torch.softmax(x, 0).numpy(), soft, rtol=1e-6, atol=1e-40)
        np.testing.assert_allclose(torch.log_softmax(x, 0).numpy(), log_soft, rtol=1e-6)


def test_spot_checks_against_mpmath():
    """The float64 references themselves, against 50 digits."""
    mp = pytest.importorskip("mpmath")
    mp.mp.dps = 50
    forms = {
        "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
        "tanh": mp.tanh,
        "elu": mp.expm1,
        "softplus": lambda x: mp.log1p(mp.exp(x)),
        "swish": lambda x: x / (1 + mp.exp(-x)),
        "gelu": lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2,
        "gelu_tanh": lambda x: x * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3))) / 2,
    }
    points = [-80.5, -30.0, -7.25, -5.5, -4.51, -1.0, -0.3, -1e-3, -1e-20]
    for name, form in forms.items():
        for p in points + [-p for p in points if name != "elu"]:
            x = np.float64(np.float32(p))
            want = form(mp.mpf(float(x)))
            got = mp.mpf(float(CODES[name].exact(np.array([x]))[0]))
            assert abs(got - want) <= abs(want) * mp.mpf("1e-12") + mp.mpf("1e-300"), (name, p)


def test_the_text_states_these_bounds():
    assert table() in numerics()


def test_the_sample_is_dense():
    assert sum(len(x) for x in floats(EVERY)) > 16_000_000
    assert BLOCK > 100_000
