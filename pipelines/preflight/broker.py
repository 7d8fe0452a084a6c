"""A broker: each address answers, takes the credential, and lets us subscribe to each filter.

The connection is one of its own: the pipeline's prefix with ``-preflight`` behind it, so that a
broker which binds credentials to client ids takes it, and no running pipeline is taken over. It
starts clean and leaves nothing. Behind ``$share`` it is a group of its own, which gets copies: in
the pipeline's group it would be dealt messages, and take them along when it leaves. It allows the
broker one unacknowledged message and acknowledges none.

The right to publish can't be tried without a message that devices would see.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mqtt.client import BrokerAddress
from mqtt.errors import BrokerUnreachable, ConnectError, ConnectionRefused, SubscriptionRefused
from pipelines.preflight.access import Access
from pipelines.preflight.at_start import check_connect, check_subscribe
from pipelines.preflight.needs import Broker
from pipelines.preflight.secret_manager import read_secret
from schemas.finding import Finding, failed, found, untold, warned
from transforms.errors import TransformError
from transforms.mqttio import BrokerSettings
from transforms.secrets import SecretRef

_LONGEST_SECONDS = 5.0
"""An address that accepts nobody within it is out of reach: nothing here is worth a longer wait."""
_NO_SHARED_SUBSCRIPTIONS = 0x9E
_BAD_CREDENTIAL = (0x86, 0x87)


def examine_broker(
    need: Broker, access: Access, *, seconds: float, in_network: bool
) -> Iterator[Finding]:
    """Whether each address takes the credential, and the right to each filter.

    ``in_network``: whether this machine is where the workers will be; elsewhere a broker that
    can't be reached may well be reached from there.
    """
    settings = need.settings
    deadline = time.monotonic() + seconds
    away: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="mqttbeam-") as folder:
        try:
            secrets = _Secrets(Path(folder), access)
            local = dataclasses.replace(
                settings,
                password=secrets.here(settings.password),
                ca=secrets.here(settings.ca),
                certificate=secrets.here(settings.certificate),
                key=secrets.here(settings.key),
            )
        except TransformError as error:
            words = f"not tried: {error}; that a secret is there does not say that it can be read"
            yield untold(need.resource, "takes the credential", words)
            return
        for number, address in enumerate(settings.addresses, start=1):
            left = (deadline - time.monotonic()) / (len(settings.addresses) - number + 1)
            one = _only(local, address, seconds=max(0.5, min(left, _LONGEST_SECONDS)))
            try:
                yield from _address(need, one, str(address), settings)
            except BrokerUnreachable as error:
                away[str(address)] = str(error)
    answered = len(away) < len(settings.addresses)
    for name, words in away.items():
        yield _unreachable(name, words, in_network=in_network, answered=answered)
    if need.publishes is not None:
        yield untold(
            need.resource,
            f"lets {need.client_id} publish to {need.publishes}",
            "not tried: devices would see the message. A broker that refuses says so to each"
            " command, whose outcome is then rejected",
        )


def _address(
    need: Broker, one: BrokerSettings, name: str, given: BrokerSettings
) -> Iterator[Finding]:
    """Looks at one address. Raises BrokerUnreachable before it has given anything."""
    asked = f"takes the credential of {given.username or 'nobody (no user name)'}"
    try:
        check_connect(one, need.client_id)
    except BrokerUnreachable:
        raise
    except ConnectionRefused as error:
        yield _refused(name, asked, error, one, given)
        return
    except ConnectError as error:
        command = _new_version(given.ca, "ca.pem") if "not trusted" in str(error) else None
        yield failed(name, asked, str(error), command)
        return
    yield found(name, asked)
    left = list(need.filters)
    while left:
        refused = _try_filters(need, one, left, shared=need.shared)
        if refused is None:
            break
        pattern, why = refused
        which = [pattern] if pattern in left else left
        for each in which:
            yield failed(name, f"lets {need.client_id} subscribe to {each}", why)
        left = [each for each in left if each not in which]
    for each in left:
        yield found(name, f"lets {need.client_id} subscribe to {each}")


def _try_filters(
    need: Broker, one: BrokerSettings, filters: list[str], *, shared: bool
) -> tuple[str, str] | None:
    """Subscribes to all; returns the filter that was refused, "" for all of them, and why."""
    try:
        check_subscribe(one, need.client_id, filters, shared=shared)
    except SubscriptionRefused as error:
        everything = error.reason_code == _NO_SHARED_SUBSCRIPTIONS
        pattern = error.topic_filter
        if shared:
            pattern = pattern.split("/", 2)[-1]
        return ("" if everything else pattern), str(error)
    except ConnectError as error:
        return "", str(error)
    return None


def _unreachable(name: str, words: str, *, in_network: bool, answered: bool) -> Finding:
    if in_network and answered:
        return warned(name, "is reached", f"{words}; another address answers")
    if in_network:
        return failed(name, "is reached", words)
    return untold(
        name,
        "is reached",
        f"not from this machine ({words}); the workers' network may reach it: run this on a"
        " machine there, with --in-network",
    )


def _refused(
    name: str, asked: str, error: ConnectionRefused, one: BrokerSettings, given: BrokerSettings
) -> Finding:
    words = str(error)
    command = None
    if error.reason_code in _BAD_CREDENTIAL and given.password is not None:
        assert one.password is not None, "a copy of it"
        command = _new_version(given.password, "-", before='printf %s "$PASSWORD" | ')
        words += _odd(one.password.read())
    if not error.permanent:
        return untold(name, asked, words)
    return failed(name, asked, words, command)


def _odd(password: bytes) -> str:
    """Returns what is hardly meant about a password that was refused, as words to add."""
    if not password:
        return "; the secret is empty"
    try:
        password.decode()
    except UnicodeDecodeError:
        return "; the secret is no UTF-8 text, and is sent byte by byte as it is"
    if password.endswith((b"\n", b"\r")):
        return "; the secret ends with a line end, which is sent along"
    return ""


def _new_version(reference: SecretRef | None, file: str, *, before: str = "") -> str | None:
    """The command that gives a managed secret another value; None for one that isn't managed."""
    if reference is None or not reference.reference.startswith("projects/"):
        return None
    _, project, _, short, *_ = reference.reference.split("/")
    return f"{before}gcloud secrets versions add {short} --project={project} --data-file={file}"


def _only(settings: BrokerSettings, address: BrokerAddress, *, seconds: float) -> BrokerSettings:
    tls = address.tls
    return dataclasses.replace(
        settings,
        addresses=(address,),
        ca=settings.ca if tls else None,
        certificate=settings.certificate if tls else None,
        key=settings.key if tls else None,
        connect_timeout_seconds=seconds,
        start_timeout_seconds=seconds,
    )


class _Secrets:
    """Private copies of managed secrets, which are read as the account; gone with their folder."""

    def __init__(self, folder: Path, access: Access) -> None:
        self._folder = folder
        self._access = access

    def here(self, reference: SecretRef | None) -> SecretRef | None:
        """Returns a reference that can be read on this machine. Raises SecretError."""
        if reference is None or not reference.reference.startswith("projects/"):
            return reference
        file = self._folder / str(len(list(self._folder.iterdir())))
        file.touch(mode=0o600)
        # A file's last line end is no part of the secret: this one is ours.
        file.write_bytes(read_secret(reference, self._access) + b"\n")
        return SecretRef(f"file:{file}")
