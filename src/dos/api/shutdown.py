"""Lets endless responses end when the server is told to stop.

An ASGI server waits for open responses before it ends the lifespan, and so tells nobody that it
wants to stop: an event stream would keep it waiting for ever. Hence the signal is heard here as
well, before it is passed on to the server's own handler.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Set once, when the server was told to stop or the lifespan ends."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def is_set(self) -> bool:
        """Whether the end has begun."""
        return self._event.is_set()

    def set(self) -> None:
        """Begin the end."""
        self._event.set()

    async def wait(self) -> None:
        """Return when the end has begun."""
        await self._event.wait()


@contextmanager
def watch_shutdown() -> Iterator[Stopping]:
    """A `Stopping` that is set by SIGINT and SIGTERM; the server's handlers still run.

    Off the main thread, where no signal arrives, it is set on leaving only.
    """
    stopping = Stopping()
    if threading.current_thread() is not threading.main_thread():
        try:
            yield stopping
        finally:
            stopping.set()
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def heard(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stopping.set)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    # Only where the server has a handler of its own: elsewhere the default must keep its effect.
    ours = [number for number in _SIGNALS if callable(before[number])]
    for number in ours:
        signal.signal(number, heard)
    try:
        yield stopping
    finally:
        stopping.set()
        for number in ours:
            if signal.getsignal(number) is heard:
                signal.signal(number, before[number])
