"""How much memory there is for clients, where the configuration does not say: half of all.

The other half is for what is not counted: the program, the store's newest messages, what is being
freed, the system's buffers and its cache of the store's file.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

from broker.config import BrokerConfig

_PART = 2


def with_memory(config: BrokerConfig) -> BrokerConfig:
    """The configuration with ``limits.memory_bytes``, as it is or by what there is."""
    if config.limits.memory_bytes is not None:
        return config
    return replace(config, limits=replace(config.limits, memory_bytes=available() // _PART))


def available(*, root: Path = Path("/")) -> int:
    """The least of the machine's memory and what the process's control groups may have, in bytes.

    ``root``: where ``proc`` and ``sys`` are.
    """
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_group_limits(root)])


def _group_limits(root: Path) -> list[int]:
    """What this process's control groups and those above them say, in versions 2 and 1."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            folder, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path may be the host's, and the group's files lie at the top.
        inner = PurePosixPath(group.lstrip("/"))
        files += [folder / part / name for part in (inner, *inner.parents)]
    return [size for size in map(_size, files) if size]


def _size(file: Path) -> int:
    try:
        text = file.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0
