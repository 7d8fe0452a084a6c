"""Google's REST interfaces, as one identity.

A service is at its own address, or where gcloud's variable of the name
``CLOUDSDK_API_ENDPOINT_OVERRIDES_SERVICE`` says (``gcloud topic endpoint-override``): a private
endpoint, or an emulator. What begins with http:// gets no credentials. Storage and BigQuery are
also found by the variables of their emulators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession

from pipelines.errors import ApiRefused, CannotAsk

LOGIN = "gcloud auth application-default login"

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
            raise CannotAsk(f"the credentials were refused: {first_line(error)}", LOGIN) from None
        except OSError as error:  # the HTTP library's errors are
            raise CannotAsk(f"{address} can't be reached: {first_line(error)}") from None
        if answer.status_code == 200:
            return _json(answer)
        told = _json(answer).get("error", {})
        message = told.get("message") if isinstance(told, dict) else None
        raise ApiRefused(message or answer.reason or "no reason given", status=answer.status_code)


def _json(answer: Any) -> Any:
    try:
        return answer.json()
    except ValueError:
        return {}


def first_line(error: BaseException) -> str:
    """Returns as much of an error's words as a finding has room for."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
