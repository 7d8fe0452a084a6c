"""Parameters: Google's names, types and expressions from the one definition of the options."""

from __future__ import annotations

import dataclasses
import re

import pytest
from apache_beam.io.gcp.pubsub import parse_subscription, parse_topic
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from pipelines.forms import Kind
from templates.catalog import TEMPLATES, Template, template_named
from templates.errors import ParameterError
from templates.parameters import ONLY_WITH, Parameter, parameter_name
from templates.promises import examples

PARAMETERS = [(template, each) for template in TEMPLATES for each in template.parameters]
NAMES = [f"{template.name}-{each.name}" for template, each in PARAMETERS]


FROM_MQTT = [template for template in TEMPLATES if template.from_mqtt]


def passes(parameter: Parameter, value: str) -> bool:
    """Whether Dataflow would take the value: by every expression, and one of the words."""
    if parameter.form.words and value not in parameter.form.words:
        return False
    return all(re.search(pattern, value) for pattern in parameter.regexes)


@pytest.mark.parametrize(("template", "parameter"), PARAMETERS, ids=NAMES)
def test_example_and_default_pass_expressions_and_reader(
    template: Template, parameter: Parameter
) -> None:
    for value in (parameter.example, parameter.default):
        if value is not None:
            parameter.check(value)
            assert passes(parameter, value)


@pytest.mark.parametrize(("template", "parameter"), PARAMETERS, ids=NAMES)
def test_every_parameter_says_what_the_console_asks(
    template: Template, parameter: Parameter
) -> None:
    record = parameter.metadata()
    assert re.fullmatch("[a-z][A-Za-z0-9]*", record["name"])
    assert record["label"]
    assert parameter.example in record["helpText"]
    assert record["groupName"]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_metadata_and_options_agree(template: Template) -> None:
    fields = {item.name: item for item in dataclasses.fields(template.options)}
    assert {each.option for each in template.parameters} == set(fields)
    assert len({each.name for each in template.parameters}) == len(fields)
    for each in template.parameters:
        assert each.optional == (fields[each.option].default is not dataclasses.MISSING)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("input_subscription", "inputSubscription"),
        ("output_topic", "outputTopic"),
        ("output_table", "outputTableSpec"),
        ("archive_folder", "outputDirectory"),
        ("dead_letter_table", "outputDeadletterTable"),
        ("password", "passwordSecretId"),
        ("keep_alive_seconds", "keepAliveSeconds"),
    ],
)
def test_names_are_those_of_google_s_templates(option: str, name: str) -> None:
    assert parameter_name(option) == name


def test_what_depends_on_another_parameter_names_one_that_there_is() -> None:
    seen = set()
    for template in TEMPLATES:
        options = {each.option: each for each in template.parameters}
        for option in set(ONLY_WITH) & set(options):
            other, values = ONLY_WITH[option]
            for value in values:
                options[other].check(value)
            record = options[option].metadata()
            assert record["parentName"] == options[other].name
            # None of them stands for any value.
            assert record.get("parentTriggerValues", []) == list(values)
            seen.add(option)
    assert seen == set(ONLY_WITH)


CONDITIONAL = [
    (template, each) for template in TEMPLATES for each in template.parameters if each.only_with
]


@pytest.mark.parametrize(
    ("template", "parameter"),
    CONDITIONAL,
    ids=[f"{template.name}-{each.name}" for template, each in CONDITIONAL],
)
def test_what_would_do_nothing_is_refused_and_a_default_is_not(
    template: Template, parameter: Parameter
) -> None:
    assert parameter.only_with is not None
    other, triggers = parameter.only_with
    values = {name: value for name, value in examples(template).items() if name != other}
    if triggers:
        values[other] = "4"
    odd = {"null", "gs://elsewhere/folder", "2", parameter.example} - {parameter.default}
    value = next(each for each in sorted(odd, key=len) if passes(parameter, each))
    with pytest.raises(ParameterError, match=rf"\b{other}\b"):
        template.read({**values, parameter.name: value})
    if parameter.default is not None:
        template.read({**values, parameter.name: parameter.default})


SECRET = "projects/my-project/secrets/mqtt"


