import pytest

from bench.brokers import BrokerKind, find_mosquitto
from bench.delivery import Scenario, measure
from bench.report import brokers

# amqtt loses what it has not worked off when its publisher leaves, up to everything.
RELIABLE = [broker for broker in BrokerKind if broker is not BrokerKind.AMQTT]


@pytest.mark.parametrize("broker", RELIABLE)
def test_a_broker_delivers_every_message_once(broker: BrokerKind) -> None:
    if broker is BrokerKind.MOSQUITTO and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    figure = measure(broker, Scenario(publishers=5, devices=3, messages=5_000))
    assert (figure.lost, figure.duplicates) == (0, 0)
    assert figure.messages_a_second > 0
    assert figure.p99_ms is None


def test_latency_is_measured_where_a_rate_is_kept_and_the_table_has_the_ratios() -> None:
    paced = measure(BrokerKind.OWN, Scenario(rate=500, messages=100))
    assert paced.p50_ms is not None
    assert paced.p99_ms is not None
    assert 0 < paced.p50_ms <= paced.p99_ms
    own = measure(BrokerKind.OWN, Scenario(messages=100))
    stored = measure(BrokerKind.OWN_STORED, Scenario(messages=100))
    ratio = stored.messages_a_second / own.messages_a_second
    assert f"{ratio:.2f}" in brokers([[own, stored, paced]]).splitlines()[-1]
