"""One service of the testbed as an ASGI application.

Each request is timed, counted and traced, then meets what is broken, then does the operation's
own task and its calls. `/metrics` is for Prometheus, `/healthz` for the supervisor; `/faults`
takes faults from bearers of the testbed's token only.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

from opentelemetry.trace import SpanKind, Status, StatusCode
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dos.kit import log
from dos.kit.clock import Clock
from dos.kit.errors import ConfigError
from dos.simulate.testbed import spec, tracing
from dos.simulate.testbed.breakage import Breakage, InjectedError
from dos.simulate.testbed.faults import InjectedFault, first_problem
from dos.simulate.testbed.instruments import CONTENT_TYPE, Instruments
from dos.simulate.testbed.peers import CallError, Peers
from dos.simulate.testbed.spec import Operation, ServiceSpec, Task
from dos.simulate.testbed.stores import ProcessCarts, RedisCarts, Stock, StoreError
from dos.simulate.testbed.tasks import Mailer, OverloadError, Workshop, render

_MOST_BODY = 4096
"""Bytes a fault may have."""
_FAILURES = {InjectedError: 500, StoreError: 500, CallError: 502, OverloadError: 503}
"""What a request can fail of, and the status that says so."""
_log = log.get("testbed")


class ServiceSettings(BaseModel):
    """What the supervisor tells a service at its start."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    port: int
    addresses: dict[str, str]
    """`host:port` by name of all others; with `redis` among them if there is one."""
    token: str
    folder: Path
    """For everything the testbed keeps."""
    seed: int
    trace_ratio: float

    @property
    def volume(self) -> Path:
        """Folder of what the service itself keeps."""
        return self.folder / "volumes" / self.name


class ShopService:
    """Wires one service together, and runs what runs beside its requests."""

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._spec: ServiceSpec = spec.service(settings.name)
        self._instruments = Instruments()
        traces = settings.folder / "traces"
        self._provider = tracing.start(settings.name, traces, settings.trace_ratio)
        self._tracer = tracing.tracer_of(self._provider)
        self._peers = Peers(settings.addresses, self._instruments, self._tracer, clock)
        self._stock: Stock | None = None
        if self._spec.volume is not None:
            quota = self._spec.volume
            self._stock = Stock(settings.volume, quota, self._instruments, clock)
        self._carts = self._open_carts() if _has(self._spec, Task.CART_ADD) else None
        queues = _has(self._spec, Task.ENQUEUE)
        self._mailer = Mailer(settings.volume, self._instruments, clock) if queues else None
        self._workshop = Workshop(carts=self._carts, stock=self._stock, mailer=self._mailer)
        self._breakage = Breakage(
            clock,
            Random(f"{settings.seed}/{settings.name}"),  # noqa: S311  no secret
            fill=self._stock.fill if self._stock else None,
            free=self._stock.free if self._stock else None,
        )
        self.app = Starlette(
            routes=[
                *(self._route(operation) for operation in self._spec.operations),
                Route("/healthz", self._health),
                Route("/metrics", self._metrics),
                Route("/faults", self._guarded(self._inject), methods=["POST"]),
                Route("/faults", self._guarded(self._clear), methods=["DELETE"]),
            ],
            lifespan=self._lifespan,
        )

    def _open_carts(self) -> RedisCarts | ProcessCarts:
        address = self._settings.addresses.get(spec.REDIS)
        return RedisCarts(address, self._instruments, self._clock) if address else ProcessCarts()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(self._provider.shutdown)
            stack.push_async_callback(self._peers.close)
            if self._carts:
                stack.push_async_callback(self._carts.close)
            if self._stock:
                await self._stock.open()
                stack.push_async_callback(self._stock.close)
            beside = [asyncio.create_task(self._breakage.run())]
            if self._mailer:
                beside.append(asyncio.create_task(self._mailer.run()))
            for task in beside:
                task.add_done_callback(_must_not_end)
            try:
                yield
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)

    def _route(self, operation: Operation) -> Route:
        async def serve(request: Request) -> Response:
            return await self._serve(operation, request)

        return Route(operation.route, serve, methods=[operation.method])

    async def _serve(self, operation: Operation, request: Request) -> Response:
        """Handle one request, and tell Prometheus and the trace about it."""
        began, status = self._clock.monotonic(), 500
        name = f"{operation.method} {operation.route}"
        context = tracing.received(request.headers)
        with (
            self._instruments.active.track_inprogress(),
            self._tracer.start_as_current_span(name, context, SpanKind.SERVER) as span,
        ):
            try:
                response = await self._answer(operation, request)
                status = response.status_code
            finally:
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_status(Status(StatusCode.ERROR))
                seconds = self._clock.monotonic() - began
                self._instruments.served(operation.method, operation.route, status, seconds)
        return response

    async def _answer(self, operation: Operation, request: Request) -> Response:
        try:
            parameters = {name: int(request.query_params[name]) for name in ("user", "item")}
        except (KeyError, ValueError):
            return PlainTextResponse("user and item must be whole numbers\n", status_code=400)
        try:
            await self._breakage.meet()
            content = await self._workshop.work(operation.task, parameters)
            answers: list[bytes] = []
            for stage in operation.calls:
                answers += await self._peers.stage(stage, parameters)
        except tuple(_FAILURES) as failure:
            status = _FAILURES[type(failure)]
            reason = f"{type(failure).__name__}: {failure}"
            _log.error("request failed", route=operation.route, status=status, reason=reason)
            return PlainTextResponse(f"{reason}\n", status_code=status)
        if operation.task is Task.RENDER:
            content = render(answers)
        return JSONResponse(content)

    async def _health(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _metrics(self, _: Request) -> Response:
        return Response(self._instruments.text(), media_type=CONTENT_TYPE)

    async def _inject(self, request: Request) -> Response:
        try:
            if int(request.headers.get("content-length", "0")) > _MOST_BODY:
                return PlainTextResponse("too long\n", status_code=413)
            fault = InjectedFault.model_validate_json(await request.body())
            fault.check(redis=False)
        except ValidationError as error:
            return PlainTextResponse(f"{first_problem(error)}\n", status_code=422)
        except ConfigError as error:
            return PlainTextResponse(f"{error}\n", status_code=422)
        self._breakage.inject(fault)
        return Response(status_code=204)

    async def _clear(self, _: Request) -> Response:
        self._breakage.clear()
        return Response(status_code=204)

    def _guarded(
        self, handle: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        wanted = f"Bearer {self._settings.token}".encode()

        async def guarded(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, wanted):
                return PlainTextResponse("the supervisor's token, please\n", status_code=401)
            return await handle(request)

        return guarded


def _has(service: ServiceSpec, task: Task) -> bool:
    return any(operation.task is task for operation in service.operations)


def _must_not_end(task: asyncio.Task[None]) -> None:
    """A service whose work beside its requests died is no service: end it, to be restarted."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("ended", error=repr(error))
        task.get_loop().stop()


def settings_from(line: str) -> ServiceSettings:
    """The settings in the line of JSON that the supervisor writes.

    Raises:
        ConfigError: They are not.
    """
    try:
        return ServiceSettings.model_validate(json.loads(line))
    except (ValueError, ValidationError) as error:
        msg = f"The settings are wrong: {error}"
        raise ConfigError(msg) from error
