from pathlib import Path

import pytest

from localcloud.devices.errors import JournalError
from localcloud.devices.journal import JournalWriter, MessageIds, published_at, read


def test_a_message_id_is_unique_and_tells_its_time() -> None:
    ids = MessageIds("x7f3")
    first, second = ids.next(1_774_000_000.123456), ids.next(1_774_000_000.123456)
    assert first != second
    assert first.startswith("x7f3-1-")
    assert published_at(first) == pytest.approx(1_774_000_000.123456, abs=1e-6)


def test_someone_else_s_message_id_tells_no_time() -> None:
    assert published_at("3f2b9c") is None
    assert published_at("a-b-") is None


def test_what_was_noted_is_read_back(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "journal") as journal:
        journal.acknowledged("r-1-a", malformed=False)
        journal.acknowledged("r-2-b", malformed=True)
        journal.command("a device", "c-1")
        journal.end()
    found = read(tmp_path / "journal")
    assert found.acknowledged == {"r-1-a", "r-2-b"}
    assert found.malformed == {"r-2-b"}
    assert found.commands == {"c-1"}
    assert found.complete


def test_a_journal_without_its_end_says_so(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("acknowledged r-1-a\n")
    assert not read(tmp_path / "journal").complete


def test_a_line_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("acknowled")
    with pytest.raises(JournalError, match="acknowled"):
        read(tmp_path / "journal")
