"""The BigQuery tables and views as the Terraform module reads them, written from schemas.tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from schemas.tables import TABLES, VIEWS

FILE = Path(__file__).parent.parent / "deploy/terraform/modules/bigquery/tables.json"


def generated() -> Iterator[tuple[Path, str]]:
    """Gives the file, with its text."""
    definitions = {
        "tables": {
            table.name: {
                "schema_file": table.schema_file,
                "partitioned_by": table.partitioned_by,
                "clustered_by": table.clustered_by,
            }
            for table in TABLES
        },
        "views": {view.name: {"query": view.query} for view in VIEWS},
    }
    yield FILE, json.dumps(definitions, indent=2) + "\n"
