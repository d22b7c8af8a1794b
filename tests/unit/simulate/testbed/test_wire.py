"""The wire between caller and callee, over real sockets."""

from __future__ import annotations

import asyncio
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dos.kit.clock import SystemClock
from dos.simulate.testbed.wire import Wire
from tests.conftest import unused_port


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """Port of a server that sends back what it gets."""

    async def answer(reader: StreamReader, writer: StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def ask(address: str, text: bytes) -> bytes:
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(text)
    try:
        async with asyncio.timeout(10):
            return await reader.readexactly(len(text))
    finally:
        writer.close()


async def test_bytes_pass_unchanged() -> None:
    async with echo() as port, Wire(lambda: port, lambda: 0.0, SystemClock()) as wire:
        text = bytes(range(256)) * 2_000
        assert await ask(wire.address, text) == text


async def test_only_the_way_to_the_callee_is_delayed() -> None:
    delay = 0.0
    async with echo() as port, Wire(lambda: port, lambda: delay, SystemClock()) as wire:
        began = time.monotonic()
        await ask(wire.address, b"x\n")
        quick = time.monotonic() - began
        delay = 0.3
        began = time.monotonic()
        await ask(wire.address, b"x\n")
        slow = time.monotonic() - began
    assert slow >= 0.3
    assert slow > quick + 0.2


async def test_a_callee_that_is_down_resets_and_one_that_moved_is_found() -> None:
    where = unused_port()
    async with Wire(lambda: where, lambda: 0.0, SystemClock()) as wire:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await ask(wire.address, b"x\n")
        async with echo() as port:
            where = port
            assert await ask(wire.address, b"x\n") == b"x\n"


async def test_the_end_of_the_callee_ends_the_connection() -> None:
    async def hang_up(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Wire(lambda: port, lambda: 0.0, SystemClock()) as wire:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await ask(wire.address, b"x\n")


async def test_leaving_closes_open_connections() -> None:
    async with echo() as port:
        async with Wire(lambda: port, lambda: 0.0, SystemClock()) as wire:
            host, _, own = wire.address.partition(":")
            reader, writer = await asyncio.open_connection(host, int(own))
            writer.write(b"x\n")
            assert await reader.readline() == b"x\n"
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
