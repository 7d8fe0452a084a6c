from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1 import types

from localcloud.pubsub import LocalPubSub
from localcloud.subscriber import PubSub
from pipelines.preflight import Access, Finding, Outcome, Subscription, Topic
from pipelines.preflight.pubsub import CONSUME, LOOK, PUBLISH, examine_subscription, examine_topic
from tests.harness.google_fixtures import ACCOUNT, MakeAccess
from tests.harness.pubsub_rights import PubSubWithRights

TOPIC = "projects/my-project/topics/telemetry"
SUBSCRIPTION = "projects/my-project/subscriptions/warehouse"


def topic(access: Access, name: str = TOPIC) -> list[Finding]:
    return list(examine_topic(Topic(name=name), access, seconds=5))


def subscription(access: Access, **more: str) -> list[Finding]:
    need = Subscription(name=SUBSCRIPTION, **more)
    return list(examine_subscription(need, access, seconds=5))


def outcomes(findings: list[Finding]) -> list[str]:
    return [str(finding.outcome) for finding in findings]


@pytest.fixture
def complete(rights: PubSubWithRights) -> PubSubWithRights:
    """A topic with a subscription, both as they should be."""
    rights.topics[TOPIC] = types.Topic(name=TOPIC)
    rights.subscriptions[SUBSCRIPTION] = types.Subscription(name=SUBSCRIPTION, topic=TOPIC)
    rights.permissions = {TOPIC: {PUBLISH}, SUBSCRIPTION: {CONSUME, LOOK}}
    return rights


def test_a_topic_and_a_subscription_as_they_should_be(
    complete: PubSubWithRights, access: MakeAccess
) -> None:
    assert outcomes(topic(access())) == ["ok"] * 3
    assert outcomes(subscription(access())) == ["ok"] * 4


def test_what_is_missing_is_named_with_the_command_that_makes_it(
    rights: PubSubWithRights, access: MakeAccess
) -> None:
    (finding,) = topic(access())
    assert finding.outcome is Outcome.FAILED
    assert finding.resource == TOPIC
    assert finding.command == "gcloud pubsub topics create telemetry --project=my-project"
    (finding,) = subscription(access())
    assert finding.command == (
        "gcloud pubsub subscriptions create warehouse --topic=TOPIC --project=my-project"
    )


def test_a_right_that_is_missing_is_named_with_the_least_role(
    complete: PubSubWithRights, access: MakeAccess
) -> None:
    complete.permissions.clear()
    _, finding, _ = topic(access())
    assert (finding.outcome, finding.words) == (Outcome.FAILED, f"{ACCOUNT} lacks {PUBLISH}")
    assert finding.command == (
        "gcloud pubsub topics add-iam-policy-binding telemetry --project=my-project"
        f' --member="serviceAccount:{ACCOUNT}" --role=roles/pubsub.publisher'
    )
    _, consume, look, _ = subscription(access())
    assert consume.outcome is Outcome.FAILED
    assert "roles/pubsub.subscriber" in str(consume.command)
    # Dataflow reads without it.
    assert look.outcome is Outcome.WARNING
    assert "roles/pubsub.viewer" in str(look.command)


def test_a_topic_without_a_subscription_drops_what_it_accepts(
    complete: PubSubWithRights, access: MakeAccess
) -> None:
    complete.subscriptions.clear()
    *_, finding = topic(access())
    assert finding.outcome is Outcome.WARNING
    assert finding.words == "it has none: what it accepts is dropped"
    assert finding.command == (
        "gcloud pubsub subscriptions create telemetry-all --topic=telemetry --project=my-project"
    )
    complete.topics[TOPIC].message_retention_duration = Duration(seconds=86_400)
    *_, finding = topic(access())
    assert "is gone after 86400 s" in finding.words


def test_what_may_be_used_is_there_though_nobody_may_look(
    complete: PubSubWithRights, access: MakeAccess
) -> None:
    complete.seen = False
    assert outcomes(topic(access())) == ["ok", "ok", "unknown"]
    complete.permissions.clear()
    assert outcomes(topic(access())) == ["unknown", "failed", "unknown"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"topic": "_deleted-topic_"}, "its topic was deleted"),
        ({"detached": True}, "it was detached"),
        (
            {"push_config": types.PushConfig(push_endpoint="https://push.example.com")},
            "it delivers to https://push.example.com",
        ),
        ({"bigquery_config": types.BigQueryConfig(table="p.d.t")}, "it delivers to p.d.t"),
    ],
)
def test_a_subscription_that_nothing_comes_from_is_told(
    complete: PubSubWithRights, access: MakeAccess, changed: dict[str, object], words: str
) -> None:
    for name, value in changed.items():
        setattr(complete.subscriptions[SUBSCRIPTION], name, value)
    *_, finding = subscription(access())
    assert finding.outcome is Outcome.FAILED
    assert words in finding.words
    assert str(finding.command).startswith("gcloud pubsub subscriptions ")


def test_what_the_pipeline_publishes_must_not_come_back_to_it(
    complete: PubSubWithRights, access: MakeAccess
) -> None:
    *_, finding = subscription(access(), published=TOPIC)
    assert finding.outcome is Outcome.FAILED
    assert "would come back" in finding.words
    *_, finding = subscription(access(), published=f"{TOPIC}-results")
    assert finding.outcome is Outcome.OK


def test_the_local_pubsub_knows_no_rights_and_the_rest_is_told(
    access: MakeAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalPubSub() as pubsub:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.endpoint)
        with PubSub(pubsub.endpoint) as client:
            client.create_all(("telemetry",), {})
        found = topic(access(), "projects/local/topics/telemetry")
        assert outcomes(found) == ["ok", "ok", "warning"]
        (missing,) = topic(access(), "projects/local/topics/nobody-s")
        assert missing.outcome is Outcome.FAILED


def test_a_pubsub_that_is_away_is_unknown(
    access: MakeAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
    need = Topic(name=TOPIC)
    findings = list(examine_topic(need, access(), seconds=0.5))
    assert outcomes(findings) == ["unknown"] * 3
