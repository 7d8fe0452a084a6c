"""The devices' process: arguments in, a journal and a line of counters a second out.

Standard output carries one JSON object a second, the fields of `fleet.Counters`, for the
runner; what a person should read goes to standard error. SIGUSR1 ends the publishing, while
commands are still received; SIGTERM and SIGINT end it all, after the last PUBACKs. Exit status 0
if nothing was left unacknowledged.
"""

import argparse
import asyncio
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from localcloud.devices import host
from localcloud.devices.errors import DevicesError
from localcloud.devices.fleet import Counters, Fleet
from localcloud.devices.journal import JournalWriter, MessageIds
from localcloud.devices.recording import Recording
from localcloud.devices.schedule import RecordedReadings, Schedule, SensorReadings
from localcloud.devices.sensor import fleet as sensor_fleet


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m localcloud.devices",
        description="Devices that publish by MQTT 5: this machine, and simulated sensors or a "
        "recording.",
    )
    need = parser.add_argument_group("needed")
    need.add_argument("--broker", required=True, help="mqtt://HOST:PORT")
    need.add_argument(
        "--credentials", required=True, type=Path, help="JSON file: a password for each device id"
    )
    need.add_argument(
        "--journal", required=True, type=Path, help="where to write what was acknowledged"
    )
    need.add_argument("--run-id", required=True, help="what this run's message ids begin with")
    parser.add_argument("--devices", type=int, default=25, help="simulated sensors (%(default)s)")
    parser.add_argument(
        "--rate", type=float, default=100, help="messages a second in all (%(default)s)"
    )
    parser.add_argument("--duration", type=float, help="seconds (default: until SIGTERM)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulation (%(default)s)")
    parser.add_argument("--input", type=Path, help="CSV file in place of the simulated sensors")
    parser.add_argument("--device-column", help="column of the CSV file that names the device")
    parser.add_argument("--time-column", help="column of the CSV file that names the time")
    parser.add_argument(
        "--connect-timeout", type=float, default=60, help="seconds for all devices (%(default)s)"
    )
    parser.add_argument(
        "--drain-timeout", type=float, default=30, help="seconds for the PUBACKs (%(default)s)"
    )
    parser.add_argument(
        "--wait-for-subscriber",
        action="store_true",
        help="begin once the broker says that someone subscribes to the telemetry (MQTT 5)",
    )
    return parser


def _schedule(options: argparse.Namespace) -> tuple[Schedule, tuple[str, ...]]:
    """Return the schedule and the ids of all its devices."""
    others: SensorReadings | RecordedReadings
    if options.input is not None:
        recording = Recording(
            options.input,
            device_column=options.device_column,
            time_column=options.time_column,
        )
        names, others = recording.device_ids, RecordedReadings(recording.readings())
    else:
        sensors = sensor_fleet(seed=options.seed, count=options.devices)
        names, others = tuple(sensor.device_id for sensor in sensors), SensorReadings(sensors)
    host_id = host.device_id()
    schedule = Schedule(
        rate_per_second=options.rate, others=others, other_count=len(names), host_id=host_id
    )
    # A recording may hold this very machine.
    return schedule, tuple(dict.fromkeys((host_id, *names)))


def _report(counters: Counters) -> None:
    sys.stdout.write(json.dumps(asdict(counters)) + "\n")
    sys.stdout.flush()


async def _run(options: argparse.Namespace, host_name: str, port: int) -> bool:
    quiet, stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, quiet.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    schedule, device_ids = _schedule(options)
    known: dict[str, str] = json.loads(options.credentials.read_text())
    if missing := [device_id for device_id in device_ids if device_id not in known]:
        raise DevicesError(
            f"{options.credentials} has no password for {len(missing)} devices, "
            f"{missing[0]} among them"
        )
    with JournalWriter(options.journal) as journal:
        fleet = Fleet(
            host=host_name,
            port=port,
            passwords={device_id: known[device_id] for device_id in device_ids},
            schedule=schedule,
            wait_for_subscriber=options.wait_for_subscriber,
            message_ids=MessageIds(options.run_id),
            journal=journal,
            report=_report,
        )
        drained = await fleet.run(
            quiet=quiet,
            stop=stop,
            duration_seconds=options.duration,
            connect_timeout_seconds=options.connect_timeout,
            drain_timeout_seconds=options.drain_timeout,
        )
        if drained:
            journal.end()
    counters = fleet.counters
    if counters.rejected:
        sys.stderr.write(
            f"the broker rejected {counters.rejected} messages, first {counters.first_rejection}\n"
        )
    if not drained:
        sys.stderr.write(
            f"{counters.outstanding} messages were not acknowledged "
            f"within {options.drain_timeout:.0f} s\n"
        )
    return drained


def main(arguments: list[str] | None = None) -> int:
    """Entry point; gives the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    broker = urlsplit(options.broker)
    if broker.scheme not in {"mqtt", "tcp"} or not broker.hostname:
        parser.error(f"--broker {options.broker}: expected mqtt://HOST:PORT")
    if options.devices < 0:
        parser.error(f"--devices {options.devices}: at least 0")
    if not options.rate > 0:
        parser.error(f"--rate {options.rate}: more than 0")
    try:
        drained = asyncio.run(_run(options, broker.hostname, broker.port or 1883))
    except (DevicesError, TimeoutError) as error:
        sys.stderr.write(f"devices: {error}\n")
        return 1
    return 0 if drained else 1
