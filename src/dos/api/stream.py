"""Following the store's events as they come.

The store is the buffer: a client that reads slowly is simply further behind in it, so that
nothing is lost and nothing piles up however slow it is. At most one batch per client is in
memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Coroutine

from dos.api.backend import Backend
from dos.api.shutdown import Stopping
from dos.model.events import Recorded

_BATCH = 200


async def follow(
    backend: Backend, stopping: Stopping, *, after: int, types: Collection[str] | None
) -> AsyncGenerator[Recorded]:
    """Events beyond `after`, those there are and then those to come, until the server stops.

    Args:
        backend: Whose store is read.
        stopping: Ends the stream.
        after: Sequence number of the last event the client has.
        types: Only these types of event; None: all.
    """
    while not stopping.is_set():
        # Taken before reading, so that with a filter the events passed over are not read again,
        # and an event that comes in between is read in the next round.
        newest = (await backend.store.position()).seq
        batch = await backend.store.events(after=after, limit=_BATCH, types=types)
        for recorded in batch:
            yield recorded
        if len(batch) == _BATCH:
            after = batch[-1].seq
            continue
        after = max(after, newest, batch[-1].seq if batch else 0)
        await _either(backend.wait_for_event(after), stopping.wait())


async def _either(*waits: Coroutine[None, None, None]) -> None:
    """Return when the first of `waits` does, and drop the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
