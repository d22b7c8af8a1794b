"""`dos simulate export`: the simulator as a Prometheus exporter that can be broken on request.

One task plays a tick a second on the injected clock; the ASGI application reads what it has
counted. Both run on one event loop, so that no lock is needed. Prometheus finds one target for each
service, one for each machine and one for the cluster at `/targets` (HTTP service discovery). The
paths of `Cluster` answer as a Kubernetes API server would. `/faults` and `/actions` are the control
endpoint.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Literal

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dos.kit.clock import Clock
from dos.kit.errors import ConfigError, PermanentError
from dos.kit.secret import Secret
from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.simulate.cluster import Cluster
from dos.simulate.control import ActionRequest, FaultRequest, act, action_shown, fault_shown, inject
from dos.simulate.engine import Simulation
from dos.simulate.families import Counters
from dos.simulate.fleet import Fleet
from dos.simulate.pods import pods_of

_MOST_BODY = 64 * 1024
"""Bytes a request to the control endpoint may have."""
TICK_SECONDS = 1.0


class Exporter:
    """Plays `simulation` and shows it as metrics.

    Args:
        simulation: Its step is the simulated time of one second of the clock.
        clock: Paces the ticks.
        control: Who may use `/faults` and `/actions`: anybody (on loopback), nobody, or bearers of
            a token.
    """

    def __init__(
        self,
        simulation: Simulation,
        clock: Clock,
        *,
        seed: int = 0,
        control: Secret | Literal["anybody", "nobody"] = "anybody",
    ) -> None:
        self.simulation = simulation
        self._clock = clock
        self._control = control
        self.fleet = Fleet(simulation, seed)
        self._counters = Counters(self.fleet, seed)
        self._cluster = Cluster(self.fleet)
        self.app = Starlette(
            routes=[
                Route("/healthz", self._health),
                Route("/targets", self._targets),
                Route("/metrics", self._metrics),
                Route("/services/{name:path}/metrics", self._metrics),
                Route("/nodes/{name}/metrics", self._node_metrics),
                Route("/cluster/metrics", self._cluster_metrics),
                *(Route(path, self._listed) for path in self._cluster.paths),
                *(Route(_namespaced(path), self._listed) for path in self._cluster.namespaced),
                Route("/faults", self._guarded(self._list), methods=["GET"]),
                Route("/faults", self._guarded(self._inject), methods=["POST"]),
                Route("/faults", self._guarded(self._clear), methods=["DELETE"]),
                Route("/actions", self._guarded(self._list_actions), methods=["GET"]),
                Route("/actions", self._guarded(self._act), methods=["POST"]),
            ]
        )

    def tick(self) -> None:
        """Play and count one second."""
        self.simulation.tick()
        self.fleet.follow()
        if self.simulation.last is not None:
            self._counters.add(self.simulation.last, TICK_SECONDS)

    async def play(self) -> None:
        """Tick each second of the clock until cancelled; seconds missed are made up for."""
        due = self._clock.monotonic()
        while True:
            self.tick()
            due += TICK_SECONDS
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))

    def text(self, service: EntityId | None = None) -> bytes:
        """The metrics of one service, or of everything, in the text format."""
        physics, counters = self.simulation.physics, self._counters
        if service is not None:
            return _text(counters.families([physics.index[service]]))
        return _text(
            [
                *counters.families(range(len(physics.services))),
                *counters.nodes.families(range(len(physics.nodes)), named=True),
                *counters.nodes.states(),
            ]
        )

    async def _health(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _targets(self, request: Request) -> Response:
        """Targets as of Prometheus' http_sd; the host is the one the caller used."""
        host = request.headers.get("host", "localhost")
        physics = self.simulation.physics
        found = [
            (f"/services/{service.id}/metrics", pods_of(service)[0])
            for service in physics.services
            if service.kind is not EntityKind.EXTERNAL
        ]
        found += [(f"/nodes/{node.name}/metrics", f"{node.name}:9100") for node in physics.nodes]
        found.append(("/cluster/metrics", "kube-state-metrics"))
        targets = [
            {"targets": [host], "labels": {"__metrics_path__": path, "instance": instance}}
            for path, instance in found
        ]
        return JSONResponse(targets)

    async def _metrics(self, request: Request) -> Response:
        name = request.path_params.get("name")
        service = None if name is None else EntityId(name)
        if service is not None and service not in self.simulation.physics.index:
            return _problem(404, f"There is no service {name!r}; /targets lists them.")
        return Response(self.text(service), media_type=CONTENT_TYPE_LATEST)

    async def _node_metrics(self, request: Request) -> Response:
        name = request.path_params["name"]
        place = self.simulation.physics.node_index.get(EntityId(name))
        if place is None:
            return _problem(404, f"There is no node {name!r}; /targets lists them.")
        if not self.fleet.node_up[place]:
            return _problem(503, f"Node {name!r} does not answer.")
        families = self._counters.nodes.families([place], named=False)
        return Response(_text(families), media_type=CONTENT_TYPE_LATEST)

    async def _cluster_metrics(self, _: Request) -> Response:
        return Response(_text(self._counters.nodes.states()), media_type=CONTENT_TYPE_LATEST)

    async def _listed(self, request: Request) -> Response:
        """A list of the Kubernetes API, of all namespaces or of one."""
        namespace = request.path_params.get("namespace")
        path = request.url.path.replace(f"/namespaces/{namespace}", "", 1)
        if request.query_params.get("watch", "").lower() in {"1", "true"}:
            return _status(405, "MethodNotAllowed", "Nothing can be watched here, only listed.")
        return JSONResponse(self._cluster.listing(path, namespace))

    async def _list(self, _: Request) -> Response:
        return JSONResponse({"faults": [fault_shown(one) for one in self.simulation.truths]})

    async def _list_actions(self, _: Request) -> Response:
        return JSONResponse({"actions": [action_shown(one) for one in self.simulation.actions]})

    async def _inject(self, request: Request) -> Response:
        def make(body: bytes) -> dict[str, object]:
            wanted = FaultRequest.model_validate_json(body)
            return fault_shown(inject(self.simulation, wanted.build()))

        return await _made(request, make)

    async def _act(self, request: Request) -> Response:
        def make(body: bytes) -> dict[str, object]:
            wanted = ActionRequest.model_validate_json(body)
            return action_shown(act(self.simulation, wanted.build()))

        return await _made(request, make)

    async def _clear(self, request: Request) -> Response:
        self.simulation.clear()
        return await self._list(request)

    def _guarded(
        self, handle: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """`handle` for those who may control the simulator, a refusal for others."""

        async def guarded(request: Request) -> Response:
            if self._control == "nobody":
                return _problem(403, "Faults are controlled from loopback, or with --token-file.")
            if isinstance(self._control, Secret):
                given = request.headers.get("authorization", "")
                wanted = f"Bearer {self._control.reveal()}"
                if not hmac.compare_digest(given.encode(), wanted.encode()):
                    return _problem(401, "Send Authorization: Bearer with the exporter's token.")
            return await handle(request)

        return guarded


class _Collected:
    """A collector of families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _text(families: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(families)))
    return generate_latest(registry)


def _namespaced(path: str) -> str:
    """The path of the same list in one namespace."""
    root, _, kind = path.rpartition("/")
    return f"{root}/namespaces/{{namespace}}/{kind}"


async def _made(request: Request, make: Callable[[bytes], dict[str, object]]) -> Response:
    """What `make` makes of the body, or why not."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        return _problem(415, "Send what is wanted as application/json.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BODY:
            return _problem(413, f"A request takes at most {_MOST_BODY} bytes.")
    try:
        return JSONResponse(make(bytes(body)), status_code=201)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        return _problem(422, f"{where}: {first['msg']}.")
    except ConfigError as error:
        return _problem(422, str(error))


def _status(code: int, reason: str, message: str) -> Response:
    """A failure as the Kubernetes API tells it."""
    content = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return JSONResponse(
        content | {"message": message, "reason": reason, "code": code}, status_code=code
    )


def _problem(status: int, detail: str) -> Response:
    """An RFC 9457 problem document; ends the connection, whose request may not be read through."""
    title = HTTPStatus(status).phrase
    content = json.dumps(
        {"type": "about:blank", "title": title, "status": status, "detail": detail}
    )
    return Response(
        content,
        status_code=status,
        media_type="application/problem+json",
        headers={"Connection": "close"},
    )


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def serve(exporter: Exporter, listener: socket.socket) -> None:
    """Play and serve until interrupted or cancelled; a failure of either ends both."""
    config = uvicorn.Config(
        exporter.app, log_level="warning", lifespan="off", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        playing = group.create_task(exporter.play())
        try:
            await server.serve(sockets=[listener])
        except asyncio.CancelledError:
            # Uvicorn closes nothing when it is cancelled, and would go on reading a closed socket.
            await server.shutdown(sockets=[listener])
            raise
        finally:
            playing.cancel()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        PermanentError: The address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        msg = f"Cannot listen on {host}:{port}: {error.strerror}."
        raise PermanentError(msg, remedy="Choose another port with --port.") from error
