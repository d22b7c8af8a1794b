"""Writing a step's events and projections, as plain statements within one transaction.

Upserts use `ON CONFLICT`, which SQLite and PostgreSQL spell alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from dos.model.alert import Alert, Notification
from dos.model.anomaly import Anomaly
from dos.model.change import Change
from dos.model.entity import Entity
from dos.model.events import Recorded
from dos.model.feedback import Feedback
from dos.model.graph import Edge
from dos.model.incident import Incident
from dos.storage.base import Position
from dos.storage.projection import Projection, TopologyStep, edge_key
from dos.storage.sql import schema

Row = Mapping[str, str | int | None]

INCIDENT: TypeAdapter[Incident] = TypeAdapter(Incident)
ALERT: TypeAdapter[Alert] = TypeAdapter(Alert)
ANOMALY: TypeAdapter[Anomaly] = TypeAdapter(Anomaly)
CHANGE: TypeAdapter[Change] = TypeAdapter(Change)
FEEDBACK: TypeAdapter[Feedback] = TypeAdapter(Feedback)
ENTITY: TypeAdapter[Entity] = TypeAdapter(Entity)
EDGE: TypeAdapter[Edge] = TypeAdapter(Edge)
NOTIFICATION: TypeAdapter[Notification] = TypeAdapter(Notification)


async def write_position(connection: AsyncConnection, position: Position) -> None:
    """Replace the position."""
    row = {"id": 1, "seq": position.seq, "log_offset": position.offset}
    await _upsert(connection, schema.POSITION, [row])


async def write_events(connection: AsyncConnection, events: Sequence[Recorded]) -> None:
    """Append the events."""
    rows = [
        {"seq": one.seq, "at": one.at, "type": one.event.type, "body": one.to_json().decode()}
        for one in events
    ]
    await _insert(connection, schema.EVENTS, rows)


async def write_projection(connection: AsyncConnection, made: Projection) -> None:
    """Write all that the events changed."""
    await _write_incidents(connection, list(made.incidents.values()))
    await _upsert(connection, schema.ALERTS, [_alert(one) for one in made.alerts.values()])
    await _upsert(connection, schema.ANOMALIES, [_anomaly(one) for one in made.anomalies.values()])
    await _upsert(connection, schema.CHANGES, [_change(one) for one in made.changes.values()])
    await _upsert(connection, schema.FEEDBACK, [_feedback(one) for one in made.feedback.values()])
    for step in made.topology:
        await _write_step(connection, step)
    queued = [_outgoing(seq, one) for seq, one in made.notifications.values()]
    await _upsert(connection, schema.OUTBOX, queued, replace=False)


async def _write_incidents(connection: AsyncConnection, incidents: Sequence[Incident]) -> None:
    if not incidents:
        return
    await _upsert(connection, schema.INCIDENTS, [_incident(one) for one in incidents])
    members = schema.INCIDENT_ENTITIES
    ids = [one.id for one in incidents]
    await connection.execute(sa.delete(members).where(members.c.incident_id.in_(ids)))
    pairs = [(one.id, entity) for one in incidents for entity in dict.fromkeys(one.entities)]
    rows = [{"incident_id": incident, "entity": entity} for incident, entity in pairs]
    await _insert(connection, members, rows)


async def _write_step(connection: AsyncConnection, step: TopologyStep) -> None:
    """End the versions that are replaced or gone, and begin the new ones."""
    change, seq = step.change, step.seq
    entities = {one.id: one for one in change.entities}
    edges = {edge_key(one): one for one in change.edges}
    ended_edges = sorted(edges.keys() | {edge_key(one) for one in change.gone})
    await _end(connection, schema.ENTITIES, [{"k_id": key} for key in sorted(entities)], seq)
    await _end(
        connection,
        schema.EDGES,
        [{"k_caller": a, "k_callee": b, "k_kind": kind.value} for a, b, kind in ended_edges],
        seq,
    )
    await _insert(
        connection,
        schema.ENTITIES,
        [
            {"id": key, "valid_from": seq, "body": ENTITY.dump_json(entities[key]).decode()}
            for key in sorted(entities)
        ],
    )
    await _insert(
        connection,
        schema.EDGES,
        [
            {
                "caller": edge.caller,
                "callee": edge.callee,
                "kind": edge.kind.value,
                "valid_from": seq,
                "body": EDGE.dump_json(edge).decode(),
            }
            for _, edge in sorted(edges.items())
        ],
    )
    row = {"seq": seq, "at": step.at, "version": change.version}
    await _insert(connection, schema.GRAPH_STEPS, [row])


async def _end(connection: AsyncConnection, table: sa.Table, keys: Sequence[Row], seq: int) -> None:
    """Let the open versions of `keys` (column name after `k_`) hold until `seq`."""
    if not keys:
        return
    matches = [table.c[name.removeprefix("k_")] == sa.bindparam(name) for name in keys[0]]
    statement = sa.update(table).where(*matches, table.c.valid_to.is_(None)).values(valid_to=seq)
    await connection.execute(statement, keys)


async def _insert(connection: AsyncConnection, table: sa.Table, rows: Sequence[Row]) -> None:
    if rows:
        await connection.execute(sa.insert(table), rows)


async def _upsert(
    connection: AsyncConnection, table: sa.Table, rows: Sequence[Row], *, replace: bool = True
) -> None:
    """Insert; a row whose primary key is there already is replaced, or else left as it is."""
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    if replace:
        columns = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        statement = statement.on_conflict_do_update(index_elements=keys, set_=columns)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    await connection.execute(statement, rows)


def _incident(one: Incident) -> Row:
    return {
        "id": one.id,
        "state": one.state.value,
        "opened_at": one.opened_at,
        "resolved_at": one.resolved_at,
        "body": INCIDENT.dump_json(one).decode(),
    }


def _alert(one: Alert) -> Row:
    return {
        "id": one.id,
        "state": one.state.value,
        "starts_at": one.starts_at,
        "incident_id": one.incident_id,
        "body": ALERT.dump_json(one).decode(),
    }


def _anomaly(one: Anomaly) -> Row:
    return {
        "id": one.id,
        "entity": one.entity,
        "started_at": one.started_at,
        "ended_at": one.ended_at,
        "body": ANOMALY.dump_json(one).decode(),
    }


def _change(one: Change) -> Row:
    return {
        "id": one.id,
        "at": one.at,
        "entity": one.entity,
        "body": CHANGE.dump_json(one).decode(),
    }


def _feedback(one: Feedback) -> Row:
    return {
        "id": one.id,
        "kind": one.kind.value,
        "given_at": one.given_at,
        "start_at": one.start,
        "end_at": one.end,
        "undone_at": one.undone_at,
        "body": FEEDBACK.dump_json(one).decode(),
    }


def _outgoing(seq: int, one: Notification) -> Row:
    return {
        "id": one.id,
        "seq": seq,
        "alert_id": one.alert.id,
        "receiver": one.receiver,
        "created_at": one.created_at,
        "body": NOTIFICATION.dump_json(one).decode(),
        "attempts": 0,
        "not_before": 0,
    }
