"""A fleet of devices in one process: the schedule, their connections and what they count."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from localcloud.devices.connection import DeviceConnection, Outgoing
from localcloud.devices.journal import JournalWriter, MessageIds
from localcloud.devices.reading import Reading
from localcloud.devices.schedule import Schedule
from localcloud.devices.sensor import utc

TICK_SECONDS = 0.01
CONNECT_AT_ONCE = 32
DISCONNECT_TIMEOUT_SECONDS = 2.0


@dataclass(slots=True, kw_only=True)
class Counters:
    """What the fleet has done so far; the runner shows it."""

    state: str = "connecting"
    devices: int = 0
    connected: int = 0
    published: int = 0
    malformed: int = 0
    rejected: int = 0
    not_taken: int = 0
    outstanding: int = 0
    commands_received: int = 0
    recording_ended: bool = False
    reconnects: int = 0
    first_rejection: str = field(default="")


class Fleet:
    """All devices of one process.

    `passwords` holds one password a device id. A reading of a device that is too far behind
    (the broker is away for long) is not taken, and counted as such. With `wait_for_subscriber`
    nothing counts until the broker says that someone subscribes to this machine's telemetry.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        passwords: Mapping[str, str],
        schedule: Schedule,
        wait_for_subscriber: bool,
        message_ids: MessageIds,
        journal: JournalWriter,
        report: Callable[[Counters], None],
    ) -> None:
        self.counters = Counters(devices=len(passwords))
        self._schedule, self._message_ids, self._journal = schedule, message_ids, journal
        self._report = report
        self._wait_for_subscriber = wait_for_subscriber
        self._heard = False
        self._commands: set[tuple[str, str]] = set()
        self._executor = ThreadPoolExecutor(CONNECT_AT_ONCE, thread_name_prefix="connect")
        self._devices = {
            device_id: DeviceConnection(
                device_id=device_id,
                password=password,
                host=host,
                port=port,
                executor=self._executor,
                on_acknowledged=self._acknowledged,
                on_rejected=self._rejected,
                on_command=self._command,
            )
            for device_id, password in passwords.items()
        }

    async def run(
        self,
        *,
        quiet: asyncio.Event,
        stop: asyncio.Event,
        duration_seconds: float | None,
        connect_timeout_seconds: float,
        drain_timeout_seconds: float,
    ) -> bool:
        """Publish until told to stop or the duration is over, and end after the last PUBACK.

        Told to be quiet, it publishes no more and stays connected, for commands, until told to
        stop.

        Returns whether nothing was left unacknowledged. Raises BrokerRefused, and
        TimeoutError where not all devices are connected in time.
        """
        reporting = asyncio.create_task(self._report_each_second())
        connections = [asyncio.create_task(device.run()) for device in self._devices.values()]
        publishing = asyncio.create_task(
            self._publish(quiet, stop, duration_seconds, connect_timeout_seconds)
        )
        try:
            # A connection's task ends only by an error.
            done, _ = await asyncio.wait(
                [publishing, *connections], return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
            self.counters.state = "draining"
            drained = await self._drain(drain_timeout_seconds)
        finally:
            for task in (publishing, reporting, *connections):
                task.cancel()
            await asyncio.gather(publishing, reporting, *connections, return_exceptions=True)
            self._executor.shutdown(wait=False)
        await asyncio.gather(
            *(
                device.close(timeout_seconds=DISCONNECT_TIMEOUT_SECONDS)
                for device in self._devices.values()
            )
        )
        self.counters.state = "ended"
        self._count_and_report()
        return drained

    async def _publish(
        self,
        quiet: asyncio.Event,
        stop: asyncio.Event,
        duration_seconds: float | None,
        connect_timeout_seconds: float,
    ) -> None:
        deadline = time.monotonic() + connect_timeout_seconds
        while not all(device.is_connected for device in self._devices.values()):
            if stop.is_set():
                return
            if time.monotonic() > deadline:
                away = [name for name, device in self._devices.items() if not device.is_connected]
                raise TimeoutError(
                    f"{len(away)} of {len(self._devices)} devices are not connected after "
                    f"{connect_timeout_seconds:.0f} s, {away[0]} among them"
                )
            await asyncio.sleep(TICK_SECONDS)
        if self._wait_for_subscriber:
            self.counters.state = "waiting"
            await self._be_heard(stop, deadline)
        self.counters.state = "publishing"
        self._count_and_report()
        end = math.inf if duration_seconds is None else time.monotonic() + duration_seconds
        while not (quiet.is_set() or stop.is_set()) and (now := time.monotonic()) < end:
            for reading in self._schedule.due(now, utc(time.time())):
                self._send(reading)
            await asyncio.sleep(TICK_SECONDS)
        if quiet.is_set():
            self.counters.state = "quiet"
            await stop.wait()

    async def _be_heard(self, stop: asyncio.Event, deadline: float) -> None:
        """Publish this machine's readings until someone subscribes; none of them counts before.

        What is published while nobody subscribes is accepted, and gone.
        """
        while not self._heard and not stop.is_set():
            if time.monotonic() > deadline:
                raise TimeoutError("nobody subscribes to the devices' telemetry")
            self._send(self._schedule.host_reading(utc(time.time())))
            await self._drain(max(deadline - time.monotonic(), 0))
            await asyncio.sleep(TICK_SECONDS)

    def _send(self, reading: Reading) -> None:
        device = self._devices[reading.device_id]
        if device.is_full:
            self.counters.not_taken += 1
            return
        message_id = self._message_ids.next(time.time())
        device.publish(Outgoing(message_id=message_id, reading=reading))

    async def _drain(self, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while any(device.outstanding for device in self._devices.values()):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(TICK_SECONDS)
        return True

    async def _report_each_second(self) -> None:
        while True:
            self._count_and_report()
            await asyncio.sleep(1)

    def _count_and_report(self) -> None:
        devices = self._devices.values()
        self.counters.connected = sum(device.is_connected for device in devices)
        self.counters.outstanding = sum(device.outstanding for device in devices)
        self.counters.reconnects = sum(max(device.connects - 1, 0) for device in devices)
        self.counters.recording_ended = self._schedule.ended
        self._journal.flush()
        self._report(self.counters)

    def _acknowledged(self, outgoing: Outgoing, has_subscribers: bool) -> None:
        if self._wait_for_subscriber and not self._heard and not has_subscribers:
            return
        self._heard = True
        self.counters.published += 1
        self.counters.malformed += outgoing.reading.malformed
        self._journal.acknowledged(outgoing.message_id, malformed=outgoing.reading.malformed)

    def _rejected(self, outgoing: Outgoing, reason: str) -> None:
        self.counters.rejected += 1
        self.counters.first_rejection = self.counters.first_rejection or (
            f"{outgoing.reading.device_id}: {reason}"
        )

    def _command(self, device_id: str, command_id: str) -> None:
        if (device_id, command_id) not in self._commands:
            self._commands.add((device_id, command_id))
            self.counters.commands_received += 1
            self._journal.command(device_id, command_id)
