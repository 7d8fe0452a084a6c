from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from broker.config import Listener, ListenerType
from broker.errors import ConfigError
from broker.server.tls import tls_context
from tests.harness.certificates import self_signed


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def encrypted(pem: bytes) -> bytes:
    key = load_pem_private_key(pem, None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


WRONG: dict[str, Callable[[Path, Path, Path], tuple[Path, Path]]] = {
    "none.pem cannot be read: No such file or directory": lambda folder, certificate, key: (
        certificate,
        folder / "none.pem",
    ),
    "junk.pem holds no certificate in PEM": lambda folder, certificate, key: (
        write(folder / "junk.pem", b"junk"),
        key,
    ),
    "junk.pem holds no private key in PEM": lambda folder, certificate, key: (
        certificate,
        write(folder / "junk.pem", b"junk"),
    ),
    "locked.pem is encrypted with a passphrase": lambda folder, certificate, key: (
        certificate,
        write(folder / "locked.pem", encrypted(key.read_bytes())),
    ),
    "is not the key of the first certificate in": lambda folder, certificate, key: (
        certificate,
        Path(self_signed(folder, "other").key),
    ),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_with_a_certificate_or_its_key_is_told_by_name(
    tmp_path: Path, words: str
) -> None:
    signed = self_signed(tmp_path, "localhost")
    certificate, key = WRONG[words](tmp_path, Path(signed.certificate), Path(signed.key))
    listener = Listener(type=ListenerType.TLS, certificate_file=certificate, key_file=key)
    with pytest.raises(ConfigError, match="certificate and key cannot be used") as caught:
        tls_context(listener)
    assert words in str(caught.value)
