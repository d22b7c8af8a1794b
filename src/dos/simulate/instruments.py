"""What OpenTelemetry SDKs and the collector's receivers would have measured, pod by pod.

Durations are cumulative histograms with the bounds that the semantic conventions advise, split by
outcome; what belongs to containers and machines are gauges, as the kubelet-stats receiver has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dos.kit.clock import Millis
from dos.model.telemetry import Float64Array, Int64Array
from dos.simulate.engine import Played
from dos.simulate.fleet import Fleet
from dos.simulate.pods import Pod, limits_of
from dos.simulate.queueing import normal_cdf
from dos.simulate.replicas import Placed, use_of
from dos.simulate.semantics import (
    TRACED,
    Attributes,
    Operation,
    SpanKind,
    called,
    resource_of,
    served,
)

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper bounds of the buckets in seconds; above them one without bound."""
_LOG_BOUNDS = np.log(np.array(BOUNDS))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """A cumulative histogram of durations in seconds."""

    name: str
    attributes: Attributes
    since: Millis
    """Since when it has been counting."""
    counts: Int64Array
    """`[bucket]`."""
    total: float
    """Sum of all durations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A value as of now."""

    name: str
    unit: str
    value: float
    attributes: Attributes = ()


Measurement = Histogram | Gauge


@dataclass(slots=True, eq=False)
class _Running:
    """What a histogram has counted so far."""

    counts: Int64Array
    total: float = 0.0


class Instruments:
    """Counts what every pod would have counted.

    Args:
        fleet: The pods; whoever calls `add` has it follow first.
        seed: Of the dice that put requests into buckets.
    """

    def __init__(self, fleet: Fleet, seed: int = 0) -> None:
        physics = fleet.physics
        self._fleet, self._rng = fleet, np.random.default_rng([seed, 8])
        self._since = fleet.now
        self._limits = [limits_of(physics, place) for place in range(len(physics.services))]
        traced = [one.kind in TRACED for one in physics.services]
        self._serves = {place: served(physics, place) for place, so in enumerate(traced) if so}
        self._calls: dict[int, list[tuple[int, Operation]]] = {place: [] for place in self._serves}
        for call, caller in enumerate(physics.caller.tolist()):
            if traced[caller]:
                self._calls[caller].append((call, called(physics, call)))
        self._counted: dict[str, dict[tuple[str, Attributes], _Running]] = {}

    def add(self, played: Played) -> None:
        """Count a tick."""
        fleet, physics, flow = self._fleet, self._fleet.physics, played.flow
        answers, seconds = flow.answers, physics.step_seconds
        chances = _chances(answers.location, answers.spread)
        pods = [pod for pod in fleet if pod.service in self._serves]
        there = {pod.uid for pod in pods}
        self._counted = {uid: some for uid, some in self._counted.items() if uid in there}
        for place, operation in self._serves.items():
            ready = [pod for pod in fleet.of(place) if fleet.ready(pod)]
            if not ready:
                continue
            share = np.full(len(ready), 1.0 / len(ready))
            requests = self._rng.multinomial(round(float(played.counted.requests[place])), share)
            errors = float(np.clip(answers.errors[place], 0.0, 1.0))
            mean = float(answers.latency[place])
            for pod, number in zip(ready, requests.tolist(), strict=True):
                self._count(pod, operation, number, errors, chances[place], mean)
            for call, asks in self._calls[place]:
                callee = int(physics.callee[call])
                rate = float(flow.call_rate[call]) * seconds / len(ready)
                failed = float(np.clip(answers.call_failures[call], 0.0, 1.0))
                mean = float(answers.latency[callee])
                for pod in ready:
                    number = int(self._rng.poisson(rate))
                    self._count(pod, asks, number, failed, chances[callee], mean)

    def _count(
        self,
        pod: Pod,
        operation: Operation,
        number: int,
        errors: float,
        chances: Float64Array,
        mean: float,
    ) -> None:
        """Count `number` requests or calls of a pod, `errors` of which failed."""
        failed = int(self._rng.binomial(number, errors))
        for count, wrong in ((number - failed, False), (failed, True)):
            if count:
                key = (_metric(operation), _outcome(operation, wrong=wrong))
                mine = self._counted.setdefault(pod.uid, {})
                if key not in mine:
                    mine[key] = _Running(np.zeros(len(BOUNDS) + 1, np.int64))
                mine[key].counts += self._rng.multinomial(count, chances)
                mine[key].total += count * mean

    def measure(self) -> Iterator[tuple[Attributes, list[Measurement]]]:
        """Resources and what is measured of each now."""
        fleet, last = self._fleet, self._fleet.simulation.last
        if last is None:
            return
        pods = [pod for pod in fleet if fleet.node_up[pod.node]]
        placed = Placed.of(fleet.physics, [(pod.service, pod.slot, pod.node) for pod in pods])
        ready = np.array([fleet.ready(pod) for pod in pods], np.bool_)
        wobble = self._rng.standard_normal(len(pods))
        use = use_of(fleet.physics, last.flow, last.state, placed, ready, wobble)
        for at, pod in enumerate(pods):
            cores, memory = self._limits[pod.service]
            since = Millis(max(self._since, pod.created))
            shown: list[Measurement] = [
                Gauge(name="container.cpu.usage", unit="{cpu}", value=float(use.cpu[at]) * cores),
                Gauge(
                    name="container.memory.working_set",
                    unit="By",
                    value=float(round(float(use.memory[at]) * memory)),
                ),
                Gauge(name="k8s.container.cpu_limit", unit="{cpu}", value=cores),
                Gauge(name="k8s.container.memory_limit", unit="By", value=float(memory)),
                Gauge(name="k8s.container.ready", unit="", value=float(ready[at])),
                Gauge(name="k8s.container.restarts", unit="{restart}", value=float(pod.restarts)),
            ]
            shown += [
                Histogram(
                    name=name,
                    attributes=what,
                    since=since,
                    counts=so_far.counts,
                    total=so_far.total,
                )
                for (name, what), so_far in self._counted.get(pod.uid, {}).items()
            ]
            yield resource_of(fleet, pod), shown
        yield from self._machines(last)

    def _machines(self, last: Played) -> Iterator[tuple[Attributes, list[Measurement]]]:
        fleet = self._fleet
        for place, node in enumerate(fleet.physics.nodes):
            up = bool(fleet.node_up[place])
            shown: list[Measurement] = [
                Gauge(name="k8s.node.condition_ready", unit="", value=1.0 if up else -1.0)
            ]
            if up:
                cpu, memory = float(last.flow.node_cpu[place]), float(last.flow.node_memory[place])
                shown += [
                    Gauge(name="system.cpu.utilization", unit="1", value=cpu),
                    Gauge(
                        name="system.memory.utilization",
                        unit="1",
                        value=memory,
                        attributes=(("system.memory.state", "used"),),
                    ),
                ]
            yield machine_of(node.name, node.zone), shown


