"""What changed from one state of a registry to the next, and since when."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from broker.auth.identity import DirectoryChanges
from broker.registry.entries import Content

REMEMBERED_CHANGES = 1_000


class Changelog:
    """The last changes of one process. Versions count from 1."""

    def __init__(self) -> None:
        self._version = 1
        self._changes: deque[DirectoryChanges] = deque(maxlen=REMEMBERED_CHANGES)

    def add(self, before: Content, after: Content) -> None:
        """Another content is there; where it is the same, nothing changed."""
        changed = changes(before, after)
        if changed:
            self._version += 1
            self._changes.append(changed)

    def since(self, version: int) -> DirectoryChanges:
        """Everything after ``version``."""
        missed = self._version - version
        if not 0 <= missed <= len(self._changes):
            return DirectoryChanges(version=self._version, names=None)
        found = DirectoryChanges(version=self._version)
        for change in list(self._changes)[len(self._changes) - missed :]:
            found |= change
        return replace(found, version=self._version)


def changes(before: Content, after: Content) -> DirectoryChanges:
    """Whom and what a change is about, as version 0.

    A gateway is somebody else, too, when a device that it speaks for has changed.
    """
    names: set[str] = set()
    for name in _differing(before.entries, after.entries):
        names.add(name)
        for entry in (before.entries.get(name), after.entries.get(name)):
            names.update(() if entry is None else entry.gateways)
    return DirectoryChanges(
        version=0,
        names=frozenset(names),
        removed=frozenset(before.entries.keys() - after.entries.keys()),
        # A standard role of the same name may have come or gone instead.
        roles=_differing(before.roles, after.roles),
        authorities=_differing(before.authorities, after.authorities),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many of one kind are new, are other than before, are as before, and are gone."""

    added: int
    replaced: int
    kept: int
    removed: int


def counts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Counts:
    """What becomes of those that are there, and of those that come."""
    both = before.keys() & after.keys()
    kept = sum(before[key] == after[key] for key in both)
    return Counts(
        added=len(after) - len(both),
        replaced=len(both) - kept,
        kept=kept,
        removed=len(before) - len(both),
    )


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(
        key for key in before.keys() | after.keys() if before.get(key) != after.get(key)
    )
