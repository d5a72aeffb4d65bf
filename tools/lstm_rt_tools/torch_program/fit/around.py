"""Which sizes of a traced module are free: it remembers those that it was traced with."""

from __future__ import annotations

import itertools

from lstm_rt.errors import ConvertError

from ...names import shown
from .runs import Dims, Runs, Sizes, Unsized, may_be_free

_MOST_PICKS = 4096  #: of dimensions that may be one


class Around(Runs):
    """Looks around the sizes that a program is known to take.

    Args:
        frames: may sizes be free that can only be made twice as large, and three times, and so on?

    Attributes:
        framed: are there such sizes?
    """

    def __init__(self, source: Unsized, frames: bool) -> None:
        super().__init__(source)
        self._frames, self.framed = frames, False

    def dims(self, examples: Sizes) -> Dims:
        """The dimensions of a module that runs at ``examples``.

        Raises:
            ConvertError: it does not run there.
        """
        for (i, k), size in self.given.items():
            if k >= len(examples[i]):
                raise ConvertError(f"the input {shown(self.names[i])} has {len(examples[i])} dimensions, none {k}")
            examples[i][k] = size
        try:
            self.run(self.arrays(examples))
        except ConvertError:
            self.lengths = False  # they may be ids, of a table that has fewer rows
            self.run(self.arrays(examples))
        dims: Dims = [list(e) for e in examples]
        for size in dict.fromkeys(n for column in itertools.zip_longest(*examples) for n in column if n is not None):
            while (found := self._free(examples, dims, size)) is not None:
                name = f"{self.names[found[0][0]]}.{found[0][1]}" if len(found) > 1 else None
                for i, k in found:
                    dims[i][k] = name
        return dims

    def _free(self, examples: Sizes, dims: Dims, size: int) -> list[tuple[int, int]] | None:
        """Dimensions of one size that can be another one, together."""
        choices: list[list[int | None]] = [
            [*(k for k, d in enumerate(own) if d == size and may_be_free(own) and (i, k) not in self.given), None]
            for i, own in enumerate(dims)
        ]
        picks = itertools.islice(itertools.product(*choices), _MOST_PICKS)  # those of most dimensions come first
        sets = [[(i, k) for i, k in enumerate(pick) if k is not None] for pick in picks]
        for places in sorted((s for s in sets if s), key=lambda s: -len(s))[:64]:
            # by any number, or if there is more than one, by as many again: it may take steps by the frame
            if all(self.can_grow(examples, places, n) for n in (4, size + 5)):
                return places
            if self._frames and size > 1 and all(self.can_grow(examples, places, n) for n in (size, 2 * size)):
                self.framed = True
                return places
        return None
