"""An HTTP server on loopback that keeps the requests and gives scripted answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

HANG_UP = b""
"""The server reads the request, and dies."""


class Request:
    def __init__(self, headers: dict[str, str], body: bytes) -> None:
        self.headers = headers
        self.body = body


def answer(status: str, *headers: str, body: str = "") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", *headers]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


class HookServer:
    """Answers POST requests with the scripted answers, then as `reply` says."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[bytes] = []
        self.delay = 0.0
        self.port = 0

    def reply(self, request: Request) -> bytes:
        """The answer where none is scripted."""
        del request
        return answer("200 OK")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                headers = {":line": line.decode().strip()}
                while (header := await reader.readline()).strip():
                    name, _, value = header.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers["content-length"]))
                request = Request(headers, body)
                self.requests.append(request)
                await asyncio.sleep(self.delay)
                said = self.answers.pop(0) if self.answers else self.reply(request)
                writer.write(said)
                await writer.drain()
                if not said.startswith(b"HTTP/1.1 2"):
                    break
        except ConnectionError:
            pass
        finally:
            writer.close()


S = TypeVar("S", bound=HookServer)


@asynccontextmanager
async def serving(hooks: S) -> AsyncIterator[S]:
    """`hooks`, listening on a port of its own."""
    listening = await asyncio.start_server(hooks.serve, "127.0.0.1", 0)
    hooks.port = listening.sockets[0].getsockname()[1]
    try:
        yield hooks
    finally:
        listening.close()
        await listening.wait_closed()
