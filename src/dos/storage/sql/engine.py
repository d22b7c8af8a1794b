"""Connections: how SQLite is set up, and database errors in the words of DOS.

SQLite runs in WAL mode with `synchronous=NORMAL`. A transaction that was committed has been
handed to the operating system, so it survives `kill -9`. A power cut may take back the last
transactions (those since the last checkpoint of the WAL), never tear one, and the intake log is
replayed from the position that is then in the database. Readers see a snapshot and do not wait
for the writer.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from dos.kit.errors import ConfigError, CorruptDataError, DosError, TransientError

BUSY_TIMEOUT_MS = 10_000
"""How long a writer waits for another process to finish its transaction."""
_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
)
_DAMAGED = ("malformed", "not a database", "disk image")


def create_engine(url: str) -> AsyncEngine:
    """An engine for `url`, for example `sqlite+aiosqlite:////var/lib/dos/dos.db`.

    Raises:
        ConfigError: Not the URL of a database DOS can use.
    """
    try:
        parsed = sa.make_url(url)
    except ArgumentError as error:
        msg = "The database URL cannot be read."
        raise ConfigError(msg, remedy="Write sqlite+aiosqlite:///PATH.") from error
    if parsed.get_backend_name() != "sqlite":
        return create_async_engine(parsed, pool_pre_ping=True)
    if parsed.database in {None, "", ":memory:"}:
        msg = "A SQLite database in memory cannot be shared between connections."
        raise ConfigError(msg, remedy="Give a path: sqlite+aiosqlite:///PATH.")
    Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    # The driver must not begin transactions itself: it would leave reads outside of them.
    engine = create_async_engine(parsed, connect_args={"isolation_level": None})
    event.listen(engine.sync_engine, "connect", _set_up)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def for_writing(engine: AsyncEngine) -> AsyncEngine:
    """The same engine, whose transactions take the write lock at their beginning.

    A transaction that reads first and writes later would fail at once, without waiting, when
    another process has written in between.
    """
    return engine.execution_options(dos_writes=True)


async def check_integrity(engine: AsyncEngine, place: str) -> None:
    """Let SQLite look over its file; other databases check themselves.

    Done with the plain driver, before the engine connects: when a connection cannot be opened,
    the asynchronous one leaves a thread behind that fails once the event loop is closed.

    Raises:
        CorruptDataError: The file is damaged.
        sqlite3.Error: It cannot be opened or read; see `translated`.
    """
    if engine.dialect.name != "sqlite":
        return
    found = await asyncio.to_thread(_quick_check, str(engine.url.database))
    if found != "ok":
        raise _corrupt(place, found)


def _quick_check(path: str) -> str:
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
        return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn errors of the database into those of DOS; `place` names the database.

    Raises:
        CorruptDataError: The database is damaged.
        TransientError: It is locked, full or unreachable.
    """
    try:
        yield
    except (DBAPIError, sqlite3.DatabaseError) as error:
        raise _as_dos_error(error, place) from error
    except OSError as error:
        msg = f"The database {place} cannot be reached: {error}."
        raise TransientError(msg) from error


def _as_dos_error(error: DBAPIError | sqlite3.DatabaseError, place: str) -> Exception:
    original = error.orig if isinstance(error, DBAPIError) else error
    reason = str(original)
    if any(word in reason for word in _DAMAGED):
        return _corrupt(place, reason)
    temporary = (OperationalError, InterfaceError, sqlite3.OperationalError)
    if isinstance(error, temporary):
        msg = f"The database {place} cannot be used: {reason}."
        return TransientError(msg, remedy="Check the disk, the path and its permissions.")
    return error


def _corrupt(place: str, reason: str) -> DosError:
    return CorruptDataError(
        f"The database {place} is damaged: {reason}.",
        remedy="Restore it from a backup, or save what is left with "
        f"`sqlite3 {place} .recover | sqlite3 recovered.db`, or move it away to start anew.",
    )


def _set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    try:
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
    finally:
        cursor.close()


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("dos_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
