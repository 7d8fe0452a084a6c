"""A will is published when its connection ends without a normal DISCONNECT, after its delay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mqtt5 import DisconnectPacket, DisconnectReasonCode, PublishPacket, QoS, Will

from broker.auth.identity import Login
from broker.auth.principal import Principal, Rights
from tests.broker.core.harness import ALL, V311, Client, House, device
from tests.harness.conformance import conforms


def watched(house: House) -> Client:
    watcher = house.connect("c-watcher")
    watcher.subscribe("will")
    return watcher


def will(**options: Any) -> Will:
    return Will("will", payload=b"gone", **options)


def test_mqtt_3_1_2_8_a_lost_connection_publishes_the_will() -> None:
    house = House()
    watcher = watched(house)
    house.connect("c1", will=will(qos=QoS.AT_LEAST_ONCE, content_type="t")).drop()
    got = watcher.one(PublishPacket)
    assert (got.payload, int(got.qos), got.content_type) == (b"gone", 1, "t")


def test_mqtt_3_14_4_3_a_normal_disconnect_publishes_nothing() -> None:
    house = House()
    watcher = watched(house)
    house.connect("c1", will=will()).send(DisconnectPacket())
    house.connect("c1", V311, will=Will("will", payload=b"gone")).send(DisconnectPacket())
    house.wait(10_000)
    assert watcher.payloads() == []


def test_disconnect_with_will_message_publishes_it() -> None:
    house = House()
    watcher = watched(house)
    code = DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE
    house.connect("c1", will=will()).send(DisconnectPacket(reason_code=code))
    assert watcher.payloads() == [b"gone"]


def test_a_protocol_error_and_a_keep_alive_timeout_publish_it() -> None:
    house = House()
    watcher = watched(house)
    house.connect("c1", will=will()).send_bytes(b"\xff\xff\xff\xff\xff\x01")
    house.connect("c2", will=will(), keep_alive=10)
    house.wait(16)
    assert watcher.payloads() == [b"gone", b"gone"]


def test_mqtt_3_1_3_9_a_reconnect_within_the_delay_publishes_nothing() -> None:
    house = House()
    watcher = watched(house)
    house.resume("c1", will=will(will_delay_interval=10)).drop()
    house.wait(9)
    house.resume("c1")
    house.wait(100)
    assert watcher.payloads() == []


def test_the_delay_passes_and_the_will_is_published() -> None:
    house = House()
    watcher = watched(house)
    house.resume("c1", will=will(will_delay_interval=10)).drop()
    house.wait(9.9)
    assert watcher.payloads() == []
    house.wait(0.2)
    assert watcher.payloads() == [b"gone"]


@conforms(v5="3.1.2-8")
def test_mqtt_3_1_2_10_the_end_of_the_session_publishes_it_before_its_delay() -> None:
    house = House()
    watcher = watched(house)
    house.resume("c1", will=will(will_delay_interval=100), session_expiry_interval=10).drop()
    house.wait(10.1)
    assert watcher.payloads() == [b"gone"]


def test_clean_start_ends_the_session_and_so_publishes_the_delayed_will() -> None:
    house = House()
    watcher = watched(house)
    house.resume("c1", will=will(will_delay_interval=100)).drop()
    house.connect("c1")
    assert watcher.payloads() == [b"gone"]


@conforms(v5="3.1.2-8 3.1.3-9", v311="3.1.2-8")
def test_a_take_over_publishes_a_will_without_delay_and_spares_a_delayed_one() -> None:
    house = House()
    watcher = watched(house)
    house.resume("c1", will=will())
    house.resume("c1", will=will(will_delay_interval=5))
    assert watcher.payloads() == [b"gone"]
    house.resume("c1")
    house.wait(10)
    assert watcher.payloads() == []


def test_mqtt_3_1_2_17_a_retained_will_is_retained() -> None:
    house = House()
    house.connect("c1", will=will(retain=True)).drop()
    assert watched(house).payloads() == [b"gone"]


SILENCED = device("d1", rights=Rights(publish=ALL, subscribe=ALL))
"""Who may do all but leave a will."""


def left(house: House, **options: Any) -> Client:
    """d1 with a will that waits for a minute, or for what ``options`` say."""
    house.principals["d1"] = device("d1")
    given = {"qos": QoS.AT_LEAST_ONCE, "will_delay_interval": 60} | options
    return house.resume("d1", username="d1", will=will(**given))


@pytest.mark.parametrize("principal", [SILENCED, None], ids=["silenced", "nobody"])
def test_a_will_that_waits_is_not_published_where_it_is_not_allowed_any_more(
    principal: Principal | None,
) -> None:
    house = House()
    watcher = watched(house)
    left(house).drop()
    session = house.core.sessions.get("d1")
    assert session is not None
    assert house.core.admitting.rests_on_rights(session)
    house.core.admitting.suit_away(session, principal, house.now)
    house.settle()
    assert "d1: its will is dropped: not allowed any more" in house.notices
    assert not house.core.admitting.rests_on_rights(session)
    house.wait(61)
    assert watcher.payloads() == []


def test_a_will_that_waits_and_is_still_allowed_is_published_once() -> None:
    house = House()
    watcher = watched(house)
    left(house).drop()
    session = house.core.sessions.get("d1")
    assert session is not None
    house.core.admitting.suit_away(session, device("d1"), house.now)
    house.wait(61)
    assert watcher.payloads() == [b"gone"]


def test_who_must_go_and_may_leave_no_will_any_more_leaves_none() -> None:
    house = House()
    watcher = watched(house)
    client = left(house, will_delay_interval=0)
    house.core.admitting.expel(client.connection, "it is blocked", principal=SILENCED)
    house.core.admitting.tell_expelled(client.connection, house.now)
    house.settle()
    assert client.closed is not None
    assert watcher.payloads() == []


def test_who_has_no_right_to_its_client_identifier_and_its_will_any_more_leaves_none() -> None:
    house = House()
    watcher = watched(house)
    client = left(house, will_delay_interval=0)
    other = Login(principal=replace(SILENCED, client_id="d2"), credential="password")
    house.core.admitting.permit(client.connection, other, house.now, until=None)
    house.settle()
    assert client.closed is not None
    assert watcher.payloads() == []


@pytest.mark.parametrize(("is_connected", "delay"), [(True, 0), (True, 60), (False, 60)])
@pytest.mark.parametrize("principal", [SILENCED, None], ids=["silenced", "nobody"])
def test_after_a_start_no_will_is_published_that_is_not_allowed_any_more(
    tmp_path: Path, principal: Principal | None, is_connected: bool, delay: int
) -> None:
    house = House(store=tmp_path / "store.db")
    house.resume("c-watcher").subscribe("will")
    client = left(house, will_delay_interval=delay)
    if not is_connected:
        client.drop()
    house.principals["d1"] = principal
    for _ in range(2):
        house.crash()
        house.wait(61)
        assert house.resume("c-watcher").payloads() == []


def test_after_a_start_a_will_that_is_still_allowed_is_published(tmp_path: Path) -> None:
    house = House(store=tmp_path / "store.db")
    house.resume("c-watcher").subscribe("will")
    left(house)
    house.crash()
    house.wait(61)
    assert house.resume("c-watcher").payloads() == [b"gone"]


@pytest.mark.parametrize("delay", [0, 30])
@pytest.mark.parametrize("retain", [False, True])
def test_mqtt_3_8_3_3_a_will_is_its_own_clients_message(delay: int, retain: bool) -> None:
    house = House()
    mine = will(qos=QoS.AT_LEAST_ONCE, will_delay_interval=delay, retain=retain)
    client = house.resume("c1", will=mine)
    client.subscribe("will", no_local=True)
    other = house.resume("c2")
    other.subscribe("will", no_local=True)
    client.drop()
    house.wait(delay)
    assert other.payloads() == [b"gone"]
    client = house.resume("c1")
    assert client.payloads() == []
    client.subscribe("will", no_local=True)
    assert client.payloads() == []
    client.subscribe("will", no_local=False)
    assert client.payloads() == [b"gone"] * retain


def test_a_will_comes_to_its_own_client_that_did_not_decline_it() -> None:
    house = House()
    client = house.resume("c1", will=will(qos=QoS.AT_LEAST_ONCE))
    client.subscribe("will")
    client.drop()
    assert house.resume("c1").payloads() == [b"gone"]


def test_a_will_of_an_earlier_process_is_its_own_clients_message(tmp_path: Path) -> None:
    house = House(store=tmp_path / "store")
    client = house.resume("c1", will=will(qos=QoS.AT_LEAST_ONCE))
    client.subscribe("will", no_local=True)
    other = house.resume("c2")
    other.subscribe("will")
    house.crash()
    assert house.resume("c2").payloads() == [b"gone"]
    assert house.resume("c1").payloads() == []


def test_a_will_that_there_is_no_room_to_retain_is_told_and_not_counted_as_published() -> None:
    house = House(retained_messages=1)
    watcher = watched(house)
    house.connect("c1").publish("other", b"1", retain=True)
    house.connect("c2", will=will(retain=True)).drop()
    assert watcher.payloads() == []
    assert house.core.counters.wills_published == 0
    assert house.core.counters.wills_refused == 1
    words = "c2: its will to 'will' is not published: retained messages are at their limit"
    assert words in house.notices
    house.connect("c2", will=will()).drop()
    assert watcher.payloads() == [b"gone"]
    assert house.core.counters.wills_published == 1
