from pathlib import Path

import pytest

from schemas.tables import DEAD_LETTERS, TABLES, TELEMETRY, field_from_json


def test_every_table_is_partitioned_and_clustered_by_columns_it_has() -> None:
    for table in TABLES:
        names = {field.name for field in table.fields}
        assert {table.partitioned_by, *table.clustered_by} <= names
        assert all(field.description for field in table.fields)


def test_the_names_older_tools_print_are_read() -> None:
    assert field_from_json({"name": "n", "type": "INTEGER"}).type == "INT64"


def test_a_record_column_is_refused() -> None:
    with pytest.raises(ValueError, match="column n is of type RECORD"):
        field_from_json({"name": "n", "type": "RECORD"})


def test_a_table_says_how_to_create_it_in_the_cloud() -> None:
    command = TELEMETRY.create_command("p", "d")
    assert command == (
        "bq mk --table --time_partitioning_field=received_time "
        "--clustering_fields=device_id,stream p:d.telemetry schemas/bigquery/telemetry.v1.json"
    )
    assert Path(DEAD_LETTERS.schema_file).exists()
