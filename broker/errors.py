"""Errors of the broker package.

::

    BrokerError
    ├── ConfigError     the configuration file: the key, the value and what would be right
    ├── RegistryError   the registry file: the entry, the value and what would be right
    ├── StoreError      the store can't be opened, read or written; nothing is acknowledged then
    ├── ListenError     an address cannot be listened on
    │   └── AddressTaken    somebody listens there already
    └── AdministrationError  a running broker can't be asked, or refuses what it is asked
"""

from __future__ import annotations


class BrokerError(Exception):
    """Root of this package's errors. All of them are the operator's to mend, before a restart."""


class ConfigError(BrokerError, ValueError):
    """The broker's configuration is wrong; the message names the key and what would be right."""


class RegistryError(BrokerError, ValueError):
    """The device registry is wrong; the message names the entry and what would be right."""


class StoreError(BrokerError):
    """The store can't be opened, read or written; the message names the file and what to do."""


class ListenError(BrokerError):
    """A listener's address is taken or is not of this machine."""


class AddressTaken(ListenError):
    """Somebody listens there already; ``process`` where that can be seen."""

    def __init__(self, text: str, *, process: int | None) -> None:
        super().__init__(text)
        self.process = process


class AdministrationError(BrokerError):
    """A running broker can't be asked, or refuses; the message says what would be right."""
