"""Where sessions, messages and wills outlive the broker's process."""

from broker.store.copying import backup, restore
from broker.store.examining import Examined, examine
from broker.store.sqlite import SqliteStore, Synchronous
from broker.store.upgrading import Upgraded, upgrade

__all__ = [
    "Examined",
    "SqliteStore",
    "Synchronous",
    "Upgraded",
    "backup",
    "examine",
    "restore",
    "upgrade",
]
