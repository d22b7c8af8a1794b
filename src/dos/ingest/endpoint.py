"""HTTP endpoints of sources that are pushed to: remote write, webhooks and their like.

    request ─▶ dos.api (token, size of the body) ─▶ Endpoint.handle ─▶ Inlet ─▶ sink

A source that is pushed to has `endpoints`; the API serves them beside its own routes, outside of
FastAPI: telemetry comes in megabytes, and nothing of it is JSON for pydantic. The handler runs on
the event loop, so it decodes what is large in a thread. It answers success only for what
`Inlet.submit` says is in the intake log: the sender then need not send it again, whatever happens.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from dos.ingest.base import Delivery, Sink

MAX_DECODED = 32 * 1024 * 1024
"""Bytes of a body at most once it is inflated."""
_WBITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A request's parts that a source may look at."""

    headers: Mapping[str, str]
    """Case-insensitive names."""
    query: Mapping[str, str]
    body: bytes
    """As sent; see `inflate`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the sender is told."""

    status: int = 204
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One path that the API serves for a source; takes POST."""

    path: str
    """Whole and without parameters: `/api/v1/write`."""
    handle: Callable[[Posted], Awaitable[Answer]]
    signed: bool = False
    """Whether `handle` checks a signature of the sender, so that no token is asked for."""


@runtime_checkable
class Receiving(Protocol):
    """A source that is pushed to over HTTP."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """What the API serves for it; the same as long as it lives."""
        ...


class RefusedBodyError(ValueError):
    """A body that cannot be taken; `answer` says so to the sender."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.answer = refusal(status, reason)


def refusal(status: int, reason: str) -> Answer:
    """An answer that says why nothing was taken."""
    return Answer(status=status, body=reason.encode("utf-8", "backslashreplace") + b"\n")


def no_room(seconds: int = 5) -> Answer:
    """503: nothing was taken; send it again in `seconds`."""
    reason = b"There is no room now; nothing was taken. Send it again later.\n"
    return Answer(status=503, body=reason, headers={"Retry-After": str(seconds)})


def inflate(body: bytes, encoding: str | None, most: int = MAX_DECODED) -> bytes:
    """`body` without its `Content-Encoding`: none, gzip or deflate.

    Never makes more than `most` bytes, whatever the body holds. Cost: some ms per MiB; larger
    bodies belong into a thread.

    Raises:
        RefusedBodyError: Of another encoding (415), broken (400), or larger than `most` (413).
    """
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        if len(body) > most:
            raise RefusedBodyError(413, f"The body is over {most} bytes.")
        return body
    if name not in _WBITS:
        known = "identity, gzip or deflate"
        raise RefusedBodyError(415, f"Content-Encoding {name!r} is not understood; send {known}.")
    reader = zlib.decompressobj(_WBITS[name])
    try:
        plain = reader.decompress(body, most)
    except zlib.error as error:
        raise RefusedBodyError(400, f"The body is not {name}: {error}.") from None
    if reader.unconsumed_tail:
        raise RefusedBodyError(413, f"The body is over {most} bytes once it is inflated.")
    if not reader.eof:
        raise RefusedBodyError(400, f"The body ends in the middle of its {name} stream.")
    if reader.unused_data:
        raise RefusedBodyError(400, f"The body goes on after its {name} stream.")
    return plain


class Inlet:
    """The way from a handler to the sink of the source it belongs to.

    Holds nothing: while the source does not run, or the pipeline has no room, it says False.
    """

    def __init__(self) -> None:
        self._sink: Sink | None = None

    async def run(self, sink: Sink) -> None:
        """Lend `sink` to the handlers until cancelled."""
        self._sink = sink
        try:
            sink.offer(Delivery())
            await asyncio.Event().wait()
        finally:
            self._sink = None

    def offer(self, delivery: Delivery) -> bool:
        """Hand over; False when there is no room. What is queued is lost in a crash."""
        return self._sink is not None and self._sink.offer(delivery)

    async def submit(self, delivery: Delivery) -> bool:
        """Hand over and wait until it is in the intake log; False: the sender sends it again."""
        return self._sink is not None and await self._sink.submit(delivery)
