"""LSTMs whose products are convolutions over images (Shi et al. 2015), recognised in the algebra of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation, Graph, Node

from .algebra import Activated, Algebra, Convolved, Given, Piece, single

if TYPE_CHECKING:
    from .cells import Cell

A = NDArray[np.float64]
_GATES = "ifgo"


@dataclass
class _Gate:
    """What acts before the activation of a gate: a convolution of h, and a value of the step that holds that of x.

    Numbers are those of a channel: the same at each place.
    """

    node: Node  #: the convolution of h
    scale: A
    bias: A
    x: int
    x_scale: A


def found(
    a: Algebra, gates: Mapping[str, Activated], output: Activation, group: tuple[int, ...], old: Sequence[int]
) -> Cell | None:
    """The cell of states h and c with these gates; None if its products are no convolutions."""
    from .cells import Cell

    parts = [_gate(a, gates[name].x, old[group[0]]) for name in _GATES]
    made = [p for p in parts if p is not None]
    sizes = {(p.node.attrs["height"], p.node.attrs["width"], p.node.weights["weight"].shape) for p in made}
    if len(made) < len(parts) or len(sizes) != 1:
        return None
    kernels = [p.node.weights["weight"][:, :, 0] * p.scale[:, None, None, None] for p in made]
    weights = {"w_hh": np.concatenate(kernels), "bias": np.concatenate([p.bias for p in made])}
    weights["x_scale"] = np.concatenate([p.x_scale for p in made])
    ((height, width, _),) = sizes
    acts = (gates["i"].activation, gates["g"].activation, output)
    return Cell(
        "convlstm", group[0], group[1], [(p.x, 0, gates["i"].x.size) for p in made],
        {name: w.astype(np.float32) for name, w in weights.items()}, len(made[0].scale),
        {"size": (height, width), "activations": acts},
    )  # fmt: skip


def _gate(a: Algebra, p: Piece, h: int) -> _Gate | None:
    terms = dict(p.terms)
    constant = terms.pop((), np.zeros(p.size))
    hidden = [(key, atom) for key in terms if len(key) == 1 and isinstance(atom := a.atoms[key[0][0]], Convolved)]
    if len(hidden) != 1 or len(terms) != 2:
        return None
    key, convolved = hidden[0]
    ((other, x_scale),) = ((k, c) for k, c in terms.items() if k != key)
    given = a.atoms[other[0][0]] if len(other) == 1 else None
    read = single(convolved.x)
    if not isinstance(given, Given) or given.value == h or read is None or len(read) != 1 or not keeps(convolved.node):
        return None
    whole = a.atoms[read[0][0]] == Given(h) and convolved.x.size == p.size
    if not whole or any(at for _, at in (key[0], other[0], read[0])):
        return None
    channels = len(convolved.node.weights["weight"])
    columns = [_per_channel(c, channels) for c in (terms[key], x_scale, constant)]
    if any(c is None for c in columns):
        return None
    scale, x_scale, bias = (np.asarray(c) for c in columns)
    own = np.asarray(convolved.node.weights.get("bias", np.zeros(channels)), np.float64)
    return _Gate(convolved.node, scale, bias + scale * own, given.value, x_scale)


def _per_channel(numbers: A, channels: int) -> A | None:
    places = numbers.reshape(-1, channels)
    return places[0] if (places == places[0]).all() else None


def keeps(node: Node) -> bool:
    """Is a convolution one of h: does it keep the image's size, as that of a convlstm does?"""
    attrs, weight = node.attrs, node.weights["weight"]
    outputs, inside, *kernel = weight.shape
    plain = all(attrs[f"{name}_{d}"] == 1 for name in ("stride", "dilation") for d in "thw") and attrs["groups"] == 1
    pads = [(attrs[f"before_{d}"], attrs[f"after_{d}"]) for d in "thw"]
    wanted = [((k - 1) // 2, k - 1 - (k - 1) // 2) for k in kernel]
    return plain and outputs == inside and kernel[0] == 1 and pads == wanted


def layer(
    graph: Graph,
    cell: Cell,
    makers: Mapping[int, Node],
    lift: Callable[[int], int],
    states: Mapping[str, int | None],
) -> tuple[int, int, int]:
    """The layer over sequences: ``(seq, h_n, c_n)``.

    Args:
        graph: outside of the step.
        makers: the nodes of the step, by what they make.
        lift: from a value of the step to the sequence of it.
    """
    values = [value for value, _, _ in cell.x]
    nodes = [makers.get(v) for v in values]
    ahead = [n for n in nodes if n is not None and n.op == "conv" and n.inputs[0] is not None]
    x_scale, bias = cell.weights["x_scale"], cell.weights["bias"]
    options: dict[str, Any] = {**cell.options, **states}
    alike = len(ahead) == len(nodes) and all(_as_one(n, ahead[0]) for n in ahead)
    if alike:
        x = lift(ahead[0].inputs[0])  # type: ignore[arg-type]
        w_ih = np.concatenate([n.weights["weight"][:, :, 0] for n in ahead])
        own = [n.weights.get("bias", np.zeros(len(n.weights["weight"]), np.float32)) for n in ahead]
        bias = bias + x_scale * np.concatenate(own)
        attrs = ahead[0].attrs
        options["size"] = attrs["height"], attrs["width"]
        options |= {name: (attrs[f"{name}_h"], attrs[f"{name}_w"]) for name in ("stride", "dilation")}
        options["pad"] = tuple((attrs[f"before_{d}"], attrs[f"after_{d}"]) for d in "hw")
    else:  # convolved in another way, perhaps ahead of the loop: each channel as it is
        channels = cell.hidden_size
        order = np.arange(4 * cell.x[0][2]).reshape(4, -1, channels).swapaxes(0, 1)
        x = graph.gather(graph.concat(*map(lift, values)), order.ravel().astype(np.int32))
        w_ih = np.eye(4 * channels, dtype=np.float32)[:, :, None, None]
    return graph.convlstm(x, w_ih * x_scale[:, None, None, None], cell.weights["w_hh"], bias, **options)


def _as_one(node: Node, first: Node) -> bool:
    """Can a convolution be a part of one with another's?"""
    same = node.inputs == first.inputs and node.attrs == first.attrs and node.attrs["groups"] == 1
    return same and node.weights["weight"].shape == first.weights["weight"].shape
