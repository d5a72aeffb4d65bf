"""The reference interpreter against PyTorch in double precision, and against cases by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers.graphs import layer_graph
from lstm_rt_tools.judges.reference import run, stateful_nodes
from lstm_rt_tools.judges.reference_activations import activate

from lstm_rt.errors import InputError
from lstm_rt.graph import ACTIVATIONS, Activation, Graph

RNG = np.random.default_rng


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def f32(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers that float32 holds exactly, since a graph stores its weights so."""
    return rng.normal(0, 0.5, shape).astype(np.float32)


# -- against PyTorch --------------------------------------------------------------------------------


def torch_layer(op: str, bidirectional: bool, layers: int, proj: int = 0, **options: Any) -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(7)
    cls = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[op]
    if proj:
        options["proj_size"] = proj
    # float32 first: its weights are then exact in both worlds
    return cls(3, 5, layers, batch_first=True, bidirectional=bidirectional, **options).double()


def graph_of(op: str, module: Any, activations: list[str] | None = None) -> Graph:
    g = Graph()
    x = g.input("x", "seq", module.input_size)
    names = ["w_ih", "w_hh", "b_ih", "b_hh", "w_hr"]
    for layer in range(module.num_layers):
        weights = {}
        for suffix in ("", "_reverse") if module.bidirectional else ("",):
            for name in names:
                key = {"w": "weight", "b": "bias"}[name[0]] + name[1:] + f"_l{layer}" + suffix
                if hasattr(module, key):
                    weights[name + suffix] = getattr(module, key).detach().numpy().astype(np.float32)
        direction = "bidirectional" if module.bidirectional else "forward"
        x, _, _ = g.recurrent(op, x, weights, hidden_size=5, direction=direction, activations=activations)
    g.output(x, "y")
    return g


def torch_run(module: Any, x: np.ndarray, lengths: list[int] | None, state: Any) -> tuple[Any, Any]:
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    packed: Any = torch.from_numpy(x)
    if lengths is not None:
        packed = pack_padded_sequence(packed, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    with torch.no_grad():
        y, state = module(packed, state)
    if lengths is not None:
        y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    return y.numpy(), state


@pytest.mark.parametrize("lengths", [None, [4, 6, 1]])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("op", ["lstm", "lstm-proj", "gru", "rnn", "rnn-relu"])
def test_torch(op: str, bidirectional: bool, layers: int, lengths: list[int] | None) -> None:
    torch = pytest.importorskip("torch")
    relu = op == "rnn-relu"
    options = {"nonlinearity": "relu"} if relu else {}
    proj = 2 if op == "lstm-proj" else 0
    op = op.split("-")[0]
    module = torch_layer(op, bidirectional, layers, proj, **options)
    graph = graph_of(op, module, ["relu"] if relu else None)

    rng = RNG(3)
    n_dir, r = 1 + bidirectional, proj or 5
    x = rng.normal(size=(3, 6, 3))
    h = rng.normal(size=(layers, n_dir, 3, r))
    c = rng.normal(size=(layers, n_dir, 3, 5))
    state = [(h[k], c[k]) if op == "lstm" else h[k] for k in range(layers)]
    (y,), final = run(graph, [x], lengths=lengths and np.array(lengths), state=state, return_state=True)

    th = torch.from_numpy(h.reshape(-1, 3, r))
    tc = torch.from_numpy(c.reshape(-1, 3, 5))
    want, want_state = torch_run(module, x, lengths, (th, tc) if op == "lstm" else th)
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-12)
    got_h = np.concatenate([s[0] if op == "lstm" else s for s in final])
    want_h = want_state[0] if op == "lstm" else want_state
    np.testing.assert_allclose(got_h, want_h.numpy(), rtol=0, atol=1e-12)
    if op == "lstm":
        np.testing.assert_allclose(np.concatenate([s[1] for s in final]), want_state[1].numpy(), rtol=0, atol=1e-12)


