"""This machine as a device: what psutil reads of it."""

import re
import socket
import time
from typing import Protocol

import psutil


class _Counters(Protocol):
    """What psutil's disk and network counters share: they only ever grow."""

    def _asdict(self) -> dict[str, int]: ...


_RATES = {
    "disk_read_bytes_per_second": ("disk", "read_bytes"),
    "disk_written_bytes_per_second": ("disk", "write_bytes"),
    "network_received_bytes_per_second": ("network", "bytes_recv"),
    "network_sent_bytes_per_second": ("network", "bytes_sent"),
}


def device_id(hostname: str | None = None) -> str:
    """Return this machine's device id: `host-` and its name, what topics can't hold left out."""
    name = hostname if hostname is not None else socket.gethostname()
    return f"host-{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.')[:64] or 'unnamed'}"


def rates(
    before: dict[str, dict[str, int]], now: dict[str, dict[str, int]], seconds: float
) -> dict[str, float]:
    """Return the counters' growth a second; a counter that fell (a disk went away) is left out."""
    found = {}
    for name, (group, counter) in _RATES.items():
        old, new = before.get(group, {}).get(counter), now.get(group, {}).get(counter)
        if old is not None and new is not None and new >= old and seconds > 0:
            found[name] = round((new - old) / seconds, 1)
    return found


class HostReadings:
    """This machine's readings; rates are those since the reading before."""

    def __init__(self) -> None:
        # The first call only starts the clock that the next ones measure from.
        psutil.cpu_percent(percpu=True)
        self._counters = _counters()
        self._read_at = time.monotonic()

    def read(self) -> dict[str, float]:
        """Return what can be read of this machine now; takes about a millisecond."""
        cores = psutil.cpu_percent(percpu=True)
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage("/")
        now, counters = time.monotonic(), _counters()
        values = {
            "cpu_percent": round(sum(cores) / len(cores), 1),
            "memory_percent": float(memory.percent),
            "memory_available_bytes": float(memory.available),
            "disk_used_percent": float(disk.percent),
            "disk_free_bytes": float(disk.free),
            "load_1_minute": round(psutil.getloadavg()[0], 2),
        }
        values |= {f"cpu_{core}_percent": percent for core, percent in enumerate(cores)}
        values |= rates(self._counters, counters, now - self._read_at)
        self._counters, self._read_at = counters, now
        if (temperature := _temperature()) is not None:
            values["temperature_c"] = temperature
        return values


def _counters() -> dict[str, dict[str, int]]:
    # Both are None where there is no disk or no interface, as in some containers.
    found: dict[str, _Counters | None] = {
        "disk": psutil.disk_io_counters(),
        "network": psutil.net_io_counters(),
    }
    return {name: counters._asdict() for name, counters in found.items() if counters is not None}


def _temperature() -> float | None:
    """Return the hottest sensor in degrees Celsius; None where the system has or shows none."""
    # psutil has this function on Linux and FreeBSD only.
    read = getattr(psutil, "sensors_temperatures", None)
    if read is None:
        return None
    found = [float(one.current) for group in read().values() for one in group]
    return max(found, default=None)
