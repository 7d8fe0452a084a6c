"""Connects, disconnects, and when a device or service was seen last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NAME = sa.String(128)


def upgrade() -> None:
    """From the version before."""
    op.create_table(
        "client_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("protocol", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client_events")),
    )
    op.create_index(op.f("ix_client_events_at"), "client_events", ["at"])
    op.create_index(op.f("ix_client_events_name"), "client_events", ["name"])
    op.create_table(
        "presence",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("connected_at", sa.BigInteger()),
        sa.Column("disconnected_at", sa.BigInteger()),
        sa.Column("seen_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_presence")),
    )
