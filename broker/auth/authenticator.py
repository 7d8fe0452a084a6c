"""What a client gives, and which kind of proof it is: one place that knows all kinds.

=====================================  ==========================================================
what the client gives                  what looks at it
=====================================  ==========================================================
an authentication method (MQTT 5.0)    ``exchange``: SCRAM-SHA-256
a password that is a signed token      ``tokens``
another password                       ``passwords``
no password, a client certificate      ``certificates``; a user name must then be the same name
no password, a proxy's common name     ``certificates``, where the listener trusts that proxy
nothing at all                         the service that anonymous clients are at its listener
=====================================  ==========================================================

What a client gives is tried alone: a wrong password is not made good by a certificate.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from broker.auth.certificates import CertificateAuthenticator
from broker.auth.identity import ANONYMOUS, Directory, DirectoryChanges, Login, Tell, untold
from broker.auth.judging import judge
from broker.auth.passwords import PasswordAuthenticator
from broker.auth.principal import device_of_client_id
from broker.auth.scram import METHOD, ScramAuthenticator, ScramExchange
from broker.auth.tokens import TokenAuthenticator, looks_like_token

METHODS = (METHOD,)
"""Authentication Methods that ``Authenticator.exchange`` knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a client gives at CONNECT, and what its connection adds.

    Attributes:
      address: the host that it comes from, without a port.
      client_id: as it stands in CONNECT.
      username, password: the same.
      certificate: the client's, in DER; TLS has proved that it holds the key.
      common_name, common_name_pattern: of a certificate that a trusted proxy has verified, and
        where in it the name is.
      anonymous: the name of the service that a client is which gives nothing, if the listener has
        one for that.
    """

    address: str
    client_id: str
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    common_name: str | None = None
    common_name_pattern: str = "{name}"
    anonymous: str | None = None

    @property
    def name(self) -> str:
        """Whom the client says that it is, as failures are counted by."""
        if self.password is not None and looks_like_token(self.password):
            # Many devices may come from one address with one user name, which means nothing.
            return device_of_client_id(self.client_id) or self.username or ""
        return self.username or self.client_id

    @property
    def is_costly(self) -> bool:
        """Whether verifying it takes a core for a while: a password does."""
        return self.password is not None and not looks_like_token(self.password)


class Authenticator:
    """All kinds of proof. Times are seconds since the epoch.

    ``remembered`` and ``forget`` are for the event loop; all else may block, in any thread.
    ``audiences``: what the ``aud`` of tokens may be. ``decoy_key``: for SCRAM's challenges of names
    that nobody has. ``seen``: how many changes of the directory it was told of. What was proved
    while that rose may rest on what was before, and must be looked up ``again``.
    """

    def __init__(
        self, directory: Directory, *, audiences: Collection[str] = (), decoy_key: bytes
    ) -> None:
        self.seen = 0
        self._directory = directory
        self._passwords = PasswordAuthenticator(directory)
        self._tokens = TokenAuthenticator(directory, audiences=audiences)
        self._certificates = CertificateAuthenticator(directory)
        self._scram = ScramAuthenticator(directory, secret=decoy_key)

    def remembered(self, attempt: Attempt, now: float) -> Login | None:
        """What it proved before, at once; None says nothing else."""
        return self._passwords.remembered(attempt.username, attempt.password, now)

    def forget(self, changes: DirectoryChanges) -> None:
        """Nothing is remembered of who is not what it was."""
        self.seen += 1
        self._passwords.forget(changes)

    def verify(self, attempt: Attempt, now: float, tell: Tell = untold) -> Login | None:
        """What it proves, or None, and ``tell`` is told why, the closest reason first.

        Raises:
          RegistryError: the directory can't answer now.
        """
        if attempt.password is not None:
            if looks_like_token(attempt.password):
                return self._tokens.verify(
                    attempt.password,
                    client_id=attempt.client_id,
                    username=attempt.username,
                    now=now,
                    tell=tell,
                )
            return self._passwords.verify(attempt.username, attempt.password, now, tell)
        if attempt.certificate is not None:
            login = self._certificates.verify(attempt.certificate, now, tell)
            return self._named(attempt, login, tell)
        if attempt.common_name is not None:
            login = self._certificates.verify_common_name(
                attempt.common_name, attempt.common_name_pattern, tell
            )
            return self._named(attempt, login, tell)
        if attempt.username is None and attempt.anonymous is not None:
            identity = self._directory.find(attempt.anonymous)
            if identity is not None and not identity.blocked:
                return Login(principal=identity.principal, credential=ANONYMOUS)
            tell(f"the service {attempt.anonymous!r} of anonymous clients is blocked or not there")
            return None
        # The same steps as for a wrong one.
        return self._passwords.verify(attempt.username, None, now, tell)

    def exchange(self) -> ScramExchange:
        """Begins an enhanced authentication, of the only method that there is."""
        return self._scram.exchange(seen=self.seen)

    def again(self, login: Login, now: float, tell: Tell = untold) -> Login | None:
        """What was proved, as the directory has it now; None: nothing, and ``tell`` is told why.

        Raises:
          RegistryError: the directory can't answer now.
        """
        name = login.principal.name
        standing = self._directory.standings([name]).get(name)
        if standing is None:
            tell(f"{name!r} was removed while it logged in")
            return None
        of_authorities = () if login.vouched is None else self._directory.authorities()
        judged = judge(login, standing, {each.id: each for each in of_authorities}, now)
        if isinstance(judged, str):
            tell(f"{name!r} changed while it logged in: {judged}")
            return None
        return judged

    def _named(self, attempt: Attempt, login: Login | None, tell: Tell) -> Login | None:
        if login is None or attempt.username in (None, login.principal.name):
            return login
        tell(f"its user name is not that of its certificate, {login.principal.name!r}")
        return None
