"""Writes tests/fuzz/corpus/*.lrt: small models that together use every op and every option.

The C test runs all of them, the fuzzer starts from them. Run again after a change of the format:

    python tests/make_corpus.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from helpers.blocks import pruned
from helpers.graphs import cell_weights, inputs_for, recurrent_graph, weights
from helpers.integers import integer_graph
from lstm_rt_tools.integers.matrices import quantised

from lstm_rt.format import dumps
from lstm_rt.graph import ACTIVATIONS, GATES, Activation, Axis, Graph, SelfTest
from lstm_rt.ops import REDUCTIONS

FOLDER = Path(__file__).parent / "fuzz" / "corpus"
MAX_FILE, MAX_TOTAL = 4096, 170_000

Rng = np.random.Generator


def recurrent_models(rng: Rng) -> dict[str, Graph]:
    """One layer each: every cell in every direction, and each option once."""
    out = {}
    for op in GATES:
        for direction in ("forward", "reverse", "bidirectional"):
            out[f"{op}_{direction}"] = recurrent_graph(rng, op, 2, 5, direction=direction)
    out["lstm_peephole"] = recurrent_graph(rng, "lstm", 2, 5, peephole=True)
    out["lstm_projection"] = recurrent_graph(rng, "lstm", 2, 7, proj=3)
    out["lstm_projection_both"] = recurrent_graph(
        rng, "lstm", 1, 3, proj=2, peephole=True, direction="bidirectional", clip=0.7
    )
    out["lstm_clip"] = recurrent_graph(rng, "lstm", 3, 4, clip=0.3, bias=False)
    out["gru_reset_before"] = recurrent_graph(rng, "gru", 2, 5, reset_after=False)
    out["gru_reset_before_both"] = recurrent_graph(
        rng, "gru", 2, 3, reset_after=False, clip=0.5, direction="bidirectional"
    )
    out["gru_clip"] = recurrent_graph(rng, "gru", 2, 4, clip=0.4)
    out["rnn_clip_relu"] = recurrent_graph(rng, "rnn", 2, 9, clip=0.6, activations=["relu"])
    out["gru_wide"] = recurrent_graph(rng, "gru", 1, 13)  # one padded panel of 16
    out["rnn_panels"] = recurrent_graph(rng, "rnn", 1, 25)  # panels of 16, 8 and 4
    return out


def cell_activation_models(rng: Rng) -> dict[str, Graph]:
    """Every activation that may act in a gate, three by three."""
    names = list(ACTIVATIONS)[:13]  # those of version 1
    out = {}
    for i in range(0, len(names), 3):
        acts = (names[i:] + names)[:3]
        out[f"lstm_{'_'.join(acts)}"] = recurrent_graph(rng, "lstm", 1, 2, activations=acts)
    out["gru_hard"] = recurrent_graph(rng, "gru", 1, 3, activations=[Activation("hard_sigmoid", 0.2, 0.5), "softsign"])
    return out


def explicit_state(rng: Rng, op: str, direction: str, masked: bool) -> Graph:
    """Initial states are inputs."""
    g = Graph()
    x = g.input("x", "seq", 2)
    width = 3 * (2 if direction == "bidirectional" else 1)
    h0 = g.input("h0", "vec", width)
    c0 = g.input("c0", "vec", width) if op == "lstm" else None
    mask = g.mask_values(x, 0.0) if masked else None
    w = cell_weights(rng, op, 2, 3, direction)
    seq, h, c = g.recurrent(op, x, w, hidden_size=3, direction=direction, h0=h0, c0=c0, mask=mask)
    for value, name in ((seq, "y"), (h, "h"), (c, "c")):
        if value is not None:
            g.output(value, name)
    return g


def computed_state(rng: Rng) -> Graph:
    """Initial states that nodes compute: from a vector, and from the end of another layer."""
    g = Graph()
    x, v = g.input("x", "seq", 2), g.input("v", "vec", 2)
    h0 = g.dense(v, weights(rng, 3, 2), None, "tanh")
    first, h, _ = g.recurrent("rnn", x, cell_weights(rng, "rnn", 2, 3), hidden_size=3, h0=h0)
    second, _, _ = g.recurrent("gru", first, cell_weights(rng, "gru", 3, 3), hidden_size=3, h0=h)
    g.output(second, "y")
    return g


def encoder_decoder(rng: Rng) -> Graph:
    """Two time axes, lengths of one as an input; the encoder's states begin the decoder."""
    g = Graph()
    source = g.input("source", "ids")
    g.input("source_lengths", "lengths", axis=g.values[source].axis)
    target = g.input("target", "seq", 2)
    e = g.embedding(source, weights(rng, 11, 3, scale=1.0))
    w = cell_weights(rng, "lstm", 3, 2, "bidirectional")
    seq, h, c = g.recurrent("lstm", e, w, hidden_size=2, direction="bidirectional", mask=g.mask_ids(source))
    w = cell_weights(rng, "lstm", 2, 4)
    y, _, _ = g.recurrent("lstm", target, w, hidden_size=4, h0=h, c0=c)
    g.output(g.dense(y, weights(rng, 5, 4), None, "softmax"), "probabilities")
    g.output(g.select(g.reverse(seq)), "code")
    return g


