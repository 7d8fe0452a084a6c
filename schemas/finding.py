"""What a check has found out, as a value: for a terminal, for JSON, for an exit status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a check ended; the worse, the later."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing asked of one resource, and the answer.

    Attributes:
      resource: its full name, as whoever mends it must type it.
      asked: what should be so, in the present tense: ``exists``, ``takes the credential``; or what
        was looked at: ``the registry``.
      outcome: FAILED: the work could not be done; WARNING: it would, in a way that is hardly
        meant; UNKNOWN: it could not be told from here.
      words: what was found; never a secret. Needed for every outcome but OK.
      command: the one command that mends it, or lets it be told; None where it isn't known here.
    """

    resource: str
    asked: str
    outcome: Outcome
    words: str = ""
    command: str | None = None

    def __post_init__(self) -> None:
        if not self.resource or not self.asked:
            raise ValueError("resource and asked: a finding says what was asked of what")
        if self.outcome is not Outcome.OK and not self.words:
            raise ValueError(f"words: {self.resource} is {self.outcome}, so say why")


def found(resource: str, asked: str, words: str = "") -> Finding:
    """Returns that it is as it should be."""
    return Finding(resource=resource, asked=asked, outcome=Outcome.OK, words=words)


def failed(resource: str, asked: str, words: str, command: str | None = None) -> Finding:
    """Returns that the work could not be done."""
    return Finding(
        resource=resource, asked=asked, outcome=Outcome.FAILED, words=words, command=command
    )


def warned(resource: str, asked: str, words: str, command: str | None = None) -> Finding:
    """Returns that it would work in a way that is hardly meant."""
    return Finding(
        resource=resource, asked=asked, outcome=Outcome.WARNING, words=words, command=command
    )


def untold(resource: str, asked: str, words: str, command: str | None = None) -> Finding:
    """Returns that it could not be told."""
    return Finding(
        resource=resource, asked=asked, outcome=Outcome.UNKNOWN, words=words, command=command
    )


def worst(findings: Sequence[Finding]) -> Outcome:
    """Returns the worst outcome; OK where nothing was asked."""
    order = list(Outcome)
    return max((finding.outcome for finding in findings), key=order.index, default=Outcome.OK)
