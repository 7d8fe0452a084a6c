"""Run a command beside a Flink cluster of its own: ``python -m localcloud.flink -- COMMAND …``.

The options by which a pipeline runs on the cluster are put behind the command's own:

    python -m localcloud.flink -- python -m pipelines.telemetry --broker=mqtt://… --shards=4 …

Python workers inherit this process's environment. Without a command the cluster runs until Ctrl-C
and the options are printed. It ends with the command, which is asked to end by Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from localcloud.endpoints import STATE_FOLDER
from localcloud.flink.cluster import FlinkCluster
from localcloud.flink.jars import FlinkUnavailable
from localcloud.flink.settings import ClusterSettings
from localcloud.run.children import ChildEnded, Interrupted

_TICK_SECONDS = 0.2
_STOP_SECONDS = 40.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; gives the command's exit status, 1 where there is no cluster."""
    parser = argparse.ArgumentParser(
        prog="python -m localcloud.flink", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=STATE_FOLDER / "flink",
        help="for logs, checkpoints and configuration (default: %(default)s)",
    )
    parser.add_argument("--task-managers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--slots", type=int, default=3, help="of each (default: %(default)s)")
    parser.add_argument("command", nargs="*", help="what to run beside it, behind --")
    options = parser.parse_args(arguments)
    try:
        settings = ClusterSettings(
            folder=options.folder, task_managers=options.task_managers, slots=options.slots
        )
    except ValueError as error:
        parser.error(str(error))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        with FlinkCluster(settings, environment=os.environ, interrupted=ended.is_set) as cluster:
            sys.stdout.write(f"Flink: its console is at http://{cluster.address}\n")
            sys.stdout.write(" ".join(("Flink: ready;", *cluster.options())) + "\n")
            sys.stdout.flush()
            return _beside(cluster, options.command, ended)
    except (FlinkUnavailable, ChildEnded) as error:
        sys.stderr.write(f"Flink: {error}\n")
        return 1
    except Interrupted:
        return 130


def _beside(cluster: FlinkCluster, command: Sequence[str], ended: threading.Event) -> int:
    """Runs the command, or waits for a signal. Raises ChildEnded if the cluster breaks."""
    if not command:
        while not ended.wait(_TICK_SECONDS):
            cluster.check()
        return 0
    process = subprocess.Popen([*command, *cluster.options()], start_new_session=True)
    try:
        while process.poll() is None and not ended.wait(_TICK_SECONDS):
            cluster.check()
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
