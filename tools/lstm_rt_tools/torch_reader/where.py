"""Which line of the user's code an error in a forward comes from."""

from __future__ import annotations

import linecache
import os
import sysconfig
import traceback
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from lstm_rt.errors import ConvertError

_LONGEST_LINE = 120
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  #: the whole package
_PATHS = sysconfig.get_paths()

#: A frame and the line it is at, outermost first.
_Frames = Sequence[tuple[FrameType, int]]


class ForwardError(ConvertError):
    """Something in a module's forward cannot be converted; the message names it, and so does ``what``."""

    def __init__(self, message: str, what: str = "") -> None:
        super().__init__(message)
        self.what = what


def unsupported(name: str, why: str = "") -> ForwardError:
    """The error for an operation in a module's forward that a graph cannot hold."""
    reason = f": {why}" if why else ""
    return ForwardError(f"the module's forward uses {name}, which is not supported{reason}", name)


def where(torch: Any, error: BaseException, names: Mapping[int, str]) -> str:
    """`` (net.py:31: x = torch.fft.rfft(x))``: the user's line that ``error`` went through last.

    Args:
        names: of the modules, by id; a layer that the line calls is named.

    Returns:
        Text to put behind a message; empty if no line of the user's was running.
    """
    named = error.what if isinstance(error, ForwardError) else ""
    return _text(torch, list(traceback.walk_tb(error.__traceback__)), names, named)


def here(torch: Any, names: Mapping[int, str]) -> str:
    """Like :func:`where`, for the forward that is running now."""
    return _text(torch, list(_running())[::-1], names, "")


def running_module(names: Mapping[int, str]) -> str:
    """The name of the module whose method is running now: the innermost one; empty for the whole model."""
    return next((name for frame, _ in _running() if (name := names.get(id(frame.f_locals.get("self"))))), "")


def _running() -> Iterator[tuple[FrameType, int]]:
    for frame, line in traceback.walk_stack(None):
        if frame.f_code.co_filename.startswith(_OURS) and frame.f_code.co_name == "run":
            return  # what is further out called the converter
        yield frame, line


def _text(torch: Any, frames: _Frames, names: Mapping[int, str], named: str) -> str:
    own = [f for f in frames if _is_users(torch, f[0].f_code.co_filename)]
    own = [f for f in own if not _is_installed(f[0].f_code.co_filename)] or own
    parts = [p for p in (_layer(frames, own, names, named), _line(own)) if p]
    return f" ({', '.join(parts)})" if parts else ""


def _is_users(torch: Any, file: str) -> bool:
    if file.startswith("<") and not linecache.getline(file, 1):  # such as <frozen importlib>
        return file == "<stdin>" or file == "<string>"
    return not file.startswith((os.path.dirname(torch.__file__) + os.sep, _OURS)) and not _is_stdlib(file)


def _is_stdlib(file: str) -> bool:
    return file.startswith(_PATHS["stdlib"] + os.sep) and not _is_installed(file)


def _is_installed(file: str) -> bool:
    return file.startswith((_PATHS["purelib"] + os.sep, _PATHS["platlib"] + os.sep)) or "site-packages" in file


def _layer(frames: _Frames, own: _Frames, names: Mapping[int, str], named: str) -> str:
    """The layer of torch's that was running, if it is deeper than the user's last line and not ``named`` already."""
    depth = max((frames.index(f) for f in own[-1:]), default=-1)
    for frame, _ in reversed(frames[depth + 1 :]):
        module = frame.f_locals.get("self")
        name = names.get(id(module))
        if name:
            known = named == f"{name} ({type(module).__name__})"
            return "" if known else f"in {name}, a {type(module).__name__}"
    return ""


def _line(own: _Frames) -> str:
    if not own:
        return ""
    frame, number = own[-1]
    file = frame.f_code.co_filename
    code = linecache.getline(file, number, frame.f_globals).strip()
    if len(code) > _LONGEST_LINE:
        code = code[:_LONGEST_LINE] + "..."
    return f"{_short(file)}:{number}" + (f": {code}" if code else "")


def _short(file: str) -> str:
    """A path below the working directory from there on, others whole."""
    below = os.getcwd() + os.sep
    return file.removeprefix(below)
