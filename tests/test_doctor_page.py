"""The page of the doctor is held to what is asked."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.preflight import bigquery, job, pubsub, secret_manager, specification, storage
from schemas.finding import Outcome

PAGE = (Path(__file__).parent.parent / "docs" / "doctor.md").read_text("utf-8")
ASKED = {
    pubsub.PUBLISH,
    pubsub.CONSUME,
    pubsub.LOOK,
    secret_manager.READ,
    *bigquery.APPEND,
    *specification.PULL,
    *storage.READ,
    *storage.WRITE,
    *job.LAUNCH,
    *job.WORK,
    *job.ACT_AS,
}


def test_every_permission_that_is_asked_for_is_on_the_page_and_no_other() -> None:
    services = "artifactregistry|pubsub|bigquery|storage|secretmanager|dataflow|iam"
    assert set(re.findall(rf"`((?:{services})\.\w+\.\w+)`", PAGE)) == ASKED


def test_every_outcome_is_explained() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert {name.lower() for name in told} == {str(outcome) for outcome in Outcome}
