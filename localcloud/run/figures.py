"""What a run is judged by: pure, from what each side saw with its own eyes."""

import json
from collections.abc import Collection, Mapping, Set
from dataclasses import asdict, dataclass

from localcloud.devices.journal import Journal
from localcloud.run.latency import Latencies


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one run, in the order in which they are printed.

    `published`: PUBACKs that the devices got, distinct. `pubsub_messages`: messages on the
    telemetry topic. `bigquery_rows`, `bigquery_distinct`: rows, and their distinct message ids.
    `lost`: acknowledged message ids that are neither in BigQuery nor among the dead letters.
    `duplicates`: rows beyond the first of each message id. `dead_letters`: distinct dead
    letters. `archived`, `archive_distinct`: records in the archive's files, and their distinct
    message ids. `archive_lost`: acknowledged message ids that are neither there nor among the dead
    letters. `commands_sent`: distinct commands on the commands topic; `commands_received`: those
    that devices saw; `commands_accepted`: those whose outcome is accepted or acknowledged.
    Latencies are from the device's publish to Pub/Sub; None where no message came.
    """

    published: int
    pubsub_messages: int
    bigquery_rows: int
    bigquery_distinct: int
    lost: int
    duplicates: int
    dead_letters: int
    archived: int
    archive_distinct: int
    archive_lost: int
    commands_sent: int
    commands_received: int
    commands_accepted: int
    latency_p50_ms: float | None
    latency_p99_ms: float | None

    def to_json(self) -> str:
        """Return one JSON object in one line."""
        return json.dumps(asdict(self))

    def in_words(self) -> str:
        """Return what a person is told at the end, in one line."""
        return (
            f"{self.published} published, {self.bigquery_rows} rows in BigQuery "
            f"({self.duplicates} duplicates), {self.archived} in the archive, "
            f"{self.dead_letters} dead letters, {self.lost} lost, "
            f"{self.archive_lost} not in the archive, "
            f"{self.commands_accepted} of {self.commands_sent} commands accepted"
        )


def lost_ids(journal: Journal, *, stored: Collection[str], dead: Set[str]) -> set[str]:
    """Return the acknowledged message ids that are neither stored nor dead letters."""
    return set(journal.acknowledged.difference(stored, dead))


def judge(
    journal: Journal,
    *,
    copies: Mapping[str, int],
    archived: Mapping[str, int],
    dead_letters: Set[str],
    pubsub_messages: int,
    commands_sent: int,
    commands_accepted: int,
    latencies: Latencies,
) -> Figures:
    """Compare what the devices were promised with what is there.

    `copies` maps each message id in BigQuery to the number of its rows, `archived` each in the
    archive to the number of its records.
    """
    rows = sum(copies.values())
    return Figures(
        published=len(journal.acknowledged),
        pubsub_messages=pubsub_messages,
        bigquery_rows=rows,
        bigquery_distinct=len(copies),
        lost=len(lost_ids(journal, stored=copies, dead=dead_letters)),
        duplicates=rows - len(copies),
        dead_letters=len(dead_letters),
        archived=sum(archived.values()),
        archive_distinct=len(archived),
        archive_lost=len(lost_ids(journal, stored=archived, dead=dead_letters)),
        commands_sent=commands_sent,
        commands_received=len(journal.commands),
        commands_accepted=commands_accepted,
        latency_p50_ms=latencies.percentile(50),
        latency_p99_ms=latencies.percentile(99),
    )
