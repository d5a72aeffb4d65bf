"""What a long command is doing, on the terminal of the person who waits for it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import shutil
import sys
import threading
from types import TracebackType

from lstm_rt.text import shown

_LARGE = 64 << 20  #: bytes of a file that takes seconds to read
_PATIENCE = 2.0  #: seconds of silence
_TICK = 0.5  #: seconds; what is done sooner is not shown


class Progress:
    """Shows one line on standard error with the current step and the seconds so far, and clears it at the end.

    Nothing is shown where standard error is not a terminal, where tqdm is not installed, nor of commands that take
    no time. The steps of a conversion have no count to tell, so the line shows that it goes on and at what.
    Of a large file, each step that takes time is a line of its own where there can be none that is cleared again.

    Args:
        size: bytes of the file that is read.
    """

    def __init__(self, size: int = 0) -> None:
        self._step = ""
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        show = self._show if sys.stderr is not None and sys.stderr.isatty() and _has_tqdm() else self._tell
        if sys.stderr is not None and (show == self._show or size >= _LARGE):
            self._thread = threading.Thread(target=show, daemon=True)

    def step(self, text: str) -> None:
        """What is being done from now on."""
        self._step = shown(text, 60)

    def __enter__(self) -> Progress:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def _show(self) -> None:
        if self._done.wait(_TICK):
            return
        with contextlib.suppress(ImportError, OSError):  # OSError: a terminal that has gone away
            tqdm = importlib.import_module("tqdm").tqdm
            # A terminal that does not know its size has none for tqdm, and shows nothing.
            columns, rows = shutil.get_terminal_size()
            looks = {"bar_format": "{desc} ... {elapsed}", "leave": False, "ncols": columns, "nrows": rows}
            with tqdm(desc=self._step, file=sys.stderr, **looks) as bar:
                while not self._done.wait(_TICK):
                    bar.set_description_str(self._step)

    def _tell(self) -> None:
        told = ""
        if self._done.wait(_PATIENCE):
            return
        with contextlib.suppress(OSError):
            while not self._done.wait(_TICK):
                if self._step != told:
                    told = self._step
                    print(f"{told} ...", file=sys.stderr, flush=True)


def _has_tqdm() -> bool:
    return importlib.util.find_spec("tqdm") is not None
