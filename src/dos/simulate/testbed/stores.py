"""Where services keep their state: carts in a real Redis (or the process), stock in SQLite.

Each operation is measured as OpenTelemetry's `db.client.operation.duration` says. SQLite runs in
a thread of its own connection; Redis is reached over the testbed's wire.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from dos.kit.clock import Clock
from dos.simulate.testbed.instruments import Instruments
from dos.simulate.testbed.spec import REDIS

ARTICLES = 60
"""How many articles the shop has."""
_CART_ITEMS = 20
"""A cart keeps its newest items."""
_CARTS = 10_000
"""Carts a process without Redis keeps: the least recently used go first."""
_CART_SECONDS = 600
_RESERVATIONS = 500
"""Reservations that are kept: the oldest go first."""
_SLIP = 800
"""Bytes of an order slip, so that a full disk is felt within some orders."""
_BALLAST = "x" * 16_384
_STOCK = 1_000_000
_TABLES = (
    "CREATE TABLE IF NOT EXISTS stock (item INTEGER PRIMARY KEY, available INTEGER NOT NULL)",
    """
    CREATE TABLE IF NOT EXISTS reservation
        (id INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL, slip TEXT NOT NULL)
    """,
    "CREATE TABLE IF NOT EXISTS ballast (data TEXT NOT NULL)",
)

T = TypeVar("T")


class StoreError(Exception):
    """A store did not do what it was asked; the text is the store's own."""


class Measure:
    """Times the operations of one store."""

    def __init__(
        self, instruments: Instruments, clock: Clock, *, system: str, server: str = ""
    ) -> None:
        self._instruments = instruments
        self._clock = clock
        self._system = system
        self._server = server

    @contextmanager
    def of(self, operation: str) -> Iterator[None]:
        """Time the block as `operation`; an error of the store becomes a `StoreError`."""
        began, error = self._clock.monotonic(), ""
        try:
            yield
        except (RedisError, sqlite3.Error, OSError) as failure:
            error = type(failure).__name__
            msg = f"{self._system} {operation}: {failure}"
            raise StoreError(msg) from failure
        finally:
            self._instruments.stored(
                self._system,
                operation,
                server=self._server,
                error=error,
                seconds=self._clock.monotonic() - began,
            )


class Carts(Protocol):
    """Items by user."""

    async def view(self, user: int) -> list[int]:
        """Items in the cart of `user`, oldest first."""
        ...

    async def add(self, user: int, item: int) -> None:
        """Put `item` in."""
        ...

    async def take(self, user: int) -> list[int]:
        """Empty the cart; returns what was in it."""
        ...

    async def close(self) -> None:
        """Give up the connection."""
        ...


class ProcessCarts:
    """Carts in the process: gone with it. For machines without Redis."""

    def __init__(self) -> None:
        self._carts: OrderedDict[int, list[int]] = OrderedDict()

    async def view(self, user: int) -> list[int]:
        """See `Carts`."""
        return list(self._carts.get(user, ()))

    async def add(self, user: int, item: int) -> None:
        """See `Carts`."""
        items = self._carts.setdefault(user, [])
        self._carts.move_to_end(user)
        items.append(item)
        del items[:-_CART_ITEMS]
        while len(self._carts) > _CARTS:
            self._carts.popitem(last=False)

    async def take(self, user: int) -> list[int]:
        """See `Carts`."""
        return self._carts.pop(user, [])

    async def close(self) -> None:
        """Nothing is open."""


class RedisCarts:
    """Carts as lists in Redis at `address` (`host:port`); no command is tried twice."""

    def __init__(self, address: str, instruments: Instruments, clock: Clock) -> None:
        host, _, port = address.rpartition(":")
        self._redis = Redis(
            host=host,
            port=int(port),
            socket_timeout=2.0,
            socket_connect_timeout=2.0,
            retry=Retry(NoBackoff(), 0),
        )
        self._measure = Measure(instruments, clock, system="redis", server=REDIS)

    async def view(self, user: int) -> list[int]:
        """See `Carts`."""
        with self._measure.of("LRANGE"):
            (items,) = await self._pipeline(("LRANGE", _key(user), 0, -1))
        return [int(item) for item in items]

    async def add(self, user: int, item: int) -> None:
        """See `Carts`."""
        with self._measure.of("RPUSH"):
            await self._pipeline(
                ("RPUSH", _key(user), item),
                ("LTRIM", _key(user), -_CART_ITEMS, -1),
                ("EXPIRE", _key(user), _CART_SECONDS),
            )

    async def take(self, user: int) -> list[int]:
        """See `Carts`."""
        with self._measure.of("MULTI"):
            items, _ = await self._pipeline(
                ("LRANGE", _key(user), 0, -1), ("DEL", _key(user)), transaction=True
            )
        return [int(item) for item in items]

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _pipeline(
        self, *commands: tuple[str | int, ...], transaction: bool = False
    ) -> list[Any]:
        """The answers to `commands`, sent together."""
        async with self._redis.pipeline(transaction=transaction) as pipeline:
            for command in commands:
                pipeline.pipeline_execute_command(*command)  # type: ignore[no-untyped-call]  # redis has no types for it
            return await pipeline.execute()


