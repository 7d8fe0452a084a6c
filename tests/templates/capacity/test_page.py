"""docs/capacity.md says what the program says."""

import re

from docs import capacity_page
from templates.capacity import measured_from, plan
from templates.capacity.tables import FLEETS, typical_fleet

MEASURED = measured_from(capacity_page.RESULTS.read_text(encoding="utf-8"))
PAGE = capacity_page.PAGE.read_text(encoding="utf-8")


def test_its_tables_are_those_of_the_program() -> None:
    [(path, text)] = capacity_page.generated()
    assert path.read_text(encoding="utf-8") == text, "run python -m docs.generate"
    assert len(re.findall("<!-- capacity: ", text)) == text.count("<!-- end -->") == 9


def test_a_table_that_drifted_is_written_anew() -> None:
    drifted = PAGE.replace("| 1,000,000 |", "| 999,999 |")
    assert drifted != PAGE
    results = capacity_page.RESULTS.read_text(encoding="utf-8")
    assert capacity_page.rendered(drifted, results) == PAGE


def test_it_goes_from_a_thousand_devices_to_ten_million() -> None:
    assert (FLEETS[0], FLEETS[-1]) == (1_000, 10_000_000)


def test_what_its_prose_says_of_fleets_holds() -> None:
    small = plan(typical_fleet(150_000), MEASURED)
    assert (small.broker_nodes, small.shards, small.workers) == (3, 1, 3)
    million = plan(typical_fleet(1_000_000), MEASURED).cost
    others = million.workers, million.bigquery_storage, million.bigquery_writes
    assert million.pubsub > max(others)
    thousand = plan(typical_fleet(1_000), MEASURED).cost
    assert thousand.workers > 0.9 * thousand.total
    most = plan(typical_fleet(10_000_000), MEASURED)
    assert not any(each.exceeded for each in most.quotas)
    assert max(most.quotas, key=lambda each: each.share).name == "Pub/Sub publish"
    assert 270 < most.message_bytes - most.fleet.payload_bytes < 290
