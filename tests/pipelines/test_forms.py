"""The form of an option's text: what a console may know before anything reads it."""

from __future__ import annotations

import re

import pytest

from pipelines.forms import Form, Kind, form_of
from pipelines.readers import (
    addresses,
    bigquery_table,
    boolean,
    choice,
    integer,
    protocol,
    pubsub_topic,
    seconds,
    topic_filters,
)


def matches(reader: object, text: str) -> bool:
    pattern = form_of(reader).pattern  # type: ignore[arg-type]  # a reader of any value
    assert pattern is not None
    return re.fullmatch(pattern, text) is not None


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (addresses, "mqtt://h"),
        (addresses, "mqtts://a.example.com:8883, tcp://b-2:99,ssl://[2001:db8::1]:8883"),
        (addresses, "wss://b.example.com, ws://b.example.com:8083/mqtt"),
        (topic_filters, "a"),
        (topic_filters, "#"),
        (topic_filters, "+"),
        (topic_filters, "/a//+/b/#"),
        (topic_filters, "devices/+/telemetry/#, sites/+/state"),
        (integer(0, 9), "0"),
        (integer(1, 9), "9"),
        (integer(60, 0xFFFFFFFF), "4294967295"),
        (integer(-5, 5), "-5"),
        (seconds(0, 1), "0.5"),
        (pubsub_topic, "projects/my-project/topics/telemetry"),
        (bigquery_table, "my-project:iot.telemetry"),
        (boolean, "true"),
    ],
)
def test_a_form_takes_what_its_reader_takes(reader: object, text: str) -> None:
    reader(text)  # type: ignore[operator]  # a reader of any value
    assert matches(reader, text)


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (addresses, "broker.example.com"),
        (addresses, "http://broker.example.com"),
        (addresses, "mqtt://user:hunter2@broker.example.com"),
        (addresses, "mqtt://h,"),
        (addresses, "mqtt://h/path"),
        (addresses, "wss://h/mqtt?x=1"),
        (topic_filters, ""),
        (topic_filters, "a/#/b"),
        (topic_filters, "a#"),
        (topic_filters, "a+/b"),
        (topic_filters, "a/b,"),
        (integer(0, 9), "-1"),
        (integer(1, 9), "0"),
        (integer(1, 9), "1.5"),
        (seconds(0, 1), "-1"),
        (seconds(0, 1), "nan"),
        (pubsub_topic, "telemetry"),
        (pubsub_topic, "projects/my-project/subscriptions/telemetry"),
        (bigquery_table, "telemetry"),
        (bigquery_table, "my-project:telemetry"),
        (boolean, "yes"),
    ],
)
def test_a_form_refuses_what_its_reader_refuses(reader: object, text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        reader(text)  # type: ignore[operator]  # a reader of any value
    assert not matches(reader, text)


def test_a_word_has_its_words() -> None:
    assert form_of(choice(a=1, b=2)).words == ("a", "b")
    assert form_of(protocol).words == ("5", "3.1.1")
    for word in form_of(protocol).words:
        protocol(word)
    with pytest.raises(ValueError, match="words"):
        Form(kind=Kind.WORD)
    with pytest.raises(ValueError, match="words"):
        Form(kind=Kind.TEXT, words=("a",))
    with pytest.raises(ValueError, match="pattern and says"):
        Form(kind=Kind.TEXT, pattern="a+")


def test_a_reader_without_a_form_reads_any_text() -> None:
    assert form_of(str) == Form()