@pytest.mark.parametrize("template", FROM_MQTT, ids=lambda template: template.name)
@pytest.mark.parametrize(
    "values",
    [
        {"inputTopic": "devices/+/telemetry/#,devices/+/state,sites/#"},
        {"inputTopic": "#"},
        {"inputTopic": "/devices/+/events"},
        {"brokerServer": "tcp://broker.example.com"},
        {"brokerServer": "ssl://broker.example.com:8883,ssl://[2001:db8::1]:8883"},
        {"brokerServer": "ws://10.0.0.1:8080/mqtt"},
        {"brokerServer": "wss://a.example.com,wss://b.example.com:443/path"},
        {"brokerServer": "mqtt://a.example.com, mqtts://b.example.com:8884"},
        {"username": "pipeline", "passwordSecretId": f"{SECRET}/versions/3"},
        # A token: MQTT 5 takes one without a user name.
        {"passwordSecretId": f"{SECRET}/versions/latest"},
        {"username": "pipeline", "passwordSecretId": SECRET, "login": "scram"},
        {"passwordSecretId": SECRET, "login": "token", "tokenAudience": "my-project"},
        {"clientCertificateSecretId": SECRET, "clientKeySecretId": SECRET, "caSecretId": SECRET},
    ],
    ids=lambda values: ",".join(values.values()),
)
def test_filters_brokers_and_credentials_of_every_kind_are_taken(
    template: Template, values: dict[str, str]
) -> None:
    needed = {each.name: each.example for each in template.parameters if not each.optional}
    template.read({**needed, **values})
    assert all(passes(template.parameter(name), value) for name, value in values.items())


BAD = [
    ("mqtt-to-pubsub", "brokerServer", "broker.example.com"),
    ("mqtt-to-pubsub", "brokerServer", "http://broker.example.com"),
    ("mqtt-to-pubsub", "brokerServer", "mqtt://user:hunter2@broker.example.com"),
    ("mqtt-to-pubsub", "inputTopic", "devices/#/telemetry"),
    ("mqtt-to-pubsub", "inputTopic", "devices/a+/telemetry"),
    ("mqtt-to-pubsub", "passwordSecretId", "hunter2"),
    ("mqtt-to-pubsub", "passwordSecretId", "env:PASSWORD"),
    ("mqtt-to-pubsub", "passwordSecretId", "file:/etc/password"),
    ("mqtt-to-pubsub", "clientKeySecretId", "-----BEGIN PRIVATE KEY----- hunter2"),
    ("mqtt-to-pubsub", "outputTopic", "telemetry"),
    ("mqtt-to-pubsub", "outputTopic", "projects/p-1/topics/telemetry"),
    ("mqtt-to-pubsub", "outputTopic", "projects/my-project/subscriptions/telemetry"),
    ("mqtt-to-pubsub", "protocol", "4"),
    ("mqtt-to-pubsub", "layout", "my-layout"),
    ("mqtt-to-pubsub", "ordered", "yes"),
    ("mqtt-to-pubsub", "sessionExpirySeconds", "-1"),
    ("mqtt-to-pubsub", "startTimeoutSeconds", "-5"),
    ("mqtt-to-pubsub", "shards", "0"),
    ("mqtt-to-pubsub", "deadLetterBlobFolder", "/var/dead-letters"),
    ("pubsub-to-bigquery", "outputDirectory", "/var/archive"),
    ("pubsub-to-bigquery", "archiveWindowSeconds", "-60"),
    ("pubsub-to-bigquery", "archiveCodec", "zip"),
    ("pubsub-to-bigquery", "outputTableSpec", "telemetry"),
    ("pubsub-to-bigquery", "outputTableSpec", "my-project:telemetry"),
    ("pubsub-to-bigquery", "outputTableSpec", "p-1:iot.telemetry"),
    ("pubsub-to-bigquery", "inputSubscription", "projects/my-project/topics/telemetry"),
    ("pubsub-to-bigquery", "inputSubscription", "projects/p-1/subscriptions/telemetry"),
]


