"""The tables of a registry in a database. ``migrations`` makes them; a test compares the two.

A secret is never here: passwords are argon2id hashes, and others where those were chosen, SCRAM has
what verifies and can't log in, keys are public. Times are whole seconds since 1970, UTC.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_NAME = String(128)

members = Table(
    "members",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("role", _NAME, nullable=False, index=True),
    # A device's client identifier, or the prefix of a service's.
    Column("client_id", _NAME, nullable=False, index=True),
    Column("blocked", Boolean, nullable=False),
    Column("metadata", JSON, nullable=False),
    CheckConstraint("kind IN ('device', 'service')", name="kind"),
)
"""Devices and services: a name is one of either."""

gateways = Table(
    "gateways",
    metadata,
    Column("device", ForeignKey("members.name", ondelete="CASCADE"), primary_key=True),
    Column("gateway", ForeignKey("members.name", ondelete="CASCADE"), primary_key=True, index=True),
)
"""Which device may speak for which."""

credentials = Table(
    "credentials",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("member", ForeignKey("members.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("not_before", BigInteger),
    Column("not_after", BigInteger),
    # password: its argon2id hash, and what makes one hash as slow as another.
    Column("password_hash", Text),
    Column("hash_settings", String(128), index=True),
    # scram
    Column("salt", LargeBinary),
    Column("iterations", Integer),
    Column("stored_key", LargeBinary),
    Column("server_key", LargeBinary),
    # public_key
    Column("algorithm", String(16)),
    Column("pem", Text),
    # certificate: SHA-256 of its DER form
    Column("fingerprint", LargeBinary, unique=True),
    CheckConstraint("kind IN ('password', 'scram', 'public_key', 'certificate')", name="kind"),
)
"""Any number for each member; the columns beside the first five are those of one kind each."""

password_formats = Table("password_formats", metadata, Column("name", String(32), primary_key=True))
"""Those of other brokers that were chosen."""

_ONE_FORMAT = ForeignKey("password_formats.name", ondelete="CASCADE")

other_hashes = Table(
    "other_hashes",
    metadata,
    Column("credential", ForeignKey("credentials.id", ondelete="CASCADE"), primary_key=True),
    Column("format", _ONE_FORMAT, primary_key=True, index=True),
    Column("hash", Text, nullable=False),
)
"""Of passwords, beside their argon2id hash. Brokers of ours never read them; they go with their
format."""

roles = Table("roles", metadata, Column("name", _NAME, primary_key=True))
"""Roles beside the standard ones, or in place of one."""

role_filters = Table(
    "role_filters",
    metadata,
    Column("role", ForeignKey("roles.name", ondelete="CASCADE"), primary_key=True),
    Column("action", String(16), primary_key=True),
    Column("effect", String(16), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("filter", Text, nullable=False),
    CheckConstraint("action IN ('publish', 'subscribe', 'will')", name="action"),
    CheckConstraint("effect IN ('allow', 'deny')", name="effect"),
)
"""What a role allows and denies, in its order; ``%device`` stands for the device's name."""

authorities = Table(
    "authorities",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("not_before", BigInteger),
    Column("not_after", BigInteger),
    Column("pem", Text, nullable=False),
    Column("name_from", String(16), nullable=False),
    Column("pattern", Text, nullable=False),
    Column("revocation_list", Text),
)
"""CAs whose certificates speak for the member that they name."""

version = Table(
    "registry_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)
"""One row. Every change adds one to it before anything else, and so waits for the one before."""

changes = Table(
    "changes",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("version", BigInteger, nullable=False, index=True),
    Column("subject", String(16), nullable=False, server_default="member"),
    # NULL: it may be anyone. Earlier programs wrote so where a role or an authority changed.
    Column("name", _NAME),
)
"""Whom or what each version changed: what other processes look at."""

client_events = Table(
    "client_events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    # Milliseconds since 1970, UTC.
    Column("at", BigInteger, nullable=False, index=True),
    Column("name", _NAME, nullable=False, index=True),
    Column("event", String(16), nullable=False),
    Column("client_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("protocol", String(16), nullable=False),
)
"""Connects and disconnects; of who was removed, too."""

presence = Table(
    "presence",
    metadata,
    Column("name", _NAME, primary_key=True),
    # Milliseconds since 1970, UTC.
    Column("connected_at", BigInteger),
    Column("disconnected_at", BigInteger),
    Column("seen_at", BigInteger),
)
"""When a device or service did something last."""
