"""`python -m localcloud.pubsub` says when it is ready, ends cleanly and fails clearly."""

import signal
import socket
import subprocess
import sys

import grpc
import pytest

COMMAND = [sys.executable, "-m", "localcloud.pubsub"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_on_a_signal(number: signal.Signals) -> None:
    process = subprocess.Popen([*COMMAND, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("local Pub/Sub ready on 127.0.0.1:")
        with grpc.insecure_channel(line.split()[-1]) as channel:
            grpc.channel_ready_future(channel).result(timeout=10)
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 1
    assert f"cannot bind 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_shows_an_example() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=30)
    assert "PUBSUB_EMULATOR_HOST=127.0.0.1:8085" in done.stdout
