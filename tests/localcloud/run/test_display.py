from dataclasses import replace

from rich.console import Console

from localcloud.run.display import Snapshot, progress_line, start_line, start_table, table

SNAPSHOT = Snapshot(
    state="running",
    ending=False,
    seconds=12.3,
    seconds_left=7.7,
    devices=26,
    connected=25,
    published=1234,
    published_per_second=99.6,
    pubsub_messages=1230,
    bigquery_rows=1200,
    bigquery_rows_per_second=98.0,
    archived=1100,
    archive_files=2,
    dead_letters=3,
    last_dead_letter="payload is no [JSON]",
    commands_sent=4,
    commands_received=3,
    outcomes={"accepted": 3},
    recent_outcomes=["meter-0003  accepted: the broker took it"],
    latency_p50_ms=8.24,
    latency_p99_ms=None,
    example_device="climate-0001",
)


def test_a_line_tells_how_things_stand() -> None:
    assert progress_line(SNAPSHOT) == (
        "   12 s  running: 25/26 devices, 1234 published (100/s), 1200 rows, 1100 archived, "
        "3 dead letters, "
        "4 commands (3 accepted), latency p50 8.24 ms p99 -"
    )


def test_while_it_ends_nothing_speaks_of_what_is_over() -> None:
    ending = replace(SNAPSHOT, state="stopping", ending=True)
    console = Console(width=110)
    with console.capture() as captured:
        console.print(table(ending, program="mqttbeam"))
    shown = captured.get()
    assert "stopping" in shown
    assert "1,234" in shown
    assert not any(words in shown for words in ("Ctrl-C", "a second", "mqttbeam send"))
    assert "1234 published, 1200 rows" in progress_line(ending)


def test_the_commands_can_be_copied_from_80_columns() -> None:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(table(SNAPSHOT, program=".venv/bin/mqttbeam"))
    lines = [line.strip() for line in captured.get().splitlines()]
    assert ".venv/bin/mqttbeam query 'SELECT COUNT(*) AS n FROM mqttbeam.telemetry'" in lines
    assert """.venv/bin/mqttbeam send climate-0001 report '{"interval_seconds": 5}'""" in lines


def test_while_it_starts_each_part_is_told() -> None:
    parts = {"broker": True, "Pub/Sub": True, "BigQuery": False, "devices": False}
    assert start_line(parts) == "broker, Pub/Sub ready; starting BigQuery, devices"
    assert start_line(dict.fromkeys(("broker", "devices"), False)) == "starting broker, devices"
    console = Console(width=80)
    with console.capture() as captured:
        console.print(start_table(parts))
    rows = [line.split() for line in captured.get().splitlines()]
    assert ["│", "broker", "ready", "│"] in rows
    assert any("BigQuery" in row and "starting" in row for row in rows)


def test_the_table_shows_commands_that_work_here() -> None:
    console = Console(width=110)
    with console.capture() as captured:
        console.print(table(SNAPSHOT, program=".venv/bin/mqttbeam"))
    shown = captured.get()
    assert ".venv/bin/mqttbeam send climate-0001 report" in shown
    assert "payload is no [JSON]" in shown
    assert "8 s left" in shown
    assert "1,234" in shown
