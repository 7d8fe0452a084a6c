"""The local BigQuery process: bqemulator 1.4.0 with six of its limits mended.

    python -m localcloud.bigquery --data-dir DIR --rest-port 0 --grpc-port 0

It listens on 127.0.0.1, keeps its data in DIR and prints one line when it is ready:

    ready rest=127.0.0.1:PORT grpc=127.0.0.1:PORT

Everything else goes to stderr. SIGTERM and SIGINT stop it; what an append was answered for
is on disk then, and after kill -9 too (DuckDB's write-ahead log).

What is mended, and why:

- It downloads DuckDB's extensions for geography and for load jobs of Avro at start. Here they
  are loaded from the wheels `duckdb-extension-spatial` and `duckdb-extension-avro`.
- After every append it copies the whole table, for time travel: 500 rows to a table of n
  rows cost n + 500, and the copies stay for a week. Here no copies are made, so
  `FOR SYSTEM_TIME AS OF` reads the table as it is. It also rewrites the table's entry in
  the catalog at every append, to count its rows: left out, `numRows` of a table stays 0.
  Both together: 2 times the rows a second in requests of 500, 4 times in small ones, and
  the time for a request no longer grows with the table.
- All its threads share one DuckDB connection, which holds one result: an append between a
  query and the fetch of its rows replaces them. Here each thread has its own cursor.
- asyncio's default pool of (cores + 4) threads serves the AppendRows streams, which hold
  their thread for as long as they are open: the seventh on two cores waits forever. Here
  there are 128 threads.
- It ends connections that are kept alive by pings while a stream idles, which Google's service
  leaves alone. Here they stand.
- Its load jobs of Avro take columns by position and no maps; see avro.py.
- A health watch that its client has left holds a thread, and the process would never end.
  Here a watch is a coroutine.
"""

import argparse
import asyncio
import functools
import gc
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, TextIO

import bqemulator.server as emulator
import duckdb
import grpc
import pyarrow as pa
from bqemulator.config import LogLevel, PersistenceMode, Settings
from bqemulator.domain.events import TableDataChanged
from bqemulator.grpc_api import write_servicer
from bqemulator.jobs import executor
from bqemulator.storage.engine import DuckDBEngine
from bqemulator.storage.sql_identifiers import quoted_table_ref
from bqemulator.streaming.write_stream import WriteStream
from grpc_health.v1 import health

from localcloud.bigquery.avro import load_avro

HOST = "127.0.0.1"
_STREAM_THREADS = 128
_GRPC_OPTIONS = (
    # Clients keep idle streams alive by pings, and must not be refused for them.
    ("grpc.http2.max_ping_strikes", 0),
)


class _Engine(DuckDBEngine):
    """DuckDB with a cursor for each thread and its extensions from their wheels."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._local = threading.local()
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._cursors_lock = threading.Lock()

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        cursor: duckdb.DuckDBPyConnection | None = getattr(self._local, "cursor", None)
        if cursor is None:
            cursor = super().connection.cursor()
            cursor.execute("SET TimeZone = 'UTC'")
            self._local.cursor = cursor
            with self._cursors_lock:
                self._cursors.append(cursor)
        return cursor

    async def stop(self) -> None:
        with self._cursors_lock:
            for cursor in self._cursors:
                cursor.close()
            self._cursors.clear()
        await super().stop()

    def _load_spatial(self) -> None:
        self._load("spatial")

    def _load_format_extensions(self) -> None:
        self._load("avro")

    def _load(self, name: str) -> None:
        folder = resources.files(f"duckdb_extension_{name}") / "extensions"
        file = folder / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        assert self._connection is not None
        self._connection.execute(f"LOAD '{file}'")


class _WriteHandler(write_servicer.BigQueryWriteHandler):
    """AppendRows that costs what its rows cost, whatever the size of the table."""

    def _flush_to_target(self, stream: WriteStream, rows: pa.Table) -> None:
        table = (stream.project_id, stream.dataset_id, stream.table_id)
        connection = self._ctx.engine.connection
        connection.register("appended_rows", rows)
        try:
            connection.execute(
                f"INSERT INTO {quoted_table_ref(*table)} SELECT * FROM appended_rows"  # noqa: S608  # quoted_table_ref checks the names
            )
        finally:
            connection.unregister("appended_rows")
        # The emulator's cached query results of this table are void from here on.
        self._ctx.events.publish(TableDataChanged(*table))


class _Health(health.aio.HealthServicer):  # type: ignore[misc, name-defined]  # has no stubs
    """Serving from its start on."""

    def set(self, service: str, status: int) -> None:
        """What the emulator says before it serves is so from the start."""
        assert self._server_status[service] == status


def _grpc_server(
    make: Callable[..., grpc.aio.Server], *, options: list[tuple[str, Any]], **arguments: Any
) -> grpc.aio.Server:
    """Return a gRPC server with the emulator's options and ours."""
    return make(options=[*options, *_GRPC_OPTIONS], **arguments)


async def serve(data_dir: Path, rest_port: int, grpc_port: int, announce: TextIO) -> None:
    """Serve until SIGTERM or SIGINT; port 0 takes a free one."""
    # The emulator builds these itself and has no other place to put ours in.
    emulator.DuckDBEngine = _Engine  # type: ignore[attr-defined]  # imported there, not exported
    write_servicer.BigQueryWriteHandler = _WriteHandler  # type: ignore[misc]  # replaces a class
    health.HealthServicer = _Health  # type: ignore[misc]  # replaces a class
    grpc.aio.server = functools.partial(_grpc_server, grpc.aio.server)
    executor._LOAD_FORMAT_HANDLERS["AVRO"] = load_avro
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_STREAM_THREADS, "bigquery"))
    server = emulator.EmulatorServer(
        Settings(
            rest_host=HOST,
            rest_port=rest_port,
            grpc_host=HOST,
            grpc_port=grpc_port,
            persistence_mode=PersistenceMode.PERSISTENT,
            data_dir=data_dir,
            default_project_id="local",
            enable_format_extensions=True,
            log_level=LogLevel.WARNING,
        )
    )
    await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(  # the line that whoever started the process waits for
        f"ready rest={HOST}:{server.rest_port} grpc={server.grpc_endpoint}",
        file=announce,
        flush=True,
    )
    await stop.wait()
    # AppendRows streams last as long as their clients: the 2 s that the emulator gives them to
    # end would always run out.
    await server._grpc_server.stop(grace=0.2)  # type: ignore[attr-defined]  # typed as object
    await server.stop()


def _check_free(port: int) -> None:
    """Refuse a port in use: gRPC would share it with the other process in silence."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SystemExit(f"port {port} of {HOST} can't be had: {error.strerror}") from None


def main() -> None:
    """Parse the arguments and serve."""
    # What was imported stays to the end, and is not looked through for garbage then.
    gc.freeze()
    parser = argparse.ArgumentParser(prog="python -m localcloud.bigquery", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data-dir", type=Path, required=True, help="folder that keeps the data")
    parser.add_argument("--rest-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--grpc-port", type=int, default=0, help="0 takes a free port")
    arguments = parser.parse_args()
    _check_free(arguments.rest_port)
    _check_free(arguments.grpc_port)
    # Whatever else the emulator prints: stdout is for the ready line.
    announce, sys.stdout = sys.stdout, sys.stderr
    asyncio.run(serve(arguments.data_dir, arguments.rest_port, arguments.grpc_port, announce))
