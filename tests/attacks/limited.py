"""Runs a command with a limit on its memory, and says what it and its children used.

It is a process of its own because a child's peak counts that of the process it was forked from.

    python limited.py RESULT BYTES SECONDS COMMAND...
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path


def resident(pid: str, parent: bytes = b"") -> int:
    """Bytes of memory of a process and of those that it started.

    One that runs the command of its parent was only just forked: its memory is still that of the parent.
    """
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) if command != parent else 0
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):  # it has ended
        return 0
    return pages * resource.getpagesize() + sum(resident(child, command) for child in children)


def watch(pid: int, most: list[int]) -> None:
    """Note the memory of several processes, which no system call tells."""
    while True:
        most[0] = max(most[0], resident(str(pid)))
        time.sleep(0.002)


def main() -> None:
    result, memory, seconds, command = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        os.execv(command[0], command)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.alarm(20 * seconds)  # what waits for something takes no time of the processor
    most = [0]
    threading.Thread(target=watch, args=(pid, most), daemon=True).start()
    _, status, used = os.wait4(pid, 0)
    facts = {
        "exit": os.waitstatus_to_exitcode(status),
        "peak": max(most[0], used.ru_maxrss * 1024),
        "seconds": used.ru_utime + used.ru_stime,
    }
    with open(result, "w", encoding="utf-8") as f:
        json.dump(facts, f)


main()
