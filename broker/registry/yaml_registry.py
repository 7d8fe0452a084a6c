"""The device registry as a YAML file, which is read again when it changes.

::

    version: 1
    password_formats: [mosquitto]       # other brokers' hashes that passwords may have, too
    roles:                              # STANDARD_ROLES are there without being written
      meter:
        publish: {allow: ["devices/%device/telemetry/#"], deny: ["devices/%device/telemetry/raw"]}
        subscribe: {allow: ["devices/%device/commands/#"]}
        will: {allow: ["devices/%device/state"]}    # without it no will is allowed
    devices:
      meter-7:                          # user name and client id are both the device's id
        role: meter                     # default: device
        password_hash: $argon2id$v=19$…
        blocked: false                  # true: no credential of its is taken
        metadata: {site: north}         # anything that JSON can hold
        gateways: [gateway-1]           # devices that may speak for this one
        credentials: [...]              # more of them: see yaml_credentials
    services:
      warehouse:                        # the user name
        role: telemetry-pipeline
        client_id_prefix: warehouse-    # all client ids under it, and no others
        password_env: WAREHOUSE_PASSWORD
    authorities:                        # CAs whose certificates speak for the device they name
      site-ca:
        pem_file: ca.pem                # or pem
        name_from: common_name          # or dns, uri, email: where in the certificate
        pattern: "{name}"               # what stands around the name there
        revocation_list_file: ca.crl    # or revocation_list

A password is given as one of ``password_hash`` (argon2id), ``password_file`` (a path, from the
registry's folder; its text without the final newline is the password) or ``password_env`` (an
environment variable). A clear password in the file itself is refused.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from broker.auth.identity import Authority, DirectoryChanges, Identity, Standing
from broker.auth.password_hash import PasswordHash
from broker.auth.principal import Rights
from broker.errors import RegistryError
from broker.registry.changes import Changelog
from broker.registry.content_directory import ContentDirectory
from broker.registry.entries import Content
from broker.registry.unrevoked import unrevoked
from broker.registry.yaml_reading import read_content
from broker.registry.yaml_secrets import Secrets, stamp
from broker.registry.yaml_splitting import ReadEntries

LOG = logging.getLogger("broker")


class YamlRegistry:
    """The ``Directory`` that a registry file is.

    ``changes`` looks whether the file, or one that it refers to, is another than before, and reads
    the entries that are. If it can no longer be read, what was read before holds.

    Raises:
      RegistryError: naming the file, the entry and what would be right.
    """

    def __init__(self, path: Path, *, environment: Mapping[str, str] = os.environ) -> None:
        self.path = path
        self._secrets = Secrets(path.parent, environment)
        self._log = Changelog()
        self._entries = ReadEntries()
        self._read_as = stamp(path)
        self._wrong: str | None = None
        self.content = read_content(path, self._secrets, self._entries)
        self._directory = ContentDirectory(self.content)

    def find(self, name: str) -> Identity | None:
        """Who bears the name."""
        return self._directory.find(name)

    def standings(self, names: Sequence[str]) -> Mapping[str, Standing]:
        """What logins of those of the names rest on that somebody bears."""
        return self._directory.standings(names)

    def unknown(self, names: Sequence[str]) -> frozenset[str]:
        """Those of the names that nobody bears; none of an empty registry."""
        return self._directory.unknown(names)

    def find_certificate(self, fingerprint: bytes) -> Identity | None:
        """Whose certificate that is."""
        return self._directory.find_certificate(fingerprint)

    def count(self) -> int:
        """How many devices and services there are."""
        return self._directory.count()

    def rights(self) -> Mapping[str, Rights]:
        """Those of all roles, by name."""
        return self._directory.rights()

    def authorities(self) -> Sequence[Authority]:
        """All CAs."""
        return self._directory.authorities()

    def password_hashes(self) -> Sequence[PasswordHash]:
        """A hash for each set of argon2id parameters in use, for decoys."""
        return self._directory.password_hashes()

    def most_passwords(self, now: float) -> int:
        """How many passwords that have not ended one has at most, for decoys."""
        return self._directory.most_passwords(now)

    def changes(self, since: int) -> DirectoryChanges:
        """Reads the file again if it is another one, and tells what changed after ``since``.

        Raises:
          RegistryError: the file has changed, and can't be read; each time until it can be.
        """
        files = {self.path: self._read_as, **self._secrets.files}
        if any(stamp(file) != as_read for file, as_read in files.items()):
            # As it is now: what is written while it is read is seen the next time.
            self._read_as = stamp(self.path)
            self._secrets.files = {file: stamp(file) for file in self._secrets.files}
            try:
                content = read_content(self.path, self._secrets, self._entries)
            except RegistryError as error:
                self._wrong = str(error)
                raise
            self._wrong = None
            self._log.add(self.content, content)
            warning = unrevoked(self.content, content)
            if warning is not None:
                LOG.warning("%s: %s", self.path, warning)
            self.content, self._directory = content, ContentDirectory(content)
        if self._wrong is not None:
            raise RegistryError(self._wrong)
        return self._log.since(since)

    def content_with(self, formats: Iterable[str]) -> Content:
        """The file as it is now, with its clear passwords hashed in these formats, too.

        Raises:
          RegistryError: it has changed, and can't be read.
        """
        return read_content(self.path, self._secrets, more_formats=formats)

    def close(self) -> None:
        """Nothing is held open."""


def load_registry(path: Path, *, environment: Mapping[str, str] = os.environ) -> YamlRegistry:
    """Reads and checks a whole registry file. Raises RegistryError."""
    return YamlRegistry(path, environment=environment)
