"""Methods of a graph that add a node over rows of features, where options need no more than a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import ArrayLike

from .errors import GraphError
from .ops import OPS

if TYPE_CHECKING:
    from .activations import Activation


class Nodes(Protocol):
    """What these methods need of a graph."""

    def node(self, op: str, *inputs: int | None, axis: int | None = None, **options: Any) -> int: ...


class RowOps:
    """The part of :class:`lstm_rt.graph.Graph` that works on rows of features, each step for itself."""

    def embedding(self: Nodes, ids: int, table: ArrayLike, start: int = 0, count: int = 0) -> int:
        """Rows of ``table`` ``(V, F)`` looked up by id; ids outside ``[0, V)`` are an error at run time.

        Of several ids at a step the rows stand side by side: of ``count`` of them, from ``start`` on; 0: of all from
        there. Ids without steps give a vec.
        """
        return self.node("embedding", ids, table=table, start=start, count=count)

    def mask_ids(self: Nodes, ids: int, value: int = 0) -> int:
        """Mask that is 0 where the id equals ``value`` (Keras ``mask_zero``)."""
        return self.node("mask_ids", ids, value=value)

    def mask_values(self: Nodes, x: int, value: float = 0.0) -> int:
        """Mask that is 0 where all features equal ``value`` (Keras ``Masking``)."""
        return self.node("mask_values", x, value=value)

    def apply_mask(self: Nodes, x: int, mask: int) -> int:
        """``x`` with masked steps set to 0."""
        return self.node("apply_mask", x, mask)

    def dense(
        self: Nodes,
        x: int,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        activation: str | Activation | None = None,
    ) -> int:
        """``activation(x @ weight.T + bias)``, weight ``(O, I)`` as in ``torch.nn.Linear``."""
        return self.node("dense", x, weight=weight, bias=bias, activation=activation)

    def activation(self: Nodes, x: int, activation: str | Activation) -> int:
        """An activation on its own."""
        return self.node("activation", x, activation=activation)

    def layernorm(self: Nodes, x: int, gamma: ArrayLike | None, beta: ArrayLike | None, eps: float) -> int:
        """``(x - mean) / sqrt(var + eps) * gamma + beta`` over the features (Ba et al. 2016)."""
        return self.node("layernorm", x, gamma=gamma, beta=beta, eps=eps)

    def batchnorm(
        self: Nodes,
        x: int,
        mean: ArrayLike,
        var: ArrayLike,
        gamma: ArrayLike | None,
        beta: ArrayLike | None,
        eps: float,
    ) -> int:
        """``(x - mean) / sqrt(var + eps) * gamma + beta`` with the statistics of training."""
        return self.node("batchnorm", x, mean=mean, var=var, gamma=gamma, beta=beta, eps=eps)

    def binary(self: Nodes, op: str, a: int, b: int) -> int:
        """``add``, ``sub``, ``mul``, ``div``, ``pow``, ``maximum`` or ``minimum``, or ``average``, element by element.

        All but ``average`` broadcast: size 1 stands for any size, and a vec beside a seq comes at every step.
        """
        known = [name for name, entry in OPS.items() if entry.alike or entry.broadcasts]
        if op not in known:
            raise GraphError(f"unknown binary op {op!r}; known: {', '.join(known)}")
        return self.node(op, a, b)

    def concat(self: Nodes, *parts: int) -> int:
        """Features of several values (all seq on one axis, or all vec) side by side."""
        return self.node("concat", *parts)

    def slice(self: Nodes, x: int, start: int, size: int) -> int:
        """Features ``start`` to ``start + size``."""
        return self.node("slice", x, start=start, size=size)

    def gather(self: Nodes, x: int, index: ArrayLike) -> int:
        """Features by their numbers: ``y[..., j] = x[..., index[j]]``, index integers ``(n,)``."""
        return self.node("gather", x, index=index)

    def constant(self: Nodes, value: ArrayLike) -> int:
        """A vec ``(F,)`` that is the same in every row and depends on no input."""
        return self.node("constant", value=value)

    def prelu(self: Nodes, x: int, alpha: ArrayLike) -> int:
        """``x`` where that is not negative, else ``alpha * x``; alpha ``(F,)``."""
        return self.node("prelu", x, alpha=alpha)

    def l2norm(self: Nodes, x: int, eps: float, groups: int = 1) -> int:
        """``x / max(sqrt(sum(x * x)), eps)`` of each of ``groups`` equal parts of the features."""
        return self.node("l2norm", x, eps=eps, groups=groups)

    def groupnorm(self: Nodes, x: int, gamma: ArrayLike | None, beta: ArrayLike | None, eps: float, groups: int) -> int:
        """:meth:`layernorm` within each of ``groups`` equal parts of the features; gamma, beta ``(F,)``."""
        return self.node("groupnorm", x, gamma=gamma, beta=beta, eps=eps, groups=groups)

    def reduce_features(self: Nodes, x: int, kind: str, groups: int = 1) -> int:
        """Each of ``groups`` equal parts of the features to one number: its ``sum``, ``mean``, ``max``, ``min``,
        ``prod`` or ``l2``, the root of the sum of squares."""
        return self.node("reduce_features", x, kind=kind, groups=groups)
