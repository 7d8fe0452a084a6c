"""Looks at a table before a pipeline starts, so that what is wrong ends the start."""

from google.api_core.exceptions import (
    GoogleAPIError,
    NotFound,
    PermissionDenied,
    ServiceUnavailable,
    Unauthenticated,
)
from google.api_core.retry import Retry, if_exception_type
from google.auth.credentials import Credentials
from google.cloud.bigquery_storage_v1.types import (
    GetWriteStreamRequest,
    TableFieldSchema,
    WriteStreamView,
)

from schemas.tables import Table
from transforms.bigquery.append import missing_table, refused_table, update_command
from transforms.bigquery.stream import TableName, open_client
from transforms.errors import DestinationUnavailable, OtherColumns

# The Storage API's names, where they are not GoogleSQL's.
_STORAGE_TYPES = {"FLOAT64": "DOUBLE"}


def check_table(
    table: str,
    definition: Table,
    *,
    timeout_seconds: float = 30.0,
    credentials: Credentials | None = None,
) -> None:
    """Return if the table is there, takes rows from us and has the definition's columns.

    Without `credentials` it is asked as the environment's.

    Raises:
      DestinationMissing: there is no such table.
      DestinationRefused: no right to append.
      OtherColumns: its columns are not the definition's, or it has none, as a view.
      DestinationUnavailable: no answer within the time.
      InvalidSetting: `table` is no table name.
    """
    name = TableName.parse(table)
    client = open_client(credentials)
    try:
        stream = client.get_write_stream(
            GetWriteStreamRequest(name=name.default_stream, view=WriteStreamView.FULL),
            retry=Retry(
                if_exception_type(ServiceUnavailable),
                initial=0.1,
                maximum=1.0,
                timeout=timeout_seconds,
            ),
            timeout=timeout_seconds,
        )
    except NotFound:
        raise missing_table(name, definition) from None
    except (PermissionDenied, Unauthenticated) as error:
        raise refused_table(name, error.message or "denied") from None
    except GoogleAPIError as error:
        raise DestinationUnavailable(
            f"BigQuery did not answer within {timeout_seconds:g} s when asked for table {name}: "
            f"{error}"
        ) from None
    finally:
        client.transport.close()  # type: ignore[no-untyped-call]  # Google's
    columns = {
        field.name: TableFieldSchema.Type(field.type_).name for field in stream.table_schema.fields
    }
    if not columns:  # a view takes no rows, and has no columns to put them in
        create = definition.create_command(name.project, name.dataset, "TABLE")
        raise OtherColumns(
            f"BigQuery table {name} is a view, or was created without a schema: rows need a table "
            f"with the columns of {definition.schema_file}; create one with `{create}` and name it",
            command=create,
        )
    wrong = [
        f"{field.name} {field.type}"
        for field in definition.fields
        if columns.get(field.name) != _STORAGE_TYPES.get(field.type, field.type)
    ]
    required = [
        field.name
        for field in stream.table_schema.fields
        if field.mode == TableFieldSchema.Mode.REQUIRED
        and field.name not in {ours.name for ours in definition.fields}
    ]
    if wrong or required:
        problem = f"lacks {', '.join(wrong)}" if wrong else f"requires {', '.join(required)}"
        raise OtherColumns(
            f"BigQuery table {name} {problem}: its columns must be those of "
            f"{definition.schema_file}",
            command=update_command(name, definition)
            if wrong
            else f"bq query --nouse_legacy_sql 'ALTER TABLE `{name}`"
            + ",".join(f" ALTER COLUMN {column} DROP NOT NULL" for column in required)
            + "'",
        )
