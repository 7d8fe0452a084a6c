"""What a login is worth by what the directory says now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from broker.auth.certificates import still_vouches
from broker.auth.identity import ANONYMOUS, PROXY, Authority, Login, Standing


def judge(
    login: Login, standing: Standing, authorities: Mapping[str, Authority], now: float
) -> Login | str:
    """A login as it is from now on, or why it is worth nothing.

    ``now``: seconds since the epoch.
    """
    if standing.blocked:
        return "it is blocked"
    renewed = replace(login, principal=standing.principal)
    if login.credential in (ANONYMOUS, PROXY):
        return renewed
    if login.vouched is not None:
        authority = authorities.get(login.credential)
        if authority is None or not still_vouches(authority, login.vouched, now):
            return "the authority of its certificate does not stand by it any more"
        validity = authority.validity
    else:
        held = standing.validities.get(login.credential)
        if held is None or not held.holds(now):
            return "the credential that it logged in with is not valid any more"
        validity = held
    ends = [each for each in (login.until, validity.not_after) if each is not None]
    return replace(renewed, until=min(ends, default=None))
