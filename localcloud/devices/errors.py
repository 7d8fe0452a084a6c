"""What can be wrong with the devices' settings or their broker.

DevicesError
├── RecordingError     a CSV file that can't be replayed
├── JournalError       a journal that is cut off or is none
└── BrokerRefused      the broker turned a device away for good
"""


class DevicesError(Exception):
    """Any error of this package; its message is for the person at the keyboard."""


class RecordingError(DevicesError):
    """A recording that can't be replayed: the message names file, line and what would be right."""


class JournalError(DevicesError):
    """A journal that does not tell all: its process did not end well."""


class BrokerRefused(DevicesError):
    """The broker refused a device's credentials or rights; trying again changes nothing."""
