"""`SqlSharedLedger`: what replicas tell each other, in a SQL database that all reach.

Claims of one receiver take turns: on PostgreSQL at an advisory lock, on SQLite (replicas on one
machine) at the write lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dos.kit.clock import DAY, Millis
from dos.model.ids import AlertId
from dos.storage.sql.engine import check_integrity, create_engine, for_writing, translated
from dos.storage.sql.migrate import upgrade
from dos.storage.sql.schema import SAID, TOLD
from dos.storage.telling import Claim, Row, Saying, answer

_KEPT = 30 * DAY
_AT_ONCE = 400
"""Names in one statement; databases bound the number of parameters."""
_MOST_SAID = 500
_MIGRATION = 0x446F5301
"""Key of the lock that replicas starting together take turns at."""


class SqlSharedLedger:
    """See `dos.storage.telling.SharedLedger`.

    Args:
        url: SQLAlchemy URL with an async driver, such as `postgresql+asyncpg://…`.
        replica: Name of this replica; the others have other names.

    Raises:
        ConfigError: Not such a URL.
    """

    def __init__(self, url: str, replica: str) -> None:
        self._engine = create_engine(url)
        self._writing = for_writing(self._engine)
        self._replica = replica
        self._place = self._engine.url.render_as_string()

    async def open(self) -> None:
        """Connect, migrate, drop what is very old."""
        with translated(self._place):
            await check_integrity(self._engine, self._place)
        async with self._transaction(_MIGRATION) as connection:
            await connection.run_sync(upgrade)

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    async def claim(self, sayings: Sequence[Saying], now: Millis, until: Millis) -> Claim:
        """See `SharedLedger.claim`."""
        async with self._transaction(_key(sayings[0].receiver)) as connection:
            known = await _rows(connection, sayings)
            found = [[row for row in known if row.name in one.names] for one in sayings]
            claim = answer(self._replica, sayings, found, now)
            if claim.told_by is not None:
                values = [
                    self._values(one, name, matter, at, is_told=False)
                    for one, matter, at in zip(sayings, claim.matters, claim.told_at, strict=True)
                    for name in sorted(one.names)
                ]
                await self._write(connection, values)
            elif claim.wait_until is None:
                await self._write(connection, self._claimed(sayings, found, claim, until))
        return claim

    def _claimed(
        self,
        sayings: Sequence[Saying],
        found: Sequence[Sequence[Row]],
        claim: Claim,
        until: Millis,
    ) -> list[dict[str, object]]:
        """What is known of them stays until they are told."""
        values: list[dict[str, object]] = []
        for one, rows, matter in zip(sayings, found, claim.matters, strict=True):
            mine = {
                row.name: row
                for row in rows
                if row.replica == self._replica and row.alert == one.alert
            }
            for name in sorted(one.names):
                row = self._values(one, name, matter, Millis(until), is_told=False)
                known = mine.get(name)
                row |= {
                    "state": known.state if known else "",
                    "is_told": known.is_told if known else False,
                    "at": known.at if known else one.decided_at,
                    "claim": one.state,
                    "claimed_until": until,
                }
                values.append(row)
        return values

    async def told(
        self, sayings: Sequence[Saying], matters: Sequence[AlertId], now: Millis
    ) -> None:
        """See `SharedLedger.told`."""
        async with self._transaction(_key(sayings[0].receiver)) as connection:
            values = [
                self._values(one, name, matter, now, is_told=True)
                for one, matter in zip(sayings, matters, strict=True)
                for name in sorted(one.names)
            ]
            await self._write(connection, values)
            await connection.execute(sa.delete(TOLD).where(TOLD.c.at < now - _KEPT))

    async def release(self, sayings: Sequence[Saying]) -> None:
        """See `SharedLedger.release`."""
        async with self._transaction(_key(sayings[0].receiver)) as connection:
            for names in _pieces(sayings):
                await connection.execute(
                    sa.update(TOLD)
                    .where(self._mine(sayings[0].receiver), TOLD.c.name.in_(names))
                    .values(claim="", claimed_until=0)
                )

    async def say(self, body: str, now: Millis) -> None:
        """See `SharedLedger.say`."""
        # One at a time: a reader that has seen a number must not miss a smaller one.
        async with self._transaction(_MIGRATION) as connection:
            values = {"replica": self._replica, "at": now, "body": body}
            await connection.execute(sa.insert(SAID).values(values))
            await connection.execute(sa.delete(SAID).where(SAID.c.at < now - _KEPT))

    async def said(self, after: int, since: Millis) -> Sequence[tuple[int, str]]:
        """See `SharedLedger.said`."""
        query = (
            sa.select(SAID.c.seq, SAID.c.body)
            .where(SAID.c.seq > after, SAID.c.at >= since, SAID.c.replica != self._replica)
            .order_by(SAID.c.seq)
            .limit(_MOST_SAID)
        )
        with translated(self._place):
            async with self._engine.connect() as connection:
                return [(row.seq, row.body) for row in await connection.execute(query)]

    def _mine(self, receiver: str) -> sa.ColumnElement[bool]:
        return sa.and_(TOLD.c.receiver == receiver, TOLD.c.replica == self._replica)

    def _values(
        self, saying: Saying, name: str, matter: AlertId, at: Millis, *, is_told: bool
    ) -> dict[str, object]:
        return {
            "receiver": saying.receiver,
            "name": name,
            "replica": self._replica,
            "alert": saying.alert,
            "matter": matter,
            "state": saying.state,
            "at": at,
            "is_told": is_told,
            "claim": "",
            "claimed_until": 0,
        }

    async def _write(
        self, connection: AsyncConnection, values: Sequence[dict[str, object]]
    ) -> None:
        """Replace rows of this replica; of one name twice the last counts."""
        by_name = {str(one["name"]): one for one in values}
        receiver = str(values[0]["receiver"])
        names = sorted(by_name)
        for start in range(0, len(names), _AT_ONCE):
            piece = names[start : start + _AT_ONCE]
            await connection.execute(
                sa.delete(TOLD).where(self._mine(receiver), TOLD.c.name.in_(piece))
            )
        await connection.execute(sa.insert(TOLD), list(by_name.values()))

    @asynccontextmanager
    async def _transaction(self, key: int) -> AsyncIterator[AsyncConnection]:
        with translated(self._place):
            async with self._writing.begin() as connection:
                if connection.dialect.name == "postgresql":
                    lock = sa.text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=key)
                    await connection.execute(lock)
                yield connection


async def _rows(connection: AsyncConnection, sayings: Sequence[Saying]) -> list[Row]:
    found: list[Row] = []
    for names in _pieces(sayings):
        query = sa.select(TOLD).where(
            TOLD.c.receiver == sayings[0].receiver, TOLD.c.name.in_(names)
        )
        found += [
            Row(
                replica=row.replica,
                name=row.name,
                alert=AlertId(row.alert),
                matter=AlertId(row.matter),
                state=row.state,
                at=Millis(row.at),
                is_told=row.is_told,
                claim=row.claim,
                claimed_until=Millis(row.claimed_until),
            )
            for row in await connection.execute(query)
        ]
    return found


def _pieces(sayings: Sequence[Saying]) -> list[list[str]]:
    names = sorted({name for one in sayings for name in one.names})
    return [names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)]


def _key(receiver: str) -> int:
    digest = hashlib.blake2b(receiver.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
