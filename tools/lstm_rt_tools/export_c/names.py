"""Names in C: of the prefix, and of what the functions take."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lstm_rt.errors import InputError
from lstm_rt.text import shown

_MOST = 64
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_C = """auto break case char const continue default do double else enum extern float for goto if inline int long
register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while"""
_CPP = """
alignas alignof and and_eq asm bitand bitor bool catch char16_t char32_t char8_t class co_await co_return co_yield
compl concept const_cast consteval constexpr constinit decltype delete dynamic_cast explicit export false friend
mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public reinterpret_cast
requires static_assert static_cast template this thread_local throw true try typeid typename typeof using virtual
wchar_t xor xor_eq
"""
KEYWORDS = frozenset(f"{_C} {_CPP}".split())
#: What is in the functions, or means something elsewhere; of e the size would have the name of an error.
_TAKEN = frozenset(("ARENA", "STEPS", "MAIN", "NAN", "INFINITY", "NULL", "EOF", "E"))


def check_prefix(name: str) -> str:
    """The name that all others begin with; InputError where C does not take it."""
    if not _IDENTIFIER.fullmatch(name) or len(name) > _MOST or "__" in name:
        expected = f"a letter, then letters, digits and single _, at most {_MOST}"
        raise InputError(f"--name {shown(name)!r} is no C identifier: expected {expected}")
    if name in KEYWORDS:
        raise InputError(f"--name {name!r} is a word of C or C++")
    return name


def prefix_of(stem: str) -> str:
    """A prefix made of a file's name."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_").lower()[:_MOST] or "model"
    name = name if name[0].isalpha() else f"m_{name}"
    return f"{name}_model" if name in KEYWORDS else name


def port_names(sources: Iterable[str]) -> list[str]:
    """A name in C for each input and output, none twice, in capitals neither."""
    found: list[str] = []
    for source in sources:
        name = re.sub(r"[^A-Za-z0-9]+", "_", source).strip("_") or "port"
        name = name if name[0].isalpha() else f"p_{name}"
        name = name[:_MOST]
        while name in KEYWORDS or name.upper() in _TAKEN or name.upper() in {f.upper() for f in found}:
            name += "_"
        found.append(name)
    return found
