"""Topics, subscriptions and their rules, as the service has them. Driven over gRPC only."""

from typing import Any

import pytest

from tests.localcloud.pubsub.service import Service, emulator_deviates

DAY = 24 * 3600


def test_a_topic_is_created_once_shown_listed_and_deleted(service: Service) -> None:
    assert service.call("CreateTopic", name=service.topic()).name == service.topic()
    service.refuses("ALREADY_EXISTS", "CreateTopic", name=service.topic())
    assert service.call("GetTopic", topic=service.topic()).name == service.topic()
    listed = service.call("ListTopics", project=f"projects/{service.project}").topics
    assert [topic.name for topic in listed] == [service.topic()]
    service.call("DeleteTopic", topic=service.topic())
    service.refuses("NOT_FOUND", "GetTopic", topic=service.topic())
    service.refuses("NOT_FOUND", "DeleteTopic", topic=service.topic())


@pytest.mark.parametrize("name", ["ab", "1ab", "googabc", "a b c", "a" * 256, "a/bc", "äbc"])
def test_a_topic_name_that_breaks_the_rules_is_refused(service: Service, name: str) -> None:
    service.refuses("INVALID_ARGUMENT", "CreateTopic", name=service.topic(name))


def test_topics_are_listed_in_pages(service: Service) -> None:
    names = [service.topic(f"topic-{number}") for number in range(5)]
    for name in names:
        service.call("CreateTopic", name=name)
    listed, token = [], ""
    for _ in range(3):
        page = service.call(
            "ListTopics", project=f"projects/{service.project}", page_size=2, page_token=token
        )
        listed += [topic.name for topic in page.topics]
        token = page.next_page_token
    assert (sorted(listed), token) == (names, "")


@emulator_deviates("it has no UpdateTopic")
def test_labels_of_a_topic_can_be_changed(service: Service) -> None:
    service.call("CreateTopic", name=service.topic(), labels={"old": "1"})
    service.call(
        "UpdateTopic",
        topic={"name": service.topic(), "labels": {"new": "2"}},
        update_mask={"paths": ["labels"]},
    )
    assert dict(service.call("GetTopic", topic=service.topic()).labels) == {"new": "2"}


def test_a_subscription_shows_the_defaults_of_the_service(service: Service) -> None:
    created = service.create()
    assert created.topic == service.topic()
    assert created.ack_deadline_seconds == 10
    assert created.message_retention_duration.seconds == 7 * DAY
    assert service.call("GetSubscription", subscription=service.subscription()) == created


def test_a_subscription_is_created_once_listed_and_deleted(service: Service) -> None:
    service.create()
    service.refuses(
        "ALREADY_EXISTS", "CreateSubscription", name=service.subscription(), topic=service.topic()
    )
    listed = service.call("ListSubscriptions", project=f"projects/{service.project}")
    assert [each.name for each in listed.subscriptions] == [service.subscription()]
    of_topic = service.call("ListTopicSubscriptions", topic=service.topic()).subscriptions
    assert list(of_topic) == [service.subscription()]
    service.call("DeleteSubscription", subscription=service.subscription())
    service.refuses("NOT_FOUND", "GetSubscription", subscription=service.subscription())
    assert not service.call("ListTopicSubscriptions", topic=service.topic()).subscriptions


def test_a_subscription_needs_its_topic(service: Service) -> None:
    service.refuses(
        "NOT_FOUND", "CreateSubscription", name=service.subscription(), topic=service.topic()
    )


def test_a_subscription_outlives_its_topic_with_its_backlog(service: Service) -> None:
    service.create()
    service.publish("kept")
    service.call("DeleteTopic", topic=service.topic())
    shown = service.call("GetSubscription", subscription=service.subscription())
    assert shown.topic == "_deleted-topic_"
    assert [each.message.data for each in service.pull(1)] == [b"kept"]


@pytest.mark.parametrize(
    ("field", "value", "naming"),
    [
        ("retry_policy", {"minimum_backoff": {"seconds": 700}}, "minimum_backoff"),
        (
            "retry_policy",
            {"minimum_backoff": {"seconds": 20}, "maximum_backoff": {"seconds": 10}},
            "maximum_backoff",
        ),
        ("message_retention_duration", {"seconds": 599}, "message_retention_duration"),
        ("message_retention_duration", {"seconds": 31 * DAY + 1}, "message_retention_duration"),
        ("ack_deadline_seconds", 601, ""),
    ],
)
def test_a_setting_out_of_bounds_is_refused_by_name(
    service: Service, field: str, value: Any, naming: str
) -> None:
    service.call("CreateTopic", name=service.topic())
    service.refuses(
        "INVALID_ARGUMENT",
        "CreateSubscription",
        naming=naming,
        name=service.subscription(),
        topic=service.topic(),
        **{field: value},
    )


