"""The way to the broker is cut for a moment; tests/faults/test_outages.py has every other way."""

from __future__ import annotations

from tests.harness import outage_runs
from tests.harness.brokers import Broker
from tests.harness.cloud import Cloud
from tests.harness.proxy import Proxy


def test_telemetry_waits_at_the_broker_while_its_port_is_closed(
    cloud: Cloud, own_broker: Broker
) -> None:
    with Proxy(own_broker.address) as proxy:
        outage = outage_runs.Outage(
            what="telemetry: broker, closed", cut=proxy.closed, cut_seconds=2.0
        )
        print(outage_runs.telemetry(cloud, own_broker, outage, broker_address=proxy.address))
