"""The simulator as a system that exports OTLP over HTTP: metrics, traces and logs, live.

Playing and encoding is one thing, sending another, with a bounded queue between them: who does not
keep up loses the oldest batches, and they are counted. Sending follows the specification
(OpenTelemetry Protocol 1.x, "OTLP/HTTP response" and "Failures"): 429, 502, 503 and 504 and broken
connections are tried again, after `Retry-After` where it is given and with back-off else; other
failures are not.
"""

from __future__ import annotations

import asyncio
import gzip
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import httpx2

from dos.kit import log
from dos.kit.clock import Clock
from dos.kit.retry import Backoff
from dos.simulate.otlp import Message, encode_logs, encode_metrics, encode_spans
from dos.simulate.signals import Seen, Signals

PATHS = {"traces": "/v1/traces", "logs": "/v1/logs", "metrics": "/v1/metrics"}
AGAIN = frozenset({429, 502, 503, 504})
"""Status codes after which the same batch may be sent again."""
MOST_TRIES = 5
MOST_WAIT = 60.0
"""Seconds that a receiver may ask to wait."""
TIMEOUT = 10.0

_log = log.get("simulate")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Batch:
    """One request to be sent."""

    kind: str
    items: int
    """Spans, log lines or points of metrics in it."""
    body: bytes
    """Compressed."""


@dataclass(slots=True)
class Sent:
    """Items by what became of them."""

    delivered: int = 0
    rejected: int = 0
    """Refused by the receiver, in whole batches or in part of one."""
    dropped: int = 0
    """Given up because the queue was full or the receiver did not answer."""


class Outbox:
    """Batches on their way to one receiver.

    Args:
        endpoint: Base URL, such as `http://127.0.0.1:4318`.
        client: Sends; its owner closes it.
        clock: Waits between tries.
        rng: Of the jitter of these waits.
        headers: Sent along, such as credentials.
        most: Batches held; the oldest go first.
    """

    def __init__(
        self,
        endpoint: str,
        client: httpx2.AsyncClient,
        clock: Clock,
        rng: Random,
        *,
        headers: Mapping[str, str] | None = None,
        most: int = 64,
    ) -> None:
        self._endpoint, self._client = endpoint.rstrip("/"), client
        self._clock, self._rng = clock, rng
        self._headers = {
            **(headers or {}),
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }
        self._queue: deque[Batch] = deque()
        self._most = most
        self._there = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.sent = {kind: Sent() for kind in PATHS}
        """What became of what was put in, by kind."""

    def put(self, kind: str, message: Message, items: int) -> None:
        """Queue a message, dropping the oldest one if there is no room."""
        if len(self._queue) >= self._most:
            oldest = self._queue.popleft()
            self.sent[oldest.kind].dropped += oldest.items
        body = gzip.compress(message.SerializeToString(), compresslevel=1, mtime=0)
        self._queue.append(Batch(kind, items, body))
        self._idle.clear()
        self._there.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            while not self._queue:
                self._idle.set()
                self._there.clear()
                await self._there.wait()
            await self._send(self._queue.popleft())

    async def drained(self) -> None:
        """Wait until everything was sent or given up."""
        await self._idle.wait()

    async def _send(self, batch: Batch) -> None:
        sent = self.sent[batch.kind]
        delays = Backoff().delays(self._rng)
        why = ""
        for number in range(1, MOST_TRIES + 1):
            wait = next(delays)
            try:
                answer = await self._client.post(
                    self._endpoint + PATHS[batch.kind],
                    content=batch.body,
                    headers=self._headers,
                    timeout=TIMEOUT,
                )
            except httpx2.HTTPError as error:
                why = f"{type(error).__name__}: {error}"
            else:
                if answer.is_success:
                    refused = _refused(batch.kind, answer.content)
                    sent.delivered += batch.items - refused
                    sent.rejected += refused
                    return
                why = f"HTTP {answer.status_code}"
                if answer.status_code not in AGAIN:
                    sent.rejected += batch.items
                    _log.warning("otlp batch refused", kind=batch.kind, why=why)
                    return
                wait = max(wait, _asked_to_wait(answer.headers))
            if number < MOST_TRIES:
                await self._clock.sleep(wait)
        sent.dropped += batch.items
        _log.warning("otlp batch given up", kind=batch.kind, why=why, tries=MOST_TRIES)


class OtlpExport:
    """Plays a simulation tick by tick and queues what can be seen of it.

    Args:
        signals: The simulation.
        outbox: Where the messages go; somebody has it run.
        every: Ticks between two exports of metrics.
        most_items: Spans, lines or resources in one batch.
    """

    def __init__(
        self, signals: Signals, outbox: Outbox, *, every: int = 10, most_items: int = 512
    ) -> None:
        self._signals, self._outbox = signals, outbox
        self._every, self._most = max(1, every), most_items
        self._ticks = 0

    def tick(self) -> Seen:
        """Play one step and queue what was seen of it."""
        signals, outbox = self._signals, self._outbox
        seen = signals.tick()
        signals.count()
        now = signals.simulation.now
        for spans in _chunks(seen.spans, self._most):
            outbox.put("traces", encode_spans(signals.fleet, spans), len(spans))
        for records in _chunks(seen.records, self._most):
            outbox.put("logs", encode_logs(signals.fleet, records, now), len(records))
        self._ticks += 1
        if self._ticks % self._every == 0:
            for some in _chunks(list(signals.instruments.measure()), self._most):
                points = sum(len(measured) for _, measured in some)
                outbox.put("metrics", encode_metrics(some, now), points)
        return seen


def _chunks(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), most):
        yield items[first : first + most]


def _refused(kind: str, body: bytes) -> int:
    """Items that the receiver says it did not take, though it took the batch."""
    from google.protobuf.message import (  # type: ignore[import-untyped]  # protobuf has no types
        DecodeError,
    )
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace

    try:
        if kind == "traces":
            spans = trace.ExportTraceServiceResponse.FromString(body)
            return int(spans.partial_success.rejected_spans)
        if kind == "logs":
            lines = logs.ExportLogsServiceResponse.FromString(body)
            return int(lines.partial_success.rejected_log_records)
        points = metrics.ExportMetricsServiceResponse.FromString(body)
        return int(points.partial_success.rejected_data_points)
    except DecodeError:
        return 0  # an answer of another kind says nothing of this


def _asked_to_wait(headers: Mapping[str, str]) -> float:
    """Seconds of `Retry-After`, within bounds; a date in it is not looked at."""
    text = headers.get("Retry-After", "")
    return min(MOST_WAIT, float(text)) if text.isdecimal() else 0.0
