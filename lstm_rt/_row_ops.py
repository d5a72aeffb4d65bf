"""Methods of a graph that add a node over rows of features, where options need no more than a word."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import ArrayLike


class Nodes(Protocol):
    """What these methods need of a graph."""

    def node(self, op: str, *inputs: int, axis: int | None = None, **options: Any) -> int: ...


class RowOps:
    """The part of :class:`lstm_rt.graph.Graph` that works on rows of features, each step for itself."""

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
