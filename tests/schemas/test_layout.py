import pytest

from schemas.errors import InvalidTopicPart, TopicNotInLayout, UnknownLayout
from schemas.layout import DEFAULT, IOT_CORE, MAXIMUM_DEVICE_ID_BYTES, Layout, layout_named


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("devices/pump-7/telemetry", ("pump-7", "", "telemetry")),
        ("devices/pump-7/telemetry/motor/rear", ("pump-7", "motor/rear", "telemetry")),
        ("devices/Ü 7/state", ("Ü 7", "", "state")),
    ],
)
def test_default_layout_reads_what_a_device_publishes(
    topic: str, expected: tuple[str, str, str]
) -> None:
    assert DEFAULT.telemetry_from_topic(topic) == expected


def test_iot_core_layout_reads_its_leading_slash_and_events() -> None:
    assert IOT_CORE.telemetry_from_topic("/devices/a/events/sub/x") == ("a", "sub/x", "telemetry")
    with pytest.raises(TopicNotInLayout):
        IOT_CORE.telemetry_from_topic("devices/a/telemetry")


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "devices",
        "devices/a",
        "devices/a/commands/reboot",
        "devices/a/state/x",
        "devices/a/telemetryx",
        "devices/a/telemetry/+",
        "/devices/a/telemetry",
        "$SYS/broker/uptime",
    ],
)
def test_a_topic_without_meaning_is_refused_with_the_expected_shape(topic: str) -> None:
    with pytest.raises(TopicNotInLayout):
        DEFAULT.telemetry_from_topic(topic)


@pytest.mark.parametrize(
    "device", ["", "a+", "#", "nul\0", "$share", "x" * (MAXIMUM_DEVICE_ID_BYTES + 1), "\ud800"]
)
def test_a_device_id_no_topic_can_carry_is_refused(device: str) -> None:
    with pytest.raises(InvalidTopicPart):
        DEFAULT.command_topic(device)
    with pytest.raises(InvalidTopicPart):
        DEFAULT.telemetry_from_topic(f"devices/{device}/telemetry")


def test_a_slash_in_a_device_id_is_refused() -> None:
    with pytest.raises(InvalidTopicPart, match="'/'"):
        DEFAULT.command_topic("a/b")


@pytest.mark.parametrize("name", ["a/#", "+", "a//b", "/a"])
def test_a_command_name_that_is_no_path_of_levels_is_refused(name: str) -> None:
    with pytest.raises(InvalidTopicPart):
        DEFAULT.command_topic("pump-7", name)


@pytest.mark.parametrize("layout", [DEFAULT, IOT_CORE])
def test_topics_written_are_read_back(layout: Layout) -> None:
    topic = layout.telemetry_topic("pump-7", "motor")
    assert layout.telemetry_from_topic(topic) == ("pump-7", "motor", "telemetry")
    topic = layout.state_topic("pump-7")
    assert layout.telemetry_from_topic(topic) == ("pump-7", "", "state")


def test_command_and_response_topics_lie_under_the_device() -> None:
    assert DEFAULT.command_topic("p", "set/speed") == "devices/p/commands/set/speed"
    assert IOT_CORE.command_topic("p") == "/devices/p/commands"
    assert DEFAULT.response_topic("p", "42") == "devices/p/responses/42"
    assert DEFAULT.response_from_topic("devices/p/responses/42") == ("p", "42")
    assert IOT_CORE.response_topic("p", "42") is None
    with pytest.raises(TopicNotInLayout):
        DEFAULT.response_from_topic("devices/p/responses/42/more")


def test_an_unknown_layout_names_those_there_are() -> None:
    assert layout_named("iot-core") is IOT_CORE
    with pytest.raises(UnknownLayout, match="default, iot-core"):
        layout_named("azure")