@emulator_deviates("it takes any filter, expiration and deadline, and says OUT_OF_RANGE")
@pytest.mark.parametrize(
    ("field", "value", "naming"),
    [
        ("ack_deadline_seconds", 9, "ack_deadline_seconds"),
        ("filter", "attributes.a =", "filter"),
        ("filter", "attributes:" + "a" * 256, "filter"),
        ("expiration_policy", {"ttl": {"seconds": DAY - 1}}, "expiration_policy.ttl"),
        (
            "dead_letter_policy",
            {"dead_letter_topic": "projects/p/topics/dead", "max_delivery_attempts": 4},
            "max_delivery_attempts",
        ),
    ],
)
def test_a_setting_the_emulator_takes_is_refused_by_name(
    service: Service, field: str, value: Any, naming: str
) -> None:
    service.call("CreateTopic", name=service.topic())
    service.refuses(
        "INVALID_ARGUMENT",
        "CreateSubscription",
        naming=naming,
        name=service.subscription(),
        topic=service.topic(),
        **{field: value},
    )


def test_a_dead_letter_topic_must_exist(service: Service) -> None:
    service.call("CreateTopic", name=service.topic())
    service.refuses(
        "NOT_FOUND",
        "CreateSubscription",
        name=service.subscription(),
        topic=service.topic(),
        dead_letter_policy={"dead_letter_topic": service.topic("dead-letters")},
    )


def test_an_update_changes_what_its_mask_names_and_nothing_else(service: Service) -> None:
    service.create(labels={"kept": "1"})
    service.call(
        "UpdateSubscription",
        subscription={"name": service.subscription(), "ack_deadline_seconds": 30},
        update_mask={"paths": ["ack_deadline_seconds"]},
    )
    shown = service.call("GetSubscription", subscription=service.subscription())
    assert (shown.ack_deadline_seconds, dict(shown.labels)) == (30, {"kept": "1"})


@pytest.mark.parametrize("paths", [[], ["bogus"], ["name"], ["filter"]])
def test_an_update_of_nothing_or_of_what_cannot_change_is_refused(
    service: Service, paths: list[str]
) -> None:
    service.create()
    service.refuses(
        "INVALID_ARGUMENT",
        "UpdateSubscription",
        naming="update" if paths != ["filter"] else "filter",
        subscription={"name": service.subscription(), "filter": "attributes:a"},
        update_mask={"paths": paths},
    )


@emulator_deviates("it has no DetachSubscription")
def test_a_detached_subscription_stays_but_delivers_no_more(service: Service) -> None:
    service.create()
    service.publish("dropped")
    service.call("DetachSubscription", subscription=service.subscription())
    assert service.call("GetSubscription", subscription=service.subscription()).detached
    service.refuses(
        "FAILED_PRECONDITION", "Pull", subscription=service.subscription(), max_messages=1
    )
    assert service.stream().status() == "FAILED_PRECONDITION"
    assert not service.call("ListTopicSubscriptions", topic=service.topic()).subscriptions


@pytest.mark.parametrize(
    ("messages", "naming"),
    [
        ([], "essages"),
        ([{}], "empty"),
        ([{"data": b"x"}] * 1_001, "oo many messages"),
    ],
)
def test_a_publish_request_past_a_limit_is_refused(
    service: Service, messages: list[dict[str, Any]], naming: str
) -> None:
    service.create()
    service.refuses(
        "INVALID_ARGUMENT", "Publish", naming=naming, topic=service.topic(), messages=messages
    )
    assert service.pull_now() == []


@emulator_deviates("it checks neither sizes nor counts nor ordering keys of messages")
@pytest.mark.parametrize(
    ("field", "value", "naming"),
    [
        ("attributes", {"k" * 257: "v"}, "attributes"),
        ("attributes", {"k": "v" * 1_025}, "attributes['k']"),
        ("attributes", {f"key{n}": "v" for n in range(101)}, "attributes"),
        ("attributes", {"googkey": "v"}, "goog"),
        ("attributes", {"": "v"}, "attributes"),
        ("ordering_key", "k" * 1_025, "ordering_key"),
        ("data", b"x" * 10_485_761, "10485760"),
    ],
)
def test_one_message_past_a_limit_refuses_the_whole_request(
    service: Service, field: str, value: Any, naming: str
) -> None:
    service.create()
    service.refuses(
        "INVALID_ARGUMENT",
        "Publish",
        naming=naming,
        topic=service.topic(),
        messages=[{"data": b"good"}, {"data": b"bad", field: value}],
    )
    assert service.pull_now() == []


@emulator_deviates("it mixes ordering keys in one request")
def test_messages_of_one_request_have_one_ordering_key(service: Service) -> None:
    service.create()
    service.refuses(
        "INVALID_ARGUMENT",
        "Publish",
        naming="ordering_key",
        topic=service.topic(),
        messages=[{"data": b"1", "ordering_key": "a"}, {"data": b"2", "ordering_key": "b"}],
    )


def test_publishing_to_a_missing_topic_is_not_found(service: Service) -> None:
    service.refuses("NOT_FOUND", "Publish", topic=service.topic(), messages=[{"data": b"x"}])


@emulator_deviates("it has no exactly-once, push or export either, but says nothing")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("enable_exactly_once_delivery", True),
        ("push_config", {"push_endpoint": "https://example.com/push"}),
        ("bigquery_config", {"table": "p.d.t"}),
    ],
)
def test_what_the_local_pubsub_leaves_out_is_unimplemented_by_name(
    service: Service, field: str, value: Any
) -> None:
    service.call("CreateTopic", name=service.topic())
    service.refuses(
        "UNIMPLEMENTED",
        "CreateSubscription",
        naming=field,
        name=service.subscription(),
        topic=service.topic(),
        **{field: value},
    )
