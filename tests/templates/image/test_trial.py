"""`make image`: the image's programs run, in the image or where nothing builds it, beside it.

45 s for the packages, a few for the rest.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from google.cloud.pubsub_v1 import PublisherClient

from localcloud.endpoints import Endpoints
from localcloud.subscriber import topic_path
from pipelines.prism import cached_path
from templates.catalog import TEMPLATES, Template
from templates.promises import examples
from tests.harness.brokers import Broker, start_amqtt
from tests.harness.cloud import RUNNING, Cloud
from tests.harness.devices import Device, wait_until_subscribed
from tests.harness.taps import Tap, message_id
from tests.harness.waiting import wait_until
from tests.templates.image.dockerfile import PROJECT
from tests.templates.image.locks import REQUIREMENTS, Pin, pins
from tests.templates.image.places import Container, Place, no_engine
from tests.templates.image.schema import validated

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

# Of installed packages, bytecode included: 825 MB when this was written.
_MOST_MEGABYTES = 950


def run(place: Place, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        place.command(*arguments, environment=environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def wanted_by(place: Place) -> list[Pin]:
    """The pins that are for the Python of that place."""
    code = "import json; from packaging.markers import *; print(json.dumps(default_environment()))"
    environment = json.loads(run(place, "-c", code).stdout)
    return [
        pin for pin in pins(REQUIREMENTS) if pin.marker is None or pin.marker.evaluate(environment)
    ]


def test_an_image_is_built(place: Place) -> None:
    reason = no_engine()
    if reason is not None:
        pytest.skip(f"{reason}. NO IMAGE WAS BUILT: its Python part runs in an environment instead")
    assert isinstance(place, Container)
    user = subprocess.run(place.run("id", "-u"), capture_output=True, text=True, check=True).stdout
    assert int(user) != 0


def test_the_packages_are_those_of_the_lock_and_no_more(place: Place) -> None:
    code = (
        "import importlib.metadata as m, json, re;"
        "print(json.dumps({re.sub('[-_.]+', '-', d.name).lower(): d.version"
        " for d in m.distributions()}))"
    )
    installed = json.loads(run(place, "-c", code).stdout)
    wanted = {pin.name: str(pin.specifier).removeprefix("==") for pin in wanted_by(place)}
    assert {name: installed.get(name) for name in wanted} == wanted
    # pip is the base image's, wheel may be; setuptools has built what comes as source.
    assert set(installed) - set(wanted) <= {"pip", "setuptools", "wheel"}


def test_it_is_as_small_as_it_was(place: Place) -> None:
    code = (
        "import pathlib, site;"
        "print(sum(f.lstat().st_size for f in pathlib.Path(site.getsitepackages()[0]).rglob('*')"
        " if f.is_file()) // 10**6)"
    )
    assert 100 < int(run(place, "-c", code).stdout) < _MOST_MEGABYTES


def test_its_bill_of_materials_is_whole(place: Place) -> None:
    text = place.read("/template/sbom.cdx.json")
    components = {each.name: each for each in validated(text).components}
    for pin in wanted_by(place):
        component = components[pin.name]
        assert f"=={component.version}" == str(pin.specifier)
        (hashed,) = component.hashes
        assert hashed.content in pin.hashes
    assert "apache-beam" in components
    assert "docker.io/library/python" in components
    unlicensed = [
        each["name"]
        for each in json.loads(text)["components"]
        if each.get("purl", "").startswith("pkg:pypi/") and "licenses" not in each
    ]
    assert len(unlicensed) < 10, unlicensed
    # For who asked for it: `make image`.
    if "BILL" in os.environ:
        kept = PROJECT / os.environ["BILL"]
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(text)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_the_entry_point_of_a_template_tells_its_parameters(
    place: Place, template: Template
) -> None:
    done = run(place, f"/template/templates/{template.folder.name}/main.py", "--help")
    assert done.returncode == 0, done.stderr
    for parameter in template.parameters:
        assert re.search(rf"^{parameter.name}( |$)", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_the_job_of_a_template_is_made(place: Place, template: Template) -> None:
    code = (
        "import json, sys; from templates.catalog import template_named;"
        "from templates.job import translate;"
        "job = translate(template_named(sys.argv[1]), json.loads(sys.argv[2]), image=sys.argv[3]);"
        "print(job.description['type'], len(job.transforms))"
    )
    image = "registry.example.com/mqttbeam:1"
    done = run(place, "-c", code, template.name, json.dumps(dict(examples(template))), image)
    assert done.returncode == 0, done.stderr
    kind, steps = done.stdout.split()
    assert kind == "JOB_TYPE_STREAMING"
    assert int(steps) > 5


def test_the_launchers_file_submits_where_broker_and_topics_are_there(
    place: Place, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoints = Endpoints(broker="", pubsub=cloud.pubsub, bigquery="", bigquery_storage="")
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", cloud.pubsub)
    # A project as templates take it; the local cloud's own has a shorter name.
    topics = [f"projects/my-project/topics/{name}-{cloud.suffix}" for name in ("output", "dead")]
    with PublisherClient() as publisher:
        for topic in topics:
            publisher.create_topic(name=topic)
    broker = start_amqtt(cloud.processes, tmp_path)
    options = [
        *("--clientId=telemetry", "--protocol=3.1.1", f"--brokerServer=tcp://{broker.address}"),
        *(f"--outputTopic={topics[0]}", f"--outputDeadletterTopic={topics[1]}"),
        *("--runner=DataflowRunner", "--no_auth", "--dataflow_endpoint=http://localhost:1"),
        f"--template_location={place.scratch}/job.json",
        *(f"--staging_location={place.scratch}", f"--temp_location={place.scratch}"),
        *("--project=my-project", "--region=europe-west1", "--job_name=trial"),
        "--sdk_container_image=registry.example.com/mqttbeam:1",
    ]
    program = "/template/templates/mqtt_to_pubsub/main.py"
    done = run(place, program, *options, **endpoints.environment())
    assert done.returncode == 0, done.stderr
    assert broker.process is not None
    broker.process.stop()
    # It has looked, so without the broker it fails.
    options.append("--startTimeoutSeconds=1")
    done = run(place, program, *options, **endpoints.environment())
    assert done.returncode == 1
    assert broker.address in done.stderr


def test_a_short_pipeline_runs(place: Place, cloud: Cloud, own_broker: Broker) -> None:
    if not cached_path().is_file():
        pytest.skip("Beam's Prism is not there: `python -m localcloud.prism` fetches it")
    endpoints = Endpoints(broker="", pubsub=cloud.pubsub, bigquery="", bigquery_storage="")
    process = cloud.processes.start(
        "telemetry",
        place.command(
            *("-m", "pipelines.telemetry", "--runner=DirectRunner"),
            f"--prism_location={place.prism}",
            f"--broker={own_broker.scheme}://{own_broker.address}",
            *("--client_id=telemetry", "--username=telemetry", "--password=env:MQTT_PASSWORD"),
            f"--output_topic={topic_path(cloud.telemetry_topic)}",
            f"--dead_letter_topic={topic_path(cloud.dead_letter_topic)}",
            environment={
                **endpoints.environment(),
                "MQTT_PASSWORD": own_broker.passwords["telemetry"],
            },
        ),
    )
    process.wait_for(RUNNING)
    with (
        Tap(cloud.pubsub, cloud.telemetry_topic, key=message_id) as tap,
        Device(own_broker, "d1") as device,
    ):
        wait_until_subscribed(device, tap)
        for number in range(100):
            device.publish(b'{"temperature": 21}', message_id=f"m-{number}")
        wait_until(
            lambda: all(tap.of(f"m-{number}") for number in range(100)),
            seconds=30,
            what="a hundred readings in Pub/Sub",
        )
    process.stop()
    assert process.popen.returncode == 0, process.said()
