"""A template's parameters, made of its pipeline's options.

An option of ``pipelines.options`` is declared once; here it gets the name that operators know from
Google's own templates, and what the console asks for: a label, a type, regular expressions. What
Dataflow forbids and a laptop doesn't is added: secrets by Secret Manager reference only, folders
and files in Cloud Storage only.

Types and fields: https://cloud.google.com/dataflow/docs/reference/rest/v1b3/ParameterMetadata
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass
from typing import Any

from pipelines.broker_options import BrokerOptions
from pipelines.forms import Form, Kind, form_of
from pipelines.options import shown_default
from schemas.errors import SchemaSettingError
from templates.errors import ParameterError

GOOGLE_NAMES = {
    "broker": "brokerServer",
    "topics": "inputTopic",
    "output_table": "outputTableSpec",
    "dead_letter_table": "outputDeadletterTable",
    "dead_letter_topic": "outputDeadletterTopic",
    "password": "passwordSecretId",
    "ca": "caSecretId",
    "client_certificate": "clientCertificateSecretId",
    "client_key": "clientKeySecretId",
    "archive_folder": "outputDirectory",
    "archive_shards": "numShards",
}
"""Options whose parameter bears another name than the option's own in camel case."""

ONLY_WITH: dict[str, tuple[str, tuple[str, ...]]] = {
    "ordered": ("shards", ("1",)),
    "client_key": ("client_certificate", ()),
    "scram_again_seconds": ("login", ("scram",)),
    "token_audience": ("login", ("token",)),
    "iot_core_device_numbers": ("iot_core_registry", ()),
    "archive_folder": ("archive_subscription", ()),
    "archive_window_seconds": ("archive_subscription", ()),
    "archive_file_bytes": ("archive_subscription", ()),
    "archive_shards": ("archive_subscription", ()),
    "archive_codec": ("archive_subscription", ()),
}
"""Options that are of use only while another has one of some values; none: while it has any.

The console shows them only then. A password is none of them: MQTT 5 takes a token without a user.
"""

_TYPES = {
    Kind.TEXT: "TEXT",
    Kind.WORD: "ENUM",
    Kind.NUMBER: "NUMBER",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.SECRET: "TEXT",
    Kind.TOPIC: "PUBSUB_TOPIC",
    Kind.SUBSCRIPTION: "PUBSUB_SUBSCRIPTION",
    Kind.TABLE: "BIGQUERY_TABLE",
    Kind.FOLDER: "GCS_WRITE_FOLDER",
    Kind.FILE: "GCS_READ_FILE",
}
_BUCKET = "gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"
_SECRET = "projects/[^/ ]+/secrets/[A-Za-z0-9_-]{1,255}(/versions/[A-Za-z0-9_-]+)?"  # noqa: S105  # a form
# Google's project ids have 6 characters or more, and Beam 2.77 takes no others (io/gcp/pubsub.py).
_PROJECT = "[a-z][a-z0-9.:-]{4,61}[a-z0-9]"
_PUBSUB = f"projects/{_PROJECT}/.+"
_DATAFLOW = {
    Kind.SECRET: _SECRET,
    Kind.FOLDER: f"{_BUCKET}(/[^ ]*)?",
    Kind.FILE: f"{_BUCKET}/[^ ]+",
    Kind.TOPIC: _PUBSUB,
    Kind.SUBSCRIPTION: _PUBSUB,
    Kind.TABLE: f"{_PROJECT}[:.][^:.]+[.][^:.]+",
}
"""What a value must match on Dataflow, beside its option's own form."""

_SAYS_PROJECT = (
    "must be of a project whose id has 6 characters or more, of which the last is a letter or digit"
)
_DATAFLOW_SAYS = {
    Kind.SECRET: (
        "must be a Secret Manager reference, projects/P/secrets/S or"
        " projects/P/secrets/S/versions/V: a value in the clear would be shown to all who may see"
        " the job, and its workers have neither your files nor your environment"
    ),
    Kind.FOLDER: "must be gs://BUCKET or gs://BUCKET/FOLDER: the workers have no folder of yours",
    Kind.FILE: "must be gs://BUCKET/FILE: the workers have no file of yours",
    Kind.TOPIC: _SAYS_PROJECT,
    Kind.SUBSCRIPTION: _SAYS_PROJECT,
    Kind.TABLE: _SAYS_PROJECT,
}


