"""A change tells what it is about: a member, a role or an authority."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """From the version before."""
    op.add_column(
        "changes", sa.Column("subject", sa.String(16), nullable=False, server_default="member")
    )
