"""Hashes of passwords in the formats of other brokers, where those were chosen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """From the version before."""
    op.create_table(
        "password_formats",
        sa.Column("name", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_password_formats")),
    )
    op.create_table(
        "other_hashes",
        sa.Column("credential", sa.String(255), nullable=False),
        sa.Column("format", sa.String(32), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["credential"],
            ["credentials.id"],
            name=op.f("fk_other_hashes_credential"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["format"],
            ["password_formats.name"],
            name=op.f("fk_other_hashes_format"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("credential", "format", name=op.f("pk_other_hashes")),
    )
    op.create_index(op.f("ix_other_hashes_format"), "other_hashes", ["format"])
