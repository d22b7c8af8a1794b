"""What an observer measures of a flow: the series of each service, with the noise of counting.

The noise is that of the measurement itself: requests are Poisson counts, errors are counts out
of these, and a quantile estimated from n requests scatters by `√(p(1−p)/n) / f(x_p)` (the
asymptotic standard error of a sample quantile). A service with little traffic therefore looks
noisier than a busy one, as it does in production.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dos.model.entity import EntityKind
from dos.model.telemetry import Float64Array, Int64Array, MetricKind, Role, SeriesSpec
from dos.simulate.flow import Flow
from dos.simulate.propagation import Physics

_COUNTER = MetricKind.COUNTER
_GAUGE = MetricKind.GAUGE
CLIENT_SIDE: tuple[tuple[str, Role, str, MetricKind], ...] = (
    ("request_rate", Role.TRAFFIC, "1/s", _GAUGE),
    ("error_rate", Role.ERRORS, "ratio", _GAUGE),
    ("latency_p50", Role.LATENCY, "seconds", _GAUGE),
    ("latency_p95", Role.LATENCY, "seconds", _GAUGE),
    ("latency_p99", Role.LATENCY, "seconds", _GAUGE),
)
"""What callers can see of a service: all there is for a third party."""
OWN: tuple[tuple[str, Role, str, MetricKind], ...] = (
    ("cpu_usage", Role.SATURATION, "ratio", _GAUGE),
    ("memory_usage", Role.SATURATION, "ratio", _GAUGE),
    ("connections", Role.SATURATION, "", _GAUGE),
    ("queue_depth", Role.SATURATION, "", _GAUGE),
    ("network_receive", Role.OTHER, "bytes/s", _GAUGE),
    ("network_transmit", Role.OTHER, "bytes/s", _GAUGE),
    ("restarts", Role.OTHER, "", _COUNTER),
    ("retransmits", Role.OTHER, "ratio", _GAUGE),
)
"""What only the service and its host know."""
VOLUME = (("disk_usage", Role.SATURATION, "ratio", _GAUGE),)
"""Of those that have a volume."""
CACHE = (("hit_ratio", Role.OTHER, "ratio", _GAUGE),)
"""Of caches."""
NODE: tuple[tuple[str, Role, str, MetricKind], ...] = (
    ("cpu_usage", Role.SATURATION, "ratio", _GAUGE),
    ("memory_usage", Role.SATURATION, "ratio", _GAUGE),
    ("ready", Role.AVAILABILITY, "", _GAUGE),
    ("clock_offset", Role.OTHER, "seconds", _GAUGE),
)
"""Of machines."""
NAMES = tuple(name for name, *_ in (*CLIENT_SIDE, *OWN))
QUANTILES = (0.5, 0.95, 0.99)
_Z = (0.0, 1.6448536, 2.3263479)
"""Standard normal quantiles of `QUANTILES`."""
_SCATTER = tuple(
    math.sqrt(p * (1 - p)) / (math.exp(-z * z / 2) / math.sqrt(2 * math.pi))
    for p, z in zip(QUANTILES, _Z, strict=True)
)
"""Standard error of the log of each quantile for σ = 1 and one request."""
REQUEST_BYTES, RESPONSE_BYTES = 1_500.0, 6_000.0
CPU_NOISE = 0.08
"""Standard deviation of measured CPU time as a ratio: what a scrape interval cuts off and what the
runtime does besides. Recorded systems show 0.11 (docs/realism.md)."""
NETWORK_NOISE = 0.15
"""The same of bytes, whose sizes differ from request to request; recorded systems show 0.25."""
PAGES = 2.0**-13
"""Memory is counted in pages: steps of a ratio of the limit."""
HICCUPS, HICCUP = 0.007, 0.6
"""Share of samples in which something held a service up for a moment (a pause, a neighbour, a slow
client), and by how much that raises the 95th percentile, on average; twice that the 99th."""
_SIDECAR_CONNECTIONS = 4.0
"""Connections each replica keeps open without traffic: probes, pools, telemetry."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Counts of one tick, for those who accumulate. Arrays `[service]`."""

    requests: Float64Array
    """Whole requests."""
    failed: Float64Array
    """Whole requests that failed, at most `requests`."""