def test_activations_of_torch() -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    same = {
        "linear": lambda x: x,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": f.relu,
        "hard_sigmoid": f.hardsigmoid,
        "leaky_relu": f.leaky_relu,
        "elu": f.elu,
        "selu": f.selu,
        "softplus": lambda x: f.softplus(x, threshold=50),
        "softsign": f.softsign,
        "swish": f.silu,
        "gelu": f.gelu,
        "gelu_tanh": lambda x: f.gelu(x, approximate="tanh"),
        "softmax": lambda x: f.softmax(x, -1),
        "log_softmax": lambda x: f.log_softmax(x, -1),
    }
    same |= {
        "exp": torch.exp,
        "log": torch.log,
        "sqrt": torch.sqrt,
        "abs": torch.abs,
        "square": torch.square,
        "reciprocal": torch.reciprocal,
        "clip": lambda x: x.clamp(-2, 1.5),
        "hard_swish": f.hardswish,
        "mish": f.mish,
        "erf": torch.erf,
        "sin": torch.sin,
        "cos": torch.cos,
        "sign": torch.sign,
        "floor": torch.floor,
        "affine": lambda x: torch.add(torch.full_like(x, 0.5), x, alpha=3),
        "scaled_tanh": lambda x: 1.7159 * torch.tanh(2 / 3 * x),
        "thresholded_relu": lambda x: f.threshold(x, 0.7, 0),
        "celu": lambda x: f.celu(x, 0.6),
        "power": lambda x: x.pow(2.5),
    }
    parameters = {
        "clip": (-2, 1.5),
        "affine": (3, 0.5),
        "scaled_tanh": (1.7159, 2 / 3),
        "thresholded_relu": (0.7, None),
        "celu": (0.6, None),
        "power": (2.5, None),
    }
    assert set(same) == set(ACTIVATIONS)
    x = np.concatenate([RNG(0).normal(0, 3, (4, 9)), [[-800.0, 800, -50, 50, 0, -0.0, 1e-9, 3, -3]]])
    for name, function in same.items():
        want = function(torch.from_numpy(x)).numpy()
        with np.errstate(all="ignore"):
            got = activate(x, Activation(name, *parameters.get(name, ())))
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12, err_msg=name)


def test_other_ops_of_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = RNG(1)
    table, w, b = f32(rng, 7, 4), f32(rng, 3, 4), f32(rng, 3)
    gamma, beta, mean, var = f32(rng, 3), f32(rng, 3), f32(rng, 3), f32(rng, 3) ** 2
    g = Graph()
    ids = g.input("ids", "ids")
    x = g.dense(g.embedding(ids, table), w, b, "relu")
    x = g.layernorm(x, gamma, beta, 1e-5)
    x = g.batchnorm(x, mean, var, gamma, None, 1e-3)
    g.output(x, "y")
    tokens = rng.integers(0, 7, (2, 5))
    (y,) = run(g, {"ids": tokens})

    f = torch.nn.functional
    arrays = {"table": table, "w": w, "b": b, "gamma": gamma, "beta": beta}
    t = {k: torch.from_numpy(v).double() for k, v in arrays.items()}
    h = f.relu(f.linear(f.embedding(torch.from_numpy(tokens), t["table"]), t["w"], t["b"]))
    h = f.layer_norm(h, (3,), t["gamma"], t["beta"], 1e-5)
    h = (h - torch.from_numpy(mean)) / torch.sqrt(torch.from_numpy(var).double() + 1e-3) * t["gamma"]
    np.testing.assert_allclose(y, h.numpy(), rtol=0, atol=1e-12)


# -- by hand ----------------------------------------------------------------------------------------


def test_lstm_step_with_peephole() -> None:
    """One unit, one step: i and f see the old cell, o the new one; rows are i f g o, peepholes i f o."""
    graph = layer_graph(
        "lstm",
        {
            "w_ih": [[0.5], [-0.25], [1.0], [0.75]],
            "w_hh": [[0.25], [0.5], [-0.5], [1.0]],
            "b_ih": [0.125, 0.25, -0.125, 0.5],
            "b_hh": [0.0, 0.125, 0.25, -0.25],
            "peephole": [[0.5], [-1.0], [2.0]],
        },
        1,
        1,
    )
    x, h, c = 2.0, 0.5, -0.75
    i = sigmoid(0.5 * x + 0.25 * h + 0.125 + 0.5 * c)
    f = sigmoid(-0.25 * x + 0.5 * h + 0.375 - 1.0 * c)
    g = math.tanh(1.0 * x - 0.5 * h + 0.125)
    new_c = f * c + i * g
    o = sigmoid(0.75 * x + 1.0 * h + 0.25 + 2.0 * new_c)
    new_h = o * math.tanh(new_c)
    state = [(np.full((1, 1, 1), h), np.full((1, 1, 1), c))]
    (y, h_n, c_n), final = run(graph, [[[[x]]]], state=state, return_state=True)
    assert y[0, 0, 0] == pytest.approx(new_h, abs=1e-15)
    assert (h_n[0, 0], c_n[0, 0]) == pytest.approx((new_h, new_c), abs=1e-15)
    assert (final[0][0].shape, final[0][1].shape) == ((1, 1, 1), (1, 1, 1))


