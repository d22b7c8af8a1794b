"""A world as arrays: what the physics needs to know of it, in the order it works in.

Services stand in topological order (callers first), calls sorted by the caller, so that each
level of the graph is one slice of both. Replicas are `[pod]`, each with its service and node.
"""

from __future__ import annotations

import numpy as np

from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.model.telemetry import BoolArray, Float64Array, Int64Array
from dos.simulate.world import World

POOL_PER_REPLICA = 100.0
"""In-flight requests that each replica allows at least: an ordinary thread or connection pool."""
POOL_OF_CACHE = 1000.0
"""The same for caches and queues, which keep little for each client."""
POOL_FACTOR = 12.0
"""In-flight requests allowed at least, as a multiple of those of an average day."""
PATIENCE, PATIENCE_OF_TIMEOUT = 0.5, 0.5
"""Seconds, and share of the shortest timeout of its callers, for which work may wait in a service's
backlog before it refuses requests: what waits longer is worked on for nobody (Nichols and Jacobson,
Controlling Queue Delay, ACM Queue 10, 2012)."""
NODE_HEADROOM = 0.75
"""Cores of a node for each core its replicas may use: limits are overcommitted."""
LEAST_WRITES = 0.2
"""Share of the requests of a service with a volume that write, where its calls tell less."""
STATEFUL = frozenset({EntityKind.DATABASE, EntityKind.CACHE, EntityKind.QUEUE})


