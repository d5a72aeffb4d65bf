"""LSTM, GRU and RNN models straight from arrays, in the layout of PyTorch's state dicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ._core import Model
from .errors import GraphError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .graph import Activation

    Weights: TypeAlias = ArrayLike | Sequence[ArrayLike] | None
    Threads: TypeAlias = int | Literal["auto"]


def LSTM(
    w_ih: Weights,
    w_hh: Weights,
    b_ih: Weights = None,
    b_hh: Weights = None,
    *,
    w_hr: Weights = None,
    peephole: Weights = None,
    bidirectional: bool = False,
    activations: Sequence[str | Activation] | None = None,
    clip: float = 0.0,
    threads: Threads = "auto",
) -> Model:
    """A (stacked, bidirectional) LSTM.

    Each argument is one array, or a list with one per layer and direction in the order of
    PyTorch's ``weight_ih_l0, weight_ih_l0_reverse, weight_ih_l1, ...``. Gate order ``i f g o``.

    Args:
        w_ih: ``(4H, I)`` float; layer ``k > 0`` takes ``I = directions * R``.
        w_hh: ``(4H, R)``, ``R`` being ``H`` or the projection's size.
        b_ih, b_hh: ``(4H,)`` or None.
        w_hr: projection ``(R, H)`` (``proj_size``), or None.
        peephole: ``(3, H)``, order i f o, or None.
        bidirectional: layers run in both directions; outputs side by side.
        activations: ``(gate, cell, output)``; default sigmoid, tanh, tanh.
        clip: if > 0, clip gate pre-activations to ``[-clip, clip]``.
        threads: as in :func:`lstm_rt.load`.

    Returns:
        Model with input ``x`` ``(N, T, I)`` and output ``y`` ``(N, T, directions * R)``; final
        states with ``return_state=True``.

    Raises:
        GraphError: an array's shape or dtype does not fit.
    """
    weights = {"w_ih": w_ih, "w_hh": w_hh, "b_ih": b_ih, "b_hh": b_hh, "w_hr": w_hr, "peephole": peephole}
    return _stack("lstm", 4, weights, bidirectional, threads, activations=activations, clip=clip)


def GRU(
    w_ih: Weights,
    w_hh: Weights,
    b_ih: Weights = None,
    b_hh: Weights = None,
    *,
    reset_after: bool = True,
    bidirectional: bool = False,
    activations: Sequence[str | Activation] | None = None,
    clip: float = 0.0,
    threads: Threads = "auto",
) -> Model:
    """A (stacked, bidirectional) GRU; arguments as in :func:`LSTM`, gate order ``r z n``.

    Args:
        w_ih, w_hh, b_ih, b_hh: ``(3H, I)``, ``(3H, H)``, ``(3H,)``, ``(3H,)``.
        reset_after: True for PyTorch's form, ``n = tanh(W x + b_ih + r * (U h + b_hh))``; False
            for the original, ``n = tanh(W x + b_ih + U (r * h) + b_hh)``.
        activations: ``(gate, candidate)``; default sigmoid, tanh.
    """
    weights = {"w_ih": w_ih, "w_hh": w_hh, "b_ih": b_ih, "b_hh": b_hh}
    options = {"activations": activations, "clip": clip, "reset_after": reset_after}
    return _stack("gru", 3, weights, bidirectional, threads, **options)


def RNN(
    w_ih: Weights,
    w_hh: Weights,
    b_ih: Weights = None,
    b_hh: Weights = None,
    *,
    nonlinearity: str | Activation = "tanh",
    bidirectional: bool = False,
    clip: float = 0.0,
    threads: Threads = "auto",
) -> Model:
    """A (stacked, bidirectional) simple RNN, ``h' = tanh(W x + b_ih + U h + b_hh)``.

    Args:
        w_ih, w_hh, b_ih, b_hh: ``(H, I)``, ``(H, H)``, ``(H,)``, ``(H,)``; as in :func:`LSTM`.
        nonlinearity: ``"tanh"``, ``"relu"`` or another elementwise activation.
    """
    weights = {"w_ih": w_ih, "w_hh": w_hh, "b_ih": b_ih, "b_hh": b_hh}
    return _stack("rnn", 1, weights, bidirectional, threads, activations=(nonlinearity,), clip=clip)


def _as_list(w: Weights) -> list[Any]:
    return list(w) if isinstance(w, (list, tuple)) and len(w) and getattr(w[0], "ndim", 0) > 0 else [w]


def _shape(op: str, w: ArrayLike) -> tuple[int, ...]:
    import numpy as np

    try:
        return np.shape(w)
    except ValueError as e:  # rows of different lengths
        raise GraphError(f"{op}: w_ih is not an array: {e}") from e


def _stack(
    op: str, gates: int, given: dict[str, Weights], bidirectional: bool, threads: Threads, **options: Any
) -> Model:
    from .graph import Graph

    lists = {name: _as_list(w) for name, w in given.items() if w is not None}
    if "w_ih" not in lists:
        raise GraphError(f"{op}: w_ih is missing")
    count, n_dir = len(lists["w_ih"]), 2 if bidirectional else 1
    if count % n_dir:
        raise GraphError(f"{op}: {count} arrays in w_ih, expected two per bidirectional layer")
    for name, arrays in lists.items():
        if len(arrays) != count:
            raise GraphError(f"{op}: {len(arrays)} arrays in {name}, expected {count} as in w_ih")
    shapes = [_shape(op, w) for w in lists["w_ih"]]
    for shape in shapes:
        if len(shape) != 2 or shape[0] % gates or 0 in shape:
            raise GraphError(f"{op}: w_ih has shape {shape}, expected {f'({gates} * H, I)' if gates > 1 else '(H, I)'}")
    graph = Graph()
    value = graph.input("x", "seq", shapes[0][1])
    for layer in range(count // n_dir):
        weights = {
            name + suffix: arrays[layer * n_dir + d]
            for name, arrays in lists.items()
            for d, suffix in enumerate(("", "_reverse")[:n_dir])
        }
        hidden = shapes[layer * n_dir][0] // gates
        direction = "bidirectional" if bidirectional else "forward"
        value, _, _ = graph.recurrent(op, value, weights, hidden_size=hidden, direction=direction, **options)
    graph.output(value, "y")
    graph.meta["source"] = {"framework": "arrays"}
    return Model(graph, threads)
