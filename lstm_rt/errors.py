"""The exceptions of lstm_rt. Each is also a standard exception, so callers may catch either."""


class LstmRtError(Exception):
    """Base of every error that lstm_rt and lstm_rt_tools raise on purpose."""


class GraphError(LstmRtError, ValueError):
    """A graph was put together wrongly: a shape, kind or option does not fit."""


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
