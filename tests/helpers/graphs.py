"""Random graphs and inputs for tests: every op, every cell option."""

from __future__ import annotations

import numpy as np

from lstm_rt.graph import ACTIVATIONS, GATES, NOT_ELEMENTWISE, Activation, Graph

ELEMENTWISE = [a for a in ACTIVATIONS if a not in NOT_ELEMENTWISE]

#: Each form of a cell that is computed in a way of its own: op and options of :func:`recurrent_graph`.
FORMS = [
    ("lstm", {}),
    ("lstm", {"peephole": True, "clip": 0.8}),
    ("lstm", {"proj": 19}),
    ("gru", {"reset_after": True}),
    ("gru", {"reset_after": False}),
    ("rnn", {}),
]
#: Those with each option of the cells, alone and with others.
CELLS = [
    *FORMS,
    ("lstm", {"peephole": True}),
    ("lstm", {"proj": 5, "zero_masked": True}),
    ("lstm", {"proj": 21, "peephole": True, "clip": 0.7}),
    ("lstm", {"clip": 0.5}),
    ("lstm", {"bias": False}),
    ("lstm", {"activations": ("hard_sigmoid", "relu", "softsign")}),
    ("lstm", {"peephole": True, "activations": ("hard_sigmoid", "relu", Activation("elu", 0.3))}),
    ("gru", {"reset_after": True, "clip": 0.5}),
    ("gru", {"reset_after": False, "clip": 0.5, "activations": ("hard_sigmoid", "elu")}),
    ("gru", {"reset_after": True, "activations": ("hard_sigmoid", "softsign")}),
    ("rnn", {"activations": ("relu",)}),
    ("rnn", {"activations": (Activation("leaky_relu", 0.2),)}),
    ("rnn", {"clip": 0.3}),
]


def cell_id(cell):
    """The name of a cell's tests, as ``ids`` of the tables above."""
    op, options = cell
    return "-".join([op, *(f"{k}={v}" if isinstance(v, bool | int | float) else k for k, v in options.items())])


def weights(rng, *shape, scale=None):
    scale = 1.0 / np.sqrt(shape[-1]) if scale is None else scale
    return rng.uniform(-scale, scale, shape).astype(np.float32)


def cell_weights(rng, op, inputs, hidden, direction="forward", proj=0, peephole=False, bias=True):
    """A dict for Graph.recurrent, both directions where there are two."""
    out = {}
    rows, r = GATES[op] * hidden, proj or hidden
    for s in ("", "_reverse") if direction == "bidirectional" else ("",):
        out["w_ih" + s] = weights(rng, rows, inputs)
        out["w_hh" + s] = weights(rng, rows, r)
        if bias:
            out["b_ih" + s] = weights(rng, rows, scale=0.3)
            out["b_hh" + s] = weights(rng, rows, scale=0.3)
        if proj:
            out["w_hr" + s] = weights(rng, proj, hidden)
        if peephole:
            out["peephole" + s] = weights(rng, 3, hidden, scale=0.5)
    return out


def recurrent_graph(rng, op, inputs, hidden, **options):
    """One layer with sequence, final states as outputs. Options go to cell_weights and recurrent."""
    keys = ("direction", "proj", "peephole", "bias")
    w = cell_weights(rng, op, inputs, hidden, **{k: options[k] for k in keys if k in options})
    rest = {k: v for k, v in options.items() if k not in ("proj", "peephole", "bias")}
    return layer_graph(op, w, inputs, hidden, **rest)


def layer_graph(op, weights, inputs, hidden, with_mask=False, **options):
    """x, and ids as its mask if there is to be one -> one layer -> y, h_n and, of an LSTM, c_n."""
    g = Graph()
    x = g.input("x", "seq", inputs)
    if with_mask:
        options["mask"] = g.mask_ids(g.input("mask", "ids", axis=0))
    seq, h, c = g.recurrent(op, x, weights, hidden_size=hidden, **options)
    g.output(seq, "y")
    g.output(h, "h_n")
    if c is not None:
        g.output(c, "c_n")
    return g


def every_op_graph(rng, features=5):
    """A graph with every op that works on features, on a sequence with ids beside it."""
    g = Graph()
    x = g.input("x", "seq", features)
    ids = g.input("ids", "ids", axis=g.values[x].axis)
    v = g.input("v", "vec", 3)
    e = g.embedding(ids, weights(rng, 11, 7, scale=1.0))
    mask = g.mask_ids(ids)
    masked = g.apply_mask(x, g.mask_values(x, 0.0))
    both = g.concat(masked, e, x)
    n = g.layernorm(both, weights(rng, 17, scale=1.0), weights(rng, 17, scale=1.0), 1e-3)
    b = g.batchnorm(n, weights(rng, 17), np.abs(weights(rng, 17)) + 0.5, weights(rng, 17), weights(rng, 17), 1e-3)
    d = g.dense(b, weights(rng, 9, 17), weights(rng, 9), "swish")
    w = cell_weights(rng, "lstm", 9, 6, "bidirectional")
    seq, _, c = g.recurrent("lstm", d, w, hidden_size=6, direction="bidirectional", mask=mask)
    merged = g.binary("average", g.slice(seq, 0, 6), g.slice(seq, 6, 6))
    merged = g.binary("add", merged, g.binary("mul", merged, g.reverse(merged)))
    g.output(g.dense(merged, weights(rng, 4, 6), None, "softmax"), "probabilities")
    first, last = g.select(merged, 0), g.select(merged, -1)
    joined = g.concat(first, last, v, c)
    g.output(g.dense(joined, weights(rng, 3, 27), weights(rng, 3), "log_softmax"), "label")
    g.output(g.layernorm(g.activation(joined, Activation("leaky_relu", 0.2)), None, None, 1e-5), "code")
    return g


def inputs_for(rng, graph, batch, steps, lengths=None):
    """One array per graph input; ids below 11, some of them 0, some steps of x all 0."""
    out = []
    for i in graph.inputs:
        v = graph.values[i]
        t = steps if isinstance(steps, int) else steps[v.axis]
        if v.kind == "seq":
            a = rng.uniform(-1, 1, (batch, t, v.size)).astype(np.float32)
            a[rng.random((batch, t)) < 0.2] = 0
        elif v.kind == "vec":
            a = rng.uniform(-1, 1, (batch, v.size)).astype(np.float32)
        elif v.kind == "ids":
            shape = (batch, *([t] if v.timed else []), *([v.size] if v.size else []))
            a = rng.integers(0, 11, shape).astype(np.int32)
            a[rng.random(shape) < 0.2] = 0
        else:
            a = np.asarray(lengths if lengths is not None else [t] * batch, np.int32)
        out.append(v.from_batch_first(a))
    return out


def names(graph):
    """Of the inputs and of the outputs."""
    return [graph.values[i].name for i in graph.inputs], [graph.values[o].name for o in graph.outputs]
