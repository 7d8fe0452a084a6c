"""What changed from one state of a registry to the next, and since when."""

from __future__ import annotations

from collections import deque

from broker.auth.identity import DirectoryChanges
from broker.registry.entries import Content

REMEMBERED_CHANGES = 1_000


class Changelog:
    """The last changes of one process. Versions count from 1."""

    def __init__(self) -> None:
        self._version = 1
        self._changes: deque[frozenset[str] | None] = deque(maxlen=REMEMBERED_CHANGES)

    def add(self, names: frozenset[str] | None) -> None:
        """Something changed; ``names``: None where it may be anyone. None of them: nothing did."""
        if names is None or names:
            self._version += 1
            self._changes.append(names)

    def since(self, version: int) -> DirectoryChanges:
        """Everything after ``version``."""
        missed = self._version - version
        if not 0 <= missed <= len(self._changes):
            return DirectoryChanges(version=self._version, names=None)
        names: set[str] = set()
        for change in list(self._changes)[len(self._changes) - missed :]:
            if change is None:
                return DirectoryChanges(version=self._version, names=None)
            names |= change
        return DirectoryChanges(version=self._version, names=frozenset(names))


def changed_names(before: Content, after: Content) -> frozenset[str] | None:
    """Who is somebody else after the change; None where it may be anyone.

    A gateway is, when a device that it speaks for has changed.
    """
    if before.roles != after.roles or before.authorities != after.authorities:
        return None
    names: set[str] = set()
    for name in before.entries.keys() | after.entries.keys():
        old, new = before.entries.get(name), after.entries.get(name)
        if old != new:
            names.add(name)
            for entry in (old, new):
                names.update(() if entry is None else entry.gateways)
    return frozenset(names)
