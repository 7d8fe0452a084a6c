"""Who may do what: read from the files, and from the plan of the whole site."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from tests.deploy.modules import read, text_of
from tests.deploy.terraform import EXAMPLES, MODULES, Plan, Terraform, site_plan

# Google's roles that a person's account has on the project; no worker has one.
LAUNCHER_ROLES = {"roles/dataflow.developer", "roles/logging.viewer", "roles/monitoring.viewer"}
# roles/dataflow.worker, as docs.cloud.google.com/iam/docs/roles-permissions/dataflow lists it.
DATAFLOW_WORKER = {
    "autoscaling.sites.readRecommendations",
    "autoscaling.sites.writeMetrics",
    "autoscaling.sites.writeState",
    "compute.instanceGroupManagers.update",
    "compute.instances.delete",
    "compute.instances.setDiskAutoDelete",
    "dataflow.jobs.get",
    "dataflow.shuffle.read",
    "dataflow.shuffle.write",
    "dataflow.streamingWorkItems.ImportState",
    "dataflow.streamingWorkItems.commitWork",
    "dataflow.streamingWorkItems.getData",
    "dataflow.streamingWorkItems.getWork",
    "dataflow.streamingWorkItems.getWorkerMetadata",
    "dataflow.workItems.lease",
    "dataflow.workItems.sendMessage",
    "dataflow.workItems.update",
    "logging.logEntries.create",
    "logging.logEntries.route",
    "monitoring.timeSeries.create",
    "storage.buckets.get",
    "storage.objects.create",
    "storage.objects.get",
}
EVERY_BUCKET = {each for each in DATAFLOW_WORKER if each.startswith("storage.")}
SUBMITTER = {
    "dataflow.jobs.create",
    "dataflow.jobs.get",
    "dataflow.jobs.list",
    "dataflow.jobs.updateContents",
    "dataflow.messages.list",
}
PRIMITIVE = {"roles/owner", "roles/editor", "roles/viewer"}
PIPELINES = ("telemetry", "warehouse", "commands", "direct")


@pytest.mark.parametrize("folder", [*MODULES, *EXAMPLES], ids=lambda path: path.name)
def test_nobody_is_given_a_wide_role_or_a_whole_policy(folder: Path) -> None:
    for block in read(folder).resources:
        role = text_of(block.body.get("role"))
        assert role not in PRIMITIVE, block.name
        assert role is None or "admin" not in role.lower(), block.name
        # Whoever sets a whole policy takes away what others were given.
        assert not block.type.endswith(("_iam_policy", "_iam_binding")), block.name


def project_permissions(plan: Plan) -> dict[str, set[str]]:
    """What each account has on the project: single permissions, and names of Google's roles."""
    custom = {
        f"projects/my-project/roles/{each.values['role_id']}": set(each.values["permissions"])
        for each in plan.of("google_project_iam_custom_role")
    }
    result: dict[str, set[str]] = defaultdict(set)
    for each in plan.of("google_project_iam_member"):
        name = each.values["member"].removeprefix("serviceAccount:").partition("@")[0]
        result[name] |= custom.get(each.values["role"], {each.values["role"]})
    return result


def test_a_worker_has_the_rights_of_dataflow_s_role_on_the_project_but_on_no_bucket(
    site: Plan,
) -> None:
    given = project_permissions(site)
    for name in PIPELINES:
        assert given.pop(f"iot-{name}") == DATAFLOW_WORKER - EVERY_BUCKET | SUBMITTER
    assert given == {"iot-launcher": LAUNCHER_ROLES}


def test_google_s_own_role_for_workers_is_only_for_who_asks_for_it(after: Terraform) -> None:
    given = project_permissions(site_plan(after, "-var=predefined_worker_role=true"))
    for name in PIPELINES:
        assert given[f"iot-{name}"] == {"roles/dataflow.worker", *SUBMITTER}


def test_every_pipeline_has_its_own_account(site: Plan) -> None:
    accounts = {each.values["account_id"] for each in site.of("google_service_account")}
    assert accounts == {f"iot-{name}" for name in (*PIPELINES, "launcher")}
    for job in site.of("google_dataflow_flex_template_job"):
        email = job.values["service_account_email"]
        assert email == f"iot-{job.values['name']}@my-project.iam.gserviceaccount.com"


