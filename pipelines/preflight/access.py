"""Who asks Google: the caller, or the service account that the workers will be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from urllib.parse import quote

import google.auth
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.impersonated_credentials import Credentials as ImpersonatedCredentials
from google.auth.transport.requests import Request

from pipelines.errors import CannotAsk
from pipelines.preflight.api import LOGIN, Api, Endpoints, first_line
from schemas.finding import Finding, failed, found, untold

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LIFETIME_SECONDS = 600
CALLER = "user:$(gcloud config get-value account)"
"""How a shell names whoever runs the command."""


class Access:
    """The caller, and the account that the pipeline will run as.

    Args:
      service_account: whose rights are asked for; None: the caller's own.
      environment: what the addresses of services are read from.
      seconds: for each call.
    """

    def __init__(
        self, *, service_account: str | None, environment: Mapping[str, str], seconds: float
    ) -> None:
        self.service_account = service_account
        self._endpoints = Endpoints.of(environment)
        self._lock = threading.Lock()
        self._known: dict[str, Credentials | CannotAsk] = {}
        self.caller = Api(self._callers, self._endpoints, seconds=seconds)
        self.account = (
            self.caller
            if service_account is None
            else Api(self._accounts, self._endpoints, seconds=seconds)
        )

    @property
    def launcher(self) -> str:
        """The caller, as policies name it."""
        return _member(self._known.get("caller"))

    @property
    def member(self) -> str:
        """Whose rights are asked for, as policies name it."""
        if self.service_account is not None:
            return f"serviceAccount:{self.service_account}"
        return self.launcher

    @property
    def whose(self) -> str:
        """Whose rights are asked for, in a sentence."""
        return self.service_account or "this account"

    def findings(self) -> list[Finding]:
        """Returns whether Google could be asked, as far as that was tried."""
        result = []
        with self._lock:
            known = dict(self._known)
        if "caller" in known:
            result.append(_told("Google credentials", "are here", known["caller"], failed))
        if "account" in known and isinstance(known.get("caller"), Credentials):
            asked = "lets this account act for it, which asking for its rights needs"
            result.append(_told(str(self.service_account), asked, known["account"], untold))
        return result

    def _callers(self) -> Credentials:
        return self._once("caller", self._open_caller, "no credentials")

    def _accounts(self) -> Credentials:
        self._callers()
        short = f"this account may not act for {self.service_account}"
        return self._once("account", self._open_account, short)

    def _once(self, name: str, make: Callable[[], Credentials], short: str) -> Credentials:
        with self._lock:
            if name not in self._known:
                try:
                    self._known[name] = make()
                except CannotAsk as error:
                    self._known[name] = error
            known = self._known[name]
        if isinstance(known, CannotAsk):
            # Why stands in a finding of its own; here it would be said again of every resource.
            raise CannotAsk(short, known.command)
        return known

    def _open_caller(self) -> Credentials:
        try:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
            credentials.refresh(Request())  # type: ignore[no-untyped-call]
        except GoogleAuthError as error:
            raise CannotAsk(
                f"no credentials that can be used: {first_line(error)}", LOGIN
            ) from None
        return credentials

    def _open_account(self) -> Credentials:
        caller = self._known["caller"]
        assert isinstance(caller, Credentials), "asked for the account before the caller"
        account = str(self.service_account)
        override = "iamcredentials" in self._endpoints.overrides and self._endpoints.address(
            "iamcredentials"
        )
        credentials = ImpersonatedCredentials(  # type: ignore[no-untyped-call]
            source_credentials=caller,
            target_principal=account,
            target_scopes=[_SCOPE],
            lifetime=_LIFETIME_SECONDS,
            iam_endpoint_override=f"{override}/v1/projects/-/serviceAccounts/{quote(account)}"
            ":generateAccessToken"
            if override
            else None,
        )
        try:
            credentials.refresh(Request())  # type: ignore[no-untyped-call]
        except GoogleAuthError:
            # Google's answer does not tell a missing account from a missing right.
            raise CannotAsk(
                f"acting for {account} was refused: there is no such account, or this one may not"
                " (roles/iam.serviceAccountTokenCreator)",
                f"gcloud iam service-accounts add-iam-policy-binding {account}"
                f' --member="{_member(caller)}"'
                " --role=roles/iam.serviceAccountTokenCreator",
            ) from None
        return credentials


def _member(caller: object) -> str:
    """Returns how policies name the caller: a person's credentials don't say whose they are."""
    email = str(getattr(caller, "service_account_email", ""))
    return f"serviceAccount:{email}" if "@" in email else CALLER


def _told(
    resource: str,
    asked: str,
    known: Credentials | CannotAsk,
    refused: Callable[[str, str, str, str | None], Finding],
) -> Finding:
    if isinstance(known, CannotAsk):
        return refused(resource, asked, str(known), known.command)
    return found(resource, asked)
