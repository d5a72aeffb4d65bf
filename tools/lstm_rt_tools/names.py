"""Names that come from files, made fit for messages: model files may hold anything as a name."""

from __future__ import annotations

from collections.abc import Iterable

from lstm_rt.text import shown as shown

_COUNT = 10


def listed(names: Iterable[str], count: int = _COUNT) -> str:
    """The first ``count`` of ``names``, each :func:`shown`, and how many more there are."""
    names = list(names)
    text = ", ".join(shown(n) for n in names[:count])
    return f"{text} and {len(names) - count} more" if len(names) > count else text
