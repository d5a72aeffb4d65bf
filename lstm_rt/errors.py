"""The exceptions of lstm_rt. Each is also a standard exception, so callers may catch either."""

from collections.abc import Iterable

_LONGEST = 200  # a file may hold names of any length, and many: what is compared stays small
_MOST = 2000


class LstmRtError(Exception):
    """Base of every error that lstm_rt and lstm_rt_tools raise on purpose."""


class GraphError(LstmRtError, ValueError):
    """A graph was put together wrongly: a shape, kind or option does not fit."""


class AxesError(GraphError):
    """Values that must share their steps are on different time axes, or there are more axes than a file can hold."""


class FormatError(LstmRtError, ValueError):
    """Bytes are not a valid ``.lrt`` file, or are of a version this runtime does not read.

    ``code`` is the core's error code (``lrt_error`` in ``lstm_rt.h``), or None.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class InputError(LstmRtError, ValueError):
    """An input, length, state or output array of a call is not what the model expects."""


class ConvertError(LstmRtError, ValueError):
    """A model file cannot be converted: it names the layer, option or weight that is in the way.

    ``draft`` is the text of an architecture file to start from, where that is what was missing, else
    empty; the message ends with it.
    """

    def __init__(self, message: str, draft: str = "") -> None:
        super().__init__(f"{message}\n\n{draft}" if draft else message)
        self.draft = draft


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` with the names in ``known`` nearest to ``name``; "" if none is near.

    Names that differ in case or in leading dotted parts (``lstm`` for ``model.lstm``) are near.
    """
    import difflib  # here, because importing lstm_rt should not cost more than it must
    from itertools import islice

    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST:
        return ""
    spelled: dict[str, str] = {}  # by what is compared: lower case
    for k in islice(known, _MOST):
        if len(k) <= _LONGEST:
            spelled.setdefault(k.lower(), k)
    lower = name.lower()
    if lower in spelled:
        near = [lower]
    else:
        near = [k for k in spelled if k.endswith("." + lower) or lower.endswith("." + k)]
        close = difflib.get_close_matches(lower, spelled, n=3, cutoff=0.6)
        ratios = {k: difflib.SequenceMatcher(None, k, lower).ratio() for k in close}
        near += [k for k in spelled if k in ratios and k not in near and ratios[k] > max(ratios.values()) - 0.1]
    *most, last = [repr(spelled[k]) for k in near[:3]] or [""]
    return f"; did you mean {', '.join(most) + ' or ' if most else ''}{last}?" if last else ""
