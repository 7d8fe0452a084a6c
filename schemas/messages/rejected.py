"""What could not be taken, on its way to the dead letters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """What could not be decoded, mapped or accepted: reason, stage, origin, raw bytes.

    `stage` names the step that refused it (`decode`, `publish`, `bigquery`), `origin`
    where it came from or was bound for (a topic, a subscription, a table), and
    `attributes` are those of the original message.
    """

    stage: str
    reason: str
    origin: str
    raw: bytes
    time: datetime
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.stage or not self.reason:
            raise ValueError("a rejected message needs a stage and a reason")
        if self.time.tzinfo is None:
            raise ValueError("the time of a rejection must have a time zone")
