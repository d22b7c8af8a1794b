"""Bounded hand-over between tasks, and a task that must not die silently."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A bounded queue between tasks of one event loop.

    Two ways in, so that the overflow policy is visible where it is chosen: `put` waits for room
    (back-pressure: pull sources slow down), `offer` refuses at once (push sources answer 503).
    """

    def __init__(self, capacity: int) -> None:
        self._queue: asyncio.Queue[T] = asyncio.Queue(maxsize=capacity)
        self._refused = 0

    async def put(self, item: T) -> None:
        """Add, waiting for room."""
        await self._queue.put(item)

    def offer(self, item: T) -> bool:
        """Add if there is room; otherwise count a refusal and return False."""
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            self._refused += 1
            return False
        return True

    async def get(self) -> T:
        """Take the oldest, waiting for one."""
        return await self._queue.get()

    def get_nowait(self) -> T | None:
        """Take the oldest, or None when empty."""
        try:
            return self._queue.get_nowait()
        except asyncio.QueueEmpty:
            return None

    def __len__(self) -> int:
        return self._queue.qsize()

    @property
    def refused(self) -> int:
        """How many `offer`s found no room."""
        return self._refused
