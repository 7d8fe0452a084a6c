"""`mqttbeam archive`: what a run has archived, read from its Avro files."""

from typing import Annotated

import typer

from cli.local import fail
from cli.output import say

_EXIT_NO_ARCHIVE = 3


def archive(
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Print so many messages of the last file, one JSON object each."),
    ] = None,
) -> None:
    """Show what runs in this folder have archived: files and messages by the hour.

    The files are in .mqttbeam/archive, and any reader of Avro reads them. A run puts a message
    into a file within five seconds; the first file of a run that has just begun is waited for.

    Exit status: 3 if there is no archive here.

    Examples:

      mqttbeam archive

      mqttbeam archive --count 1
    """
    from cli.show import json_object
    from localcloud.archive import NoArchive, hours, last_records, wait_for_files
    from localcloud.endpoints import STATE_FOLDER

    try:
        files = wait_for_files(STATE_FOLDER)
    except NoArchive as error:
        fail(str(error), status=_EXIT_NO_ARCHIVE)
    if count is None:
        for hour in hours(files):
            say(f"{hour.name}  {hour.messages} messages in {hour.files} files, {hour.late} late")
        return
    for record in last_records(files[-1], count):
        say(json_object(record))
