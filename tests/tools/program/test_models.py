"""Programs as people write them become models with the programs' numbers, at other batches and lengths too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.function_programs import I8, Program, agrees, converted
from lstm_rt_tools.program.convert import to_graph
from lstm_rt_tools.program.machine import Machine, Tensor

_RNG = np.random.default_rng(0)
PROGRAMS: dict[str, tuple[Program, list[str]]] = {}


def numbers(*shape: int) -> Any:
    return (0.3 * _RNG.standard_normal(shape)).astype(np.float32)


def recurrent(inputs: int, hidden: int, gates: int = 4, both: bool = False) -> dict[str, Any]:
    return {
        name + side: numbers(*shape)
        for side in (("", "_reverse") if both else ("",))
        for name, shape in {
            "w_ih": (gates * hidden, inputs),
            "w_hh": (gates * hidden, hidden),
            "b_ih": (gates * hidden,),
            "b_hh": (gates * hidden,),
        }.items()
    }


def program(ops: str = "", outputs: int = 1, **inputs: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The function is a program of these inputs, and becomes these operations."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        PROGRAMS[function.__name__.strip("_")] = Program(function, outputs, **inputs), ops.split()
        return function

    return register


X = ("b", "t", 6)
LSTM, BOTH, GRU = recurrent(6, 5), recurrent(6, 5, both=True), recurrent(8, 5, 3)
DENSE, SCORE, TABLE = numbers(5, 4), numbers(5, 1), numbers(11, 6)
QKV = [numbers(6, 8) for _ in range(3)]


def lstm(m: Machine, x: Tensor, *more: Tensor | None, weights: Any = LSTM, **options: Any) -> Any:
    return m.apply("lstm", x, *more, weights=weights, hidden_size=5, **{"batch_first": True, **options})


@program("lstm dense activation", x=X)
def tagger(m: Machine, x: Tensor) -> Any:
    return m.apply("softmax", m.apply("matmul", lstm(m, x)[0], m.constant(DENSE)), axis=-1)


@program("lstm", 2, x=X)
def bidirectional(m: Machine, x: Tensor) -> Any:
    t = m.apply("permute", x, axes=(1, 0, 2))
    y, h, _ = lstm(m, t, weights=BOTH, direction="bidirectional", batch_first=False)
    return m.apply("permute", y, axes=(1, 0, 2)), h


@program("lstm", 3, x=("t", "b", 6), h0=(1, "b", 5), c0=(1, "b", 5))
def states(m: Machine, x: Tensor, h0: Tensor, c0: Tensor) -> Any:
    return lstm(m, x, h0, c0, batch_first=False)


@program("slice slice lstm concat", 2, x=X, packed=(1, "b", 10))
def packed_states(m: Machine, x: Tensor, packed: Tensor) -> Any:
    h, c = (m.apply("slice", packed, axis=2, start=k, stop=k + 5, step=1) for k in (0, 5))
    y, h, c = lstm(m, x, h, c)
    return y, m.apply("concat", h, c, axis=2)


@program("embedding lstm reduce", ids=(("b", "t"), I8))
def mean_of_tokens(m: Machine, ids: Tensor) -> Any:
    return m.apply("mean", lstm(m, m.apply("index_select", m.constant(TABLE), ids, axis=0))[0], axes=(1,))


def _from_the_end(m: Machine, ids: Tensor, as_numbers: bool) -> Tensor:
    """Ids below 0 counted from the end of the table, as exporters write it, in two ways."""
    above = m.apply("add", ids, m.constant(np.array(len(TABLE))))
    if not as_numbers:
        return m.apply("where", m.apply("lt", ids, m.constant(np.array(0))), above, ids)
    below = m.apply("lt", m.apply("cast", ids, dtype=np.float32), m.constant(np.array(0, np.float32)))
    kept = m.apply("mul", ids, m.apply("cast", m.apply("logical_not", below), dtype=np.int64))
    return m.apply("add", m.apply("mul", m.apply("cast", below, dtype=np.int64), above), kept)


@program("embedding embedding concat", ids=(("b", "t"), I8))
def ids_from_the_end(m: Machine, ids: Tensor) -> Any:
    rows = [m.apply("index_select", m.constant(TABLE), _from_the_end(m, ids, n), axis=0) for n in (False, True)]
    return m.apply("concat", *rows, axis=2)


@program("conv activation gru", x=X)
def front_end(m: Machine, x: Tensor) -> Any:
    c = m.apply("permute", x, axes=(0, 2, 1))
    c = m.apply("relu", m.apply("conv", c, m.constant(KERNEL), None, pads=((1, 1),), stride=(2,)))
    return m.apply("gru", m.apply("permute", c, axes=(0, 2, 1)), None, weights=GRU, hidden_size=5, batch_first=True)[0]


KERNEL, IMAGE, WIDE = numbers(8, 6, 3), numbers(4, 1, 3, 3), recurrent(24, 5)


@program("conv pool lstm", x=("b", 1, 12, "t"))
def crnn(m: Machine, x: Tensor) -> Any:
    c = m.apply("conv", x, m.constant(IMAGE), None, pads=((1, 1), (1, 1)))
    c = m.apply("permute", m.apply("pool", c, kind="max", kernel=(2, 2)), axes=(3, 0, 1, 2))
    return lstm(m, m.apply("reshape", c, sizes=(*c.shape[:2], -1)), weights=WIDE, batch_first=False)[0]


@program("lstm activation dense softmax_steps mul reduce", x=X)
def pooled(m: Machine, x: Tensor) -> Any:
    y = lstm(m, x)[0]
    a = m.apply("softmax", m.apply("matmul", m.apply("tanh", y), m.constant(SCORE)), axis=1)
    return m.apply("sum", m.apply("mul", y, a), axes=(1,))


@program(ids=(("b", "t"), I8))
def masked_pool(m: Machine, ids: Tensor) -> Any:
    y = lstm(m, m.apply("index_select", m.constant(TABLE), ids, axis=0))[0]
    s = m.apply("matmul", m.apply("tanh", y), m.constant(SCORE))
    mask = m.apply("reshape", m.apply("ne", ids, m.constant(np.int64(0))), sizes=(*ids.shape, 1))
    a = m.apply("softmax", m.apply("where", mask, s, m.constant(np.float32(-1e9))), axis=1)
    return m.apply("sum", m.apply("mul", y, a), axes=(1,))


def _heads(m: Machine, x: Tensor, merged: bool) -> Tensor:
    y = m.apply("permute", m.apply("reshape", x, sizes=(*x.shape[:2], 2, 4)), axes=(0, 2, 1, 3))
    return m.apply("reshape", y, sizes=(-1, *y.shape[2:])) if merged else y  # type: ignore[no-any-return]


def _attends(m: Machine, x: Tensor, causal: bool, merged: bool) -> Any:
    q, k, v = (_heads(m, m.apply("matmul", x, m.constant(w)), merged) for w in QKV)
    last = (0, 2, 1) if merged else (0, 1, 3, 2)
    s = m.apply("div", m.apply("matmul", q, m.apply("permute", k, axes=last)), m.constant(np.float32(2)))
    if causal:
        t = x.shape[1]
        s = m.apply("add", s, m.constant(np.where(np.tri(t, dtype=bool), 0, -np.inf).astype(np.float32)))
    y = m.apply("matmul", m.apply("softmax", s, axis=-1), v)
    y = m.apply("reshape", y, sizes=(x.shape[0], 2, x.shape[1], 4)) if merged else y
    return m.apply("reshape", m.apply("permute", y, axes=(0, 2, 1, 3)), sizes=(*x.shape[:2], 8))


@program("dense dense dense attention", x=X)
def attention(m: Machine, x: Tensor) -> Any:
    return _attends(m, x, False, False)


@program("dense dense dense attention", x=X)
def causal_attention(m: Machine, x: Tensor) -> Any:
    return _attends(m, x, True, False)


@program("dense dense dense attention", x=X)
def heads_in_the_batch(m: Machine, x: Tensor) -> Any:
    return _attends(m, x, False, True)


@program("dense dense dense attention", x=X, n=(("b",), I8))
def attention_within_lengths(m: Machine, x: Tensor, n: Tensor) -> Any:
    counts = m.apply("lt", m.constant(np.arange(x.shape[1])[None]), m.apply("reshape", n, sizes=(-1, 1)))
    q, k, v = (_heads(m, m.apply("matmul", x, m.constant(w)), False) for w in QKV)
    y = m.apply("attention", q, k, v, m.apply("reshape", counts, sizes=(x.shape[0], 1, 1, -1)))
    return m.apply("reshape", m.apply("permute", y, axes=(0, 2, 1, 3)), sizes=(*x.shape[:2], 8))


@program("lstm", 2, x=X, n=(("b",), I8))
def with_lengths(m: Machine, x: Tensor, n: Tensor) -> Any:
    y, h, _ = lstm(m, x, None, None, n)
    return m.apply("reshape", h, sizes=(x.shape[0], 5)), y


@program("conv lstm", x=X, n=(("b",), I8))
def lengths_behind_a_convolution(m: Machine, x: Tensor, n: Tensor) -> Any:
    """The convolution reads what stands beyond the lengths: these are read after it."""
    c = m.apply("conv", m.apply("permute", x, axes=(0, 2, 1)), m.constant(SAME), None, pads=((1, 1),))
    return lstm(m, m.apply("permute", c, axes=(0, 2, 1)), None, None, n)[0]


SAME, UP, BIAS, BOS = numbers(6, 6, 3), numbers(6, 4, 4), numbers(4), numbers(1, 2, 6)


@program("conv unflatten take", x=("b", 6, "t"))
def transposed(m: Machine, x: Tensor) -> Any:
    return m.apply("conv_transpose", x, m.constant(UP), m.constant(BIAS), stride=(2,), pads=((1, 1),))


@program(x=("b", 6, "t"))
def transposed_and_cut(m: Machine, x: Tensor) -> Any:
    return m.apply("conv_transpose", x, m.constant(UP[:, :, :1]), m.constant(BIAS), stride=(3,), pads=((1, 2),))


@program(x=("b", "t", 1, 6))
def transposed_over_features(m: Machine, x: Tensor) -> Any:
    x = m.apply("reshape", m.apply("permute", x, axes=(0, 2, 3, 1)), sizes=(x.shape[0], 1, 6, -1))
    w = m.constant(UP[:1, :, :, None])
    return m.apply("conv_transpose", x, w, None, stride=(2, 1), output_padding=(1, 0))


@program(x=X)
def constant_steps_before(m: Machine, x: Tensor) -> Any:
    return lstm(m, m.apply("concat", m.constant(np.repeat(BOS, x.shape[0], 0)), x, axis=1))[0]


@program(x=X)
def constant_steps_after(m: Machine, x: Tensor) -> Any:
    return m.apply("concat", x, m.constant(np.repeat(BOS, x.shape[0], 0)), axis=1)


@program(outputs=2, x=X)
def log_of_sums(m: Machine, x: Tensor) -> Any:
    return m.apply("logsumexp", x, axes=(-1,)), m.apply("logsumexp", x, axes=(1,), keepdims=True)


@program("mask_values apply_mask", x=X, counts=(("b", "t"), np.bool_))
def booleans(m: Machine, x: Tensor, counts: Tensor) -> Any:
    counts = m.apply("cast", m.apply("reshape", counts, sizes=(*counts.shape, 1)), dtype=np.float32)
    return m.apply("mul", x, counts)


@program("lstm reduce dense", x=X)
def longest_window(m: Machine, x: Tensor) -> Any:
    """As F.max_pool1d(y, y.shape[2]) has it: the window is made of the number of steps."""
    y = m.apply("permute", lstm(m, x)[0], axes=(0, 2, 1))
    y = m.apply("squeeze", m.apply("pool", y, kind="max", kernel=(y.shape[2],), stride=(y.shape[2],)), axes=(2,))
    return m.apply("matmul", y, m.constant(SCORE))


@program("reduce_features reduce dense", x=("b", 4, 3, "t"))
def averaged_map(m: Machine, x: Tensor) -> Any:
    """Height and steps of an image, as F.avg_pool2d(y, y.shape[2:]) has it."""
    y = m.apply("pool", x, kind="avg", kernel=x.shape[2:], stride=x.shape[2:])
    return m.apply("matmul", m.apply("reshape", y, sizes=(-1, 4)), m.constant(SCORE[:4]))


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str) -> None:
    made, ops = PROGRAMS[name]
    graph = converted(made)
    assert not ops or [n.op for n in graph.nodes] == ops
    assert "compared with the file's own numbers: 3 rows" in graph.meta["checked"]


@pytest.mark.parametrize(
    "dims", [(1, 1, 1), (1, 15, 6), (6, 6, 6), (3, 23, 6), (1, 1, 6), ("b", 6, 6), (6, "t", 6), (1, "t", 1)]
)
@pytest.mark.parametrize("batch_first", [True, False])
def test_sizes_that_say_little(dims: Any, batch_first: bool) -> None:
    """Dims that are equal, fixed or one: what the layer reads says which is which."""
    weights = recurrent(dims[2], 5)
    made = Program(lambda m, x: lstm(m, x, weights=weights, batch_first=batch_first), 3, x=dims)
    graph = to_graph(made)
    (x,) = (graph.values[v] for v in graph.inputs)
    assert (x.kind, x.order) == ("seq", "batch_first" if batch_first else "time_first")
    agrees(made, graph, [{"b": 4, "t": 9}, {"b": 1, "t": 40}])


@pytest.mark.parametrize("steps", [10, 23])
def test_frozen_steps(steps: int) -> None:
    weight = numbers(5 * steps, 3)

    def function(m: Machine, x: Tensor) -> Any:
        return m.apply("matmul", m.apply("reshape", lstm(m, x)[0], sizes=(x.shape[0], -1)), m.constant(weight))

    graph = converted(Program(function, x=("b", steps, 6)))
    assert graph.meta["notes"] == [f"the model takes {steps} steps only, as the file does"]


@pytest.mark.parametrize("window", [23, 48])
def test_a_window_as_long_as_the_steps_of_a_run(window: int) -> None:
    """It is of that size, whatever the number of steps: other sizes show that."""

    def function(m: Machine, x: Tensor) -> Any:
        return m.apply("pool", m.apply("permute", x, axes=(0, 2, 1)), kind="max", kernel=(window,), stride=(1,))

    made = Program(function, x=("b", "t", 6))
    graph = to_graph(made)
    assert [n.op for n in graph.nodes] == ["pool"]
    agrees(made, graph, [{"b": 2, "t": 60}, {"b": 1, "t": 130}])
