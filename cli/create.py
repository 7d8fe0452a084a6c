"""`mqttbeam local create`: what a pipeline needs in a local Pub/Sub and a local BigQuery."""

import os
from typing import Annotated

import typer

from cli.local import fail
from cli.output import say

app = typer.Typer(no_args_is_help=True, help="Local services that were started by hand.")


@app.callback()
def local() -> None:
    """Local services that were started by hand."""


@app.command()
def create(
    topic: Annotated[
        list[str] | None, typer.Option(help="A Pub/Sub topic; may be given several times.")
    ] = None,
    subscription: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TOPIC", help="A subscription, and the topic that it is of."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="[PROJECT:]DATASET",
            help="A dataset with the tables telemetry and dead_letters and the view"
            " telemetry_distinct.",
        ),
    ] = None,
) -> None:
    """Create topics, subscriptions and tables in a local Pub/Sub and BigQuery.

    Where they listen stands in PUBSUB_EMULATOR_HOST and BIGQUERY_EMULATOR_HOST. What is there
    stays as it is. A name alone is in the project "local".

    Examples:

      mqttbeam local create --topic telemetry --subscription telemetry-warehouse=telemetry

      mqttbeam local create --topic projects/my-project/topics/telemetry

      mqttbeam local create --dataset iot
    """
    topics = topic or []
    subscriptions = dict(_parted(each) for each in subscription or [])
    if not (topics or subscriptions or dataset):
        fail("there is nothing to create: give --topic, --subscription or --dataset", status=2)
    pubsub = _address("PUBSUB_EMULATOR_HOST") if topics or subscriptions else None
    bigquery = _address("BIGQUERY_EMULATOR_HOST") if dataset else None
    if pubsub is not None:
        _create_in_pubsub(pubsub, topics, subscriptions)
    if bigquery is not None and dataset is not None:
        _create_in_bigquery(bigquery, dataset)


def _create_in_pubsub(address: str, topics: list[str], subscriptions: dict[str, str]) -> None:
    import grpc

    from localcloud.subscriber import PubSub, subscription_path, topic_path

    try:
        with PubSub(address) as pubsub:
            pubsub.create_all(topics, subscriptions)
    except grpc.RpcError as error:
        fail(f"Pub/Sub at {address}: {error.details()}")
    for name in (*map(topic_path, topics), *map(subscription_path, subscriptions)):
        say(name)


def _create_in_bigquery(address: str, dataset: str) -> None:
    from localcloud.bigquery import BigQueryError, LocalBigQuery
    from localcloud.endpoints import PROJECT
    from schemas.tables import TABLES, VIEWS

    project, _, name = dataset.rpartition(":")
    try:
        LocalBigQuery(address, project=project or PROJECT).create(name)
    except BigQueryError as error:
        fail(f"BigQuery at {address}: {error}")
    for each in (*TABLES, *VIEWS):
        say(f"{project or PROJECT}:{name}.{each.name}")


def _parted(text: str) -> tuple[str, str]:
    name, _, topic = text.partition("=")
    if not (name and topic):
        fail(
            f"--subscription {text}: expected NAME=TOPIC, as in telemetry-warehouse=telemetry",
            status=2,
        )
    return name, topic


def _address(variable: str) -> str:
    address = os.environ.get(variable)
    if not address:
        fail(
            f"{variable} is not set: it says where the local service listens (HOST:PORT)", status=2
        )
    return address
