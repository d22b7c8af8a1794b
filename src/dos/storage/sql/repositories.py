"""`SqlStore`: the `Store` in a SQL database.

Each method is one transaction. Writers of this process take turns at a lock; readers see the
newest committed state and wait for nobody. Database errors come out as `TransientError` (locked,
full, unreachable) or `CorruptDataError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from dos.kit.clock import Millis
from dos.model.alert import Alert, AlertState
from dos.model.anomaly import Anomaly
from dos.model.change import Change
from dos.model.events import RECORDED, Decisions, Recorded
from dos.model.feedback import Feedback, FeedbackKind
from dos.model.graph import GraphSnapshot
from dos.model.ids import AlertId, EntityId, FeedbackId, IncidentId
from dos.model.incident import Incident, IncidentState
from dos.storage.base import Ledger, Outgoing, Position
from dos.storage.projection import edge_key, new_events, next_position, project
from dos.storage.sql import write
from dos.storage.sql.engine import check_integrity, create_engine, for_writing, translated
from dos.storage.sql.migrate import upgrade
from dos.storage.sql.schema import (
    ALERTS,
    ANOMALIES,
    CHANGES,
    EDGES,
    ENTITIES,
    EVENTS,
    FEEDBACK,
    GRAPH_STEPS,
    INCIDENT_ENTITIES,
    INCIDENTS,
    OUTBOX,
    POSITION,
)

T = TypeVar("T")
Where = list[sa.ColumnElement[bool]]


class SqlStore:
    """A `Store` in a database.

    Args:
        url: SQLAlchemy URL with an async driver, such as `sqlite+aiosqlite:///data/dos.db`.

    Raises:
        ConfigError: Not such a URL.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url)
        self._writing = for_writing(self._engine)
        self._turn = asyncio.Lock()
        self._place = self._engine.url.render_as_string()
        if self._engine.dialect.name == "sqlite":
            self._place = str(self._engine.url.database)

    async def open(self) -> None:
        """Check the database and migrate it to the current schema.

        Raises:
            CorruptDataError: It is damaged; names the file and what to do.
            PermanentError: Its schema is newer than this DOS.
            TransientError: It cannot be reached or opened.
        """
        with translated(self._place):
            await check_integrity(self._engine, self._place)
        async with self._transaction() as connection:
            await connection.run_sync(upgrade)

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._engine.dispose()

    async def position(self) -> Position:
        """How far the store has come."""
        async with self._reading() as connection:
            return await _position(connection)

    async def commit(self, decisions: Decisions) -> None:
        """See `Store.commit`.

        Raises:
            ValueError: A new sequence number leaves a gap.
        """
        async with self._transaction() as connection:
            position = await _position(connection)
            fresh = new_events(position, decisions)
            following = next_position(position, decisions, fresh)
            if fresh:
                await write.write_events(connection, fresh)
                await write.write_projection(connection, project(fresh))
            if following != position:
                await write.write_position(connection, following)

    async def events(
        self, *, after: int = 0, limit: int = 1000, types: Collection[str] | None = None
    ) -> Sequence[Recorded]:
        """Events beyond `after`, oldest first."""
        where: Where = [EVENTS.c.seq > after]
        if types is not None:
            where.append(EVENTS.c.type.in_(sorted(types)))
        query = sa.select(EVENTS.c.body).where(*where).order_by(EVENTS.c.seq).limit(limit)
        return await self._documents(query, RECORDED)

    async def incident(self, incident_id: IncidentId) -> Incident | None:
        """One incident as of its last event."""
        query = sa.select(INCIDENTS.c.body).where(INCIDENTS.c.id == incident_id)
        return next(iter(await self._documents(query, write.INCIDENT)), None)

    async def incidents(
        self,
        *,
        state: IncidentState | None = None,
        entity: EntityId | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        before: tuple[Millis, IncidentId] | None = None,
        limit: int = 100,
    ) -> Sequence[Incident]:
        """Incidents, newest `(opened_at, id)` first; the filters are those of `Store`."""
        table = INCIDENTS.c
        where: Where = []
        if state is not None:
            where.append(table.state == state.value)
        if entity is not None:
            members = INCIDENT_ENTITIES.c
            its = sa.select(members.incident_id).where(members.entity == entity)
            where.append(table.id.in_(its))
        if since is not None:
            where.append(table.resolved_at.is_(None) | (table.resolved_at >= since))
        if until is not None:
            where.append(table.opened_at < until)
        if before is not None:
            where.append(_earlier(table.opened_at, table.id, before))
        query = _newest_first(INCIDENTS, table.opened_at, where, limit)
        return await self._documents(query, write.INCIDENT)

    async def alert(self, alert_id: AlertId) -> Alert | None:
        """One alert as of its last event."""
        query = sa.select(ALERTS.c.body).where(ALERTS.c.id == alert_id)
        return next(iter(await self._documents(query, write.ALERT)), None)

    async def alerts(
        self,
        *,
        state: AlertState | None = None,
        incident: IncidentId | None = None,
        before: tuple[Millis, AlertId] | None = None,
        limit: int = 100,
    ) -> Sequence[Alert]:
        """Alerts, newest `(starts_at, id)` first."""
        table = ALERTS.c
        where: Where = []
        if state is not None:
            where.append(table.state == state.value)
        if incident is not None:
            where.append(table.incident_id == incident)
        if before is not None:
            where.append(_earlier(table.starts_at, table.id, before))
        query = _newest_first(ALERTS, table.starts_at, where, limit)
        return await self._documents(query, write.ALERT)

    async def anomalies(
        self,
        *,
        entity: EntityId | None = None,
        active: bool | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        limit: int = 1000,
    ) -> Sequence[Anomaly]:
        """Anomalies overlapping `[since, until]`, newest `(started_at, id)` first."""
        table = ANOMALIES.c
        where: Where = []
        if entity is not None:
            where.append(table.entity == entity)
        if active is not None:
            where.append(table.ended_at.is_(None) if active else table.ended_at.is_not(None))
        if since is not None:
            where.append(table.ended_at.is_(None) | (table.ended_at >= since))
        if until is not None:
            where.append(table.started_at <= until)
        query = _newest_first(ANOMALIES, table.started_at, where, limit)
        return await self._documents(query, write.ANOMALY)

    async def changes(
        self,
        *,
        entity: EntityId | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        limit: int = 1000,
    ) -> Sequence[Change]:
        """Changes in `[since, until]`, newest `(at, id)` first."""
        table = CHANGES.c
        where: Where = []
        if entity is not None:
            where.append(table.entity == entity)
        if since is not None:
            where.append(table.at >= since)
        if until is not None:
            where.append(table.at <= until)
        query = _newest_first(CHANGES, table.at, where, limit)
        return await self._documents(query, write.CHANGE)

    async def feedback_entry(self, feedback_id: FeedbackId) -> Feedback | None:
        """One piece of feedback as it stands now."""
        query = sa.select(FEEDBACK.c.body).where(FEEDBACK.c.id == feedback_id)
        return next(iter(await self._documents(query, write.FEEDBACK)), None)

    async def feedback(
        self,
        *,
        kind: FeedbackKind | None = None,
        holds: bool | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        limit: int = 1000,
    ) -> Sequence[Feedback]:
        """Feedback about `[since, until]`, newest `(given_at, id)` first."""
        table = FEEDBACK.c
        where: Where = []
        if kind is not None:
            where.append(table.kind == kind.value)
        if holds is not None:
            where.append(table.undone_at.is_(None) if holds else table.undone_at.is_not(None))
        if since is not None:
            where.append(table.end_at >= since)
        if until is not None:
            where.append(table.start_at <= until)
        query = _newest_first(FEEDBACK, table.given_at, where, limit)
        return await self._documents(query, write.FEEDBACK)

    async def graph(self, at: Millis | None = None) -> GraphSnapshot:
        """The graph as it was known at `at` (None: now)."""
        steps = GRAPH_STEPS.c
        newest = sa.select(steps.seq, steps.at, steps.version)
        newest = newest.order_by(steps.seq.desc()).limit(1)
        if at is not None:
            newest = newest.where(steps.at <= at)
        async with self._reading() as connection:
            step = (await connection.execute(newest)).one_or_none()
            if step is None:
                return GraphSnapshot()
            entities = (await connection.scalars(_versions(ENTITIES, step.seq))).all()
            edges = (await connection.scalars(_versions(EDGES, step.seq))).all()
        # Sorted here and not by the database, whose collation may be another one.
        return GraphSnapshot(
            version=step.version,
            at=Millis(step.at),
            entities=tuple(
                sorted((write.ENTITY.validate_json(one) for one in entities), key=lambda e: e.id)
            ),
            edges=tuple(
                sorted((write.EDGE.validate_json(one) for one in edges), key=edge_key),
            ),
        )

    async def outbox(self, now: Millis, limit: int = 100) -> Sequence[Outgoing]:
        """Notifications that are due, oldest first."""
        row = OUTBOX.c
        query = (
            sa.select(row.body, row.attempts, row.not_before, row.last_error)
            .where(row.sent_at.is_(None), row.given_up_at.is_(None), row.not_before <= now)
            .order_by(row.seq)
            .limit(limit)
        )
        async with self._reading() as connection:
            found = (await connection.execute(query)).all()
        return [
            Outgoing(
                notification=write.NOTIFICATION.validate_json(one.body),
                attempts=one.attempts,
                not_before=Millis(one.not_before),
                last_error=one.last_error,
            )
            for one in found
        ]

    async def sent(self, notification_id: str, at: Millis, note: str = "") -> None:
        """The receiver took it; ignored once it was sent or given up.

        Raises:
            KeyError: There is no such notification.
        """
        await self._tried(
            notification_id, {"sent_at": at, **({"last_error": note} if note else {})}
        )

    async def retry(self, notification_id: str, not_before: Millis, error: str) -> None:
        """Delivery failed; ignored once it was sent or given up.

        Raises:
            KeyError: There is no such notification.
        """
        await self._tried(notification_id, {"not_before": not_before, "last_error": error})

    async def give_up(self, notification_id: str, at: Millis, error: str) -> None:
        """Delivery failed for good; ignored once it was sent or given up.

        Raises:
            KeyError: There is no such notification.
        """
        await self._tried(notification_id, {"given_up_at": at, "last_error": error})

    async def ledger(self, alert_id: AlertId) -> Sequence[Ledger]:
        """What was sent, or is to be sent, about one alert; oldest first."""
        row = OUTBOX.c
        query = (
            sa.select(row.body, row.attempts, row.sent_at, row.given_up_at, row.last_error)
            .where(row.alert_id == alert_id)
            .order_by(row.seq)
        )
        async with self._reading() as connection:
            found = (await connection.execute(query)).all()
        return [
            Ledger(
                notification=write.NOTIFICATION.validate_json(one.body),
                attempts=one.attempts,
                sent_at=one.sent_at,
                given_up_at=one.given_up_at,
                last_error=one.last_error,
            )
            for one in found
        ]

    async def _tried(self, notification_id: str, outcome: dict[str, int | str]) -> None:
        """Write down a delivery attempt of a notification that is still pending."""
        row = OUTBOX.c
        pending = (row.id == notification_id, row.sent_at.is_(None), row.given_up_at.is_(None))
        update = sa.update(OUTBOX).where(*pending).values(attempts=row.attempts + 1, **outcome)
        async with self._transaction() as connection:
            if (await connection.execute(update)).rowcount:
                return
            known = sa.select(row.id).where(row.id == notification_id)
            if (await connection.execute(known)).first() is None:
                raise KeyError(notification_id)

    async def _documents(self, query: sa.Select[str], adapter: TypeAdapter[T]) -> Sequence[T]:
        async with self._reading() as connection:
            bodies = (await connection.scalars(query)).all()
        return [adapter.validate_json(body) for body in bodies]

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        with translated(self._place):
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        with translated(self._place):
            async with self._turn, self._writing.begin() as connection:
                yield connection


async def _position(connection: AsyncConnection) -> Position:
    query = sa.select(POSITION.c.seq, POSITION.c.log_offset)
    row = (await connection.execute(query)).one_or_none()
    return Position() if row is None else Position(seq=row.seq, offset=row.log_offset)


def _earlier(
    time: sa.Column[int], key: sa.Column[str], before: tuple[int, str]
) -> sa.ColumnElement[bool]:
    """The rows after the cursor, when newest `(time, key)` come first."""
    return sa.tuple_(time, key) < sa.tuple_(sa.literal(before[0]), sa.literal(before[1]))


def _newest_first(
    table: sa.Table, time: sa.Column[int], where: Where, limit: int
) -> sa.Select[str]:
    order = time.desc(), table.c.id.desc()
    return sa.select(table.c.body).where(*where).order_by(*order).limit(limit)


def _versions(table: sa.Table, seq: int) -> sa.Select[str]:
    """The versions of entities or edges known after event `seq`."""
    ends = table.c.valid_to
    return sa.select(table.c.body).where(table.c.valid_from <= seq, ends.is_(None) | (ends > seq))
