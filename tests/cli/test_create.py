"""`mqttbeam local create`; that it creates is shown by test_local_page."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.endpoints import free_ports
from localcloud.subscriber import subscription_path, topic_path
from tests.cli.commandline import assert_refused, mqttbeam


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: there is nothing to create: give --topic, --subscription or --dataset"),
        (["--topic=t"], "error: PUBSUB_EMULATOR_HOST is not set"),
        (["--dataset=d"], "error: BIGQUERY_EMULATOR_HOST is not set"),
        (["--subscription=s"], "error: --subscription s: expected NAME=TOPIC"),
    ],
)
def test_what_can_not_be_created_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("PUBSUB_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"):
        monkeypatch.delenv(variable, raising=False)
    assert_refused(mqttbeam("local", "create", *arguments, cwd=tmp_path), message)


@pytest.mark.parametrize(
    ("service", "argument"), [("PUBSUB", "--topic=telemetry"), ("BIGQUERY", "--dataset=iot")]
)
def test_a_service_that_is_not_there_is_named(
    service: str, argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv(f"{service}_EMULATOR_HOST", nobody)
    done = mqttbeam("local", "create", argument, cwd=tmp_path)
    assert done.returncode == 1
    assert nobody in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_full_name_is_in_its_own_project_and_a_short_one_in_local() -> None:
    assert topic_path("projects/p/topics/t") == "projects/p/topics/t"
    assert topic_path("t") == "projects/local/topics/t"
    assert subscription_path("projects/p/subscriptions/s") == "projects/p/subscriptions/s"
    assert subscription_path("s") == "projects/local/subscriptions/s"