def masked(rng: Rng, op: str, direction: str, zero: bool) -> Graph:
    """Masked steps repeat the output, or zero it."""
    g = Graph()
    x = g.input("x", "seq", 2)
    w = cell_weights(rng, op, 2, 3, direction)
    seq, h, _ = g.recurrent(op, x, w, hidden_size=3, direction=direction, mask=g.mask_values(x, 0.0), zero_masked=zero)
    g.output(seq, "y")
    g.output(h, "h")
    return g


def tagger(rng: Rng) -> Graph:
    """Ids in, streams: embedding, mask, two stacked layers, a label at each step and at the end."""
    g = Graph()
    ids = g.input("ids", "ids")
    e = g.embedding(ids, weights(rng, 11, 3, scale=1.0))
    seq, _, _ = g.recurrent("gru", e, cell_weights(rng, "gru", 3, 4), hidden_size=4, mask=g.mask_ids(ids, 0))
    seq, h, _ = g.recurrent("lstm", seq, cell_weights(rng, "lstm", 4, 3), hidden_size=3)
    g.output(g.dense(seq, weights(rng, 3, 3), weights(rng, 3), "softmax"), "tags")
    g.output(g.dense(h, weights(rng, 2, 3), weights(rng, 2), "log_softmax"), "label")
    return g


def activations(names: list[str]) -> Graph:
    """Activations on their own, joined by sums."""
    g = Graph()
    x = g.input("x", "seq", 5)
    total = x
    for name in names:
        total = g.binary("add", total, g.activation(x, name))
    g.output(total, "y")
    return g


def later_of_positive() -> Graph:
    """Activations that want numbers above 0."""
    g = Graph()
    x = g.activation(g.activation(g.input("x", "seq", 5), "square"), Activation("affine", 1.0, 0.5))
    total = g.activation(x, Activation("power", 0.3))
    for name in ("log", "sqrt", "reciprocal"):
        total = g.binary("add", total, g.activation(x, name))
    g.output(total, "y")
    return g


def features(rng: Rng) -> Graph:
    """The ops on features, over a sequence that streams, with weights absent where they may be."""
    g = Graph()
    x = g.input("x", "seq", 18)
    n = g.layernorm(x, None, weights(rng, 18), 1e-3)
    n = g.layernorm(n, weights(rng, 18), None, 0.0)
    b = g.batchnorm(n, weights(rng, 18), np.abs(weights(rng, 18)) + 1, None, None, 1e-3)
    joined = g.concat(g.slice(b, 0, 1), g.slice(b, 17, 1), g.binary("mul", b, x), g.binary("average", b, x))
    masked = g.apply_mask(joined, g.mask_values(x, 0.0))
    g.output(g.dense(masked, weights(rng, 2, 38), None, "elu"), "y")
    return g


