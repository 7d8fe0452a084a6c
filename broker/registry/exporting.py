"""Who may log in by a password, as another broker's file of passwords says it: as of one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from broker.auth.identity import Password
from broker.auth.password_formats import PasswordFormat
from broker.registry.entries import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordFile:
    """What another broker is to be given, and what it can't be told.

    Attributes:
      text: a line for each device and service that has a password now, sorted by name.
      names: of those lines.
      several: who has more than one password now, with the id of the one that is in the text.
      without: who has a password now, and none with a hash in that format.
      unfit: whose name can't be in such a file, with the reason.
      ends: when the first password of those in the text ends, in seconds since the epoch.
    """

    text: str = field(repr=False)
    names: tuple[str, ...]
    several: Mapping[str, str]
    without: tuple[str, ...]
    unfit: Mapping[str, str]
    ends: float | None


def password_file(chosen: PasswordFormat, entries: Iterable[Entry], now: float) -> PasswordFile:
    """The passwords that hold at ``now``, in seconds since the epoch; of nobody who is blocked.

    Such a file has one password for each name: the newest, which is the one that begins last and,
    of those that begin alike, ends last, as a rotated one ends before that in its place.
    """
    lines: list[str] = []
    names: list[str] = []
    several: dict[str, str] = {}
    without: list[str] = []
    unfit: dict[str, str] = {}
    ends: list[float] = []
    for entry in sorted(entries, key=lambda each: each.name):
        passwords = _passwords(entry, now)
        hashed = [each for each in passwords if chosen.name in _hashes(each)]
        if passwords and not hashed:
            without.append(entry.name)
        if not hashed:
            continue
        newest = max(hashed, key=_age)
        try:
            line = chosen.line(entry.name, _hashes(newest)[chosen.name])
        except ValueError as problem:
            unfit[entry.name] = str(problem)
            continue
        lines.append(f"{line}\n")
        names.append(entry.name)
        if len(passwords) > 1:
            several[entry.name] = newest.id
        if newest.validity.not_after is not None:
            ends.append(newest.validity.not_after)
    return PasswordFile(
        text="".join(lines),
        names=tuple(names),
        several=several,
        without=tuple(without),
        unfit=unfit,
        ends=min(ends, default=None),
    )


def _passwords(entry: Entry, now: float) -> list[Password]:
    return [
        each
        for each in (() if entry.blocked else entry.credentials)
        if isinstance(each, Password) and each.validity.holds(now)
    ]


def _hashes(password: Password) -> dict[str, str]:
    return {each.format: each.encoded for each in password.others}


def _age(password: Password) -> tuple[float, float, str]:
    begin, end = password.validity.not_before, password.validity.not_after
    infinity = float("inf")
    return (-infinity if begin is None else begin, infinity if end is None else end, password.id)
