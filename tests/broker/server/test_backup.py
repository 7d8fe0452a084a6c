"""A backup of a broker process under load, put back after kill -9."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime
from pathlib import Path

from broker.server.asking import ask
from broker.store import restore
from tests.broker.server.test_killed import configured, connected, port_of, start, subscribed
from tests.harness.waiting import wait_until


def waiting(folder: Path) -> int:
    """How many messages a running broker has for its clients."""
    (told,) = ask(folder / "broker.sock", "status")
    return int(told["queued"] + told["unacknowledged"])


def test_what_was_acknowledged_before_a_backup_is_in_it(tmp_path: Path) -> None:
    passwords = configured(tmp_path)
    with (tmp_path / "broker.yaml").open("a") as config:
        config.write("administration: {socket: broker.sock}\n")
    process = start(tmp_path)
    acknowledged = 0
    published = 0
    ends = threading.Event()
    try:
        port = port_of(process)
        reader, _ = connected(port, "all", passwords["all"])
        subscribed(reader)
        reader.disconnect()
        reader.loop_stop()
        writer, _ = connected(port, "cmd", passwords["cmd"])

        def publish() -> None:
            nonlocal acknowledged, published
            for number in itertools.count(1):
                if ends.is_set():
                    return
                published = number
                sent = writer.publish("devices/d1/commands", b"%d" % number, qos=1)
                sent.wait_for_publish(10)
                acknowledged = number

        publishing = threading.Thread(target=publish)
        publishing.start()
        wait_until(lambda: acknowledged > 200, seconds=20, what="200 messages")
        sure = acknowledged
        list(ask(tmp_path / "broker.sock", "backup", target=str(tmp_path / "backup.db")))
        most = published
        wait_until(lambda: acknowledged > most + 20, seconds=20, what="20 messages more")
        ends.set()
        publishing.join(20)
        writer.loop_stop()
    finally:
        ends.set()
        process.kill()
    restore(tmp_path / "broker.db", tmp_path / "backup.db", force=True, now=datetime.now(UTC))

    process = start(tmp_path)
    try:
        reader, got = connected(port_of(process), "all", passwords["all"])
        wait_until(lambda: len(got) >= sure, seconds=20, what=f"{sure} messages")
        wait_until(lambda: waiting(tmp_path) == 0, seconds=10, what="all are delivered")
        assert got == [b"%d" % number for number in range(1, len(got) + 1)]
        assert sure <= len(got) <= most
        reader.disconnect()
        reader.loop_stop()
    finally:
        process.kill()
