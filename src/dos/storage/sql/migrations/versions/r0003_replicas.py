"""Replicas: what each told whom, and what people said to one of them.

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "told",
        sa.Column("receiver", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("replica", sa.String(), nullable=False),
        sa.Column("alert", sa.String(), nullable=False),
        sa.Column("matter", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("is_told", sa.Boolean(), nullable=False),
        sa.Column("claim", sa.String(), nullable=False),
        sa.Column("claimed_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("receiver", "name", "replica", name=op.f("pk_told")),
    )
    op.create_index(op.f("ix_told_at"), "told", ["at"])
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "said",
        sa.Column("seq", whole, autoincrement=True, nullable=False),
        sa.Column("replica", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_said")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_said_at"), "said", ["at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("said")
    op.drop_table("told")
