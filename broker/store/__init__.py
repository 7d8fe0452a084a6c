"""Where sessions, messages and wills outlive the broker's process."""

from broker.store.examining import Examined, examine
from broker.store.sqlite import SqliteStore, Synchronous

__all__ = ["Examined", "SqliteStore", "Synchronous", "examine"]
