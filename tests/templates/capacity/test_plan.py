"""The arithmetic of a plan, on figures that can be reckoned by head."""

import itertools

import pytest

from templates.capacity import Fleet, Machines, Measured, Plan, Prices, Quotas, plan
from templates.capacity.message import pubsub_bytes, row_bytes

ROOMY = Machines(headroom=0.0, vcpu_speed=1.0, receive_maximum=10**9)


def load(
    messages_per_second: float, *, devices: int = 1, payload_bytes: int = 200, **other: float
) -> Fleet:
    kept: dict[str, float] = {"peak_factor": 1.0, "commands_per_device_per_day": 0.0, **other}
    return Fleet(
        devices=devices,
        messages_per_second=messages_per_second,
        payload_bytes=payload_bytes,
        **kept,  # type: ignore[arg-type]  # by name, each of its own type
    )


def use(planned: Plan, name: str) -> float:
    return next(each.share for each in planned.quotas if each.name == name)


def test_one_message_a_day_needs_the_least(measured: Measured) -> None:
    planned = plan(load(1 / 86_400), measured)
    assert (planned.shards, planned.telemetry_workers) == (1, 1)
    assert (planned.warehouse_workers, planned.command_workers) == (1, 1)
    assert (planned.broker_nodes, planned.broker_clusters) == (3, 1)


@pytest.mark.parametrize(("rate", "shards"), [(100_000, 1), (100_001, 2), (250_000, 3)])
def test_a_shard_carries_what_was_measured(measured: Measured, rate: float, shards: int) -> None:
    assert plan(load(rate), measured, machines=ROOMY).shards == shards


def test_a_slower_vcpu_and_headroom_take_their_part(measured: Measured) -> None:
    machines = Machines(headroom=0.5, vcpu_speed=0.5, receive_maximum=10**9)
    planned = plan(load(100_000), measured, machines=machines)
    assert planned.shard_messages_per_second == 25_000
    assert (planned.shards, planned.bound) == (4, "processor")


def test_what_may_be_unacknowledged_bounds_a_shard(measured: Measured) -> None:
    machines = Machines(headroom=0.0, vcpu_speed=1.0, receive_maximum=30_000, ack_seconds=3.0)
    planned = plan(load(20_000), measured, machines=machines)
    assert planned.shard_messages_per_second == 10_000
    assert (planned.shards, planned.bound) == (2, "receive maximum")


def test_cpu_seconds_ask_for_workers_beyond_the_shards(measured: Measured) -> None:
    # 100,000 a second at 0.1 CPU s per 10,000 are one core; at 1.0 ten, on five workers of two.
    costly = Measured(
        telemetry_messages_per_second=100_000,
        telemetry_cpu_seconds=1.0,
        commands_messages_per_second=50_000,
        commands_cpu_seconds=0.1,
    )
    assert plan(load(100_000), costly, machines=ROOMY).telemetry_workers == 5
    assert plan(load(101_000), costly, machines=ROOMY).telemetry_workers == 6
    assert plan(load(100_000), measured, machines=ROOMY).telemetry_workers == 1


def test_the_peak_sizes_and_the_mean_is_paid(measured: Measured) -> None:
    flat = plan(load(100_000), measured, machines=ROOMY)
    peaked = plan(load(100_000, peak_factor=3.0), measured, machines=ROOMY)
    assert (flat.shards, peaked.shards) == (1, 3)
    assert flat.pubsub_tib_month == pytest.approx(peaked.pubsub_tib_month)
    assert flat.cost.bigquery_writes == pytest.approx(peaked.cost.bigquery_writes)


def test_one_broker_node_can_be_lost(measured: Measured) -> None:
    machines = Machines(headroom=0.0, broker_connections=1000)
    assert plan(load(1, devices=2000), measured, machines=machines).broker_nodes == 3
    assert plan(load(1, devices=2001), measured, machines=machines).broker_nodes == 4
    assert plan(load(1, devices=9001), measured, machines=machines).broker_nodes == 11


def test_each_cluster_has_a_shard_and_jobs_of_its_own(measured: Measured) -> None:
    machines = Machines(headroom=0.0, broker_connections=1000, broker_cluster_nodes=4)
    planned = plan(load(1, devices=11_000), measured, machines=machines)
    assert (planned.broker_nodes, planned.broker_clusters) == (12, 3)
    assert (planned.shards, planned.telemetry_jobs, planned.command_workers) == (3, 3, 3)
    assert planned.jobs == 3 + 1 + 3
    assert use(planned, "Dataflow jobs") == pytest.approx(7 / 25)


