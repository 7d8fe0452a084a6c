"""The sink's step by itself, against a broker that says what a test wants said."""

from __future__ import annotations

import threading
from typing import Any

from mqtt5 import PubAckPacket, PubAckReasonCode, PublishPacket

from mqtt.client import Message
from tests.mqtt.client.scripted_broker import ScriptedBroker
from transforms.mqttio import BrokerSettings, PublishResult
from transforms.mqttio.write import PublishSettings, _Publish
from transforms.shared import close_shared


def test_an_outcome_has_the_broker_s_words_for_its_own_message_alone() -> None:
    results: list[Any] = []
    with ScriptedBroker() as scripted:
        step = _Publish(
            PublishSettings(
                broker=BrokerSettings(addresses=(scripted.address,)),
                client_id="commands",
                maximum_in_flight=10,
                retry_seconds=10,
            ),
            lists=False,
        )

        def bundle() -> None:
            step.setup()
            step.start_bundle()
            for key in ("plain", "told"):
                list(step.process((key, Message(topic="t", payload=b""))))
            results.extend(result.value for result in step.finish_bundle())

        thread = threading.Thread(target=bundle)
        thread.start()
        try:
            peer, _ = scripted.welcome()
            forbidden = PubAckReasonCode.NOT_AUTHORIZED
            for words in (None, "not in your tariff"):
                packet_id = peer.expect(PublishPacket).packet_id
                assert packet_id is not None
                peer.send(PubAckPacket(packet_id, reason_code=forbidden, reason_str=words))
            thread.join(10)
        finally:
            close_shared(settle_seconds=0.0)
    assert results == [
        ("plain", PublishResult("rejected", 0x87, "not authorized")),
        (
            "told",
            PublishResult("rejected", 0x87, "not authorized; the broker says: not in your tariff"),
        ),
    ]
