"""Google's REST interfaces, as one identity.

A service is at its own address, or where gcloud's variable of the name
``CLOUDSDK_API_ENDPOINT_OVERRIDES_SERVICE`` says (``gcloud topic endpoint-override``): a private
endpoint, or an emulator. What begins with http:// gets no credentials. Storage and BigQuery are
also found by the variables of their emulators.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession

from pipelines.errors import ApiRefused, CannotAsk

LOGIN = "gcloud auth application-default login"

_PREFIX = "CLOUDSDK_API_ENDPOINT_OVERRIDES_"
_ADDRESS = re.compile(r"https?://[^/\s]+(/\S*)?")
_EMULATORS = {"storage": "STORAGE_EMULATOR_HOST", "bigquery": "BIGQUERY_EMULATOR_HOST"}


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
        overrides = {
            name.removeprefix(_PREFIX).lower(): value.rstrip("/")
            for name, value in environment.items()
            if name.startswith(_PREFIX) and value
        }
        emulated = set()
        for service, variable in _EMULATORS.items():
            if value := environment.get(variable):
                address = value if "://" in value else f"http://{value}"
                overrides[service] = address.rstrip("/")
                emulated.add(service)
        return cls(overrides=overrides, emulated=frozenset(emulated))

    def address(self, service: str) -> str:
        """Returns a service's address, without a slash at its end.

        Raises:
          CannotAsk: a variable says another one, which is no address.
        """
        address = self.overrides.get(service, f"https://{service}.googleapis.com")
        if not _ADDRESS.fullmatch(address):
            named = (
                _EMULATORS[service] if service in self.emulated else f"{_PREFIX}{service.upper()}"
            )
            raise CannotAsk(
                f"{named} is {address!r}: must be like https://{service}.example.com, with https://"
                " or http:// before the host"
            )
        return address


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
        """Returns the answer's JSON object. Raises CannotAsk, ApiRefused."""
        return self._call("GET", service, path, query=query)

    def post(self, service: str, path: str, body: Mapping[str, object]) -> Any:
        """Returns the answer's JSON object. Raises CannotAsk, ApiRefused."""
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
            raise CannotAsk(f"the credentials were refused: {first_line(error)}", LOGIN) from None
        except OSError as error:  # the HTTP library's errors are
            raise CannotAsk(f"{address} can't be reached: {first_line(error)}") from None
        record = _record(answer)
        if answer.status_code == 200:
            if record is None:
                raise CannotAsk(f"{address} answered what is no JSON object: is a proxy between?")
            return record
        told = (record or {}).get("error")
        message = told.get("message") if isinstance(told, dict) else None
        raise ApiRefused(message or answer.reason or "no reason given", status=answer.status_code)


def _record(answer: Any) -> dict[str, Any] | None:
    """Returns the answer's JSON object; None for anything else, which none of Google's is."""
    try:
        record = answer.json()
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def first_line(error: BaseException) -> str:
    """Returns as much of an error's words as a finding has room for."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
