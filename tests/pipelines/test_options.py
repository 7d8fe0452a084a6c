from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from apache_beam.options.pipeline_options import StandardOptions

from mqtt.client import BrokerAddress
from mqtt.codec import ProtocolVersion
from pipelines.broker_options import BrokerOptions
from pipelines.options import OptionError, option, parse_options
from pipelines.readers import (
    bigquery_table,
    boolean,
    choice,
    folder,
    integer,
    pubsub_subscription,
    pubsub_topic,
    seconds,
    topic_filters,
)
from pipelines.telemetry import TelemetryOptions
from transforms.secrets import SecretRef


@dataclass(frozen=True, kw_only=True)
class Options(BrokerOptions):
    topics: tuple[str, ...] = option(
        "Topic filters.", parse=topic_filters, example="a/#", default=()
    )
    shards: int = option("Shards.", parse=integer(1, 9), example="2", default=1)


NEEDED = ["--broker=mqtt://h", "--client_id=c"]


def parse(*arguments: str, needed: bool = True) -> Options:
    argv = [*(NEEDED if needed else []), *arguments]
    return parse_options(Options, argv, program="program", about="About it.")[0]


def refusal(*arguments: str, needed: bool = True) -> str:
    with pytest.raises(OptionError) as refused:
        parse(*arguments, needed=needed)
    return str(refused.value)


def test_options_are_read_with_their_types() -> None:
    options = parse(
        "--topics=a/+, b/#",
        "--shards",
        "3",
        "--protocol=3.1.1",
        "--username=u",
        "--password=env:PASSWORD",
        "--start_timeout_seconds=2.5",
    )
    assert options.broker == (BrokerAddress("h", 1883, False),)
    assert options.topics == ("a/+", "b/#")
    assert options.shards == 3
    assert options.protocol is ProtocolVersion.V311
    assert options.password == SecretRef("env:PASSWORD")
    assert options.start_timeout_seconds == 2.5


def test_dead_letters_must_not_go_where_telemetry_goes() -> None:
    topic = "projects/my-project/topics/telemetry"
    arguments = [
        "--broker=mqtt://h",
        "--client_id=c",
        "--topics=a",
        f"--output_topic={topic}",
        f"--dead_letter_topic={topic}",
    ]
    with pytest.raises(OptionError, match="must be two topics"):
        parse_options(TelemetryOptions, arguments, program="p", about="")


def test_a_dead_letter_topic_without_a_name_of_its_own_has_one_that_pubsub_takes() -> None:
    longest = f"projects/my-project/topics/{'t' * 242}"
    arguments = ["--broker=mqtt://h", "--client_id=c"]
    options, _ = parse_options(
        TelemetryOptions, [*arguments, f"--output_topic={longest}"], program="p", about=""
    )
    assert options.dead_letters() == f"{longest}-dead-letters"
    with pytest.raises(OptionError, match="--dead_letter_topic is missing: with -dead-letters"):
        parse_options(
            TelemetryOptions, [*arguments, f"--output_topic={longest}t"], program="p", about=""
        )


def test_several_brokers_are_kept_in_their_order() -> None:
    options = parse("--broker=mqtts://a, mqtt://b:99", "--client_id=c", needed=False)
    assert [str(item) for item in options.broker] == ["mqtts://a:8883", "mqtt://b:99"]
    assert options.broker_settings().addresses == options.broker


def test_what_is_beam_s_goes_to_beam() -> None:
    argv = [*NEEDED, "--runner=PrismRunner", "--streaming"]
    _, beam_options = parse_options(Options, argv, program="program", about="")
    assert beam_options.view_as(StandardOptions).runner == "PrismRunner"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--topcis=a"], "unknown option '--topcis': did you mean --topics?"),
        (["--runer=x"], "unknown option '--runer': did you mean --runner?"),
        (["--qqqqqq"], "unknown option '--qqqqqq': --help lists the options"),
        (["stray"], "unknown option 'stray'"),
        (["--shards=1", "--shards=2"], "--shards is given twice"),
        (["--shards"], "--shards has no value; an example is --shards=2"),
        (["--shards", "--username=u"], "--shards has no value"),
        (["--shards=many"], "--shards: must be a whole number from 1 to 9, got 'many'"),
        (["--shards=10"], "--shards: must be a whole number from 1 to 9, got '10'"),
        (["--protocol=4"], "--protocol: must be 5 or 3.1.1, got '4'"),
        (["--keep_alive_seconds=0"], "--keep_alive_seconds: must be a whole number from 1"),
        (["--start_timeout_seconds=nan"], "must be 1 to 3600 seconds, got 'nan'"),
        (["--start_timeout_seconds=soon"], "must be 1 to 3600 seconds, got 'soon'"),
        (["--topics=a/#/b"], "--topics: topic filter 'a/#/b'"),
        (["--topics=a/#,a/b"], "--topics: topic filters 'a/#' and 'a/b' overlap"),
        (["--topics=$share/g/a"], "give it without $share"),
        (["--client_certificate=file:c"], "--client_key is missing"),
        (["--client_key=file:k"], "--client_certificate is missing"),
        (["--ca=file:ca"], "--ca and --client_certificate are of use only with TLS"),
        (["--protocol=3.1.1", "--password=env:P"], "--username is missing"),
        (["--login=scram"], "--password is missing: --login=scram needs one"),
        (["--login=scram", "--password=env:P"], "--username is missing: --login=scram"),
        (
            ["--login=scram", "--password=env:P", "--username=u", "--protocol=3.1.1"],
            "--login=scram is of MQTT 5 only",
        ),
        (["--login=token", "--password=env:P"], "--token_audience is missing"),
        (["--token_audience=a"], "--login=token is missing"),
        (["--scram_again_seconds=60"], "--login=scram is missing"),
        (["--login=kerberos"], "--login: must be one of password, scram, token"),
    ],
)
def test_what_cant_be_is_refused_with_what_would_be(arguments: list[str], words: str) -> None:
    assert words in refusal(*arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--client_id=c"], "--broker is missing: broker address"),
        (["--broker=mqtt://h"], "--client_id is missing"),
        (["--broker=mqtt://h", "--client_id=a/b"], "--client_id: client_id 'a/b'"),
        (["--broker=h", "--client_id=c"], "--broker: broker 'h': the scheme must be"),
    ],
)
def test_what_is_needed_is_asked_for_with_an_example(arguments: list[str], words: str) -> None:
    message = refusal(*arguments, needed=False)
    assert words in message
    assert "--broker=mqtts://broker.example.com:8883" in message or "=telemetry-eu" in message


