"""Hashes of passwords for other brokers: they are those brokers' own, and prove nothing here."""

from __future__ import annotations

import base64
import re

import pytest

from broker.auth.password_formats import (
    FORMATS,
    OtherHash,
    format_named,
    hashed_in,
    mosquitto_hash,
    told_cost,
)

# mosquitto_passwd -b -c FILE d1 secret, of mosquitto 2.0.11
SALT = "6Mg0gSw6BySNoQYc"
DIGEST = "uwp2CsuD4YQKummfOkhYB2frSctDaJ8Rl+E/5Uod0BmjGfSsHrNt1H2eeomgS+5VPXv8hFP52uIQjRGvLDEBEQ=="
MADE_BY_MOSQUITTO = f"$7$101${SALT}${DIGEST}"


def test_a_hash_is_the_one_that_mosquitto_passwd_makes() -> None:
    salt = base64.b64decode(SALT)
    assert mosquitto_hash("secret", salt=salt, iterations=101) == MADE_BY_MOSQUITTO
    assert mosquitto_hash("Secret", salt=salt, iterations=101) != MADE_BY_MOSQUITTO
    assert OtherHash(format="mosquitto", encoded=MADE_BY_MOSQUITTO).encoded == MADE_BY_MOSQUITTO


def test_each_hash_has_a_salt_of_its_own_of_the_length_that_mosquitto_takes() -> None:
    salts = set()
    for _ in range(2):
        [made] = hashed_in(["mosquitto"], "secret")
        _, kind, iterations, salt, digest = made.encoded.split("$")
        assert (kind, iterations) == ("7", "4096")
        assert len(base64.b64decode(digest)) == 64
        again = mosquitto_hash("secret", salt=base64.b64decode(salt), iterations=4096)
        assert again == made.encoded
        salts.add(base64.b64decode(salt))
    assert [len(salt) for salt in salts] == [12, 12]


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "secret",
        MADE_BY_MOSQUITTO[:-1],
        f"{MADE_BY_MOSQUITTO}\n",
        f"{MADE_BY_MOSQUITTO}\nother:{MADE_BY_MOSQUITTO}",
        f"$6${SALT}${DIGEST}",
        f"$7$0${SALT}${DIGEST}",
        f"$7$101${SALT}AAAA${DIGEST}",
    ],
)
def test_what_is_no_hash_of_the_format_is_refused_without_being_told(encoded: str) -> None:
    with pytest.raises(ValueError, match=r"^not a password's hash as mosquitto has it$"):
        OtherHash(format="mosquitto", encoded=encoded)


def test_a_format_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"is 'other'; the password formats are: mosquitto"):
        hashed_in(["other"], "secret")


def test_a_hash_is_in_no_repr() -> None:
    assert DIGEST not in repr(OtherHash(format="mosquitto", encoded=MADE_BY_MOSQUITTO))


@pytest.mark.parametrize("name", FORMATS)
def test_the_cost_is_told_with_figures_of_both_hashes(name: str) -> None:
    told = told_cost(format_named(name))
    figures = re.search(
        r"costs an attacker (\d+) ms .* (\d+) MiB .* argon2id, and ([\d.]+) ms", told
    )
    assert figures is not None
    own, memory, other = map(float, figures.groups())
    assert own > other > 0
    assert memory == 64
    assert "attacks the weaker" in told
    assert "one that a person chose is" in told


def test_a_name_that_would_be_anothers_in_mosquittos_file_is_refused() -> None:
    line = format_named("mosquitto").line
    assert line("d1", MADE_BY_MOSQUITTO) == f"d1:{MADE_BY_MOSQUITTO}"
    with pytest.raises(ValueError, match="no name with a colon"):
        line("d1:x", MADE_BY_MOSQUITTO)
