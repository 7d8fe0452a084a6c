"""SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides, as messages in and messages out.

::

    ScramClient.first()          n,,n=NAME,r=NONCE          ─> client_first
    ScramClient.answer     <─    r=NONCE…,s=SALT,i=COUNT       ScramServer.challenge
                                 c=biws,r=NONCE…,p=PROOF    ─> ScramServer.finish
    ScramClient.verify     <─    v=SIGNATURE

The password never travels, what the server keeps does not reveal it, and the signature at the end
shows the client that the server knows it too. There is no channel binding: a client says ``n`` or
``y``, and one that asks for it (``p=…``) is refused. Nonces are passed in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field

from mqtt.errors import ScramError
from mqtt.saslprep import saslprep

METHOD = "SCRAM-SHA-256"
"""The name of the mechanism, and of MQTT's Authentication Method."""
ITERATIONS = 16_384
"""What this project makes new secrets with. RFC 7677 asks for 4,096 at least (section 4)."""
LEAST_ITERATIONS = 4_096
MOST_ITERATIONS = 1_000_000
"""A server that asks for more wants to keep its clients busy: it is half a second of a core."""

_LARGEST_MESSAGE_BYTES = 4_096
_PRINTABLE = r"[!-+\--~]+"  # RFC 5802, section 7: all of ASCII that is seen, but the comma
_MORE = r"(?:,[A-Za-z]=[^\0,]+)*"
_CLIENT_FIRST = re.compile(
    rf"(?P<header>[ny],,)(?P<bare>n=(?P<name>[^\0,]+),r=(?P<nonce>{_PRINTABLE}){_MORE})"
)
_SERVER_FIRST = re.compile(
    rf"r=(?P<nonce>{_PRINTABLE}),s=(?P<salt>[A-Za-z0-9+/=]+),i=(?P<count>[1-9][0-9]{{0,9}}){_MORE}"
)
_CLIENT_FINAL = re.compile(
    rf"(?P<unproved>c=(?P<header>[A-Za-z0-9+/=]+),r=(?P<nonce>{_PRINTABLE}){_MORE})"
    r",p=(?P<proof>[A-Za-z0-9+/=]+)"
)
_SERVER_FINAL = re.compile(rf"v=(?P<signature>[A-Za-z0-9+/=]+){_MORE}")
_ESCAPED_NAME = re.compile(r"(?:[^=]|=2C|=3D)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScramKeys:
    """What a server keeps of a password (RFC 5802, section 3). It is not the password."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def of(cls, password: str, *, salt: bytes, iterations: int = ITERATIONS) -> ScramKeys:
        """Derives the keys, in time that grows with ``iterations``.

        Raises:
          ValueError: SCRAM can't have the password (see ``saslprep``), or has no salt.
        """
        if not salt or not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise ValueError(
                f"SCRAM needs a salt and {LEAST_ITERATIONS} to {MOST_ITERATIONS} iterations"
            )
        salted = _salted(saslprep(password), salt, iterations)
        return cls(
            salt=salt,
            iterations=iterations,
            stored_key=hashlib.sha256(_hmac(salted, b"Client Key")).digest(),
            server_key=_hmac(salted, b"Server Key"),
        )


def decoy_keys(name: str, *, secret: bytes, iterations: int = ITERATIONS) -> ScramKeys:
    """Keys that belong to no password, for a name that is not known: always the same for it.

    With them an exchange takes the same steps as with a wrong password. ``secret`` must be the
    server's own, and the same as long as its clients shall not see names from no names.
    """
    seed = _hmac(secret, name.encode())
    return ScramKeys(
        salt=_hmac(seed, b"salt")[:16],
        iterations=iterations,
        stored_key=_hmac(seed, b"stored key"),
        server_key=_hmac(seed, b"server key"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFirst:
    """A client's first message. ``bare``: without the header, as the proof covers it."""

    name: str
    nonce: str
    header: str
    bare: str


def client_first(message: bytes) -> ClientFirst:
    """Reads the message that begins an exchange. Raises ScramError."""
    found = _matched(_CLIENT_FIRST, message, "client-first-message without channel binding")
    escaped = found["name"]
    if not _ESCAPED_NAME.fullmatch(escaped):
        raise ScramError("a user name with '=' that is neither '=2C' nor '=3D'")
    name = escaped.replace("=2C", ",").replace("=3D", "=")
    return ClientFirst(name=name, nonce=found["nonce"], header=found["header"], bare=found["bare"])


class ScramServer:
    """The server's side of one exchange, from the moment that the client's name is known.

    ``nonce``: text of this server's own, new for each exchange, without commas.
    """

    def __init__(self, first: ClientFirst, keys: ScramKeys, *, nonce: str) -> None:
        self._first = first
        self._keys = keys
        self._nonce = first.nonce + nonce
        salt = base64.b64encode(keys.salt).decode()
        self._challenge = f"r={self._nonce},s={salt},i={keys.iterations}"

    def challenge(self) -> bytes:
        """The server's first message."""
        return self._challenge.encode()

    def finish(self, message: bytes) -> bytes | None:
        """Checks the client's proof: returns the last message, or None where nothing is proved.

        Raises:
          ScramError: the message belongs to no exchange, or to another one.
        """
        found = _matched(_CLIENT_FINAL, message, "client-final-message")
        if _decoded(found["header"]) != self._first.header.encode():
            raise ScramError("the client's header is not the one that it began with")
        if not hmac.compare_digest(found["nonce"], self._nonce):
            raise ScramError("the nonce is not this exchange's")
        signed = f"{self._first.bare},{self._challenge},{found['unproved']}".encode()
        proof = _decoded(found["proof"])
        signature = _hmac(self._keys.stored_key, signed)
        if len(proof) != len(signature):
            raise ScramError("the proof has not the length of a SHA-256 digest")
        client_key = _xor(proof, signature)
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), self._keys.stored_key):
            return None
        return b"v=" + base64.b64encode(_hmac(self._keys.server_key, signed))


