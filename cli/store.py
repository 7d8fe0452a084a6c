"""`mqttbeam broker backup`, `restore` and `upgrade`: the broker's store, as a file."""

from pathlib import Path
from typing import Annotated

import typer

from cli.administration import socket_of
from cli.local import fail
from cli.output import say

_WRONG = 2
_SQLITE = b"SQLite format 3\0"

STORE = typer.Argument(
    help="The broker's YAML file, or the store's own file.",
    metavar="CONFIG|FILE",
    show_default=False,
)

BACKUP_EXAMPLE = "Example:  mqttbeam broker backup broker.yaml /backups/broker-monday.db"
RESTORE_EXAMPLE = "Example:  mqttbeam broker restore broker.yaml /backups/broker-monday.db --force"
UPGRADE_EXAMPLE = "Example:  mqttbeam broker upgrade broker.yaml"


def backup(
    store: Annotated[Path, STORE],
    target: Annotated[
        Path, typer.Argument(help="The file to make.", metavar="TARGET", show_default=False)
    ],
) -> None:
    """Copy the store into one new file, and check the copy.

    A running broker is asked to do it, by the administration socket of
    its configuration, and serves its clients meanwhile.
    Exit status: 0; 1 if there is no backup; 2 if an argument is wrong.
    """
    from broker.errors import BrokerError
    from broker.server.asking import ask, is_answered
    from broker.store import backup as make_backup
    from broker.store import examine

    path = _store_file(store)
    socket = None if path == store else socket_of(store)
    try:
        if socket is not None and is_answered(socket):
            # However long it takes.
            list(ask(socket, "backup", seconds=None, target=str(target.absolute())))
        else:
            make_backup(path, target)
        held = examine(target)
    except BrokerError as error:
        fail(str(error))
    say(f"{target}: {held}")


def restore(
    store: Annotated[Path, STORE],
    source: Annotated[
        Path, typer.Argument(help="The backup.", metavar="BACKUP", show_default=False)
    ],
    force: Annotated[
        bool,
        typer.Option("--force", help="There may be a store: it is put aside, under a name told."),
    ] = False,
) -> None:
    """Check a backup and put it in the store's place, while no broker runs.

    Clients go on where they were when the backup was made: what they have
    got since comes again, and what was queued since is lost.
    Exit status: 0; 1 if nothing was changed; 2 if an argument is wrong.
    """
    from datetime import UTC, datetime

    from broker.errors import StoreError
    from broker.store import examine
    from broker.store import restore as put_back

    path = _store_file(store)
    try:
        aside = put_back(path, source, force=force, now=datetime.now(UTC))
        held = examine(path)
    except StoreError as error:
        fail(str(error))
    say(f"{path}: {held}")
    if aside is not None:
        say(f"the store of before is {aside}")


def upgrade(store: Annotated[Path, STORE]) -> None:
    """Make a store of an earlier version one of this program's, while no broker runs.

    A copy of it as it was is kept beside it. A store that is of this
    version already is left alone. Exit status: 0; 1 if nothing was
    changed; 2 if an argument is wrong.
    """
    from broker.errors import StoreError
    from broker.store import upgrade as make_newer

    path = _store_file(store)
    try:
        done = make_newer(path)
    except StoreError as error:
        fail(str(error))
    if done.kept is None:
        say(f"{path}: version {done.after}, as it should be")
    else:
        say(f"{path}: version {done.before} is version {done.after} now; as it was: {done.kept}")


def _store_file(path: Path) -> Path:
    """The store's file, named itself or by a configuration."""
    from broker.config_file import load_config
    from broker.errors import ConfigError

    is_yaml = path.suffix in (".yaml", ".yml")
    try:
        with path.open("rb") as file:
            begins = file.read(len(_SQLITE))
            # An empty file is no configuration: it may be what a full disk has left of a store.
            is_yaml = begins != _SQLITE and (is_yaml or begins != b"")
    except FileNotFoundError:
        # A store that is to be restored needn't be there.
        pass
    except OSError as error:
        fail(f"{path} can't be read: {error.strerror}", status=_WRONG)
    if not is_yaml:
        return path
    try:
        config = load_config(path)
    except ConfigError as error:
        fail(str(error), status=_WRONG)
    if config.store is None:
        fail(f"{path} configures no store; give `store: {{file: …}}`", status=_WRONG)
    return config.store.file
