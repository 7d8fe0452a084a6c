"""Who asks Google, and how: as the caller, or as the service account that the workers will be.

``Api`` speaks to Google's REST interfaces. A service is at its own address, or where gcloud's
variable of the name ``CLOUDSDK_API_ENDPOINT_OVERRIDES_SERVICE`` says (``gcloud topic
endpoint-override``): a private endpoint, or an emulator. What begins with http:// gets no
credentials. Storage and BigQuery are also found by the variables of their emulators.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import google.auth
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.impersonated_credentials import Credentials as ImpersonatedCredentials
from google.auth.transport.requests import AuthorizedSession, Request

from pipelines.errors import ApiRefused, CannotAsk
from pipelines.preflight.finding import Finding, failed, found, untold

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LIFETIME_SECONDS = 600
_LOGIN = "gcloud auth application-default login"
_EMULATORS = {"storage": "STORAGE_EMULATOR_HOST", "bigquery": "BIGQUERY_EMULATOR_HOST"}
CALLER = "user:$(gcloud config get-value account)"
"""How a shell names whoever runs the command."""


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where Google's services are.

    ``overrides``: by the service's short name (``pubsub``), its address. ``emulated``: those whose
    address is an emulator's, which knows no rights.
    """

    overrides: Mapping[str, str]
    emulated: frozenset[str] = frozenset()

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Endpoints:
        """Reads the environment's variables."""
        prefix = "CLOUDSDK_API_ENDPOINT_OVERRIDES_"
        overrides = {
            name.removeprefix(prefix).lower(): value.rstrip("/")
            for name, value in environment.items()
            if name.startswith(prefix) and value
        }
        emulated = set()
        for service, variable in _EMULATORS.items():
            if value := environment.get(variable):
                address = value if "://" in value else f"http://{value}"
                overrides[service] = address.rstrip("/")
                emulated.add(service)
        return cls(overrides=overrides, emulated=frozenset(emulated))

    def address(self, service: str) -> str:
        """Returns a service's address, without a slash at its end."""
        return self.overrides.get(service, f"https://{service}.googleapis.com")


class Api:
    """Google's REST interfaces, as one identity. Safe for threads."""

    def __init__(
        self, credentials: Callable[[], Credentials], endpoints: Endpoints, *, seconds: float
    ) -> None:
        self._credentials = credentials
        self._endpoints = endpoints
        self._seconds = seconds

    def emulated(self, service: str) -> bool:
        """Whether an emulator stands for the service, which knows no rights."""
        return service in self._endpoints.emulated

    def credentials(self) -> Credentials:
        """Returns the identity's credentials. Raises CannotAsk."""
        return self._credentials()

    def get(self, service: str, path: str, query: Sequence[tuple[str, str]] = ()) -> Any:
        """Returns the answer's JSON. Raises CannotAsk, ApiRefused."""
        return self._call("GET", service, path, query=query)

    def post(self, service: str, path: str, body: Mapping[str, object]) -> Any:
        """Returns the answer's JSON. Raises CannotAsk, ApiRefused."""
        return self._call("POST", service, path, body=body)

    def permissions(self, service: str, path: str, wanted: Sequence[str]) -> set[str]:
        """Returns which of the permissions this identity has on a resource.

        Raises CannotAsk, ApiRefused.
        """
        body = {"permissions": list(wanted)}
        return set(self.post(service, f"{path}:testIamPermissions", body).get("permissions", ()))

    def _call(
        self,
        verb: str,
        service: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Mapping[str, object] | None = None,
    ) -> Any:
        address = self._endpoints.address(service)
        plain = address.startswith("http://")
        # Google's library has no types here.
        credentials = AnonymousCredentials() if plain else self._credentials()  # type: ignore[no-untyped-call]
        session: Any = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        try:
            with session:
                answer = session.request(
                    verb, f"{address}/{path}", params=list(query), json=body, timeout=self._seconds
                )
        except GoogleAuthError as error:
            raise CannotAsk(f"the credentials were refused: {_first_line(error)}", _LOGIN) from None
        except OSError as error:  # the HTTP library's errors are
            raise CannotAsk(f"{address} can't be reached: {_first_line(error)}") from None
        if answer.status_code == 200:
            return _json(answer)
        told = _json(answer).get("error", {})
        message = told.get("message") if isinstance(told, dict) else None
        raise ApiRefused(message or answer.reason or "no reason given", status=answer.status_code)


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
        return self._once("caller", self._open_caller)

    def _accounts(self) -> Credentials:
        self._callers()
        return self._once("account", self._open_account)

    def _once(self, name: str, make: Callable[[], Credentials]) -> Credentials:
        with self._lock:
            if name not in self._known:
                try:
                    self._known[name] = make()
                except CannotAsk as error:
                    self._known[name] = error
            known = self._known[name]
        if isinstance(known, CannotAsk):
            raise CannotAsk(str(known), known.command)
        return known

    def _open_caller(self) -> Credentials:
        try:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
            credentials.refresh(Request())  # type: ignore[no-untyped-call]
        except GoogleAuthError as error:
            raise CannotAsk(
                f"there are none that can be used: {_first_line(error)}", _LOGIN
            ) from None
        return credentials

    def _open_account(self) -> Credentials:
        caller = self._known["caller"]
        assert isinstance(caller, Credentials), "asked for the account before the caller"
        account = str(self.service_account)
        override = self._endpoints.overrides.get("iamcredentials")
        credentials = ImpersonatedCredentials(  # type: ignore[no-untyped-call]
            source_credentials=caller,
            target_principal=account,
            target_scopes=[_SCOPE],
            lifetime=_LIFETIME_SECONDS,
            iam_endpoint_override=override
            and f"{override}/v1/projects/-/serviceAccounts/{quote(account)}:generateAccessToken",
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


def _json(answer: Any) -> Any:
    try:
        return answer.json()
    except ValueError:
        return {}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
