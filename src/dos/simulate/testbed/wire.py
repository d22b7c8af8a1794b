"""Wires: what is between a caller and a callee, and can be slow.

Each callee has one, at an address that stays the same while the process behind it comes and goes.
Bytes are passed on as they are; those towards the callee wait for `delay` first. A callee that is
down resets the connection.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from dos.kit.clock import Clock

_CHUNK = 65_536
_MOST_CONNECTIONS = 512


class Wire:
    """A TCP proxy on a loopback port of its own; open while its context lasts.

    Args:
        upstream: The callee's port at the moment.
        delay: Seconds that bytes towards the callee wait, at the moment.
        clock: Times the delay.
    """

    def __init__(
        self, upstream: Callable[[], int], delay: Callable[[], float], clock: Clock
    ) -> None:
        self._upstream = upstream
        self._delay = delay
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """`host:port` for callers."""
        if self._server is None:
            msg = "the wire is not open"
            raise RuntimeError(msg)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if len(self._connections) >= _MOST_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._connect(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connect(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._upstream())
        except OSError:
            writer.transport.abort()
            return
        ways = [
            asyncio.create_task(self._pump(reader, back, self._delay)),
            asyncio.create_task(self._pump(there, writer, _none)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (back, writer):
                end.close()

    async def _pump(
        self, source: StreamReader, sink: StreamWriter, delay: Callable[[], float]
    ) -> None:
        try:
            while data := await source.read(_CHUNK):
                if (seconds := delay()) > 0:
                    await self._clock.sleep(seconds)
                sink.write(data)
                await sink.drain()
        except OSError:
            return  # one end is gone: the connection ends


def _none() -> float:
    return 0.0
