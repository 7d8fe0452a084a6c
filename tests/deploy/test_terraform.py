"""The modules as Terraform itself reads them. Skipped where there is none; costs some seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.deploy import terraform
from tests.deploy.terraform import EXAMPLES, SITE, TERRAFORM, Plan, Terraform, site_plan


def test_everything_is_formatted(before: Terraform) -> None:
    before.check_format(TERRAFORM)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_valid_and_can_be_planned(before: Terraform, example: Path) -> None:
    if example == SITE:
        before.validate(example)  # its variables have no values; it is planned below
    else:
        assert before.plan(example).resources


def test_the_site_is_planned_before_anything_is_there(before: Terraform) -> None:
    # Its first apply: no name of a resource may depend on what Google fills in.
    plan = site_plan(before)
    assert not plan.of("google_dataflow_flex_template_job")
    assert not plan.of("google_monitoring_alert_policy")
    assert site_plan(before, "-var=launch=true").of("google_dataflow_flex_template_job")


def test_what_is_wrong_is_found(before: Terraform, tmp_path: Path) -> None:
    shutil.copytree(TERRAFORM / "modules" / "network", tmp_path / "network")
    main = tmp_path / "network" / "main.tf"
    text = main.read_text("utf-8")
    for right, wrong in (
        ("var.region", "var.regoin"),
        ("private_ip_google_access", "private_google_access"),
        ("= var.nat_ports_per_vm", "= var.nat_addresses[0]"),
    ):
        main.write_text(text.replace(right, wrong, 1), "utf-8")
        with pytest.raises(AssertionError, match="Error"):
            before.validate(tmp_path / "network")


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("shards=0", "shards"),
        ("environment=Staging", "environment"),
        ("first_secret_rotation=tomorrow", "first_rotation"),
        ("runbook_url=http://example.com", "runbook_url"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(
    before: Terraform, variable: str, words: str
) -> None:
    with pytest.raises(AssertionError, match=f"{words}: must"):
        site_plan(before, "-var=launch=true", f"-var={variable}")


def test_a_password_in_the_clear_is_refused(before: Terraform, tmp_path: Path) -> None:
    _example(tmp_path, "dataflow-job", '"projects/my-project/secrets/mqtt-password"', '"hunter2"')
    with pytest.raises(AssertionError, match="a value in the clear would be shown"):
        before.plan(tmp_path / "examples" / "dataflow-job")


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        (
            "subscriptions = { readings-warehouse = {} }",
            "subscriptions = {}",
            "each needs a subscription",
        ),
        ("read_by_pipeline      = false\n", "", "must have no dead_letter_topic"),
        (
            'dead_letter_topic     = "command-results-undelivered"',
            'dead_letter_topic = "nowhere"',
            "must be another topic of the same map",
        ),
    ],
)
def test_a_topic_that_would_lose_messages_is_refused(
    before: Terraform, tmp_path: Path, right: str, wrong: str, words: str
) -> None:
    _example(tmp_path, "pubsub", right, wrong)
    with pytest.raises(AssertionError, match=words):
        before.plan(tmp_path / "examples" / "pubsub")


def test_what_a_run_leaves_is_not_committed() -> None:
    ignored = (terraform.ROOT / ".gitignore").read_text("utf-8").split()
    # The lock file names the registry, and the builds for one kind of machine; a plan and a state
    # hold what is deployed.
    assert {".terraform/", ".terraform.lock.hcl", "*.tfstate*", "terraform.tfvars"} <= set(ignored)


def test_the_site_makes_something_of_every_module(site: Plan) -> None:
    made = {each.address.split(".")[1].partition("[")[0] for each in site.resources}
    assert {path.name.replace("-", "_") for path in terraform.MODULES} - {"dataflow_job"} <= made


def _example(folder: Path, name: str, right: str, wrong: str) -> None:
    """Copies an example with something wrong in it, and all modules."""
    shutil.copytree(TERRAFORM / "modules", folder / "modules")
    shutil.copytree(TERRAFORM / "examples" / name, folder / "examples" / name)
    schema = Path("schemas/avro/reading.v1.avsc")
    text = (TERRAFORM / "examples" / name / "main.tf").read_text("utf-8")
    assert right in text
    # Beyond the copy the repository is where it was.
    text = text.replace("${path.module}/../../../..", str(TERRAFORM.parent.parent))
    assert (TERRAFORM.parent.parent / schema).exists()
    (folder / "examples" / name / "main.tf").write_text(text.replace(right, wrong, 1), "utf-8")
