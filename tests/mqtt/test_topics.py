"""The specification's cases for topic names and filters (MQTT 5.0 section 4.7 and 4.8.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqtt.errors import TopicError
from mqtt.topics import TopicFilter, check_topic_name

MATCHES = [
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("#", "a/b/c", True),
    ("#", "/", True),
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("+/tennis/#", "sport/tennis", True),
    ("sport/+/player1", "sport/tennis/player1", True),
    ("#", "$SYS/x", False),
    ("+/monitor/Clients", "$SYS/monitor/Clients", False),
    ("$SYS/#", "$SYS/monitor", True),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
    ("ACCOUNTS", "Accounts", False),
    ("a//b", "a//b", True),
    ("a/+/b", "a//b", True),
]


@pytest.mark.parametrize(("pattern", "topic", "expected"), MATCHES)
def test_matches_as_the_specification_says(pattern: str, topic: str, expected: bool) -> None:
    assert TopicFilter.parse(pattern).matches(topic) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "sport/tennis#",
        "sport/tennis/#/ranking",
        "sport+",
        "#/a",
        "a\0b",
        "a" * 65_536,
        "\ud800",
    ],
)
def test_refuses_an_illegal_filter(pattern: str) -> None:
    with pytest.raises(TopicError):
        TopicFilter.parse(pattern)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0", "\udfff", "é" * 32_768])
def test_refuses_an_illegal_name(topic: str) -> None:
    with pytest.raises(TopicError):
        check_topic_name(topic)


def test_reads_a_shared_subscription() -> None:
    shared = TopicFilter.parse("$share/group/devices/+/telemetry/#")
    assert (shared.share, shared.pattern) == ("group", "devices/+/telemetry/#")
    assert str(shared) == "$share/group/devices/+/telemetry/#"
    assert shared.matches("devices/a/telemetry")


@pytest.mark.parametrize("text", ["$share", "$share/", "$share/group", "$share//a", "$share/g+/a"])
def test_refuses_an_illegal_shared_subscription(text: str) -> None:
    with pytest.raises(TopicError):
        TopicFilter.parse(text)


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("a/#", "a/+", True),
        ("a/+", "a/#", False),
        ("a/#", "a", True),
        ("a/+", "a", False),
        ("#", "+/b", True),
        ("#", "$SYS/#", False),
        ("+/b", "$SYS/b", False),
        ("a/+/c", "a/b/c", True),
        ("a/b/c", "a/+/c", False),
        ("a/+/#", "a/b", True),
        ("a/+/#", "a/#", False),
        ("a/b", "$share/g/a/b", True),
    ],
)
def test_covers_is_containment(wide: str, narrow: str, expected: bool) -> None:
    assert TopicFilter.parse(wide).covers(narrow) is expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a/secret/#", "a/#", True),
        ("a/secret/#", "a/+", True),
        ("a/secret/#", "a/+/x", True),
        ("a/secret/#", "a/open", False),
        ("a/+", "+/b", True),
        ("a/b", "a/b/c", False),
        ("#", "$SYS/#", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/+", True),
    ],
)
def test_overlaps_both_ways(first: str, second: str, expected: bool) -> None:
    assert TopicFilter.parse(first).overlaps(second) is expected
    assert TopicFilter.parse(second).overlaps(first) is expected


LEVELS = st.sampled_from(["a", "b", "", "$x"])
NAMES = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = (
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "", "+", "$x"]), max_size=3),
        st.sampled_from([["#"], ["+"], ["a"]]),
    )
    .map(lambda parts: "/".join([*parts[0], *parts[1]]))
    .filter(bool)
)


@given(FILTERS, FILTERS, NAMES)
def test_covers_and_overlaps_agree_with_matches(first: str, second: str, topic: str) -> None:
    one, other = TopicFilter.parse(first), TopicFilter.parse(second)
    if one.covers(other) and other.matches(topic):
        assert one.matches(topic)
    if one.matches(topic) and other.matches(topic):
        assert one.overlaps(other)


def test_a_level_is_replaced_as_if_the_filter_had_been_written_so() -> None:
    for pattern in ("%d", "a/%d/#", "$share/g/%d/+", "a", "%d/%d", "%dx/%d"):
        for name in ("x", "ä" * 10, "y" * 70):
            levels = [name if level == "%d" else level for level in pattern.split("/")]
            wanted = TopicFilter.parse("/".join(levels))
            made = TopicFilter.parse(pattern).with_level("%d", name)
            assert (made, made.levels, hash(made)) == (wanted, wanted.levels, hash(wanted))


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a\0", "x" * 65_536, "ä" * 40_000])
def test_a_level_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(TopicError):
        TopicFilter.parse("a/%d").with_level("%d", name)
