"""Alerts and dashboard look for figures that there are, and lead to what to do."""

from __future__ import annotations

import json
import re

import pytest

from docs import generate
from tests.deploy.terraform import TERRAFORM, Plan
from tests.test_docs import ROOT, anchors, prose

MONITORING = TERRAFORM / "modules" / "monitoring"
TEXT = "\n".join(path.read_text("utf-8").replace("\\", "") for path in MONITORING.iterdir())

# https://cloud.google.com/monitoring/api/metrics_gcp
GOOGLES = {
    "dataflow_googleapis_com:job_current_num_vcpus",
    "dataflow_googleapis_com:job_data_watermark_age",
    "dataflow_googleapis_com:job_system_lag",
    "dataflow_googleapis_com:job_user_counter",
    "pubsub_googleapis_com:subscription_num_undelivered_messages",
    "pubsub_googleapis_com:subscription_oldest_unacked_message_age",
}


def counters() -> set[str]:
    """The counters that docs/pipelines.md tells of; distributions are none."""
    text = prose(generate.PAGE)
    rows = re.findall(r"^\| .*$", text[text.index("## Metrics") :], re.MULTILINE)[2:]
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[2])}
    return {name for name in names if not name.endswith(("_ms", "_bytes"))}


def test_metrics_are_googles() -> None:
    assert set(re.findall(r"\w+_googleapis_com:\w+", TEXT)) == GOOGLES


def test_counters_are_those_that_the_pipelines_count() -> None:
    named = {
        name for each in re.findall(r'metric_name=~?"([^"]+)"', TEXT) for name in each.split("|")
    }
    assert {"rejected", "failures", "losses", "takeovers", "overdue"} <= named
    assert named - counters() == set()


def test_every_alert_leads_to_a_part_of_the_runbook(site: Plan) -> None:
    policies = site.of("google_monitoring_alert_policy")
    assert len(policies) == 8 + len(site.of("google_dataflow_flex_template_job"))
    sections = anchors(ROOT / "docs" / "runbook.md")
    for policy in policies:
        (documentation,) = policy.values["documentation"]
        links = re.findall(r"\(https://\S+/docs/runbook\.md#([\w-]+)\)", documentation["content"])
        assert len(links) == 1
        assert set(links) <= sections, policy.values["display_name"]


@pytest.mark.parametrize(
    "wanted",
    ["system lag", "data freshness", "oldest unacknowledged message", "dead letters wait",
     "messages refused", "connections to the broker fail", "job not running"],
)  # fmt: skip
def test_there_is_an_alert_for(site: Plan, wanted: str) -> None:
    names = [each.values["display_name"] for each in site.of("google_monitoring_alert_policy")]
    assert any(f": {wanted}" in name for name in names)


def test_alerts_look_at_the_site_s_own_jobs_and_subscriptions(site: Plan) -> None:
    jobs = {job.values["name"] for job in site.of("google_dataflow_flex_template_job")}
    there = {each.values["name"] for each in site.of("google_pubsub_subscription")}
    absent = set()
    for policy in site.of("google_monitoring_alert_policy"):
        for condition in policy.values["conditions"]:
            (promql,) = condition["condition_prometheus_query_language"]
            query = promql["query"]
            _check_promql(query)
            assert promql["disable_metric_validation"]
            for found in re.findall(r'job_name=~?"([^"]+)"', query):
                assert set(found.split("|")) <= jobs
            for found in re.findall(r'subscription_id=~"([^"]+)"', query):
                assert set(found.split("|")) <= there
            if query.startswith("absent_over_time"):
                absent |= set(re.findall(r'job_name="([^"]+)"', query))
        assert policy.values["notification_channels"]
    assert absent == jobs


def test_the_dashboard_is_one(site: Plan) -> None:
    (dashboard,) = site.of("google_monitoring_dashboard")
    board = json.loads(dashboard.values["dashboard_json"])
    assert board["displayName"] == "mqttbeam production"
    tiles = board["mosaicLayout"]["tiles"]
    places = {(tile["xPos"], tile["yPos"]) for tile in tiles}
    assert len(places) == len(tiles) == 12
    for tile in tiles:
        assert tile["xPos"] + tile["width"] <= board["mosaicLayout"]["columns"]
        for data in tile["widget"]["xyChart"]["dataSets"]:
            _check_promql(data["timeSeriesQuery"]["prometheusQuery"])
    titles = " ".join(tile["widget"]["title"] for tile in tiles).lower()
    for wanted in ("system lag", "freshness", "oldest", "dead letters", "connections"):
        assert wanted in titles


def _check_promql(query: str) -> None:
    """Of PromQL as much as can be seen without a server: brackets, quotes, labels."""
    bare = re.sub(r'"[^"]*"', '""', query)
    for opening, closing in ("()", "{}", "[]"):
        assert bare.count(opening) == bare.count(closing), query
    assert "${" not in query
    for inner in re.findall(r"\{([^}]*)\}", bare):
        assert re.fullmatch(r'\w+=~?""(,\w+=~?"")*', inner), query
