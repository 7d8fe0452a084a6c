"""What can go wrong in a transform.

    TransformError
    ├── InvalidSetting          our side's fault, found before anything starts
    ├── SecretError             a secret could not be read (`transforms.secrets`)
    ├── SourceUnreadable        a file could not be read, or is not what it should be
    └── DestinationError        where the data goes, or a subscription that it comes from
        ├── DestinationMissing    it is not there: create it, then start again
        ├── DestinationRefused    it is there and takes nothing from us: rights, columns
        │   └── OtherColumns        a table's are not ours
        ├── DestinationUnavailable  it did not answer in the time we were given
        └── PubSubError           each of these of Pub/Sub (`transforms.pubsubio.errors`)

A message that can't be taken is never an error: it is an output, with its reason
(`schemas.messages.Rejected`). Each message here names the thing, the value and the command
or setting that mends it.
"""


class TransformError(Exception):
    """Any error of this package."""


class InvalidSetting(TransformError, ValueError):
    """A setting of a transform that can't be right."""


class SourceUnreadable(TransformError):
    """A file could not be read, or is not what it should be; the message names it."""


class DestinationError(TransformError):
    """The destination can't be written to."""


class DestinationMissing(DestinationError):
    """The destination does not exist; trying again changes nothing until it does."""


class DestinationRefused(DestinationError):
    """The destination exists and refuses us: no right to it, or other columns than ours."""


class OtherColumns(DestinationRefused):
    """The table has other columns than ours; ``command`` changes them."""

    def __init__(self, message: str, *, command: str) -> None:
        super().__init__(message)
        self.command = command


class DestinationUnavailable(DestinationError):
    """The destination did not answer in time; trying again may help."""
