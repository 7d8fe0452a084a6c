"""Run the local Pub/Sub on its own: python -m localcloud.pubsub."""

import argparse
import asyncio
import signal
import sys

from localcloud.pubsub.embedded import serve_until
from localcloud.pubsub.server import PubSubServer

_EXAMPLE = """\
example:
  python -m localcloud.pubsub --port 8085
  PUBSUB_EMULATOR_HOST=127.0.0.1:8085 python your_program.py
"""


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit status is 1 if the address cannot be bound."""
    parser = argparse.ArgumentParser(
        prog="python -m localcloud.pubsub",
        description="A local Pub/Sub: the gRPC API of the service, in memory.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to bind (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=_port, default=8085, help="port to bind, 0: any (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_serve(options.host, options.port))
    except OSError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own words
        return 1
    return 0


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"a port is 0 to 65535, not {port}")
    return port


async def _serve(host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = PubSubServer(host=host, port=port)
    await server.start()
    print(f"local Pub/Sub ready on {server.endpoint}", flush=True)  # noqa: T201 - ready line
    await serve_until(server, stop)


if __name__ == "__main__":
    sys.exit(main())
