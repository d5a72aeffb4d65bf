"""Which sizes the inputs of a TorchScript program have: its code does not say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TypeVar

from lstm_rt.errors import ConvertError

from ...program.machine import Argument, Exhausted
from .around import Around
from .learnt import Found, Learnt
from .runs import Unsized

__all__ = ["Unsized", "fit", "fitted"]
_MOST_FORMS = 4  #: that are converted

_Made = TypeVar("_Made")


def fitted(source: Unsized, convert: Callable[[], _Made]) -> _Made:
    """What ``convert`` makes of the source once its inputs have their dimensions.

    Where it makes nothing of the likeliest ones, others are tried, which is a note.

    Raises:
        ConvertError: as of :func:`fit`, and of ``convert`` for the likeliest dimensions.
    """
    failure: ConvertError | None = None
    forms = itertools.islice(_forms(source), _MOST_FORMS)
    while (found := _next(forms, failure)) is not None:
        if failure is not None:
            sizes = zip(source.inputs, found.dims, strict=True)
            shapes = ", ".join(f"{a.name} of {len(dims)} dimensions" for a, dims in sizes)
            found.notes.append(f"a choice: {shapes}; of likelier inputs nothing was made ({failure})")
        _take(source, found)
        try:
            return convert()
        except Exhausted:
            raise
        except ConvertError as e:
            failure = failure or e
        source.notes[:] = [n for n in source.notes if n not in found.notes]
    assert failure is not None
    raise failure


def _next(forms: Iterator[Found], failure: ConvertError | None) -> Found | None:
    """The next form; what came of the likeliest one, where the search for others ends in an error."""
    try:
        return next(forms, None)
    except ConvertError as e:
        raise failure or e from None


def fit(source: Unsized) -> None:
    """Give ``source.inputs`` their likeliest dimensions; of what can only be made so many times as large, one size.

    Raises:
        ConvertError: no sizes are found at which the program runs; the message has what the likeliest ran into.
    """
    _take(source, next(found for found in _forms(source) if not found.framed))


def _take(source: Unsized, found: Found) -> None:
    source.inputs = [
        Argument(a.name, dtype, tuple(d)) for a, dtype, d in zip(source.inputs, found.dtypes, found.dims, strict=True)
    ]
    source.notes += found.notes


def _forms(source: Unsized) -> Iterator[Found]:
    """What the inputs may be, likelier forms first."""
    if source.examples is None:
        yield from Learnt(source).found()
        return
    for frames in (True, False):
        search = Around(source, frames)
        yield Found(search.dims([list(e) for e in source.examples]), search.dtypes, [], search.framed)
        if not search.framed:
            break