@pytest.mark.parametrize(("name", "parameter", "value"), BAD)
def test_a_bad_value_is_refused_by_expression_and_here_with_an_example(
    name: str, parameter: str, value: str
) -> None:
    template = template_named(name)
    assert not passes(template.parameter(parameter), value)
    with pytest.raises(ParameterError) as refused:
        template.read({**examples(template), parameter: value})
    words = str(refused.value)
    assert words.startswith(f"{parameter}: ")
    assert words.endswith(f"an example is {parameter}={template.parameter(parameter).example}")
    assert "hunter2" not in words
    if template.parameter(parameter).form.kind is Kind.SECRET:
        assert "would be shown to all who may see the job" in words


BAD_FOR_ITS_READER = [
    ("mqtt-to-pubsub", "brokerServer", "mqtts://broker.example.com:70000"),
    ("mqtt-to-pubsub", "inputTopic", "devices/#,devices/+/telemetry"),
    ("mqtt-to-pubsub", "receiveMaximum", "99999"),
    ("pubsub-to-bigquery", "archiveWindowSeconds", "86400"),
    ("pubsub-to-bigquery", "defaultSchema", "readin.v1"),
]


@pytest.mark.parametrize(("name", "parameter", "value"), BAD_FOR_ITS_READER)
def test_what_no_expression_tells_is_refused_before_the_graph_is_built(
    name: str, parameter: str, value: str
) -> None:
    template = template_named(name)
    assert passes(template.parameter(parameter), value)
    with pytest.raises(ParameterError, match=rf"^{parameter}: .*; an example is {parameter}="):
        template.read({**examples(template), parameter: value})


BAD_FOR_ITS_EXPRESSION = [
    ("mqtt-to-pubsub", "brokerServer", "mqtts://ü.example", "letters a to z, digits, dots, dash"),
    ("mqtt-to-pubsub", "brokerServer", "MQTT://broker.example.com", "the scheme in small letters"),
    ("mqtt-to-pubsub", "shards", "\N{FULLWIDTH DIGIT ONE}", "in the digits 0 to 9"),
    ("mqtt-to-pubsub", "shards", "01", "without a zero before it"),
    ("mqtt-to-pubsub", "startTimeoutSeconds", "+5", "seconds in the digits 0 to 9, such as 30"),
]


@pytest.mark.parametrize(("name", "parameter", "value", "words"), BAD_FOR_ITS_EXPRESSION)
def test_what_only_the_expression_refuses_is_told_in_words(
    name: str, parameter: str, value: str, words: str
) -> None:
    template = template_named(name)
    assert template.parameter(parameter).parse(value)
    with pytest.raises(ParameterError) as refused:
        template.read({**examples(template), parameter: value})
    assert str(refused.value).startswith(f"{parameter}: must be ")
    assert words in str(refused.value)
    assert f"got {value!r}; an example is" in str(refused.value)
    assert "[0-9]" not in str(refused.value)


RESOURCES = {
    (parameter.form.kind, parameter.regexes): parameter
    for _, parameter in PARAMETERS
    if parameter.form.kind in (Kind.TOPIC, Kind.SUBSCRIPTION)
}


@pytest.mark.parametrize("parameter", RESOURCES.values(), ids=lambda each: each.form.kind)
@given(data=st.data())
@settings(max_examples=200)
def test_a_name_that_passes_is_one_that_beam_takes_for_dataflow(
    parameter: Parameter, data: st.DataObject
) -> None:
    assert parameter.form.pattern is not None
    value = data.draw(st.from_regex(parameter.form.pattern, fullmatch=True))
    try:
        parameter.check(value)
    except ParameterError:
        reject()
    if parameter.form.kind is Kind.TOPIC:
        assert parse_topic(value)
    else:
        assert parse_subscription(value)


