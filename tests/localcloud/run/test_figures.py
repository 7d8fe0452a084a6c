import json

from localcloud.devices.journal import Journal
from localcloud.run.figures import Figures, judge
from localcloud.run.latency import Latencies


def _journal(*acknowledged: str, malformed: frozenset[str] = frozenset()) -> Journal:
    return Journal(
        acknowledged=frozenset(acknowledged),
        malformed=malformed,
        commands=frozenset({"c1"}),
        complete=True,
    )


def _figures(
    journal: Journal,
    copies: dict[str, int],
    dead: set[str],
    archived: dict[str, int] | None = None,
) -> Figures:
    latencies = Latencies()
    latencies.add(12.0)
    return judge(
        journal,
        copies=copies,
        archived=copies if archived is None else archived,
        dead_letters=dead,
        pubsub_messages=7,
        commands_sent=2,
        commands_accepted=1,
        latencies=latencies,
    )


def _judged(
    journal: Journal,
    copies: dict[str, int],
    dead: set[str],
    archived: dict[str, int] | None = None,
) -> dict[str, object]:
    decoded: dict[str, object] = json.loads(_figures(journal, copies, dead, archived).to_json())
    return decoded


def test_what_is_in_bigquery_or_among_the_dead_letters_is_not_lost() -> None:
    figures = _judged(_journal("a", "b", "c"), {"a": 1, "b": 1}, {"c"})
    assert figures["lost"] == 0
    assert figures["published"] == 3


def test_ids_are_compared_one_by_one_and_not_by_their_number() -> None:
    figures = _judged(_journal("a", "b"), {"a": 1, "x": 1}, {"y"})
    assert figures["lost"] == 1


def test_duplicates_are_the_rows_beyond_the_first() -> None:
    figures = _judged(_journal("a", "b"), {"a": 3, "b": 1}, set())
    assert (figures["bigquery_rows"], figures["bigquery_distinct"]) == (4, 2)
    assert figures["duplicates"] == 2


def test_the_archive_is_compared_by_itself() -> None:
    figures = _judged(_journal("a", "b", "c"), {"a": 1, "b": 1}, {"c"}, {"a": 2, "c": 1})
    assert (figures["lost"], figures["archive_lost"]) == (0, 1)
    assert (figures["archived"], figures["archive_distinct"]) == (3, 2)


def test_what_only_the_archive_lacks_is_not_called_lost() -> None:
    told = _figures(_journal("a", "b", "c"), {"a": 1, "b": 2}, {"c"}, {"a": 1}).in_words()
    assert told == (
        "3 published, 3 rows in BigQuery (1 duplicates), 1 in the archive, 1 dead letters, "
        "0 lost, 1 not in the archive, 1 of 2 commands accepted"
    )


def test_the_object_has_the_promised_keys() -> None:
    assert list(_judged(_journal("a"), {"a": 1}, set())) == [
        "published", "pubsub_messages", "bigquery_rows", "bigquery_distinct", "lost",
        "duplicates", "dead_letters", "archived", "archive_distinct", "archive_lost",
        "commands_sent", "commands_received", "commands_accepted",
        "latency_p50_ms", "latency_p99_ms",
    ]  # fmt: skip
