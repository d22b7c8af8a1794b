"""Stock on a real SQLite file with a quota, carts in a real Redis and in the process."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from dos.kit.clock import SystemClock
from dos.simulate.testbed.instruments import Instruments
from dos.simulate.testbed.nodeagent import used_bytes
from dos.simulate.testbed.spec import MEBIBYTE
from dos.simulate.testbed.stores import (
    ARTICLES,
    Carts,
    ProcessCarts,
    RedisCarts,
    Stock,
    StoreError,
)
from tests.conftest import Server, unused_port


@asynccontextmanager
async def opened(folder: Path, quota: int = 2 * MEBIBYTE) -> AsyncIterator[Stock]:
    stock = Stock(folder, quota, Instruments(), SystemClock())
    await stock.open()
    yield stock
    await stock.close()


async def test_a_reservation_takes_one_from_the_stock(tmp_path: Path) -> None:
    async with opened(tmp_path) as stock:
        before = dict(await stock.levels())
        assert set(before) == set(range(ARTICLES))
        first, second = await stock.reserve(7), await stock.reserve(7)
        assert second == first + 1
        assert dict(await stock.levels()) == before | {7: before[7] - 2}
    async with opened(tmp_path) as stock:  # another life of the same volume
        assert dict(await stock.levels())[7] == before[7] - 2


async def test_healthy_work_does_not_fill_the_volume(tmp_path: Path) -> None:
    async with opened(tmp_path) as stock:
        for _ in range(20):
            await stock.reserve(1)
        before = used_bytes(tmp_path)
        for _ in range(200):
            await stock.reserve(1)
        assert used_bytes(tmp_path) <= before + 64 * 1024


async def test_a_full_volume_is_sqlites_own_error_until_there_is_room(tmp_path: Path) -> None:
    async with opened(tmp_path) as stock:
        before = used_bytes(tmp_path)
        while await stock.fill(MEBIBYTE):
            assert used_bytes(tmp_path) <= 2 * MEBIBYTE
        assert used_bytes(tmp_path) > 1.9 * MEBIBYTE
        orders = [partial(stock.reserve, 3)] * 100  # some still fit into pages that are there
        with pytest.raises(StoreError, match="sqlite INSERT: database or disk is full"):
            await one_after_the_other(orders)
        left = dict(await stock.levels())[3]
        with pytest.raises(StoreError):
            await stock.reserve(3)
        assert dict(await stock.levels())[3] == left, "half an order"
        await stock.free()
        await stock.reserve(3)
        assert used_bytes(tmp_path) < before + 64 * 1024


async def one_after_the_other(tasks: Sequence[Callable[[], Awaitable[object]]]) -> None:
    for task in tasks:
        await task()


async def test_a_restart_frees_what_a_fault_had_filled(tmp_path: Path) -> None:
    async with opened(tmp_path) as stock:
        while await stock.fill(MEBIBYTE):
            pass
    async with opened(tmp_path) as stock:
        await stock.reserve(3)
    with sqlite3.connect(tmp_path / "stock.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


async def check_carts(carts: Carts) -> None:
    assert await carts.view(1) == []
    for item in (5, 6, 5):
        await carts.add(1, item)
    await carts.add(2, 9)
    assert await carts.view(1) == [5, 6, 5]
    assert await carts.take(1) == [5, 6, 5]
    assert await carts.view(1) == await carts.take(1) == []
    assert await carts.view(2) == [9]
    for item in range(30):
        await carts.add(3, item)
    assert await carts.view(3) == list(range(10, 30))
    await carts.close()


async def test_carts_in_the_process() -> None:
    await check_carts(ProcessCarts())


async def test_carts_in_redis(redis_server: Server) -> None:
    address = redis_server.url.removeprefix("redis://").partition("/")[0]
    instruments = Instruments()
    await check_carts(RedisCarts(address, instruments, SystemClock()))
    text = instruments.text().decode()
    wanted = (
        'db_client_operation_duration_seconds_count{db_operation_name="RPUSH",'
        'db_system_name="redis",error_type="",server_address="redis"} 34.0'
    )
    assert wanted in text


async def test_a_redis_that_is_gone_is_an_error_at_once() -> None:
    instruments = Instruments()
    carts = RedisCarts(f"127.0.0.1:{unused_port()}", instruments, SystemClock())
    with pytest.raises(StoreError, match="redis LRANGE"):
        await carts.view(1)
    await carts.close()
    assert 'error_type="ConnectionError"' in instruments.text().decode()