def test_clip_acts_on_the_sum_before_the_activation() -> None:
    graph = layer_graph(
        "lstm",
        {
            "w_ih": [[3.0], [-3.0], [3.0], [0.125]],
            "w_hh": [[0.0], [0.0], [0.0], [0.0]],
            "peephole": [[0.0], [0.0], [8.0]],
        },
        1,
        1,
        clip=1.0,
    )
    c0 = 0.5
    c = sigmoid(-1) * c0 + sigmoid(1) * math.tanh(1)
    assert 0.125 + 8 * c > 1  # the peephole is inside the clip
    state = [(np.zeros((1, 1, 1)), np.full((1, 1, 1), c0))]
    y, _, c_n = run(graph, [[[[1.0]]]], state=state)
    assert (y[0, 0, 0], c_n[0, 0]) == pytest.approx((sigmoid(1) * math.tanh(c), c), abs=1e-15)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_gru_step(reset_after: bool, clip: float) -> None:
    """Rows r z n; the two reset forms differ when the recurrent part has a bias."""
    graph = layer_graph(
        "gru",
        {
            "w_ih": [[0.5], [1.0], [-1.5]],
            "w_hh": [[0.25], [-0.5], [2.0]],
            "b_ih": [0.125, 0.25, 0.375],
            "b_hh": [0.5, -0.125, 0.75],
        },
        1,
        1,
        reset_after=reset_after,
        clip=clip,
    )
    x, h = 0.5, -0.75

    def clipped(v: float) -> float:
        return min(max(v, -clip), clip) if clip else v

    r = sigmoid(clipped(0.5 * x + 0.125 + 0.25 * h + 0.5))
    z = sigmoid(clipped(1.0 * x + 0.25 - 0.5 * h - 0.125))
    inner = r * (2.0 * h + 0.75) if reset_after else 2.0 * (r * h) + 0.75
    n = math.tanh(clipped(-1.5 * x + 0.375 + inner))
    y, h_n = run(graph, [[[[x]]]], state=[np.full((1, 1, 1), h)])
    assert y[0, 0, 0] == pytest.approx((1 - z) * n + z * h, abs=1e-15)
    assert h_n[0, 0] == y[0, 0, 0]


def running_sum(**options: Any) -> Graph:
    """An rnn that adds up its inputs: h = h + x."""
    weights: dict[str, Any] = {"w_ih": [[1.0]], "w_hh": [[1.0]]}
    if options.get("direction") == "bidirectional":
        weights |= {k + "_reverse": w for k, w in weights.items()}
    return layer_graph("rnn", weights, 1, 1, activations=["linear"], with_mask=True, **options)


MASK = np.array([[0, 1, 0, 1, 0]], dtype=np.uint8)
STEPS = np.array([1.0, 2, 3, 4, 5]).reshape(1, 5, 1)


def test_masked_steps_repeat_the_previous_output() -> None:
    y, h_n = run(running_sum(), {"x": STEPS, "mask": MASK})
    assert y[0, :, 0].tolist() == [0, 2, 2, 6, 6]
    assert h_n[0, 0] == 6


def test_masked_steps_before_the_first_show_the_state_of_the_caller() -> None:
    y, h_n = run(running_sum(), [STEPS, MASK], state=[np.full((1, 1, 1), 10.0)])
    assert y[0, :, 0].tolist() == [10, 12, 12, 16, 16]
    assert h_n[0, 0] == 16


def test_a_cell_state_alone_is_an_initial_state_too() -> None:
    """An lstm with c0 but no h0 begins anew with each run: it has no state of the caller."""
    g = Graph()
    x, c0 = g.input("x", "seq", 1), g.input("c0", "vec", 1)
    seq, _, _ = g.recurrent("lstm", x, {"w_ih": np.ones((4, 1)), "w_hh": np.ones((4, 1))}, hidden_size=1, c0=c0)
    g.output(seq, "y")
    assert stateful_nodes(g) == []
    _, final = run(g, [np.ones((1, 2, 1)), np.ones((1, 1))], return_state=True)
    assert final == []


def test_zero_masked() -> None:
    y, h_n = run(running_sum(zero_masked=True), [STEPS, MASK])
    assert y[0, :, 0].tolist() == [0, 2, 0, 6, 0]
    assert h_n[0, 0] == 6


def test_masks_and_lengths_of_both_directions() -> None:
    """Reverse begins at the row's last step, and 'previous' follows its own order."""
    graph = running_sum(direction="bidirectional")
    y, h_n = run(graph, [STEPS, MASK], lengths=[4])
    assert y[0, :, 0].tolist() == [0, 2, 2, 6, 0]
    assert y[0, :, 1].tolist() == [6, 6, 4, 4, 0]
    assert h_n[0].tolist() == [6, 6]


