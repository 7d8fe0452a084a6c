"""Each limit: what just keeps it passes here and at the service, what just passes it does not."""

from __future__ import annotations

import grpc
import pytest
from google.pubsub_v1 import types

from tests.transforms.pubsubio.conftest import Place
from transforms.pubsubio.channel import publish_bytes
from transforms.pubsubio.limits import refusal

ATTRIBUTE = {"a": "b"}

Case = tuple[bytes, dict[str, str], str]

KEPT: dict[str, Case] = {
    "data": (bytes(10_000_000), {}, ""),
    "attributes": (b"", {f"k{number}": "v" for number in range(100)}, ""),
    "key": (b"", {"k" * 256: "v"}, ""),
    "key in bytes": (b"", {"é" * 128: "v"}, ""),
    "value": (b"", {"k": "v" * 1_024}, ""),
    "value in bytes": (b"", {"k": "é" * 512}, ""),
    "empty value": (b"", {"k": ""}, ""),
    "ordering key": (b"x", {}, "o" * 1_024),
    "ordering key in bytes": (b"x", {}, "é" * 512),
    "goo": (b"", {"goo": "v"}, ""),
    "no attributes": (b"x", {}, ""),
}
BROKEN: dict[str, tuple[Case, str]] = {
    "data": ((bytes(10_000_001), {}, ""), "data has 10,000,001 bytes; Pub/Sub takes 10,000,000"),
    "nothing": ((b"", {}, ""), "neither data nor attributes"),
    "only an ordering key": ((b"", {}, "o"), "neither data nor attributes"),
    "attributes": ((b"", {f"k{number}": "v" for number in range(101)}, ""), "101 attributes"),
    "key": ((b"", {"k" * 257: "v"}, ""), "at most 256 bytes"),
    "key in bytes": ((b"", {"é" * 129: "v"}, ""), "at most 256 bytes"),
    "empty key": ((b"", {"": "v"}, ""), "empty key"),
    "reserved key": ((b"", {"google-x": "v"}, ""), "keeps keys that begin with 'goog'"),
    "value": ((b"", {"k": "v" * 1_025}, ""), "attribute 'k' has 1,025 bytes"),
    "value in bytes": ((b"", {"k": "é" * 513}, ""), "attribute 'k' has 1,026 bytes"),
    "ordering key": ((b"x", {}, "o" * 1_025), "ordering key"),
    "ordering key in bytes": ((b"x", {}, "é" * 513), "ordering key"),
}
NO_UNICODE: dict[str, Case] = {
    "key": (b"", {"\ud800": "v"}, ""),
    "value": (b"", {"k": "\ud800"}, ""),
    "ordering key": (b"x", {}, "\ud800"),
}


def answer(channel: grpc.Channel, place: Place, case: Case) -> grpc.StatusCode:
    data, attributes, key = case
    message = types.PubsubMessage.pb()(data=data, attributes=attributes, ordering_key=key)
    request = types.PublishRequest.pb()(topic=place.topic, messages=[message])
    call = publish_bytes(channel).future(request.SerializeToString(), timeout=10)
    return call.code()  # type: ignore[no-any-return]  # grpc-stubs leaves futures open


@pytest.mark.parametrize("case", KEPT.values(), ids=KEPT)
def test_what_keeps_a_limit_passes(channel: grpc.Channel, place: Place, case: Case) -> None:
    assert refusal(*case) is None
    assert answer(channel, place, case) is grpc.StatusCode.OK


@pytest.mark.parametrize(("case", "words"), BROKEN.values(), ids=BROKEN)
def test_what_passes_a_limit_is_refused(case: Case, words: str) -> None:
    reason = refusal(*case)
    assert reason is not None
    assert words in reason
    assert len(reason) < 200


@pytest.mark.parametrize("name", sorted(BROKEN.keys() - {"data"}))
def test_the_service_refuses_the_same(channel: grpc.Channel, place: Place, name: str) -> None:
    assert answer(channel, place, BROKEN[name][0]) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("case", NO_UNICODE.values(), ids=NO_UNICODE)
def test_what_is_no_unicode_is_refused(case: Case) -> None:
    assert "Unicode" in (refusal(*case) or "")
