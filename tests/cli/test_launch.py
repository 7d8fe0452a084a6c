"""`mqttbeam templates launch` on a terminal: what it shows, asks, and sends."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import commandline
from tests.cli.commandline import mqttbeam
from tests.harness.waiting import wait_until
from tests.templates.dataflow import running_dataflow

PROGRAM = commandline.PROGRAM + "main()"
LAUNCH = [
    *("templates", "launch", "pubsub-to-bigquery", "--project", "my-project"),
    *("--region", "europe-west1", "--job", "warehouse", "--spec", "gs://my-bucket/spec.json"),
    *("--param", "inputSubscription=projects/my-project/subscriptions/telemetry"),
    *("--param", "outputTableSpec=my-project:iot.telemetry", "--skip-preflight"),
]


@pytest.mark.parametrize(
    ("more", "question", "answer", "sent"),
    [
        ([], "Launch the job warehouse? [y/N]: ", "y", True),
        (["--update"], "Update the running job warehouse? [y/N]: ", "", False),
    ],
)
def test_what_is_asked_is_sent_after_a_yes_and_only_then(
    more: list[str], question: str, answer: str, sent: bool, tmp_path: Path
) -> None:
    keyboard, terminal = pty.openpty()
    said = tmp_path / "said"
    with running_dataflow() as dataflow, said.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *LAUNCH, *more, "--endpoint", dataflow.endpoint],
            cwd=tmp_path,
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            wait_until(lambda: said.read_text().endswith(question), seconds=60, what=said.read_text)
            assert dataflow.requests == []
            os.write(keyboard, f"{answer}\n".encode())
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
            os.close(terminal)
            os.close(keyboard)
    shown = said.read_text()
    assert '"inputSubscription": "projects/my-project/subscriptions/telemetry"' in shown
    assert "\ncost: $" in shown
    assert len(dataflow.requests) == sent
    assert (process.returncode, out) == ((0, "2026-11-23_job\n") if sent else (1, ""))


def test_a_launch_that_is_stopped_while_it_is_sent_says_how_to_see_whether_it_was(
    tmp_path: Path,
) -> None:
    with running_dataflow() as dataflow:
        dataflow.silent = True
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *LAUNCH, "--yes", "--endpoint", dataflow.endpoint],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_until(lambda: bool(dataflow.requests), seconds=60, what="the request")
            process.send_signal(signal.SIGINT)
            out, said = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 130
    assert out == ""
    last = said.splitlines()[-1]
    assert last.startswith("error: not known whether it was launched: stopped while it was sent")
    assert last.endswith(
        "`gcloud dataflow jobs list --project=my-project --region=europe-west1"
        " --filter=name=warehouse`"
    )


@pytest.mark.parametrize(
    ("endpoint", "status", "message"),
    [
        ("http://", 2, "error: --endpoint 'http://': must be like http://127.0.0.1:8080"),
        (None, 1, "error: not launched: http://127.0.0.1:"),
    ],
)
def test_no_way_to_the_server_is_one_sentence(
    endpoint: str | None, status: int, message: str, tmp_path: Path
) -> None:
    with running_dataflow() as gone:
        closed = gone.endpoint
    done = mqttbeam(*LAUNCH, "--yes", "--endpoint", endpoint or closed, cwd=tmp_path)
    assert done.returncode == status
    assert done.stderr.splitlines()[-1].startswith(message)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
