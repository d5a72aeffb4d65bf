"""lstm-rt: runs trained recurrent networks on any CPU.

    >>> import lstm_rt
    >>> model = lstm_rt.load("model.lrt")
    >>> y = model(x)                       # x: float32 (N, T, F) or (T, F)
    >>> stream = model.stream()
    >>> y_t = stream.step(x_t)             # keeps its state from step to step

Models are converted with the command ``lstm-rt convert`` or ``lstm_rt_tools``, or built from
arrays with :func:`LSTM`, :func:`GRU` and :func:`RNN`.
"""

try:
    from . import _openmp as _openmp  # before all that needs the extension
except ImportError as _error:
    from ._missing import reason as _reason

    if not _reason(_error):
        raise
    raise ImportError(_reason(_error), name=_error.name) from None
from ._core import Model, Port, Stream, StreamGroup, kernels, load
from ._version import __version__
from .cells import GRU, LSTM, RNN
from .errors import ConvertError, FormatError, GraphError, InputError, LstmRtError


def build_info() -> dict[str, object]:
    """How this build was made: version, kernel tables, OpenMP."""
    from ._core import _all_kernels, _has_openmp

    return {
        "version": __version__,
        "openmp": _has_openmp(),
        "kernels": [name for name, _ in _all_kernels()],
        "usable_kernels": kernels(),
    }


__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "ConvertError",
    "FormatError",
    "GraphError",
    "InputError",
    "LstmRtError",
    "Model",
    "Port",
    "Stream",
    "StreamGroup",
    "__version__",
    "build_info",
    "kernels",
    "load",
]
