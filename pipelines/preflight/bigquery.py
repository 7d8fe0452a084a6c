"""Tables: there, with the columns that are written, and open to the account's rows."""

from __future__ import annotations

from collections.abc import Iterator
from os import environ

from google.auth.credentials import Credentials

from pipelines.errors import ApiRefused, CannotAsk
from pipelines.preflight.access import Access
from pipelines.preflight.needs import Table
from pipelines.preflight.rights import rights
from schemas.finding import Finding, Outcome, failed, found, untold
from transforms.bigquery import check_table
from transforms.bigquery.append import grant_command
from transforms.bigquery.stream import EMULATOR_VARIABLE, TableName
from transforms.errors import (
    DestinationMissing,
    DestinationRefused,
    DestinationUnavailable,
    OtherColumns,
)

SERVICE = "bigquery"
APPEND = ("bigquery.tables.updateData",)


def examine_table(need: Table, access: Access, *, seconds: float) -> Iterator[Finding]:
    """Whether it is there with the definition's columns, and the account may append."""
    name = TableName.parse(need.name)
    path = f"bigquery/v2/projects/{name.project}/datasets/{name.dataset}/tables/{name.table}"

    def held() -> set[str]:
        try:
            return access.account.permissions(SERVICE, path, APPEND)
        except ApiRefused as error:
            if access.account.emulated(SERVICE) and error.status in (404, 405, 501):
                return set(APPEND)  # it knows no rights: everybody may
            raise

    usable = rights(
        access.whose,
        str(name),
        f"lets {access.whose} append rows",
        APPEND,
        held,
        command=lambda: grant_command(name, access.member),
    )
    there = _existence(need, access, seconds)
    yield there
    if there.outcome is not Outcome.FAILED:
        yield usable


def _existence(need: Table, access: Access, seconds: float) -> Finding:
    """Looked at by the interface that it is appended by."""
    asked = f"exists, with the columns of {need.definition.schema_file}"
    try:
        credentials = None if environ.get(EMULATOR_VARIABLE) else _looker(access)
        check_table(need.name, need.definition, timeout_seconds=seconds, credentials=credentials)
    except CannotAsk as error:
        return untold(need.name, asked, str(error))
    except DestinationMissing:
        return failed(need.name, asked, "there is none of this name", _create(need, access))
    except OtherColumns as error:
        return failed(need.name, asked, str(error), error.command)
    except (DestinationRefused, DestinationUnavailable) as error:
        return untold(need.name, asked, str(error))
    return found(need.name, asked)


def _looker(access: Access) -> Credentials:
    """The account's credentials, or the caller's where nobody may act for the account."""
    try:
        return access.account.credentials()
    except CannotAsk:
        return access.caller.credentials()


def _create(need: Table, access: Access) -> str:
    """The command that makes the table, and before it its dataset where there is none."""
    name = TableName.parse(need.name)
    create = need.definition.create_command(name.project, name.dataset, name.table)
    try:
        access.caller.get(SERVICE, f"bigquery/v2/projects/{name.project}/datasets/{name.dataset}")
    except ApiRefused as error:
        if error.status == 404:
            return f"bq mk --dataset {name.project}:{name.dataset} && {create}"
    except CannotAsk:
        return create
    return create