def vectors(rng: Rng) -> Graph:
    """No time axis at all."""
    g = Graph()
    v = g.input("v", "vec", 3)
    d = g.dense(v, weights(rng, 20, 3), weights(rng, 20), "selu")
    g.output(g.layernorm(d, None, None, 1e-5), "y")
    g.output(v, "same")
    return g


def axes(rng: Rng) -> Graph:
    """As many time axes as a model may have."""
    g = Graph()
    parts = []
    for a in range(8):
        x = g.input(f"x{a}", "seq", 1)
        parts.append(g.select(x, -1 if a % 2 else 0))
    g.output(g.binary("add", g.concat(*parts[:4]), g.concat(*parts[4:])), "y")
    return g


def with_selftest(rng: Rng) -> Graph:
    """A self-test with ids and lengths, metadata, and names beyond ASCII."""
    g = Graph()
    ids = g.input("ids", "ids")
    g.input("längen", "lengths", axis=0)
    e = g.embedding(ids, weights(rng, 11, 2, scale=1.0))
    g.output(g.select(e), "letztes ✓")
    g.meta = {"source": {"framework": "none", "version": "1"}, "note": "ü"}
    arrays = inputs_for(rng, g, 2, 3, [1, 3])
    table = g.nodes[0].weights["table"]
    g.selftest = SelfTest(arrays, [np.stack([table[arrays[0][0, 0]], table[arrays[0][1, 2]]])])
    return g


def time_first(rng: Rng) -> Graph:
    """Version 3: sequences, ids and states in PyTorch's order."""
    g = Graph()
    x = g.input("x", "seq", 3, order="time_first")
    ids = g.input("ids", "ids", axis=0, order="time_first")
    h0 = g.input("h0", "vec", 8, order="groups_first", groups=2)
    both = g.concat(x, g.embedding(ids, weights(rng, 11, 2)))
    w = cell_weights(rng, "gru", 5, 4, "bidirectional")
    seq, h, _ = g.recurrent("gru", both, w, hidden_size=4, direction="bidirectional", h0=h0)
    g.output(seq, "y", order="time_first")
    g.output(h, "h", order="groups_first", groups=2)
    g.output(g.dense(seq, weights(rng, 1, 8)), "batch_first")
    return g


def time_first_stream(rng: Rng) -> Graph:
    """Version 3: what streams, with final states in groups."""
    g = Graph()
    x = g.input("x", "seq", 2, order="time_first")
    a, h_a, c_a = g.recurrent("lstm", x, cell_weights(rng, "lstm", 2, 5), hidden_size=5)
    b, h_b, c_b = g.recurrent("lstm", a, cell_weights(rng, "lstm", 5, 5), hidden_size=5)
    g.output(b, "y", order="time_first")
    for name, pair in (("h_n", (h_a, h_b)), ("c_n", (c_a, c_b))):
        g.output(g.concat(*[v for v in pair if v is not None]), name, order="groups_first", groups=2)
    return g


def unbatched(rng: Rng) -> Graph:
    """Version 3: no port has a batch."""
    g = Graph()
    x = g.input("x", "seq", 2, order="unbatched")
    v = g.input("v", "vec", 3, order="unbatched")
    seq, h, _ = g.recurrent("rnn", x, cell_weights(rng, "rnn", 2, 3), hidden_size=3)
    g.output(seq, "y", order="unbatched")
    g.output(g.binary("add", h, v), "h", order="unbatched", groups=1)
    return g


def derived_axes(rng: Rng) -> Graph:
    """Version 3: some steps, more steps, a fixed number of steps."""
    g = Graph()
    x = g.input("x", "seq", 2)
    a, h, _ = g.recurrent("gru", x, cell_weights(rng, "gru", 2, 3), hidden_size=3)
    few = g.take(a, 1, 2, drop=1, most=9)
    b, _, _ = g.recurrent("rnn", few, cell_weights(rng, "rnn", 3, 2, "bidirectional"), hidden_size=2,
                          direction="bidirectional")  # fmt: skip
    g.output(b, "few")
    g.output(g.repeat(b, 3), "more")
    g.output(g.repeat_vector(h, g.new_axis(Axis(mul=0, add=3))), "three")
    g.output(g.concat(a, g.repeat_vector(h, g.values[x].axis)), "beside")
    return g