def test_lengths_as_a_graph_input() -> None:
    g = Graph()
    x = g.input("x", "seq", 1)
    g.input("n", "lengths", axis=0)
    g.output(g.select(x, -1), "last")
    g.output(g.select(x, 0), "first")
    g.output(g.reverse(x), "back")
    steps = np.tile(STEPS, (3, 1, 1))
    last, first, back = run(g, {"x": steps, "n": np.array([5, 2, 0])})
    assert last[:, 0].tolist() == [5, 2, 0]
    assert first[:, 0].tolist() == [1, 1, 0]
    assert back[:, :, 0].tolist() == [[5, 4, 3, 2, 1], [2, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
    with pytest.raises(InputError, match="graph input 'n'"):
        run(g, [steps, np.array([5, 2, 0])], lengths=[1, 1, 1])


def test_two_time_axes_and_explicit_states() -> None:
    """An encoder hands its state to a decoder of another length."""
    g = Graph()
    source, target = g.input("source", "seq", 1), g.input("target", "seq", 1)
    weights = {"w_ih": np.ones((1, 1)), "w_hh": np.ones((1, 1))}
    _, h, _ = g.recurrent("rnn", source, weights, hidden_size=1, activations=["linear"])
    y, _, _ = g.recurrent("rnn", target, weights, hidden_size=1, activations=["linear"], h0=h)
    g.output(y, "y")
    (out,), final = run(g, [STEPS, STEPS[:, :2]], lengths={0: [3]}, return_state=True)
    assert out[0, :, 0].tolist() == [7, 9]
    assert len(final) == 1  # the decoder's state is the graph's own, not the caller's


def test_masks_from_values_and_ids() -> None:
    g = Graph()
    ids = g.input("ids", "ids")
    x = g.embedding(ids, np.array([[1.0, 1], [2, 2], [0, 0]]))
    g.output(g.apply_mask(x, g.mask_ids(ids, 0)), "by_id")
    mask = g.mask_values(x, 0.0)
    weights = {"w_ih": np.ones((1, 2)), "w_hh": np.ones((1, 1))}
    g.output(g.recurrent("rnn", x, weights, hidden_size=1, activations=["relu"], mask=mask)[0], "y")
    by_id, y = run(g, [np.array([[0, 1, 2, 1]])])
    assert by_id[0, :, 0].tolist() == [0, 2, 0, 2]
    assert y[0, :, 0].tolist() == [2, 6, 6, 10]


def test_features() -> None:
    g = Graph()
    x = g.input("x", "vec", 2)
    both = g.concat(x, g.binary("mul", x, x), g.binary("average", x, g.slice(g.concat(x, x), 1, 2)))
    g.output(both, "y")
    g.output(g.binary("add", x, x), "twice")
    y, twice = run(g, [np.array([[1.0, 3]])])
    assert y.tolist() == [[1, 3, 1, 9, 2, 2]]
    assert twice.tolist() == [[2, 6]]


@pytest.mark.parametrize("steps", [0, 3])
def test_no_steps(steps: int) -> None:
    """T = 0, and rows of length 0, leave the state alone."""
    weights = {"w_ih": np.ones((4, 1)), "w_hh": np.ones((4, 1))}
    graph = layer_graph("lstm", weights, 1, 1)
    state = [(np.full((1, 2, 1), 0.25), np.full((1, 2, 1), 0.5))]
    y, h_n, c_n = run(graph, [np.ones((2, steps, 1))], lengths=[0, 0], state=state)
    assert y.shape == (2, steps, 1)
    assert not y.any()
    assert h_n.tolist() == [[0.25]] * 2
    assert c_n.tolist() == [[0.5]] * 2


def test_pieces_equal_the_whole() -> None:
    rng = RNG(5)
    weights = {"w_ih": f32(rng, 12, 2), "w_hh": f32(rng, 12, 4), "b_ih": f32(rng, 12)}
    graph = layer_graph("gru", weights, 2, 4)
    x = rng.normal(size=(2, 7, 2))
    whole = run(graph, [x])[0]
    first, state = run(graph, [x[:, :3]], return_state=True)
    second = run(graph, [x[:, 3:]], state=state)
    np.testing.assert_array_equal(np.concatenate([first[0], second[0]], axis=1), whole)


def test_input_errors() -> None:
    graph = running_sum()
    for inputs, options, message in [
        ([STEPS], {}, "expected 2: x, mask"),
        ({"x": STEPS}, {}, r"missing \['mask'\]"),
        ([STEPS[0], MASK], {}, r"expected \(N, T, 1\)"),
        ([STEPS, MASK[:, :3]], {}, "3 steps, expected 5"),
        ([STEPS, MASK], {"lengths": [6]}, "expected 0 to 5"),
        ([STEPS, MASK], {"lengths": {1: [1]}}, "no input is on time axis 1"),
        ([STEPS, MASK], {"state": []}, "expected 1, one per layer with state"),
        ([STEPS, MASK], {"state": [np.zeros((1, 1, 2))]}, r"expected \(1, 1, 1\)"),
    ]:
        with pytest.raises(InputError, match=message):
            run(graph, inputs, **options)
    g = Graph()
    g.output(g.embedding(g.input("ids", "ids"), np.ones((3, 1))), "y")
    with pytest.raises(InputError, match="expected 0 to 2"):
        run(g, [np.array([[3]])])