@pytest.mark.parametrize(
    "arguments",
    [
        ["--password=hunter2"],
        ["--password", "hunter2"],
        ["--client_key=hunter2", "--client_certificate=file:c"],
        ["--pasword=hunter2"],
    ],
)
def test_a_secret_in_the_clear_is_refused_and_not_repeated(arguments: list[str]) -> None:
    message = refusal(*arguments)
    assert "hunter2" not in message


def test_a_password_in_the_broker_s_address_is_not_repeated() -> None:
    message = refusal("--broker=mqtt://u:hunter2@h", "--client_id=c", needed=False)
    assert "hunter2" not in message


def test_help_shows_an_example_and_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("--help", needed=False)
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("About it.")
    assert "program --broker=mqtts://broker.example.com:8883 --client_id=telemetry-eu" in shown
    assert "--broker  (required)" in shown
    for name in ("topics", "shards", "password", "ca", "protocol", "start_timeout_seconds"):
        assert f"--{name}\n" in shown
    assert max(map(len, shown.splitlines())) <= 110


@pytest.mark.parametrize(
    ("reader", "text", "value"),
    [
        (pubsub_topic, "projects/p-1/topics/top", "projects/p-1/topics/top"),
        (pubsub_topic, "projects/e.com:p/topics/t.1_a", "projects/e.com:p/topics/t.1_a"),
        (pubsub_subscription, "projects/p-1/subscriptions/sub", "projects/p-1/subscriptions/sub"),
        (bigquery_table, "p-1:d.t", "p-1.d.t"),
        (bigquery_table, "p-1.d.t", "p-1.d.t"),
        (boolean, "true", True),
        (boolean, "false", False),
        (integer(-5, 5), "-5", -5),
        (seconds(0, 1), "0.5", 0.5),
        (choice(a=1, b=2), "b", 2),
    ],
)
def test_a_reader_takes(reader: Any, text: str, value: object) -> None:
    assert reader(text) == value


@pytest.mark.parametrize(
    ("reader", "text", "words"),
    [
        (pubsub_topic, "topic", "must be projects/PROJECT/topics/TOPIC"),
        (pubsub_topic, "projects/p-1/topics/ab", "must be projects/PROJECT/topics/TOPIC"),
        (pubsub_topic, "projects/p-1/subscriptions/abc", "must be projects/PROJECT/topics/TOPIC"),
        (pubsub_topic, "projects/p-1/topics/1abc", "must be"),
        (pubsub_subscription, "projects/p-1/topics/abc", "subscriptions/SUBSCRIPTION"),
        (bigquery_table, "d.t", "must be PROJECT:DATASET.TABLE"),
        (bigquery_table, "p-1:d-x.t", "must be PROJECT:DATASET.TABLE"),
        (boolean, "yes", "must be true or false"),
        (boolean, "True", "must be true or false"),
        (integer(0, 9), "1.0", "must be a whole number"),
        (integer(0, 9), "", "must be a whole number"),
        (seconds(0, 1), "inf", "must be 0 to 1 seconds"),
        (choice(a=1, b=2), "c", "must be one of a, b"),
    ],
)
def test_a_reader_refuses(reader: Any, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        reader(text)


@pytest.mark.parametrize("text", ["", "file:///var/archive", "s3://bucket/archive", "/a/ar[1]"])
def test_a_folder_that_would_not_be_found_again_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must "):
        folder(text)


@pytest.mark.parametrize("text", ["gs://bucket", "gs://bucket/a b", "/var/archive", "archive"])
def test_a_folder_is_local_or_of_cloud_storage(text: str) -> None:
    assert folder(text) == text
