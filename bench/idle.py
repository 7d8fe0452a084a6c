"""Devices that are connected and silent: ``python -m bench.idle --port 1883 --count 2000``.

Each has a session with a subscription to its own commands. When all of them stand, ``ready`` goes
to standard output; they leave when standard input ends. BENCH_PASSWORD is the broker's.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys

from bench.session import Session
from mqtt.codec import ProtocolVersion

_OTHER_FILES = 64


def main() -> None:
    """Connects the devices one after another and waits."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--protocol", type=int, default=ProtocolVersion.V5, help="4 or 5")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (options.count + _OTHER_FILES, hard))
    devices = []
    for number in range(options.count):
        device = Session(
            options.port,
            f"idle-{number:06d}",
            password=os.environ["BENCH_PASSWORD"],
            protocol=ProtocolVersion(options.protocol),
            lasting=True,
        )
        device.subscribe(f"devices/idle-{number:06d}/commands/#")
        devices.append(device)
    print("ready", flush=True)
    sys.stdin.read()
    for device in devices:
        device.socket.close()


if __name__ == "__main__":
    main()