def derived_stream(rng: Rng) -> Graph:
    """Version 3: derived axes that go through in chunks; a stream, too."""
    g = Graph()
    x = g.input("x", "seq", 2, order="time_first")
    more = g.repeat(x, 2)
    a, _, _ = g.recurrent("lstm", more, cell_weights(rng, "lstm", 2, 3), hidden_size=3)
    g.output(a, "y", order="time_first")
    return g


def rows(rng: Rng) -> Graph:
    """Version 4: ops over rows of features, over a sequence that streams."""
    g = Graph()
    x = g.input("x", "seq", 6)
    one, length = g.reduce_features(x, "mean"), g.reduce_features(g.binary("add", x, g.constant(np.ones(1))), "l2")
    y = g.binary("maximum", g.binary("div", g.binary("sub", x, one), length), x)
    y = g.prelu(g.gather(y, [5, 4, 3, 3, 0, 1, 1, 2]), weights(rng, 8))
    g.output(g.binary("minimum", g.binary("add", y, g.constant(np.arange(8) / 8)), y), "y")
    return g


def groups(rng: Rng) -> Graph:
    """Version 4: ops over equal parts of the features."""
    g = Graph()
    x = g.input("x", "seq", 8)
    y = g.groupnorm(g.l2norm(x, 1e-3, 2), weights(rng, 8), None, 1e-3, 4)
    y = g.groupnorm(y, None, weights(rng, 8), 1e-3, 2)
    g.output(g.concat(*(g.reduce_features(y, kind, 4) for kind in ("sum", "max", "min", "prod"))), "y")
    return g


def broadcasts(rng: Rng) -> Graph:
    """Version 4: a vector at every step, one feature for many."""
    g = Graph()
    x, v, one = g.input("x", "seq", 5), g.input("v", "vec", 5), g.input("one", "vec", 1)
    y = g.binary("mul", g.binary("add", x, v), one)
    y = g.binary("pow", g.activation(y, "exp"), g.binary("minimum", one, v))
    g.output(g.binary("sub", g.reduce_features(y, "sum"), v), "y")
    return g


def several_ids(rng: Rng) -> Graph:
    """Version 4: several ids at a step, through a table each."""
    g = Graph()
    ids = g.input("ids", "ids", 3, order="time_first")
    both = g.concat(g.embedding(ids, weights(rng, 11, 2), 0, 2), g.embedding(ids, weights(rng, 11, 3), 2))
    seq, _, _ = g.recurrent("gru", both, cell_weights(rng, "gru", 7, 3), hidden_size=3)
    g.output(seq, "y")
    return g


def aligned(rng: Rng) -> Graph:
    """Version 4: what was at the step before, zeros at the first, beside the steps themselves."""
    g = Graph()
    x = g.input("x", "seq", 2)
    both = g.concat(x, g.align(g.take(g.pad_steps(x, 1, 0), drop=1), 0))
    seq, _, _ = g.recurrent("gru", both, cell_weights(rng, "gru", 4, 3), hidden_size=3)
    g.output(seq, "y")
    return g


def cut(rng: Rng) -> Graph:
    """Version 5: every other step twice, as many as there were; and the later half of the steps."""
    g = Graph()
    x = g.input("x", "seq", 2)
    g.output(g.cut(g.repeat(g.take(x, 0, 2), 2), 0), "y")
    g.output(g.reverse(g.cut(g.reverse(x), g.new_axis(Axis(0, 1, 1, 2)))), "later")
    return g


def joined(rng: Rng) -> Graph:
    """Version 4: outputs whose arrays have several dims as one axis."""
    g = Graph()
    x = g.input("x", "seq", 2, order="time_first")
    seq, h, _ = g.recurrent("gru", x, cell_weights(rng, "gru", 2, 4), hidden_size=4)
    g.output(seq, "y", order="shaped", dims=("T", "*", "N", 4))
    g.output(g.dense(seq, weights(rng, 6, 4)), "z", order="shaped", dims=(2, "N", "*", "T", "*", 3))
    g.output(h, "h", order="shaped", dims=(4, "*", "N"))
    return g


