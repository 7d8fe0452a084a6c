"""What the service refuses, and whose fault it is.

PubSubError                 carries `status`, the name of the gRPC status it becomes
├── InvalidArgument         the request can never succeed: change it
├── NotFound                the named resource does not exist: create it, then try again
├── AlreadyExists           the name is taken: choose another or use what is there
├── FailedPrecondition      the resource exists but its state forbids it
├── Unimplemented           the service can do this, this stand-in cannot
└── Unavailable             the server is going away: try again later
"""

from typing import ClassVar


class PubSubError(Exception):
    """A refusal; its text names the field or resource and what would be right."""

    status: ClassVar[str] = "UNKNOWN"


class InvalidArgument(PubSubError):
    """The request breaks a rule of the service and can never succeed as it stands."""

    status = "INVALID_ARGUMENT"


class NotFound(PubSubError):
    """A topic, subscription or snapshot of that name does not exist."""

    status = "NOT_FOUND"


class AlreadyExists(PubSubError):
    """A resource of that name exists already."""

    status = "ALREADY_EXISTS"


class FailedPrecondition(PubSubError):
    """The resource's state forbids the call, such as pulling from a detached subscription."""

    status = "FAILED_PRECONDITION"


class Unimplemented(PubSubError):
    """A feature of the service that this stand-in leaves out on purpose."""

    status = "UNIMPLEMENTED"


class Unavailable(PubSubError):
    """The server is stopping; the same call may succeed when it is back."""

    status = "UNAVAILABLE"
