"""Tables, topics, subscriptions and buckets of the whole site."""

from __future__ import annotations

import json
import re

from docs import terraform_tables
from schemas.tables import TABLES, VIEWS
from tests.deploy.modules import read
from tests.deploy.terraform import TERRAFORM, Plan
from tests.test_docs import ROOT

MODULE = TERRAFORM / "modules" / "bigquery"


def test_the_definitions_of_tables_are_those_of_the_code() -> None:
    [(path, text)] = terraform_tables.generated()
    assert path.read_text("utf-8") == text, "run python -m docs.generate"


def test_the_module_makes_them_of_nothing_else() -> None:
    resources = {each.name: each.body for each in read(MODULE).resources}
    table, view = resources["tables"], resources["views"]
    assert table["schema"] == '${file("${local.repository}/${each.value.schema_file}")}'
    assert table["clustering"] == "${each.value.clustered_by}"
    assert table["time_partitioning"][0]["field"] == "${each.value.partitioned_by}"
    assert view["view"][0]["query"].startswith("${replace(each.value.query, ")
    assert (table["for_each"], view["for_each"]) == (
        "${local.definitions.tables}",
        "${local.definitions.views}",
    )
    assert read(MODULE).locals["definitions"] == (
        '${jsondecode(file("${path.module}/tables.json"))}'
    )


def test_tables_are_those_that_the_code_makes(site: Plan) -> None:
    made = {
        each.values["table_id"]: each.values
        for each in site.of("google_bigquery_table")
        if not each.values["view"]
    }
    assert set(made) == {table.name for table in TABLES}
    for table in TABLES:
        values = made[table.name]
        file = (ROOT / table.schema_file).read_text("utf-8")
        assert json.loads(values["schema"]) == json.loads(file)
        (partitioning,) = values["time_partitioning"]
        assert (partitioning["type"], partitioning["field"]) == ("DAY", table.partitioned_by)
        assert values["clustering"] == list(table.clustered_by)
        assert values["deletion_protection"]


def test_views_are_those_that_the_code_makes(site: Plan) -> None:
    made = {
        each.values["table_id"]: each.values["view"][0]
        for each in site.of("google_bigquery_table")
        if each.values["view"]
    }
    assert {name: view["query"] for name, view in made.items()} == {
        view.name: view.query.format(dataset="my-project.iot") for view in VIEWS
    }
    assert not any(view["use_legacy_sql"] for view in made.values())


def test_every_topic_has_a_subscription_that_never_expires(site: Plan) -> None:
    topics = {each.values["id"] for each in site.of("google_pubsub_topic")}
    subscriptions = site.of("google_pubsub_subscription")
    assert {each.values["topic"] for each in subscriptions} == topics
    for each in subscriptions:
        assert each.values["expiration_policy"] == [{"ttl": ""}]
        assert each.values["enable_exactly_once_delivery"] is False
        assert _seconds(each.values["message_retention_duration"]) >= 7 * 86_400
    for topic in site.of("google_pubsub_topic"):
        # What a seek goes back to.
        assert _seconds(topic.values["message_retention_duration"]) >= 7 * 86_400


def test_what_a_pipeline_reads_has_no_dead_letters_of_pubsub(site: Plan) -> None:
    read = {
        value.rpartition("/")[2]
        for job in site.of("google_dataflow_flex_template_job")
        for name, value in job.values["parameters"].items()
        if name.endswith("Subscription")
    }
    assert read == {"telemetry-warehouse", "telemetry-archive", "commands-mqtt"}
    for each in site.of("google_pubsub_subscription"):
        if each.values["name"] in read:
            assert not each.values["dead_letter_policy"]
            assert not each.values["retry_policy"]


def test_pubsub_itself_may_move_dead_letters(site: Plan) -> None:
    agent = "serviceAccount:agent-of-pubsub.googleapis.com"
    moved = [
        each.values
        for each in site.of("google_pubsub_subscription")
        if each.values["dead_letter_policy"]
    ]
    assert [each["name"] for each in moved] == ["command-results-backend"]
    (policy,) = moved[0]["dead_letter_policy"]
    assert policy["dead_letter_topic"].endswith("/command-results-undelivered")
    grants = {
        (each.values["role"], each.values.get("topic", each.values.get("subscription")))
        for each in site.resources
        if each.values.get("member") == agent and "role" in each.values
    }
    assert grants == {
        ("roles/pubsub.publisher", "command-results-undelivered"),
        ("roles/pubsub.subscriber", "command-results-backend"),
    }


def test_the_archive_can_be_restored_and_stays(site: Plan) -> None:
    (bucket,) = (
        each.values
        for each in site.of("google_storage_bucket")
        if each.values["name"].endswith("-archive")
    )
    assert bucket["soft_delete_policy"] == [{"retention_duration_seconds": 30 * 86_400}]
    actions = [rule["action"][0]["type"] for rule in bucket["lifecycle_rule"]]
    assert actions == ["SetStorageClass"]
    # A pipeline's check at its start removes what it wrote.
    assert not bucket["retention_policy"]


def test_of_dataflow_s_files_only_temporary_ones_are_deleted(site: Plan) -> None:
    # A new worker of a running job fetches what was staged at its launch.
    (bucket,) = (
        each.values
        for each in site.of("google_storage_bucket")
        if each.values["name"].endswith("-dataflow")
    )
    (rule,) = bucket["lifecycle_rule"]
    assert rule["action"][0]["type"] == "Delete"
    assert rule["condition"][0]["matches_prefix"] == ["temp/"]
    for job in site.of("google_dataflow_flex_template_job"):
        folder = f"gs://{bucket['name']}"
        assert job.values["temp_location"] == f"{folder}/temp/{job.values['name']}"
        assert job.values["staging_location"] == f"{folder}/staging/{job.values['name']}"


def test_images_have_tags_that_stay(site: Plan) -> None:
    (repository,) = (each.values for each in site.of("google_artifact_registry_repository"))
    assert repository["docker_config"] == [{"immutable_tags": True}]
    assert {each["action"] for each in repository["cleanup_policies"]} == {"KEEP", "DELETE"}


def test_workers_are_private_and_reach_a_broker_outside(site: Plan) -> None:
    (subnetwork,) = (each.values for each in site.of("google_compute_subnetwork"))
    assert subnetwork["private_ip_google_access"]
    (firewall,) = (each.values for each in site.of("google_compute_firewall"))
    assert firewall["allow"] == [{"protocol": "tcp", "ports": ["12345-12346"]}]
    assert firewall["source_tags"] == firewall["target_tags"] == ["dataflow"]
    (nat,) = (each.values for each in site.of("google_compute_router_nat"))
    assert nat["nat_ip_allocate_option"] == "MANUAL_ONLY"
    assert len(nat["nat_ips"]) == 1


def _seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found is not None, duration
    return int(found[1])