class Meter:
    """Measures the flows of one world; `series` is the table its values belong to.

    Args:
        physics: The world's arrays.
        nodes: Whether machines are measured too.
    """

    def __init__(self, physics: Physics, *, nodes: bool = True) -> None:
        self._physics = physics
        self._nodes = nodes
        specs: list[SeriesSpec] = []
        picks: list[int] = []
        count = len(physics.services)
        table = (*CLIENT_SIDE, *OWN, *VOLUME, *CACHE)
        for place, service in enumerate(physics.services):
            shown = list(range(len(CLIENT_SIDE)))
            if service.kind is not EntityKind.EXTERNAL:
                shown += range(len(CLIENT_SIDE), len(CLIENT_SIDE) + len(OWN))
                shown += [len(table) - 2] * (service.disk > 0)
                shown += [len(table) - 1] * (service.kind is EntityKind.CACHE)
            for row in shown:
                metric, role, unit, kind = table[row]
                specs.append(
                    SeriesSpec(entity=service.id, metric=metric, role=role, unit=unit, kind=kind)
                )
                picks.append(row * count + place)
        self.series = tuple(specs)
        if nodes:
            self.series += tuple(
                SeriesSpec(entity=node.id, metric=metric, role=role, unit=unit, kind=kind)
                for metric, role, unit, kind in NODE
                for node in physics.nodes
            )
        self._picks: Int64Array = np.array(picks, np.int64)
        self.column = {(spec.entity, spec.metric): at for at, spec in enumerate(self.series)}
        """Place of each series."""

    def count(self, flow: Flow, normals: Float64Array, uniforms: Float64Array) -> Measured:
        """Requests and failures of one tick.

        Args:
            normals: `[2, service]` standard normal draws.
            uniforms: `[service]` uniform draws.
        """
        seconds = self._physics.step_seconds
        requests = _poisson(flow.arrivals * seconds, uniforms, normals[0])
        ratio = flow.answers.errors
        failed = _poisson(requests * ratio, uniforms, normals[1] * np.sqrt(1.0 - ratio))
        return Measured(requests, np.minimum(failed, requests))

    def values(
        self, flow: Flow, counted: Measured, normals: Float64Array, uniforms: Float64Array
    ) -> Float64Array:
        """`[series]` what the metrics show for one tick.

        Args:
            normals: `[7, service and node]` standard normal draws.
            uniforms: `[service and node]` uniform draws.
        """
        count = len(self._physics.services)
        services = self._services(flow, counted, normals[:, :count], uniforms[:count])
        shown = services.ravel()[self._picks]
        if not self._nodes:
            return shown
        noise = normals[:, count:]
        nodes = (
            np.clip(flow.node_cpu * (1.0 + 0.03 * noise[0]), 0.0, 1.0),
            np.clip(flow.node_memory + 0.003 * noise[1], 0.0, 1.0) * flow.node_up,
            flow.node_up,
            # NTP keeps a clock within milliseconds.
            np.abs(flow.node_skew + 0.002 * noise[2]),
        )
        return np.concatenate([shown, *nodes])

    def _services(
        self, flow: Flow, counted: Measured, normals: Float64Array, uniforms: Float64Array
    ) -> Float64Array:
        """`[metric, service]`."""
        physics, answers = self._physics, flow.answers
        requests = np.maximum(counted.requests, 1.0)
        scatter = answers.spread / np.sqrt(np.maximum(requests, 10.0))
        p50, p95, p99 = (
            np.exp(answers.location + z * answers.spread + error * scatter * normals[row])
            for row, (z, error) in enumerate(zip(_Z, _SCATTER, strict=True))
        )
        hiccup = np.maximum(0.0, -np.log(np.maximum(uniforms, 1e-12) / HICCUPS))
        p50 = p50 * (1.0 + 0.1 * HICCUP * hiccup)
        p95 = np.maximum(p50, p95 * (1.0 + HICCUP * hiccup))
        p99 = np.maximum(p95, p99 * (1.0 + 2.0 * HICCUP * hiccup))
        calls_out = np.bincount(physics.caller, flow.call_rate, len(requests))
        receive = flow.arrivals * REQUEST_BYTES + calls_out * RESPONSE_BYTES
        transmit = flow.served * RESPONSE_BYTES + calls_out * REQUEST_BYTES
        jitter = 1.0 + 0.02 * normals[3]
        return np.stack(
            (
                counted.requests / physics.step_seconds,
                counted.failed / requests,
                p50,
                p95,
                p99,
                np.clip(flow.cpu * (1.0 + CPU_NOISE * normals[4] + 0.2 * hiccup), 0.0, 1.0),
                np.rint(np.clip(flow.memory + 2e-5 * normals[6], 0.0, 1.0) / PAGES) * PAGES,
                np.rint(_SIDECAR_CONNECTIONS * physics.replicas + flow.in_flight * jitter),
                np.abs(np.rint(np.maximum(0.0, flow.waiting + 0.5 * normals[3]))),
                receive * np.exp(NETWORK_NOISE * normals[5]),
                transmit * np.exp(NETWORK_NOISE * normals[5]),
                flow.restarts,
                np.minimum(1.0, flow.retransmits * np.exp(0.3 * normals[4])),
                np.clip(flow.disk + 0.0005 * normals[2], 0.0, 1.0),
                np.clip(flow.hits + 0.005 * normals[1], 0.0, 1.0),
            )
        )


def _poisson(mean: Float64Array, uniform: Float64Array, normal: Float64Array) -> Float64Array:
    """Poisson counts made of draws that are already there, so that no stream runs ahead.

    Inversion for small means; above, the Cornish-Fisher expansion of the quantile (skewness term).
    """
    large = np.rint(mean + np.sqrt(mean) * normal + (normal * normal - 1.0) / 6.0)
    small = mean < 4.0
    if not small.any():
        return np.maximum(0.0, large)
    term = np.exp(-np.where(small, mean, 0.0))
    below, count, k = term.copy(), np.zeros_like(mean), 0
    open_ = small & (uniform > below)
    while open_.any() and k < 40:
        k += 1
        count += open_
        term = term * mean / k
        below += term
        open_ &= uniform > below
    return np.where(small, count, np.maximum(0.0, large))
