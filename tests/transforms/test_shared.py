from __future__ import annotations

from transforms import shared
from transforms.shared import Shared, close_shared


def test_an_object_is_made_once_a_key_and_closed_at_the_end(monkeypatch: object) -> None:
    closed: list[tuple[str, float]] = []
    objects: Shared[str, str] = Shared(lambda value, seconds: closed.append((value, seconds)))
    try:
        made = [objects.get("a", lambda: "first"), objects.get("a", lambda: "second")]
        assert made == ["first", "first"]
        assert objects.get("b", lambda: "other") == "other"
        close_shared(settle_seconds=2.0)
        assert sorted(closed) == [("first", 2.0), ("other", 2.0)]
        assert objects.get("a", lambda: "again") == "again"
    finally:
        shared._ALL.remove(objects)


def test_an_object_that_is_not_to_be_kept_is_closed_before_the_next_is_made() -> None:
    events: list[str] = []
    objects: Shared[str, str] = Shared(lambda value, seconds: events.append(f"close {value}"))

    def make() -> str:
        events.append("make")
        return "new"

    try:
        objects.get("a", lambda: "old")
        assert objects.get("a", make, keep=lambda value: value != "old") == "new"
        assert events == ["close old", "make"]
    finally:
        shared._ALL.remove(objects)
