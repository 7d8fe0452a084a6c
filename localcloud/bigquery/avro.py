"""Load jobs of Avro files that do what BigQuery's do, by DuckDB's reader of them.

bqemulator inserts a file's columns by their position and refuses maps. BigQuery goes by their
names, and makes a map a REPEATED RECORD of key and value:
https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-avro#avro_conversions
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bqemulator.api.dependencies import AppContext


def load_avro(path: str, target_ref: str, ctx: AppContext) -> None:
    """Insert a file's records into a table; raises what DuckDB raises.

    `target_ref` is quoted already, as bqemulator's own loaders get it.
    """
    described = ctx.engine.execute("DESCRIBE SELECT * FROM read_avro(?)", [path]).fetchall()
    columns = ", ".join(_column(name, kind) for name, kind, *_ in described)
    ctx.engine.execute(
        f"INSERT INTO {target_ref} BY NAME SELECT {columns} FROM read_avro(?)",  # noqa: S608  # both are quoted
        [path],
    )


def _column(name: str, kind: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    return f"map_entries({quoted}) AS {quoted}" if kind.startswith("MAP(") else quoted
