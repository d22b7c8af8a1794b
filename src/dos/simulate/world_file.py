"""Worlds in YAML files: `read` makes a world of one, `write` makes one of a world.

What may be written is `WorldFile`: the services by their ids, each with what it calls. A file is
checked in two steps, so that every mistake is told with its place: first each value by itself,
then what they say of each other. `read(write(world))` is the same world again, up to the order of
its calls.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from dos.kit import yaml_source
from dos.kit.duration import Duration, parse_duration
from dos.kit.errors import ConfigError
from dos.kit.yaml_source import Document, DocumentError, Location, Problem
from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.simulate.world import Autoscaler, Call, SimulatedNode, SimulatedService, World

MOST_SERVICES = 10_000
MOST_NODES = 5_000
MOST_PROBLEMS = 20
"""Mistakes of a file that are told at once."""
_PLAIN_SERVICE = SimulatedService(name="")
_PLAIN_CALL = Call(caller=EntityId(""), callee=EntityId(""))
"""What is assumed where nothing is written."""
_DURATIONS = {"service_time", "timeout"}
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")


class ServiceKind(StrEnum):
    """What a service is."""

    GATEWAY = "gateway"
    STATELESS = "stateless"
    CACHE = "cache"
    QUEUE = "queue"
    DATABASE = "database"
    EXTERNAL = "external"


_KINDS = {
    kind: EntityKind.SERVICE if kind is ServiceKind.STATELESS else EntityKind(kind.value)
    for kind in ServiceKind
}
_WORDS = {entity: kind for kind, entity in _KINDS.items()}


def _name(text: str) -> str:
    if not _ID.fullmatch(text):
        msg = "a name is letters, digits, '-', '_' and '.', 128 at most"
        raise ValueError(msg)
    return text


def _service_id(text: str) -> str:
    """`name`, or `namespace/name`."""
    for part in text.split("/", 1):
        _name(part)
    return text


Name = Annotated[str, AfterValidator(_name)]
ServiceName = Annotated[str, AfterValidator(_service_id)]


def _anything(value: object) -> object:
    """Nothing written means that all is as usual."""
    return {} if value is None else value


def _times(value: object) -> object:
    """`0.5` for `{per_request: 0.5}`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"per_request": value}
    return _anything(value)


class CallFile(BaseModel):
    """How a service uses another one."""

    model_config = ConfigDict(extra="forbid")

    kind: EdgeKind | None = None
    """`call`, `message`, `read` or `write`; from the kinds of the two services, if left out."""
    per_request: float = Field(default=1.0, gt=0, le=1000)
    """Calls for one request of the caller, on average: the fan-out."""
    timeout: Duration = Field(default=1.0, ge=0.001, le=3600)
    """Until the caller gives up."""
    retries: int = Field(default=1, ge=0, le=10)
    """Further tries after a failed call."""
    retry_budget: float = Field(default=1.0, ge=0, le=10)
    """Retries per call at most, as a ratio."""
    criticality: float = Field(default=1.0, ge=0, le=1)
    """Share of finally failed calls that fail the caller's request; 0: there is a fallback."""
    breaker: bool = True
    """Whether the caller stops calling a callee that keeps failing."""