class ScramClient:
    """The client's side of one exchange: ``first``, ``answer``, ``verify``, each once.

    Args:
      name: the user name.
      password: as text; SASLprep is applied to both (RFC 5802, section 2.2).
      nonce: text of this client's own, new for each exchange, without commas.

    Raises:
      ValueError: name or password can't be used with SCRAM.
    """

    def __init__(self, name: str, password: str, *, nonce: str) -> None:
        escaped = saslprep(name).replace("=", "=3D").replace(",", "=2C")
        if not escaped:
            raise ValueError("SCRAM needs a user name")
        self._password = saslprep(password)
        self._nonce = nonce
        self._bare = f"n={escaped},r={nonce}"
        self._expected: bytes | None = None

    def first(self) -> bytes:
        """The message that begins the exchange."""
        return f"n,,{self._bare}".encode()

    def answer(self, message: bytes) -> bytes:
        """The proof for the server's challenge; its cost is the server's choice, within bounds.

        Raises:
          ScramError: the challenge is none, or not one for this exchange.
        """
        found = _matched(_SERVER_FIRST, message, "server-first-message")
        nonce, count = found["nonce"], int(found["count"])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ScramError("the server's nonce does not go on from the client's")
        if not LEAST_ITERATIONS <= count <= MOST_ITERATIONS:
            raise ScramError(
                f"the server asks for {count} iterations; {LEAST_ITERATIONS} to {MOST_ITERATIONS}"
                " are accepted"
            )
        salted = _salted(self._password, _decoded(found["salt"]), count)
        client_key = _hmac(salted, b"Client Key")
        header = base64.b64encode(b"n,,").decode()
        unproved = f"c={header},r={nonce}"
        signed = f"{self._bare},{message.decode()},{unproved}".encode()
        proof = _xor(client_key, _hmac(hashlib.sha256(client_key).digest(), signed))
        self._expected = _hmac(_hmac(salted, b"Server Key"), signed)
        return f"{unproved},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, message: bytes) -> None:
        """Checks the server's signature.

        Raises:
          ScramError: the server does not know the password, or has not been asked yet.
        """
        found = _matched(_SERVER_FINAL, message, "server-final-message")
        signature = _decoded(found["signature"])
        if self._expected is None or not hmac.compare_digest(signature, self._expected):
            raise ScramError("the server does not know the password: its signature is wrong")


def _salted(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _matched(pattern: re.Pattern[str], message: bytes, what: str) -> re.Match[str]:
    """A message's parts. What is wrong with it is not repeated: it may hold a proof."""
    if len(message) <= _LARGEST_MESSAGE_BYTES:
        try:
            found = pattern.fullmatch(message.decode())
        except UnicodeDecodeError:
            found = None
        if found is not None:
            return found
    raise ScramError(f"this is no {what} of {METHOD} (RFC 5802, section 7)")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ScramError("a value is not base64") from error
