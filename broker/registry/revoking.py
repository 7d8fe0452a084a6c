"""An authority's next revocation list, looked at before it takes the place of the one before."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from cryptography import x509

from broker.auth.certificates import read_revocation_list
from broker.auth.identity import Authority
from broker.registry.pem import check_revocation_list


def with_revocation_list(authority: Authority, text: str, now: float) -> Authority:
    """The authority with another list, in PEM. ``now``: seconds since the epoch.

    Raises:
      ValueError: it is no list, not this authority's, out of date, or older than the one it has,
        by which what has been revoked since would be good again.
    """
    check_revocation_list(authority.pem, text)
    issuer = x509.load_pem_x509_certificate(authority.pem.encode())
    revoked = read_revocation_list(issuer, text)
    ends = revoked.next_update_utc
    if ends is not None and ends.timestamp() <= now:
        raise ValueError(f"is out of date since {ends:%Y-%m-%d %H:%M} UTC, and would let nobody in")
    before = _since(issuer, authority.revocation_list)
    if before is not None and revoked.last_update_utc < before:
        raise ValueError(
            f"is of {revoked.last_update_utc:%Y-%m-%d %H:%M} UTC, and older than the one that is"
            f" there, of {before:%Y-%m-%d %H:%M} UTC"
        )
    return replace(authority, revocation_list=text)


def _since(issuer: x509.Certificate, text: str | None) -> datetime | None:
    """When a list was made; None: there is none, or it is another's and lets nobody in."""
    if text is None:
        return None
    try:
        return read_revocation_list(issuer, text).last_update_utc
    except ValueError:
        return None
