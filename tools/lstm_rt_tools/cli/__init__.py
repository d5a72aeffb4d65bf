"""The ``lstm-rt`` command: a module for each verb."""

from __future__ import annotations

from collections.abc import Sequence

#: The exit code of a command that was interrupted, as shells have it.
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. What it needs is imported here, so that Ctrl-C ends that, too.

    Raises:
        SystemExit: on ``--help``, ``--version`` and usage errors, as argparse does.
    """
    try:
        from .parser import main as run

        return run(argv)
    except KeyboardInterrupt:
        return INTERRUPTED
