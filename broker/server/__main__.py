"""``python -m broker.server --config FILE``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from broker.errors import BrokerError
from broker.server.logs import tell_end
from broker.server.serve import serve


def main() -> int:
    """Returns the exit status: 0 after a signal, 2 where something is wrong at the start."""
    parser = argparse.ArgumentParser(prog="python -m broker.server", description="MQTT broker")
    parser.add_argument("--config", type=Path, required=True, help="YAML configuration file")
    try:
        serve(parser.parse_args().config)
    except BrokerError as error:
        tell_end(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
