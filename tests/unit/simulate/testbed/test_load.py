"""The open loop: arrivals do not wait for answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dos.kit.clock import SystemClock
from dos.simulate.testbed.load import Load
from tests.unit.simulate.testbed.served import served


class Gateway:
    """Answers as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 200
        self.hold = asyncio.Event()
        self.hold.set()
        self.app = Starlette(
            routes=[
                Route("/browse", self.answer, methods=["GET"]),
                Route("/add", self.answer, methods=["POST"]),
                Route("/buy", self.answer, methods=["POST"]),
            ]
        )

    async def answer(self, request: Request) -> Response:
        assert {"user", "item"} == set(request.query_params)
        self.asked.append(request.url.path)
        await self.hold.wait()
        return PlainTextResponse("", self.status)


@asynccontextmanager
async def loaded(gateway: Gateway, rate: float) -> AsyncIterator[Load]:
    load = Load(rate, Random(3), SystemClock())
    async with served(gateway.app) as address:
        task = asyncio.create_task(load.run(address))
        yield load
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gateway.hold.set()


async def until(condition: object, seconds: float = 30) -> None:
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)


async def test_arrivals_go_on_while_nobody_is_answered() -> None:
    gateway = Gateway()
    async with loaded(gateway, rate=200) as load:
        gateway.hold.clear()
        await until(lambda: len(gateway.asked) >= 50)
        assert load.total == 0
        gateway.hold.set()
        await until(lambda: load.total >= 50)
        assert load.failed == 0
        assert load.recent().p95 > 0


async def test_journeys_have_their_shares() -> None:
    gateway = Gateway()
    async with loaded(gateway, rate=200):
        await until(lambda: len(gateway.asked) >= 300)
    share = gateway.asked.count("/browse") / len(gateway.asked)
    assert 0.4 < share < 0.6
    assert set(gateway.asked) == {"/browse", "/add", "/buy"}


async def test_what_users_see_is_counted() -> None:
    gateway = Gateway()
    gateway.status = 503
    async with loaded(gateway, rate=200) as load:
        await until(lambda: load.total >= 20)
        assert load.failed == load.total
        assert load.recent().failed == 1.0
        gateway.status = 200
        before = load.failed
        await until(lambda: load.total - load.failed >= 100)
        assert load.failed <= before + 5
        assert 0 < load.recent().failed < 0.5


async def test_the_rate_is_kept_on_average() -> None:
    """The mean of many Poisson gaps is one over the rate, whatever the machine does."""
    gateway = Gateway()
    async with loaded(gateway, rate=50) as load:
        await until(lambda: load.total >= 100)
        seen = load.recent()
    assert 25 < seen.rate < 100