def decoder_step(rng: Rng) -> Graph:
    """Version 4: ids of a single step, one and several, in a model without a time axis."""
    g = Graph()
    token, word, v = g.input("token", "ids", axis=-1), g.input("word", "ids", 2, -1), g.input("v", "vec", 3)
    both = g.concat(g.embedding(token, weights(rng, 11, 2)), g.embedding(word, weights(rng, 11, 2)), v)
    g.output(g.dense(both, weights(rng, 11, 9), None, "softmax"), "y")
    return g


def shaped(rng: Rng) -> Graph:
    """Version 4: ports of other dims than the table's."""
    g = Graph()
    x = g.input("x", "seq", 6, order="shaped", dims=("N", 2, "T", 3))
    ids = g.input("ids", "ids", axis=0, order="shaped", dims=("N", 1, "T"))
    v = g.input("v", "vec", 4, order="shaped", dims=(2, "N", 2))
    both = g.concat(x, g.embedding(ids, weights(rng, 11, 2)))
    seq, h, _ = g.recurrent("gru", both, cell_weights(rng, "gru", 8, 4), hidden_size=4)
    g.output(seq, "y", order="shaped", dims=("T", "N", 2, 2))
    g.output(g.binary("add", h, v), "h", order="shaped", dims=(1, "N", 4))
    return g


def shaped_without_batch(rng: Rng) -> Graph:
    """Version 4: and without a batch."""
    g = Graph()
    x = g.input("x", "seq", 4, order="shaped", dims=(2, "T", 2))
    g.output(g.dense(x, weights(rng, 1, 4)), "y", order="shaped", dims=("T",))
    return g


def later_activations_in_cells(rng: Rng) -> Graph:
    """Version 4: activations that came with it, in a cell."""
    return recurrent_graph(rng, "lstm", 2, 3, activations=(Activation("clip", 0.0, 1.0), "mish", "hard_swish"))


def along_time(rng: Rng) -> Graph:
    """Version 4: what sums up over time, in chunks and as a stream."""
    g = Graph()
    x = g.input("x", "seq", 2)
    mask = g.mask_values(x, 0.0)
    y, _, _ = g.recurrent("gru", g.cumsum(x), cell_weights(rng, "gru", 2, 3), hidden_size=3)
    parts = [g.reduce(y, kind, mask if k % 2 else None, whole=k > 3) for k, kind in enumerate(REDUCTIONS)]
    g.output(g.cumsum(y), "sums")
    g.output(g.concat(*parts), "totals")
    return g


def attention(rng: Rng) -> Graph:
    """Version 4: one query over the steps of another axis, by sums and by products; self-attention."""
    g = Graph()
    q, k = g.input("q", "vec", 4), g.input("k", "seq", 2)
    g.input("lengths", "lengths", axis=0)
    x = g.input("x", "seq", 6)
    mask = g.mask_values(k, 0.0)
    first, w = g.attention(q, k, k, heads=2, kv_heads=1, kind="additive", weight=weights(rng, 4), mask=mask)
    second, _ = g.attention(q, k, k, heads=2, kv_heads=1, scale=0.5, whole=True)
    g.output(g.concat(first, second), "context")
    if w is not None:
        g.output(g.softmax_steps(w, mask), "weights")
        g.output(g.softmax_steps(w, whole=True), "of_all")
    g.output(g.attention(x, x, x, heads=3, causal=True)[0], "self")
    g.output(g.attention(x, g.concat(k, k, k), k)[0], "cross")
    return g


