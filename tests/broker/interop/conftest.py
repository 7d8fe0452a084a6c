"""The server and paho of the tests beside these."""

from tests.broker.server.conftest import start

__all__ = ["start"]
