from rich.console import Console

from localcloud.run.display import Snapshot, progress_line, table

SNAPSHOT = Snapshot(
    state="running",
    seconds=12.3,
    seconds_left=7.7,
    devices=26,
    connected=25,
    published=1234,
    published_per_second=99.6,
    pubsub_messages=1230,
    bigquery_rows=1200,
    bigquery_rows_per_second=98.0,
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
        "   12 s  running: 25/26 devices, 1234 published (100/s), 1200 rows, 3 dead letters, "
        "4 commands (3 accepted), latency p50 8.24 ms p99 -"
    )


def test_the_table_shows_commands_that_work_here() -> None:
    console = Console(width=110)
    with console.capture() as captured:
        console.print(table(SNAPSHOT, program=".venv/bin/mqttbeam"))
    shown = captured.get()
    assert ".venv/bin/mqttbeam send climate-0001 report" in shown
    assert "payload is no [JSON]" in shown
    assert "8 s left" in shown
    assert "1,234" in shown
