from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.bigquery import LocalBigQuery
from localcloud.bigquery.process import running_bigquery
from transforms.bigquery.stream import EMULATOR_VARIABLE


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBigQuery]:
    """A local BigQuery with our tables in dataset `d`, where the sink finds it."""
    folder: Path = tmp_path_factory.mktemp("bigquery")
    with running_bigquery(folder, log=folder / "log") as process, pytest.MonkeyPatch.context() as m:
        m.setenv(EMULATOR_VARIABLE, process.grpc)
        client = LocalBigQuery(process.rest)
        client.create("d")
        yield client
