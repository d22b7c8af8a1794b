"""The first schema: events, what is projected from them, and the outbox.

Revision 0001, after nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create all tables."""
    _log()
    _incidents()
    _alerts()
    _observations()
    _graph()


def downgrade() -> None:
    """Drop them, those that point to others first."""
    for table in (
        "edges",
        "entities",
        "graph_steps",
        "changes",
        "anomalies",
        "outbox",
        "alerts",
        "incident_entities",
        "incidents",
        "events",
        "position",
    ):
        op.drop_table(table)


def _log() -> None:
    op.create_table(
        "position",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_position_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_position")),
    )
    op.create_table(
        "events",
        sa.Column("seq", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_type_seq"), "events", ["type", "seq"])


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("resolved_at", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
    )
    op.create_index(op.f("ix_incidents_opened_at_id"), "incidents", ["opened_at", "id"])
    op.create_index(
        op.f("ix_incidents_state_opened_at_id"), "incidents", ["state", "opened_at", "id"]
    )
    op.create_table(
        "incident_entities",
        sa.Column("incident_id", sa.String(), nullable=False),
        sa.Column("entity", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"],
            ["incidents.id"],
            name=op.f("fk_incident_entities_incident_id_incidents"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("incident_id", "entity", name=op.f("pk_incident_entities")),
    )
    op.create_index(
        op.f("ix_incident_entities_entity_incident_id"),
        "incident_entities",
        ["entity", "incident_id"],
    )


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("incident_id", sa.String(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index(
        op.f("ix_alerts_incident_id_starts_at_id"), "alerts", ["incident_id", "starts_at", "id"]
    )
    op.create_index(op.f("ix_alerts_starts_at_id"), "alerts", ["starts_at", "id"])
    op.create_index(op.f("ix_alerts_state_starts_at_id"), "alerts", ["state", "starts_at", "id"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("alert_id", sa.String(), nullable=False),
        sa.Column("receiver", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("given_up_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("seq", name=op.f("uq_outbox_seq")),
    )
    op.create_index(op.f("ix_outbox_alert_id_seq"), "outbox", ["alert_id", "seq"])
    op.create_index(
        "ix_outbox_pending",
        "outbox",
        ["seq"],
        sqlite_where=sa.text("sent_at IS NULL AND given_up_at IS NULL"),
        postgresql_where=sa.text("sent_at IS NULL AND given_up_at IS NULL"),
    )


def _observations() -> None:
    op.create_table(
        "anomalies",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("entity", sa.String(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_anomalies")),
    )
    op.create_index(
        op.f("ix_anomalies_ended_at_started_at_id"), "anomalies", ["ended_at", "started_at", "id"]
    )
    op.create_index(
        op.f("ix_anomalies_entity_started_at_id"), "anomalies", ["entity", "started_at", "id"]
    )
    op.create_index(op.f("ix_anomalies_started_at_id"), "anomalies", ["started_at", "id"])
    op.create_table(
        "changes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("entity", sa.String(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
    )
    op.create_index(op.f("ix_changes_at_id"), "changes", ["at", "id"])
    op.create_index(op.f("ix_changes_entity_at_id"), "changes", ["entity", "at", "id"])


def _graph() -> None:
    op.create_table(
        "graph_steps",
        sa.Column("seq", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_graph_steps")),
    )
    op.create_index(op.f("ix_graph_steps_at_seq"), "graph_steps", ["at", "seq"])
    op.create_table(
        "entities",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("valid_from", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", "valid_from", name=op.f("pk_entities")),
    )
    op.create_index(op.f("ix_entities_valid_to"), "entities", ["valid_to"])
    op.create_table(
        "edges",
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("callee", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("valid_from", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "callee", "kind", "valid_from", name=op.f("pk_edges")),
    )
    op.create_index(op.f("ix_edges_valid_to"), "edges", ["valid_to"])
