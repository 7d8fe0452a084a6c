import pytest

from bench import ceiling
from bench.brokers import default_broker
from bench.peers.peer import Direction
from bench.throughput import Load, Mode


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("mode", Mode)
def test_a_broker_alone_carries_every_message_once(direction: Direction, mode: Mode) -> None:
    figure = ceiling.measure(direction, Load(messages=2000, mode=mode), default_broker())
    assert (figure.messages, figure.lost, figure.duplicates) == (2000, 0, 0)
    assert figure.messages_a_second > 0
    assert figure.cpu_seconds is None
