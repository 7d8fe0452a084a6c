"""aiomqtt and amqtt's client, each in an event loop of its own thread."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import aiomqtt
from amqtt.client import MQTTClient
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.broker.interop.driver import Arrived, Endpoint, Last

T = TypeVar("T")


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Waits for the coroutine, no longer than any test may take."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def close(self) -> None:
        """Ends what still runs, and the thread."""
        self.run(_cancel_the_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


async def _cancel_the_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Aiomqtt:
    """https://github.com/empicano/aiomqtt"""

    def __init__(self) -> None:
        self._loop = Loop()
        self._arrived: list[Arrived] = []
        self._client: aiomqtt.Client | None = None
        self._five = False

    def connect(self, endpoint: Endpoint, *, clean: bool, will: Last | None) -> bool | None:
        self._five = endpoint.version == 5
        self._loop.run(self._connect(endpoint, clean, will))
        return None

    async def _connect(self, endpoint: Endpoint, clean: bool, will: Last | None) -> None:
        options: dict[str, Any] = {}
        if self._five:
            expiry: Any = _properties(PacketTypes.CONNECT)
            expiry.SessionExpiryInterval = 600
            options = {"clean_start": clean, "properties": expiry}
        else:
            options = {"clean_session": clean}
        if endpoint.has_websocket:
            # paho, which is below it, names its own server as its Origin, as a browser would.
            options |= {"transport": "websockets", "websocket_path": "/mqtt"}
        if endpoint.has_tls:
            options["tls_context"] = ssl.create_default_context(cafile=str(endpoint.ca))
        if will is not None:
            options["will"] = aiomqtt.Will(will.topic, will.payload, will.qos, will.retain)
        self._client = aiomqtt.Client(
            "127.0.0.1",
            endpoint.port,
            identifier=endpoint.client_id,
            username=endpoint.username,
            password=endpoint.password,
            protocol=aiomqtt.ProtocolVersion.V5 if self._five else aiomqtt.ProtocolVersion.V311,
            **options,
        )
        await self._client.__aenter__()
        self._reader = asyncio.create_task(self._read(self._client))

    async def _read(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            properties = message.properties
            assert isinstance(message.payload, bytes)
            self._arrived.append(
                Arrived(
                    topic=message.topic.value,
                    payload=message.payload,
                    qos=message.qos,
                    retain=message.retain,
                    user_properties=list(getattr(properties, "UserProperty", []))
                    if self._five
                    else None,
                    content_type=getattr(properties, "ContentType", None),
                )
            )

    def subscribe(self, topic: str, qos: int) -> None:
        assert self._client is not None
        if self._five:
            self._loop.run(self._client.subscribe(topic, options=SubscribeOptions(qos=qos)))
        else:
            self._loop.run(self._client.subscribe(topic, qos))

    def publish(
        self, topic: str, payload: bytes, qos: int, *, retain: bool = False, **properties: Any
    ) -> None:
        assert self._client is not None
        given: Any = None
        if properties:
            given = _properties(PacketTypes.PUBLISH)
            given.UserProperty = properties["user_properties"]
            given.ContentType = properties["content_type"]
        self._loop.run(self._client.publish(topic, payload, qos, retain, given))

    def received(self) -> list[Arrived]:
        return list(self._arrived)

    def disconnect(self) -> None:
        async def leave() -> None:
            assert self._client is not None
            self._reader.cancel()
            await self._client.__aexit__(None, None, None)

        self._loop.run(leave())

    def vanish(self) -> None:
        async def break_off() -> None:
            assert self._client is not None
            self._reader.cancel()
            socket = self._client._client.socket()
            assert socket is not None
            socket.close()

        self._loop.run(break_off())

    def close(self) -> None:
        self._loop.close()


class Amqtt:
    """amqtt's client: 3.1.1 alone."""

    def __init__(self) -> None:
        self._loop = Loop()
        self._arrived: list[Arrived] = []
        self._client: MQTTClient | None = None

    def connect(self, endpoint: Endpoint, *, clean: bool, will: Last | None) -> bool | None:
        self._loop.run(self._connect(endpoint, clean, will))
        return None

    async def _connect(self, endpoint: Endpoint, clean: bool, will: Last | None) -> None:
        config: dict[str, Any] = {"auto_reconnect": False, "cleansession": clean}
        if will is not None:
            config["will"] = {
                "topic": will.topic,
                "message": will.payload.decode(),
                "qos": will.qos,
                "retain": will.retain,
            }
        scheme = {"tcp": "mqtt", "tls": "mqtts"}.get(
            endpoint.transport.value, endpoint.transport.value
        )
        path = "/mqtt" if endpoint.has_websocket else "/"
        login = f"{endpoint.username}:{endpoint.password}"
        self._client = MQTTClient(endpoint.client_id, config=config)
        await self._client.connect(
            f"{scheme}://{login}@127.0.0.1:{endpoint.port}{path}",
            cleansession=clean,
            cafile=None if endpoint.ca is None else str(endpoint.ca),
        )
        self._reader = asyncio.create_task(self._read(self._client))

    async def _read(self, client: MQTTClient) -> None:
        while True:
            message = await client.deliver_message()
            assert message is not None
            self._arrived.append(
                Arrived(
                    topic=message.topic,
                    payload=bytes(message.data),
                    qos=message.qos,
                    retain=message.retain,
                )
            )

    def subscribe(self, topic: str, qos: int) -> None:
        assert self._client is not None
        assert self._loop.run(self._client.subscribe([(topic, qos)])) == [qos]

    def publish(
        self, topic: str, payload: bytes, qos: int, *, retain: bool = False, **properties: Any
    ) -> None:
        assert self._client is not None
        self._loop.run(self._client.publish(topic, payload, qos, retain))

    def received(self) -> list[Arrived]:
        return list(self._arrived)

    def disconnect(self) -> None:
        async def leave() -> None:
            assert self._client is not None
            self._reader.cancel()
            await self._client.disconnect()

        self._loop.run(leave())

    def vanish(self) -> None:
        async def break_off() -> None:
            assert self._client is not None
            assert self._client.session is not None
            self._reader.cancel()
            writer = self._client._handler.writer
            assert writer is not None
            await writer.close()

        self._loop.run(break_off())

    def close(self) -> None:
        self._loop.close()


def _properties(packet_type: int) -> Any:
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # paho leaves it untyped
