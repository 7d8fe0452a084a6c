"""Where a registry's database is: a URL, whose password is a reference.

::

    sqlite:///registry.db                               # from the folder of whoever names it
    sqlite:////var/lib/mqttbeam/registry.db             # an absolute path
    postgresql+psycopg://mqttbeam@db.example/registry   # password: libpq's own file or variable
    postgresql+psycopg://mqttbeam:${env:DB_PASSWORD}@db.example/registry?sslmode=verify-full
    postgresql+psycopg://mqttbeam:${file:/run/secrets/db}@db.example/registry

A password in clear is refused: it would stand in files, process lists and logs.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_REFERENCE = re.compile(r"\$\{(env|file):([^}]+)\}")
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_FORMS = "sqlite:///FILE or postgresql+psycopg://USER:${env:NAME}@HOST/DATABASE"


def registry_url(
    text: str, *, folder: Path = Path(), environment: Mapping[str, str] = os.environ
) -> URL:
    """Reads a URL; the file of SQLite is taken from ``folder``.

    Raises:
      ValueError: it is none that is known, its password is in clear or can't be had. The password
        is not told.
    """
    try:
        url = make_url(text)
    except ArgumentError as problem:
        raise ValueError(f"is no URL of a database; it must be {_FORMS}") from problem
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise ValueError(f"is of kind {url.drivername!r}; it must be {_FORMS}")
    url = url.set(drivername=driver)
    if "password" in url.query:
        raise ValueError(f"has its password among the parameters; it must be {_FORMS}")
    if driver == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ValueError("names no file; it must be one such as sqlite:///registry.db")
        return url.set(database=str(folder / url.database))
    if importlib.util.find_spec("psycopg") is None:
        raise ValueError("is PostgreSQL's, whose driver is missing: pip install 'psycopg[binary]'")
    if url.password is not None:
        url = url.set(password=_resolved(str(url.password), folder, environment))
    return url


def _resolved(password: str, folder: Path, environment: Mapping[str, str]) -> str:
    reference = _REFERENCE.fullmatch(password)
    if reference is None:
        raise ValueError(
            "has its password in clear; write ${env:NAME} or ${file:PATH} in its place"
        )
    kind, name = reference.groups()
    if kind == "env":
        if name not in environment:
            raise ValueError(f"takes its password from the variable {name!r}, which is not set")
        return environment[name]
    try:
        return (folder / name).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"takes its password from a file that can't be read: {problem}") from None
