"""Whether an address can be listened on, and who has it if not."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from contextlib import ExitStack

import psutil

from broker.errors import AddressTaken, ListenError


def listen_for_a_moment(host: str, port: int, held: ExitStack) -> None:
    """Listens on the address until ``held`` is closed.

    Raises:
      AddressTaken: by the program that it names where that can be seen.
      ListenError: the address can't be had.
    """
    where = f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(
            f"cannot listen on {where}: {error.strerror or error}; name an address of this machine"
        ) from error
    for family, kind, protocol, _, address in dict.fromkeys(found):
        probe = held.enter_context(socket.socket(family, kind, protocol))
        # As the server itself has it: addresses of closed connections are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                process = _holder(port)
                raise AddressTaken(
                    f"cannot listen on {where}: {_named(process)}; stop that, or choose another"
                    " port",
                    process=process,
                ) from error
            raise ListenError(f"cannot listen on {where}: {_explained(error)}") from error


def refused(host: str, port: int, error: OSError) -> ListenError:
    """Why the address can't be listened on, as whoever looks before a start is told."""
    try:
        with ExitStack() as held:
            listen_for_a_moment(host, port, held)
    except ListenError as found:
        return found
    # It can by now.
    return ListenError(f"cannot listen on {host}:{port}: {error.strerror or error}")


def _holder(port: int) -> int | None:
    """The process that listens on a port, where that can be seen."""
    with contextlib.suppress(psutil.Error, OSError):
        for item in psutil.net_connections(kind="tcp"):
            if item.status == psutil.CONN_LISTEN and item.laddr[1:] == (port,) and item.pid:
                return int(item.pid)
    return None


def _explained(error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return "it is no address of this machine; 0.0.0.0 is all of them"
    if error.errno == errno.EACCES:
        return "ports below 1024 need the capability CAP_NET_BIND_SERVICE"
    return error.strerror or str(error)


def _named(process: int | None) -> str:
    """Of other users' programs only root sees which it is."""
    if process is not None:
        with contextlib.suppress(psutil.Error):
            if process == os.getpid():
                return "taken by another address of this configuration"
            return f"taken by {psutil.Process(process).name()}, process {process}"
    return "taken by another program"
