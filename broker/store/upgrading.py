"""A store of an earlier version becomes one of this, by a command of the operator's.

The broker's start doesn't do it by itself: the program of before can't read an upgraded store, and
going back to that program is what one does when a new one turns out badly. So it is known when the
step is taken, and the copy that the command leaves is the way back.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from broker.errors import StoreError
from broker.store import schema
from broker.store.copying import copy
from broker.store.examining import examine
from broker.store.opening import held, told


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """From which version to which; ``kept``: where the store is as it was, None if it still is."""

    before: int
    after: int
    kept: Path | None


def upgrade(path: Path) -> Upgraded:
    """Takes every step that leads from the store's version to this program's, or none of them.

    Raises:
      StoreError: a broker has it, it is damaged, no store, or newer than this program; or there is
        a copy of an upgrade before.
    """
    version = examine(path).version
    if version in (0, schema.VERSION):
        return Upgraded(before=version, after=version, kept=None)
    kept = path.with_name(f"{path.name}.version-{version}")
    with told(path, "upgraded"), held(path) as database:
        if schema.version_of(database) != version:
            raise StoreError(f"store {path} was changed meanwhile; try again")
        copy(database, kept)
        steps = " ".join(schema.STEPS[version:])
        database.executescript(f"BEGIN; {steps} PRAGMA user_version = {schema.VERSION}; COMMIT;")
    return Upgraded(before=version, after=schema.VERSION, kept=kept)
