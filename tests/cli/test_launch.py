"""`mqttbeam templates launch` on a terminal: what it shows, asks, and sends."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.waiting import wait_until
from tests.templates.dataflow import running_dataflow

PROJECT = Path(__file__).resolve().parent.parent.parent
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
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); from cli.main import main; main()"
    said = tmp_path / "said"
    with running_dataflow() as dataflow, said.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *LAUNCH, *more, "--endpoint", dataflow.endpoint],
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