_ELSEWHERE = {
    ", gs:// or local,": " in Cloud Storage",
    ", file:PATH or env:NAME": "",
}
"""What an option's help says of places that the workers don't have, and what it is here."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a template."""

    name: str
    option: str
    help: str
    example: str
    form: Form
    parse: Callable[[str], Any]
    optional: bool
    default: str | None
    group: str
    only_with: tuple[str, tuple[str, ...]] | None

    @property
    def label(self) -> str:
        """What the console shows above the field."""
        return re.split(r"[.:;](?: |$)| \(", self.help)[0]

    @property
    def regexes(self) -> tuple[str, ...]:
        """Regular expressions that a value must match, all of them."""
        patterns = (self.form.pattern, _DATAFLOW.get(self.form.kind))
        return tuple(f"^({pattern})$" for pattern in patterns if pattern is not None)

    def check(self, value: str) -> None:
        """Raises ParameterError for a value that is wrong, without a secret's value in it."""
        kind = self.form.kind
        if kind is Kind.SECRET and not re.fullmatch(_SECRET, value):
            raise self.error(_DATAFLOW_SAYS[kind])
        try:
            self.parse(value)
        except (ValueError, SchemaSettingError) as error:
            raise self.error(str(error)) from error
        dataflow = _DATAFLOW.get(kind)
        if dataflow is not None and not re.fullmatch(dataflow, value):
            raise self.error(f"{_DATAFLOW_SAYS[kind]}, got {value!r}")
        if self.form.words and value not in self.form.words:
            raise self.error(f"must be one of {', '.join(self.form.words)}, got {value!r}")
        if self.form.pattern is not None and not re.fullmatch(self.form.pattern, value):
            raise self.error(f"must be {self.form.says}, got {value!r}")

    def error(self, words: str) -> ParameterError:
        """Returns an error about this parameter, with its example."""
        return ParameterError(f"{self.name}: {words}; an example is {self.name}={self.example}")

    def metadata(self) -> dict[str, Any]:
        """Returns the parameter as ParameterMetadata in JSON."""
        result: dict[str, Any] = {
            "name": self.name,
            "label": self.label,
            "helpText": f"{self.help} Example: {self.example}",
            "isOptional": self.optional,
            "paramType": _TYPES[self.form.kind],
            "groupName": self.group,
        }
        if self.regexes:
            result["regexes"] = list(self.regexes)
        if self.form.words:
            result["enumOptions"] = [{"value": word, "label": word} for word in self.form.words]
        if self.default is not None:
            result["defaultValue"] = self.default
        if self.only_with is not None:
            result["parentName"], triggers = self.only_with
            # Without them any value of the parent's will do.
            if triggers:
                result["parentTriggerValues"] = list(triggers)
        return result


def parameters_of(kind: type[Any]) -> tuple[Parameter, ...]:
    """Returns the parameters for a pipeline's options, those that are needed first."""
    options = [item.name for item in dataclasses.fields(kind)]
    parameters = [_parameter(item, options) for item in dataclasses.fields(kind)]
    return tuple(sorted(parameters, key=lambda parameter: parameter.optional))


def parameter_name(option: str) -> str:
    """Returns the parameter's name for an option's."""
    first, *rest = option.split("_")
    return GOOGLE_NAMES.get(option, first + "".join(map(str.capitalize, rest)))


def _parameter(item: dataclasses.Field[Any], options: Sequence[str]) -> Parameter:
    form = form_of(item.metadata["parse"])
    only_with = ONLY_WITH.get(item.name)
    return Parameter(
        name=parameter_name(item.name),
        option=item.name,
        help=_help(item.metadata["help"], options),
        example=item.metadata["example"],
        form=form,
        parse=item.metadata["parse"],
        optional=item.default is not MISSING,
        default=shown_default(item),
        group=_group(item.name, form.kind),
        only_with=only_with and (parameter_name(only_with[0]), only_with[1]),
    )


def _help(text: str, options: Sequence[str]) -> str:
    """Returns an option's help as it is true on Dataflow, with the parameters' names."""
    for elsewhere, here in _ELSEWHERE.items():
        text = text.replace(elsewhere, here)
    for option in options:
        # Others, such as broker, are words as well.
        if "_" in option:
            text = re.sub(rf"\b{option}\b", parameter_name(option), text)
    return text


def _group(option: str, kind: Kind) -> str:
    if kind is Kind.SECRET or option == "username":
        return "Credentials"
    if option != "start_timeout_seconds" and option in BrokerOptions.__dataclass_fields__:
        return "MQTT broker"
    for prefix, group in (
        ("dead_letter", "Dead letters"),
        ("iot_core", "IoT Core"),
        ("archive", "Archive"),
    ):
        if option.startswith(prefix):
            return group
    if kind in (Kind.TOPIC, Kind.SUBSCRIPTION, Kind.TABLE) or option == "topics":
        return "Source and target"
    return "More"
