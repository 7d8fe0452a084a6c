from __future__ import annotations

from collections.abc import Iterator

import pytest

from localcloud.bigquery import BigQueryProcess
from localcloud.bigquery.process import running_bigquery


@pytest.fixture(scope="package")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BigQueryProcess]:
    folder = tmp_path_factory.mktemp("bigquery")
    with running_bigquery(folder / "data", log=folder / "log") as process:
        yield process
