"""The templates that there are: which pipeline each launches, and what its job must be like."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import commands, direct, telemetry, warehouse
from pipelines.options import OptionError, parse_options
from pipelines.preflight import Need
from templates.errors import ParameterError, UnknownTemplate
from templates.parameters import Parameter, parameters_of
from templates.refusals import check_together, in_their_names, unknown

FOLDER = Path(__file__).parent

# One worker process for each core would be one connection for each, with the same client id.
_ONE_PROCESS = ("no_use_multiple_sdk_containers",)


@dataclass(frozen=True, kw_only=True)
class Template:
    """A flex template.

    ``needs`` says for given options what must be there, ``check`` looks for it as who runs it.
    ``writes`` says which Pub/Sub topics the service's own sink must write for given options, and
    ``variants`` which parameters change the graph: each has a graph of its own in the contract.
    """

    name: str
    title: str
    description: str
    options: type[Any]
    build: Callable[[beam.Pipeline, Any], beam.PCollection]
    needs: Callable[[Any], tuple[Need, ...]]
    check: Callable[[Any], None]
    writes: Callable[[Any], set[str]]
    from_mqtt: bool
    to_mqtt: bool
    variants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its entry point, metadata, README and graph names stand."""
        return FOLDER / self.name.replace("-", "_")

    @property
    def experiments(self) -> tuple[str, ...]:
        """Dataflow's experiments that it needs."""
        return _ONE_PROCESS if self.from_mqtt or self.to_mqtt else ()

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters, those that are needed first."""
        return parameters_of(self.options)

    def parameter(self, name: str) -> Parameter:
        """Returns a parameter by its name. Raises ParameterError."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise unknown(name, self.parameters, template=self.name)

    def read(
        self, values: Mapping[str, str], arguments: Sequence[str] = ()
    ) -> tuple[Any, PipelineOptions]:
        """Reads parameters, by their names, and Beam's arguments.

        Raises:
          ParameterError: names the parameter, says what would be right, and gives an example.
        """
        argv = []
        for name, value in values.items():
            parameter = self.parameter(name)
            parameter.check(value)
            argv.append(f"--{parameter.option}={value}")
        for parameter in self.parameters:
            if not parameter.optional and parameter.name not in values:
                raise parameter.error(f"is missing ({parameter.label})")
        known = {f"--{parameter.option}" for parameter in self.parameters}
        for argument in arguments:
            if argument.partition("=")[0] in known:
                name = argument.partition("=")[0].removeprefix("--")
                raise unknown(name, self.parameters, template=self.name)
        try:
            result = parse_options(self.options, [*argv, *arguments], program=self.name, about="")
        except OptionError as error:
            words = in_their_names(str(error), self.parameters, template=self.name)
            raise ParameterError(words) from error
        check_together(self.parameters, values)
        return result

    def read_arguments(self, argv: Sequence[str]) -> tuple[Any, PipelineOptions]:
        """Reads ``--name=value`` as the launcher gives them. Raises ParameterError as ``read``."""
        names = {parameter.name for parameter in self.parameters}
        values: dict[str, str] = {}
        rest: list[str] = []
        items = list(argv)
        while items:
            item = items.pop(0)
            name, equals, value = item.removeprefix("--").partition("=")
            if not item.startswith("--") or name not in names:
                rest.append(item)
                continue
            if not equals:
                if not items or items[0].startswith("--"):
                    raise self.parameter(name).error("has no value")
                value = items.pop(0)
            if name in values:
                raise ParameterError(f"{name}: is given twice")
            values[name] = value
        return self.read(values, rest)


def _telemetry_writes(options: telemetry.TelemetryOptions) -> set[str]:
    # The service's sink drops ordering keys, so it must not be there where they are asked for.
    output = set() if options.ordered else {options.output_topic}
    return output | {options.dead_letters()}


TEMPLATES = (
    Template(
        name="mqtt-to-pubsub",
        title="MQTT to Pub/Sub",
        description=(
            "Subscribes to MQTT topic filters, with wildcards, and publishes each message to a"
            " Pub/Sub topic: the device's bytes untouched as data, who, where and when as"
            " attributes. A message is acknowledged to the broker when Pub/Sub has accepted it."
        ),
        options=telemetry.TelemetryOptions,
        build=telemetry.build,
        needs=telemetry.needs,
        check=telemetry.check,
        writes=_telemetry_writes,
        from_mqtt=True,
        to_mqtt=False,
        variants={
            "ordered": {"ordered": "true"},
            "shared": {"shards": "4"},
        },
    ),
    Template(
        name="mqtt-to-bigquery",
        title="MQTT to BigQuery",
        description=(
            "Subscribes to MQTT topic filters, with wildcards, decodes telemetry by its schema, and"
            " appends it to a BigQuery table by the Storage Write API, without Pub/Sub in between;"
            " what can't be decoded or appended goes to a dead-letter table, with the reason. A"
            " message is acknowledged to the broker when BigQuery has its row."
        ),
        options=direct.DirectOptions,
        build=direct.build,
        needs=direct.needs,
        check=direct.check,
        writes=lambda options: set(),
        from_mqtt=True,
        to_mqtt=False,
        variants={"shared": {"shards": "4"}},
    ),
    Template(
        name="pubsub-to-bigquery",
        title="Pub/Sub to BigQuery and Avro",
        description=(
            "Reads telemetry from a Pub/Sub subscription, decodes it by its schema, and appends it"
            " to a BigQuery table by the Storage Write API; what can't be decoded or appended goes"
            " to a dead-letter table, with the reason. From a subscription of its own it archives"
            " all of it to Avro files by the hour, where asked for."
        ),
        options=warehouse.WarehouseOptions,
        build=warehouse.build,
        needs=warehouse.needs,
        check=warehouse.check,
        writes=lambda options: set(),
        from_mqtt=False,
        to_mqtt=False,
        variants={
            "archive": {
                "archiveSubscription": "projects/my-project/subscriptions/telemetry-archive",
                "outputDirectory": "gs://my-bucket/archive",
            },
        },
    ),
    Template(
        name="pubsub-to-mqtt",
        title="Pub/Sub to MQTT",
        description=(
            "Reads commands from a Pub/Sub subscription, publishes each to its device's command"
            " topic over MQTT, and reports what became of it to a results topic. A command is"
            " acknowledged when its outcome is in the results topic."
        ),
        options=commands.CommandsOptions,
        build=commands.build,
        needs=commands.needs,
        check=commands.check,
        writes=lambda options: {options.results_topic},
        from_mqtt=False,
        to_mqtt=True,
    ),
)


def template_named(name: str) -> Template:
    """Returns the template of that name. Raises UnknownTemplate."""
    for template in TEMPLATES:
        if template.name == name:
            return template
    names = [template.name for template in TEMPLATES]
    near = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {near[0]}? There are " if near else "there are "
    raise UnknownTemplate(f"no template {name!r}: {meant}{', '.join(names)}")
