"""How much memory there is for clients where the configuration does not say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker.config import BrokerConfig
from broker.core.limits import Limits
from broker.server.memory_limit import available, with_memory

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MIB = 1024**2


def a_root(folder: Path, cgroup: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": cgroup, **files}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def test_without_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    assert available(root=tmp_path) == MACHINE


@pytest.mark.parametrize(
    ("cgroup", "files"),
    [
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/memory.max": f"{64 * MIB}\n"}),
        (
            "0::/a/b\n",
            {
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/memory.max": f"{64 * MIB}\n",
            },
        ),
        ("0::/kubepods/x\n", {"sys/fs/cgroup/memory.max": f"{64 * MIB}\n"}),
        (
            "12:memory:/docker/x\n11:cpu,cpuacct:/docker/x\n",
            {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{64 * MIB}\n"},
        ),
    ],
    ids=["own", "above", "container", "version-1"],
)
def test_the_least_that_a_control_group_may_have(
    tmp_path: Path, cgroup: str, files: dict[str, str]
) -> None:
    assert available(root=a_root(tmp_path, cgroup, files)) == 64 * MIB


def test_a_group_that_may_have_all_is_no_limit(tmp_path: Path) -> None:
    root = a_root(tmp_path, "0::/\n", {"sys/fs/cgroup/memory.max": "max\n"})
    assert available(root=root) == MACHINE


def test_half_of_it_is_for_clients_unless_the_configuration_says() -> None:
    assert with_memory(BrokerConfig()).limits.memory_bytes == available() // 2
    said = BrokerConfig(limits=Limits(memory_bytes=5))
    assert with_memory(said) is said
