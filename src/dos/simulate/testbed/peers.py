"""How a service calls the others: by name, over one client, measured and traced.

Names are resolved to the testbed's wires, as a cluster's DNS and proxies would. A call that fails
is a failure of the caller too: nothing is tried again, so that a fault is felt as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx2
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from dos.kit.clock import Clock
from dos.simulate.testbed import spec, tracing
from dos.simulate.testbed.instruments import Instruments
from dos.simulate.testbed.spec import Call

PATIENCE = 3.0
"""Seconds a call may take."""
_MOST_CONNECTIONS = 64
_MOST_MESSAGES = 64
"""Messages on their way at once; further ones are dropped and counted as failed calls."""


class CallError(Exception):
    """A callee did not answer, or answered with an error."""


class Peers:
    """Calls other services.

    Args:
        addresses: `host:port` by name.
        instruments: Told about each call.
        tracer: Makes a span of each.
        clock: Times them.
    """

    def __init__(
        self,
        addresses: Mapping[str, str],
        instruments: Instruments,
        tracer: Tracer,
        clock: Clock,
    ) -> None:
        self._addresses = addresses
        self._instruments = instruments
        self._tracer = tracer
        self._clock = clock
        self._client = httpx2.AsyncClient(
            timeout=PATIENCE,
            trust_env=False,
            limits=httpx2.Limits(max_connections=_MOST_CONNECTIONS),
        )
        self._messages: set[asyncio.Task[None]] = set()

    async def stage(self, calls: tuple[Call, ...], parameters: Mapping[str, int]) -> list[bytes]:
        """Make `calls` at the same time; answers of the awaited ones, in order.

        Raises:
            CallError: One of the awaited failed.
        """
        for call in calls:
            if not call.awaited:
                self._send(call, parameters)
        awaited = [self.call(call, parameters) for call in calls if call.awaited]
        if len(awaited) == 1:
            return [await awaited[0]]
        answers = await asyncio.gather(*awaited, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if isinstance(answer, bytes)]

    async def call(self, call: Call, parameters: Mapping[str, int]) -> bytes:
        """The body of the answer to one call.

        Raises:
            CallError: There was none, or its status says that it failed.
        """
        operation = spec.service(call.callee).operation(call.operation)
        url = f"http://{self._addresses[call.callee]}{operation.route}"
        began, status, error = self._clock.monotonic(), None, ""
        with self._tracer.start_as_current_span(operation.method, kind=SpanKind.CLIENT) as span:
            span.set_attribute("server.address", call.callee)
            try:
                answer = await self._client.request(
                    operation.method, url, params=parameters, headers=tracing.passed_on()
                )
                status = answer.status_code
                error = str(status) if status >= 400 else ""
            except httpx2.HTTPError as failure:
                error = type(failure).__name__
                msg = f"{call.callee}: {error}"
                raise CallError(msg) from failure
            finally:
                if error:
                    span.set_status(Status(StatusCode.ERROR, error))
                seconds = self._clock.monotonic() - began
                self._instruments.called(
                    operation.method, call.callee, status=status, error=error, seconds=seconds
                )
        if error:
            msg = f"{call.callee}: {error}"
            raise CallError(msg)
        return answer.content

    async def close(self) -> None:
        """Give up what is on its way, and the connections."""
        for task in self._messages:
            task.cancel()
        await asyncio.gather(*self._messages, return_exceptions=True)
        await self._client.aclose()

    def _send(self, call: Call, parameters: Mapping[str, int]) -> None:
        if len(self._messages) >= _MOST_MESSAGES:
            self._instruments.called("POST", call.callee, status=None, error="dropped", seconds=0.0)
            return
        task = asyncio.create_task(self._message(call, parameters))
        self._messages.add(task)
        task.add_done_callback(self._messages.discard)

    async def _message(self, call: Call, parameters: Mapping[str, int]) -> None:
        try:
            await self.call(call, parameters)
        except CallError:
            return  # measured by the call; nobody waits for it
