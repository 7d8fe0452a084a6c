"""The broker as a process: listeners, timers, back-pressure, start and stop."""

from broker.server.serve import Server, serve

__all__ = ["Server", "serve"]
