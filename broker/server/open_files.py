"""How many files this process may have open: each connection is one."""

from __future__ import annotations

import resource

OTHER_FILES = 64
"""Open files beside connections: listeners, logs, the event loop's own."""


def most_open_files() -> int | None:
    """How many the system lets this process have at most, None where it sets no bound."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard


def allow_open_files(connections: int) -> None:
    """Raises this process's limit to what so many connections need, or as far as it may."""
    wanted = connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    most = most_open_files()
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (wanted if most is None else min(wanted, most), hard)
    )


def too_few(connections: int) -> str | None:
    """What is wrong with the system's limit for so many connections, None where it suffices."""
    most = most_open_files()
    if most is None or most >= connections + OTHER_FILES:
        return None
    return (
        f"the system allows {most} open files: no more than {most - OTHER_FILES} of"
        f" limits.connections ({connections}) fit in; raise it (systemd: LimitNOFILE) or lower"
        " limits.connections"
    )
