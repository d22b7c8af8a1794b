"""What only the SQL store promises: migrations, integrity, and errors that say what to do."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from dos.kit.clock import Millis
from dos.kit.errors import ConfigError, CorruptDataError, PermanentError, TransientError
from dos.model.events import AlertChanged, ChangeSeen, IncidentChanged, NotificationQueued
from dos.model.ids import EntityId
from dos.model.incident import IncidentState
from dos.storage.base import Position
from dos.storage.sql.migrate import upgrade
from dos.storage.sql.repositories import SqlStore
from dos.storage.sql.schema import METADATA
from tests.unit.storage.examples import alert, change, incident, notification, step


def url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


async def opened(path: Path) -> SqlStore:
    store = SqlStore(url(path))
    await store.open()
    return store


async def filled(path: Path, count: int = 3) -> None:
    store = await opened(path)
    for seq in range(1, count + 1):
        await store.commit(step(seq, ChangeSeen(change=change(f"chg-{seq}", seq))))
    await store.close()


async def test_it_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "dos.db"
    await filled(path)
    store = await opened(path)
    assert await store.position() == Position(seq=3, offset=30)
    assert [one.seq for one in await store.events()] == [1, 2, 3]
    await store.close()


async def test_sqlite_is_set_up_to_survive_kills(tmp_path: Path) -> None:
    store = await opened(tmp_path / "dos.db")
    async with store._engine.connect() as connection:
        found = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    await store.close()
    assert found == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
    }


def test_the_migrations_make_the_schema_of_the_code() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        upgrade(connection)
        upgrade(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dos.db"
    await filled(path)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    store = SqlStore(url(path))
    with pytest.raises(PermanentError, match=r"dos\.db has schema 9999, .* knows up to 0003\."):
        await store.open()
    await store.close()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dos.db"
    path.write_bytes(b"this is not a database" * 100)
    store = SqlStore(url(path))
    with pytest.raises(CorruptDataError, match=r"dos\.db is damaged: .* Restore it from a backup"):
        await store.open()
    await store.close()


async def test_a_damaged_page_is_found_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "dos.db"
    await filled(path, 50)
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 16] = b"\xff" * 16
    path.write_bytes(data)
    store = SqlStore(url(path))
    with pytest.raises(CorruptDataError, match=r"dos\.db is damaged"):
        await store.open()
    await store.close()


async def test_a_place_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dos.db"
    path.mkdir()
    store = SqlStore(url(path))
    with pytest.raises(TransientError, match=r"dos\.db cannot be used: unable to open"):
        await store.open()
    await store.close()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("nonsense", "cannot be read"),
        ("sqlite+aiosqlite://", "in memory cannot be shared"),
        ("sqlite+aiosqlite:///:memory:", "in memory cannot be shared"),
    ],
)
def test_a_wrong_url_is_refused(wrong: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SqlStore(wrong)


async def test_a_commit_that_fails_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(tmp_path / "dos.db")
    decisions = step(
        1,
        IncidentChanged(incident=incident("inc-1", 20)),
        NotificationQueued(notification=notification("not-1", alert("alert-1", 20))),
    )

    async def fail(*_: object) -> None:
        raise RuntimeError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr("dos.storage.sql.write.write_position", fail)
        with pytest.raises(RuntimeError, match="killed here"):
            await store.commit(decisions)
    assert await store.position() == Position()
    assert list(await store.events()) == []
    assert list(await store.incidents()) == []
    assert list(await store.outbox(Millis(10**15))) == []
    await store.commit(decisions)
    assert await store.position() == Position(seq=2, offset=10)
    await store.close()


async def test_two_stores_on_one_file_see_each_other(tmp_path: Path) -> None:
    one, two = await opened(tmp_path / "dos.db"), await opened(tmp_path / "dos.db")
    await one.commit(step(1, AlertChanged(alert=alert("alert-1", 5))))
    await two.commit(step(2, AlertChanged(alert=alert("alert-2", 6))))
    with pytest.raises(ValueError, match="waits for event 3"):
        await one.commit(step(9, AlertChanged(alert=alert("alert-9", 9))))
    assert len(await one.alerts()) == 2
    await one.close()
    await two.close()


async def test_processes_that_race_take_turns(tmp_path: Path) -> None:
    """A transaction that reads first and writes later fails unless it locks at its beginning."""
    stores = [await opened(tmp_path / "dos.db") for _ in range(2)]

    async def write(store: SqlStore, offset: int) -> None:
        for seq in range(1, 31):
            event = ChangeSeen(change=change(f"chg-{seq}", seq))
            with contextlib.suppress(ValueError):  # the other one was not there yet
                await store.commit(step(seq, event, offset=seq * 10 + offset))

    await asyncio.gather(*(write(store, number) for number, store in enumerate(stores)))
    assert [one.seq for one in await stores[0].events()] == list(range(1, 31))
    for store in stores:
        await store.close()


async def test_lists_are_read_along_an_index(tmp_path: Path) -> None:
    """No list may sort or scan a whole table: a page costs the same after years."""
    store = await opened(tmp_path / "dos.db")
    statements: list[tuple[str, object]] = []

    def note(_c: object, _u: object, text: str, values: object, *_: object) -> None:
        statements.append((text, values))

    sa.event.listen(store._engine.sync_engine, "before_cursor_execute", note)
    await store.incidents(before=(Millis(9), incident("inc-1", 1).id))
    await store.incidents(state=IncidentState.OPEN)
    await store.alerts()
    await store.anomalies(entity=EntityId("a"))
    await store.anomalies(active=True)
    await store.changes(entity=EntityId("a"))
    await store.outbox(Millis(9))
    await store.events(after=5)
    await store.events(types=["alert_changed"])
    queries = [one for one in statements if one[0].startswith("SELECT")]
    assert len(queries) == 9
    async with store._engine.connect() as connection:
        for text, values in queries:
            rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)  # type: ignore[call-overload]
            plan = " / ".join(row.detail for row in rows)
            assert "TEMP B-TREE" not in plan, f"{text}\n{plan}"
            assert "INDEX" in plan or "PRIMARY KEY" in plan, f"{text}\n{plan}"
    await store.close()
