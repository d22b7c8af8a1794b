"""The simulated system as Prometheus metric families, named as real instrumentation names them.

Services carry the OpenTelemetry Collector's span metrics and every call its service graph; what is
shown of replicas and machines is in `container_families` and `node_families`. Databases, caches and
queues have no spans of their own, and third parties nothing at all: they are seen through their
callers only, as in production. Counters grow by what each tick counted, in whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from prometheus_client.core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.telemetry import Float64Array, Int64Array
from dos.simulate.container_families import ContainerCounters
from dos.simulate.engine import Played
from dos.simulate.fleet import Fleet
from dos.simulate.layout import STATEFUL
from dos.simulate.node_families import NodeCounters
from dos.simulate.queueing import normal_cdf
from dos.simulate.semantics import TRACED, served
from dos.simulate.world import SimulatedService

BOUNDS = (1, 2, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)
"""Upper bounds of the latency buckets, in milliseconds; above them one without bound."""
_LOG_BOUNDS = np.log(np.array(BOUNDS) / 1000.0)
USER = "user"
"""Tempo's name for callers outside the traced system."""


class Counters:
    """What has been counted since the start; grows tick by tick.

    Args:
        fleet: The pods of the world, whose order is used here.
        seed: Of the draws that put requests into latency buckets.
    """

    def __init__(self, fleet: Fleet, seed: int) -> None:
        physics = fleet.physics
        services, calls, buckets = len(physics.services), len(physics.calls), len(BOUNDS) + 1
        self._physics = physics
        self._rng = np.random.default_rng([seed, 1])
        self.requests = np.zeros(services)
        self.failed = np.zeros(services)
        self.buckets: Int64Array = np.zeros((services, buckets), np.int64)
        self.seconds = np.zeros(services)
        self.calls = np.zeros(calls)
        self.call_failed = np.zeros(calls)
        self.call_buckets: Int64Array = np.zeros((calls, buckets), np.int64)
        self.call_seconds = np.zeros(calls)
        self.entered = np.zeros(services)
        self._operations = {
            place: served(physics, place)
            for place, service in enumerate(physics.services)
            if service.kind in TRACED
        }
        self.replicas = ContainerCounters(fleet, np.random.default_rng([seed, 4]))
        self.nodes = NodeCounters(fleet, np.random.default_rng([seed, 6]))

    def add(self, played: Played, seconds: float) -> None:
        """Count `seconds` of the state of affairs in `played`."""
        physics, flow, answers = self._physics, played.flow, played.flow.answers
        share = seconds / physics.step_seconds
        requests = np.rint(played.counted.requests * share)
        self.requests += requests
        self.failed += np.minimum(requests, np.rint(played.counted.failed * share))
        self.entered += requests * (physics.entries > 0)
        chances = _bucket_chances(answers.location, answers.spread)
        self.buckets += self._rng.multinomial(requests.astype(np.int64), chances)
        self.seconds += requests * answers.latency

        calls = self._rng.poisson(flow.call_rate * seconds)
        self.calls += calls
        self.call_failed += self._rng.binomial(calls, np.clip(answers.call_failures, 0.0, 1.0))
        self.call_buckets += self._rng.multinomial(calls, chances[physics.callee])
        self.call_seconds += calls * answers.latency[physics.callee]

        out = np.bincount(physics.caller, calls, len(requests))
        calls_out = out.astype(np.float64, copy=False)
        self.replicas.add(played, requests, calls_out, seconds)
        self.nodes.add(played, requests, calls_out, seconds, self.replicas)

    def families(self, places: Iterable[int]) -> Iterator[Metric]:
        """The families of the services at `places`, as one exporter would show them together."""
        chosen = [place for place in places if self._exported(place)]
        yield from self._spans(chosen)
        yield from self._service_graph(set(chosen))
        yield from self.replicas.families(chosen)

    def _exported(self, place: int) -> bool:
        return self._physics.services[place].kind is not EntityKind.EXTERNAL

    def _spans(self, places: list[int]) -> Iterator[Metric]:
        labels = ["service_name", "span_kind", "span_name", "status_code"]
        calls = CounterMetricFamily("traces_span_metrics_calls", "Spans.", labels=labels)
        duration = HistogramMetricFamily(
            "traces_span_metrics_duration_milliseconds", "Duration of spans.", labels=labels[:3]
        )
        for place in places:
            service = self._physics.services[place]
            if service.kind not in TRACED:
                continue
            operation = self._operations[place]
            span = [service.name, f"SPAN_KIND_{operation.kind.name}", operation.name]
            failed = float(self.failed[place])
            calls.add_metric([*span, "STATUS_CODE_UNSET"], float(self.requests[place]) - failed)
            if failed:
                calls.add_metric([*span, "STATUS_CODE_ERROR"], failed)
            total = float(self.seconds[place]) * 1000
            duration.add_metric(span, _cumulated(self.buckets[place], 1.0), total)
        yield from (calls, duration)

    def _service_graph(self, places: set[int]) -> Iterator[Metric]:
        physics = self._physics
        prefix, labels = "traces_service_graph_request", ["client", "server", "connection_type"]
        total = CounterMetricFamily(prefix, "Requests between two services.", labels=labels)
        failed = CounterMetricFamily(f"{prefix}_failed", "Those that failed.", labels=labels)
        client = HistogramMetricFamily(
            f"{prefix}_client_seconds", "Latency as the client sees it.", labels=labels
        )
        server = HistogramMetricFamily(
            f"{prefix}_server_seconds", "Latency as the server sees it.", labels=labels
        )
        for place in sorted(places):
            if self.entered[place]:
                name = physics.services[place].name
                total.add_metric([USER, name, "virtual_node"], float(self.entered[place]))
        for number, call in enumerate(physics.calls):
            caller, callee = int(physics.caller[number]), int(physics.callee[number])
            traced = physics.services[caller].kind in TRACED
            # What comes out of a queue is told by the consumer that took it.
            teller = callee if physics.services[caller].kind is EntityKind.QUEUE else caller
            if teller not in places or not (traced or teller == callee):
                continue
            called = physics.services[callee]
            edge = [physics.services[caller].name, called.name, _connection(called, call.kind)]
            total.add_metric(edge, float(self.calls[number]))
            failed.add_metric(edge, float(self.call_failed[number]))
            buckets = _cumulated(self.call_buckets[number], 1000.0)
            client.add_metric(edge, buckets, float(self.call_seconds[number]))
            if called.kind in TRACED:
                server.add_metric(edge, buckets, float(self.call_seconds[number]))
        yield from (total, failed, client, server)


def _connection(called: SimulatedService, kind: EdgeKind) -> str:
    if kind is EdgeKind.MESSAGE:
        return "messaging_system"
    return "database" if called.kind in STATEFUL else ""


def _bucket_chances(location: Float64Array, spread: Float64Array) -> Float64Array:
    """`[service, bucket]` probability that a request's latency falls into each bucket."""
    below = normal_cdf((_LOG_BOUNDS - location[:, None]) / spread[:, None])
    chances = np.diff(below, axis=1, prepend=0.0, append=1.0)
    # A multinomial draw refuses sums that exceed 1 by rounding.
    total = chances.sum(axis=1, keepdims=True)
    normalised: Float64Array = chances / total
    return normalised


def _cumulated(counts: Int64Array, divisor: float) -> list[tuple[str, float]]:
    """Buckets as Prometheus wants them; bounds are milliseconds divided by `divisor`."""
    bounds = [*(f"{bound / divisor:g}" for bound in BOUNDS), "+Inf"]
    return [(le, float(n)) for le, n in zip(bounds, np.cumsum(counts), strict=True)]