def windows(rng: Rng) -> Graph:
    """Version 4: convolutions and pooling over steps and images, in a stream."""
    g = Graph()
    x = g.input("x", "seq", 4 * 3 * 2)
    v = g.conv(x, weights(rng, 4, 2, 2, 2, 2), weights(rng, 4), size=(4, 3), pad=((1, 0), (1, 0), (0, 0)))
    v = g.pool(v, "max", (2, 2, 2), size=(4, 2), pad=((1, 0), (0, 0), (0, 0)), stride=(1, 2, 1))
    v = g.conv(v, weights(rng, 4, 1, 3, 1, 1), weights(rng, 4), size=(2, 1), groups=4, pad=((2, 0), (0, 0), (0, 0)))
    v = g.conv(v, weights(rng, 6, 2, 1, 2, 1), None, size=(2, 1), groups=2)
    h, _, _ = g.convlstm(v, weights(rng, 8, 2, 1, 2), weights(rng, 8, 2, 1, 3), size=(1, 3))
    g.output(g.pool(h, "avg", (3, 1, 1), pad=((2, 0), (0, 0), (0, 0))), "y")
    return g


def chunked_windows(rng: Rng) -> Graph:
    """Version 4: windows with strides, that lag, and padded steps: in chunks, but not in a stream."""
    g = Graph()
    x = g.pad_steps(g.input("x", "seq", 2), 2, 0, 0.5)
    v = g.conv(x, weights(rng, 4, 2, 3, 1, 1), weights(rng, 4), stride=(2, 1, 1), dilation=(2, 1, 1), whole=True)
    v = g.pool(v, "avg_pad", (2, 1, 1), stride=(2, 1, 1), dilation_t=2, pad=((3, 0), (0, 0), (0, 0)), whole=True)
    y, _, _ = g.recurrent("gru", g.unflatten(v, 2), cell_weights(rng, "gru", 2, 3), hidden_size=3)
    g.output(y, "y")
    return g


def looking_ahead(rng: Rng) -> Graph:
    """Version 4: windows that need the whole sequence, images without steps, and initial states of a convlstm."""
    g = Graph()
    x, v = g.input("x", "seq", 4), g.input("v", "vec", 4 * 4)
    c = g.conv(x, weights(rng, 3, 4, 3, 1, 1), weights(rng, 3), pad=((1, 1), (0, 0), (0, 0)))
    c = g.pad_steps(g.pad_steps(c, 1, 2, mode="edge"), 2, 1, mode="reflect")
    g.output(g.pool(c, "max", (3, 1, 1), pad=((0, 2), (0, 0), (0, 0))), "y")
    h0 = g.pool(g.conv(v, weights(rng, 2, 1, 1, 3, 3), size=(4, 4)), "avg", (1, 1, 1), size=(2, 2))
    seq, h, _ = g.convlstm(x, weights(rng, 8, 1, 2, 2), weights(rng, 8, 2, 2, 2), weights(rng, 8), size=(2, 2),
                           pad=((1, 0), (0, 1)), h0=h0,
                           activations=("hard_sigmoid", "softsign", Activation("clip", -0.5, 0.5)))  # fmt: skip
    g.output(seq, "seq")
    g.output(g.flatten(g.unflatten(h, 4), 4), "h")
    return g


def integer_models(rng: Rng) -> dict[str, Graph]:
    """Integer weights: every cell, a projection, a mixture with float32, a tied table, convolutions."""
    out = {}
    for name, op, options in (("lstm", "lstm", {"proj": 6}), ("gru", "gru", {}), ("rnn", "rnn", {}),
                              ("gru_before", "gru", {"reset_after": False, "direction": "bidirectional"})):  # fmt: skip
        for bits, hidden in ((8, 5), (16, 7)):
            out[f"integers_{name}_{bits}"] = integer_graph(recurrent_graph(rng, op, 3, hidden, **options), bits, 16)
    out["integers_mixed"] = integer_graph(recurrent_graph(rng, "lstm", 2, 9), 8, 8, only=("w_hh",))
    g, table = Graph(), quantised(weights(rng, 11, 6), 8, 16)
    e = g.embedding(g.input("ids", "ids"), table)
    g.output(g.dense(e, table, weights(rng, 11), "tanh"), "y")
    out["integers_tied"] = g
    for bits in (8, 16):
        g = Graph()
        v = g.conv(g.input("x", "seq", 12), weights(rng, 32, 1, 2, 2, 1), weights(rng, 32), size=(3, 2), groups=2,
                   pad=((1, 0), (0, 0), (0, 0)), stride=(1, 1, 2))  # fmt: skip
        h, _, _ = g.convlstm(v, weights(rng, 8, 32, 1, 1), weights(rng, 8, 2, 2, 1), weights(rng, 8), size=(2, 1))
        v = g.conv(h, weights(rng, 5, 2, 1, 2, 1), size=(2, 1))
        g.output(g.dense(v, weights(rng, 3, 5)), "y")
        out[f"integers_windows_{bits}"] = integer_graph(g, bits, bits)
    return out


