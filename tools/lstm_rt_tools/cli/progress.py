"""What a long command is doing, on the terminal of the person who waits for it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from types import TracebackType

from lstm_rt.text import shown

_TICK = 0.5  #: seconds; what is done sooner is not shown


class Progress:
    """Shows one line on standard error with the current step and its seconds, and clears it at the end.

    Nothing is shown where standard error is not a terminal, nor for steps that take no time. The steps of
    a conversion have no count to tell, so the line shows that it goes on and at what.
    """

    def __init__(self) -> None:
        self._step, self._since = "", 0.0
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._thread = threading.Thread(target=self._show, daemon=True)

    def step(self, text: str) -> None:
        """What is being done from now on."""
        self._step, self._since = shown(text, 60), time.monotonic()

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
        shows = False
        with contextlib.suppress(OSError):  # a terminal that has gone away
            while not self._done.wait(_TICK):
                seconds = time.monotonic() - self._since
                print(f"\r\x1b[K{self._step} ... {seconds:.0f} s", end="", file=sys.stderr, flush=True)
                shows = True
            if shows:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