def test_the_warehouse_has_a_connection_for_each_megabyte_that_one_is_sure_to_carry(
    measured: Measured,
) -> None:
    rate = 10_000_000 / row_bytes(200)
    planned = plan(load(rate), measured, machines=ROOMY)
    assert planned.warehouse_workers == 5
    assert planned.append_connections == 5 * 2 * 2
    wide = plan(
        load(rate), measured, machines=ROOMY, quotas=Quotas(write_api_connection_mb_per_second=10)
    )
    # 26,455 rows a second at 0.4 CPU s per 10,000: 1.06 vCPUs.
    assert wide.warehouse_workers == 1


def test_a_quota_is_exceeded_at_its_limit_and_not_before(measured: Measured) -> None:
    rate = 200_000_000 / pubsub_bytes(200)
    below, above = plan(load(rate * 0.999), measured), plan(load(rate * 1.001), measured)
    assert not next(each.exceeded for each in below.quotas)
    assert next(each.exceeded for each in above.quotas)
    assert use(below, "Pub/Sub publish") == pytest.approx(0.999)


def test_deliveries_count_for_each_subscription(measured: Measured) -> None:
    once, twice = plan(load(1000), measured), plan(load(1000, subscriptions=2), measured)
    assert use(twice, "Pub/Sub delivery") == pytest.approx(2 * use(once, "Pub/Sub delivery"))
    assert twice.pubsub_tib_month == pytest.approx(once.pubsub_tib_month * 3 / 2)


def test_pubsub_is_paid_by_the_tebibyte_beyond_what_is_free(measured: Measured) -> None:
    month = 30 * 86_400
    rate = (1 << 40) / 2 / pubsub_bytes(200) / month
    assert rate > 200  # so that requests are larger than the least that is counted
    planned = plan(load(rate), measured, prices=Prices(pubsub_free_gib=0))
    assert planned.pubsub_tib_month == pytest.approx(1.0)
    assert planned.cost.pubsub == pytest.approx(40.0)
    assert plan(load(rate), measured).cost.pubsub == pytest.approx(40.0 * (1 - 10 / 1024))


def test_a_slow_fleet_pays_a_kilobyte_for_each_request(measured: Measured) -> None:
    planned = plan(load(1.0), measured)
    assert planned.pubsub_tib_month * (1 << 40) == pytest.approx(2 * 1000 * 30 * 86_400)


def test_a_large_payload_is_counted_whole_however_slow(measured: Measured) -> None:
    planned = plan(load(1.0, payload_bytes=5000), measured)
    counted = 2 * pubsub_bytes(5000) * 30 * 86_400
    assert planned.pubsub_tib_month * (1 << 40) == pytest.approx(counted)


def test_workers_are_paid_by_the_hour(measured: Measured) -> None:
    prices = Prices(dataflow_vcpu_hour=1.0, dataflow_memory_gb_hour=0.0, dataflow_disk_gb_hour=0.0)
    planned = plan(load(1), measured, prices=prices)
    assert planned.workers == 3
    assert planned.cost.workers == pytest.approx(3 * 2 * 720)


def test_rows_are_stored_as_long_as_they_are_kept(measured: Measured) -> None:
    planned = plan(load(1000, retention_days=10), measured)
    gib = 1000 * row_bytes(200) * 10 * 86_400 / (1 << 30)
    assert planned.cost.bigquery_storage == pytest.approx(gib * 0.02)


def test_brokers_are_not_priced_until_a_price_is_given(measured: Measured) -> None:
    without = plan(load(1), measured)
    priced = plan(load(1), measured, prices=Prices(broker_node_month=100))
    assert without.cost.brokers is None
    assert priced.cost.brokers == 300
    assert priced.cost.total == pytest.approx(without.cost.total + 300)


def test_more_is_never_less(measured: Measured) -> None:
    fleets = [load(10**power, devices=10**power) for power in range(8)]
    for small, large in itertools.pairwise(plan(fleet, measured) for fleet in fleets):
        assert small.broker_nodes <= large.broker_nodes
        assert small.shards <= large.shards
        assert small.workers <= large.workers
        assert small.cost.total < large.cost.total
