"""One message on its way to one subscription's consumers."""

from localcloud.pubsub.messages import StoredMessage

UNLIMITED = 1 << 62


class Flow:
    """How much one consumer may hold unacknowledged, and how much it holds.

    A limit of 0 or less is none, as in StreamingPullRequest.
    """

    __slots__ = ("bytes", "maximum_bytes", "maximum_messages", "messages")

    def __init__(self, *, maximum_messages: int = 0, maximum_bytes: int = 0) -> None:
        self.maximum_messages = maximum_messages if maximum_messages > 0 else UNLIMITED
        self.maximum_bytes = maximum_bytes if maximum_bytes > 0 else UNLIMITED
        self.messages = 0
        self.bytes = 0

    def has_room(self) -> bool:
        """Whether one more message may be sent: both counts are below their limits."""
        return self.messages < self.maximum_messages and self.bytes < self.maximum_bytes


class Delivery:
    """A message with what this subscription knows of it.

    Made when the message is first handed out and used again for every redelivery, so that a
    backlog that nobody has read yet costs nothing beyond the shared message.
    """

    __slots__ = ("ack_id", "expires", "failures", "flow", "message", "settled")

    def __init__(self, message: StoredMessage) -> None:
        self.message = message
        self.failures = 0
        """Nacks and expired leases so far."""
        self.settled = False
        """Acknowledged while an earlier message of its ordering key is not."""
        self.ack_id = ""
        self.expires = 0.0
        self.flow: Flow | None = None
