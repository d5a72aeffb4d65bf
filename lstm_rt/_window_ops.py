"""Methods of a graph for the ops over windows of steps and images, and for steps that are padded or regrouped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from ._window import pad_options, pair_options, size_options, triple_options

if TYPE_CHECKING:
    from .activations import Activation
    from .graph import Node

Pair = tuple[int, int]
_ONES = (1, 1, 1)
_NO_PAD = ((0, 0), (0, 0), (0, 0))


class WindowOps:
    """A part of :class:`lstm_rt.graph.Graph`. All raise GraphError as it does.

    ``size`` is the height and width of an image that the features of each step (or of a vec) are, row-major, channels
    last; ``(1, 1)``: only time. Triples are of time, height and width. A vec has one step.
    """

    if TYPE_CHECKING:
        nodes: list[Node]

        def node(self, op: str, *inputs: int | None, axis: int | None = None, **options: Any) -> int: ...

    def conv(
        self,
        x: int,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        size: Pair = (1, 1),
        stride: tuple[int, int, int] = _ONES,
        dilation: tuple[int, int, int] = _ONES,
        pad: tuple[Pair, Pair, Pair] = _NO_PAD,
        groups: int = 1,
        whole: bool = False,
    ) -> int:
        """A convolution (cross-correlation, as ``torch.nn.Conv3d``) over time, height and width.

        Args:
            weight: ``(O, C / groups, kt, kh, kw)`` for images of C channels.
            bias: ``(O,)``.
            pad: zeros (before, after) in time, height and width.
            whole: steps beyond a row's length are read as they are, not as 0.

        The result has images (h', w', O). Its time axis is x's own where there is a window for each step
        (``t0 + t1 == dilation * (kt - 1)``, stride 1), else one derived from it. With padding before alone it streams.
        """
        return self.node(
            "conv", x, weight=weight, bias=bias, groups=groups, whole=whole, **size_options("conv", size),
            **triple_options("conv", "stride", stride), **triple_options("conv", "dilation", dilation),
            **pad_options("conv", pad),
        )  # fmt: skip

    def pool(
        self,
        x: int,
        kind: str,
        kernel: tuple[int, int, int],
        *,
        size: Pair = (1, 1),
        stride: tuple[int, int, int] = _ONES,
        pad: tuple[Pair, Pair, Pair] = _NO_PAD,
        dilation_t: int = 1,
        whole: bool = False,
    ) -> int:
        """The largest of each window (``max``) or its mean: ``avg`` of what is inside, ``avg_pad`` with padding as 0.

        Steps beyond a row's length are padding, unless ``whole``. A window with nothing inside gives 0. Axes are those
        of :meth:`conv`.
        """
        return self.node(
            "pool", x, kind=kind, whole=whole, dilation_t=dilation_t, **size_options("pool", size),
            **triple_options("pool", "kernel", kernel), **triple_options("pool", "stride", stride),
            **pad_options("pool", pad),
        )  # fmt: skip

    def pad_steps(self, x: int, before: int, after: int, value: float = 0.0, mode: str = "constant") -> int:
        """A sequence with more steps before and after, on a time axis derived from x's.

        ``mode``: ``constant`` (``value``), ``edge`` (the first and the last step again) or ``reflect`` (as in NumPy).
        What comes after follows a row's own last valid step; steps beyond that are 0.
        """
        return self.node("pad", x, before=before, after=after, value=value, mode=mode)

    def flatten(self, x: int, steps: int) -> int:
        """A sequence of exactly so many steps as one vec, step by step; a call with another number is an error."""
        return self.node("flatten", x, steps=steps)

    def unflatten(self, x: int, times: int) -> int:
        """Each step (or the vec) cut into ``times`` steps, on a time axis of ``times`` as many, or of so many steps."""
        return self.node("unflatten", x, times=times)

    def convlstm(
        self,
        x: int,
        w_ih: ArrayLike,
        w_hh: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        size: Pair,
        stride: Pair = (1, 1),
        dilation: Pair = (1, 1),
        pad: tuple[Pair, Pair] = ((0, 0), (0, 0)),
        activations: Sequence[str | Activation] = ("sigmoid", "tanh", "tanh"),
        h0: int | None = None,
        c0: int | None = None,
    ) -> tuple[int, int, int]:
        """An LSTM whose products are convolutions (Shi et al. 2015, as Keras ``ConvLSTM2D``).

        Args:
            w_ih: ``(4 * H, C, kh, kw)``, gates in the order i f g o, for images of C channels.
            w_hh: ``(4 * H, H, rh, rw)``: its stride is 1, and its padding leaves h as large as it is, the larger half
                behind where ``rh - 1`` or ``rw - 1`` is odd.
            bias: ``(4 * H,)``.
            stride, dilation, pad: of the convolution of x, over height and width.
            activations: (gate, cell, output), as of an lstm.
            h0, c0: initial states as vec values, images (h', w', H); as of an lstm.

        Returns ``(seq, h_n, c_n)``, all of them images (h', w', H).
        """
        gate, cell, output = activations
        seq = self.node(
            "convlstm", x, h0, c0, w_ih=w_ih, w_hh=w_hh, bias=bias, gate=gate, cell=cell, output=output,
            **size_options("convlstm", size), **pair_options("convlstm", "stride", stride),
            **pair_options("convlstm", "dilation", dilation), **pad_options("convlstm", pad, "hw"),
        )  # fmt: skip
        return seq, seq + 1, seq + 2
