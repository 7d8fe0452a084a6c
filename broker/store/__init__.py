"""Where sessions, messages and wills outlive the broker's process."""

from broker.store.sqlite import SqliteStore, Synchronous

__all__ = ["SqliteStore", "Synchronous"]
