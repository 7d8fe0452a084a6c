"""`mqttbeam plan` as a person meets it."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.commands import app
from tests.cli.commandline import PROJECT

README = str(PROJECT / "README.md")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["plan", *arguments])


def test_it_states_what_it_assumes_and_what_is_not_known() -> None:
    done = run("--devices", "100000")
    assert done.exit_code == 0
    assert "100,000 devices, 1,667 messages a second (3,333 at the peak)" in done.stdout
    for stated in ("headroom", "vcpu_speed", "--peak", "dataflow_vcpu_hour", "us-central1"):
        assert stated in done.stdout
    assert "broker nodes      not priced" in done.stdout
    assert "Not known" in done.stdout
    assert "https://" not in done.stdout


def test_sources_are_printed_where_asked_for() -> None:
    done = run("--devices", "1", "--sources")
    assert "Pub/Sub pricing, https://cloud.google.com/pubsub/pricing" in done.stdout
    assert "](" not in done.stdout


def test_a_message_a_minute_from_each_device_unless_told() -> None:
    def rate(*arguments: str) -> float:
        told = json.loads(run("--devices", "600", "--json", *arguments).stdout)
        return float(told["fleet"]["messages_per_second"])

    assert rate() == 10
    assert rate("--interval", "6") == 100
    assert rate("--rate", "7") == 7


def test_json_holds_the_plan_its_assumptions_and_their_sources() -> None:
    told = json.loads(run("--devices", "10", "--set", "broker_node_month=250", "--json").stdout)
    assert told["broker_nodes"] == 3
    assert told["cost"]["brokers"] == 750
    assert told["cost"]["total"] > 750
    assert told["assumed"]["broker_node_month"] == 250
    assert set(told["sources"]) == set(told["assumed"])
    assert told["prices"]["currency"] == "USD"
    assert told["quotas"][0]["exceeded"] is False


def test_a_quota_that_would_be_exceeded_is_said_and_ends_with_1() -> None:
    done = run("--devices", "10000000", "--interval", "10")
    assert done.exit_code == 1
    assert "ask for more" in done.stdout


def test_an_assumption_that_is_changed_changes_the_plan() -> None:
    fleet = ("--devices", "1000000", "--rate", "100000", "--json")
    slow = json.loads(run(*fleet, "--set", "vcpu_speed=0.1").stdout)
    fast = json.loads(run(*fleet, "--set", "vcpu_speed=1", "--set", "ack_seconds=0.1").stdout)
    assert slow["shards"] > fast["shards"]


def test_your_own_measurements_take_the_place_of_ours(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    table = (
        "<!-- {0} -->\n| peer | messages a second | CPU s per 10,000 |\n|---|---|---|\n"
        "| mqttbeam | 1,000 | 2.00 |\n<!-- /{0} -->\n"
    )
    results.write_text(table.format("telemetry") + table.format("commands"))
    told = json.loads(run("--devices", "10", "--json", "--results", str(results)).stdout)
    assert told["assumed"]["telemetry_messages_per_second"] == 1000
    assert told["shard_messages_per_second"] == 350


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices", "0"], "--devices is 0: expected a number from 1"),
        (["--devices", "9", "--rate", "0"], "--rate is 0: expected a number above 0"),
        (["--devices", "9", "--rate", "nan"], "--rate is nan: expected a number above 0"),
        (["--devices", "9", "--interval", "0"], "--interval is 0: expected seconds"),
        (["--devices", "9", "--interval", "inf"], "--interval is inf: expected seconds"),
        (["--devices", "9", "--rate", "1", "--interval", "1"], "--rate and --interval: expected"),
        (["--devices", "9", "--bytes", "-1"], "--bytes is -1: expected a number from 0"),
        (["--devices", "9", "--peak", "0.5"], "--peak is 0.5: expected a number from 1"),
        (["--devices", "9", "--commands", "-1"], "--commands is -1: expected a number from 0"),
        (["--devices", "9", "--retention", "-1"], "--retention is -1: expected a number from 0"),
        (["--devices", "9", "--subscriptions", "0"], "--subscriptions is 0: expected a number"),
        (["--devices", "9", "--set", "headroom"], "--set headroom: expected NAME=VALUE"),
        (["--devices", "9", "--set", "headrom=0.5"], "did you mean headroom?"),
        (["--devices", "9", "--set", "headroom=much"], "--set headroom is 'much': expected a num"),
        (["--devices", "9", "--set", "headroom=1"], "--set headroom is 1: expected a share"),
        (["--devices", "9", "--set", "worker_vcpus=1.5"], "worker_vcpus is '1.5': expected a who"),
        (
            ["--devices", "9", "--set", "headroom=0", "--set", "headroom=0"],
            "--set headroom is given twice",
        ),
        (["--devices", "9", "--results", "none.md"], "--results none.md: No such file"),
        (["--devices", "9" * 25], f"--devices is {'9' * 25}: expected a number from 1 to 1,000,0"),
        (["--devices", "9" * 400], f"--devices is {'9' * 400}: expected a number from 1 to"),
        (["--devices", "9", "--rate", "1e300"], "--rate is 1e+300: expected a number above 0"),
        (["--devices", "9", "--peak", "1e308"], "--peak is 1e+308: expected a number from 1 to"),
        (["--devices", "9", "--bytes", "20000000"], "--bytes is 20000000: expected a number from"),
        (["--devices", "9", "--retention", "1e308"], "--retention is 1e+308: expected a number"),
        (["--devices", "9", "--interval", "1e-12"], "--interval is 1e-12: of all devices that is"),
        (["--devices", "9", "--interval", "1e-320"], "that is inf messages a second, expected a"),
        (["--devices", "9", "--set", "vcpu_speed=1e-320"], "--set vcpu_speed is 9.99989e-321: exp"),
        (
            ["--devices", "9", "--set", "devices=3"],
            "--set devices: it has an option of its own, --",
        ),
        (
            ["--devices", "9", "--results", sys.executable],
            f"--results {sys.executable}: no text in",
        ),
        (["--devices", "9", "--results", README], f"--results {README} has no section 'telemetry'"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_option(
    arguments: list[str], message: str
) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_the_largest_numbers_of_all_together_still_have_a_plan_in_json() -> None:
    def refuse(constant: str) -> None:
        raise ValueError(f"JSON has no {constant}")

    largest = "--rate 1e12 --bytes 10000000 --peak 1440 --commands 86400 --retention 36500"
    slowest = ("vcpu_speed=0.001", "headroom=0.9999999999999999", "ack_seconds=1e12")
    dearest = ("pubsub_tib=1e12", "dataflow_jobs=1e-9", "broker_messages_per_second=1e-9")
    changed = [part for change in (*slowest, *dearest) for part in ("--set", change)]
    done = run("--devices", "1000000000", *largest.split(), *changed, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout, parse_constant=refuse)["cost"]["total"] > 1e40


def test_devices_must_be_given() -> None:
    done = run()
    assert done.exit_code == 2
    assert "--devices" in done.stderr
