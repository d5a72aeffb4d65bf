"""Text of unknown origin, made fit to be shown: names and values out of files, and whole messages."""

from __future__ import annotations


def shown(text: object, limit: int = 80) -> str:
    """``text`` as one line of printable characters, about ``limit`` of them at most.

    Control characters, line breaks, invisible characters and lone surrogates are escaped as Python
    does it; of what is too long the middle is left out.
    """
    line = _cut(str(text), limit)  # before escaping, which would be slow for megabytes
    if line.isprintable():
        return line
    return _cut("".join(c if c.isprintable() else repr(c)[1:-1] for c in line), limit)


def _cut(line: str, limit: int) -> str:
    if len(line) <= limit:
        return line
    end = limit // 3
    return f"{line[: limit - end - 5]} ... {line[len(line) - end :]}"