class Layout:
    """The arrays of `world`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.services = tuple(sorted(world.services, key=lambda one: (world.level(one.id), one.id)))
        self.index = {service.id: place for place, service in enumerate(self.services)}
        self.calls = tuple(
            sorted(world.calls, key=lambda call: (self.index[call.caller], self.index[call.callee]))
        )
        self._behind: dict[EntityId, Int64Array] = {}
        self.nodes = tuple(sorted(world.nodes, key=lambda node: node.id))
        self.node_index = {node.id: place for place, node in enumerate(self.nodes)}
        self._describe_services()
        self._describe_calls()
        self._slice_levels()
        self._place()
        self.nominal_latency = self._nominal_latency()
        self.nominal_errors = self._nominal_errors()
        self.normal_in_flight = self.demand * self.nominal_latency
        wide = [one.kind in {EntityKind.CACHE, EntityKind.QUEUE} for one in self.services]
        places = np.where(wide, POOL_OF_CACHE, POOL_PER_REPLICA) * self.replicas
        self.pool = np.maximum(places, POOL_FACTOR * self.normal_in_flight)

    def nodes_of(self, zone: str) -> list[int]:
        """Places of the nodes of a zone."""
        return [place for place, node in enumerate(self.nodes) if node.zone == zone]

    def calls_into(self, service: EntityId) -> Int64Array:
        """Places of the calls whose callee is `service`."""
        return np.flatnonzero(self.callee == self.index[service])

    def calls_from(self, service: EntityId) -> Int64Array:
        """Places of the calls whose caller is `service`."""
        return np.flatnonzero(self.caller == self.index[service])

    def behind_cache(self, cache: EntityId) -> Int64Array:
        """Places of the calls that a miss of `cache` leads to: its callers' other reads."""
        if cache not in self._behind:
            callers = np.unique(self.caller[self.calls_into(cache)])
            reads = np.isin(self.caller, callers) & self.reads_store
            self._behind[cache] = np.flatnonzero(reads)
        return self._behind[cache]

    def share_of_nodes(self, nodes: Float64Array) -> Float64Array:
        """`[service]` mean over its replicas of a value `[node]`; 0 for those without replicas."""
        weights = nodes[self.pod_node] * self.pod_share
        total = np.bincount(self.pod_service, weights, len(self.services))
        return total.astype(np.float64, copy=False)

    def _describe_services(self) -> None:
        services = self.services
        demand = self.world.demand()
        self.demand = np.array([demand[service.id] for service in services])
        self.entries = np.array([self.world.entries.get(one.id, 0.0) for one in services])
        self.cpu = np.array([service.cpu for service in services])
        self.service_time = np.array([service.service_time for service in services])
        self.dispersion = np.array([service.dispersion for service in services])
        self.base_memory = np.array([service.memory for service in services])
        self.base_errors = np.array([service.error_rate for service in services])
        self.base_disk = np.array([service.disk for service in services])
        self.replicas = np.array([float(service.replicas) for service in services])
        # A service that nobody calls much still runs on a whole replica.
        self.capacity = np.maximum(self.demand / self.cpu, 1.0)
        self.servers = np.maximum(1.0, self.capacity * self.service_time)
        self.stateful: BoolArray = np.array([one.kind in STATEFUL for one in services], np.bool_)
        self.cache: BoolArray = np.array(
            [one.kind is EntityKind.CACHE for one in services], np.bool_
        )
        # Most heaps are given to a runtime as a whole and stay resident; in every fourth service
        # what is collected goes back, so that its memory is a saw.
        resident = np.modf(np.arange(len(services)) * 0.754878)[0] > 0.25
        self.garbage_span = np.where(self.stateful | resident, 0.0008, 0.06)
        # At average load a heap fills in 4 to 14 minutes; no two services in step.
        period = 240.0 + 600.0 * np.modf(np.arange(len(services)) * 0.618034)[0]
        self.garbage_rate = self.garbage_span / period / self.cpu
        scaled = [one.autoscale for one in services]
        self.least = np.array([a.at_least if a else 0.0 for a in scaled])
        self.most = np.array([a.at_most if a else np.inf for a in scaled])
        self.scale_target = np.array([a.target if a else np.inf for a in scaled])
        self.autoscaled: BoolArray = np.array([a is not None for a in scaled], np.bool_)

    def _describe_calls(self) -> None:
        calls, index = self.calls, self.index
        self.caller: Int64Array = np.array([index[call.caller] for call in calls], np.int64)
        self.callee: Int64Array = np.array([index[call.callee] for call in calls], np.int64)
        self.per_request = np.array([call.per_request for call in calls])
        self.timeout = np.array([call.timeout for call in calls])
        self.retries = np.array([float(call.retries) for call in calls])
        self.retry_budget = np.array([call.retry_budget for call in calls])
        self.breaker = np.array([float(call.breaker) for call in calls])
        # What a queue hands on it hands on later: neither its latency nor its errors wait for it.
        self.later: BoolArray = np.array(
            [self.services[index[call.caller]].kind is EntityKind.QUEUE for call in calls], np.bool_
        )
        self.criticality = np.where(self.later, 0.0, [call.criticality for call in calls])
        self.log_timeout = np.log(self.timeout)
        self.patience = np.full(len(self.services), PATIENCE)
        waited = np.where(self.later, np.inf, PATIENCE_OF_TIMEOUT * self.timeout)
        np.minimum.at(self.patience, self.callee, waited)
        self.consumer: BoolArray = np.zeros(len(self.services), np.bool_)
        self.consumer[self.callee[self.later]] = True
        self.is_queue: BoolArray = np.array(
            [service.kind is EntityKind.QUEUE for service in self.services], np.bool_
        )
        stores = [self.services[place].kind is EntityKind.DATABASE for place in self.callee]
        writes = [call.kind in {EdgeKind.WRITE, EdgeKind.MESSAGE} for call in calls]
        self.reads_store: BoolArray = np.array(stores, np.bool_) & ~np.array(writes, np.bool_)
        rate = self.per_request * self.demand[self.caller]
        count = len(self.services)
        written = np.bincount(self.callee, rate * np.array(writes, np.float64), count)
        total = np.bincount(self.callee, rate, count)
        self.write_share = np.maximum(LEAST_WRITES, written / np.maximum(total, 1e-9))

    def _slice_levels(self) -> None:
        levels = np.array([self.world.level(service.id) for service in self.services])
        depth = int(levels[-1]) + 1
        bounds = np.searchsorted(levels, np.arange(depth + 1))
        call_bounds = np.searchsorted(self.caller, bounds)
        self.levels = [
            (
                slice(int(bounds[k]), int(bounds[k + 1])),
                slice(int(call_bounds[k]), int(call_bounds[k + 1])),
            )
            for k in range(depth)
        ]

    def _place(self) -> None:
        placed = self.world.placement()
        pods = [
            (place, self.node_index[node])
            for place, service in enumerate(self.services)
            for node in placed[service.id]
        ]
        self.pod_service: Int64Array = np.array([service for service, _ in pods], np.int64)
        self.pod_node: Int64Array = np.array([node for _, node in pods], np.int64)
        self.pod_share = 1.0 / self.replicas[self.pod_service]
        cores = self.servers[self.pod_service] * self.pod_share
        allowed = np.bincount(self.pod_node, cores, len(self.nodes))
        self.node_cores = np.maximum(0.5, NODE_HEADROOM * allowed)
        self.node_pods = np.maximum(1.0, np.bincount(self.pod_node, minlength=len(self.nodes)))

    def _nominal_latency(self) -> Float64Array:
        """Mean seconds of a request without queueing, for the size of pools."""
        latency = self.service_time.copy()
        for services, calls in reversed(self.levels):
            spent = np.where(self.later[calls], 0.0, self.per_request[calls])
            spent = spent * np.minimum(latency[self.callee[calls]], self.timeout[calls])
            latency[services] += self.per_caller(spent, services, calls)
        return latency

    def _nominal_errors(self) -> Float64Array:
        """Ratio of requests that fail on a good day, callees' failures included and no retries."""
        success = np.log1p(-self.base_errors)
        for services, calls in reversed(self.levels):
            failing = -np.expm1(success[self.callee[calls]])
            lost = np.log1p(-self.criticality[calls] * failing)
            success[services] += self.per_caller(self.per_request[calls] * lost, services, calls)
        failing_in_all: Float64Array = -np.expm1(success)
        return failing_in_all

    def per_caller(self, values: Float64Array, services: slice, calls: slice) -> Float64Array:
        """Sum of `values` `[call of the level]` for each service of the level."""
        count = services.stop - services.start
        total = np.bincount(self.caller[calls] - services.start, weights=values, minlength=count)
        return total.astype(np.float64, copy=False)