def machine_of(name: str, zone: str) -> Attributes:
    """What a machine says of itself."""
    return (("k8s.node.name", name), ("host.name", name), ("cloud.availability_zone", zone))


def _metric(operation: Operation) -> str:
    attributes = dict(operation.attributes)
    if operation.kind is SpanKind.SERVER:
        return "http.server.request.duration"
    if operation.kind is SpanKind.CONSUMER:
        return "messaging.process.duration"
    if operation.kind is SpanKind.PRODUCER:
        return "messaging.client.operation.duration"
    if "db.system.name" in attributes:
        return "db.client.operation.duration"
    return "http.client.request.duration"


def _outcome(operation: Operation, *, wrong: bool) -> Attributes:
    """The operation's attributes of low cardinality, and how it ended."""
    kept = tuple(
        (name, value)
        for name, value in operation.attributes
        if name not in {"url.path", "url.full", "url.scheme"}
    )
    http = kept[0][0] == "http.request.method"
    if http:
        kept += (("http.response.status_code", 500 if wrong else 200),)
    return (*kept, ("error.type", "500" if http else "failed")) if wrong else kept


def _chances(location: Float64Array, spread: Float64Array) -> Float64Array:
    """`[service, bucket]` probability that a request falls into each bucket."""
    below = normal_cdf((_LOG_BOUNDS - location[:, None]) / spread[:, None])
    chances = np.diff(below, axis=1, prepend=0.0, append=1.0)
    normalised: Float64Array = chances / chances.sum(axis=1, keepdims=True)
    return normalised
