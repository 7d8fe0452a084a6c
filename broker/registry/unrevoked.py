"""Certificates that went from a registry and may be good all the same, by an authority in it.

Of a certificate that is a credential the registry has the fingerprint, not who signed it.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.auth.identity import Certificate
from broker.registry.entries import Content

_TOLD = 3


def unrevoked(before: Content, after: Content) -> str | None:
    """What is to be said where ``after`` lacks certificates of those who are still there.

    None: there is nothing to say. Who is blocked, or gone, connects by none.
    """
    gone: list[str] = []
    for name, entry in before.entries.items():
        left = after.entries.get(name)
        if left is None or left == entry or left.blocked:
            continue
        kept = {each.fingerprint for each in left.credentials if isinstance(each, Certificate)}
        gone += [
            each.id
            for each in entry.credentials
            if isinstance(each, Certificate) and each.fingerprint not in kept
        ]
    return words(gone, sorted(after.authorities)) if gone and after.authorities else None


def words(gone: Sequence[str], authorities: Sequence[str]) -> str:
    """The warning: certificates by their ids, and the names of authorities; some of each."""
    told = [*gone[:_TOLD], *([f"one of {len(gone) - _TOLD} more"] if len(gone) > _TOLD else ())]
    return (
        f"if the authority {' or '.join(authorities)} has signed {' or '.join(told)}, whoever has"
        " that still connects by it, until it is on the authority's revocation list (`mqttbeam"
        " devices authorities set`) or the device is blocked"
    )