HIDDEN = "projects/my-project/subscriptions/telemetry-archive"


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        (
            "pubsub-to-bigquery",
            {"inputTopic": "projects/my-project/topics/t"},
            "inputTopic: pubsub-to-bigquery has no such parameter: it reads a subscription",
        ),
        (
            "pubsub-to-mqtt",
            {"inputTopic": "projects/my-project/topics/t"},
            "inputTopic: pubsub-to-mqtt has no such parameter: it reads a subscription",
        ),
        (
            "mqtt-to-pubsub",
            {"password": "hunter2"},
            "password: mqtt-to-pubsub has no such parameter; did you mean passwordSecretId=",
        ),
        (
            "mqtt-to-pubsub",
            {"outputTable": "my-project:iot.telemetry"},
            "outputTable: mqtt-to-pubsub has no such parameter; did you mean outputTopic=projects",
        ),
        (
            "pubsub-to-bigquery",
            {"outputDirectory": "gs://my-bucket/archive"},
            "archiveSubscription is missing: outputDirectory and archiveSubscription go together;"
            f" an example is archiveSubscription={HIDDEN}",
        ),
        (
            "pubsub-to-bigquery",
            {"archiveWindowSeconds": "300"},
            "archiveWindowSeconds needs outputDirectory and archiveSubscription: without them there"
            " is no archive",
        ),
        (
            "mqtt-to-pubsub",
            {"brokerServer": "tcp://broker.example.com:1883"},
            "caSecretId and clientCertificateSecretId are of use only with TLS: give"
            " brokerServer=mqtts://",
        ),
        ("mqtt-to-pubsub", {"shards": "2", "ordered": "true"}, "ordered and shards contradict"),
        ("mqtt-to-pubsub", {"inputTopic": "a/#,a/b"}, "inputTopic: topic filters 'a/#' and 'a/b'"),
        (
            "pubsub-to-bigquery",
            {"outputDeadletterTable": "my-project:iot.telemetry"},
            "outputDeadletterTable and outputTableSpec must be two tables; an example is"
            " outputDeadletterTable=my-project:iot.dead_letters",
        ),
    ],
)
def test_what_contradicts_is_refused_in_the_parameters_names(
    name: str, values: dict[str, str], words: str
) -> None:
    template = template_named(name)
    with pytest.raises(ParameterError, match=re.escape(words)) as refused:
        template.read({**examples(template), **values})
    assert "hunter2" not in str(refused.value)
    assert re.search(r"[a-z][A-Za-z]+=\S", str(refused.value)), "has no example"


@pytest.mark.parametrize(("template", "parameter"), PARAMETERS, ids=NAMES)
def test_help_is_true_of_dataflow_and_in_the_parameters_names(
    template: Template, parameter: Parameter
) -> None:
    assert not re.search(r"\blocal\b|file:|env:", parameter.help)
    options = {each.option for each in template.parameters if "_" in each.option}
    assert options.isdisjoint(re.findall(r"\w+", parameter.help))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_what_is_missing_is_asked_for(template: Template) -> None:
    for parameter in template.parameters:
        if not parameter.optional:
            values = examples(template)
            del values[parameter.name]
            with pytest.raises(ParameterError, match=f"^{parameter.name}: is missing"):
                template.read(values)


@pytest.mark.parametrize("name", ["pubsub-to-bigquery", "pubsub-to-mqtt"])
def test_a_topic_beside_the_subscription_is_refused_by_the_launcher_too(name: str) -> None:
    template = template_named(name)
    needed = [f"--{key}={value}" for key, value in examples(template).items()]
    with pytest.raises(ParameterError, match=r"^inputTopic: .* an example is inputSubscription="):
        template.read_arguments([*needed, "--inputTopic=projects/my-project/topics/telemetry"])


def test_an_option_s_own_name_is_no_way_around_its_parameter() -> None:
    template = template_named("mqtt-to-pubsub")
    needed = [f"--{name}={value}" for name, value in examples(template).items()]
    with pytest.raises(ParameterError, match="ca: mqtt-to-pubsub has no such parameter"):
        template.read_arguments([*needed, "--ca=env:CA"])
    with pytest.raises(ParameterError, match=r"^clientId: is given twice"):
        template.read_arguments([*needed, "--clientId=other"])
    with pytest.raises(ParameterError, match=r"^shards: has no value"):
        template.read_arguments([*needed, "--shards"])


def test_arguments_are_read_as_the_launcher_gives_them() -> None:
    template = template_named("mqtt-to-pubsub")
    needed = [f"--{name}={value}" for name, value in examples(template).items()]
    options, beam_options = template.read_arguments(
        [*needed, "--shards", "3", "--runner=DataflowRunner"]
    )
    assert options.shards == 3
    assert options.password.reference.startswith("projects/my-project/secrets/")
    assert beam_options.get_all_options()["runner"] == "DataflowRunner"
