"""What the launcher and the boot program may do where Dataflow's folders are root's.

Real files, a real user: an ordinary one starts a program in a folder that only root may write to.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from templates.image.rights import let_write_anywhere, main

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give rights to files")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of root's that others may look into, as Dataflow's are."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def program(folder: Path, name: str) -> Path:
    found = shutil.which(name)
    assert found is not None
    return Path(shutil.copy(found, folder / name))


def as_nobody(*command: str | Path) -> bool:
    done = subprocess.run(
        [str(each) for each in command],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        stderr=subprocess.PIPE,
        check=False,
    )
    return done.returncode == 0


def give(path: Path) -> None:
    try:
        let_write_anywhere(path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP):
            raise
        pytest.skip(f"files can't be given rights here: {error}")


def test_the_program_writes_where_only_root_may(folder: Path) -> None:
    touch = program(folder, "touch")
    assert not as_nobody(touch, folder / "runner-json.log")
    give(touch)
    assert as_nobody(touch, folder / "runner-json.log")


def test_what_the_program_starts_may_not(folder: Path) -> None:
    starter, touch = program(folder, "env"), program(folder, "touch")
    give(starter)
    assert as_nobody(starter, "true")
    assert not as_nobody(starter, touch, folder / "written")


def test_a_program_that_is_not_there_ends_the_build(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        main([str(folder / "boot")])
