"""Devices, services, their credentials, roles, authorities, and the log of changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NAME = sa.String(128)


def upgrade() -> None:
    """From an empty database."""
    op.create_table(
        "members",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("role", _NAME, nullable=False),
        sa.Column("client_id", _NAME, nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.CheckConstraint("kind IN ('device', 'service')", name=op.f("ck_members_kind")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_members")),
    )
    op.create_index(op.f("ix_members_client_id"), "members", ["client_id"])
    op.create_index(op.f("ix_members_role"), "members", ["role"])
    op.create_table(
        "gateways",
        sa.Column("device", _NAME, nullable=False),
        sa.Column("gateway", _NAME, nullable=False),
        _member("gateways", "device"),
        _member("gateways", "gateway"),
        sa.PrimaryKeyConstraint("device", "gateway", name=op.f("pk_gateways")),
    )
    op.create_index(op.f("ix_gateways_gateway"), "gateways", ["gateway"])
    op.create_table(
        "credentials",
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("member", _NAME, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("not_before", sa.BigInteger()),
        sa.Column("not_after", sa.BigInteger()),
        sa.Column("password_hash", sa.Text()),
        sa.Column("hash_settings", sa.String(128)),
        sa.Column("salt", sa.LargeBinary()),
        sa.Column("iterations", sa.Integer()),
        sa.Column("stored_key", sa.LargeBinary()),
        sa.Column("server_key", sa.LargeBinary()),
        sa.Column("algorithm", sa.String(16)),
        sa.Column("pem", sa.Text()),
        sa.Column("fingerprint", sa.LargeBinary()),
        sa.CheckConstraint(
            "kind IN ('password', 'scram', 'public_key', 'certificate')",
            name=op.f("ck_credentials_kind"),
        ),
        _member("credentials", "member"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_credentials_fingerprint")),
    )
    op.create_index(op.f("ix_credentials_hash_settings"), "credentials", ["hash_settings"])
    op.create_index(op.f("ix_credentials_member"), "credentials", ["member"])
    op.create_table(
        "roles",
        sa.Column("name", _NAME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_roles")),
    )
    op.create_table(
        "role_filters",
        sa.Column("role", _NAME, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("effect", sa.String(16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "action IN ('publish', 'subscribe', 'will')", name=op.f("ck_role_filters_action")
        ),
        sa.CheckConstraint("effect IN ('allow', 'deny')", name=op.f("ck_role_filters_effect")),
        sa.ForeignKeyConstraint(
            ["role"], ["roles.name"], name=op.f("fk_role_filters_role"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "role", "action", "effect", "position", name=op.f("pk_role_filters")
        ),
    )
    op.create_table(
        "authorities",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("not_before", sa.BigInteger()),
        sa.Column("not_after", sa.BigInteger()),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.Column("name_from", sa.String(16), nullable=False),
        sa.Column("pattern", sa.Text(), nullable=False),
        sa.Column("revocation_list", sa.Text()),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_authorities")),
    )
    version = op.create_table(
        "registry_version",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_registry_version_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_version")),
    )
    op.bulk_insert(version, [{"id": 1, "version": 1}])
    op.create_table(
        "changes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("name", _NAME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
    )
    op.create_index(op.f("ix_changes_version"), "changes", ["version"])


def _member(table: str, column: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], ["members.name"], name=name, ondelete="CASCADE")
