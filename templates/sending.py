"""A launch goes to Dataflow: the call, and what its end says of the job.

A request that was refused started nothing. One that got no answer, or none of Dataflow's, may have
started a job: launched once more, two of them could read one subscription.
"""

from __future__ import annotations

import errno
import socket

import google.auth
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import ClientError, GoogleAPICallError, MethodNotImplemented
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud.dataflow_v1beta3 import FlexTemplatesServiceClient
from google.cloud.dataflow_v1beta3.types import LaunchFlexTemplateRequest
from google.protobuf.json_format import ParseError

from pipelines.preflight.api import LOGIN, first_line
from templates.errors import LaunchError, LaunchUnknown

_SECONDS = 120.0
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
# Of 4xx, those that a gateway answers for a server that may be at it: timeout, client gone.
_UNSURE = (408, 499)
_NO_WAY = (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH)


def send(request: LaunchFlexTemplateRequest, *, endpoint: str | None = None) -> str:
    """Launches, with this environment's credentials; returns the job's id.

    ``endpoint``: another server than Google's; one that begins with http:// gets no credentials.

    Raises:
      LaunchError: there are no credentials that can be used, or the request was refused.
      LaunchUnknown: a job may have been started.
    """
    plain = endpoint is not None and endpoint.startswith("http://")
    client = FlexTemplatesServiceClient(
        transport="rest" if plain else None,
        # Google's library has no types here.
        credentials=AnonymousCredentials() if plain else _credentials(),  # type: ignore[no-untyped-call]
        client_options=ClientOptions(api_endpoint=endpoint) if endpoint else None,
    )
    try:
        answer = client.launch_flex_template(request=request, timeout=_SECONDS)
    except GoogleAuthError as error:
        raise LaunchError(f"not launched: Google credentials: {first_line(error)}") from error
    except GoogleAPICallError as error:
        told = error.message or str(error)
        if _refused(error):
            raise LaunchError(f"not launched: {told}") from error
        raise LaunchUnknown(unknown(request, told)) from error
    except OSError as error:  # the HTTP library's errors are
        if _never_sent(error):
            raise LaunchError(
                f"not launched: {endpoint} can't be reached: {first_line(error)}"
            ) from error
        raise LaunchUnknown(unknown(request, first_line(error))) from error
    except (ParseError, UnicodeDecodeError) as error:
        # For a body that is no JSON, or not of this shape.
        raise LaunchUnknown(unknown(request, "the answer is none of Dataflow's")) from error
    job_id: str = answer.job.id
    if not job_id:
        raise LaunchUnknown(unknown(request, "the answer names no job"))
    return job_id


def unknown(request: LaunchFlexTemplateRequest, why: str) -> str:
    """Returns in a sentence that a job may have been started, and how to see whether one was."""
    return (
        f"not known whether it was launched: {why}; look, before you launch again, with"
        f" `gcloud dataflow jobs list --project={request.project_id} --region={request.location}"
        f" --filter=name={request.launch_parameter.job_name}`"
    )


def _credentials() -> Credentials:
    """Returns credentials that were just accepted, so that none is refused while we send."""
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
        credentials.refresh(Request())  # type: ignore[no-untyped-call]
    except GoogleAuthError as error:
        raise LaunchError(
            f"not launched: no Google credentials that can be used: {first_line(error)}; run"
            f" `{LOGIN}`, or set GOOGLE_APPLICATION_CREDENTIALS to a file of them"
        ) from error
    return credentials


def _refused(error: GoogleAPICallError) -> bool:
    """Whether Dataflow, or what stands before it, has said no, so that there is no job."""
    if isinstance(error, MethodNotImplemented):
        return True
    return isinstance(error, ClientError) and error.code not in _UNSURE


def _never_sent(error: BaseException | None) -> bool:
    """Whether there was no connection at all, which the errors behind this one say."""
    while error is not None:
        if isinstance(error, socket.gaierror) or getattr(error, "errno", None) in _NO_WAY:
            return True
        error = error.__cause__ or error.__context__
    return False
