"""All needs at once: none hides another, and none is waited for without end."""

from __future__ import annotations

import socket
import time

from pipelines.preflight import (
    Access,
    File,
    Folder,
    Need,
    Outcome,
    Secret,
    Subscription,
    Table,
    Topic,
    examine,
)
from schemas.tables import TELEMETRY
from tests.harness.google_fixtures import MakeAccess
from tests.harness.pubsub_rights import PubSubWithRights
from transforms.secrets import SecretRef

NEEDS: tuple[Need, ...] = (
    Secret(reference=SecretRef.parse("projects/p/secrets/s"), use="MQTT password"),
    Topic(name="projects/my-project/topics/telemetry"),
    Subscription(name="projects/my-project/subscriptions/archive"),
    Folder(name="gs://my-bucket/archive", tried=True),
    File(name="gs://my-files/numbers.csv"),
)


def test_every_failure_is_told_in_the_order_of_the_needs(
    rights: PubSubWithRights, access: MakeAccess
) -> None:
    progress: list[tuple[int, int]] = []
    findings = examine(
        (*NEEDS, NEEDS[0]),
        access(),
        seconds=20,
        in_network=False,
        progress=lambda done, of: progress.append((done, of)),
    )
    failed = [each.resource for each in findings if each.outcome is Outcome.FAILED]
    assert failed == [
        "projects/p/secrets/s/versions/latest",
        "projects/my-project/topics/telemetry",
        "projects/my-project/subscriptions/archive",
        "gs://my-bucket",
        "gs://my-files",
    ]
    assert all(each.command for each in findings if each.outcome is Outcome.FAILED)
    assert progress == [(number, 5) for number in range(1, 6)]


def test_what_does_not_answer_in_time_is_unknown_and_holds_up_nobody(
    rights: PubSubWithRights,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        access = Access(
            service_account=None,
            environment={"CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": address},
            seconds=60,
        )
        begin = time.monotonic()
        findings = examine(NEEDS[:2], access, seconds=2, in_network=False)
        assert time.monotonic() - begin < 10
    secret, topic = findings
    assert secret.resource == "projects/p/secrets/s/versions/latest"
    assert (secret.outcome, secret.words) == (Outcome.UNKNOWN, "it did not within 2 s")
    assert topic.outcome is Outcome.FAILED


def test_an_error_nobody_foresaw_is_unknown_for_its_need_and_the_others_are_told(
    rights: PubSubWithRights, access: MakeAccess
) -> None:
    needs = (Table(name="no-table", definition=TELEMETRY), NEEDS[1])
    table, topic = examine(needs, access(), seconds=5, in_network=False)[-2:]
    assert (table.resource, table.outcome) == ("no-table", Outcome.UNKNOWN)
    assert table.words.startswith("an unforeseen InvalidSetting: table 'no-table' is none")
    assert (topic.resource, topic.outcome) == (NEEDS[1].resource, Outcome.FAILED)
