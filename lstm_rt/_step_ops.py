"""Methods of a graph for the ops along time: reductions, running sums, attention, steps chosen and repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from ._checks import integer
from .errors import GraphError
from .ops import MAX_STEPS, MAX_TAKE, OPS, Axis

if TYPE_CHECKING:
    from .values import Value


class StepOps:
    """A part of :class:`lstm_rt.graph.Graph`. All raise GraphError as it does.

    *Valid* steps are those within a row's length, if its time axis has lengths; with ``whole`` all steps are. Steps
    that the ``mask`` marks with 0 do not count either.
    """

    if TYPE_CHECKING:
        values: list[Value]

        def node(self, op: str, *inputs: int | None, axis: int | None = None, **options: Any) -> int: ...
        def new_axis(self, rule: Axis | None = None) -> int: ...
        def _expect(self, op: str, value: int | None, *kinds: str) -> Value: ...

    def reduce(self, x: int, kind: str, mask: int | None = None, whole: bool = False) -> int:
        """A seq to a vec: ``sum``, ``mean``, ``max``, ``min``, ``prod`` or ``l2`` (root of the sum of squares)
        of each feature over the steps that count; 0 where none does. In a stream, over the steps so far."""
        return self.node("reduce", x, mask, kind=kind, whole=whole)

    def softmax_steps(self, x: int, mask: int | None = None, whole: bool = False) -> int:
        """Softmax of each feature of a seq over the steps that count; 0 at the others. Needs the whole sequence."""
        return self.node("softmax_steps", x, mask, whole=whole)

    def cumsum(self, x: int) -> int:
        """The sum of each feature up to each step. Steps beyond a row's length add nothing."""
        return self.node("cumsum", x)

    def attention(
        self,
        q: int,
        k: int,
        v: int,
        *,
        heads: int = 1,
        kv_heads: int = 0,
        kind: str = "dot",
        scale: float = 1.0,
        causal: bool = False,
        mask: int | None = None,
        weight: ArrayLike | None = None,
        whole: bool = False,
    ) -> tuple[int, int | None]:
        """Means of ``v``, weighted by how well its steps' keys ``k`` fit the queries ``q``; returns ``(out, weights)``.

        Args:
            q: vec or seq of ``heads`` parts of E features each; every step is a query for itself.
            k, v: seq on one time axis, of ``kv_heads`` parts: E features each in k, D in v.
            heads: parts of q and of the output, which has ``heads * D`` features on q's axis.
            kv_heads: parts of k and v; each serves ``heads / kv_heads`` parts of q in turn. 0: as many as heads.
            kind: how well a key fits: ``dot``, ``scale * sum(q * k)``, or ``additive``,
                ``scale * sum(weight * tanh(q + k))``.
            causal: step t of q sees the steps 0 to t of k alone.
            mask: which steps of k count.
            weight: additive only, ``(heads * E,)``; None for ones.
            whole: steps beyond a row's length on k's axis count as well.

        ``weights`` is the softmax of the fits over the steps that count, 0 at the others: a seq of ``heads`` features
        on k's axis, where q is a vec; else None. A query that no step counts for gives 0. Needs the whole sequence.
        """
        out = self.node(
            "attention",
            q,
            k,
            v,
            mask,
            heads=heads,
            kv_heads=kv_heads,
            kind=kind,
            scale=scale,
            causal=causal,
            weight=weight,
            whole=whole,
        )
        return out, out + 1 if self.values[q].kind == "vec" else None

    def select(self, x: int, index: int = -1) -> int:
        """One step of a sequence: 0 the first, -1 the last valid one."""
        return self.node("select", x, index=index)

    def reverse(self, x: int) -> int:
        """The sequence backwards, each row within its own length."""
        return self.node("reverse", x)

    def take(self, x: int, start: int = 0, stride: int = 1, drop: int = 0, most: int | None = None) -> int:
        """Steps ``start``, ``start + stride``... of a sequence, as slices of Python have them.

        The last ``drop`` steps do not come, nor more than ``most``. The result is on a time axis derived from x's;
        lengths follow: a row of ``n`` valid steps has ``(n - drop - start + stride - 1) // stride``.
        """
        drop = integer("take", "drop", drop)
        if not 0 <= drop <= MAX_TAKE:
            raise GraphError(f"take: drop is {drop}, expected 0 to {MAX_TAKE}")
        v, entry = self._expect("take", x, "seq"), OPS["take"]
        attrs = {a.name: a.checked("take", n) for a, n in zip(entry.attrs, (start, stride), strict=True)}
        cap = MAX_STEPS if most is None else integer("take", "most", most)
        if not 0 <= cap <= MAX_STEPS:
            raise GraphError(f"take: most is {cap}, expected 0 to {MAX_STEPS}")
        rule = Axis(v.axis, 1, attrs["stride"] - 1 - attrs["start"] - drop, attrs["stride"], cap)
        return self.node("take", x, axis=self.new_axis(rule), **attrs)

    def align(self, x: int, axis: int) -> int:
        """The steps of a sequence as those of another time axis. A call in which there are not as many is an error."""
        return self.node("align", x, axis=axis)

    def cut(self, x: int, axis: int) -> int:
        """The first steps of a sequence, as many as another time axis has. A call in which x has fewer is an error."""
        return self.node("cut", x, axis=axis)

    def repeat(self, x: int, times: int) -> int:
        """Each step of a sequence ``times`` times, on a time axis derived from x's (Keras ``UpSampling1D``)."""
        self._expect("repeat", x, "seq")
        return self.node("repeat", x, times=times)

    def repeat_vector(self, x: int, axis: int) -> int:
        """A vec at every step of a time axis (Keras ``RepeatVector`` on an axis of a fixed number of steps)."""
        self._expect("repeat", x, "vec")
        return self.node("repeat", x, times=0, axis=axis)
