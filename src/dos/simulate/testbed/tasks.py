"""The work that services really do: pages, lists, signatures, carts, stock, mails."""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path

from dos.kit.clock import Clock
from dos.simulate.testbed.instruments import Instruments
from dos.simulate.testbed.spec import Task
from dos.simulate.testbed.stores import ARTICLES, Carts, Stock

_SIGNING_ROUNDS = 3_000
"""Of PBKDF2: 1 to 2 ms of CPU time."""
_MOST_WAITING = 200
"""Messages that wait at most: then the service refuses further ones."""
_MOST_MAIL = 1 << 20
"""Bytes of sent mail that are kept."""


class OverloadError(Exception):
    """The service takes no more work at present."""


class Mailer:
    """Takes messages in and writes mails into a file, one after the other.

    Args:
        folder: Where `sent.mbox` is.
        instruments: Told about the queue and each mail.
        clock: Times them.
    """

    def __init__(self, folder: Path, instruments: Instruments, clock: Clock) -> None:
        self._path = folder / "sent.mbox"
        self._instruments = instruments
        self._clock = clock
        self._queue: asyncio.Queue[int] = asyncio.Queue(maxsize=_MOST_WAITING)

    def take(self, user: int) -> None:
        """A mail to `user` is to be sent.

        Raises:
            OverloadError: Too many wait.
        """
        try:
            self._queue.put_nowait(user)
        except asyncio.QueueFull as error:
            msg = f"{_MOST_WAITING} messages wait"
            raise OverloadError(msg) from error
        self._instruments.waiting.set(self._queue.qsize())

    async def run(self) -> None:
        """Send what was taken in, until cancelled."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            user = await self._queue.get()
            self._instruments.waiting.set(self._queue.qsize())
            began = self._clock.monotonic()
            self._write(user)
            self._instruments.worked(self._clock.monotonic() - began)

    def _write(self, user: int) -> None:
        mail = EmailMessage()
        mail["To"] = f"user-{user}@shop.test"
        mail["Subject"] = "Your order"
        mail.set_content("Thank you for your order.\n" * 10)
        mode = "ab"
        if self._path.exists() and self._path.stat().st_size > _MOST_MAIL:
            mode = "wb"
        with self._path.open(mode) as file:
            file.write(mail.as_bytes(unixfrom=True))


class Workshop:
    """Does tasks; a service without carts, stock or mailer is never asked for theirs."""

    def __init__(
        self,
        *,
        carts: Carts | None = None,
        stock: Stock | None = None,
        mailer: Mailer | None = None,
    ) -> None:
        self._carts = carts
        self._stock = stock
        self._mailer = mailer

    async def work(self, task: Task, parameters: Mapping[str, int]) -> object:
        """Do `task`, and return what there is to say about it, as JSON.

        Args:
            task: Not `RENDER`, which comes after the calls: see `render`.
            parameters: `user` and `item`.

        Raises:
            StoreError: A store failed.
            OverloadError: Too much waits already.
        """
        user, item = parameters["user"], parameters["item"] % ARTICLES
        match task:
            case Task.LIST:
                return articles(item)
            case Task.SIGN:
                return sign(user, item)
            case Task.CART_READ | Task.CART_ADD | Task.CART_TAKE if self._carts:
                return await _in_cart(self._carts, task, user, item)
            case Task.STOCK_READ if self._stock:
                return dict(await self._stock.levels())
            case Task.STOCK_RESERVE if self._stock:
                return await self._stock.reserve(item)
            case Task.ENQUEUE if self._mailer:
                self._mailer.take(user)
                return None
            case _:
                return None  # nothing of its own to do


async def _in_cart(carts: Carts, task: Task, user: int, item: int) -> list[int]:
    match task:
        case Task.CART_ADD:
            await carts.add(user, item)
            return []
        case Task.CART_TAKE:
            return await carts.take(user)
        case _:
            return await carts.view(user)


def articles(like: int) -> list[dict[str, object]]:
    """Half the catalog: the articles nearest in price to article `like`."""
    prices = {number: 100 + (number * 37) % 900 for number in range(ARTICLES)}
    nearest = sorted(prices, key=lambda number: (abs(prices[number] - prices[like]), number))
    return [
        {"id": number, "name": f"Article {number}", "price": prices[number]}
        for number in nearest[: ARTICLES // 2]
    ]


def sign(user: int, item: int) -> str:
    """The signature of a payment."""
    key = f"{user}/{item}".encode()
    return hashlib.pbkdf2_hmac("sha256", key, b"testbed", _SIGNING_ROUNDS).hex()


def render(answers: Sequence[bytes]) -> str:
    """A page of the JSON in `answers`."""
    rows = []
    for answer in answers:
        content = json.loads(answer)
        items = content if isinstance(content, list) else [content]
        rows += [f"<li>{html.escape(str(one))}</li>" for one in items]
    return f"<ul>{''.join(rows)}</ul>"
