"""Runs a command with a limit on its memory, and says what it used.

It is a process of its own because a child's peak counts that of the process it was forked from.

    python limited.py RESULT BYTES SECONDS COMMAND...
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys


def main() -> None:
    result, memory, seconds, command = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        os.execv(command[0], command)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.alarm(20 * seconds)  # what waits for something takes no time of the processor
    _, status, used = os.wait4(pid, 0)
    facts = {
        "exit": os.waitstatus_to_exitcode(status),
        "peak": used.ru_maxrss * 1024,
        "seconds": used.ru_utime + used.ru_stime,
    }
    with open(result, "w", encoding="utf-8") as f:
        json.dump(facts, f)


main()