class Stock:
    """Stock and reservations in an SQLite file that may not grow beyond its quota.

    SQLite itself enforces the quota (`max_page_count`): beyond it a write fails with "database
    or disk is full", as on a full volume. A killed process leaves a file that is whole. All
    statements run in one thread, one operation after the other.

    Args:
        folder: Of the volume; made when missing.
        quota: Bytes the file may take.
        instruments: Told about each operation.
        clock: Times them.
    """

    def __init__(self, folder: Path, quota: int, instruments: Instruments, clock: Clock) -> None:
        self._path = folder / "stock.db"
        self._quota = quota
        self._measure = Measure(instruments, clock, system="sqlite")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._database: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file, and make it on the first start.

        Raises:
            StoreError: It cannot be opened or made.
        """
        with self._measure.of("CREATE"):
            await self._in_thread(self._open)

    async def levels(self) -> list[tuple[int, int]]:
        """Article and how many are left.

        Raises:
            StoreError: SQLite says why.
        """
        with self._measure.of("SELECT"):
            return await self._in_thread(self._levels)

    async def reserve(self, item: int) -> int:
        """Take one `item` out of the stock; returns the number of the reservation.

        Raises:
            StoreError: SQLite says why.
        """
        with self._measure.of("INSERT"):
            return await self._in_thread(lambda: self._reserve(item))

    async def fill(self, count: int) -> bool:
        """Write `count` bytes that nobody needs; False once there is no room."""
        return await self._in_thread(lambda: self._write_ballast(count))

    async def free(self) -> None:
        """Take back what `fill` wrote."""
        await self._in_thread(lambda: self._connection.execute("DELETE FROM ballast"))

    async def close(self) -> None:
        """Close the file, and end the thread."""
        if self._database is not None:
            await self._in_thread(self._database.close)
        self._thread.shutdown()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            msg = "The stock was not opened."
            raise StoreError(msg)
        return self._database

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._path, isolation_level=None)
        for pragma in (
            "auto_vacuum = FULL",  # what is deleted leaves the volume
            "journal_mode = TRUNCATE",
            "synchronous = OFF",  # a killed process loses nothing, only a machine that fails
        ):
            database.execute(f"PRAGMA {pragma}")
        (size,) = database.execute("PRAGMA page_size").fetchone()
        database.execute(f"PRAGMA max_page_count = {self._quota // int(size)}")
        for statement in _TABLES:
            database.execute(statement)
        database.execute("DELETE FROM ballast")
        articles = [(item, _STOCK) for item in range(ARTICLES)]
        database.executemany("INSERT OR IGNORE INTO stock VALUES (?, ?)", articles)
        (kept,) = database.execute("SELECT count(*) FROM reservation").fetchone()
        # As many from the start as there will be, so that the file does not grow in healthy times.
        slips = [(item % ARTICLES, _slip(item)) for item in range(_RESERVATIONS - kept)]
        database.executemany("INSERT INTO reservation (item, slip) VALUES (?, ?)", slips)
        self._database = database

    def _levels(self) -> list[tuple[int, int]]:
        return self._connection.execute("SELECT item, available FROM stock").fetchall()

    def _reserve(self, item: int) -> int:
        database = self._connection
        database.execute("BEGIN IMMEDIATE")
        try:
            database.execute("UPDATE stock SET available = available - 1 WHERE item = ?", (item,))
            added = database.execute(
                "INSERT INTO reservation (item, slip) VALUES (?, ?)", (item, _slip(item))
            )
            number = int(added.lastrowid or 0)
            database.execute("DELETE FROM reservation WHERE id <= ?", (number - _RESERVATIONS,))
            database.execute("COMMIT")
        except sqlite3.Error:
            if database.in_transaction:  # SQLite has ended it itself for some errors
                database.execute("ROLLBACK")
            raise
        return number

    def _write_ballast(self, count: int) -> bool:
        try:
            for _ in range(max(1, count // len(_BALLAST))):
                self._connection.execute("INSERT INTO ballast VALUES (?)", (_BALLAST,))
        except sqlite3.OperationalError:
            return False
        return True


def _slip(item: int) -> str:
    """The order slip that is kept with a reservation."""
    return f"{item:0{_SLIP}}"


def _key(user: int) -> str:
    return f"cart:{user}"
