"""The processes of a run, with real ones."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from localcloud.run.children import ChildEnded, Children, own_environment
from localcloud.run.watchdog import remaining

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('up', flush=True); time.sleep(60)",
]
UP = re.compile("up")


def _wait_for(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # What nobody waits for stays as a zombie, where init does not collect it.
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_process_that_ends_unasked_is_named_with_its_log_and_last_lines(tmp_path: Path) -> None:
    with Children(logs=tmp_path) as children:
        command = [sys.executable, "-c", "print('the disk is full'); raise SystemExit(3)"]
        child = children.start("warehouse", command, environment=own_environment())
        child.process.wait()
        with pytest.raises(ChildEnded, match="warehouse ended unasked with exit status 3") as told:
            children.check()
    assert "warehouse.log" in str(told.value)
    assert "the disk is full" in str(told.value)


def test_a_killed_process_is_told_by_its_signal(tmp_path: Path) -> None:
    with Children(logs=tmp_path) as children:
        child = children.start("broker", SLEEP, environment=own_environment())
        os.kill(child.pid, signal.SIGKILL)
        child.process.wait()
        with pytest.raises(ChildEnded, match="broker ended unasked with signal SIGKILL"):
            children.check()


def _kill_watchdog(children: Children) -> None:
    os.kill(children._watchdog.pid, signal.SIGKILL)
    children._watchdog.process.wait()


def test_a_killed_watchdog_is_named_at_once(tmp_path: Path) -> None:
    with Children(logs=tmp_path) as children:
        _kill_watchdog(children)
        with pytest.raises(ChildEnded, match="watchdog ended unasked with signal SIGKILL"):
            children.check()


def test_without_a_watchdog_nothing_is_started_that_outlives_the_context(tmp_path: Path) -> None:
    with Children(logs=tmp_path) as children:
        _kill_watchdog(children)
        with pytest.raises(ChildEnded, match="watchdog ended unasked"):
            children.start("one", SLEEP, environment=own_environment())
        (child,) = children._children
    assert not _is_running(child.pid)


def test_without_a_watchdog_all_are_stopped_and_then_it_is_told(tmp_path: Path) -> None:
    with Children(logs=tmp_path) as children:
        both = [children.start(name, SLEEP, environment=own_environment()) for name in "ab"]
        _kill_watchdog(children)
        with pytest.raises(ChildEnded, match="watchdog ended unasked"):
            children.stop(both)
        assert not any(_is_running(child.pid) for child in both)


def test_one_that_was_stopped_is_no_error(tmp_path: Path) -> None:
    with Children(logs=tmp_path) as children:
        child = children.start("broker", SLEEP, environment=own_environment())
        assert children.stop([child]) == []
        children.check()


def test_one_that_does_not_stop_is_killed_and_named(tmp_path: Path) -> None:
    with Children(logs=tmp_path) as children:
        child = children.start("stubborn", STUBBORN, environment=own_environment())
        children.wait_for_line(child, UP, timeout_seconds=20)
        assert children.stop([child], timeout_seconds=0.1) == [child]


def test_a_hurry_waits_for_nobody(tmp_path: Path) -> None:
    with Children(logs=tmp_path) as children:
        child = children.start("stubborn", STUBBORN, environment=own_environment())
        children.wait_for_line(child, UP, timeout_seconds=20)
        before = time.monotonic()
        children.stop([child], timeout_seconds=60, hurry=lambda: True)
        assert time.monotonic() - before < 5


def test_the_end_of_the_context_leaves_no_process(tmp_path: Path) -> None:
    with Children(logs=tmp_path) as children:
        pid = children.start("one", SLEEP, environment=own_environment()).pid
    assert not _is_running(pid)


def test_processes_and_what_they_started_end_when_their_runner_is_killed(tmp_path: Path) -> None:
    grandparent = (
        "import subprocess, sys; "
        f"child = subprocess.Popen({SLEEP!r}); print('pid', child.pid, flush=True); child.wait()"
    )
    runner = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from localcloud.run.children import Children, own_environment\n"
        f"with Children(logs=Path({str(tmp_path)!r})) as children:\n"
        f"    command = [sys.executable, '-c', {grandparent!r}]\n"
        "    print(children.start('pipeline', command, environment=own_environment()).pid)\n"
        "    sys.stdout.flush()\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", runner], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    log = tmp_path / "pipeline.log"
    _wait_for(lambda: "pid" in log.read_text())
    grandchild = int(log.read_text().split("pid ")[1].split()[0])
    assert _is_running(grandchild)
    process.kill()
    process.communicate()
    _wait_for(lambda: not _is_running(child) and not _is_running(grandchild))


def test_the_watchdog_knows_who_is_left() -> None:
    assert remaining(["+10\n", "+11\n", "-10\n", "+12\n"]) == {11, 12}
