"""The tables. Changing one needs a migration; a test compares the two.

Values are kept whole as canonical JSON in `body`; beside it lie only the columns that queries
filter and order by. Times are ms since the epoch. Every list is read newest first by
`(time, id)`, so every index ends with that pair: a page costs the same wherever it begins.
"""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# On SQLite only INTEGER, which has 64 bits there, makes a primary key the row's own number.
Whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _table(name: str, *items: sa.Column[int] | sa.Column[str] | sa.schema.SchemaItem) -> sa.Table:
    return sa.Table(name, METADATA, *items)


def _id(name: str = "id") -> sa.Column[str]:
    return sa.Column(name, sa.String, primary_key=True)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _seq(name: str = "seq") -> sa.Column[int]:
    return sa.Column(name, Whole, primary_key=True, autoincrement=False)


def _body() -> sa.Column[str]:
    return sa.Column("body", sa.Text, nullable=False)


POSITION = _table(
    "position",
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("log_offset", sa.BigInteger, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

EVENTS = _table(
    "events",
    _seq(),
    _time("at"),
    _text("type"),
    _body(),
    sa.Index(None, "type", "seq"),
)

INCIDENTS = _table(
    "incidents",
    _id(),
    _text("state"),
    _time("opened_at"),
    _time("resolved_at", nullable=True),
    _body(),
    sa.Index(None, "opened_at", "id"),
    sa.Index(None, "state", "opened_at", "id"),
)

INCIDENT_ENTITIES = _table(
    "incident_entities",
    sa.Column(
        "incident_id",
        sa.String,
        sa.ForeignKey("incidents.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    _id("entity"),
    sa.Index(None, "entity", "incident_id"),
)

ALERTS = _table(
    "alerts",
    _id(),
    _text("state"),
    _time("starts_at"),
    _text("incident_id", nullable=True),
    _body(),
    sa.Index(None, "starts_at", "id"),
    sa.Index(None, "state", "starts_at", "id"),
    sa.Index(None, "incident_id", "starts_at", "id"),
)

ANOMALIES = _table(
    "anomalies",
    _id(),
    _text("entity"),
    _time("started_at"),
    _time("ended_at", nullable=True),
    _body(),
    sa.Index(None, "started_at", "id"),
    sa.Index(None, "entity", "started_at", "id"),
    sa.Index(None, "ended_at", "started_at", "id"),
)

CHANGES = _table(
    "changes",
    _id(),
    _time("at"),
    _text("entity", nullable=True),
    _body(),
    sa.Index(None, "at", "id"),
    sa.Index(None, "entity", "at", "id"),
)

FEEDBACK = _table(
    "feedback",
    _id(),
    _text("kind"),
    _time("given_at"),
    _time("start_at"),
    _time("end_at"),
    _time("undone_at", nullable=True),
    _body(),
    sa.Index(None, "given_at", "id"),
)
"""What people said, as it stands; who said and undid it when is also in the events."""

GRAPH_STEPS = _table(
    "graph_steps",
    _seq(),
    _time("at"),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Index(None, "at", "seq"),
)
"""One row for each change of the graph: turns a time into the sequence number below."""

ENTITIES = _table(
    "entities",
    _id(),
    _seq("valid_from"),
    sa.Column("valid_to", sa.BigInteger),
    _body(),
    sa.Index(None, "valid_to"),
)
"""Versions of entities: each holds from event `valid_from` until event `valid_to`, excluded."""

EDGES = _table(
    "edges",
    _id("caller"),
    _id("callee"),
    _id("kind"),
    _seq("valid_from"),
    sa.Column("valid_to", sa.BigInteger),
    _body(),
    sa.Index(None, "valid_to"),
)
"""Versions of edges, as of entities."""

_PENDING = sa.text("sent_at IS NULL AND given_up_at IS NULL")

TOLD = _table(
    "told",
    _id("receiver"),
    _id("name"),
    _id("replica"),
    _text("alert"),
    _text("matter"),
    _text("state"),
    _time("at"),
    sa.Column("is_told", sa.Boolean, nullable=False),
    _text("claim"),
    _time("claimed_until"),
    sa.Index(None, "at"),
)
"""What each of several replicas last told a receiver of; only in the database that they share."""

SAID = sa.Table(
    "said",
    METADATA,
    sa.Column("seq", Whole, primary_key=True, autoincrement=True),
    _text("replica"),
    _time("at"),
    _body(),
    sa.Index(None, "at"),
    sqlite_autoincrement=True,  # a number is never used again, or readers would miss it
)
"""What people said to one replica and the others have to know; only in that database."""

OUTBOX = _table(
    "outbox",
    _id(),
    sa.Column("seq", sa.BigInteger, nullable=False),
    _text("alert_id"),
    _text("receiver"),
    _time("created_at"),
    _body(),
    sa.Column("attempts", sa.Integer, nullable=False),
    _time("not_before"),
    _time("sent_at", nullable=True),
    _time("given_up_at", nullable=True),
    sa.Column("last_error", sa.Text),
    sa.UniqueConstraint("seq"),
    sa.Index("ix_outbox_pending", "seq", sqlite_where=_PENDING, postgresql_where=_PENDING),
    sa.Index(None, "alert_id", "seq"),
)
"""Notifications. A row stays after it was sent: its id keeps it from being queued again."""
