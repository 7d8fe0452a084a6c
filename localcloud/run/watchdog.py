"""Ends a run's processes where the runner itself is killed: ``python -m localcloud.run.watchdog``.

The runner holds the only write end of the pipe that is this process's standard input, so its
death, however it dies, is the end of that file. It writes `+PID` for each process group it
starts and `-PID` for each that ended. Groups, since a pipeline has processes of its own (Prism).
"""

import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE_SECONDS = 5.0


def remaining(lines: Iterable[str]) -> set[int]:
    """Return the process groups that were started and not ended, once the lines are over."""
    groups: set[int] = set()
    for line in lines:
        if line.startswith("+"):
            groups.add(int(line[1:]))
        else:
            groups.discard(int(line[1:]))
    return groups


def send(groups: Iterable[int], number: int) -> set[int]:
    """Signal process groups; return those that are still there."""
    there = set()
    for group in groups:
        try:
            os.killpg(group, number)
            there.add(group)
        except ProcessLookupError:
            pass
        except PermissionError:
            # macOS says so of a group of zombies.
            pass
    return there


def main() -> int:
    """Wait for the end of standard input, then end what is left."""
    groups = remaining(sys.stdin)
    left = send(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = send(left, 0)
    send(left, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
