"""Whether an address can be listened on, found out without keeping it, and who has it if not."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

import psutil

from broker.errors import ListenError


def try_address(host: str, port: int) -> None:
    """Listens on the address for a moment.

    Raises:
      ListenError: the address can't be had, with the program that has it where that can be seen.
    """
    where = f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(
            f"cannot listen on {where}: {error.strerror or error}; name an address of this machine"
        ) from error
    for family, kind, protocol, _, address in dict.fromkeys(found):
        with socket.socket(family, kind, protocol) as probe:
            # As the server itself has it: addresses of closed connections are no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(address)
                probe.listen(1)
            except OSError as error:
                raise ListenError(f"cannot listen on {where}: {_explained(error, port)}") from error


def _explained(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{_holder(port)}; stop that, or choose another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "it is no address of this machine; 0.0.0.0 is all of them"
    if error.errno == errno.EACCES:
        return "ports below 1024 need the capability CAP_NET_BIND_SERVICE"
    return error.strerror or str(error)


def _holder(port: int) -> str:
    """Who listens on a port. Of other users' programs only root sees the name."""
    with contextlib.suppress(psutil.Error, OSError):
        for item in psutil.net_connections(kind="tcp"):
            if item.status == psutil.CONN_LISTEN and item.laddr[1:] == (port,) and item.pid:
                name = psutil.Process(item.pid).name()
                ours = " (this program)" if item.pid == os.getpid() else ""
                return f"taken by {name}, process {item.pid}{ours}"
    return "taken by another program"
