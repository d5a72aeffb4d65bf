"""Names that come from files, made fit for messages: model files may hold anything as a name."""

from __future__ import annotations

from collections.abc import Iterable

_LENGTH = 80
_COUNT = 10


def shown(name: str) -> str:
    """``name`` on one line of at most 80 characters.

    Control characters, lone surrogates and other characters that a terminal would act upon are
    escaped; of a long name the middle is left out.
    """
    if len(name) > _LENGTH:  # before escaping: a name may have megabytes
        name = f"{name[:_LENGTH]}{name[-_LENGTH:]}"
        return _middle_left_out(_escaped(name), cut=True)
    return _middle_left_out(_escaped(name), cut=False)


def listed(names: Iterable[str], count: int = _COUNT) -> str:
    """The first ``count`` of ``names``, each :func:`shown`, and how many more there are."""
    names = list(names)
    text = ", ".join(shown(n) for n in names[:count])
    return f"{text} and {len(names) - count} more" if len(names) > count else text


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _middle_left_out(text: str, cut: bool) -> str:
    if not cut and len(text) <= _LENGTH:
        return text
    half = (_LENGTH - 3) // 2
    return f"{text[:half]}...{text[-half:]}"
