"""What the end of a launch says of the job: refused, launched, or not known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from templates.catalog import template_named
from templates.errors import LaunchError, LaunchUnknown
from templates.launching import Launch, launch_request
from templates.sending import send
from tests.templates.dataflow import Dataflow, running_dataflow

REQUEST = launch_request(
    template_named("pubsub-to-bigquery"),
    {
        "inputSubscription": "projects/my-project/subscriptions/telemetry-warehouse",
        "outputTableSpec": "my-project:iot.telemetry",
    },
    Launch(
        project="my-project",
        region="europe-west1",
        job_name="warehouse",
        spec="gs://my-bucket/templates/pubsub-to-bigquery.json",
    ),
)
LOOK = (
    "look, before you launch again, with `gcloud dataflow jobs list --project=my-project"
    " --region=europe-west1 --filter=name=warehouse`"
)


@pytest.fixture
def dataflow() -> Iterator[Dataflow]:
    with running_dataflow() as server:
        yield server


def test_a_refusal_is_told_in_dataflow_s_words(dataflow: Dataflow) -> None:
    dataflow.answer = (403, {"error": {"code": 403, "message": "no right to launch"}})
    with pytest.raises(LaunchError, match=r"^not launched: .*no right to launch") as refused:
        send(REQUEST, endpoint=dataflow.endpoint)
    assert not isinstance(refused.value, LaunchUnknown)


def test_a_server_that_is_not_there_got_nothing() -> None:
    with running_dataflow() as gone:
        endpoint = gone.endpoint
    with pytest.raises(LaunchError, match=f"^not launched: {endpoint} can't be reached: ") as told:
        send(REQUEST, endpoint=endpoint)
    assert not isinstance(told.value, LaunchUnknown)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((200, b"<html>a proxy</html>"), "the answer is none of Dataflow's"),
        ((200, b""), "the answer is none of Dataflow's"),
        ((200, [1]), "the answer is none of Dataflow's"),
        ((200, b"\xff"), "the answer is none of Dataflow's"),
        ((200, {"job": [1]}), "the answer is none of Dataflow's"),
        ((200, {}), "the answer names no job"),
        ((503, {"error": {"code": 503, "message": "try again"}}), "try again"),
        ((504, b"<html>a gateway</html>"), "a gateway"),
        (None, "Connection aborted"),
    ],
)
def test_an_answer_that_is_none_leaves_it_open(
    answer: tuple[int, object] | None, why: str, dataflow: Dataflow
) -> None:
    dataflow.answer = answer
    with pytest.raises(LaunchUnknown) as told:
        send(REQUEST, endpoint=dataflow.endpoint)
    words = str(told.value)
    assert words.startswith("not known whether it was launched: ")
    assert why in words
    assert words.endswith(LOOK)
    assert len(dataflow.requests) == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "was not found"),
        ("{}", "does not have a valid type"),
        ("junk", "is not a valid json file"),
    ],
)
def test_credentials_that_can_t_be_used_are_named_with_the_cause(
    content: str | None, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "credentials.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(LaunchError, match=r"^not launched: no Google credentials that") as no:
        send(REQUEST)
    assert str(path) in str(no.value)
    assert why in str(no.value)
    assert "run `gcloud auth application-default login`" in str(no.value)