class AutoscalerFile(BaseModel):
    """Horizontal scaling by CPU, as Kubernetes' HorizontalPodAutoscaler does it."""

    model_config = ConfigDict(extra="forbid")

    at_least: int = Field(ge=1, le=1000)
    """Replicas that are always there."""
    at_most: int = Field(ge=1, le=1000)
    """Replicas beyond which it does not go."""
    target: float = Field(default=0.6, ge=0.1, le=0.95)
    """CPU ratio it aims at."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.at_least > self.at_most:
            msg = "at_least is more than at_most"
            raise ValueError(msg)
        return self


class ServiceFile(BaseModel):
    """One workload, datastore, queue or third party."""

    model_config = ConfigDict(extra="forbid")

    kind: ServiceKind = ServiceKind.STATELESS
    """`gateway`, `stateless`, `cache`, `queue`, `database` or `external`."""
    replicas: int = Field(default=2, ge=1, le=1000)
    """Pods that share its load."""
    zones: list[Name] = Field(default=[], max_length=100)
    """Zones that its replicas are spread over; all, if left out."""
    cpu: float | None = Field(default=None, gt=0, le=0.95)
    """Ratio of its capacity in use at the average demand; 0.35, if left out."""
    capacity: float | None = Field(default=None, ge=1, le=10_000_000)
    """Requests per second that its replicas can serve together, instead of `cpu`."""
    service_time: Duration = Field(default=0.02, ge=0.00001, le=60)
    """Mean of its own work for one request, unloaded and without callees."""
    dispersion: float = Field(default=0.7, ge=0, le=5)
    """Coefficient of variation of the service time."""
    memory: float = Field(default=0.45, ge=0.02, le=0.9)
    """Ratio of the memory limit in use just after a garbage collection."""
    error_rate: float = Field(default=0.001, ge=0, le=0.5)
    """Ratio of requests that fail on a good day for reasons of its own."""
    version: str = Field(default="1.0.0", min_length=1, max_length=64)
    """What runs before the first deployment."""
    disk: float = Field(default=0.0, ge=0, le=0.95)
    """Ratio of its volume in use; 0 where it has none."""
    autoscale: AutoscalerFile | None = None
    """Replicas by load."""
    calls: dict[ServiceName, Annotated[CallFile, BeforeValidator(_times)]] = {}
    """What it uses: the id of each callee, and calls for one request, or more of how it calls."""

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.cpu is not None and self.capacity is not None:
            msg = "cpu and capacity say the same thing; write one of them"
            raise ValueError(msg)
        return self


class WorldFile(BaseModel):
    """What may be written in the file of a world."""

    model_config = ConfigDict(extra="forbid")

    name: Name = "world"
    """What to call it."""
    entries: dict[ServiceName, Annotated[float, Field(gt=0, le=10_000_000)]] = Field(min_length=1)
    """Requests per second that users bring to each entry point, averaged over the week."""
    services: dict[ServiceName, Annotated[ServiceFile, BeforeValidator(_anything)]] = Field(
        min_length=1, max_length=MOST_SERVICES
    )
    """The services by name, or by `namespace/name`."""
    nodes: dict[Name, Name] = Field(default={}, max_length=MOST_NODES)
    """The zone of each machine; if left out, one machine for each dozen of replicas."""


def read(path: Path) -> World:
    """The world in the file `path`.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong; the message says where.
    """
    try:
        document = yaml_source.read(path)
    except DocumentError as error:
        raise _refusal(error.problems) from error
    return build(document)


def parse(text: str, source: str = "world") -> World:
    """The world in the text of a file called `source`.

    Raises:
        ConfigError: Something in it is wrong; the message says where.
    """
    try:
        document = yaml_source.parse(text.encode(), source)
    except DocumentError as error:
        raise _refusal(error.problems) from error
    return build(document)


def build(document: Document) -> World:
    """The world that a document describes.

    Raises:
        ConfigError: Something in it is wrong; the message says where.
    """
    try:
        content = WorldFile.model_validate(document.value)
    except ValidationError as error:
        wrong = error.errors(include_url=False)
        raise _refusal([_explain(document, details) for details in wrong]) from error
    problems = list(_misfits(document, content))
    if problems:
        raise _refusal(problems)
    services = [_service(name, one) for name, one in content.services.items()]
    try:
        world = World(
            name=content.name,
            services=tuple(services),
            calls=tuple(_calls(content)),
            entries={EntityId(name): rate for name, rate in content.entries.items()},
            nodes=tuple(SimulatedNode(name=n, zone=zone) for n, zone in content.nodes.items()),
        )
    except ConfigError as error:
        msg = f"{document.source}: {error.message}"
        raise ConfigError(msg, remedy=error.remedy) from error
    return _sized(document, content, world)


def write(world: World) -> str:
    """`world` as the text of a file; sizes as `cpu`, the machines one by one.

    Large worlds do not fit into a file that can be read again: about 1,500 services do.
    """
    calls: dict[EntityId, dict[str, object]] = {one.id: {} for one in world.services}
    kinds = {one.id: one.kind for one in world.services}
    for call in world.calls:
        calls[call.caller][str(call.callee)] = _written_call(call, kinds)
    services: dict[str, object] = {}
    for one in world.services:
        services[str(one.id)] = _written_service(one, calls[one.id])
    content = {
        "name": world.name,
        "entries": {str(name): rate for name, rate in world.entries.items()},
        "services": services,
        "nodes": {node.name: node.zone for node in world.nodes},
    }
    text: str = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
    return text


def _service(name: str, one: ServiceFile) -> SimulatedService:
    namespace, _, plain = name.rpartition("/")
    scales = one.autoscale
    return SimulatedService(
        name=plain,
        namespace=namespace,
        kind=_KINDS[one.kind],
        replicas=one.replicas,
        cpu=_PLAIN_SERVICE.cpu if one.cpu is None else one.cpu,
        service_time=one.service_time,
        dispersion=one.dispersion,
        memory=one.memory,
        error_rate=one.error_rate,
        version=one.version,
        disk=one.disk,
        autoscale=None
        if scales is None
        else Autoscaler(at_least=scales.at_least, at_most=scales.at_most, target=scales.target),
        zones=tuple(one.zones),
    )


def _calls(content: WorldFile) -> Iterator[Call]:
    kinds = {EntityId(name): _KINDS[one.kind] for name, one in content.services.items()}
    for name, service in content.services.items():
        for other, one in service.calls.items():
            caller, callee = EntityId(name), EntityId(other)
            yield Call(
                caller=caller,
                callee=callee,
                kind=_usual(kinds[caller], kinds[callee]) if one.kind is None else one.kind,
                per_request=one.per_request,
                timeout=one.timeout,
                retries=one.retries,
                retry_budget=one.retry_budget,
                criticality=one.criticality,
                breaker=one.breaker,
            )


def _usual(caller: EntityKind, callee: EntityKind) -> EdgeKind:
    """The kind of an edge that does not state it."""
    if EntityKind.QUEUE in {caller, callee}:
        return EdgeKind.MESSAGE
    stores = {EntityKind.CACHE, EntityKind.DATABASE}
    return EdgeKind.READ if callee in stores else EdgeKind.CALL


def _sized(document: Document, content: WorldFile, world: World) -> World:
    """`world` with the CPU ratios that follow from the stated capacities.

    Raises:
        ConfigError: A service cannot serve what reaches it on an average day.
    """
    demand = world.demand()
    problems: list[Problem] = []
    services: list[SimulatedService] = []
    for name, one in content.services.items():
        service = world.services[len(services)]
        if one.capacity is not None:
            cpu = demand[service.id] / one.capacity
            if cpu > 0.95:
                message = (
                    f"{one.capacity:g} requests/s are too few: on average "
                    f"{demand[service.id]:.4g} reach it; write {demand[service.id] / 0.5:.0f} "
                    "for a CPU ratio of 0.5"
                )
                place = ("services", name, "capacity")
                problems.append(_problem(document, place, message, value=True))
            # Nobody may reach it at all; it is not idle for that.
            service = replace(service, cpu=max(cpu, 1e-6))
        services.append(service)
    if problems:
        raise _refusal(problems)
    return replace(world, services=tuple(services))


def _misfits(document: Document, content: WorldFile) -> Iterator[Problem]:
    """Names that are used and that nothing has."""
    known = list(content.services)
    for name in content.entries:
        if name not in content.services:
            yield _problem(document, ("entries", name), f"is no service{_nearest(name, known)}")
    zones = set(content.nodes.values())
    for name, service in content.services.items():
        for number, zone in enumerate(service.zones):
            if zones and zone not in zones:
                near = _nearest(zone, sorted(zones))
                place: Location = ("services", name, "zones", number)
                yield _problem(document, place, f"there is no node in zone {zone!r}{near}")
        for callee in service.calls:
            place = ("services", name, "calls", callee)
            if callee == name:
                yield _problem(document, place, "calls itself; leave it out")
            elif callee not in content.services:
                yield _problem(document, place, f"is no service{_nearest(callee, known)}")


def _problem(
    document: Document, location: Location, message: str, *, value: bool = False
) -> Problem:
    """A problem with a key, or its value, or what is around where the file does not have it."""
    places = (document.values, document.keys) if value else (document.keys, document.values)
    marks = (
        place[location[:depth]]
        for depth in range(len(location), 0, -1)
        for place in places
        if location[:depth] in place
    )
    return Problem(
        source=document.source, mark=next(marks, None), location=location, message=message
    )


def _explain(document: Document, details: ErrorDetails) -> Problem:
    """What pydantic found, in words and with its place."""
    location = tuple(part for part in details["loc"] if part != "[key]")
    on_key = len(location) < len(details["loc"]) or details["type"] == "extra_forbidden"
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "extra_forbidden":
        known = list(_model_at(location[:-1]).model_fields)
        near = _nearest(str(location[-1]), known)
        message = f"unknown key{near} (keys: {', '.join(known)})"
    elif details["type"] == "missing":
        message = "is missing"
    else:
        message = message[:1].lower() + message[1:]
    return _problem(document, location, message, value=not on_key)


def _model_at(location: Location) -> type[BaseModel]:
    """What may be written there."""
    if len(location) < 2:
        return WorldFile
    if len(location) == 2:
        return ServiceFile
    return AutoscalerFile if location[2] == "autoscale" else CallFile


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _refusal(problems: list[Problem] | tuple[Problem, ...]) -> ConfigError:
    lines = [str(problem) for problem in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"… and {len(problems) - MOST_PROBLEMS} more.")
    heading = [f"the world has {len(problems)} problems:"] if len(problems) > 1 else []
    return ConfigError("\n".join(heading + lines))


def _written_service(one: SimulatedService, calls: Mapping[str, object]) -> dict[str, object]:
    """What of a service differs from what is assumed where nothing is written."""
    said: dict[str, object] = {}
    if one.kind is not EntityKind.SERVICE:
        said["kind"] = _WORDS[one.kind].value
    said |= _unusual(one, _PLAIN_SERVICE, ("replicas", "cpu", "service_time", "dispersion"))
    said |= _unusual(one, _PLAIN_SERVICE, ("memory", "error_rate", "version", "disk"))
    if one.zones:
        said["zones"] = list(one.zones)
    if one.autoscale is not None:
        scales = one.autoscale
        said["autoscale"] = {
            "at_least": scales.at_least,
            "at_most": scales.at_most,
            "target": scales.target,
        }
    if calls:
        said["calls"] = dict(calls)
    return said


def _written_call(call: Call, kinds: Mapping[EntityId, EntityKind]) -> object:
    """A number where nothing but the fan-out differs from what is assumed."""
    said: dict[str, object] = {}
    if call.kind is not _usual(kinds[call.caller], kinds[call.callee]):
        said["kind"] = call.kind.value
    said |= _unusual(call, _PLAIN_CALL, ("per_request", "timeout", "retries", "retry_budget"))
    said |= _unusual(call, _PLAIN_CALL, ("criticality", "breaker"))
    return said if said.keys() - {"per_request"} else call.per_request


def _unusual(
    one: SimulatedService | Call, plain: SimulatedService | Call, fields: Sequence[str]
) -> dict[str, object]:
    """The fields in which `one` is not like `plain`, as they are written."""
    values = {field: getattr(one, field) for field in fields}
    return {
        field: _written_duration(value) if field in _DURATIONS else value
        for field, value in values.items()
        if value != getattr(plain, field)
    }


def _written_duration(seconds: float) -> str | float:
    """`250ms` or `1.5s` where that is exactly as long."""
    text = f"{1000 * seconds:.12g}ms" if seconds < 1 else f"{seconds:.12g}s"
    return text if "e" not in text and parse_duration(text) == seconds else seconds
