import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from localcloud.run.lifetime import Interrupts, RunFailed, alone_in


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.01)


def test_a_second_run_in_one_folder_is_refused_and_names_the_first(tmp_path: Path) -> None:
    told = rf"already \(process {os.getpid()}\): stop it first"
    with alone_in(tmp_path), pytest.raises(RunFailed, match=told), alone_in(tmp_path):
        pass


def test_a_folder_is_free_again_after_a_run(tmp_path: Path) -> None:
    for _ in range(2):
        with alone_in(tmp_path):
            pass


def test_the_first_ctrl_c_stops_and_the_second_hurries() -> None:
    interrupts = Interrupts()
    before = signal.getsignal(signal.SIGINT)
    with interrupts.listening():
        assert not interrupts.stop()
        os.kill(os.getpid(), signal.SIGINT)
        _wait_for(interrupts.stop)
        assert not interrupts.hurry()
        os.kill(os.getpid(), signal.SIGINT)
        _wait_for(interrupts.hurry)
    assert signal.getsignal(signal.SIGINT) is before
