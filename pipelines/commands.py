"""Commands: a Pub/Sub subscription to the devices' command topics, outcomes to a results topic.

    ReadFromPubSub -> ParseCommands -> WriteToMqtt -> outcome -> WriteToPubSub
                            |                                         |
                            +--- invalid, expired ------> WriteToPubSub

A command is acknowledged to Pub/Sub when the broker has answered for it and its outcome is in the
results topic. Where the worker is this process all of it stands there twice: while one bundle
waits at its end for the broker and the results topic, the spare one works, if there is a backlog.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import apache_beam as beam

from pipelines.broker_options import BrokerOptions, layout_option
from pipelines.launch import main, runs_here
from pipelines.options import option
from pipelines.preflight import Broker, Need, Subscription, Topic, require, secrets_of
from pipelines.readers import integer, pubsub_subscription, pubsub_topic
from schemas.layout import Layout
from transforms.commands import OUTCOMES, FrameOutcomes, ParseCommands
from transforms.mqttio import EncodedMessages, WriteToMqtt
from transforms.pubsubio import FramedMessages, ReadFromPubSub, WriteToPubSub, fail_refused


@dataclass(frozen=True, kw_only=True)
class CommandsOptions(BrokerOptions):
    """Options of the command pipeline."""

    input_subscription: str = option(
        "Pub/Sub subscription with the commands.",
        parse=pubsub_subscription,
        example="projects/my-project/subscriptions/commands-mqtt",
    )
    results_topic: str = option(
        "Pub/Sub topic for what became of each command.",
        parse=pubsub_topic,
        example="projects/my-project/topics/command-results",
    )
    layout: Layout = layout_option
    maximum_in_flight: int = option(
        "Commands on their way to the broker at once; the broker may allow fewer.",
        parse=integer(1, 65_535),
        example="10000",
        default=10_000,
    )


def needs(options: CommandsOptions) -> tuple[Need, ...]:
    """Returns secrets, subscription, results topic and broker."""
    settings = options.broker_settings()
    return (
        *secrets_of(settings),
        # An outcome that came back would be a command again.
        Subscription(name=options.input_subscription, published=options.results_topic),
        Topic(name=options.results_topic),
        Broker(
            settings=settings,
            client_id=options.client_id,
            publishes=options.layout.command_filter("DEVICE"),
        ),
    )


def check(options: CommandsOptions) -> None:
    """Looks for what it needs. Raises what ``require`` raises."""
    require(needs(options), timeout_seconds=options.start_timeout_seconds)


def build(pipeline: beam.Pipeline, options: CommandsOptions) -> beam.PCollection:
    """Wires the pipeline and returns its end."""
    ends = [_lane(pipeline, options, name="", spare=False)]
    if runs_here(pipeline):
        ends.append(_lane(pipeline, options, name="Spare", spare=True))
    return tuple(ends) | beam.Flatten()


def _lane(
    pipeline: beam.Pipeline, options: CommandsOptions, *, name: str, spare: bool
) -> beam.PCollection:
    commands = (
        pipeline
        | f"{name}ReadFromPubSub"
        >> ReadFromPubSub(options.input_subscription, lists=True, spare=spare)
        | f"{name}Commands"
        >> beam.ParDo(ParseCommands(options.layout, protocol=options.protocol))
        .with_output_types(EncodedMessages)
        .with_outputs(OUTCOMES, main="commands")
    )
    published = commands.commands | f"{name}WriteToMqtt" >> WriteToMqtt(
        broker=options.broker_settings(),
        client_id=options.client_id,
        maximum_in_flight=options.maximum_in_flight,
        lists=True,
    )
    # Each branch has a sink of its own: flattened, they would leave the read's fused stage.
    for kind, outcomes in (("Published", published), ("Unpublished", commands[OUTCOMES])):
        end = (
            outcomes
            | f"{name}{kind}Results"
            >> beam.ParDo(FrameOutcomes()).with_output_types(FramedMessages)
            | f"{name}Write{kind}" >> WriteToPubSub(options.results_topic)
            | f"{name}Fail{kind}" >> beam.Map(fail_refused)
        )
    return end


if __name__ == "__main__":
    # Pickled by reference, so from the module's own name and not from __main__.
    from pipelines import commands

    sys.exit(
        main(
            commands.CommandsOptions,
            commands.build,
            commands.check,
            name="commands",
            about=commands.__doc__ or "",
        )
    )
