"""A guesser is slowed down, and can lock out nobody but those behind his own address."""

from __future__ import annotations

from broker.auth.failed_logins import FailedLogins


def failing(times: int, *, address: str = "192.0.2.1", name: str = "d1") -> FailedLogins:
    one = FailedLogins(per_name=3, per_address=10, seconds=60)
    for _ in range(times):
        one.failed(address, name, 0)
    return one


def test_a_name_is_refused_from_that_address_alone() -> None:
    assert failing(2).allows_name("192.0.2.1", "d1", 0)
    one = failing(3)
    assert not one.allows_name("192.0.2.1", "d1", 0)
    assert one.allows_name("192.0.2.1", "d2", 0)
    assert one.allows_name("192.0.2.2", "d1", 0)


def test_an_address_is_refused_under_whatever_names() -> None:
    one = FailedLogins(per_name=3, per_address=10, seconds=60)
    for number in range(10):
        assert one.allows_address("192.0.2.1", 0)
        one.failed("192.0.2.1", f"d{number}", 0)
    assert not one.allows_address("192.0.2.1", 0)
    assert one.allows_address("192.0.2.2", 0)


def test_what_was_no_guess_counts_for_its_name_alone() -> None:
    one = FailedLogins(per_name=3, per_address=1, seconds=60)
    for _ in range(3):
        one.failed("192.0.2.1", "d1", 0, is_guess=False)
    assert one.allows_address("192.0.2.1", 0)
    assert not one.allows_name("192.0.2.1", "d1", 0)


def test_failures_are_forgotten_one_by_one() -> None:
    one = failing(3)
    assert not one.allows_name("192.0.2.1", "d1", 19.9)
    assert one.allows_name("192.0.2.1", "d1", 20.1)
    one.failed("192.0.2.1", "d1", 20.1)
    assert not one.allows_name("192.0.2.1", "d1", 30)
    assert one.allows_name("192.0.2.1", "d1", 100)


def test_an_ipv6_network_is_one_address() -> None:
    one = failing(10, address="2001:db8::1")
    assert not one.allows_address("2001:db8::ffff:2", 0)
    assert one.allows_address("2001:db8:0:1::1", 0)
    mapped = failing(10, address="::ffff:192.0.2.1")
    assert not mapped.allows_address("192.0.2.1", 0)
    assert not failing(10, address="fe80::1%eth0").allows_address("fe80::2%eth1", 0)


def test_what_is_remembered_is_bounded() -> None:
    one = FailedLogins(per_name=1, per_address=10**9, seconds=10**9)
    for number in range(100_001):
        one.failed("192.0.2.1", str(number), 0)
    assert one.allows_name("192.0.2.1", "0", 0)
    assert not one.allows_name("192.0.2.1", "1", 0)
