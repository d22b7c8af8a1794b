"""What an observer measures of a flow: the series of each service, with the noise of counting.

Most of the noise is that of counting: requests are Poisson counts, errors are counts out of these
that come in clumps, CPU and bytes are sums over the requests that came, and a quantile estimated
from n requests scatters by `√(p(1−p)/n) / f(x_p)` (the asymptotic standard error of a sample
quantile). A service with little traffic therefore looks noisier than a busy one, as it does in
production. On top come stalls and outliers (`tails`). `docs/realism.md` compares the result with
measured systems.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dos.model.entity import EntityKind
from dos.model.telemetry import Float64Array, Int64Array, MetricKind, Role, SeriesSpec
from dos.simulate.flow import Flow
from dos.simulate.propagation import IDLE_CPU, Physics
from dos.simulate.queueing import normal_quantile
from dos.simulate.tails import HEAVY, STALL_SECONDS, heavy, stalled_quantile

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
QUANTILES: Float64Array = np.array([[0.5], [0.95], [0.99]])
"""`[quantile, 1]`, to go with `[service]`."""
REQUEST_BYTES, RESPONSE_BYTES = 1_500.0, 6_000.0
_SIDECAR_CONNECTIONS = 4.0
"""Connections each replica keeps open without traffic: probes, pools, telemetry."""


_CLUMPING = 0.8
"""Standard deviation of the log of the rate of rare failures: they come in clumps."""
_RARE = 0.005
"""Ratio of failures up to which they are rare; what is beyond has a cause and is steady."""
_SIZES = 1.5
"""Coefficient of variation of the bytes of a request."""
_BACKGROUND = 0.03
"""Standard deviation of CPU and network use, relative to it, beside what requests need."""
_HICCUP = 0.02
"""The same of the latency of a tick."""
_ARENA = 1.0 / 4096
"""Of the memory limit, that allocators take from the kernel at a time (128 KiB of 512 MiB)."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Counts of one tick, for those who accumulate. Arrays `[service]`."""

    requests: Float64Array
    """Whole requests."""
    failed: Float64Array
    """Whole requests that failed, at most `requests`."""
    stalled: Float64Array
    """Requests that stalled, at most `requests`."""
    cpu: Float64Array
    """Ratio of the CPU limit that their work took."""
    bytes: Float64Array
    """Factor on the bytes of the flow."""


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
        """Requests of one tick, and what became of them.

        Args:
            normals: `[7, service]` standard normal draws.
            uniforms: `[2, service]` uniform draws.
        """
        expected = flow.arrivals * self._physics.step_seconds
        requests = _poisson(expected, uniforms[0], normals[0])
        ratio = flow.answers.errors
        rare = np.minimum(ratio, _RARE)
        failing = requests * (ratio + rare * (_clumps(normals[2]) - 1.0))
        failed = _poisson(failing, uniforms[0], normals[1] * np.sqrt(1.0 - ratio))
        # What stops a replica stops all that it works on.
        together = np.maximum(1.0, flow.arrivals * STALL_SECONDS / self._physics.replicas)
        stops = _poisson(requests * self._physics.stalls / together, uniforms[1], normals[3])
        # With less than a request to expect there is no such thing as more than usual.
        excess = np.where(expected > 1.0, requests / np.maximum(expected, 1.0), 1.0) - 1.0
        root = np.sqrt(np.maximum(requests, 1.0))
        return Measured(
            requests=requests,
            failed=np.minimum(failed, requests),
            stalled=np.minimum(stops * together, requests),
            cpu=self._cpu(flow, excess + self._physics.dispersion * normals[4] / root, normals[5]),
            bytes=np.maximum(
                0.1, 1.0 + excess + np.hypot(_SIZES / root, _BACKGROUND) * heavy(normals[6], HEAVY)
            ),
        )

    def _cpu(self, flow: Flow, excess: Float64Array, normals: Float64Array) -> Float64Array:
        """Who is at the limit has no room for more work, and always work for less."""
        room = np.minimum(1.0, 2.0 * (1.0 - flow.cpu))
        busy = np.maximum(0.0, flow.cpu - IDLE_CPU)
        used = flow.cpu + busy * np.maximum(-0.9, room * excess)
        noise = 1.0 + room * _BACKGROUND * heavy(normals, HEAVY)
        cpu: Float64Array = np.clip(used * noise, 0.0, 1.0)
        return cpu

    def values(self, flow: Flow, counted: Measured, normals: Float64Array) -> Float64Array:
        """`[series]` what the metrics show for one tick.

        Args:
            normals: `[7, service and node]` standard normal draws.
        """
        services = self._services(flow, counted, normals[:, : len(self._physics.services)])
        shown = services.ravel()[self._picks]
        if not self._nodes:
            return shown
        noise = normals[:, len(self._physics.services) :]
        nodes = (
            np.clip(flow.node_cpu * (1.0 + 0.03 * heavy(noise[0])), 0.0, 1.0),
            np.clip(flow.node_memory + 0.001 * noise[1], 0.0, 1.0) * flow.node_up,
            flow.node_up,
            # NTP keeps a clock within milliseconds.
            np.abs(flow.node_skew + 0.002 * noise[2]),
        )
        return np.concatenate([shown, *nodes])

    def _services(self, flow: Flow, counted: Measured, normals: Float64Array) -> Float64Array:
        """`[metric, service]`."""
        physics = self._physics
        requests = np.maximum(counted.requests, 1.0)
        p50, p95, p99 = _latencies(flow, counted, normals[:3], normals[6])
        calls_out = np.bincount(physics.caller, flow.call_rate, len(requests))
        receive = flow.arrivals * REQUEST_BYTES + calls_out * RESPONSE_BYTES
        transmit = flow.served * RESPONSE_BYTES + calls_out * REQUEST_BYTES
        jitter = 1.0 + 0.02 * heavy(normals[3])
        memory = np.rint((flow.memory + 2e-5 * normals[4]) / _ARENA) * _ARENA
        return np.stack(
            (
                counted.requests / physics.step_seconds,
                counted.failed / requests,
                p50,
                p95,
                p99,
                counted.cpu,
                np.clip(memory, 0.0, 1.0),
                np.rint(_SIDECAR_CONNECTIONS * physics.replicas + flow.in_flight * jitter),
                np.abs(np.rint(np.maximum(0.0, flow.waiting + 0.5 * normals[3]))),
                receive * counted.bytes,
                transmit * counted.bytes,
                flow.restarts,
                np.minimum(1.0, flow.retransmits * np.exp(0.3 * normals[4])),
                np.clip(flow.disk + 0.0005 * normals[5], 0.0, 1.0),
                np.clip(flow.hits + 0.005 * normals[3], 0.0, 1.0),
            )
        )


def _clumps(normals: Float64Array) -> Float64Array:
    """Lognormal factors of mean 1."""
    factors: Float64Array = np.exp(_CLUMPING * normals - 0.5 * _CLUMPING**2)
    return factors


def _latencies(
    flow: Flow, counted: Measured, normals: Float64Array, hiccup: Float64Array
) -> Float64Array:
    """`[quantile, service]` of the requests that came.

    The largest of n values stands at the quantile (n − 3/8) / (n + 1/4) on average (Blom,
    Statistical Estimates and Transformed Beta-Variables, 1958): few requests show no 99th
    percentile.
    """
    answers = flow.answers
    n = np.maximum(counted.requests, 1.0)
    p = np.minimum(QUANTILES, (n - 0.375) / (n + 0.25))
    z = normal_quantile(p)
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    error = np.sqrt(p * (1.0 - p) / n) / density
    off = answers.spread * (z + error * heavy(normals)) + _HICCUP * heavy(hiccup)
    body = np.exp(answers.location + off)
    shown: Float64Array = body + stalled_quantile(p, counted.stalled / n)
    return np.maximum.accumulate(shown, axis=0)


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
