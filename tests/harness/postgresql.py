"""A throw-away PostgreSQL of the machine's own packages: a cluster in a folder, a Unix socket."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.harness.waiting import wait_until

_UNPRIVILEGED = ("postgres", "nobody")
"""Whom it runs as where we are root, which it refuses to be."""


# The pipe ends with us, however we end. SIGINT cuts off whoever is still connected.
_UNTIL_END_OF_INPUT = '"$@" & cat; kill -INT $!; wait $!'


@dataclass(frozen=True, kw_only=True)
class Postgresql:
    """A server that runs. ``variable`` of the environment holds the password."""

    folder: Path
    password: str
    variable: str = "TEST_POSTGRESQL_PASSWORD"

    @property
    def environment(self) -> dict[str, str]:
        return {self.variable: self.password}

    def url(self, database: str) -> str:
        """The URL of a database, with the password as a reference."""
        return (
            f"postgresql+psycopg://tester:${{env:{self.variable}}}@/{database}?host={self.folder}"
        )

    def new_database(self) -> str:
        """The name of a database of its own, empty."""
        name = f"t{secrets.token_hex(6)}"
        with self.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return name

    def connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.folder),
            user="tester",
            password=self.password,
            dbname=database,
            autocommit=True,
        )


@contextmanager
def running_postgresql() -> Iterator[Postgresql]:
    """Starts a server and stops it; skips the test where there is none to start."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = _user()
    # The path of a Unix socket has little room, and another user must reach it.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    try:
        server = Postgresql(folder=folder, password=secrets.token_urlsafe())
        (folder / "password").write_text(server.password)
        (folder / "password").chmod(0o600)
        if user is not None:
            for path in (folder, folder / "password"):
                shutil.chown(path, user, user if user != "nobody" else "nogroup")
        with _served(server, binaries, {} if user is None else _as(user)):
            yield server
    finally:
        shutil.rmtree(folder)


@contextmanager
def _served(server: Postgresql, binaries: Path, account: dict[str, Any]) -> Iterator[None]:
    folder = server.folder
    subprocess.run(
        [
            str(binaries / "initdb"),
            f"--pgdata={folder / 'data'}",
            "--username=tester",
            "--auth=scram-sha-256",
            f"--pwfile={folder / 'password'}",
            "--encoding=UTF8",
            "--no-sync",
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        timeout=60,
        **account,
    )
    settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "fsync": "off"}
    process = subprocess.Popen(
        [
            "sh",
            "-c",
            _UNTIL_END_OF_INPUT,
            "sh",
            str(binaries / "postgres"),
            f"-D{folder / 'data'}",
            *(f"-c{key}={value}" for key, value in settings.items()),
        ],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **account,
    )
    assert process.stdin is not None
    try:
        wait_until(lambda: _answers(server, process), seconds=30, what="PostgreSQL")
        yield
    finally:
        process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()
            process.wait()


def _answers(server: Postgresql, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"PostgreSQL ended with status {process.returncode}"
    try:
        server.connect("postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def _binaries() -> Path | None:
    """Where the server's programs are: Debian keeps them off everybody's PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


def _user() -> str | None:
    if os.getuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        with suppress(KeyError):
            pwd.getpwnam(name)
            return name
    pytest.skip("PostgreSQL refuses to run as root, and there is no other user here")


def _as(user: str) -> dict[str, Any]:
    account = pwd.getpwnam(user)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
