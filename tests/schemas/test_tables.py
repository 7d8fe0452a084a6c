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


def test_tables_know_their_schema_files() -> None:
    assert TELEMETRY.schema_file == "schemas/bigquery/telemetry.v1.json"
    assert DEAD_LETTERS.schema_file == "schemas/bigquery/dead_letters.v1.json"