def pruned_models(rng: Rng) -> dict[str, Graph]:
    """Matrices of blocks: of floats and of integers, panels of each width, strips without a block."""
    out = {"blocks_lstm": pruned(rng, recurrent_graph(rng, "lstm", 3, 21, proj=9), 0.2)}
    out["blocks_gru_before"] = pruned(rng, recurrent_graph(rng, "gru", 2, 11, reset_after=False), 0.3)
    out["blocks_rnn"] = pruned(rng, recurrent_graph(rng, "rnn", 5, 29, direction="bidirectional"), 0.1)
    out["blocks_8"] = integer_graph(pruned(rng, recurrent_graph(rng, "gru", 9, 20), 0.2, 4), 8, 16)
    out["blocks_8_8"] = integer_graph(pruned(rng, recurrent_graph(rng, "rnn", 9, 36), 0.4, 4), 8, 8)
    out["blocks_16"] = integer_graph(pruned(rng, recurrent_graph(rng, "lstm", 5, 12), 0.4, 2), 16, 16)
    out["blocks_mixed"] = integer_graph(pruned(rng, recurrent_graph(rng, "lstm", 6, 9), 0.3), 8, 16, only=("w_ih",))
    return out


def all_models() -> dict[str, Graph]:
    rng = np.random.default_rng(20)
    models = {**recurrent_models(rng), **cell_activation_models(rng)}
    for op in GATES:
        models[f"{op}_explicit"] = explicit_state(rng, op, "forward", False)
        models[f"{op}_masked"] = masked(rng, op, "reverse", False)
    models["lstm_explicit_masked"] = explicit_state(rng, "lstm", "bidirectional", True)
    models["gru_zero_masked"] = masked(rng, "gru", "forward", True)
    makers: list[Callable[[Rng], Graph]] = [
        computed_state, encoder_decoder, tagger, features, vectors, axes, with_selftest,
        time_first, time_first_stream, unbatched, derived_axes, derived_stream,
        rows, groups, broadcasts, shaped, shaped_without_batch, later_activations_in_cells,
        along_time, attention,
        windows, chunked_windows, looking_ahead, several_ids, decoder_step, aligned, cut, joined,
    ]  # fmt: skip
    for make in makers:
        models[make.__name__] = make(rng)
    names = list(ACTIVATIONS)
    models["activations_1"], models["activations_2"] = activations(names[:8]), activations(names[8:15])
    later = [name for name in names[15:] if name not in ("log", "sqrt", "reciprocal", "power")]
    models["activations_3"], models["activations_4"] = activations(later[:8]), activations(later[8:])
    models["activations_5"] = later_of_positive()
    models.update(integer_models(rng))
    models.update(pruned_models(rng))
    return models


def as_bytes(name: str, graph: Graph) -> bytes:
    """The file: small matrices of blocks, too."""
    return dumps(graph, blocks_below=0.5 if name.startswith("blocks_") else None)


def write(folder: Path) -> int:
    """Write all files; returns their total size."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.lrt"):
        old.unlink()
    total = 0
    for name, graph in all_models().items():
        blob = as_bytes(name, graph)
        if len(blob) > MAX_FILE:
            raise SystemExit(f"{name}: {len(blob)} bytes, the limit is {MAX_FILE}")
        (folder / f"{name}.lrt").write_bytes(blob)
        total += len(blob)
    if total > MAX_TOTAL:
        raise SystemExit(f"{total} bytes in all, the limit is {MAX_TOTAL}")
    return total


if __name__ == "__main__":
    size = write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
    print(f"{len(all_models())} models, {size} bytes")