def test_a_pipeline_may_use_what_its_job_is_given_and_nothing_else(site: Plan) -> None:
    given = defaultdict(set)
    for each in site.resources:
        member = str(each.values.get("member", "")).removeprefix("serviceAccount:iot-")
        name = member.partition("@")[0]
        role = str(each.values.get("role")).removeprefix("roles/")
        for kind in ("topic", "subscription", "table_id", "secret_id"):
            if kind in each.values and name in PIPELINES:
                given[name].add((role.rpartition("/")[2], each.values[kind].rpartition("/")[2]))
        if each.type == "google_storage_bucket_iam_member" and name in PIPELINES:
            given[name].add((role, each.values["bucket"].removeprefix("my-project-iot-")))
    every = {
        ("storage.objectViewer", "dataflow"),
        ("storage.objectUser", "dataflow"),
        ("projects/my-project/roles/mqttbeam_bucket_viewer_iot", "dataflow"),
    }
    rows = {("mqttbeam_appender_iot", table) for table in ("telemetry", "dead_letters")}

    def secrets(name: str) -> set[tuple[str, str]]:
        read = "secretmanager.secretAccessor"
        return {(read, f"mqtt-{name}-password"), (read, "mqtt-ca")}

    def pubsub(role: str, *names: str) -> set[tuple[str, str]]:
        return {(f"pubsub.{each}", name) for each in (role, "viewer") for name in names}

    blobs = {("storage.objectUser", "dead-letters")}
    assert given["telemetry"] == {
        *every,
        *secrets("telemetry"),
        *pubsub("publisher", "telemetry", "telemetry-dead-letters"),
        *blobs,
    }
    assert given["warehouse"] == {
        *every,
        *rows,
        *pubsub("subscriber", "telemetry-warehouse", "telemetry-archive"),
        *blobs,
        ("storage.objectUser", "archive"),
    }
    assert given["commands"] == {
        *every,
        *secrets("commands"),
        *pubsub("publisher", "command-results"),
        *pubsub("subscriber", "commands-mqtt"),
    }
    assert given["direct"] == {*every, *rows, *secrets("direct"), *blobs}


def test_a_worker_may_change_its_own_job_s_files_and_no_specification(site: Plan) -> None:
    grants = [
        each.values
        for each in site.of("google_storage_bucket_iam_member")
        if each.values["bucket"].endswith("-dataflow")
        and each.values["role"] != "roles/storage.objectViewer"
        and not each.values["role"].endswith("/mqttbeam_bucket_viewer_iot")
    ]
    (sees,) = (
        each.values["permissions"]
        for each in site.of("google_project_iam_custom_role")
        if each.values["role_id"] == "mqttbeam_bucket_viewer_iot"
    )
    assert sees == ["storage.buckets.get"]
    workers = [each for each in grants if "launcher" not in each["member"]]
    assert len(workers) == len(PIPELINES)
    for each in workers:
        (condition,) = each["condition"]
        objects = "projects/_/buckets/my-project-iot-dataflow/objects"
        name = each["member"].removeprefix("serviceAccount:iot-").partition("@")[0]
        assert condition["expression"] == (
            f'resource.name.startsWith("{objects}/staging/{name}/")'
            f' || resource.name.startsWith("{objects}/temp/{name}/")'
        )


def test_a_password_is_read_by_one_account_only_and_is_not_in_the_plan(site: Plan) -> None:
    readers = defaultdict(set)
    for each in site.of("google_secret_manager_secret_iam_member"):
        readers[each.values["secret_id"]].add(each.values["member"])
    for name in ("telemetry", "commands", "direct"):
        assert readers[f"mqtt-{name}-password"] == {
            f"serviceAccount:iot-{name}@my-project.iam.gserviceaccount.com"
        }
    assert not site.of("google_secret_manager_secret_version")


def test_nobody_outside_may_read_a_bucket(site: Plan) -> None:
    buckets = site.of("google_storage_bucket")
    assert len(buckets) == 3
    for bucket in buckets:
        assert bucket.values["public_access_prevention"] == "enforced"
        assert bucket.values["uniform_bucket_level_access"]
        assert not bucket.values["force_destroy"]
    members = {str(each.values.get("member")) for each in site.resources}
    assert not members & {"allUsers", "allAuthenticatedUsers"}
